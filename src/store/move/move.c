/* move.c - the course of a move: whose target it is, the schema, the copy, the check, the end.
 *
 * The schema catalyst_move of the target has the move's id and state (begun, copying, moved), how far each table has come, and the statements
 * that make what was put off. It goes when the move has ended.
 */
#include "store/move.h"

#include <stdio.h>

#include "base/log.h"
#include "store/files.h"
#include "store/move/internal.h"

#define BUSY_MS 10000
#define MOVE_LOCK_TIMEOUT "30s" /* for the server to notice that a move before was killed */

enum target_state { TARGET_EMPTY, TARGET_FILLED, TARGET_BEGUN, TARGET_COPYING, TARGET_MOVED };

/* --- names of the target --- */

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        if (strcmp(o->keyword, keyword) == 0 && o->val && *o->val) return o->val;
    return NULL;
}

void move_target_text(str url, char *out, size_t size)
{
    PQconninfoOption *options = PQconninfoParse(url.p, NULL);
    const char *user = option_value(options, "user"), *host = option_value(options, "host"),
               *port = option_value(options, "port"), *name = option_value(options, "dbname");
    snprintf(out, size, "PostgreSQL %s%s%s%s%s/%s", user ? user : "", user ? "@" : "", host ? host : "",
             port ? ":" : "", port ? port : "", name ? name : "");
    PQconninfoFree(options);
}

bool move_url_has_password(str url)
{
    PQconninfoOption *options = PQconninfoParse(url.p, NULL);
    bool has = option_value(options, "password") != NULL;
    PQconninfoFree(options);
    return has;
}

/* --- SQLite --- */

struct currency {
    const struct migration *list;
    unsigned n;
};

static enum errc current_unit(struct tx *tx, void *ctx, err *e)
{
    const struct currency *c = ctx;
    return migrate_is_current(tx, c->list, c->n, e);
}

static enum errc open_sources(struct move *m, err *e)
{
    struct currency currency = {m->list, m->n_list};
    enum errc rc = ERR_NONE;
    m->sqlite = (struct store){.engine = &sqlite_engine, .source = {.data_dir = m->setup->data_dir}};
    for (int id = 0; id < DB_IDS && !rc; id++) {
        struct tx tx;
        char path[FILE_PATH_MAX];
        m->sqlite.dbs[id] = (struct db){.store = &m->sqlite, .id = (enum db_id)id};
        rc = sqlite_path(m->setup->data_dir, (enum db_id)id, path, e);
        if (!rc && !file_exists(path))
            return err_set(e, ERR_NOT_FOUND, "there is no SQLite database %s", path);
        if (!rc) rc = sqlite_conn_open(&m->sources[id], &m->sqlite.dbs[id], SQLITE_OPEN_READONLY, BUSY_MS, e);
        if (!rc) rc = sqlite_run(&m->sources[id], "BEGIN", e);
        if (!rc) rc = tx_run(&tx, &m->sqlite.dbs[id], &m->sources[id], current_unit, &currency, e);
    }
    return rc;
}

/* --- the target --- */

static enum errc open_target(struct move *m, err *e)
{
    struct store_source source = {
        .data_dir = m->setup->data_dir, .url = m->setup->url, .connections = 1, .write_deadline_ms = BUSY_MS};
    enum errc rc = pg_pool_new(&m->pool, &source, e);
    if (!rc) rc = pg_conn_get(m->pool, DB_MAIN, store_mono_us() + BUSY_MS * USEC_PER_MS, &m->target, e);
    if (rc) return rc;
    m->target->deadline_us = 0;
    rc = move_do(
        m, "setting up the connection", e,
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET synchronous_commit = "
        "off; "
        "SET search_path = ''; SELECT set_config('client_connection_check_interval', '1s', false) "
        "WHERE current_setting('server_version_num')::int >= 140000; SET lock_timeout = '" MOVE_LOCK_TIMEOUT
        "'");
    if (rc) return rc;
    rc = pg_run(m->target, "SELECT pg_advisory_lock(" PG_MOVE_LOCK ")", "waiting for another move", e);
    if (rc == ERR_BUSY) return err_set(e, ERR_BUSY, "another move into this PostgreSQL is under way");
    return rc ? rc : move_do(m, "setting up the connection", e, "SET lock_timeout = 0");
}

