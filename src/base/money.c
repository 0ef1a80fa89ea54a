#include "base/money.h"

int64_t money_pico_to_nano(picousd pico)
{
    bool is_negative = pico < 0;
    picousd magnitude = is_negative ? -pico : pico;
    picousd nano = (magnitude + 500) / 1000;
    if (nano > INT64_MAX)
        nano = INT64_MAX;
    return is_negative ? (int64_t)-nano : (int64_t)nano;
}

str money_format(int64_t nanousd, char out[MONEY_TEXT_LEN])
{
    uint64_t magnitude = nanousd < 0 ? 0 - (uint64_t)nanousd : (uint64_t)nanousd;
    size_t at = MONEY_TEXT_LEN;
    out[--at] = '\0';
    for (unsigned digits = 0; digits < 10 || magnitude; digits++) {
        if (digits == 9)
            out[--at] = '.';
        out[--at] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    }
    if (nanousd < 0)
        out[--at] = '-';
    size_t len = MONEY_TEXT_LEN - 1 - at;
    memmove(out, out + at, len + 1);
    return str_of(out, len);
}

bool money_parse(str decimal, int scale, int64_t *out)
{
    bool is_negative = decimal.len && decimal.p[0] == '-';
    if (is_negative)
        decimal = str_skip(decimal, 1);
    int64_t exponent = 0;
    for (size_t i = 0; i < decimal.len; i++) {
        if ((decimal.p[i] | 0x20) != 'e')
            continue;
        str digits = str_skip(decimal, i + 1);
        if (digits.len && digits.p[0] == '+') {
            digits = str_skip(digits, 1);
            if (digits.len && digits.p[0] == '-')
                return false;
        }
        if (!str_to_i64(digits, &exponent) || exponent > 40 || exponent < -40)
            return false;
        decimal = str_take(decimal, i);
        break;
    }
    int64_t places = exponent + scale; /* zeros still to append; negative: digits that must be zero */
    __int128 value = 0;
    bool has_digits = false, is_fraction = false;
    for (size_t i = 0; i < decimal.len; i++) {
        char c = decimal.p[i];
        if (c == '.' && !is_fraction) {
            is_fraction = true;
            continue;
        }
        if (c < '0' || c > '9')
            return false;
        has_digits = true;
        value = value * 10 + (c - '0');
        places -= is_fraction;
        if (value > (__int128)INT64_MAX * 1000000000)
            return false;
    }
    if (!has_digits)
        return false;
    for (; places > 0 && value; places--) {
        value *= 10;
        if (value > INT64_MAX)
            return false;
    }
    for (; places < 0 && value; places++) {
        if (value % 10)
            return false;
        value /= 10;
    }
    if (value > INT64_MAX)
        return false;
    *out = is_negative ? (int64_t)-value : (int64_t)value;
    return true;
}
