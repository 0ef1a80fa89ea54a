/* filter.c - the shared flags that select calls, and opening the journal that holds them. */
#include "cli/filter.h"

#include <stdio.h>
#include <unistd.h>

#include "base/crypto.h"
#include "store/store.h"

/* "24h" back from now; false when the text has another form. */
static bool parse_span(str s, usec now_us, usec *out)
{
    static const struct {
        char unit;
        int64_t us;
    } units[] = {{'s', 1LL * USEC_PER_S},
                 {'m', 60LL * USEC_PER_S},
                 {'h', 3600LL * USEC_PER_S},
                 {'d', USEC_PER_DAY},
                 {'w', 7 * USEC_PER_DAY}};
    uint64_t n;
    if (s.len < 2 || !str_to_u64(str_take(s, s.len - 1), &n)) return false;
    for (size_t i = 0; i < LENGTH_OF(units); i++) {
        int64_t back;
        if (s.p[s.len - 1] == units[i].unit)
            return !__builtin_mul_overflow(n, units[i].us, &back) &&
                   !__builtin_sub_overflow(now_us, back, out);
    }
    return false;
}

static enum errc parse_time(const struct cli_args *args, const char *flag, usec now_us, usec *out, err *e)
{
    const char *text = cli_flag(args, flag);
    if (!text || time_parse(str_c(text), out) || parse_span(str_c(text), now_us, out)) return ERR_NONE;
    return err_set(
        e, ERR_USAGE,
        "%s takes a date (2026-11-24), an RFC 3339 time (2026-11-24T06:50:00Z) or a span back from "
        "now (30m, 24h, 7d), not '%.40s'",
        flag, text);
}

static bool is_status(str s)
{
    uint64_t n;
    if (str_to_u64(s, &n)) return n <= 999;
    if (s.len == 3 && s.p[0] >= '1' && s.p[0] <= '9' && str_ends(s, S("xx"))) return true;
    if (str_eq(s, S("failed"))) return true;
    for (int o = CALL_COMPLETED; o <= CALL_REFUSED; o++)
        if (str_eq(s, str_c(outcome_name((enum call_outcome)o)))) return true;
    return false;
}

enum errc call_filter_parse(struct call_filter *f, const struct cli_args *args, usec now_us, err *e)
{
    *f = (struct call_filter){
        .since_us = INT64_MIN,
        .until_us = INT64_MAX,
        .model = str_c(cli_flag(args, "--model")),
        .provider = str_c(cli_flag(args, "--provider")),
        .key = str_c(cli_flag(args, "--key")),
        .project = str_c(cli_flag(args, "--project")),
        .user = str_c(cli_flag(args, "--user")),
        .task = str_c(cli_flag(args, "--task")),
        .session = str_c(cli_flag(args, "--session")),
        .tag = str_c(cli_flag(args, "--tag")),
        .status = str_c(cli_flag(args, "--status")),
    };
    enum errc code = parse_time(args, "--since", now_us, &f->since_us, e);
    if (!code) code = parse_time(args, "--until", now_us, &f->until_us, e);
    if (code) return code;
    if (f->status.p && !is_status(f->status))
        return err_set(e, ERR_USAGE,
                       "--status takes a status (200), a class (4xx), failed, or an outcome (completed, "
                       "cancelled, cut, upstream_failed, refused), not '%.40s'",
                       f->status.p);
    const char *dialect = cli_flag(args, "--dialect");
    f->has_dialect = dialect != NULL;
    if (dialect && !dialect_parse(str_c(dialect), &f->dialect))
        return err_set(e, ERR_USAGE,
                       "--dialect takes chat, responses, messages, embeddings or count_tokens, not '%.40s'",
                       dialect);
    return ERR_NONE;
}

static bool matches(str pattern, str s) { return !pattern.p || str_glob(pattern, s); }

static bool has_tag(str pattern, str tags)
{
    while (tags.len)
        if (str_glob(pattern, str_trim(str_cut(&tags, ',')))) return true;
    return false;
}

bool call_is_failed(const struct usage_record *r)
{
    return r->status >= 400 || r->outcome == CALL_CUT || r->outcome == CALL_UPSTREAM_FAILED ||
           r->outcome == CALL_REFUSED;
}

static bool status_matches(str wanted, const struct usage_record *r)
{
    uint64_t n;
    if (str_to_u64(wanted, &n)) return r->status == n;
    if (wanted.len == 3 && str_ends(wanted, S("xx"))) return r->status / 100 == wanted.p[0] - '0';
    if (str_eq(wanted, S("failed"))) return call_is_failed(r);
    return str_eq(wanted, str_c(outcome_name(r->outcome)));
}

bool call_filter_matches(const struct call_filter *f, const struct usage_record *r)
{
    if (r->started_us < f->since_us || r->started_us >= f->until_us) return false;
    if (f->has_dialect && r->dialect != f->dialect) return false;
    if (f->model.p && !str_glob(f->model, r->model) && !str_glob(f->model, r->model_asked)) return false;
    if (f->key.p && !str_glob(f->key, r->key)) {
        char hex[2 * sizeof r->key_id + 1];
        if (!str_ieq(f->key, hex_encode(r->key_id, sizeof r->key_id, hex))) return false;
    }
    return matches(f->provider, r->provider) && matches(f->project, r->project) &&
           matches(f->user, r->user) && matches(f->task, r->task) && matches(f->session, r->session) &&
           (!f->tag.p || has_tag(f->tag, r->tags)) && (!f->status.p || status_matches(f->status, r));
}

enum errc cli_journal_open(const struct cli_args *args, struct journal_reader **out, err *e)
{
    const char *dir = cli_data_dir(args);
    *out = NULL;
    enum errc code = journal_reader_open(out, dir, e);
    if (code != ERR_NOT_FOUND) return code;
    if (access(dir, F_OK) == 0) return ERR_NONE;
    return err_set(e, ERR_NOT_FOUND, "there is no data folder %s; name the server's with --data", dir);
}

enum errc cli_calls_each(const struct cli_app *app, const struct cli_args *args, struct journal_reader *rd,
                         const struct call_filter *f, call_fn fn, void *ctx, uint64_t *n_damaged, err *e)
{
    struct store *s = NULL;
    enum errc rc = app->open_store ? app->open_store(app, args, &s, e) : ERR_NONE;
    if (!rc) rc = calls_all(s, rd, f->since_us, f->until_us, fn, ctx, n_damaged, e);
    store_close(s);
    return rc;
}

void cli_journal_damage(uint64_t n_damaged)
{
    if (n_damaged)
        fprintf(stderr, "catalyst: %llu segment%s of the journal %s damage; what could be read is shown\n",
                (unsigned long long)n_damaged, n_damaged == 1 ? "" : "s", n_damaged == 1 ? "has" : "have");
}

void add_thousands(struct buf *out, int64_t v)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)v);
    for (int i = 0; i < n; i++) {
        if (i > 0 && digits[i - 1] != '-' && (n - i) % 3 == 0) buf_add_char(out, ',');
        buf_add_char(out, digits[i]);
    }
}

void add_plain(struct buf *out, str s, size_t width)
{
    size_t columns = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        /* U+0080 to U+009F are control characters too: C2 80 to C2 9F */
        bool is_c1 = c == 0xC2 && i + 1 < s.len && (unsigned char)s.p[i + 1] < 0xA0;
        buf_add_char(out, c < 0x20 || c == 0x7F || is_c1 ? '?' : (char)c);
        i += is_c1;
        columns += (c & 0xC0) != 0x80;
    }
    for (; columns < width; columns++)
        buf_add_char(out, ' ');
}
