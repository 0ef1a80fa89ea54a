/* Prices: money exact to the nano-dollar against plain 128-bit arithmetic, price history by date, which
 * row wins, and unknown is never zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "gateway/prices.h"

#define BOOK_LIMIT (16u << 20)

static struct arena arena;
static char file_path[300];

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, BOOK_LIMIT, 1u << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    if (file_path[0]) unlink(file_path);
    file_path[0] = 0;
    return 0;
}

static usec day(const char *date)
{
    usec t;
    assert_true(time_parse(str_c(date), &t));
    return t;
}

static struct price_book *load(void)
{
    struct price_book *b;
    err e = {0};
    if (price_book_load(&arena, NULL, &b, &e)) fail_msg("%s", e.msg);
    return b;
}

static void write_file(const char *ending, const char *text)
{
    const char *base = getenv("TMPDIR");
    snprintf(file_path, sizeof file_path, "%s/prices_test.%d%s", base ? base : "/tmp", (int)getpid(), ending);
    FILE *f = fopen(file_path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct price_book *load_with(const char *ending, const char *text)
{
    write_file(ending, text);
    struct price_book *b;
    err e = {0};
    if (price_book_load(&arena, file_path, &b, &e)) fail_msg("%s", e.msg);
    return b;
}

static void expect_error(const char *ending, const char *text, const char *says)
{
    write_file(ending, text);
    struct price_book *b;
    err e = {0};
    assert_int_equal(price_book_load(&arena, file_path, &b, &e), ERR_CONFIG);
    assert_null(b);
    if (!strstr(e.msg, says) || !strstr(e.msg, file_path)) fail_msg("'%s' does not say '%s'", e.msg, says);
    unlink(file_path);
}

/* One unit's price, -1 when not published, -2 when the model is unknown. */
static int64_t pico(const struct price_book *b, const char *provider, const char *source, const char *model,
                    const char *date, enum price_unit unit)
{
    struct price p;
    return price_find(b, str_c(provider), str_c(source), str_c(model), day(date), &p) ? p.pico[unit] : -2;
}

static int64_t input_of(const struct price_book *b, const char *provider, const char *source,
                        const char *model, const char *date)
{
    return pico(b, provider, source, model, date, PRICE_INPUT);
}

/* --- the embedded list --- */

static void the_embedded_list_knows_published_prices(void **state)
{
    (void)state;
    struct price_book *b = load();
    struct price p;
    assert_true(
        price_find(b, S("x"), S("anthropic"), S("claude-sonnet-4-5-20250929"), day("2026-11-24"), &p));
    assert_int_equal(p.pico[PRICE_INPUT], 3000000); /* 3 USD per million = 3 micro-USD a token */
    assert_int_equal(p.pico[PRICE_OUTPUT], 15000000);
    assert_int_equal(p.pico[PRICE_CACHE_READ], 300000);
    assert_int_equal(p.pico[PRICE_CACHE_WRITE], 3750000);
    assert_int_equal(p.pico[PRICE_CACHE_WRITE_1H], 6000000);
    assert_true(price_find(b, S("x"), S("openai"), S("gpt-4o"), day("2026-11-24"), &p));
    assert_int_equal(p.pico[PRICE_INPUT], 2500000);
    assert_int_equal(p.pico[PRICE_CACHE_WRITE], -1);
    /* before the first date the earliest holds */
    assert_int_equal(input_of(b, "x", "openai", "gpt-4o", "2020-01-01"), 2500000);
    usec t;
    assert_true(time_parse(price_list_version(), &t));
}