static enum errc read_state(struct move *m, enum target_state *out, uuid *id, err *e)
{
    PGresult *r = NULL;
    *out = TARGET_EMPTY;
    *id = (uuid){{0}};
    enum errc rc = move_ask(m, "SELECT to_regclass('catalyst_move.state')", &r, e);
    bool is_there = !rc && !PQgetisnull(r, 0, 0);
    PQclear(r);
    if (rc || !is_there) return rc;
    rc = move_ask(m, "SELECT id, state FROM catalyst_move.state", &r, e);
    if (!rc && (PQntuples(r) != 1 || !uuid_parse(str_c(PQgetvalue(r, 0, 0)), id)))
        rc = err_set(e, ERR_CONFLICT, "the schema catalyst_move of the PostgreSQL database is not a move's");
    if (!rc) {
        str state = str_c(PQgetvalue(r, 0, 1));
        *out = str_eq(state, S("moved"))     ? TARGET_MOVED
               : str_eq(state, S("copying")) ? TARGET_COPYING
                                             : TARGET_BEGUN;
    }
    PQclear(r);
    return rc;
}

/* What is in the way: anything that neither PostgreSQL nor an extension has made. */
static enum errc find_filling(struct move *m, enum target_state *out, err *e)
{
    char name[64];
    PGresult *r = NULL;
    enum errc rc =
        move_ask(m,
                 "SELECT n.nspname || '.' || c.relname, current_database() FROM pg_catalog.pg_class c "
                 "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                 "WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND NOT EXISTS "
                 "(SELECT 1 FROM pg_catalog.pg_depend d "
                 "WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') "
                 "ORDER BY n.nspname NOT IN ('main', 'usage', 'people'), 1 LIMIT 1",
                 &r, e);
    if (!rc && PQntuples(r)) {
        *out = TARGET_FILLED;
        snprintf(name, sizeof name, "%s", PQgetvalue(r, 0, 0));
        err_set(e, ERR_CONFLICT,
                "the PostgreSQL database '%.60s' is not empty: it has %s. A move needs one that has nothing "
                "(CREATE DATABASE)",
                PQgetvalue(r, 0, 1), name);
    }
    PQclear(r);
    return rc;
}

static enum errc drop_all(struct move *m, err *e)
{
    return move_do(m, "dropping what an unfinished move has left", e,
                   "BEGIN; DROP SCHEMA IF EXISTS main CASCADE; DROP SCHEMA IF EXISTS usage CASCADE; DROP "
                   "SCHEMA IF EXISTS people CASCADE; "
                   "DROP SCHEMA catalyst_move CASCADE; COMMIT");
}

/* The target is this move's from the commit on; a start of a server at this moment either was first, and is seen, or sees it. */
static enum errc claim(struct move *m, bool *is_refused, err *e)
{
    char id[UUID_TEXT_LEN + 1];
    enum target_state state = TARGET_EMPTY;
    *is_refused = true;
    enum errc rc = move_do(m, "claiming the PostgreSQL", e, "BEGIN; " PG_SCHEMA_LOCK);
    if (!rc) rc = find_filling(m, &state, e);
    if (!rc && state == TARGET_FILLED) rc = ERR_CONFLICT;
    if (!rc)
        rc = move_do(m, "claiming the PostgreSQL", e,
                     "CREATE SCHEMA catalyst_move; CREATE TABLE catalyst_move.state (id uuid NOT NULL, state "
                     "text NOT NULL); "
                     "CREATE TABLE catalyst_move.tables (database text NOT NULL, name text NOT NULL, place "
                     "bigint, n_rows bigint NOT NULL, "
                     "is_copied boolean NOT NULL, PRIMARY KEY (database, name)); "
                     "CREATE TABLE catalyst_move.later (n bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY "
                     "KEY, statement text NOT NULL); "
                     "INSERT INTO catalyst_move.state VALUES ('%.*s', 'begun')",
                     STR(uuid_format(&m->id, id)));
    if (rc) return rc;
    *is_refused = false; /* whether a commit that breaks was one is not known */
    return move_do(m, "claiming the PostgreSQL", e, "COMMIT");
}

static enum errc bring_up(struct move *m, err *e)
{
    struct store *s;
    struct store_source source = {.data_dir = m->setup->data_dir,
                                  .url = m->setup->url,
                                  .migrates = true,
                                  .skips_backup = true,
                                  .is_moved_into = true};
    enum errc rc = store_open_with(&s, &source, m->list, m->n_list, e);
    if (!rc) store_close(s);
    return rc;
}

#define OURS "n.nspname IN ('main', 'usage', 'people')"

