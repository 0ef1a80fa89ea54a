/* catalyst migrate to-postgres: moves the SQLite databases of a data folder that is not served into an empty PostgreSQL. */
#include <stdio.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "cli/data/store.h"
#include "core/datadir.h"
#include "store/move.h"
#include "json/write.h"

#define ARENA_LIMIT (256u << 20)
#define TEXT_MAX (4u << 20)
#define TELL_US (USEC_PER_S)

struct run {
    const struct cli_args *args;
    struct arena a;
    struct config *config;
    struct move_setup setup;
    struct move_report report;
    struct buf out;
    int lock;
    usec told_us;
    const struct move_table *told;
    enum move_phase told_phase;
    err e;
};

/* --- progress --- */

static void tell(void *ctx, enum move_phase phase, const struct move_table *t, int64_t done)
{
    struct run *r = ctx;
    usec now_us = clock_mono_us();
    if (phase == MOVE_INDEXES) {
        fprintf(stderr, "making indexes and foreign keys\n");
        return;
    }
    bool is_end = done >= t->n_rows;
    if (t->n_rows == 0 || (!is_end && now_us - r->told_us < TELL_US)) return;
    r->told_us = now_us;
    fprintf(stderr, "%s %s.%s: %lld of %lld rows\n", phase == MOVE_COPIES ? "copying" : "comparing",
            db_names[t->db], t->name, (long long)done, (long long)t->n_rows);
}

static void tell_difference(void *ctx, str text)
{
    (void)ctx;
    fprintf(stderr, "%.*s\n", STR(text));
}

/* --- what is said at the end --- */

static double per_second(int64_t n, usec took_us)
{
    return took_us > 0 ? (double)n * USEC_PER_S / (double)took_us : 0;
}