static void an_unknown_model_has_no_price_and_that_is_not_zero(void **state)
{
    (void)state;
    struct price_book *b = load();
    struct price p = {{1, 1, 1, 1, 1}};
    assert_false(price_find(b, S("openai"), S("openai"), S("gpt-99"), day("2026-11-24"), &p));
    for (unsigned i = 0; i < PRICE_UNITS; i++)
        assert_int_equal(p.pico[i], -1);
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.output = 1}), COST_UNKNOWN);
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){0}), 0);
    assert_false(
        price_find(b, S("openai"), S(""), S("gpt-4o"), day("2026-11-24"), &p)); /* no source: no list */
    assert_false(price_find(b, S(""), S(""), S(""), 0, &p));
    char longer[2000];
    memset(longer, 'a', sizeof longer);
    assert_false(price_find(b, S("openai"), S("openai"), (str){longer, sizeof longer}, 0, &p));
}

static void dated_and_prefixed_names_fall_back_to_the_plain_one(void **state)
{
    (void)state;
    struct price_book *b = load_with(".tsv", "acme\tplain\t\tinput\t7\n"
                                             "acme\tdated-2025-01-02\t\tinput\t8\n"
                                             "acme\tdated\t\tinput\t9\n");
    const char *now = "2026-11-24";
    assert_int_equal(input_of(b, "", "acme", "plain-20250929", now), 7);
    assert_int_equal(input_of(b, "", "acme", "plain-2025-09-29", now), 7);
    assert_int_equal(input_of(b, "", "acme", "models/plain", now), 7);
    assert_int_equal(input_of(b, "", "acme", "models/plain-2025-09-29", now), 7);
    assert_int_equal(input_of(b, "", "acme", "dated-2025-01-02", now), 8); /* listed: its own price */
    assert_int_equal(input_of(b, "", "acme", "dated-2025-01-03", now), 9);
    /* nothing else is guessed */
    assert_int_equal(input_of(b, "", "acme", "plain-2025-9-29", now), -2);
    assert_int_equal(input_of(b, "", "acme", "plain-2025092", now), -2);
    assert_int_equal(input_of(b, "", "acme", "plain-latest", now), -2);
    assert_int_equal(input_of(b, "", "acme", "Plain", now), -2);
    assert_int_equal(input_of(b, "", "acme", "plai", now), -2);
    assert_int_equal(input_of(b, "", "acme", "-20250929", now), -2);
}

/* --- history and precedence --- */

static void a_call_is_priced_by_the_row_of_its_day(void **state)
{
    (void)state;
    struct price_book *b = load_with(".tsv", "# rows in no order\r\n"
                                             "acme\tm\t2026-03-01\tinput\t30\r\n"
                                             "acme\tm\t2026-01-01\tinput\t10\r\n"
                                             "\r\n"
                                             "acme\tm\t2026-02-01\tinput\t20\n"
                                             "acme\tm\t2026-02-01\toutput\t21");
    assert_int_equal(input_of(b, "acme", "acme", "m", "1999-01-01"), 10);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2026-01-01"), 10);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2026-01-31T23:59:59.999999Z"), 10);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2026-02-01T00:00:00Z"), 20);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2026-02-28"), 20);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2026-03-01"), 30);
    assert_int_equal(input_of(b, "acme", "acme", "m", "2100-01-01"), 30);
    /* each unit by itself: the output price of February still holds in March, and before */
    assert_int_equal(pico(b, "acme", "acme", "m", "2026-03-05", PRICE_OUTPUT), 21);
    assert_int_equal(pico(b, "acme", "acme", "m", "2025-03-05", PRICE_OUTPUT), 21);
    assert_int_equal(pico(b, "acme", "acme", "m", "2026-03-05", PRICE_CACHE_READ), -1);
}

