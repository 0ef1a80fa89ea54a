/* Request heads, under the default limits and under tight ones. */
#include "http_head_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_limits normal = {.head_bytes = 16384, .headers = 100};
    static const struct http_limits tight = {.head_bytes = 120, .headers = 3};
    head_check(str_of((const char *)data, size), HEAD_REQUEST, &normal);
    head_check(str_of((const char *)data, size), HEAD_REQUEST, &tight);
    return 0;
}
