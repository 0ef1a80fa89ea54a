/* usage.c - `catalyst usage`: sums over the calls, in all and by one property of them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/map.h"
#include "base/money.h"
#include "cli/client/client.h"
#include "cli/filter.h"
#include "json/write.h"

struct tally {
    int64_t calls, failed, cancelled, estimated;
    int64_t unknown_cost; /* calls; their cost is in no sum */
    struct token_usage tokens;
    int64_t cost_nanousd;
};

struct group {
    char *name; /* owned */
    size_t name_len;
    struct tally tally;
};

enum group_by {
    BY_NOTHING,
    BY_MODEL,
    BY_PROVIDER,
    BY_KEY,
    BY_PROJECT,
    BY_USER,
    BY_TASK,
    BY_SESSION,
    BY_DAY,
    BY_DIALECT,
    BY_STATUS,
    BY_TAGS
};
static const char *const by_names[] = {
    [BY_NOTHING] = "",        [BY_MODEL] = "model",     [BY_PROVIDER] = "provider", [BY_KEY] = "key",
    [BY_PROJECT] = "project", [BY_USER] = "user",       [BY_TASK] = "task",         [BY_SESSION] = "session",
    [BY_DAY] = "day",         [BY_DIALECT] = "dialect", [BY_STATUS] = "status",     [BY_TAGS] = "tags",
};

struct report {
    struct call_filter filter;
    enum group_by by;
    struct tally total;
    struct map groups; /* struct group by name */
    bool is_out_of_memory;
};

/* Sums saturate: a wrong total would be worse than one that is plainly at the end of its range. */
static void add(int64_t *sum, int64_t v)
{
    if (__builtin_add_overflow(*sum, v, sum)) *sum = v < 0 ? INT64_MIN : INT64_MAX;
}

static void tally_add(struct tally *t, const struct usage_record *r)
{
    t->calls++;
    t->failed += call_is_failed(r);
    t->cancelled += r->outcome == CALL_CANCELLED;
    t->estimated += r->is_estimated;
    if (r->cost_nanousd == COST_UNKNOWN)
        t->unknown_cost++;
    else
        add(&t->cost_nanousd, r->cost_nanousd);
    add(&t->tokens.input, r->tokens.input);
    add(&t->tokens.cache_read, r->tokens.cache_read);
    add(&t->tokens.cache_write, r->tokens.cache_write);
    add(&t->tokens.cache_write_1h, r->tokens.cache_write_1h);
    add(&t->tokens.output, r->tokens.output);
    add(&t->tokens.reasoning, r->tokens.reasoning);
}

static int64_t tokens_total(const struct token_usage *t)
{
    int64_t sum = 0;
    add(&sum, t->input);
    add(&sum, t->cache_read);
    add(&sum, t->cache_write);
    add(&sum, t->cache_write_1h);
    add(&sum, t->output);
    return sum;
}

static bool group_add(struct report *report, str name, const struct usage_record *r)
{
    struct group *g = map_get(&report->groups, name);
    if (!g) {
        g = calloc(1, sizeof *g);
        char *copy = malloc(name.len + 1);
        if (copy && name.len) memcpy(copy, name.p, name.len);
        if (!g || !copy || map_put(&report->groups, str_of(copy, name.len), g)) {
            free(g);
            free(copy);
            report->is_out_of_memory = true;
            return false;
        }
        g->name = copy;
        g->name_len = name.len;
    }
    tally_add(&g->tally, r);
    return true;
}