static void a_users_row_beats_the_embedded_ones_from_its_date_on(void **state)
{
    (void)state;
    struct price_book *b = load_with("", "openai\tgpt-4o\t2026-08-21\tinput\t1\n" /* the list's own date */
                                         "openai\tgpt-4o\t2027-01-01\tinput\t2\n"
                                         "openai\to3\t2026-01-01\tinput\t3\n"
                                         "openai\tgpt-4o-mini\t\tinput\t4\n");
    assert_int_equal(input_of(b, "p", "openai", "gpt-4o", "2026-11-24"), 1);
    assert_int_equal(input_of(b, "p", "openai", "gpt-4o", "2027-01-01"), 2);
    assert_int_equal(input_of(b, "p", "openai", "gpt-4o", "2026-01-01"), 2500000); /* not yet the user's */
    assert_int_equal(pico(b, "p", "openai", "gpt-4o", "2026-11-24", PRICE_OUTPUT), 10000000); /* untouched */
    /* the list's later date does not end it */
    assert_int_equal(input_of(b, "p", "openai", "o3", "2026-02-01"), 3);
    assert_int_equal(input_of(b, "p", "openai", "o3", "2026-11-24"), 3);
    /* one without a date always holds */
    assert_int_equal(input_of(b, "p", "openai", "gpt-4o-mini", "2026-11-24"), 4);
    assert_int_equal(input_of(b, "p", "openai", "gpt-4o-mini", "2000-01-01"), 4);
}

static void the_configuration_beats_the_file_and_the_configured_name_beats_the_source(void **state)
{
    (void)state;
    struct price_book *b = load_with(".tsv", "openai\tgpt-4o\t2026-08-21\tinput\t1\n"
                                             "mine\tgpt-4o\t2026-01-01\tinput\t5\n"
                                             "mine\tonly-here\t\tinput\t6\n");
    err e = {0};
    assert_int_equal(input_of(b, "mine", "openai", "gpt-4o", "2026-11-24"), 5);
    assert_int_equal(pico(b, "mine", "openai", "gpt-4o", "2026-11-24", PRICE_OUTPUT), 10000000);
    assert_int_equal(input_of(b, "mine", "", "only-here", "2026-11-24"), 6);
    assert_int_equal(input_of(b, "other", "openai", "gpt-4o", "2026-11-24"), 1);
    assert_int_equal(price_book_add(b, S("mine"), S("gpt-4o"), 0, PRICE_INPUT, 7, &e), ERR_NONE);
    assert_int_equal(input_of(b, "mine", "openai", "gpt-4o", "2026-11-24"), 7);
    /* also when the provider is called like the source, whose rows are dated */
    assert_int_equal(price_book_add(b, S("openai"), S("gpt-4o"), 0, PRICE_INPUT, 8, &e), ERR_NONE);
    assert_int_equal(input_of(b, "openai", "openai", "gpt-4o", "2026-11-24"), 8);
    assert_int_equal(input_of(b, "other", "openai", "gpt-4o", "2026-11-24"), 1);
    /* a provider that happens to be called openai but is of no listed kind gets no list prices */
    assert_int_equal(input_of(b, "openai", "", "o3", "2026-11-24"), -2);
    assert_int_equal(price_book_add(b, S("mine"), S("gpt-4o"), day("2027-01-01"), PRICE_INPUT, 9, &e),
                     ERR_NONE);
    assert_int_equal(input_of(b, "mine", "openai", "gpt-4o", "2027-06-01"), 9);
    assert_int_equal(input_of(b, "mine", "openai", "gpt-4o", "2026-12-31"), 7);
    assert_int_equal(price_book_add(b, S("mine"), S("gpt-4o"), 0, PRICE_INPUT, 7, &e), ERR_CONFIG);
    assert_int_equal(price_book_add(b, S("mine"), S("gpt-4o"), 0, PRICE_OUTPUT, -1, &e), ERR_CONFIG);
    assert_int_equal(price_book_add(b, S("mine"), S(""), 0, PRICE_OUTPUT, 1, &e), ERR_CONFIG);
    assert_int_equal(price_book_add(b, S("mi\tne"), S("m"), 0, PRICE_OUTPUT, 1, &e), ERR_CONFIG);
    assert_int_equal(price_book_add(b, S("mine"), S("free"), 0, PRICE_INPUT, 0, &e), ERR_NONE);
    assert_int_equal(input_of(b, "mine", "", "free", "2026-11-24"), 0);
}

/* --- user files --- */

