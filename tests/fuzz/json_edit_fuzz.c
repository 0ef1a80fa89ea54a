/* Edits of any JSON object, chosen by the first bytes of the input: the result is JSON, as long as it says it
 * is, and lacks or has what was asked for. */
#include <stdlib.h>

#include "json/edit.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())
#define OPS 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_path paths[] = {
        {STR_LIT("a"), true},   {STR_LIT("b"), true},    {STR_LIT("c"), true},    {STR_LIT("a.a"), true},
        {STR_LIT("a.b"), true}, {STR_LIT("c[]"), false}, {STR_LIT("new"), false}, {STR_LIT("a.new"), false},
    };
    if (size < OPS) return 0;
    struct json_query q;
    CHECK(json_query_init(&q, paths, LENGTH_OF(paths), NULL) == ERR_NONE);
    const str text = {(const char *)data + OPS, size - OPS};
    struct json_value hits[LENGTH_OF(paths)], root;
    if (json_find(text, &q, hits, &root, NULL)) return 0;

    struct arena a;
    struct buf out;
    struct json_edit ed;
    arena_init(&a, 1u << 20, 0);
    buf_init(&out, size + 4096);
    json_edit_init(&ed, text);
    bool is_gone[3] = {false, false, false}, is_new = false;
    for (unsigned i = 0; i < OPS; i++) {
        const unsigned target = data[i] & 7, kind = data[i] >> 3 & 3;
        const struct json_value *parent = target == 3 || target == 4 || target == 7 ? &hits[0] : &root;
        enum errc code = ERR_NONE;
        if (kind == 0) {
            code = json_edit_replace(&ed, &hits[target], S("[{\"x\":\"y\"}]"), NULL);
        } else if (kind == 1) {
            code = json_edit_remove(&ed, parent, &hits[target], NULL);
            if (!code && target < 3) is_gone[target] = true;
        } else if (kind == 2) {
            code = json_edit_add(&ed, &a, parent, S("new"), S("{}"), NULL);
            if (!code && parent == &root) is_new = true;
        }
        CHECK(code == ERR_NONE || code == ERR_INVALID);
    }
    json_edit_write(&ed, &out);
    CHECK(buf_err(&out) == ERR_NONE && out.len == json_edit_len(&ed));
    err e = {0};
    const enum errc code = json_find(buf_str(&out), &q, hits, &root, &e);
    CHECK(code == ERR_NONE);
    for (unsigned i = 0; i < 3; i++)
        CHECK(!is_gone[i] || hits[i].type == JSON_NONE);
    CHECK(!is_new || hits[6].type != JSON_NONE);
    buf_fini(&out);
    arena_fini(&a);
    return 0;
}
