/* The payload of a journal frame of type FRAME_CALL or FRAME_START, in this order; new fields are only ever added at the end,
 * and a decoder ignores what follows the fields that it knows:
 *
 *   request_id[16], key_id[16], n u64
 *   varints: boot, started_us, dialect, outcome, flags, status, sent_us, connect_us, head_us, first_us,
 *            total_us, bytes_in, bytes_out, tokens (input, cache_read, cache_write, cache_write_1h, output,
 *            reasoning), cost
 *   texts, each a varint length and its bytes: key, project, user, task, session, tags, provider, model,
 *            model_asked, error, trace_id
 *   since 0.2: workspace_id[16], project_id[16], user_id[16], varints: charged, snapshot
 *
 * Varints are LEB128; values that may be negative are zigzag-coded, so that -1 ("not reached") takes one byte.
 */
#include "gateway/usage.h"

#include "base/utf8.h"
#include "gateway/journal/journal.h"
#include "gateway/journal/journal_segment.h"

enum {
    FLAG_STREAMED = 1,
    FLAG_ESTIMATED = 2,
    FLAG_COST_KNOWN = 4,
};

#define VARINT_MAX 10
#define N_VARINTS 22
#define N_TEXTS 11
_Static_assert(FRAME_HEADER_LEN + 5 * 16 + 8 + N_VARINTS * VARINT_MAX + N_TEXTS * (2 + USAGE_TEXT_MAX) <=
                   JOURNAL_RECORD_MAX,
               "the longest record must fit into the room that admission counts on");

static const char *const dialect_names[DIALECTS] = {
    [DIALECT_CHAT] = "chat",
    [DIALECT_RESPONSES] = "responses",
    [DIALECT_MESSAGES] = "messages",
    [DIALECT_EMBEDDINGS] = "embeddings",
    [DIALECT_COUNT_TOKENS] = "count_tokens",
};

static const char *const outcome_names[] = {
    [CALL_COMPLETED] = "completed",
    [CALL_CANCELLED] = "cancelled",
    [CALL_CUT] = "cut",
    [CALL_UPSTREAM_FAILED] = "upstream_failed",
    [CALL_REFUSED] = "refused",
};

const char *dialect_name(enum dialect d) { return (unsigned)d < DIALECTS ? dialect_names[d] : "unknown"; }

bool dialect_parse(str name, enum dialect *out)
{
    for (unsigned i = 0; i < DIALECTS; i++) {
        if (str_eq(name, str_c(dialect_names[i]))) {
            *out = (enum dialect)i;
            return true;
        }
    }
    return false;
}