static void a_file_of_json_lines_is_read_exactly(void **state)
{
    (void)state;
    struct price_book *b =
        load_with(".jsonl", "{\"provider\":\"acme\",\"model\":\"a\\u0062c\",\"input\":0.000001,\"output\":"
                            "\"2.50\",\"cache_read\":null,"
                            "\"other_usd_per_unit\":{\"cache_write_1h\":1.6e-06,\"web_search\":0.01}}\n"
                            "\n"
                            "{\"provider\":\"acme\",\"model\":\"d\",\"valid_from\":\"2026-05-01\",\"input\":"
                            "1e2,\"cache_write_1h\":3}\n"
                            "{\"provider\":\"acme\",\"model\":\"d\",\"input\":1,\"note\":[1,{\"x\":2}]}");
    const char *now = "2026-11-24";
    assert_int_equal(input_of(b, "acme", "", "abc", now), 1);
    assert_int_equal(pico(b, "acme", "", "abc", now, PRICE_OUTPUT), 2500000);
    assert_int_equal(pico(b, "acme", "", "abc", now, PRICE_CACHE_READ), -1);
    assert_int_equal(pico(b, "acme", "", "abc", now, PRICE_CACHE_WRITE_1H), 1600000);
    assert_int_equal(input_of(b, "acme", "", "d", now), 100000000);
    assert_int_equal(input_of(b, "acme", "", "d", "2026-04-30"), 1000000);
    assert_int_equal(pico(b, "acme", "", "d", now, PRICE_CACHE_WRITE_1H), 3000000);
    /* without an ending the first byte decides */
    b = load_with("", "\n {\"provider\":\"acme\",\"model\":\"z\",\"input\":1}\n");
    assert_int_equal(input_of(b, "acme", "", "z", now), 1000000);
}

static void bad_rows_are_errors_with_file_and_line(void **state)
{
    (void)state;
    expect_error(".tsv", "# c\nacme\tm\t2026-01-01\tinput\t1.5\n", ":2: ");
    expect_error(".tsv", "acme\tm\t2026-01-01\tinput\t-1\n", "pico-USD");
    expect_error(".tsv", "acme\tm\t2026-01-01\tinput\t\n", "pico-USD");
    expect_error(".tsv", "acme\tm\t2026-01-01\tinput\t1\t2\n", "pico-USD");
    expect_error(".tsv", "acme\tm\t2026-01-01\tinput\t9223372036854775808\n", "pico-USD");
    expect_error(".tsv", "acme\tm\t2026-13-01\tinput\t1\n", "2026-13-01");
    expect_error(".tsv", "acme\tm\tyesterday\tinput\t1\n", "valid_from");
    expect_error(".tsv", "\n\nacme\tm\t2026-01-01\tinputs\t1\n", ":3: ");
    expect_error(".tsv", "acme\tm\n", "unit");
    expect_error(".tsv", "acme\n", "model");
    expect_error(".tsv", "\tm\t\tinput\t1\n", "provider");
    expect_error(".tsv", "acme\tm\t\tinput\t1\nacme\tm\t\tinput\t1\n",
                 ":2: the input price of 'm' is given twice");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\",\"input\":1}\n{\"provider\":", ":2: ");
    expect_error(".jsonl", "{\"provider\":\"a\",\"input\":1}\n", "model");
    expect_error(".jsonl", "[1]\n", "provider and model");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\",\"input\":0.0000001}\n", "0.0000001");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\",\"input\":true}\n", ":1: ");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\",\"input\":\"-1\"}\n", "-1");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\\t\",\"input\":1}\n", "tab");
    expect_error(".jsonl", "{\"provider\":\"a\",\"model\":\"m\",\"valid_from\":\"x\",\"input\":1}\n",
                 "valid_from");

    struct price_book *b;
    err e = {0};
    assert_int_equal(price_book_load(&arena, "/nonexistent/prices.tsv", &b, &e), ERR_NOT_FOUND);
    assert_int_equal(price_book_load(&arena, "/", &b, &e), ERR_IO);
    struct arena small;
    arena_init(&small, 64u << 10, 0);
    assert_int_equal(price_book_load(&small, NULL, &b, &e), ERR_TOO_LARGE);
    arena_fini(&small);
}