/* In one transaction: no release may use the schema, what slows the copy is put off, every table is empty and begins. */
static enum errc make_ready(struct move *m, err *e)
{
    return move_do(
        m, "preparing the tables", e,
        "BEGIN; " PG_SCHEMA_LOCK "; "
        "INSERT INTO main.schema_migrations (number, name, checksum, applied_us) VALUES (%d, '%s', '', 0) ON "
        "CONFLICT DO NOTHING; "
        "INSERT INTO catalyst_move.later (statement) SELECT pg_get_indexdef(i.indexrelid) FROM "
        "pg_catalog.pg_index i "
        "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = "
        "c.relnamespace WHERE " OURS
        " AND NOT i.indisprimary AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conindid = "
        "i.indexrelid) ORDER BY 1; "
        "INSERT INTO catalyst_move.later (statement) SELECT format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', "
        "k.conrelid::regclass, k.conname, "
        "pg_get_constraintdef(k.oid)) FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON "
        "n.oid = k.connamespace WHERE " OURS " AND k.contype = 'f' ORDER BY 1; "
        "DO $do$ DECLARE x text; BEGIN "
        "FOR x IN SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', k.conrelid::regclass, k.conname) FROM "
        "pg_catalog.pg_constraint k "
        "JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace WHERE " OURS
        " AND k.contype = 'f' LOOP EXECUTE x; END LOOP; "
        "FOR x IN SELECT format('DROP INDEX %%s', i.indexrelid::regclass) FROM pg_catalog.pg_index i "
        "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = "
        "c.relnamespace WHERE " OURS " AND NOT i.indisprimary AND NOT EXISTS (SELECT 1 FROM "
        "pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid) "
        "LOOP EXECUTE x; END LOOP; "
        "FOR x IN SELECT format('TRUNCATE %%s', c.oid::regclass) FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE " OURS
        " AND c.relkind = 'r' AND c.relname <> 'schema_migrations' LOOP EXECUTE x; END LOOP; END $do$; "
        "INSERT INTO catalyst_move.tables SELECT n.nspname, c.relname, NULL, 0, false FROM "
        "pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE " OURS
        " AND c.relkind = 'r' AND c.relname <> 'schema_migrations'; "
        "UPDATE catalyst_move.state SET state = 'copying'; COMMIT",
        MIGRATION_OF_MOVE, MIGRATION_OF_MOVE_NAME);
}

/* --- what was put off --- */

static enum errc make_one(struct move *m, const char *number, const char *statement, err *e)
{
    enum errc rc = pg_run(m->target, "BEGIN", "making an index", e);
    if (!rc) rc = pg_run(m->target, statement, "making an index or a foreign key", e);
    return rc ? rc
              : move_do(m, "making an index", e, "DELETE FROM catalyst_move.later WHERE n = %s; COMMIT",
                        number);
}

/* Behind the highest number that SQLite has given, whether its row is there or not. */
static enum errc set_identity(struct move *m, const struct table *t, const struct move_column *column, err *e)
{
    struct buf text;
    sqlite3_stmt *s = NULL;
    int64_t given = 0;
    buf_init(&text, 4096);
    buf_addf(&text, "SELECT seq FROM sqlite_sequence WHERE name = %s", t->literal);
    enum errc rc = move_prepare(m, t->said.db, &text, &s, e);
    if (!rc && sqlite3_step(s) == SQLITE_ROW) given = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    buf_fini(&text);
    if (rc || given < 1) return rc;
    return move_do(m, "setting an identity", e, "SELECT setval(pg_get_serial_sequence(%s, %s), %lld, true)",
                   t->full_literal, column->literal, (long long)given);
}

static enum errc make_the_rest(struct move *m, err *e)
{
    PGresult *r = NULL;
    enum errc rc = ERR_NONE;
    if (m->setup->progress) m->setup->progress(m->setup->ctx, MOVE_INDEXES, NULL, 0);
    for (unsigned i = 0; i < m->n_tables && !rc; i++)
        for (unsigned k = 0; k < m->tables[i].n_columns && !rc; k++)
            if (m->tables[i].columns[k].is_identity)
                rc = set_identity(m, &m->tables[i], &m->tables[i].columns[k], e);
    if (!rc) rc = move_ask(m, "SELECT n, statement FROM catalyst_move.later ORDER BY n", &r, e);
    for (int i = 0; !rc && i < PQntuples(r); i++)
        rc = make_one(m, PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), e);
    PQclear(r);
    for (unsigned i = 0; i < m->n_tables && !rc; i++)
        rc = move_do(m, "analysing a table", e, "ANALYZE %s", m->tables[i].full);
    return rc;
}

/* --- the course --- */

static void fill_report(struct move *m)
{
    struct move_table *said = arena_news(m->a, struct move_table, m->n_tables + 1);
    if (!said) return;
    m->report->n_rows = 0;
    for (unsigned i = 0; i < m->n_tables; i++) {
        said[i] = m->tables[i].said;
        m->report->n_rows += said[i].n_rows;
    }
    m->report->tables = said;
    m->report->n_tables = m->n_tables;
}

static enum errc timed(struct move *m, enum errc (*step)(struct move *m, err *e), usec *took_us, err *e)
{
    usec began_us = store_mono_us();
    enum errc rc = step(m, e);
    *took_us = store_mono_us() - began_us;
    return rc;
}

