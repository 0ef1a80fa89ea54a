/* Any bytes as the payload of a usage record: what decodes is encoded again and then means the same. */
#include <stdlib.h>

#include "gateway/journal/journal.h"
#include "gateway/journal/journal_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct usage_record r, again;
    err e = {0};
    if (usage_record_decode((str){(const char *)data, size}, &r, &e)) {
        must(e.code == ERR_CORRUPT && e.msg[0] != 0);
        return 0;
    }
    must((unsigned)r.dialect < DIALECTS && r.tokens.input >= 0 && r.tokens.reasoning >= 0);
    struct buf first, second;
    buf_init(&first, JOURNAL_RECORD_MAX);
    buf_init(&second, JOURNAL_RECORD_MAX);
    usage_record_encode(&r, &first);
    must(buf_err(&first) == ERR_NONE && first.len <= JOURNAL_RECORD_MAX);
    struct frame f;
    must(frame_parse(buf_str(&first), &f) == FRAME_WHOLE && f.type == FRAME_CALL && f.len == first.len);
    must(usage_record_decode(f.payload, &again, NULL) == ERR_NONE);
    must(again.n == r.n && again.cost_nanousd == r.cost_nanousd && again.total_us == r.total_us &&
         str_eq(again.model, r.model) && str_eq(again.trace_id, r.trace_id));
    usage_record_encode(&again, &second);
    must(str_eq(buf_str(&first), buf_str(&second)));
    buf_fini(&first);
    buf_fini(&second);
    return 0;
}
