/* store - units of work per second, and rows in bulk.
 *
 *     bench/store [DIR [URL]]
 *
 * DIR is where SQLite's files go (default: a new folder under TMPDIR or /tmp); its disk decides what a synced commit
 * costs. With a URL (postgresql://…, an empty database) PostgreSQL is measured instead. The marks, on SQLite: 5,000
 * writing units a second with 32 threads, each one row changed, one added and a commit that is synced; 100,000 rows
 * a second into a table like the gateway's calls, with two indexes, in batches of 1,000.
 */
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/migrate.h"

#define SECONDS 3
#define BATCH 1000u
#define BATCHES 400u
#define THREADS_MAX 32u

SQL(get_n, DB_MAIN, SQL_INSTANCE, "u", "SELECT n FROM bench_things WHERE id = $1");
SQL(set_n, DB_MAIN, SQL_INSTANCE, "iu", "UPDATE bench_things SET n = $1 WHERE id = $2");
SQL(add_thing, DB_MAIN, SQL_INSTANCE, "u", "INSERT INTO bench_things (id, n) VALUES ($1, 0)");
SQL(add_event, DB_MAIN, SQL_INSTANCE, "ub", "INSERT INTO bench_events (thing_id, bytes) VALUES ($1, $2)");
SQL(add_call, DB_USAGE, SQL_INSTANCE, "uiuiituttiiiiiiii",
    "INSERT INTO bench_calls (node, n, workspace_id, started_us, status, model, project_id, provider, "
    "session, input, cache_read, "
    "cache_write, output, cost_nanousd, total_us, bytes_in, bytes_out) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT DO "
    "NOTHING");

static const char tables[] =
    "-- database: main\n"
    "CREATE TABLE bench_things (id {uuid} PRIMARY KEY, n {int} NOT NULL);\n"
    "CREATE TABLE bench_events (id {id}, thing_id {uuid} NOT NULL, bytes {blob} NOT NULL);\n"
    "-- database: usage\n"
    "CREATE TABLE bench_calls (node {uuid} NOT NULL, n {int} NOT NULL, workspace_id {uuid} NOT NULL,\n"
    "    started_us {int} NOT NULL, status {int} NOT NULL, model {text} NOT NULL, project_id {uuid},\n"
    "    provider {text} NOT NULL, session {text}, input {int}, cache_read {int}, cache_write {int},\n"
    "    output {int}, cost_nanousd {int}, total_us {int}, bytes_in {int}, bytes_out {int},\n"
    "    PRIMARY KEY (node, n));\n"
    "CREATE INDEX bench_calls_time ON bench_calls (workspace_id, started_us);\n"
    "CREATE INDEX bench_calls_project ON bench_calls (project_id, started_us);\n";

static void die(const err *e)
{
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static uuid id_of(unsigned n)
{
    uuid u = {{1}};
    memcpy(u.b + 8, &n, sizeof n);
    return u;
}

/* --- units --- */

struct worker {
    struct store *store;
    unsigned number;
    atomic_bool *is_over;
    uint64_t n_done, n_busy;
    bool is_reading;
};

static enum errc change(struct tx *tx, void *ctx, err *e)
{
    const struct worker *w = ctx;
    static const char bytes[600];
    struct arena a;
    const struct val *row;
    uuid id = id_of(w->number);
    arena_init(&a, 4096, 0);
    enum errc rc = tx_query_row(tx, &a, &get_n, PARAMS(v_uuid(&id)), &row, e);
    int64_t n = rc ? 0 : val_int(row);
    arena_fini(&a);
    if (!rc) rc = tx_exec(tx, &set_n, PARAMS(v_int(n + 1), v_uuid(&id)), NULL, e);
    return rc ? rc
              : tx_exec(tx, &add_event, PARAMS(v_uuid(&id), v_blob(str_of(bytes, sizeof bytes))), NULL, e);
}

static enum errc look(struct tx *tx, void *ctx, err *e)
{
    const struct worker *w = ctx;
    struct arena a;
    const struct val *row;
    uuid id = id_of(w->number);
    arena_init(&a, 4096, 0);
    enum errc rc = tx_query_row(tx, &a, &get_n, PARAMS(v_uuid(&id)), &row, e);
    arena_fini(&a);
    return rc;
}

static enum errc add_things(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < THREADS_MAX && !rc; i++) {
        uuid id = id_of(i);
        rc = tx_exec(tx, &add_thing, PARAMS(v_uuid(&id)), NULL, e);
    }
    return rc;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    err e = {0};
    struct db *db = store_db(w->store, DB_MAIN);
    while (!*w->is_over) {
        enum errc rc = w->is_reading ? db_read(db, look, w, &e) : db_write(db, change, w, &e);
        if (rc == ERR_BUSY)
            w->n_busy++;
        else if (rc)
            die(&e);
        else
            w->n_done++;
    }
    return NULL;
}

