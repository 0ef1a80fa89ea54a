/* Response heads, also as answers to HEAD. */
#include "http_head_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_limits normal = {.head_bytes = 16384, .headers = 100};
    head_check(str_of((const char *)data, size), HEAD_RESPONSE, &normal);
    head_check(str_of((const char *)data, size), HEAD_RESPONSE_TO_HEAD, &normal);
    return 0;
}
