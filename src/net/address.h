/* address.h - which network addresses a program that is told where to connect may reach.
 *
 * A target that somebody else named (a webhook, a repository's URL, a redirect) must not lead into the
 * machine or its network. Addresses fall into three classes: PUBLIC may always be reached; LOCAL (loopback
 * and private networks) when the call is to a target of an administrator's own; FORBIDDEN (link-local with
 * the clouds' metadata services, multicast, reserved and documentation ranges) never. A set of ranges that
 * an administrator allows stands above all classes. Addresses that carry an IPv4 address inside (mapped,
 * NAT64, 6to4) are judged by that.
 * Threads: pure; a set is immutable once filled.
 * Source: IANA special-purpose address registries (RFC 6890, RFC 8190); RFC 4291, 6052, 3056 for embedded
 * addresses.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <sys/socket.h>

#include "base/err.h"

enum address_class { ADDRESS_PUBLIC, ADDRESS_LOCAL, ADDRESS_FORBIDDEN };

/* An address without its port: IPv4 as a mapped one (::ffff:a.b.c.d). */
struct address {
    uint8_t b[16];
};

struct address_range {
    struct address base;
    uint8_t bits; /* of the 128 that count */
};

#define ADDRESS_RANGES_MAX 64

struct address_set {
    struct address_range ranges[ADDRESS_RANGES_MAX];
    unsigned n;
};

/* False for anything but IPv4 and IPv6. */
WARN_UNUSED bool address_of(const struct sockaddr *from, struct address *out);
/* "192.0.2.1" or "2001:db8::1", without brackets. */
WARN_UNUSED bool address_parse(str text, struct address *out);
/* The same, or with a prefix length: "10.0.0.0/8". */
WARN_UNUSED bool address_range_parse(str text, struct address_range *out);
bool address_in(const struct address *a, const struct address_range *range);
enum address_class address_class(const struct address *a);

/* Adds one range; ERR_INVALID says what is wrong with the text, ERR_TOO_LARGE when the set is full. */
WARN_UNUSED enum errc address_set_add(struct address_set *s, str text, err *e);
bool address_set_has(const struct address_set *s, const struct address *a);
/* Whether a connection may be made. allowed may be NULL. */
bool address_may_connect(const struct address *a, const struct address_set *allowed, bool allows_local);

#endif