static void measure_units(struct store *s, unsigned n_threads, bool is_reading)
{
    struct worker workers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    atomic_bool is_over = false;
    uint64_t n = 0, n_busy = 0;
    usec start_us = clock_mono_us();
    for (unsigned i = 0; i < n_threads; i++) {
        workers[i] = (struct worker){.store = s, .number = i, .is_over = &is_over, .is_reading = is_reading};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    sleep(SECONDS);
    is_over = true;
    for (unsigned i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
        n += workers[i].n_done;
        n_busy += workers[i].n_busy;
    }
    double seconds = (double)(clock_mono_us() - start_us) / USEC_PER_S;
    printf("%s units, %2u threads: %8.0f /s%s\n", is_reading ? "reading" : "writing", n_threads,
           (double)n / seconds, n_busy ? " (some busy)" : "");
}

/* --- rows --- */

static void measure_bulk(struct store *s)
{
    enum { COLS = 17 };
    static struct val rows[BATCH * COLS];
    static uuid node = {{7}}, workspace = {{8}}, projects[8];
    err e = {0};
    usec start_us = clock_mono_us();
    for (unsigned i = 0; i < LENGTH_OF(projects); i++)
        projects[i] = id_of(i);
    for (unsigned b = 0; b < BATCHES; b++) {
        for (unsigned i = 0; i < BATCH; i++) {
            int64_t n = (int64_t)b * BATCH + i;
            struct val *v = rows + i * COLS;
            v[0] = v_uuid(&node);
            v[1] = v_int(n);
            v[2] = v_uuid(&workspace);
            v[3] = v_int(1764000000000000 + n * 10);
            v[4] = v_int(200);
            v[5] = v_text(S("claude-sonnet-4-5-20250929"));
            v[6] = v_uuid(&projects[n % 8]);
            v[7] = v_text(S("anthropic"));
            v[8] = v_text(S("7d3cbe6e-0c56-4b9e-a0d1-6a4a1d1a1c55"));
            for (unsigned k = 9; k < COLS; k++)
                v[k] = v_int(n * 37 % 100000);
        }
        if (db_bulk(store_db(s, DB_USAGE), &add_call, rows, BATCH, &e)) die(&e);
    }
    double seconds = (double)(clock_mono_us() - start_us) / USEC_PER_S;
    printf("rows in batches of %u:     %8.0f /s\n", BATCH, (double)BATCH * BATCHES / seconds);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/bench_store_XXXXXX";
    const char *dir = argc > 1 ? argv[1] : mkdtemp(folder);
    struct migration list[2] = {migrations_embedded[0],
                                {"9000_bench", tables, tables + sizeof tables - 1, NULL, NULL}};
    struct store_source source = {.data_dir = dir, .url = str_c(argc > 2 ? argv[2] : NULL), .migrates = true};
    struct store *s;
    err e = {0};
    if (!dir || store_open_with(&s, &source, list, 2, &e)) die(&e);
    if (db_write(store_db(s, DB_MAIN), add_things, NULL, &e)) die(&e);
    measure_units(s, 1, false);
    measure_units(s, THREADS_MAX, false);
    measure_units(s, 1, true);
    measure_units(s, THREADS_MAX, true);
    measure_bulk(s);
    store_close(s);
    if (argc < 2) nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