static bool sum_up(struct report *report, const struct usage_record *r)
{
    char text[2 * sizeof r->key_id + 1];
    if (!call_filter_matches(&report->filter, r)) return true;
    tally_add(&report->total, r);
    switch (report->by) {
    case BY_NOTHING: return true;
    case BY_MODEL: return group_add(report, r->model.len ? r->model : r->model_asked, r);
    case BY_PROVIDER: return group_add(report, r->provider, r);
    case BY_KEY:
        return group_add(report, r->key.len ? r->key : hex_encode(r->key_id, sizeof r->key_id, text), r);
    case BY_PROJECT: return group_add(report, r->project, r);
    case BY_USER: return group_add(report, r->user, r);
    case BY_TASK: return group_add(report, r->task, r);
    case BY_SESSION: return group_add(report, r->session, r);
    case BY_DAY: return group_add(report, date_format(r->started_us, text), r);
    case BY_DIALECT: return group_add(report, str_c(dialect_name(r->dialect)), r);
    case BY_STATUS: snprintf(text, sizeof text, "%u", r->status); return group_add(report, str_c(text), r);
    case BY_TAGS: break;
    }
    /* A call counts for each of its tags, once, so groups may add up to more than the total. */
    if (r->tags.len == 0) return group_add(report, r->tags, r);
    str rest = r->tags;
    while (rest.len) {
        str before = str_take(r->tags, (size_t)(rest.p - r->tags.p));
        str tag = str_trim(str_cut(&rest, ','));
        bool is_seen = tag.len == 0;
        while (before.len && !is_seen)
            is_seen = str_eq(str_trim(str_cut(&before, ',')), tag);
        if (!is_seen && !group_add(report, tag, r)) return false;
    }
    return true;
}

static enum call_verdict on_call(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    (void)node;
    return sum_up(ctx, r) ? CALLS_GO_ON : CALLS_STOP;
}

/* --- output --- */

/* Dearest first; of equal cost the one with more calls, then by name. */
static int group_order(const void *a, const void *b)
{
    const struct group *x = *(const struct group *const *)a, *y = *(const struct group *const *)b;
    if (x->tally.cost_nanousd != y->tally.cost_nanousd)
        return x->tally.cost_nanousd > y->tally.cost_nanousd ? -1 : 1;
    if (x->tally.calls != y->tally.calls) return x->tally.calls > y->tally.calls ? -1 : 1;
    return str_cmp(str_of(x->name, x->name_len), str_of(y->name, y->name_len));
}

/* All costs unknown is not the same as nothing spent. */
static bool cost_is_unknown(const struct tally *t) { return t->calls > 0 && t->unknown_cost == t->calls; }

static void json_tally(struct json_writer *w, const struct tally *t)
{
    char cost[MONEY_TEXT_LEN];
    json_put_int(w, "calls", t->calls);
    json_put_int(w, "failed_calls", t->failed);
    json_put_int(w, "cancelled_calls", t->cancelled);
    json_put_int(w, "estimated_calls", t->estimated);
    json_put_int(w, "unknown_cost_calls", t->unknown_cost);
    json_name(w, S("tokens"));
    json_object(w);
    json_put_int(w, "input", t->tokens.input);
    json_put_int(w, "cache_read", t->tokens.cache_read);
    json_put_int(w, "cache_write", t->tokens.cache_write);
    json_put_int(w, "cache_write_1h", t->tokens.cache_write_1h);
    json_put_int(w, "output", t->tokens.output);
    json_put_int(w, "reasoning", t->tokens.reasoning);
    json_put_int(w, "total", tokens_total(&t->tokens));
    json_end(w);
    if (cost_is_unknown(t)) {
        json_put_null(w, "cost_nanousd");
        json_put_null(w, "cost_usd");
    } else {
        json_put_int(w, "cost_nanousd", t->cost_nanousd);
        json_put_str(w, "cost_usd", money_format(t->cost_nanousd, cost));
    }
}

static void json_time(struct json_writer *w, const char *name, usec t, usec none)
{
    char text[TIME_TEXT_LEN + 1];
    if (t == none)
        json_put_null(w, name);
    else
        json_put_str(w, name, time_format(t, text));
}

