/* prices.h - what tokens cost: the embedded price list, user files on top, by date.
 *
 * Rows are `provider, model, valid_from, unit, pico` (pico-USD per token). A call is priced by the row in
 * force on its day (UTC); before the first date the earliest holds. A user's row beats the embedded ones of
 * every date from its own date on; one without a date is always in force.
 * Each unit is looked up by itself, so that a file that gives only the output price leaves the others as
 * they are. A model without rows has an unknown price, which is not 0; local kinds (Ollama, vLLM,
 * llama.cpp) are declared 0 by their kind. Loading takes about a millisecond: the list stays where it is
 * in the program, the index holds slices of it.
 * Threads: a price book is immutable after loading; calls may look up from any thread.
 * Source of the embedded list: see src/gateway/prices/prices.tsv, first lines; made by tools/prices.mjs.
 */
#ifndef GATEWAY_PRICES_H
#define GATEWAY_PRICES_H

#include "base/arena.h"
#include "base/money.h"
#include "gateway/usage.h"

enum price_unit {
    PRICE_INPUT,
    PRICE_OUTPUT,
    PRICE_CACHE_READ,
    PRICE_CACHE_WRITE,
    PRICE_CACHE_WRITE_1H,
    /* No prices, but facts of a model that are kept and overridden like them: the tokens of its context, and of its longest answer. */
    PRICE_CONTEXT,
    PRICE_MAX_OUTPUT,
    PRICE_UNITS
};

struct price {
    int64_t pico[PRICE_UNITS]; /* per token (the last two: tokens); -1 = not published */
};

struct price_book;

/* The embedded list plus, when user_file is not NULL, rows of that file. It is either tab-separated like
 * the embedded list (`#` begins a comment line; an empty valid_from means always), or JSON lines as
 * provider lists publish them: USD per million tokens as input, output, cache_read, cache_write,
 * optionally cache_write_1h and valid_from, or other_usd_per_unit.cache_write_1h in USD per token; null
 * means not published. Which one, the ending (.tsv, .jsonl, .json, .ndjson) says, else the first byte. The
 * book lives in the arena (about 600 KiB). ERR_CONFIG with file and line for a bad row; ERR_NOT_FOUND /
 * ERR_IO for the file; ERR_TOO_LARGE for the arena. */
WARN_UNUSED enum errc price_book_load(struct arena *a, const char *user_file, struct price_book **out,
                                      err *e);
/* Adds a row that the configuration gives for one configured provider (provider = the name in the
 * configuration, which is looked up before the kind's source). valid_from_us 0 = always. Copies the names.
 * ERR_CONFIG when the same row was given before or the price is negative; ERR_TOO_LARGE for the arena. */
WARN_UNUSED enum errc price_book_add(struct price_book *b, str provider, str model, usec valid_from_us,
                                     enum price_unit unit, int64_t pico, err *e);

/* A book of rows of its own on top of another one, which must outlive it: what price_book_add puts there is the configuration of providers that the one
 * below does not know. */
WARN_UNUSED enum errc price_book_over(struct arena *a, const struct price_book *below, struct price_book **out, err *e);

/* Adds the rows of `prices` of a configured provider, {MODEL: {input, output, cache_read, cache_write, cache_write_1h, context, max_output}} in USD per million
 * tokens (the last two in tokens), under its name. Calls told (not NULL) with each problem and the member it is about; book NULL only checks. */
struct json;
void price_book_add_tree(struct price_book *b, str provider, const struct json *models,
                         void (*told)(void *ctx, const struct json *where, const char *problem), void *ctx);

/* The price of model on the day of `at`, or false when unknown. provider = configured name (user rows),
 * source = the kind's name in the list (may be empty). Each unit comes from the configuration, else from
 * rows of the user's file under the configured name, else from rows of the list and the user's file under
 * the source. A name with a date suffix that is not listed (-20250929, -2025-09-29) falls back to the name
 * without it; "models/x" to "x"; nothing else is guessed. */
WARN_UNUSED bool price_find(const struct price_book *b, str provider, str source, str model, usec at,
                            struct price *out);

/* Cost of the tokens. Kinds with tokens but without a published price fall back: cache reads and writes to
 * the input price, the 1 h write to the 5 min write; COST_UNKNOWN when the input or output price itself is
 * missing and tokens of that kind were used. Saturates at INT64_MAX. */
int64_t price_cost_nanousd(const struct price *p, const struct token_usage *t);

/* What is known of a model's size: from the rows where they have it, else from a table by name; unknown is 0 for the context, and
 * MODEL_OUTPUT_DEFAULT for the answer. */
#define MODEL_OUTPUT_DEFAULT 32000
struct model_limits {
    int64_t context, max_output;
};
struct model_limits price_model_limits(const struct price *p, str model);

/* Every model of a source that matches the glob, in list order, for GET /v1/models and "did you mean". */
typedef void (*price_model_fn)(void *ctx, str model);
void price_book_models(const struct price_book *b, str source, str glob, price_model_fn fn, void *ctx);
/* The version of the embedded list (its date). */
str price_list_version(void);

#endif
