#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { V4_BITS = 32, V6_BITS = 128, IPV6_TEXT_MAX = 45 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* From the first that fits. What is not in the list is public. */
static const struct {
    const char *range;
    enum address_class class;
} classes[] = {
    /* metadata services outside the link-local range: AWS, Alibaba, Azure, Oracle */
    {"fd00:ec2::254", ADDRESS_FORBIDDEN},
    {"100.100.100.200", ADDRESS_FORBIDDEN},
    {"168.63.129.16", ADDRESS_FORBIDDEN},
    {"192.0.0.192", ADDRESS_FORBIDDEN},
    {"0.0.0.0", ADDRESS_LOCAL}, /* connects to this machine */
    {"0.0.0.0/8", ADDRESS_FORBIDDEN},
    {"10.0.0.0/8", ADDRESS_LOCAL},
    {"100.64.0.0/10", ADDRESS_LOCAL},
    {"127.0.0.0/8", ADDRESS_LOCAL},
    {"169.254.0.0/16", ADDRESS_FORBIDDEN},
    {"172.16.0.0/12", ADDRESS_LOCAL},
    {"192.0.0.0/24", ADDRESS_FORBIDDEN},
    {"192.0.2.0/24", ADDRESS_FORBIDDEN},
    {"192.88.99.0/24", ADDRESS_FORBIDDEN},
    {"192.168.0.0/16", ADDRESS_LOCAL},
    {"198.18.0.0/15", ADDRESS_LOCAL},
    {"198.51.100.0/24", ADDRESS_FORBIDDEN},
    {"203.0.113.0/24", ADDRESS_FORBIDDEN},
    {"224.0.0.0/3", ADDRESS_FORBIDDEN}, /* multicast, reserved, broadcast */
    {"::ffff:0:0/96", ADDRESS_PUBLIC},  /* every other IPv4 address */
    {"::1", ADDRESS_LOCAL},
    {"::", ADDRESS_LOCAL},
    {"2001::/23", ADDRESS_FORBIDDEN}, /* protocol assignments, Teredo among them */
    {"2001:db8::/32", ADDRESS_FORBIDDEN},
    {"fc00::/7", ADDRESS_LOCAL},
    {"2000::/3", ADDRESS_PUBLIC},
    {"::/0", ADDRESS_FORBIDDEN}, /* link-local, site-local, multicast, discard-only, unassigned */
};

bool address_of(const struct sockaddr *from, struct address *out)
{
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
        memcpy(out->b, mapped, sizeof mapped);
        memcpy(out->b + sizeof mapped, &v4->sin_addr, 4);
        return true;
    }
    if (from->sa_family != AF_INET6) return false;
    memcpy(out->b, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    return true;
}

static bool parse(str text, struct address *out, bool *is_v4)
{
    char copy[IPV6_TEXT_MAX + 1];
    if (text.len == 0 || text.len > IPV6_TEXT_MAX || memchr(text.p, '\0', text.len)) return false;
    memcpy(copy, text.p, text.len);
    copy[text.len] = '\0';
    memcpy(out->b, mapped, sizeof mapped);
    *is_v4 = inet_pton(AF_INET, copy, out->b + sizeof mapped) == 1;
    return *is_v4 || inet_pton(AF_INET6, copy, out->b) == 1;
}

bool address_parse(str text, struct address *out)
{
    bool is_v4;
    return parse(text, out, &is_v4);
}

bool address_range_parse(str text, struct address_range *out)
{
    uint64_t bits;
    bool is_v4, has_bits = str_chr(text, '/') >= 0;
    str host = str_cut(&text, '/');
    if (!parse(host, &out->base, &is_v4)) return false;
    unsigned most = is_v4 ? V4_BITS : V6_BITS;
    if (!has_bits) bits = most;
    if (has_bits && (!str_to_u64(text, &bits) || bits > most)) return false;
    out->bits = (uint8_t)(bits + (is_v4 ? V6_BITS - V4_BITS : 0));
    return true;
}

bool address_in(const struct address *a, const struct address_range *range)
{
    unsigned bytes = range->bits / 8, rest = range->bits % 8;
    if (memcmp(a->b, range->base.b, bytes) != 0) return false;
    return rest == 0 || (a->b[bytes] ^ range->base.b[bytes]) >> (8 - rest) == 0;
}

/* The IPv4 address that an IPv6 one stands for, as a mapped one. */
static bool embedded(const struct address *a, struct address *out)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    const uint8_t *v4 = NULL;
    if (memcmp(a->b, nat64, sizeof nat64) == 0) v4 = a->b + 12;
    if (a->b[0] == 0x20 && a->b[1] == 0x02) v4 = a->b + 2;
    if (!v4) return false;
    memcpy(out->b, mapped, sizeof mapped);
    memcpy(out->b + sizeof mapped, v4, 4);
    return true;
}

enum address_class address_class(const struct address *a)
{
    struct address inner;
    struct address_range range;
    if (embedded(a, &inner)) a = &inner;
    for (size_t i = 0; i < LENGTH_OF(classes); i++)
        if (address_range_parse(str_c(classes[i].range), &range) && address_in(a, &range))
            return classes[i].class;
    return ADDRESS_FORBIDDEN;
}

enum errc address_set_add(struct address_set *s, str text, err *e)
{
    if (s->n == ADDRESS_RANGES_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d addresses are allowed", ADDRESS_RANGES_MAX);
    if (!address_range_parse(text, &s->ranges[s->n]))
        return err_set(e, ERR_INVALID,
                       "'%.*s' is neither an address nor a range such as 10.0.0.0/8 or fd00::/8",
                       STR(str_take(text, 60)));
    s->n++;
    return ERR_NONE;
}

bool address_set_has(const struct address_set *s, const struct address *a)
{
    for (unsigned i = 0; i < s->n; i++)
        if (address_in(a, &s->ranges[i])) return true;
    return false;
}

bool address_may_connect(const struct address *a, const struct address_set *allowed, bool allows_local)
{
    if (allowed && address_set_has(allowed, a)) return true;
    enum address_class class = address_class(a);
    return class == ADDRESS_PUBLIC || (class == ADDRESS_LOCAL && allows_local);
}
