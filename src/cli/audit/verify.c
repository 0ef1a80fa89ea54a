/* catalyst audit verify, export: whether the log is the one that was signed, and its copy in files. */
#include <stdio.h>
#include <unistd.h>

#include "cli/audit/audit.h"
#include "json/write.h"
#include "store/files.h"

static void print_report(struct buf *out, const struct verify_report *r, const struct verify_source *s)
{
    char hex[2 * SHA256_LEN + 1], id[UUID_TEXT_LEN + 1];
    int64_t rate = r->took_us > 0 ? r->events * USEC_PER_S / r->took_us : 0;
    const struct verify_finding *f = &r->first;
    buf_addf(out, "%.*s\n%lld events, %u signed heads, %lld bodies dropped by retention, %u accepted restores; %lld events a second\n",
             STR(s->origin), (long long)r->events, r->n_heads, (long long)r->n_dropped, r->n_breaks, (long long)rate);
    if (f->what == VERIFY_OK) {
        buf_addf(out, "The log is the one that was signed: root %s, the first %lld events under a signed head.\n",
                 hex_encode(r->root.b, sizeof r->root.b, hex).p, (long long)r->signed_size);
        return;
    }
    buf_addf(out, "NOT the log that was signed: %s", verify_name(f->what));
    if (f->number) buf_addf(out, ", event %lld", (long long)f->number);
    if (f->until > f->number) buf_addf(out, " to %lld", (long long)f->until);
    if (f->has_id) buf_addf(out, " (%.*s)", STR(uuid_format(&f->id, id)));
    buf_addf(out, ": %s.\n", f->text);
}

/* --head FILE, and the data folder's own when its database is verified. */
static enum errc exported_heads(struct audit_cli *c, const char *dir, str **out, unsigned *n)
{
    char path[FILE_PATH_MAX];
    const char *given = cli_flag(c->args, "--head");
    *n = 0;
    if (given) return audit_cli_notes(c, given, out, n);
    enum errc rc = file_path(path, &c->e, "%s/audit/head", cli_data_dir(c->args));
    if (rc || dir || !uuid_is_nil(&c->tree) || !file_exists(path)) return rc;
    return audit_cli_notes(c, path, out, n);
}

static int run_verify(const struct cli_app *app, const struct cli_args *args)
{
    struct audit_cli c;
    struct verify_report report = {0};
    struct verify_options options = {0};
    const char *dir = cli_positional(args, 0), *threads = cli_flag(args, "--threads");
    uint64_t n_threads = 0;
    str *heads = NULL;
    enum errc rc = audit_cli_open(&c, app, args, dir);
    if (!rc && threads && (!str_to_u64(str_c(threads), &n_threads) || n_threads < 1 || n_threads > 64))
        rc = err_set(&c.e, ERR_USAGE, "--threads needs a number from 1 to 64");
    options.threads = (unsigned)n_threads;
    if (!rc) rc = exported_heads(&c, dir, &heads, &options.n_exported);
    options.exported = heads;
    if (!rc) rc = verify_run(c.source, &options, &report, &c.e);
    if (!rc && cli_flag(args, "--json")) {
        struct json_writer w;
        json_writer_init(&w, &c.out);
        verify_report_put(&report, c.source, &w);
        buf_add_char(&c.out, '\n');
    } else if (!rc) {
        print_report(&c.out, &report, c.source);
    }
    return audit_cli_end(&c, rc, report.first.what == VERIFY_OK ? EXIT_OK : EXIT_FAILED);
}

static const struct flag verify_flags[] = {
    CLI_CONFIG_FLAGS,
    AUDIT_WORKSPACE_FLAG,
    {"--head", "FILE", NULL, "a head, or some, that were given away: the log must bear them out (default: DIR/audit/head)"},
    {"--keys", "FILE", NULL, "the keys that heads are verified with, one a line (default: DIR/audit/keys; of an export, its own)"},
    {"--threads", "N", NULL, "how many threads hash (default: one for each core)"},
    {"--json", NULL, NULL, "the report as JSON"},
};

const struct command cmd_audit_verify = {
    .name = "audit verify",
    .arguments = "[EXPORT]",
    .meaning = "verifies the audit log, of the database or of an export, against the heads that were signed",
    .flags = verify_flags,
    .n_flags = LENGTH_OF(verify_flags),
    .run = run_verify,
};

/* --- export --- */

static void read_node(const char *data_dir, struct arena *a, uuid *out)
{
    char path[FILE_PATH_MAX];
    str text;
    *out = (uuid){0};
    if (file_path(path, NULL, "%s/journal/node", data_dir) != ERR_NONE || file_read(path, 64, a, &text, NULL) != ERR_NONE ||
        !hex_decode(str_trim(text), out->b, sizeof out->b))
        *out = (uuid){0}; /* no server has run on this folder */
}

static int run_export(const struct cli_app *app, const struct cli_args *args)
{
    struct audit_cli c;
    struct bundle_result done;
    const char *dir = cli_positional(args, 0), *since = cli_flag(args, "--since");
    struct bundle_order order = {.dir = dir, .since = 1, .now_us = clock_now_us()};
    enum errc rc = audit_cli_open(&c, app, args, NULL);
    if (!rc && !dir) rc = err_set(&c.e, ERR_USAGE, "name the folder: catalyst audit export DIR");
    if (!rc && since && (!str_to_i64(str_c(since), &order.since) || order.since < 1))
        rc = err_set(&c.e, ERR_USAGE, "--since needs a number of the log, from 1 on");
    read_node(cli_data_dir(args), &c.a, &order.node);
    if (!rc) rc = bundle_write(c.source, &order, &done, &c.e);
    if (!rc)
        buf_addf(&c.out, "%lld events of %.*s in %s: %u files written, %u kept. `catalyst audit verify %s` verifies them.\n", (long long)done.size,
                 STR(c.source->origin), dir, done.n_written, done.n_kept, dir);
    return audit_cli_end(&c, rc, EXIT_OK);
}

static const struct flag export_flags[] = {
    CLI_CONFIG_FLAGS,
    AUDIT_WORKSPACE_FLAG,
    {"--since", "N", NULL, "leaves out the bodies of events before this number (tiles and heads are always whole)"},
};

const struct command cmd_audit_export = {
    .name = "audit export",
    .arguments = "DIR",
    .meaning = "writes the audit log into a folder: tiles, segments, signed heads, keys; goes on where it stood",
    .flags = export_flags,
    .n_flags = LENGTH_OF(export_flags),
    .run = run_export,
};
