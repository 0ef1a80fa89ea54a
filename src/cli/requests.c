/* requests.c - `catalyst requests`: the last calls, and those to come.
 *
 * The last N are kept in a heap with the oldest on top, so that memory is bounded by N and not by the
 * journal and the database.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/money.h"
#include "cli/client/client.h"
#include "cli/filter.h"
#include "json/write.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 10000000
#define FOLLOW_MS 200
#define WRITE_BYTES (64u << 10) /* output is written in pieces of about this size */

/* A copy of a record that owns its texts. */
struct kept {
    struct usage_record record;
    uint8_t node[16];
    char text[];
};

struct listing {
    struct call_filter filter;
    bool as_json, is_following;
    struct kept **heap; /* the oldest first: parent i, children 2i+1 and 2i+2 */
    size_t n, cap, limit;
    struct buf out;
    int signals; /* descriptor that is readable after SIGINT; -1 without --follow */
    unsigned n_seen;
    bool is_out_of_memory, is_interrupted, is_closed;
    int exit_code;
};

/* --- keeping the last N --- */

static bool is_older(const struct kept *a, const struct kept *b)
{
    if (a->record.started_us != b->record.started_us) return a->record.started_us < b->record.started_us;
    if (a->record.boot != b->record.boot) return a->record.boot < b->record.boot;
    return a->record.n < b->record.n;
}

static struct kept *keep(const uint8_t node[16], const struct usage_record *r)
{
    const size_t offsets[] = {
        offsetof(struct usage_record, key),         offsetof(struct usage_record, project),
        offsetof(struct usage_record, user),        offsetof(struct usage_record, task),
        offsetof(struct usage_record, session),     offsetof(struct usage_record, tags),
        offsetof(struct usage_record, provider),    offsetof(struct usage_record, model),
        offsetof(struct usage_record, model_asked), offsetof(struct usage_record, error),
        offsetof(struct usage_record, trace_id),
    };
    size_t len = 0;
    for (size_t i = 0; i < LENGTH_OF(offsets); i++)
        len += ((const str *)(const void *)((const char *)r + offsets[i]))->len;
    struct kept *k = malloc(sizeof *k + len);
    if (!k) return NULL;
    k->record = *r;
    memcpy(k->node, node, sizeof k->node);
    char *at = k->text;
    for (size_t i = 0; i < LENGTH_OF(offsets); i++) {
        str *s = (str *)(void *)((char *)&k->record + offsets[i]);
        if (s->len) memcpy(at, s->p, s->len);
        s->p = at;
        at += s->len;
    }
    return k;
}

static void swap(struct kept **a, struct kept **b)
{
    struct kept *c = *a;
    *a = *b;
    *b = c;
}

static void sift_down(struct kept **heap, size_t n, size_t i)
{
    for (;;) {
        size_t oldest = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (is_older(heap[child], heap[oldest])) oldest = child;
        if (oldest == i) return;
        swap(&heap[i], &heap[oldest]);
        i = oldest;
    }
}

static bool heap_grow(struct listing *l)
{
    size_t cap = l->cap ? 2 * l->cap : 64;
    struct kept **more = realloc(l->heap, (cap < l->limit ? cap : l->limit) * sizeof *more);
    if (!more) return false;
    l->heap = more;
    l->cap = cap < l->limit ? cap : l->limit;
    return true;
}