static void print_json(const struct report *report, struct group **groups, size_t n, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    json_time(&w, "since", report->filter.since_us, INT64_MIN);
    json_time(&w, "until", report->filter.until_us, INT64_MAX);
    json_tally(&w, &report->total);
    if (report->by != BY_NOTHING) {
        json_put_str(&w, "by", str_c(by_names[report->by]));
        json_name(&w, S("groups"));
        json_array(&w);
        for (size_t i = 0; i < n; i++) {
            json_object(&w);
            json_put_str(&w, by_names[report->by], str_of(groups[i]->name, groups[i]->name_len));
            json_tally(&w, &groups[i]->tally);
            json_end(&w);
        }
        json_end(&w);
    }
    json_end(&w);
    buf_add_char(out, '\n');
}

enum { COLUMNS = 9 };
static const char *const column_names[COLUMNS] = {"CALLS",  "FAILED",    "INPUT", "CACHE READ", "CACHE WRITE",
                                                  "OUTPUT", "REASONING", "TOTAL", "COST USD"};

static void column_text(const struct tally *t, int column, struct buf *out)
{
    const struct token_usage *k = &t->tokens;
    int64_t writes = k->cache_write;
    buf_clear(out);
    add(&writes, k->cache_write_1h);
    const int64_t numbers[COLUMNS - 1] = {t->calls, t->failed, k->input,     k->cache_read,
                                          writes,   k->output, k->reasoning, tokens_total(k)};
    if (column < COLUMNS - 1) {
        add_thousands(out, numbers[column]);
        return;
    }
    if (cost_is_unknown(t)) {
        buf_add(out, S("unknown"));
        return;
    }
    char cost[MONEY_TEXT_LEN];
    str text = money_format(t->cost_nanousd, cost);
    size_t whole = (size_t)str_chr(text, '.');
    int64_t dollars = 0;
    if (str_to_i64(str_take(text, whole), &dollars)) add_thousands(out, dollars);
    buf_add(out, str_skip(text, whole));
    if (t->unknown_cost) {
        buf_add(out, S(" + "));
        add_thousands(out, t->unknown_cost);
        buf_add(out, S(" unknown"));
    }
}

static void print_row(const struct tally *t, str name, size_t name_width, const size_t *widths,
                      struct buf *out, struct buf *scratch)
{
    add_plain(out, name, name_width);
    for (int c = 0; c < COLUMNS; c++) {
        column_text(t, c, scratch);
        for (size_t i = scratch->len; i < widths[c] + 2; i++)
            buf_add_char(out, ' ');
        buf_add(out, buf_str(scratch));
    }
    buf_add_char(out, '\n');
}

static str shown_name(const struct group *g)
{
    return g->name_len ? str_of(g->name, g->name_len) : S("(none)");
}

static size_t text_columns(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static void print_table(const struct report *report, struct group **groups, size_t n, struct buf *out)
{
    const struct tally *total = &report->total;
    struct tally known = *total; /* a sentence below says how many are unknown, not the last column */
    if (!cost_is_unknown(total)) known.unknown_cost = 0;
    struct buf scratch;
    buf_init(&scratch, 1024);
    size_t widths[COLUMNS], name_width = strlen("TOTAL");
    char head[16];
    size_t head_len = 0;
    for (const char *p = by_names[report->by]; *p && head_len < sizeof head; p++)
        head[head_len++] = (char)(*p - 'a' + 'A');
    if (head_len > name_width) name_width = head_len;
    for (size_t i = 0; i < n; i++) {
        size_t columns = text_columns(shown_name(groups[i]));
        if (columns > name_width) name_width = columns;
    }
    for (int c = 0; c < COLUMNS; c++) {
        column_text(&known, c, &scratch);
        widths[c] = strlen(column_names[c]) > scratch.len ? strlen(column_names[c]) : scratch.len;
        for (size_t i = 0; i < n; i++) {
            column_text(&groups[i]->tally, c, &scratch);
            if (scratch.len > widths[c]) widths[c] = scratch.len;
        }
    }
    add_plain(out, str_of(head, head_len), name_width);
    for (int c = 0; c < COLUMNS; c++)
        buf_addf(out, "  %*s", (int)widths[c], column_names[c]);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < n; i++)
        print_row(&groups[i]->tally, shown_name(groups[i]), name_width, widths, out, &scratch);
    print_row(&known, S("TOTAL"), name_width, widths, out, &scratch);
    buf_fini(&scratch);
    if (total->unknown_cost && !cost_is_unknown(total)) {
        buf_add(out, S("+ "));
        add_thousands(out, total->unknown_cost);
        buf_addf(out, " call%s of unknown cost\n", total->unknown_cost == 1 ? "" : "s");
    }
    if (total->estimated) {
        add_thousands(out, total->estimated);
        buf_addf(out, " call%s with estimated tokens: the provider did not report them\n",
                 total->estimated == 1 ? "" : "s");
    }
    if (total->cancelled) {
        add_thousands(out, total->cancelled);
        buf_addf(out, " call%s cancelled by the client\n", total->cancelled == 1 ? "" : "s");
    }
}

