/* Any bytes as a proxy, its exceptions, allowed addresses and a target, a line each: the settings are refused or the way to the
 * target is found, always the same one, and nothing of it could break a request's head. */
#include <stdlib.h>

#include "net/outbound.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())

static void check_text(str s)
{
    for (size_t i = 0; i < s.len; i++)
        CHECK((unsigned char)s.p[i] > 0x20 || s.p[i] == ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct outbound *o = NULL;
    struct outbound_route route, again;
    struct url url;
    str rest = str_of((const char *)data, size);
    struct outbound_settings settings = {.has_no_proxy = true};
    arena_init(&a, 8u << 20, 0);
    settings.proxy = str_cut(&rest, '\n');
    settings.no_proxy = str_cut(&rest, '\n');
    settings.allow_addresses = str_cut(&rest, '\n');
    if (outbound_new(&o, &settings, NULL) == ERR_NONE &&
        url_parse(str_cut(&rest, '\n'), &url, NULL) == ERR_NONE) {
        enum errc first = outbound_route(o, &a, &url, false, &route, NULL);
        CHECK(first == outbound_route(o, &a, &url, false, &again, NULL));
        if (first == ERR_NONE) {
            CHECK(outbound_route_is_same(&route, &again));
            CHECK(!route.proxy_host || settings.proxy.len);
            CHECK(!route.proxy_host || !url_host_is_loopback(url.host));
            check_text(str_c(route.proxy_host));
            check_text(route.proxy_authorization);
            struct outbound_route *copy = outbound_route_copy(&route);
            CHECK(copy && outbound_route_is_same(copy, &route));
            free(copy);
        }
    }
    outbound_free(o);
    arena_fini(&a);
    return 0;
}
