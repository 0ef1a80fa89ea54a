#include "json/lex.h"

#include "base/utf8.h"

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hexadecimal digits at p. */
static const char *lex_hex4(const char *p, const char *end, uint32_t *out, struct lex_fault *fault)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, p++) {
        if (p == end) return lex_fail(fault, p, "unfinished string");
        const int digit = hex_value(*p);
        if (digit < 0) return lex_fail(fault, p, "hexadecimal digit expected");
        v = v << 4 | (uint32_t)digit;
    }
    *out = v;
    return p;
}

const char *lex_escape(const char *p, const char *end, struct lex_fault *fault)
{
    const char *start = p++;
    if (p == end) return lex_fail(fault, p, "unfinished string");
    switch (*p) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return p + 1;
    case 'u': break;
    default: return lex_fail(fault, p, "unknown escape");
    }
    uint32_t unit;
    p = lex_hex4(p + 1, end, &unit, fault);
    if (!p || unit < 0xD800 || unit > 0xDFFF) return p;
    /* RFC 8259 section 8.2 leaves lone surrogates open; they cannot be written as UTF-8, so they are
     * refused. */
    for (int i = 0; i < 2; i++) {
        if (p + i == end) return lex_fail(fault, end, "unfinished string");
        if (unit > 0xDBFF || p[i] != "\\u"[i]) return lex_fail(fault, start, "lone surrogate");
    }
    p = lex_hex4(p + 2, end, &unit, fault);
    if (p && (unit < 0xDC00 || unit > 0xDFFF)) return lex_fail(fault, start, "lone surrogate");
    return p;
}

const char *lex_space_run(const char *p, const char *end)
{
#ifdef __SSE2__
    /* Indentation: long runs of one byte. */
    const __m128i blank = _mm_set1_epi8(' ');
    if (p != end && (*p == '\n' || *p == '\r')) p++;
    while (end - p >= 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        const int other = _mm_movemask_epi8(_mm_cmpeq_epi8(v, blank)) ^ 0xFFFF;
        if (other) {
            p += __builtin_ctz((unsigned)other);
            break;
        }
        p += 16;
    }
#endif
    while (p != end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* One or more digits. */
static const char *lex_digits(const char *p, const char *end, struct lex_fault *fault)
{
    if (p == end || !is_digit(*p)) return lex_fail(fault, p, "digit expected");
    do
        p++;
    while (p != end && is_digit(*p));
    return p;
}

const char *lex_number(const char *p, const char *end, struct lex_fault *fault)
{
    if (*p == '-') p++;
    if (p != end && *p == '0')
        p++; /* alone: what follows a leading zero is refused by whoever looks at the next byte */
    else if (!(p = lex_digits(p, end, fault)))
        return NULL;
    if (p != end && *p == '.' && !(p = lex_digits(p + 1, end, fault))) return NULL;
    if (p != end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p != end && (*p == '+' || *p == '-')) p++;
        p = lex_digits(p, end, fault);
    }
    return p;
}

const char *lex_word(const char *p, const char *end, str word, struct lex_fault *fault)
{
    if ((size_t)(end - p) >= word.len && memcmp(p, word.p, word.len) == 0) return p + word.len;
    for (size_t i = 0; p != end && *p == word.p[i]; i++)
        p++;
    return lex_fail(fault, p, "value expected");
}

const char *lex_no_value(const char *p, const char *end, struct lex_fault *fault)
{
    const bool is_mark = str_starts((str){p, (size_t)(end - p)}, S("\xEF\xBB\xBF"));
    return lex_fail(fault, p, is_mark ? "byte order mark" : "value expected");
}

bool lex_piece(str *rest, char tmp[4], str *piece)
{
    if (rest->len == 0) return false;
    if (*rest->p != '\\') {
        const char *back = memchr(rest->p, '\\', rest->len);
        *piece = back ? str_take(*rest, (size_t)(back - rest->p)) : *rest;
        *rest = str_skip(*rest, piece->len);
        return true;
    }
    struct lex_fault none;
    const char *p = rest->p, *end = p + rest->len;
    uint32_t cp = (unsigned char)p[1];
    p += 2;
    switch (cp) {
    case 'b': cp = '\b'; break;
    case 'f': cp = '\f'; break;
    case 'n': cp = '\n'; break;
    case 'r': cp = '\r'; break;
    case 't': cp = '\t'; break;
    case 'u':
        p = lex_hex4(p, end, &cp, &none);
        if (cp >= 0xD800 && cp <= 0xDBFF) {
            uint32_t low = 0;
            p = lex_hex4(p + 2, end, &low, &none);
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        }
        break;
    default: break; /* '"', '\\' and '/' are themselves */
    }
    *piece = (str){tmp, utf8_encode(cp, tmp)};
    *rest = (str){p, (size_t)(end - p)};
    return true;
}

size_t lex_unescape(str s, char *out)
{
    char tmp[4];
    str piece;
    size_t n = 0;
    while (lex_piece(&s, tmp, &piece)) {
        memcpy(out + n, piece.p, piece.len);
        n += piece.len;
    }
    return n;
}

bool lex_unescaped_is(str s, str t)
{
    char tmp[4];
    str piece;
    while (lex_piece(&s, tmp, &piece)) {
        if (!str_starts(t, piece)) return false;
        t = str_skip(t, piece.len);
    }
    return t.len == 0;
}

/* The exponent behind 'e', kept within +-10^15: more than any text has digits, so larger ones decide nothing
 * else. */
static int64_t exponent_value(const char *p, const char *end)
{
    const bool is_negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    int64_t v = 0;
    for (; p != end; p++)
        if (v < 100000000000000) v = v * 10 + (*p - '0');
    return is_negative ? -v : v;
}

bool lex_to_i64(str number, int64_t *out)
{
    const char *p = number.p, *end = p + number.len;
    const bool is_negative = *p == '-';
    if (is_negative) p++;
    /* The value is `digits` (point left out) times ten to the power of `exponent`; zeros at the end of the
     * digits are moved into the exponent, so that an integer is exactly what has no negative exponent
     * left. */
    const char *mantissa = p;
    int64_t exponent = 0, n_fraction = 0;
    bool in_fraction = false;
    for (; p != end && *p != 'e' && *p != 'E'; p++) {
        n_fraction += in_fraction;
        in_fraction |= *p == '.';
    }
    const char *stop = p;
    if (p != end) exponent = exponent_value(p + 1, end);
    exponent -= n_fraction;
    while (stop != mantissa && (stop[-1] == '0' || stop[-1] == '.')) {
        exponent += stop[-1] == '0';
        stop--;
    }
    int64_t v = 0; /* summed as a negative number: INT64_MIN has no positive twin */
    for (p = mantissa; p != stop; p++)
        if (*p != '.' && (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *p - '0', &v)))
            return false;
    if (v != 0) {
        if (exponent < 0) return false;
        for (; exponent > 0; exponent--)
            if (__builtin_mul_overflow(v, 10, &v)) return false;
    }
    if (!is_negative && v == INT64_MIN) return false;
    *out = is_negative ? v : -v;
    return true;
}

enum errc lex_error(const struct lex_fault *fault, const char *text, err *e)
{
    return err_set(e, ERR_SYNTAX, "%s at byte %zu", fault->what, fault->at ? (size_t)(fault->at - text) : 0);
}
