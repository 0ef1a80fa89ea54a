#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* RFC 9325: forward secrecy and authenticated encryption only. */
#define TLS12_CIPHERS                                                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                        \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

static const unsigned char alpn_http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

void tls_reason(const SSL *ssl, char *out, size_t len)
{
    unsigned long code = ERR_get_error();
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (verify != X509_V_OK)
        snprintf(out, len, "certificate: %s", X509_verify_cert_error_string(verify));
    else
        snprintf(out, len, "%s", reason ? reason : "the connection was closed");
    ERR_clear_error();
}

static SSL_CTX *context_new(const SSL_METHOD *method, int min_version)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, min_version);
    SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return ctx;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, alpn_http11, sizeof alpn_http11, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

enum errc tls_server_new(SSL_CTX **out, const char *cert_file, const char *key_file, bool allows_tls12, err *e)
{
    char reason[160];
    ERR_clear_error();
    SSL_CTX *ctx = context_new(TLS_server_method(), allows_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    if (!ctx)
        return err_code(e, ERR_NO_MEMORY);
    /* Clients often leave without close_notify; a provider that does so in mid-answer has cut it off (RFC 8446 6.1). */
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    const char *file = cert_file;
    bool is_ok = SSL_CTX_use_certificate_chain_file(ctx, cert_file) == 1;
    if (is_ok) {
        file = key_file;
        is_ok = SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    }
    if (!is_ok) {
        tls_reason(NULL, reason, sizeof reason);
        SSL_CTX_free(ctx);
        return err_set(e, ERR_CONFIG, "%s cannot be used for TLS: %s", file, reason);
    }
    *out = ctx;
    return ERR_NONE;
}

enum errc tls_client_new(SSL_CTX **out, const char *ca_file, err *e)
{
    ERR_clear_error();
    SSL_CTX *ctx = context_new(TLS_client_method(), TLS1_2_VERSION);
    if (!ctx)
        return err_code(e, ERR_NO_MEMORY);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_alpn_protos(ctx, alpn_http11, sizeof alpn_http11);
    SSL_CTX_set_default_verify_paths(ctx);
    enum errc rc = ca_file ? tls_trust(ctx, ca_file, e) : ERR_NONE;
    if (rc != ERR_NONE)
        SSL_CTX_free(ctx);
    else
        *out = ctx;
    return rc;
}

enum errc tls_trust(SSL_CTX *ctx, const char *ca_file, err *e)
{
    char reason[160];
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations(ctx, ca_file, NULL) == 1)
        return ERR_NONE;
    tls_reason(NULL, reason, sizeof reason);
    return err_set(e, ERR_CONFIG, "the CA file %s cannot be used: %s", ca_file, reason);
}

SSL *tls_client_connection(SSL_CTX *ctx, const char *host)
{
    SSL *ssl = SSL_new(ctx);
    if (!ssl)
        return NULL;
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    bool is_ok = is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1
                            : SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!is_ok) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}