static bool heap_add(struct listing *l, const uint8_t node[16], const struct usage_record *r)
{
    if (l->limit == 0) return true;
    if (l->n == l->limit && r->started_us < l->heap[0]->record.started_us) return true;
    if (l->n < l->limit && l->n == l->cap && !heap_grow(l)) return false;
    struct kept *k = keep(node, r);
    if (!k) return false;
    if (l->n == l->limit) {
        if (is_older(k, l->heap[0])) {
            free(k);
            return true;
        }
        free(l->heap[0]);
        l->heap[0] = k;
        sift_down(l->heap, l->n, 0);
        return true;
    }
    size_t i = l->n++;
    l->heap[i] = k;
    while (i && is_older(l->heap[i], l->heap[(i - 1) / 2])) {
        swap(&l->heap[i], &l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    return true;
}

static int kept_order(const void *a, const void *b)
{
    const struct kept *x = *(const struct kept *const *)a, *y = *(const struct kept *const *)b;
    return is_older(x, y) ? -1 : is_older(y, x);
}

/* --- one call --- */

static void put_text(struct json_writer *w, const char *name, str s)
{
    if (s.len)
        json_put_str(w, name, s);
    else
        json_put_null(w, name);
}

static void put_phase(struct json_writer *w, const char *name, int64_t us)
{
    if (us >= 0)
        json_put_int(w, name, us);
    else
        json_put_null(w, name);
}

static int64_t total_tokens(const struct token_usage *t)
{
    int64_t sum = 0;
    const int64_t kinds[] = {t->input, t->cache_read, t->cache_write, t->cache_write_1h, t->output};
    for (size_t i = 0; i < LENGTH_OF(kinds); i++)
        if (__builtin_add_overflow(sum, kinds[i], &sum)) return INT64_MAX;
    return sum;
}

/* Field names are stable: scripts read them. `n` is text, for its 64 bits are more than many readers of JSON
 * keep. */
static void json_call(struct buf *out, const uint8_t node[16], const struct usage_record *r)
{
    char id[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1], hex[33], cost[MONEY_TEXT_LEN], number[24];
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "request_id", uuid_format(&r->request_id, id));
    json_put_str(&w, "started_at", time_format(r->started_us, time));
    put_text(&w, "key", r->key);
    json_put_str(&w, "key_id", hex_encode(r->key_id, sizeof r->key_id, hex));
    put_text(&w, "project", r->project);
    put_text(&w, "user", r->user);
    put_text(&w, "task", r->task);
    put_text(&w, "session", r->session);
    json_name(&w, S("tags"));
    json_array(&w);
    for (str rest = r->tags; rest.len;) {
        str tag = str_trim(str_cut(&rest, ','));
        if (tag.len) json_str(&w, tag);
    }
    json_end(&w);
    put_text(&w, "provider", r->provider);
    put_text(&w, "model", r->model);
    put_text(&w, "model_asked", r->model_asked);
    json_put_str(&w, "dialect", str_c(dialect_name(r->dialect)));
    json_put_bool(&w, "streamed", r->is_streamed);
    json_put_str(&w, "outcome", str_c(outcome_name(r->outcome)));
    if (r->status)
        json_put_int(&w, "status", r->status);
    else
        json_put_null(&w, "status"); /* the client was gone before an answer */
    put_text(&w, "error", r->error);
    json_name(&w, S("tokens"));
    json_object(&w);
    json_put_int(&w, "input", r->tokens.input);
    json_put_int(&w, "cache_read", r->tokens.cache_read);
    json_put_int(&w, "cache_write", r->tokens.cache_write);
    json_put_int(&w, "cache_write_1h", r->tokens.cache_write_1h);
    json_put_int(&w, "output", r->tokens.output);
    json_put_int(&w, "reasoning", r->tokens.reasoning);
    json_end(&w);
    json_put_int(&w, "total_tokens", total_tokens(&r->tokens));
    json_put_bool(&w, "estimated", r->is_estimated);
    if (r->cost_nanousd == COST_UNKNOWN) {
        json_put_null(&w, "cost_nanousd");
        json_put_null(&w, "cost_usd");
    } else {
        json_put_int(&w, "cost_nanousd", r->cost_nanousd);
        json_put_str(&w, "cost_usd", money_format(r->cost_nanousd, cost));
    }
    put_phase(&w, "connect_us", r->connect_us);
    put_phase(&w, "sent_us", r->sent_us);
    put_phase(&w, "head_us", r->head_us);
    put_phase(&w, "first_us", r->first_us);
    put_phase(&w, "total_us", r->total_us);
    json_name(&w, S("bytes_in"));
    json_uint(&w, r->bytes_in);
    json_name(&w, S("bytes_out"));
    json_uint(&w, r->bytes_out);
    put_text(&w, "trace_id", r->trace_id);
    json_put_str(&w, "node", hex_encode(node, 16, hex));
    json_name(&w, S("boot"));
    json_uint(&w, r->boot);
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->n);
    json_put_str(&w, "n", str_c(number));
    json_end(&w);
    buf_add_char(out, '\n');
}

static const char plain_head[] = "TIME (UTC)           STATUS  PROVIDER      MODEL                         "
                                 "KEY             INPUT   CACHED   OUTPUT"
                                 "       COST USD       MS  NOTE\n";

