/* Event streams: however the bytes are cut, a reader sees the same events and the same verdict; the raw
 * bytes of the events and the unfinished rest are the input; data is what a simple reading of the raw
 * bytes gives. */
#include <stdlib.h>

#include "net/sse.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum errc code;
    struct buf raw;
    struct buf seen; /* type, data and their lengths of what a reader would see */
    bool has_begun;
};

/* The standard's algorithm as it is written there: a line at a time, every line ending seen one byte at a
 * time. */
static void read_simply(str raw, bool is_first, str *type, struct buf *joined, bool *has_data)
{
    *type = (str){NULL, 0};
    *has_data = false;
    if (is_first && str_starts(raw, S("\xef\xbb\xbf"))) raw = str_skip(raw, 3);
    for (size_t i = 0; i < raw.len;) {
        size_t n = 0;
        while (i + n < raw.len && raw.p[i + n] != '\n' && raw.p[i + n] != '\r')
            n++;
        str value = str_of(raw.p + i, n);
        i += n + 1;
        str name = str_cut(&value, ':');
        if (value.len > 0 && value.p[0] == ' ') value = str_skip(value, 1);
        if (str_eq(name, S("event"))) *type = value;
        if (str_eq(name, S("data"))) {
            if (*has_data) buf_add_char(joined, '\n');
            buf_add(joined, value);
            *has_data = true;
        }
    }
}

static bool on_event(void *ctx, const struct sse_event *event)
{
    struct outcome *o = ctx;
    struct buf joined;
    bool has_data;
    str type;
    REQUIRE(event->raw.len > 0);
    char last = event->raw.p[event->raw.len - 1];
    REQUIRE(last == '\n' || last == '\r');
    buf_init(&joined, event->raw.len);
    read_simply(event->raw, !o->has_begun, &type, &joined, &has_data);
    REQUIRE(has_data == event->has_data && str_eq(type, event->type));
    REQUIRE(!has_data || str_eq(buf_str(&joined), event->data));
    buf_fini(&joined);
    o->has_begun = true;
    buf_add(&o->raw, event->raw);
    if (event->has_data || event->type.len > 0) {
        buf_addf(&o->seen, "%zu %d %zu ", event->type.len, event->has_data, event->data.len);
        buf_add(&o->seen, event->type);
        buf_add(&o->seen, event->data);
    }
    return true;
}

static void feed(struct sse *s, struct outcome *o, str piece)
{
    err e = {0};
    char *copy = malloc(piece.len > 0 ? piece.len : 1);
    REQUIRE(copy != NULL);
    if (piece.len > 0) memcpy(copy, piece.p, piece.len);
    o->code = sse_feed(s, str_of(copy, piece.len), on_event, o, &e);
    REQUIRE(o->code == e.code);
    free(copy);
}

static struct outcome read_stream(str text, size_t cut, size_t max_event)
{
    struct outcome o = {.code = ERR_NONE};
    struct sse s;
    buf_init(&o.raw, text.len);
    buf_init(&o.seen, 100 * text.len + 100);
    sse_init(&s, max_event);
    feed(&s, &o, str_take(text, cut));
    if (o.code == ERR_NONE) feed(&s, &o, str_skip(text, cut));
    if (o.code == ERR_NONE) {
        buf_add(&o.raw, sse_unfinished(&s));
        REQUIRE(str_eq(buf_str(&o.raw), text));
    }
    REQUIRE(buf_err(&o.raw) == ERR_NONE && buf_err(&o.seen) == ERR_NONE);
    sse_fini(&s);
    return o;
}

static void check(str text, size_t max_event)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.p[i]) * 16777619u;
    struct outcome whole = read_stream(text, text.len, max_event);
    size_t n_cuts = text.len <= 64 ? text.len : 8;
    for (size_t i = 0; i < n_cuts; i++, hash = hash * 1664525u + 1013904223u) {
        struct outcome split = read_stream(text, text.len <= 64 ? i : hash % text.len, max_event);
        REQUIRE(split.code == whole.code && str_eq(buf_str(&split.seen), buf_str(&whole.seen)));
        buf_fini(&split.raw);
        buf_fini(&split.seen);
    }
    buf_fini(&whole.raw);
    buf_fini(&whole.seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(str_of((const char *)data, size), 1 << 20);
    check(str_of((const char *)data, size), 24);
    return 0;
}
