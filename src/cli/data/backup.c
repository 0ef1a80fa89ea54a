/* catalyst backup, catalyst restore: a copy of the databases and the journal in a folder, and back. */
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "cli/data/store.h"
#include "core/datadir.h"
#include "core/nodes.h"
#include "store/files.h"
#include "json/write.h"

#define CONFIG_ARENA_LIMIT (64u << 20)
#define TEXT_MAX (64u << 10)

static enum errc folder_given(const struct cli_args *args, const char **out, err *e)
{
    *out = cli_positional(args, 0);
    return *out ? ERR_NONE
                : err_set(e, ERR_USAGE, "name the folder: catalyst backup DIR, catalyst restore DIR");
}

/* --- whose journals are in a backup --- */

SQL(nodes_that_drained, DB_USAGE, SQL_INSTANCE, "", "SELECT node FROM usage_nodes ORDER BY no");
SQL(nodes_that_ran, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, name, state, seen_us, journal_calls FROM nodes ORDER BY id");

struct making {
    struct arena *a;
    struct store *store;
    const char *data_dir;
    uuid own; /* the node of the folder; nil: it has no journal yet */
    struct rows ran;
    struct rows drained;
    unsigned n_missing; /* nodes whose journals are elsewhere */
};

static enum errc ran_unit(struct tx *tx, void *ctx, err *e)
{
    struct making *m = ctx;
    return tx_query(tx, m->a, &nodes_that_ran, NULL, 0, &m->ran, e);
}

static enum errc drained_unit(struct tx *tx, void *ctx, err *e)
{
    struct making *m = ctx;
    return tx_query(tx, m->a, &nodes_that_drained, NULL, 0, &m->drained, e);
}

/* The id that the journal of the folder has: 32 hex digits. */
static enum errc read_own(struct making *m, err *e)
{
    char path[FILE_PATH_MAX];
    str text;
    enum errc rc = file_path(path, e, "%s/journal/node", m->data_dir);
    if (rc || !file_exists(path)) return rc;
    rc = file_read(path, 64, m->a, &text, e);
    if (!rc && !hex_decode(str_trim(text), m->own.b, sizeof m->own.b))
        rc = err_set(e, ERR_CORRUPT, "%s is damaged", path);
    return rc;
}

static enum errc copy_journal(void *ctx, const char *to, err *e)
{
    struct making *m = ctx;
    enum errc rc = read_own(m, e);
    return rc ? rc : cli_backup_journal((void *)m->data_dir, to, e);
}

static const struct val *row_of(const struct rows *rows, const uuid *id)
{
    for (unsigned i = 0; i < rows->n; i++) {
        uuid of_row = val_uuid(row_at(rows, i));
        if (memcmp(&of_row, id, sizeof of_row) == 0) return row_at(rows, i);
    }
    return NULL;
}

/* ran: its row in `nodes`, NULL when it is of a release that wrote none. */
static void tell_node(struct making *m, struct json_writer *w, const uuid *id, const struct val *ran)
{
    char text[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1];
    bool is_here = memcmp(id, &m->own, sizeof *id) == 0;
    m->n_missing += !is_here;
    json_object(w);
    json_put_str(w, "id", uuid_format(id, text));
    json_put_bool(w, "has_journal_here", is_here);
    if (ran) {
        json_put_str(w, "name", val_str(&ran[1]));
        json_put_str(w, "state", val_str(&ran[2]));
        json_put_str(w, "seen_at", time_format(val_int(&ran[3]), time));
        json_put_int(w, "calls_not_drained", val_int(&ran[4]));
    }
    json_end(w);
}

/* "journal_of": the node whose journal is in the backup; "nodes": all that have written to these databases. What others have not drained is not in
 * the backup, and what they hold of budgets counts as spent in it until they start, or are imported. */
static enum errc tell_nodes(void *ctx, struct json_writer *w, err *e)
{
    struct making *m = ctx;
    char text[UUID_TEXT_LEN + 1];
    err old_schema = {0};
    enum errc rc = db_read(store_db(m->store, DB_USAGE), drained_unit, m, e);
    if (!rc && db_read(store_db(m->store, DB_MAIN), ran_unit, m, &old_schema) != ERR_NONE)
        m->ran = (struct rows){0};
    if (rc) return rc;
    json_name(w, S("journal_of"));
    if (uuid_is_nil(&m->own))
        json_null(w);
    else
        json_str(w, uuid_format(&m->own, text));
    json_name(w, S("nodes"));
    json_array(w);
    for (unsigned i = 0; i < m->ran.n; i++) {
        uuid id = val_uuid(row_at(&m->ran, i));
        tell_node(m, w, &id, row_at(&m->ran, i));
    }
    for (unsigned i = 0; i < m->drained.n; i++) {
        uuid id = val_uuid(row_at(&m->drained, i));
        if (!row_of(&m->ran, &id)) tell_node(m, w, &id, NULL);
    }
    json_end(w);
    return ERR_NONE;
}

/* --- the commands --- */

static enum errc make_backup(const struct store_source *source, const char *to, struct making *m, err *e)
{
    enum errc rc = cli_store_exists(source, e);
    if (!rc) rc = store_open(&m->store, source, e);
    if (rc) return rc;
    rc = store_backup(m->store, to, &(struct backup_more){.copy = copy_journal, .tell = tell_nodes, .ctx = m},
                      e);
    store_close(m->store);
    return rc;
}

static void say_what_is_missing(struct buf *out, const struct making *m)
{
    buf_add(out, S("Not in it: the configuration, and the master key, without which nobody can read what was "
                   "sealed with it. "
                   "Keep both elsewhere.\n"));
    if (m->n_missing)
        buf_addf(out,
                 "Nor in it: what %u other node%s not drained yet. The journal of a node lies in its own "
                 "data folder: back up there, too "
                 "(manifest.json names them).\n",
                 m->n_missing, m->n_missing == 1 ? " has" : "s have");
}

static int run_backup(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct config *config;
    struct making m = {0};
    struct buf out;
    const char *to;
    err e = {0};
    log_set_level(LOG_WARN);
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    enum errc rc = folder_given(args, &to, &e);
    if (!rc) rc = cli_config(app, args, &a, &config, &e);
    if (!rc) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        source.takes_any_schema = true;
        m = (struct making){.a = &a, .data_dir = source.data_dir};
        rc = make_backup(&source, to, &m, &e);
    }
    if (!rc) {
        buf_addf(&out, "Backed up to %s; `catalyst restore %s` checks it and puts it back.\n", to, to);
        say_what_is_missing(&out, &m);
    }
    int exit_code = rc ? cli_fail(&e) : cli_print(&out);
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

/* The nodes of the backup ran when it was made; here they do not. */
static enum errc restore(const char *from, struct store_source *source, err *e)
{
    struct store *s;
    enum errc rc = store_restore(from, source, e);
    if (rc) return rc;
    source->takes_any_schema = true;
    rc = store_open(&s, source, e);
    if (rc) return rc;
    rc = nodes_have_stopped(s, e);
    store_close(s);
    return rc;
}

static int run_restore(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct config *config;
    struct buf out;
    const char *from;
    int lock = -1;
    err e = {0};
    log_set_level(LOG_WARN);
    arena_init(&a, CONFIG_ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    enum errc rc = folder_given(args, &from, &e);
    if (!rc) rc = cli_config(app, args, &a, &config, &e);
    if (!rc) rc = datadir_open(cli_data_dir(args), &lock, &e);
    if (!rc) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        rc = restore(from, &source, &e);
    }
    if (!rc)
        buf_addf(&out, "Restored %s into %s. The next start brings its schema up if need be.\n", from,
                 cli_data_dir(args));
    int exit_code = rc ? cli_fail(&e) : cli_print(&out);
    if (lock >= 0) close(lock);
    buf_fini(&out);
    arena_fini(&a);
    return exit_code;
}

static const struct flag flags[] = {CLI_CONFIG_FLAGS};

const struct command cmd_backup = {
    .name = "backup",
    .arguments = "DIR",
    .meaning = "copies the databases and the journal into a new folder, also beside a running server",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_backup,
};

const struct command cmd_restore = {
    .name = "restore",
    .arguments = "DIR",
    .meaning = "checks a backup and puts it into a data folder that holds no databases",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run_restore,
};
