/* One-time passwords by time (RFC 6238, on RFC 4226) and recovery codes; base32 in which both are written. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/identity/factors/factors.h"

/* --- base32 --- */

str base32_encode(const void *data, size_t n, char *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const uint8_t *p = data;
    size_t len = 0;
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits = (bits << 8 | p[i]) & 0xffff;
        for (n_bits += 8; n_bits >= 5; n_bits -= 5)
            out[len++] = letters[bits >> (n_bits - 5) & 31];
    }
    if (n_bits) out[len++] = letters[bits << (5 - n_bits) & 31];
    out[len] = '\0';
    return str_of(out, len);
}

/* --- TOTP --- */

void totp_code(str seed, int64_t step, char out[TOTP_DIGITS + 1])
{
    uint8_t counter[8], mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    for (unsigned i = 0; i < sizeof counter; i++)
        counter[i] = (uint8_t)(step >> (56 - 8 * i));
    if (!HMAC(EVP_sha1(), seed.p, (int)seed.len, counter, sizeof counter, mac, &len) || len != 20) {
        fprintf(stderr, "catalyst: HMAC-SHA-1 is not available in this OpenSSL\n");
        abort();
    }
    unsigned at = mac[19] & 15; /* RFC 4226 section 5.3 */
    unsigned value =
        (mac[at] & 0x7fu) << 24 | (unsigned)mac[at + 1] << 16 | (unsigned)mac[at + 2] << 8 | mac[at + 3];
    snprintf(out, TOTP_DIGITS + 1, "%06u", value % 1000000);
}

int64_t totp_find(str seed, str code, usec now, int64_t last_step)
{
    int64_t present = now / (TOTP_STEP_S * USEC_PER_S), found = NO_VALUE;
    for (int64_t step = present - 1; step <= present + 1; step++) {
        char right[TOTP_DIGITS + 1];
        totp_code(seed, step, right);
        if (secret_eq(code, str_of(right, TOTP_DIGITS)) && (last_step == NO_VALUE || step > last_step))
            found = step;
    }
    return found;
}

str totp_typed(struct arena *a, str typed)
{
    size_t len = 0;
    char *p = arena_bytes(a, typed.len + 1);
    for (size_t i = 0; p && i < typed.len; i++)
        if (typed.p[i] != ' ') p[len++] = typed.p[i];
    return str_of(p, len);
}

static void add_escaped(struct buf *b, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool is_plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (is_plain && c)
            buf_add_char(b, c);
        else
            buf_addf(b, "%%%02X", (unsigned char)c);
    }
}

str totp_uri(struct arena *a, str issuer, str account, str secret)
{
    struct buf b;
    buf_init(&b, 8192);
    buf_add(&b, S("otpauth://totp/"));
    add_escaped(&b, issuer);
    buf_add_char(&b, ':');
    add_escaped(&b, account);
    buf_addf(&b, "?secret=%.*s&issuer=", STR(secret));
    add_escaped(&b, issuer);
    buf_addf(&b, "&algorithm=SHA1&digits=%d&period=%d", TOTP_DIGITS, TOTP_STEP_S);
    str uri = buf_err(&b) == ERR_NONE ? str_dup(a, buf_str(&b)) : (str){NULL, 0};
    if (b.p) explicit_bzero(b.p, b.len);
    buf_fini(&b);
    return uri;
}

/* --- recovery codes --- */

void recovery_code_make(char out[RECOVERY_CODE_TEXT_LEN + 1], uint8_t hash[SHA256_LEN])
{
    uint8_t bits[RECOVERY_CODE_LEN];
    char text[BASE32_SIZE(RECOVERY_CODE_LEN)];
    random_bytes(bits, sizeof bits);
    str letters = base32_encode(bits, sizeof bits, text);
    sha256(letters, hash);
    for (size_t i = 0, at = 0; i < letters.len; i++) {
        if (i && i % 4 == 0) out[at++] = '-';
        out[at++] = letters.p[i];
    }
    out[RECOVERY_CODE_TEXT_LEN] = '\0';
    explicit_bzero(bits, sizeof bits);
    explicit_bzero(text, sizeof text);
}

void recovery_code_hash(str typed, uint8_t hash[SHA256_LEN])
{
    char letters[BASE32_SIZE(RECOVERY_CODE_LEN) + 1];
    size_t len = 0;
    for (size_t i = 0; i < typed.len && len < sizeof letters; i++) {
        char c = typed.p[i];
        if (c == ' ' || c == '-') continue;
        letters[len++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    sha256(str_of(letters, len), hash);
    explicit_bzero(letters, sizeof letters);
}