static void print_json(struct run *r)
{
    struct json_writer w;
    char id[UUID_TEXT_LEN + 1], hex[65], target[128];
    const struct move_report *m = &r->report;
    move_target_text(r->setup.url, target, sizeof target);
    json_writer_init(&w, &r->out);
    json_object(&w);
    json_put_str(&w, "move", uuid_format(&m->id, id));
    json_put_str(&w, "target", str_c(target));
    json_put_bool(&w, "is_equal", m->n_differences == 0);
    json_put_bool(&w, "went_on", m->went_on);
    json_put_int(&w, "rows", m->n_rows);
    json_put_int(&w, "rows_copied", m->n_copied);
    json_put_int(&w, "bytes_copied", m->n_bytes);
    json_put_int(&w, "differences", m->n_differences);
    json_put_int(&w, "copy_us", m->copy_us);
    json_put_int(&w, "index_us", m->index_us);
    json_put_int(&w, "compare_us", m->check_us);
    json_name(&w, S("tables"));
    json_array(&w);
    for (unsigned i = 0; i < m->n_tables; i++) {
        const struct move_table *t = &m->tables[i];
        json_object(&w);
        json_put_str(&w, "database", str_c(db_names[t->db]));
        json_put_str(&w, "table", str_c(t->name));
        json_put_int(&w, "rows", t->n_rows);
        json_put_int(&w, "differences", t->n_differences);
        json_put_str(&w, "sha256", hex_encode(t->hash, sizeof t->hash, hex));
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    buf_add_char(&r->out, '\n');
}

static void print_text(struct run *r)
{
    const struct move_report *m = &r->report;
    char target[128];
    move_target_text(r->setup.url, target, sizeof target);
    if (m->copy_us)
        buf_addf(&r->out, "Copied %lld rows in %.1f s (%.0f a second).\n", (long long)m->n_copied,
                 (double)m->copy_us / USEC_PER_S, per_second(m->n_copied, m->copy_us));
    if (m->check_us)
        buf_addf(&r->out, "Compared %lld rows of %u tables in %.1f s (%.0f a second): they are the same.\n",
                 (long long)m->n_rows, m->n_tables, (double)m->check_us / USEC_PER_S,
                 per_second(m->n_rows, m->check_us));
    if (r->setup.only_compares) return;
    buf_addf(&r->out,
             "The data is in %s now. Before the next start put its URL into the configuration:\n"
             "  database:\n    url: postgresql://…\n"
             "What the journal in %s/journal still has is drained by that start.\n"
             "%s/db is as it was, and %s/MOVED keeps servers from using it: remove that file (and the URL) "
             "to go back to\n"
             "SQLite as it was before the move; what happened since would be missing there.\n",
             target, r->setup.data_dir, r->setup.data_dir, r->setup.data_dir);
}

/* --- the command --- */

static enum errc target_of(struct run *r, err *e)
{
    const char *to = cli_flag(r->args, "--to");
    str url = to ? str_c(to) : config_text(r->config, "database.url");
    char *text = str_to_c(&r->a, url); /* libpq wants its NUL */
    if (!text) return err_code(e, ERR_NO_MEMORY);
    r->setup.url = str_c(text);
    if (!url.len)
        return err_set(e, ERR_USAGE,
                       "say where to: database.url of the configuration (CATALYST_DATABASE__URL), or --to "
                       "postgresql://USER@HOST/NAME");
    if (to && move_url_has_password(r->setup.url))
        return err_set(e, ERR_USAGE,
                       "everybody on this machine can read a password on the command line: set "
                       "CATALYST_DATABASE__URL instead of --to, or PGPASSWORD");
    return ERR_NONE;
}

static enum errc move(struct run *r, const struct cli_app *app, err *e)
{
    struct store_source source = {.data_dir = cli_data_dir(r->args)};
    enum errc rc = cli_config(app, r->args, &r->a, &r->config, e);
    r->setup = (struct move_setup){.data_dir = source.data_dir,
                                   .only_compares = cli_flag(r->args, "--check-only") != NULL,
                                   .begins_again = cli_flag(r->args, "--again") != NULL,
                                   .progress = tell,
                                   .differs = tell_difference,
                                   .ctx = r};
    if (!rc) rc = target_of(r, e);
    if (!rc) rc = cli_sqlite_exists(&source, e);
    if (!rc) rc = datadir_open(source.data_dir, &r->lock, e);
    return rc ? rc : store_move(&r->setup, &r->a, &r->report, e);
}

static int run_move(const struct cli_app *app, const struct cli_args *args)
{
    struct run r = {.args = args, .lock = -1};
    log_set_level(LOG_WARN);
    arena_init(&r.a, ARENA_LIMIT, 0);
    buf_init(&r.out, TEXT_MAX);
    enum errc rc = move(&r, app, &r.e);
    bool is_json = cli_flag(args, "--json") != NULL;
    int exit_code = EXIT_OK;
    if (is_json && r.report.n_tables && (!rc || rc == ERR_CORRUPT))
        print_json(&r);
    else if (!rc)
        print_text(&r);
    if (r.out.len || !rc) exit_code = cli_print(&r.out);
    if (rc) exit_code = cli_fail(&r.e);
    if (rc && r.report.n_tables && !r.setup.only_compares)
        fprintf(stderr, "Nobody can use the PostgreSQL before the move has ended: the same command goes on, "
                        "--again begins anew.\n");
    if (r.lock >= 0) close(r.lock);
    buf_fini(&r.out);
    arena_fini(&r.a);
    return exit_code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--to", "URL", NULL, "the PostgreSQL, without a password (default: database.url of the configuration)"},
    {"--check-only", NULL, NULL, "only compares SQLite with PostgreSQL, row by row"},
    {"--again", NULL, NULL, "drops what a move that did not end has left there, and begins anew"},
    {"--json", NULL, NULL, "prints one JSON object"},
};

const struct command cmd_migrate_to_postgres = {
    .name = "migrate to-postgres",
    .arguments = "",
    .meaning = "moves the SQLite databases of a stopped server into an empty PostgreSQL and compares every "
               "row; goes on where it was "
               "interrupted",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_move,
};
