/* Chunked bodies: however the bytes are cut, the same body, the same end and the same verdict come out;
 * and what was decoded can be coded and decoded again. */
#include <stdlib.h>

#include "net/http1.h"

#define REQUIRE(claim)                                                                                       \
    do {                                                                                                     \
        if (!(claim)) abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http_progress progress;
    struct buf body;
    size_t used; /* bytes up to the end of the body */
};

static void feed(struct outcome *o, struct http_chunked *c, str piece)
{
    char *copy = malloc(piece.len > 0 ? piece.len : 1);
    REQUIRE(copy != NULL);
    if (piece.len > 0) memcpy(copy, piece.p, piece.len);
    str in = str_of(copy, piece.len), run;
    do {
        size_t before = in.len;
        err e = {0};
        o->progress = http_chunked_next(c, &in, &run, &e);
        REQUIRE(in.len <= before && in.p + in.len == copy + piece.len);
        REQUIRE(run.len == 0 || (run.p >= copy && run.p + run.len == in.p));
        REQUIRE(o->progress != HTTP_MORE || in.len < before || before == 0); /* it gets on */
        REQUIRE((o->progress == HTTP_BAD) == (e.code != ERR_NONE));
        buf_add(&o->body, run);
    } while (o->progress == HTTP_MORE && in.len > 0);
    o->used += piece.len - in.len;
    free(copy);
}

static struct outcome decode(str text, size_t cut)
{
    struct outcome o = {.progress = HTTP_MORE};
    struct http_chunked c;
    http_chunked_init(&c);
    buf_init(&o.body, text.len + 1);
    feed(&o, &c, str_take(text, cut));
    if (o.progress == HTTP_MORE) feed(&o, &c, str_skip(text, cut));
    REQUIRE(buf_err(&o.body) == ERR_NONE);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = str_of((const char *)data, size);
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;

    struct outcome whole = decode(text, size);
    size_t n_cuts = size <= 64 ? size : 8;
    for (size_t i = 0; i < n_cuts; i++, hash = hash * 1664525u + 1013904223u) {
        struct outcome split = decode(text, size <= 64 ? i : hash % size);
        REQUIRE(split.progress == whole.progress);
        REQUIRE(whole.progress == HTTP_BAD || split.used == whole.used);
        REQUIRE(str_eq(buf_str(&split.body), buf_str(&whole.body)));
        buf_fini(&split.body);
    }
    if (whole.progress == HTTP_DONE) {
        struct buf again;
        char head[20];
        buf_init(&again, size + 64);
        if (whole.body.len > 0) {
            buf_add(&again, str_of(head, http_chunk_head(whole.body.len, head)));
            buf_add(&again, buf_str(&whole.body));
            buf_add(&again, S("\r\n"));
        }
        buf_add(&again, S("0\r\n\r\n"));
        struct outcome second = decode(buf_str(&again), again.len / 2);
        REQUIRE(second.progress == HTTP_DONE && second.used == again.len);
        REQUIRE(str_eq(buf_str(&second.body), buf_str(&whole.body)));
        buf_fini(&second.body);
        buf_fini(&again);
    }
    buf_fini(&whole.body);
    return 0;
}
