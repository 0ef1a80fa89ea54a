/* store.c - opening and closing the databases, and their options. */
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

#include "store/engine.h"
#include "store/migrate.h"
#include "store/move.h"

#define CONNECTIONS 16
#define DEADLINE_MS 10000
#define QUEUE 1024

static const struct option options[] = {
    {.key = "database.url",
     .type = OPTION_SECRET,
     .meaning = "postgresql://USER:PASSWORD@HOST/NAME keeps everything in the schemas main, usage and people "
                "of this PostgreSQL "
                "database; without it SQLite in the data folder does."},
    {.key = "store.connections",
     .type = OPTION_INT,
     .fallback = "16",
     .min = 2,
     .max = 1000,
     .meaning = "Most connections to PostgreSQL at once; with SQLite most readers of each database at once."},
    {.key = "store.read_deadline_ms",
     .type = OPTION_MS,
     .fallback = "10s",
     .min = 100,
     .max = 600000,
     .meaning = "Longest time that one reading unit of work may take, the wait for a connection included."},
    {.key = "store.write_deadline_ms",
     .type = OPTION_MS,
     .fallback = "10s",
     .min = 100,
     .max = 600000,
     .meaning = "Longest time that one writing unit of work may take, waiting included. With SQLite it may "
                "run for half of it, so that "
                "one that hangs does not make those behind it late, too."},
    {.key = "store.queue",
     .type = OPTION_INT,
     .fallback = "1024",
     .min = 1,
     .max = 1000000,
     .meaning = "Writing units that may wait for a SQLite database; more are refused at once."},
};
const struct option_table store_options = {options, LENGTH_OF(options)};

struct db *store_db(struct store *s, enum db_id id) { return &s->dbs[id]; }
bool store_is_postgres(const struct store *s) { return s->engine != &sqlite_engine; }
unsigned store_n_waiting(struct store *s, enum db_id id) { return s->engine->n_waiting(&s->dbs[id]); }

void store_on_noted(struct store *s, tx_fn seal, void *ctx)
{
    s->seal = seal;
    s->seal_ctx = ctx;
}

void *db_noted_ctx(const struct db *db) { return db->store->seal_ctx; }

void store_on_committed(struct store *s, void (*wake)(void *ctx), void *ctx)
{
    s->wake = wake;
    s->wake_ctx = ctx;
}

/* --- other nodes --- */

#define CHANNEL "catalyst"

const char *const store_topics[STORE_TOPICS] = {
    [TOPIC_SEALED] = "sealed", [TOPIC_LIVE] = "live", [TOPIC_LEASES] = "leases", [TOPIC_JOBS] = "jobs",
    [TOPIC_NODES] = "nodes"};

SQL_PER_ENGINE(tell, DB_MAIN, SQL_INSTANCE | SQL_ANYWHERE, "t", "SELECT $1",
               "SELECT CAST(pg_notify('" CHANNEL "', $1) AS TEXT)");

void store_on_told(struct store *s, enum store_topic t, void (*wake)(void *ctx), void *ctx)
{
    assert(s->n_ears < STORE_EARS_MAX && !s->listening);
    s->ears[s->n_ears++] = (struct store_ear){t, wake, ctx};
}

void store_told(struct store *s, enum store_topic t)
{
    for (unsigned i = 0; i < s->n_ears; i++)
        if (t == STORE_TOPICS || s->ears[i].topic == t) s->ears[i].wake(s->ears[i].ctx);
}

enum errc store_listen(struct store *s, err *e)
{
    return s->engine->listen ? s->engine->listen(s, e) : ERR_NONE;
}

void store_deafen(struct store *s)
{
    if (s->engine->deafen) s->engine->deafen(s);
}

/* --- how a unit runs --- */

SQL_PER_ENGINE(read_committed, DB_MAIN, SQL_INSTANCE | SQL_ANYWHERE, "", "SELECT 1",
               "SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
SQL_PER_ENGINE(without_sync, DB_MAIN, SQL_INSTANCE | SQL_ANYWHERE, "", "SELECT 1",
               "SET LOCAL synchronous_commit = off");

static enum errc set_on_postgres(struct tx *tx, const struct sql *what, err *e)
{
    return store_is_postgres(tx->db->store) ? tx_exec_unaudited(tx, what, NULL, 0, NULL, e) : ERR_NONE;
}

enum errc tx_read_committed(struct tx *tx, err *e) { return set_on_postgres(tx, &read_committed, e); }
enum errc tx_without_sync(struct tx *tx, err *e) { return set_on_postgres(tx, &without_sync, e); }

enum errc tx_tell(struct tx *tx, enum store_topic t, err *e)
{
    struct arena a;
    struct rows rows;
    if (!tx->db->store->engine->listen) return ERR_NONE;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &tell, PARAMS(v_text(str_c(store_topics[t]))), &rows, e);
    arena_fini(&a);
    return rc;
}