static enum errc mark(struct move *m, bool is_done, err *e)
{
    struct moved moved = {.is_done = is_done, .id = m->id, .at_us = clock_now_us()};
    move_target_text(m->setup->url, moved.target, sizeof moved.target);
    if (is_done) fill_report(m);
    return moved_write(m->setup->data_dir, &moved, is_done ? m->report : NULL, e);
}

/* The moment from which servers may use it. */
static enum errc let_go(struct move *m, err *e)
{
    return move_do(
        m, "ending the move", e,
        "SET synchronous_commit = on; BEGIN; DELETE FROM main.schema_migrations WHERE number = %d; "
        "UPDATE catalyst_move.state SET state = 'moved'; COMMIT",
        MIGRATION_OF_MOVE);
}

static enum errc begin(struct move *m, err *e)
{
    bool is_refused;
    m->id = uuid7_make(clock_now_us());
    enum errc rc = mark(m, false, e);
    if (rc) return rc;
    rc = claim(m, &is_refused, e);
    err undo = {0};
    if (rc && is_refused && moved_remove(m->setup->data_dir, &undo) != ERR_NONE)
        log_error(LOG_WARN, "move_marker_left", &undo);
    return rc;
}

static enum errc go_on(struct move *m, enum target_state state, err *e)
{
    enum errc rc = ERR_NONE;
    if (state != TARGET_MOVED) {
        rc = bring_up(m, e);
        if (!rc && state != TARGET_COPYING) rc = make_ready(m, e);
        if (!rc) rc = move_catalogue(m, e);
        if (!rc) rc = timed(m, move_copy, &m->report->copy_us, e);
        if (!rc) rc = timed(m, make_the_rest, &m->report->index_us, e);
        if (!rc) rc = timed(m, move_compare, &m->report->check_us, e);
        if (!rc) rc = let_go(m, e);
    }
    if (!rc) rc = mark(m, true, e);
    return rc ? rc : move_do(m, "ending the move", e, "DROP SCHEMA catalyst_move CASCADE");
}

static enum errc only_compare(struct move *m, enum target_state state, err *e)
{
    if (state == TARGET_BEGUN || state == TARGET_COPYING)
        return err_set(e, ERR_CONFLICT, "the move has not ended: run it again without --check-only");
    enum errc rc = move_catalogue(m, e);
    return rc ? rc : timed(m, move_compare, &m->report->check_us, e);
}

static enum errc run(struct move *m, err *e)
{
    struct moved moved;
    enum target_state state;
    uuid id;
    enum errc rc = moved_read(m->setup->data_dir, &moved, e);
    if (!rc) rc = open_sources(m, e);
    if (!rc) rc = open_target(m, e);
    if (!rc) rc = read_state(m, &state, &id, e);
    if (rc) return rc;
    bool is_ours = moved.is_there && memcmp(&moved.id, &id, sizeof id) == 0;
    m->id = moved.id;
    if (m->setup->only_compares) return only_compare(m, state, e);
    if (moved.is_done && !is_ours)
        return err_set(e, ERR_CONFLICT,
                       "the databases were moved to %s already: --check-only compares again. (Remove "
                       "%s/MOVED to move them once more)",
                       moved.target, m->setup->data_dir);
    if (m->setup->begins_again && (state == TARGET_BEGUN || state == TARGET_COPYING)) {
        rc = drop_all(m, e);
        state = TARGET_EMPTY;
    } else if (state != TARGET_EMPTY && !is_ours) {
        return err_set(e, ERR_CONFLICT,
                       "the PostgreSQL has what a move left that did not end, of another folder or before "
                       "SQLite was gone back to: --again drops it "
                       "and begins anew");
    }
    m->report->went_on = state != TARGET_EMPTY;
    if (!rc && state == TARGET_EMPTY) rc = begin(m, e);
    return rc ? rc : go_on(m, state == TARGET_EMPTY ? TARGET_BEGUN : state, e);
}

enum errc store_move_with(const struct move_setup *setup, const struct migration *list, unsigned n,
                          struct arena *a, struct move_report *out, err *e)
{
    struct move m = {.setup = setup, .list = list, .n_list = n, .a = a, .report = out};
    *out = (struct move_report){0};
    enum errc rc = run(&m, e);
    fill_report(&m);
    out->id = m.id;
    for (int id = 0; id < DB_IDS; id++)
        if (m.sources[id].db) sqlite_conn_close(&m.sources[id]);
    if (m.target) {
        m.target->is_broken = true; /* its settings and its lock are a move's */
        pg_conn_put(m.pool, m.target);
    }
    pg_pool_free(m.pool);
    return rc;
}

enum errc store_move(const struct move_setup *setup, struct arena *a, struct move_report *out, err *e)
{
    return store_move_with(setup, migrations_embedded, migrations_embedded_n, a, out, e);
}
