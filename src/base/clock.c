#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static struct {
    atomic_bool is_frozen;
    _Atomic usec now, mono;
} frozen;

static usec read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (usec)t.tv_sec * USEC_PER_S + t.tv_nsec / 1000;
}

usec clock_now_us(void) { return frozen.is_frozen ? frozen.now : read_clock(CLOCK_REALTIME); }
usec clock_mono_us(void) { return frozen.is_frozen ? frozen.mono : read_clock(CLOCK_MONOTONIC); }

void clock_freeze(usec now_us, usec mono_us)
{
    frozen.now = now_us;
    frozen.mono = mono_us;
    frozen.is_frozen = true;
}

void clock_unfreeze(void) { frozen.is_frozen = false; }

/* Days since 1970-01-01 of a proleptic Gregorian date and back: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
int64_t day_of_date(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

void date_of_day(int64_t day, int *year, unsigned *month, unsigned *day_of_month)
{
    int64_t z = day + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day_of_month = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

static char *put_digits(char *at, unsigned n, unsigned v)
{
    for (unsigned i = n; i-- > 0; v /= 10)
        at[i] = (char)('0' + v % 10);
    return at + n;
}

static char *put_date(char *at, int64_t days)
{
    int year;
    unsigned month, day;
    date_of_day(days, &year, &month, &day);
    at = put_digits(at, 4, (unsigned)(year < 0 ? 0 : year > 9999 ? 9999 : year));
    *at++ = '-';
    at = put_digits(at, 2, month);
    *at++ = '-';
    return put_digits(at, 2, day);
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

str time_format(usec t, char out[TIME_TEXT_LEN + 1])
{
    int64_t days = floor_div(t, USEC_PER_DAY);
    usec rest = t - days * USEC_PER_DAY;
    unsigned seconds = (unsigned)(rest / USEC_PER_S);
    char *at = put_date(out, days);
    *at++ = 'T';
    at = put_digits(at, 2, seconds / 3600);
    *at++ = ':';
    at = put_digits(at, 2, seconds / 60 % 60);
    *at++ = ':';
    at = put_digits(at, 2, seconds % 60);
    *at++ = '.';
    at = put_digits(at, 6, (unsigned)(rest % USEC_PER_S));
    *at++ = 'Z';
    *at = '\0';
    return str_of(out, TIME_TEXT_LEN);
}

str date_format(usec t, char out[11])
{
    *put_date(out, floor_div(t, USEC_PER_DAY)) = '\0';
    return str_of(out, 10);
}

static bool take_digits(str *s, size_t n, unsigned *out)
{
    uint64_t v;
    if (s->len < n || !str_to_u64(str_take(*s, n), &v))
        return false;
    *out = (unsigned)v;
    *s = str_skip(*s, n);
    return true;
}

static bool take_char(str *s, char c)
{
    if (!s->len || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static unsigned month_length(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap ? 1u : 0u);
}

bool time_parse(str s, usec *out)
{
    unsigned year, month, day, hour = 0, minute = 0, second = 0;
    if (!take_digits(&s, 4, &year) || !take_char(&s, '-') || !take_digits(&s, 2, &month) || !take_char(&s, '-') ||
        !take_digits(&s, 2, &day) || month < 1 || month > 12 || day < 1 || day > month_length(year, month))
        return false;
    usec t = day_of_date(year, month, day) * USEC_PER_DAY;
    if (!s.len) {
        *out = t;
        return true;
    }
    if ((!take_char(&s, 'T') && !take_char(&s, 't') && !take_char(&s, ' ')) || !take_digits(&s, 2, &hour) ||
        !take_char(&s, ':') || !take_digits(&s, 2, &minute) || !take_char(&s, ':') || !take_digits(&s, 2, &second) ||
        hour > 23 || minute > 59 || second > 60)
        return false;
    t += ((usec)hour * 3600 + minute * 60 + second) * USEC_PER_S;
    if (take_char(&s, '.')) {
        usec unit = USEC_PER_S;
        unsigned digit, n = 0;
        while (s.len && s.p[0] >= '0' && s.p[0] <= '9' && take_digits(&s, 1, &digit)) {
            unit /= 10;
            t += digit * unit;
            n++;
        }
        if (!n)
            return false;
    }
    if (take_char(&s, 'Z') || take_char(&s, 'z')) {
        *out = t;
        return s.len == 0;
    }
    bool is_east = take_char(&s, '+');
    if ((!is_east && !take_char(&s, '-')) || !take_digits(&s, 2, &hour) || !take_char(&s, ':') ||
        !take_digits(&s, 2, &minute) || hour > 23 || minute > 59 || s.len)
        return false;
    usec offset = ((usec)hour * 3600 + minute * 60) * USEC_PER_S;
    *out = is_east ? t - offset : t + offset;
    return true;
}
