#include "base/crypto.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                  url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Without padding; returns the number of characters. */
static size_t encode(const char alphabet[64], const uint8_t *p, size_t n, char *out)
{
    char *at = out;
    for (; n >= 3; p += 3, n -= 3) {
        unsigned word = (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        *at++ = alphabet[word >> 6 & 63];
        *at++ = alphabet[word & 63];
    }
    if (n) {
        unsigned word = (unsigned)p[0] << 16 | (n == 2 ? (unsigned)p[1] << 8 : 0);
        *at++ = alphabet[word >> 18];
        *at++ = alphabet[word >> 12 & 63];
        if (n == 2) *at++ = alphabet[word >> 6 & 63];
    }
    return (size_t)(at - out);
}

str base64_encode(const void *data, size_t n, char *out)
{
    size_t len = encode(standard, data, n, out);
    while (len % 4)
        out[len++] = '=';
    out[len] = '\0';
    return str_of(out, len);
}

str base64url_encode(const void *data, size_t n, char *out)
{
    size_t len = encode(url, data, n, out);
    out[len] = '\0';
    return str_of(out, len);
}

/* The value of a digit, or -1; without a branch or a table look-up on the digit, which may be of a secret. */
static int digit(unsigned char c, unsigned char c62, unsigned char c63)
{
    int v = -1;
    v += (('A' - 1 - c) & (c - ('Z' + 1))) >> 8 & (c - 'A' + 1);
    v += (('a' - 1 - c) & (c - ('z' + 1))) >> 8 & (c - 'a' + 27);
    v += (('0' - 1 - c) & (c - ('9' + 1))) >> 8 & (c - '0' + 53);
    v += ((c62 - 1 - c) & (c - (c62 + 1))) >> 8 & 63;
    v += ((c63 - 1 - c) & (c - (c63 + 1))) >> 8 & 64;
    return v;
}

static bool decode(str s, unsigned char c62, unsigned char c63, uint8_t *out, size_t *len)
{
    uint8_t *at = out;
    unsigned bits = 0, n_bits = 0;
    if (s.len % 4 == 1) return false;
    for (size_t i = 0; i < s.len; i++) {
        int v = digit((unsigned char)s.p[i], c62, c63);
        if (v < 0) return false;
        bits = (bits << 6 | (unsigned)v) & 0xfff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            *at++ = (uint8_t)(bits >> n_bits);
        }
    }
    *len = (size_t)(at - out);
    return (bits & ((1u << n_bits) - 1)) == 0;
}

bool base64_decode(str s, uint8_t *out, size_t *len)
{
    if (s.len % 4) return false;
    for (unsigned i = 0; i < 2 && s.len && s.p[s.len - 1] == '='; i++)
        s.len--;
    return decode(s, '+', '/', out, len);
}

bool base64url_decode(str s, uint8_t *out, size_t *len) { return decode(s, '-', '_', out, len); }
