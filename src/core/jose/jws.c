/* The compact form: taking a token apart, verifying its signature, putting one together. */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "core/jose.h"

#define HEAD_MAX 2048 /* characters */
#define HEAD_DEPTH 3
#define SIGNATURE_MAX 1024 /* RSA with 8192 bits */

static const struct {
    const char *name;
    unsigned signature_len; /* 0: as long as the key */
} algorithms[JOSE_ALGS] = {
    [JOSE_NONE] = {"", 0},        [JOSE_EDDSA] = {"EdDSA", 64}, [JOSE_ES256] = {"ES256", 64},
    [JOSE_ES384] = {"ES384", 96}, [JOSE_RS256] = {"RS256", 0},  [JOSE_PS256] = {"PS256", 0},
};

str jose_alg_name(enum jose_alg alg) { return str_c(algorithms[alg].name); }

enum jose_alg jose_alg_of(str name)
{
    for (enum jose_alg i = JOSE_NONE + 1; i < JOSE_ALGS; i++)
        if (str_eq(name, str_c(algorithms[i].name))) return i;
    return JOSE_NONE;
}

/* --- taking apart --- */

static enum errc decode(struct arena *a, str text, const char *what, str *out, err *e)
{
    size_t len;
    char *p = arena_bytes(a, BASE64_DECODED_MAX(text.len));
    if (!p) return err_code(e, ERR_TOO_LARGE);
    if (!base64url_decode(text, (uint8_t *)p, &len))
        return err_set(e, ERR_INVALID, "the token's %s is not base64url in its one form", what);
    *out = str_of(p, len);
    return ERR_NONE;
}

/* Members that would let a token say how it is to be verified, or that change what was signed. */
static const char *const refused[] = {"jku", "jwk", "x5u", "x5c", "crit", "zip", "b64",
                                      "enc", "epk", "apu", "apv", "p2s",  "p2c"};

static enum errc text_of(const struct json *head, const char *name, str *out, err *e)
{
    const struct json *v = json_get(head, str_c(name));
    *out = (str){"", 0};
    if (!v) return ERR_NONE;
    if (v->type != JSON_STRING || v->text.len == 0)
        return err_set(e, ERR_INVALID, "the token's \"%s\" is no text", name);
    *out = v->text;
    return ERR_NONE;
}

static enum errc read_head(struct arena *a, str text, struct jws *out, err *e)
{
    struct json *head;
    str alg;
    err ignored;
    if (json_parse(a, text, &head, &ignored) != ERR_NONE || head->type != JSON_OBJECT ||
        json_depth(head) > HEAD_DEPTH)
        return err_set(e, ERR_INVALID, "the token's head is no JSON object whose members stand once");
    for (size_t i = 0; i < LENGTH_OF(refused); i++)
        if (json_get(head, str_c(refused[i])))
            return err_set(e, ERR_INVALID, "a token with \"%s\" in its head is not taken", refused[i]);
    enum errc rc = text_of(head, "alg", &alg, e);
    if (rc == ERR_NONE) rc = text_of(head, "kid", &out->kid, e);
    if (rc == ERR_NONE) rc = text_of(head, "typ", &out->typ, e);
    if (rc == ERR_NONE) rc = text_of(head, "cty", &out->cty, e);
    if (rc != ERR_NONE) return rc;
    out->alg = jose_alg_of(alg);
    return out->alg ? ERR_NONE : err_set(e, ERR_INVALID, "the token's algorithm is not one that is taken");
}

enum errc jws_read(struct arena *a, str token, struct jws *out, err *e)
{
    str rest = token, head_text, payload_text, head;
    *out = (struct jws){.alg = JOSE_NONE};
    if (token.len > JOSE_TOKEN_MAX)
        return err_set(e, ERR_INVALID, "a token has at most %d bytes", JOSE_TOKEN_MAX);
    head_text = str_cut(&rest, '.');
    payload_text = str_cut(&rest, '.');
    if (!head_text.len || !payload_text.len || !rest.len || str_chr(rest, '.') >= 0)
        return err_set(e, ERR_INVALID, "a token has three parts: head.payload.signature");
    if (head_text.len > HEAD_MAX)
        return err_set(e, ERR_INVALID, "a token's head has at most %d characters", HEAD_MAX);
    out->signed_text = str_take(token, head_text.len + 1 + payload_text.len);
    enum errc rc = decode(a, head_text, "head", &head, e);
    if (rc == ERR_NONE) rc = decode(a, payload_text, "payload", &out->payload, e);
    if (rc == ERR_NONE) rc = decode(a, rest, "signature", &out->signature, e);
    if (rc == ERR_NONE) rc = read_head(a, head, out, e);
    unsigned len = algorithms[out->alg].signature_len;
    if (rc == ERR_NONE && (len ? out->signature.len != len : out->signature.len > SIGNATURE_MAX))
        return err_set(e, ERR_INVALID, "the token's signature has not the length that its algorithm gives");
    return rc;
}