struct listing {
    unsigned n;
    bool has_config_only, has_gpt_4o;
    str last;
};

static void take_model(void *ctx, str model)
{
    struct listing *l = ctx;
    l->n++;
    l->has_gpt_4o |= str_eq(model, S("gpt-4o"));
    l->has_config_only |= str_eq(model, S("config-only"));
    l->last = model;
}

static void models_of_a_source_are_listed_by_glob(void **state)
{
    (void)state;
    struct price_book *b = load_with(".tsv", "openai\tgpt-of-the-file\t\tinput\t1\n");
    assert_int_equal(price_book_add(b, S("openai"), S("config-only"), 0, PRICE_INPUT, 1, NULL), ERR_NONE);
    struct listing l = {0};
    price_book_models(b, S("openai"), S("*"), take_model, &l);
    assert_true(l.n > 100 && l.has_gpt_4o);
    assert_false(l.has_config_only); /* a provider that only shares the name */
    assert_true(str_eq(l.last, S("gpt-of-the-file")));
    l = (struct listing){0};
    price_book_models(b, S("openai"), S("gpt-4o"), take_model, &l);
    assert_int_equal(l.n, 1);
    l = (struct listing){0};
    price_book_models(b, S("open"), S("*"), take_model, &l);
    price_book_models(b, S(""), S("*"), take_model, &l);
    assert_int_equal(l.n, 0);
}

/* --- money --- */

static void missing_prices_of_cached_tokens_fall_back_and_others_do_not(void **state)
{
    (void)state;
    struct price p = {{1000, 2000, -1, -1, -1}};
    struct token_usage t = {.cache_read = 10, .cache_write = 100, .cache_write_1h = 1000};
    assert_int_equal(price_cost_nanousd(&p, &t), 1110); /* all at the input price */
    p.pico[PRICE_CACHE_WRITE] = 3000;
    assert_int_equal(price_cost_nanousd(&p, &t), 10 + 300 + 3000);
    p.pico[PRICE_CACHE_WRITE_1H] = 4000;
    p.pico[PRICE_CACHE_READ] = 0; /* free is a price */
    assert_int_equal(price_cost_nanousd(&p, &t), 300 + 4000);
    p.pico[PRICE_INPUT] = -1;
    assert_int_equal(price_cost_nanousd(&p, &t), 4300);
    t.input = 1;
    assert_int_equal(price_cost_nanousd(&p, &t), COST_UNKNOWN);
    t.input = 0;
    p.pico[PRICE_CACHE_READ] = -1;
    assert_int_equal(price_cost_nanousd(&p, &t), COST_UNKNOWN);
    /* reasoning is part of the output and not priced again */
    p = (struct price){{1000, 2000, -1, -1, -1}};
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.output = 5, .reasoning = 4}), 10);
}

static void costs_are_rounded_once_half_up_and_saturate(void **state)
{
    (void)state;
    struct price p = {{1, 1, 1, 1, 1}};
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.input = 499}), 0);
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.input = 500}), 1);
    /* 250 + 250 pico: rounded by part it would be nothing */
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.input = 250, .output = 250}), 1);
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.input = -1, .output = 1500}), 2);
    for (unsigned i = 0; i < PRICE_UNITS; i++)
        p.pico[i] = INT64_MAX;
    struct token_usage most = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    assert_int_equal(price_cost_nanousd(&p, &most), INT64_MAX);
    assert_int_equal(price_cost_nanousd(&p, &(struct token_usage){.input = INT64_MAX}), INT64_MAX);
}

/* The next field of a line of the list, which is read here by hand. */
static char *field(char **at)
{
    char *start = *at;
    *at += strcspn(start, "\t\n");
    if (**at) *(*at)++ = 0;
    return start;
}

