#include "base/keytext.h"

#include "base/crypto.h"
#include "base/random.h"

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#define ID_LEN 8
#define SECRET_LEN 32
#define CHECK_LEN 6 /* 62^6 > 2^32 */
#define CHECK_AT (KEYTEXT_LEN - CHECK_LEN)

/* Uniform: bytes of 248 and more would favour the first letters, and are drawn again. */
static void random_text(char *out, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint8_t b;
        random_bytes(&b, 1);
        if (b < 62 * 4)
            out[i++] = base62[b % 62];
    }
}

static void check_text(str body, char out[CHECK_LEN])
{
    uint32_t crc = crc32_ieee(body);
    for (size_t i = CHECK_LEN; i-- > 0; crc /= 62)
        out[i] = base62[crc % 62];
}

str keytext_make(const char *prefix, char out[KEYTEXT_LEN + 1])
{
    char *at = out;
    memcpy(at, prefix, 3);
    at[3] = '_';
    random_text(at + 4, ID_LEN);
    at[4 + ID_LEN] = '_';
    random_text(at + 5 + ID_LEN, SECRET_LEN);
    at[CHECK_AT - 1] = '_';
    check_text(str_of(out, CHECK_AT - 1), out + CHECK_AT);
    out[KEYTEXT_LEN] = '\0';
    return str_of(out, KEYTEXT_LEN);
}

static bool is_base62(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!memchr(base62, s.p[i], 62))
            return false;
    return true;
}

enum keytext_kind keytext_kind(str s, bool *is_sound)
{
    *is_sound = false;
    enum keytext_kind kind = str_starts(s, S("cvk_"))   ? KEYTEXT_VIRTUAL
                             : str_starts(s, S("cat_")) ? KEYTEXT_MANAGEMENT
                                                        : KEYTEXT_OTHER;
    if (kind == KEYTEXT_OTHER || s.len != KEYTEXT_LEN)
        return kind;
    char check[CHECK_LEN];
    check_text(str_take(s, CHECK_AT - 1), check);
    *is_sound = s.p[4 + ID_LEN] == '_' && s.p[CHECK_AT - 1] == '_' && is_base62(str_of(s.p + 4, ID_LEN)) &&
                is_base62(str_of(s.p + 5 + ID_LEN, SECRET_LEN)) && memcmp(check, s.p + CHECK_AT, CHECK_LEN) == 0;
    return kind;
}