enum errc store_measure(struct store *s, err *e)
{
    static const char *const unit_labels[] = {"database", "kind", NULL}, *const failed_labels[] = {"database",
                                                                                                   NULL};
    static const int64_t bounds_us[] = {50,   100,   250,   500,    1000,    2500,
                                        5000, 10000, 25000, 100000, 1000000, 10000000};
    struct stat *units = stats_declare(STAT_HISTOGRAM, "catalyst_store_unit_seconds",
                                       "Units of work, from being asked for to being durable.", unit_labels,
                                       bounds_us, LENGTH_OF(bounds_us), 1000000);
    struct stat *failed =
        stats_declare(STAT_COUNTER, "catalyst_store_failed_total",
                      "Units that the database failed: too late, full, damaged or out of reach.",
                      failed_labels, NULL, 0, 1);
    for (int id = 0; id < DB_IDS; id++) {
        struct db_stats *stats = calloc(1, sizeof *stats);
        if (!stats) return err_code(e, ERR_NO_MEMORY);
        pthread_mutex_init(&stats->lock, NULL);
        stats->reads = stats_series(units, (const str[]){str_c(db_names[id]), S("read")});
        stats->writes = stats_series(units, (const str[]){str_c(db_names[id]), S("write")});
        stats->failed = stats_series(failed, (const str[]){str_c(db_names[id])});
        s->dbs[id].stats = stats;
    }
    return ERR_NONE;
}

static unsigned or_default(unsigned v, unsigned fallback) { return v ? v : fallback; }

static enum errc copy_source(struct store *s, const struct store_source *source, err *e)
{
    s->source = *source;
    s->source.data_dir = strdup(source->data_dir);
    s->source.url = (str){0};
    if (!s->source.data_dir) return err_code(e, ERR_NO_MEMORY);
    if (source->url.len) {
        char *url = strndup(source->url.p, source->url.len);
        if (!url) return err_code(e, ERR_NO_MEMORY);
        s->source.url = str_c(url);
    }
    s->source.connections = or_default(source->connections, CONNECTIONS);
    s->source.read_deadline_ms = or_default(source->read_deadline_ms, DEADLINE_MS);
    s->source.write_deadline_ms = or_default(source->write_deadline_ms, DEADLINE_MS);
    s->source.queue = or_default(source->queue, QUEUE);
    return ERR_NONE;
}

enum errc store_open_with(struct store **out, const struct store_source *source, const struct migration *list,
                          unsigned n, err *e)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    s->engine = engine_of(source);
    for (unsigned i = 0; i < DB_IDS; i++)
        s->dbs[i] = (struct db){.store = s, .id = (enum db_id)i};
    enum errc rc = copy_source(s, source, e);
    if (!rc && !source->url.len) rc = moved_refuse(source->data_dir, e);
    for (unsigned i = 0; i < DB_IDS && !rc; i++)
        rc = s->engine->open(&s->dbs[i], e);
    if (!rc) rc = migrate(s, list, n, e);
    if (rc) {
        store_close(s);
        return rc;
    }
    *out = s;
    return ERR_NONE;
}

enum errc store_open(struct store **out, const struct store_source *source, err *e)
{
    return store_open_with(out, source, migrations_embedded, migrations_embedded_n, e);
}

void store_close(struct store *s)
{
    if (!s) return;
    store_deafen(s);
    for (unsigned i = 0; i < DB_IDS; i++)
        s->engine->close(&s->dbs[i]);
    for (unsigned i = 0; i < DB_IDS; i++) {
        if (s->dbs[i].stats) pthread_mutex_destroy(&s->dbs[i].stats->lock);
        free(s->dbs[i].stats);
    }
    if (s->source.url.p) explicit_bzero((char *)s->source.url.p, s->source.url.len);
    free((char *)s->source.url.p);
    free((char *)s->source.data_dir);
    free(s);
}
