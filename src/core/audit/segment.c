#include "core/audit/segment.h"

#define MAGIC "CATAUDIT"
#define KIND_EVENT 1
#define KIND_END 2
#define EVENT_FIXED 88
#define END_FIXED 16

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put_i64(uint8_t *p, int64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)v >> 8 * i);
}

static uint32_t get_u32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

static int64_t get_i64(const uint8_t *p) { return (int64_t)((uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32); }

static str text_of(const uint8_t *p, size_t n) { return str_of((const char *)p, n); }

void segment_begin(const struct segment_header *h, struct buf *out)
{
    uint8_t p[SEGMENT_HEADER];
    memcpy(p, MAGIC, 8);
    put_u32(p + 8, SEGMENT_VERSION);
    put_u32(p + 12, SEGMENT_HEADER);
    memcpy(p + 16, h->node.b, 16);
    memcpy(p + 32, h->tree.b, 16);
    put_i64(p + 48, h->first);
    put_u32(p + 56, crc32c(0, p, 56));
    buf_add(out, text_of(p, sizeof p));
}

static void put_frame(const uint8_t *fixed, size_t n, str bytes, struct buf *out)
{
    uint8_t head[8];
    put_u32(head, (uint32_t)(n + bytes.len));
    put_u32(head + 4, crc32c(crc32c(0, fixed, n), bytes.p ? bytes.p : "", bytes.len));
    buf_add(out, text_of(head, sizeof head));
    buf_add(out, text_of(fixed, n));
    buf_add(out, bytes);
}

void segment_put(const struct record *r, struct buf *out)
{
    uint8_t p[EVENT_FIXED] = {KIND_EVENT, r->is_dropped};
    put_i64(p + 8, r->number);
    put_i64(p + 16, r->workspace_number);
    memcpy(p + 24, r->id.b, 16);
    memcpy(p + 40, r->workspace.b, 16);
    memcpy(p + 56, r->leaf.b, 32);
    put_frame(p, sizeof p, r->bytes, out);
}

void segment_end(int64_t n, struct buf *out)
{
    uint8_t p[END_FIXED] = {KIND_END};
    put_i64(p + 8, n);
    put_frame(p, sizeof p, (str){0}, out);
}

enum errc segment_open(str bytes, struct segment_reader *out, err *e)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    *out = (struct segment_reader){0};
    if (bytes.len < SEGMENT_HEADER || memcmp(p, MAGIC, 8) != 0) return err_set(e, ERR_CORRUPT, "this is no segment of a log");
    if (get_u32(p + 8) > SEGMENT_VERSION) return err_set(e, ERR_CORRUPT, "the segment is of a newer release (version %u)", get_u32(p + 8));
    if (get_u32(p + 12) != SEGMENT_HEADER || get_u32(p + 56) != crc32c(0, p, 56))
        return err_set(e, ERR_CORRUPT, "the header of the segment is damaged");
    memcpy(out->header.node.b, p + 16, 16);
    memcpy(out->header.tree.b, p + 32, 16);
    out->header.first = get_i64(p + 48);
    out->rest = str_skip(bytes, SEGMENT_HEADER);
    return ERR_NONE;
}

static enum errc take_event(struct segment_reader *s, const uint8_t *p, size_t len, struct record *out, err *e)
{
    if (len < EVENT_FIXED) return err_set(e, ERR_CORRUPT, "event %lld of the segment is damaged", (long long)s->n + 1);
    *out = (struct record){.number = get_i64(p + 8), .workspace_number = get_i64(p + 16), .is_dropped = p[1] & 1};
    memcpy(out->id.b, p + 24, 16);
    memcpy(out->workspace.b, p + 40, 16);
    memcpy(out->leaf.b, p + 56, 32);
    out->bytes = text_of(p + EVENT_FIXED, len - EVENT_FIXED);
    s->n++;
    return ERR_NONE;
}

enum errc segment_next(struct segment_reader *s, struct record *out, bool *has_one, err *e)
{
    *has_one = false;
    while (!s->has_ended) {
        const uint8_t *p = (const uint8_t *)s->rest.p;
        if (s->rest.len < 8) return err_set(e, ERR_CORRUPT, "the segment is cut off behind %lld events", (long long)s->n);
        uint32_t len = get_u32(p);
        if (len == 0 || len > SEGMENT_FRAME_MAX || s->rest.len - 8 < len)
            return err_set(e, ERR_CORRUPT, "the segment is cut off or damaged behind %lld events", (long long)s->n);
        bool is_damaged = get_u32(p + 4) != crc32c(0, p + 8, len);
        s->rest = str_skip(s->rest, 8 + len);
        if (p[8] == KIND_EVENT) {
            enum errc rc = take_event(s, p + 8, len, out, e);
            *has_one = rc == ERR_NONE;
            out->is_damaged = is_damaged;
            return rc;
        }
        if (p[8] != KIND_END) continue;
        s->has_ended = true;
        if (len < END_FIXED || get_i64(p + 16) != s->n)
            return err_set(e, ERR_CORRUPT, "the segment says that it has another number of events than it has");
    }
    return ERR_NONE;
}
