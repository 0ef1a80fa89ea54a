/* A tree of any bytes, written again, is a text with the same tree. */
#include <stdlib.h>

#include "json/tree.h"
#include "json/write.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

static void write_tree(struct json_writer *w, const struct json *v, unsigned depth)
{
    if (depth == JSON_WRITE_DEPTH) {
        json_null(w);
        return;
    }
    switch (v->type) {
    case JSON_STRING: json_str(w, v->text); return;
    case JSON_NUMBER: json_raw(w, v->text); return;
    case JSON_TRUE: json_boolean(w, true); return;
    case JSON_FALSE: json_boolean(w, false); return;
    case JSON_ARRAY: json_array(w); break;
    case JSON_OBJECT: json_object(w); break;
    default: json_null(w); return;
    }
    for (const struct json *c = v->child; c; c = c->next) {
        if (v->type == JSON_OBJECT) json_name(w, c->name);
        write_tree(w, c, depth + 1);
    }
    json_end(w);
}

static void check_equal(const struct json *a, const struct json *b, unsigned depth)
{
    if (depth == JSON_WRITE_DEPTH) return;
    CHECK(a->type == b->type && a->n == b->n && str_eq(a->text, b->text));
    const struct json *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next) {
        CHECK(str_eq(x->name, y->name));
        CHECK(a->type != JSON_OBJECT || json_get(a, x->name) == x);
        check_equal(x, y, depth + 1);
    }
    CHECK(!x && !y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf b;
    struct json_writer w;
    struct json *first, *second;
    arena_init(&a, 8u << 20, 0);
    buf_init(&b, 6 * size + 64);
    if (json_parse(&a, (str){(const char *)data, size}, &first, NULL) == ERR_NONE) {
        json_writer_init(&w, &b);
        write_tree(&w, first, 0);
        CHECK(buf_err(&b) == ERR_NONE);
        const enum errc code = json_parse(&a, buf_str(&b), &second, NULL);
        CHECK(code == ERR_NONE || code == ERR_TOO_LARGE);
        if (code == ERR_NONE) check_equal(first, second, 0);
    } else {
        CHECK(!first);
    }
    buf_fini(&b);
    arena_fini(&a);
    return 0;
}