static struct group **sorted_groups(const struct report *report)
{
    struct group **groups = calloc(report->groups.n + 1, sizeof *groups);
    if (!groups) return NULL;
    size_t n = 0;
    str name;
    void *value;
    for (size_t it = 0; map_next(&report->groups, &it, &name, &value);)
        groups[n++] = value;
    qsort(groups, n, sizeof *groups, group_order);
    return groups;
}

static enum errc parse_by(const struct cli_args *args, enum group_by *by, err *e)
{
    const char *text = cli_flag(args, "--by");
    *by = BY_NOTHING;
    if (!text) return ERR_NONE;
    for (size_t i = BY_MODEL; i < LENGTH_OF(by_names); i++)
        if (strcmp(text, by_names[i]) == 0) {
            *by = (enum group_by)i;
            return ERR_NONE;
        }
    return err_set(
        e, ERR_USAGE,
        "--by takes model, provider, key, project, user, task, session, day, dialect, status or tags, "
        "not '%.40s'",
        text);
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    if (client_is_meant(args)) return client_run(args, client_usage);
    err e = {0};
    struct report report = {0};
    struct journal_reader *reader = NULL;
    struct group **groups = NULL;
    struct buf out;
    uint64_t n_damaged = 0;
    buf_init(&out, 256 << 20);
    map_init(&report.groups);
    enum errc code = call_filter_parse(&report.filter, args, clock_now_us(), &e);
    if (!code) code = parse_by(args, &report.by, &e);
    if (!code) code = cli_journal_open(args, &reader, &e);
    if (!code) code = cli_calls_each(app, args, reader, &report.filter, on_call, &report, &n_damaged, &e);
    if (!code && (report.is_out_of_memory || !(groups = sorted_groups(&report))))
        code = err_code(&e, ERR_NO_MEMORY);
    int exit_code;
    if (code) {
        exit_code = cli_fail(&e);
    } else {
        cli_journal_damage(n_damaged);
        if (cli_flag(args, "--json"))
            print_json(&report, groups, report.groups.n, &out);
        else
            print_table(&report, groups, report.groups.n, &out);
        exit_code = cli_print(&out);
    }
    str name;
    void *value;
    for (size_t it = 0; map_next(&report.groups, &it, &name, &value);) {
        struct group *g = value;
        free(g->name);
        free(g);
    }
    map_fini(&report.groups);
    free(groups);
    journal_reader_free(reader);
    buf_fini(&out);
    return exit_code;
}

static const struct flag flags[] = {
    CLI_DATA_FLAG,
    CLI_SERVER_FLAGS,
    {"--json", NULL, NULL, "prints one JSON object"},
    {"--by", "PROPERTY", NULL,
     "adds sums by model, provider, key, project, user, task, session, day, dialect, status or tags"},
    CALL_FILTER_FLAGS,
};

const struct command cmd_usage = {
    .name = "usage",
    .arguments = "",
    .meaning = "sums calls, tokens and cost",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