static void number_column(struct buf *out, int64_t v, size_t width)
{
    char text[32];
    struct buf digits = {text, 0, sizeof text, sizeof text, ERR_NONE};
    add_thousands(&digits, v);
    for (size_t i = digits.len; i < width; i++)
        buf_add_char(out, ' ');
    buf_add(out, buf_str(&digits));
}

static void plain_call(struct buf *out, const struct usage_record *r)
{
    char time[TIME_TEXT_LEN + 1], cost[MONEY_TEXT_LEN];
    int64_t cached = 0;
    if (__builtin_add_overflow(r->tokens.cache_read, r->tokens.cache_write, &cached) ||
        __builtin_add_overflow(cached, r->tokens.cache_write_1h, &cached))
        cached = INT64_MAX;
    str date = str_take(time_format(r->started_us, time), 19);
    time[10] = ' ';
    buf_add(out, date);
    if (r->status)
        buf_addf(out, "  %6u  ", r->status);
    else
        buf_add(out, S("       -  "));
    add_plain(out, r->provider.len ? r->provider : S("-"), 12);
    buf_add(out, S("  "));
    add_plain(out, r->model.len ? r->model : r->model_asked, 28);
    buf_add(out, S("  "));
    add_plain(out, r->key.len ? r->key : S("-"), 12);
    number_column(out, r->tokens.input, 9);
    number_column(out, cached, 9);
    number_column(out, r->tokens.output, 9);
    buf_addf(out, "  %13s",
             r->cost_nanousd == COST_UNKNOWN ? "unknown" : money_format(r->cost_nanousd, cost).p);
    if (r->total_us >= 0)
        number_column(out, r->total_us / USEC_PER_MS, 9);
    else
        buf_add(out, S("        -"));
    const char *sign = "  ";
    if (r->outcome != CALL_COMPLETED) {
        buf_addf(out, "%s%s", sign, outcome_name(r->outcome));
        sign = ", ";
    }
    if (r->error.len) {
        buf_add(out, str_c(sign));
        add_plain(out, r->error, 0);
        sign = ", ";
    }
    if (r->is_estimated) buf_addf(out, "%sestimated", sign);
    buf_add_char(out, '\n');
}

/* --- printing and following --- */

/* Waits for at most timeout_ms; false after SIGINT, or when the reader of standard output has gone. */
static bool is_wanted(struct listing *l, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = l->signals, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    int n = poll(fds, LENGTH_OF(fds), timeout_ms);
    if (n > 0 && fds[0].revents) l->is_interrupted = true;
    if (n > 0 && (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))) l->is_closed = true;
    return !l->is_interrupted && !l->is_closed;
}

/* False when there is nobody to print for any more. */
static bool flush(struct listing *l)
{
    if (l->out.len == 0) return true;
    l->exit_code = cli_print(&l->out);
    buf_clear(&l->out);
    if (l->exit_code != EXIT_OK) l->is_closed = true;
    return is_wanted(l, 0);
}

static bool print_call(struct listing *l, const uint8_t node[16], const struct usage_record *r)
{
    if (l->as_json)
        json_call(&l->out, node, r);
    else
        plain_call(&l->out, r);
    return l->out.len < WRITE_BYTES || flush(l);
}

static bool on_record(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    struct listing *l = ctx;
    if (l->signals >= 0 && ++l->n_seen % 1024 == 0 && !is_wanted(l, 0)) return false;
    if (!call_filter_matches(&l->filter, r)) return true;
    if (l->is_following) return print_call(l, node, r);
    if (heap_add(l, node, r)) return true;
    l->is_out_of_memory = true;
    return false;
}

/* Those of the database come newest first: once as many are kept as are wanted, older ones are of no interest. */
static enum call_verdict on_call(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    struct listing *l = ctx;
    if (!on_record(ctx, node, r)) return CALLS_STOP;
    bool is_old = l->limit == 0 || (l->n == l->limit && r->started_us / USEC_PER_MS < l->heap[0]->record.started_us / USEC_PER_MS);
    return is_old ? CALLS_ENOUGH : CALLS_GO_ON;
}

