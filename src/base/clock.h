/* clock.h - the only source of time.
 *
 * Time is int64 microseconds since 1970-01-01 UTC; durations come from the monotonic clock. Tests set both.
 * Threads: any.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

typedef int64_t usec;

#define USEC_PER_MS 1000
#define USEC_PER_S 1000000
#define USEC_PER_DAY (86400LL * USEC_PER_S)

usec clock_now_us(void);  /* wall clock, UTC */
usec clock_mono_us(void); /* monotonic */
/* Tests: freezes both clocks at these values until clock_unfreeze. */
void clock_freeze(usec now_us, usec mono_us);
void clock_unfreeze(void);

#define TIME_TEXT_LEN 27 /* 2026-11-24T06:50:00.123456Z */
/* RFC 3339 in UTC with six fraction digits and Z; writes TIME_TEXT_LEN bytes and a NUL. Years 0000 to 9999. */
str time_format(usec t, char out[TIME_TEXT_LEN + 1]);
/* RFC 3339 date-time (any fraction, Z or offset) or a date alone (midnight UTC); false when it is neither. */
WARN_UNUSED bool time_parse(str s, usec *out);
/* Days since 1970-01-01 of a proleptic Gregorian date, and back. */
int64_t day_of_date(int64_t y, unsigned m, unsigned d);
void date_of_day(int64_t day, int *year, unsigned *month, unsigned *day_of_month);
/* "2026-11-24": writes 10 bytes and a NUL. */
str date_format(usec t, char out[11]);

#endif
