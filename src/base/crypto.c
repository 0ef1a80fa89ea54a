#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* The algorithm is looked up once: OpenSSL 3's one-shot functions search for it, under a lock, at every call. */
static EVP_MD *sha256_algorithm;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void) { sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL); }

void sha256(str data, uint8_t out[SHA256_LEN])
{
    pthread_once(&sha256_once, sha256_fetch);
    unsigned len = 0;
    if (!sha256_algorithm || EVP_Digest(data.p ? data.p : "", data.len, out, &len, sha256_algorithm, NULL) != 1) {
        fprintf(stderr, "catalyst: SHA-256 is not available in this OpenSSL\n");
        abort();
    }
}

#define SHA256_BLOCK 64

void hmac_sha256(str key, str text, uint8_t out[SHA256_LEN])
{
    /* RFC 2104 over our own sha256: OpenSSL's HMAC() looks the algorithm up each time. */
    uint8_t pad[SHA256_BLOCK] = {0}, outer[SHA256_BLOCK + SHA256_LEN];
    struct buf inner;
    if (key.len > SHA256_BLOCK)
        sha256(key, pad);
    else if (key.len)
        memcpy(pad, key.p, key.len);
    for (unsigned i = 0; i < SHA256_BLOCK; i++)
        outer[i] = pad[i] ^ 0x5c, pad[i] ^= 0x36;
    buf_init(&inner, SHA256_BLOCK + text.len);
    buf_add(&inner, str_of((const char *)pad, sizeof pad));
    buf_add(&inner, text);
    if (inner.failed) {
        fprintf(stderr, "catalyst: out of memory\n");
        abort();
    }
    sha256(buf_str(&inner), outer + SHA256_BLOCK);
    sha256(str_of((const char *)outer, sizeof outer), out);
    OPENSSL_cleanse(pad, sizeof pad);
    OPENSSL_cleanse(outer, sizeof outer);
    OPENSSL_cleanse(inner.p, inner.len);
    buf_fini(&inner);
}

void hkdf_sha256(str key, str info, uint8_t *out, size_t out_len)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    size_t len = out_len;
    bool is_ok = c && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_CTX_set_hkdf_md(c, EVP_sha256()) == 1 &&
                 EVP_PKEY_CTX_set1_hkdf_key(c, (const uint8_t *)key.p, (int)key.len) == 1 &&
                 EVP_PKEY_CTX_add1_hkdf_info(c, (const uint8_t *)info.p, (int)info.len) == 1 &&
                 EVP_PKEY_derive(c, out, &len) == 1 && len == out_len;
    EVP_PKEY_CTX_free(c);
    if (!is_ok) {
        fprintf(stderr, "catalyst: HKDF-SHA-256 is not available in this OpenSSL\n");
        abort();
    }
}

/* Reflected polynomials of both CRCs, as byte tables made once. */
static uint32_t table_castagnoli[256], table_ieee[256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void table_make(uint32_t table[256], uint32_t polynomial)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? polynomial : 0);
        table[i] = c;
    }
}

static void tables_make(void)
{
    table_make(table_castagnoli, 0x82F63B78u);
    table_make(table_ieee, 0xEDB88320u);
}

static uint32_t crc_by_table(const uint32_t table[256], uint32_t crc, const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(uint32_t crc, const unsigned char *p, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len; p++, len--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc32c_by_instruction(~crc, data, len);
#endif
    pthread_once(&tables_once, tables_make);
    return ~crc_by_table(table_castagnoli, ~crc, data, len);
}

uint32_t crc32_ieee(str data)
{
    pthread_once(&tables_once, tables_make);
    return ~crc_by_table(table_ieee, ~0u, (const unsigned char *)data.p, data.len);
}

enum errc aead_seal(const uint8_t key[AEAD_KEY_LEN], str bound, str plain, uint8_t *out, err *e)
{
    uint8_t *nonce = out, *text = out + AEAD_NONCE_LEN;
    int n = 0, last = 0;
    if (plain.len > INT32_MAX || bound.len > INT32_MAX)
        return err_set(e, ERR_TOO_LARGE, "sealing %zu bytes: more than 2 GiB", plain.len);
    random_bytes(nonce, AEAD_NONCE_LEN);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool is_ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
                 (!bound.len || EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)bound.p, (int)bound.len) == 1) &&
                 (!plain.len || EVP_EncryptUpdate(c, text, &n, (const uint8_t *)plain.p, (int)plain.len) == 1) &&
                 EVP_EncryptFinal_ex(c, text + plain.len, &last) == 1 &&
                 EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, AEAD_TAG_LEN, text + plain.len) == 1;
    EVP_CIPHER_CTX_free(c);
    return is_ok ? ERR_NONE : err_set(e, ERR_INTERNAL, "AES-256-GCM encryption failed");
}

enum errc aead_open(const uint8_t key[AEAD_KEY_LEN], str bound, str sealed, uint8_t *out, err *e)
{
    if (sealed.len < AEAD_OVERHEAD || sealed.len > INT32_MAX || bound.len > INT32_MAX)
        return err_set(e, ERR_CORRUPT, "sealed value of %zu bytes has no room for nonce and tag", sealed.len);
    size_t len = sealed.len - AEAD_OVERHEAD;
    const uint8_t *nonce = (const uint8_t *)sealed.p, *text = nonce + AEAD_NONCE_LEN;
    uint8_t tag[AEAD_TAG_LEN];
    memcpy(tag, text + len, AEAD_TAG_LEN);
    int n = 0, last = 0;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool is_ok = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
                 (!bound.len || EVP_DecryptUpdate(c, NULL, &n, (const uint8_t *)bound.p, (int)bound.len) == 1) &&
                 (!len || EVP_DecryptUpdate(c, out, &n, text, (int)len) == 1) &&
                 EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, AEAD_TAG_LEN, tag) == 1 &&
                 EVP_DecryptFinal_ex(c, out + len, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (is_ok)
        return ERR_NONE;
    if (len)
        OPENSSL_cleanse(out, len);
    return err_set(e, ERR_CORRUPT, "the sealed value was changed, or belongs to another key or place");
}

bool secret_eq(str a, str b) { return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.p, b.p, a.len) == 0); }

str hex_encode(const void *data, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
    return str_of(out, 2 * n);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(str s, uint8_t *out, size_t n)
{
    if (s.len != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