static void every_published_price_times_tokens_is_exact(void **state)
{
    (void)state;
    struct price_book *b = load();
    FILE *f = fopen(SOURCE_DIR "/src/gateway/prices/prices.tsv", "r");
    assert_non_null(f);
    char line[1024];
    unsigned n = 0;
    static const char *const names[PRICE_CONTEXT] = {"input", "output", "cache_read", "cache_write",
                                                   "cache_write_1h"};
    uint64_t random = 42;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#') continue;
        char *at = line;
        char *provider = field(&at), *model = field(&at), *date = field(&at), *unit_name = field(&at);
        unsigned unit = 0;
        while (unit < PRICE_CONTEXT && strcmp(unit_name, names[unit]) != 0)
            unit++;
        assert_true(unit < PRICE_CONTEXT);
        unsigned __int128 price = 0;
        for (char *digits = field(&at); *digits; digits++)
            price = price * 10 + (unsigned)(*digits - '0');
        struct price p;
        assert_true(price_find(b, S("p"), str_c(provider), str_c(model), day(date), &p));
        assert_true(p.pico[unit] >= 0 && (unsigned __int128)p.pico[unit] == price);
        for (unsigned i = 0; i < 4; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            int64_t tokens = (int64_t)(random >> (20 + 11 * i)); /* 44, 33, 22 and 11 bits */
            struct token_usage t = {0};
            int64_t *counts[PRICE_CONTEXT] = {&t.input, &t.output, &t.cache_read, &t.cache_write,
                                            &t.cache_write_1h};
            *counts[unit] = tokens;
            unsigned __int128 pico_sum = price * (unsigned __int128)tokens;
            unsigned __int128 nano = pico_sum / 1000 + (pico_sum % 1000 >= 500);
            int64_t want = nano > INT64_MAX ? INT64_MAX : (int64_t)nano;
            assert_true(price_cost_nanousd(&p, &t) == want);
        }
        n++;
    }
    fclose(f);
    assert_true(n > 5000);
}

static void a_whole_call_costs_what_a_calculator_says(void **state)
{
    (void)state;
    struct price_book *b = load();
    struct price p;
    assert_true(price_find(b, S("p"), S("anthropic"), S("claude-sonnet-4-5"), day("2026-11-24"), &p));
    struct token_usage t = {
        .input = 1234, .cache_read = 80001, .cache_write = 777, .cache_write_1h = 33, .output = 501};
    /* 1234 x 3 + 80001 x 0.3 + 777 x 3.75 + 33 x 6 + 501 x 15 = 38,329.05 millionths of a dollar */
    int64_t cost = price_cost_nanousd(&p, &t);
    assert_int_equal(cost, 38329050);
    char text[MONEY_TEXT_LEN];
    assert_true(str_eq(money_format(cost, text), S("0.038329050")));
}

#define PRICES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PRICES_TEST(the_embedded_list_knows_published_prices),
        PRICES_TEST(an_unknown_model_has_no_price_and_that_is_not_zero),
        PRICES_TEST(dated_and_prefixed_names_fall_back_to_the_plain_one),
        PRICES_TEST(a_call_is_priced_by_the_row_of_its_day),
        PRICES_TEST(a_users_row_beats_the_embedded_ones_from_its_date_on),
        PRICES_TEST(the_configuration_beats_the_file_and_the_configured_name_beats_the_source),
        PRICES_TEST(a_file_of_json_lines_is_read_exactly),
        PRICES_TEST(bad_rows_are_errors_with_file_and_line),
        PRICES_TEST(models_of_a_source_are_listed_by_glob),
        PRICES_TEST(missing_prices_of_cached_tokens_fall_back_and_others_do_not),
        PRICES_TEST(costs_are_rounded_once_half_up_and_saturate),
        PRICES_TEST(every_published_price_times_tokens_is_exact),
        PRICES_TEST(a_whole_call_costs_what_a_calculator_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