static void print_last(struct listing *l)
{
    if (l->n) qsort(l->heap, l->n, sizeof(struct kept *), kept_order);
    if (!l->as_json) buf_add(&l->out, str_c(plain_head));
    for (size_t i = 0; i < l->n; i++) {
        if (!l->is_closed && !l->is_interrupted) print_call(l, l->heap[i]->node, &l->heap[i]->record);
        free(l->heap[i]);
    }
    l->n = 0;
    free(l->heap);
    l->heap = NULL;
    flush(l);
}

static enum errc follow(struct listing *l, const struct cli_args *args, struct journal_reader **reader,
                        err *e)
{
    l->is_following = true;
    while (!l->is_closed && is_wanted(l, FOLLOW_MS)) {
        enum errc code = *reader ? ERR_NONE : cli_journal_open(args, reader, e);
        if (!code && *reader) code = journal_read(*reader, on_record, l, NULL, e);
        flush(l);
        if (code) return code;
    }
    return ERR_NONE;
}

static enum errc parse_limit(const struct cli_args *args, size_t *limit, err *e)
{
    const char *text = cli_flag(args, "--limit");
    uint64_t n = LIMIT_DEFAULT;
    if (text && (!str_to_u64(str_c(text), &n) || n > LIMIT_MAX || (n == 0 && !cli_flag(args, "--follow"))))
        return err_set(e, ERR_USAGE, "--limit takes a number from 1 (with --follow, 0) to %d, not '%.20s'",
                       LIMIT_MAX, text);
    *limit = (size_t)n;
    return ERR_NONE;
}

/* From here on SIGINT waits in a descriptor, so that it is noticed between two writes and never inside a
 * line. */
static enum errc catch_interrupt(struct listing *l, sigset_t *before, err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, before) != 0)
        return err_errno(e, ERR_INTERNAL, errno, "cannot block SIGINT");
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signals < 0) {
        err_errno(e, ERR_INTERNAL, errno, "cannot wait for SIGINT");
        sigprocmask(SIG_SETMASK, before, NULL);
        return e->code;
    }
    return ERR_NONE;
}

static void release_interrupt(struct listing *l, const sigset_t *before)
{
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) > 0) {
    } /* or it would end the process as soon as it is unblocked */
    close(l->signals);
    sigprocmask(SIG_SETMASK, before, NULL);
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    if (client_is_meant(args)) return client_run(args, client_requests);
    err e = {0};
    struct listing l = {.as_json = cli_flag(args, "--json") != NULL, .signals = -1};
    struct journal_reader *reader = NULL;
    uint64_t n_damaged = 0;
    sigset_t before;
    buf_init(&l.out, 16 * WRITE_BYTES);
    bool follows = cli_flag(args, "--follow") != NULL;
    enum errc code = call_filter_parse(&l.filter, args, clock_now_us(), &e);
    if (!code) code = parse_limit(args, &l.limit, &e);
    if (!code) code = cli_journal_open(args, &reader, &e);
    if (!code && follows) code = catch_interrupt(&l, &before, &e);
    if (!code) code = cli_calls_each(app, args, reader, &l.filter, on_call, &l, &n_damaged, &e);
    if (!code && l.is_out_of_memory) code = err_code(&e, ERR_NO_MEMORY);
    if (!code && !l.is_interrupted) {
        cli_journal_damage(n_damaged);
        print_last(&l);
        if (follows && !l.is_interrupted) code = follow(&l, args, &reader, &e);
    }
    for (size_t i = 0; i < l.n; i++)
        free(l.heap[i]);
    free(l.heap);
    journal_reader_free(reader);
    buf_fini(&l.out);
    if (l.signals >= 0) release_interrupt(&l, &before);
    if (code) return cli_fail(&e);
    return l.is_interrupted ? EXIT_INTERRUPTED : l.exit_code;
}

static const struct flag flags[] = {
    CLI_DATA_FLAG,
    CLI_SERVER_FLAGS,
    {"--json", NULL, NULL, "prints one JSON object a line"},
    {"--limit", "N", NULL, "how many of the last calls (default 50)"},
    {"--follow", NULL, NULL, "goes on with calls as they end, until interrupted"},
    CALL_FILTER_FLAGS,
};

const struct command cmd_requests = {
    .name = "requests",
    .arguments = "",
    .meaning = "lists the last calls, newest last; of a data folder or a server",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
