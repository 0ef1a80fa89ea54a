#include "net/options.h"

/* clang-format off */
static const struct option options[] = {
    {.key = "listen.address", .type = OPTION_TEXT, .fallback = "127.0.0.1:8080",
     .meaning = "HOST:PORT to listen on; anything but loopback needs tls or listen.behind_tls_proxy."},
    {.key = "listen.behind_tls_proxy", .type = OPTION_BOOL, .fallback = "false",
     .meaning = "A proxy in front of Catalyst makes the TLS: plain HTTP is then allowed on any address."},
    {.key = "listen.public_url", .type = OPTION_TEXT, .fallback = "",
     .meaning = "URL that browsers reach Catalyst by, such as https://catalyst.example.com; links in invitations start with it."},
    {.key = "listen.path_prefix", .type = OPTION_TEXT, .fallback = "",
     .meaning = "Path below which browsers see the web page, such as /catalyst; the proxy in front takes it off."},
    {.key = "tls.cert", .type = OPTION_TEXT, .meaning = "PEM file with the certificate chain; turns TLS on."},
    {.key = "tls.key", .type = OPTION_TEXT, .meaning = "PEM file with the certificate's private key."},
    {.key = "tls.min_version", .type = OPTION_ONE_OF, .fallback = "1.3", .choices = "1.2|1.3",
     .meaning = "Oldest TLS version that clients may use; 1.2 only with ECDHE and AEAD ciphers."},
    {.key = "loops", .type = OPTION_INT, .fallback = "0", .min = 0, .max = 256,
     .meaning = "Event loops; 0 = one per core."},
    {.key = "limits.head_bytes", .type = OPTION_BYTES, .fallback = "16KiB", .min = 1024, .max = 1 << 20,
     .meaning = "Largest request head: start line and header fields together."},
    {.key = "limits.headers", .type = OPTION_INT, .fallback = "100", .min = 10, .max = HTTP_HEADERS_MAX,
     .meaning = "Most header fields of a request."},
    {.key = "limits.head_timeout_ms", .type = OPTION_MS, .fallback = "10s", .min = 10, .max = 600000,
     .meaning = "Time from a request head's first byte to its end."},
    {.key = "limits.api_body_bytes", .type = OPTION_BYTES, .fallback = "1MiB", .min = 1024, .max = 1 << 30,
     .meaning = "Largest request body outside /v1."},
    {.key = "limits.body_min_rate", .type = OPTION_BYTES, .fallback = "1KiB", .min = 0, .max = 1 << 30,
     .meaning = "Bytes per second that a request body must arrive at, on average."},
    {.key = "limits.body_grace_ms", .type = OPTION_MS, .fallback = "10s", .min = 0, .max = 600000,
     .meaning = "Time before limits.body_min_rate counts."},
    {.key = "limits.idle_timeout_ms", .type = OPTION_MS, .fallback = "75s", .min = 10, .max = 86400000,
     .meaning = "How long a client's connection is kept between requests."},
    {.key = "limits.write_timeout_ms", .type = OPTION_MS, .fallback = "60s", .min = 10, .max = 86400000,
     .meaning = "How long a client may not read before its connection is closed."},
    {.key = "limits.connections", .type = OPTION_INT, .fallback = "20000", .min = 1, .max = 10000000,
     .meaning = "Most client connections at a time."},
    {.key = "limits.connections_per_address", .type = OPTION_INT, .fallback = "4096", .min = 1, .max = 10000000,
     .meaning = "Most client connections at a time from one address."},
    {.key = "limits.stop_deadline_ms", .type = OPTION_MS, .fallback = "30s", .min = 0, .max = 86400000,
     .meaning = "How long answers under way may go on after SIGTERM."},
};
/* clang-format on */

const struct option_table net_options = {options, LENGTH_OF(options)};
