/* Scanning any bytes: values lie inside the text, a good text is good for the tree too, offsets are
 * inside. */
#include <stdlib.h>

#include "json/tree.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

struct seen {
    str text;
    size_t last_end;
};

static void see(void *ctx, unsigned path, const struct json_value *v)
{
    struct seen *s = ctx;
    CHECK(path < 6 && v->type != JSON_NONE);
    CHECK(v->raw.p == s->text.p + v->offset && v->raw.len > 0 && v->offset + v->raw.len <= s->text.len);
    CHECK(v->offset + v->raw.len > s->last_end);
    s->last_end = v->offset + v->raw.len;
    struct json_value alone;
    CHECK(json_scan(v->raw, NULL, NULL, NULL, &alone, NULL, NULL) == ERR_NONE);
    CHECK(alone.type == v->type && alone.n == v->n && alone.has_escapes == v->has_escapes);
    int64_t integer;
    if (!json_to_i64(v, &integer)) integer = 0;
    if (v->type == JSON_STRING) {
        char *out = malloc(v->raw.len);
        CHECK(out);
        const str decoded = json_string(v, out);
        CHECK(decoded.len == json_string_len(v) && json_string_is(v, decoded));
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_path paths[] = {
        {STR_LIT("model"), true}, {STR_LIT("a.b"), false},
        {STR_LIT("a"), true},     {STR_LIT("messages[].content"), false},
        {STR_LIT("[][]"), false}, {STR_LIT("messages[]"), false},
    };
    struct json_query q;
    CHECK(json_query_init(&q, paths, LENGTH_OF(paths), NULL) == ERR_NONE);
    const str text = {(const char *)data, size};
    struct seen s = {text, 0};
    struct json_value root;
    size_t offset = (size_t)-1;
    err e = {0};
    const enum errc code = json_scan(text, &q, see, &s, &root, &offset, &e);
    CHECK(code == ERR_NONE || code == ERR_SYNTAX || code == ERR_INVALID);
    if (code) CHECK(offset <= size && e.code == code && e.msg[0]);

    struct arena a;
    struct json *tree;
    arena_init(&a, 4u << 20, 0);
    const enum errc tree_code = json_parse(&a, text, &tree, NULL);
    const enum errc plain_code = json_scan(text, NULL, NULL, NULL, &root, NULL, NULL);
    if (tree_code == ERR_NONE)
        CHECK(code == ERR_NONE && plain_code == ERR_NONE && tree->type == root.type && tree->n == root.n);
    if (tree_code == ERR_SYNTAX) CHECK(plain_code == ERR_SYNTAX);
    arena_fini(&a);
    return 0;
}
