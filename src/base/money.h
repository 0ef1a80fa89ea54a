/* money.h - exact money: prices are int64 pico-USD per token, costs int64 nano-USD. Never a double.
 *
 * 1 USD = 10^9 nano-USD = 10^12 pico-USD; a price of 1 micro-USD per million tokens is 1 pico-USD per token.
 * Threads: pure.
 */
#ifndef BASE_MONEY_H
#define BASE_MONEY_H

#include "base/str.h"

typedef __int128 picousd; /* sums of tokens x price of one call */

/* Rounded half up, once per call; saturates at INT64_MAX. */
int64_t money_pico_to_nano(picousd pico);
#define MONEY_TEXT_LEN 32
/* Always nine places: 4210000 -> "0.004210000". Negative values get a '-'. NUL-terminated. */
str money_format(int64_t nanousd, char out[MONEY_TEXT_LEN]);
/* A decimal number ("3", "0.075", "1e-06") times 10^scale as an exact integer; false when digits are left over or it overflows.
 * scale 6 turns USD per million tokens into pico-USD per token; scale 12 USD per token into pico-USD; scale 9 USD into nano-USD. */
WARN_UNUSED bool money_parse(str decimal, int scale, int64_t *out);

#endif
