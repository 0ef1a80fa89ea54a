/* Any JSON as a flag's definition and as attributes of who asks: it is refused or evaluates within its bounds, always to the
 * same, and to a variant that the flag has. */
#include <stdlib.h>

#include "core/flags.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct json *document = NULL, *attributes = NULL;
    struct feature_flag f;
    str text = str_of((const char *)data, size);
    ptrdiff_t at = str_find(text, S("\n%%\n"));
    arena_init(&a, 8u << 20, 0);
    if (at >= 0 && json_parse(&a, str_skip(text, (size_t)at + 4), &attributes, NULL)) attributes = NULL;
    if (at >= 0) text = str_take(text, (size_t)at);
    if (json_parse(&a, text, &document, NULL) == ERR_NONE &&
        flag_parse(S("flag"), document, &f, NULL) == ERR_NONE) {
        const struct flag_context c = {.targeting_key = S("key"),
                                       .user = S("user"),
                                       .role = S("owner"),
                                       .now_us = 1,
                                       .attributes =
                                           attributes && attributes->type == JSON_OBJECT ? attributes : NULL};
        struct flag_result first = flag_evaluate(&a, &f, &c), again = flag_evaluate(&a, &f, &c);
        CHECK(first.value == again.value && first.reason == again.reason);
        CHECK(!first.value || json_get(f.variants, first.variant) == first.value);
        CHECK(first.value || first.reason != FLAG_TARGETING_MATCH);
    }
    arena_fini(&a);
    return 0;
}
