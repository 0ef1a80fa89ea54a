/* Observers on arbitrary answers. The first byte chooses the dialect (low three bits), a body instead of a
 * stream (8) and whether the usage chunk is hidden (16); the second says where the stream is cut in two.
 * Whatever comes: counts are never negative, bytes that reach the client are the provider's, and the cut
 * changes nothing. */
#include <stdint.h>
#include <stdlib.h>

#include "gateway/call/observe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct observer o;
    struct buf passed, seen;
};

static void must(bool claim)
{
    if (!claim) abort();
}

static bool take_event(void *ctx, const struct sse_event *event)
{
    struct run *r = ctx;
    uint64_t text_before = r->o.text_bytes;
    enum event_verdict verdict = observe_event(&r->o, event);
    must(r->o.text_bytes >= text_before && r->o.text_bytes - text_before <= event->data.len);
    must(verdict != EVENT_DROP || (r->o.dialect == DIALECT_CHAT && r->o.hides_usage_chunk));
    must(verdict != EVENT_LAST || r->o.is_ended);
    /* An LF that comes apart from its CR is an event of its own; without line ends both runs compare. */
    for (size_t i = 0; i < event->raw.len; i++) {
        char c = event->raw.p[i];
        if (c == '\r' || c == '\n') continue;
        buf_add_char(&r->seen, c);
        if (verdict != EVENT_DROP) buf_add_char(&r->passed, c);
    }
    return true;
}

static void run_init(struct run *r, enum dialect d, bool hides, size_t size)
{
    observer_init(&r->o, d, hides);
    buf_init(&r->passed, size + 1);
    buf_init(&r->seen, size + 1);
}

static void run_fini(struct run *r)
{
    buf_fini(&r->passed);
    buf_fini(&r->seen);
}

static void check(const struct observer *o)
{
    struct token_usage u;
    bool is_estimated = observer_usage(o, 12345, &u);
    must(u.input >= 0 && u.cache_read >= 0 && u.cache_write >= 0 && u.cache_write_1h >= 0 && u.output >= 0);
    must(u.reasoning >= 0 && u.reasoning <= u.output);
    must(o->has_usage || is_estimated || o->has_error || o->dialect == DIALECT_COUNT_TOKENS);
    must(o->reported_at <= o->text_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    enum dialect d = (enum dialect)((data[0] & 7u) % DIALECTS);
    bool hides = data[0] & 16;
    str text = str_of((const char *)data + 2, size - 2);
    struct run whole, cut;
    run_init(&whole, d, hides, size);
    if (data[0] & 8) {
        observe_body(&whole.o, text);
        must(whole.o.text_bytes <= size);
        check(&whole.o);
        run_fini(&whole);
        return 0;
    }
    run_init(&cut, d, hides, size);
    struct sse s;
    size_t at = text.len * data[1] / 256;
    sse_init(&s, size);
    must(sse_feed(&s, text, take_event, &whole, NULL) == ERR_NONE);
    sse_fini(&s);
    sse_init(&s, size);
    must(sse_feed(&s, str_take(text, at), take_event, &cut, NULL) == ERR_NONE);
    must(sse_feed(&s, str_skip(text, at), take_event, &cut, NULL) == ERR_NONE);
    sse_fini(&s);
    must(str_eq(buf_str(&whole.seen), buf_str(&cut.seen)));
    must(str_eq(buf_str(&whole.passed), buf_str(&cut.passed)));
    must(memcmp(&whole.o.tokens, &cut.o.tokens, sizeof(whole.o.tokens)) == 0);
    must(whole.o.text_bytes == cut.o.text_bytes && whole.o.has_usage == cut.o.has_usage);
    must(whole.o.is_ended == cut.o.is_ended && whole.o.has_error == cut.o.has_error);
    check(&whole.o);
    run_fini(&whole);
    run_fini(&cut);
    return 0;
}
