/* tls.h - TLS contexts (OpenSSL): 1.3 by default, 1.2 with AEAD and ECDHE as an option; upstream peers are always verified.
 *
 * Threads: a context is shared by all loops (OpenSSL locks its reference counts); an SSL belongs to its connection.
 * Source: RFC 8446, RFC 9325 (recommendations).
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>

#include "base/err.h"

/* For a listener: PEM certificate chain and key files. ERR_CONFIG with what is wrong (missing, unreadable, key does not match). */
WARN_UNUSED enum errc tls_server_new(SSL_CTX **out, const char *cert_file, const char *key_file, bool allows_tls12, err *e);
/* For upstream connections: the system's CAs plus those of ca_file (may be NULL); TLS 1.2 and 1.3. */
WARN_UNUSED enum errc tls_client_new(SSL_CTX **out, const char *ca_file, err *e);
/* Trusts the authorities of a PEM file too. ERR_CONFIG. */
WARN_UNUSED enum errc tls_trust(SSL_CTX *ctx, const char *ca_file, err *e);
/* A client connection that checks the certificate against host (a name or an address). NULL when out of memory. */
SSL *tls_client_connection(SSL_CTX *ctx, const char *host);
/* The reason of the last failure on this thread, for a message; empties OpenSSL's queue. ssl may be NULL. */
void tls_reason(const SSL *ssl, char *out, size_t len);

#endif