const char *outcome_name(enum call_outcome o)
{
    return (unsigned)o < LENGTH_OF(outcome_names) ? outcome_names[o] : "unknown";
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_signed(uint8_t *p, int64_t v)
{
    return put_varint(p, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

static uint8_t *put_count(uint8_t *p, int64_t v) { return put_varint(p, v > 0 ? (uint64_t)v : 0); }

static uint8_t *put_text(uint8_t *p, str s)
{
    if (s.len > USAGE_TEXT_MAX) s = utf8_take(s, USAGE_TEXT_MAX);
    p = put_varint(p, s.len);
    if (s.len > 0) memcpy(p, s.p, s.len);
    return p + s.len;
}

void usage_record_encode(const struct usage_record *r, struct buf *out) { usage_frame_encode(FRAME_CALL, r, out); }

void usage_frame_encode(enum frame_type type, const struct usage_record *r, struct buf *out)
{
    uint8_t *frame = (uint8_t *)buf_reserve(out, JOURNAL_RECORD_MAX);
    if (!frame) return;
    uint8_t *p = frame + FRAME_HEADER_LEN - 1;
    *p++ = (uint8_t)type;
    memcpy(p, r->request_id.b, 16);
    memcpy(p + 16, r->key_id, 16);
    put_u64(p + 32, r->n);
    p += 40;

    p = put_varint(p, r->boot);
    p = put_signed(p, r->started_us);
    p = put_varint(p, (unsigned)r->dialect);
    p = put_varint(p, (unsigned)r->outcome);
    bool has_cost = r->cost_nanousd != COST_UNKNOWN;
    p = put_varint(p, (r->is_streamed ? FLAG_STREAMED : 0u) | (r->is_estimated ? FLAG_ESTIMATED : 0u) |
                          (has_cost ? FLAG_COST_KNOWN : 0u));
    p = put_varint(p, r->status);
    p = put_signed(p, r->sent_us);
    p = put_signed(p, r->connect_us);
    p = put_signed(p, r->head_us);
    p = put_signed(p, r->first_us);
    p = put_signed(p, r->total_us);
    p = put_varint(p, r->bytes_in);
    p = put_varint(p, r->bytes_out);
    p = put_count(p, r->tokens.input);
    p = put_count(p, r->tokens.cache_read);
    p = put_count(p, r->tokens.cache_write);
    p = put_count(p, r->tokens.cache_write_1h);
    p = put_count(p, r->tokens.output);
    p = put_count(p, r->tokens.reasoning);
    p = put_signed(p, has_cost ? r->cost_nanousd : 0);

    p = put_text(p, r->key);
    p = put_text(p, r->project);
    p = put_text(p, r->user);
    p = put_text(p, r->task);
    p = put_text(p, r->session);
    p = put_text(p, r->tags);
    p = put_text(p, r->provider);
    p = put_text(p, r->model);
    p = put_text(p, r->model_asked);
    p = put_text(p, r->error);
    p = put_text(p, r->trace_id);

    memcpy(p, r->workspace_id.b, 16);
    memcpy(p + 16, r->project_id.b, 16);
    memcpy(p + 32, r->user_id.b, 16);
    p = put_signed(p + 48, r->charged_nanousd);
    p = put_varint(p, r->snapshot);

    size_t len = (size_t)(p - frame);
    frame_finish(frame, len);
    buf_added(out, len);
}

/* A place in the payload; the first field that does not fit sets `bad` and empties the rest. */
struct cursor {
    const uint8_t *p, *end;
    const char *bad;
};

static void cursor_fail(struct cursor *c, const char *field)
{
    if (!c->bad) c->bad = field;
    c->p = c->end;
}

static uint64_t take_varint(struct cursor *c, const char *field, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
        uint8_t byte = *c->p++;
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (v <= max) return v;
            break;
        }
    }
    cursor_fail(c, field);
    return 0;
}

static int64_t take_signed(struct cursor *c, const char *field)
{
    uint64_t v = take_varint(c, field, UINT64_MAX);
    return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

static int64_t take_count(struct cursor *c, const char *field)
{
    return (int64_t)take_varint(c, field, INT64_MAX);
}

static str take_text(struct cursor *c, const char *field)
{
    size_t len = (size_t)take_varint(c, field, USAGE_TEXT_MAX);
    if (len > (size_t)(c->end - c->p)) {
        cursor_fail(c, field);
        return (str){NULL, 0};
    }
    str s = {(const char *)c->p, len};
    c->p += len;
    return s;
}

enum errc usage_record_decode(str payload, struct usage_record *out, err *e)
{
    *out = (struct usage_record){.cost_nanousd = COST_UNKNOWN};
    if (payload.len < 40)
        return err_set(e, ERR_CORRUPT, "a usage record of %zu bytes is too short", payload.len);
    const uint8_t *p = (const uint8_t *)payload.p;
    memcpy(out->request_id.b, p, 16);
    memcpy(out->key_id, p + 16, 16);
    out->n = get_u64(p + 32);

    struct cursor c = {.p = p + 40, .end = p + payload.len};
    out->boot = take_varint(&c, "boot", UINT64_MAX);
    out->started_us = take_signed(&c, "started_us");
    out->dialect = (enum dialect)take_varint(&c, "dialect", DIALECTS - 1);
    out->outcome = (enum call_outcome)take_varint(&c, "outcome", LENGTH_OF(outcome_names) - 1);
    uint64_t flags = take_varint(&c, "flags", UINT64_MAX);
    out->is_streamed = flags & FLAG_STREAMED;
    out->is_estimated = flags & FLAG_ESTIMATED;
    out->status = (uint16_t)take_varint(&c, "status", UINT16_MAX);
    out->sent_us = take_signed(&c, "sent_us");
    out->connect_us = take_signed(&c, "connect_us");
    out->head_us = take_signed(&c, "head_us");
    out->first_us = take_signed(&c, "first_us");
    out->total_us = take_signed(&c, "total_us");
    out->bytes_in = take_varint(&c, "bytes_in", UINT64_MAX);
    out->bytes_out = take_varint(&c, "bytes_out", UINT64_MAX);
    out->tokens.input = take_count(&c, "input tokens");
    out->tokens.cache_read = take_count(&c, "cache_read tokens");
    out->tokens.cache_write = take_count(&c, "cache_write tokens");
    out->tokens.cache_write_1h = take_count(&c, "cache_write_1h tokens");
    out->tokens.output = take_count(&c, "output tokens");
    out->tokens.reasoning = take_count(&c, "reasoning tokens");
    int64_t cost = take_signed(&c, "cost");
    out->cost_nanousd = flags & FLAG_COST_KNOWN ? cost : COST_UNKNOWN;

    out->key = take_text(&c, "key");
    out->project = take_text(&c, "project");
    out->user = take_text(&c, "user");
    out->task = take_text(&c, "task");
    out->session = take_text(&c, "session");
    out->tags = take_text(&c, "tags");
    out->provider = take_text(&c, "provider");
    out->model = take_text(&c, "model");
    out->model_asked = take_text(&c, "model_asked");
    out->error = take_text(&c, "error");
    out->trace_id = take_text(&c, "trace_id");
    out->charged_nanousd = out->cost_nanousd == COST_UNKNOWN ? 0 : out->cost_nanousd;
    if (c.p < c.end && c.end - c.p < 48) cursor_fail(&c, "workspace");
    if (c.p < c.end) {
        memcpy(out->workspace_id.b, c.p, 16);
        memcpy(out->project_id.b, c.p + 16, 16);
        memcpy(out->user_id.b, c.p + 32, 16);
        c.p += 48;
        out->charged_nanousd = take_signed(&c, "charged");
        out->snapshot = take_varint(&c, "snapshot", UINT64_MAX);
    }
    if (c.bad)
        return err_set(e, ERR_CORRUPT, "a usage record is damaged or of a newer version: field %s", c.bad);
    return ERR_NONE;
}
