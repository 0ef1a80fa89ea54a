/* Any bytes as YAML: a tree or an error with its reason, never more memory than the arena allows. */
#include <stdlib.h>

#include "json/yaml.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

static void check_tree(const struct json *v, unsigned depth)
{
    CHECK(depth <= 33 && v->type != JSON_NONE && v->line > 0);
    uint32_t n = 0;
    for (const struct json *c = v->child; c; c = c->next, n++) {
        CHECK(v->type != JSON_OBJECT || n > 64 || json_get(v, c->name) == c);
        check_tree(c, depth + 1);
    }
    CHECK(n == v->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct json *root;
    err e = {0};
    arena_init(&a, 8u << 20, 0);
    const enum errc code = yaml_parse(&a, (str){(const char *)data, size}, &root, &e);
    if (code) {
        CHECK(!root && e.code == code && e.msg[0]);
        CHECK(code == ERR_SYNTAX || code == ERR_INVALID || code == ERR_TOO_LARGE);
    } else {
        check_tree(root, 1);
    }
    arena_fini(&a);
    return 0;
}