/* --- verifying --- */

/* r and s as DER, which OpenSSL wants; returns its length or 0. */
static size_t to_der(str pair, uint8_t out[128])
{
    size_t half = pair.len / 2;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const uint8_t *)pair.p, (int)half, NULL),
           *s = BN_bin2bn((const uint8_t *)pair.p + half, (int)half, NULL);
    uint8_t *at = out;
    int len = 0;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        r = s = NULL; /* the pair's now */
        len = i2d_ECDSA_SIG(sig, NULL) <= 128 ? i2d_ECDSA_SIG(sig, &at) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

static const EVP_MD *digest_of(enum jose_alg alg)
{
    return alg == JOSE_EDDSA ? NULL : alg == JOSE_ES384 ? EVP_sha384() : EVP_sha256();
}

static bool is_signed(const struct jws *t, const struct jose_key *key)
{
    uint8_t der[128];
    const uint8_t *sig = (const uint8_t *)t->signature.p;
    size_t len = t->signature.len;
    EVP_PKEY_CTX *of_key = NULL;
    if (key->alg == JOSE_ES256 || key->alg == JOSE_ES384) {
        if (!(len = to_der(t->signature, der))) return false;
        sig = der;
    } else if (len != (key->alg == JOSE_EDDSA ? 64 : (size_t)EVP_PKEY_get_size(key->key))) {
        return false;
    }
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool is_right =
        c && EVP_DigestVerifyInit(c, &of_key, digest_of(key->alg), NULL, key->key) == 1 &&
        (key->alg != JOSE_PS256 || (EVP_PKEY_CTX_set_rsa_padding(of_key, RSA_PKCS1_PSS_PADDING) == 1 &&
                                    EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
        EVP_DigestVerify(c, sig, len, (const uint8_t *)t->signed_text.p, t->signed_text.len) == 1;
    EVP_MD_CTX_free(c);
    return is_right;
}

enum errc jws_verify(const struct jws *t, const struct jose_key *key, err *e)
{
    if (key->alg == JOSE_NONE || t->alg != key->alg)
        return err_set(e, ERR_UNAUTHENTICATED, "the token is of another algorithm than its key");
    return is_signed(t, key) ? ERR_NONE : err_set(e, ERR_UNAUTHENTICATED, "the token's signature is wrong");
}

/* --- putting together --- */

static enum errc append_base64url(struct buf *b, str data)
{
    char *p = buf_reserve(b, BASE64_SIZE(data.len));
    if (p) buf_added(b, base64url_encode(data.p, data.len, p).len);
    return buf_err(b);
}

enum errc jws_compose(struct arena *a, enum jose_alg alg, str typ, str kid, str payload, str *signed_text,
                      err *e)
{
    struct buf head, text;
    struct json_writer w;
    buf_init(&head, HEAD_MAX);
    buf_init(&text, JOSE_TOKEN_MAX);
    json_writer_init(&w, &head);
    json_object(&w);
    json_put_str(&w, "alg", jose_alg_name(alg));
    json_put_str(&w, "typ", typ);
    json_put_str(&w, "kid", kid);
    json_end(&w);
    enum errc rc = buf_err(&head);
    if (rc == ERR_NONE) rc = append_base64url(&text, buf_str(&head));
    buf_add_char(&text, '.');
    if (rc == ERR_NONE) rc = append_base64url(&text, payload);
    if (rc == ERR_NONE) {
        *signed_text = str_dup(a, buf_str(&text));
        if (!signed_text->p) rc = ERR_TOO_LARGE;
    }
    buf_fini(&head);
    buf_fini(&text);
    return rc == ERR_NONE ? rc : err_set(e, rc, "a token would have more than %d bytes", JOSE_TOKEN_MAX);
}

enum errc jws_finish(struct arena *a, str signed_text, str signature, str *token, err *e)
{
    char text[BASE64_SIZE(SIGNATURE_MAX)];
    if (signature.len > SIGNATURE_MAX) return err_code(e, ERR_TOO_LARGE);
    *token = arena_printf(a, "%.*s.%.*s", STR(signed_text),
                          STR(base64url_encode(signature.p, signature.len, text)));
    return token->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}
