/* seal - how fast PostgreSQL's log is numbered.
 *
 *     bench/seal URL [CHANGES_A_SECOND [SECONDS]]
 *
 * URL is an empty database of a PostgreSQL on this machine (tests/lib/postgres.sh starts one). First two processes, as two
 * nodes, make so many changes a second together, each a unit with a row and an event, while both number: the mark is
 * that 2,000 a second are kept up with. Shown are changes a second, the oldest event that had no number at any look
 * (twenty a second), and CPU time an event, of the nodes and of PostgreSQL. Then one process numbers a backlog.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stats.h"
#include "core/events.h"

#define THREADS 12u
#define BACKLOG 50000

SQL(bench_change, DB_MAIN, SQL_INSTANCE, "it",
    "INSERT INTO event_cursors (name, number, moved_us) VALUES ($2, $1, 0) ON CONFLICT (name) DO UPDATE SET number = $1");

static const uint8_t master[32] = {1};

static void die(const char *text)
{
    fprintf(stderr, "%s\n", text);
    exit(1);
}

static void pause_us(usec us)
{
    if (us > 0) nanosleep(&(struct timespec){.tv_sec = us / USEC_PER_S, .tv_nsec = us % USEC_PER_S * 1000}, NULL);
}

/* --- a node --- */

struct worker {
    struct store *store;
    uuid id;
    usec every_us, until_us;
    unsigned n;
};

static enum errc change_unit(struct tx *tx, void *ctx, err *e)
{
    struct worker *w = ctx;
    char name[40];
    snprintf(name, sizeof name, "bench %d %u", w->id.b[0], w->id.b[1]);
    struct event ev = {.id = event_id_of(&w->id, w->n),
                       .at_us = clock_now_us(),
                       .type = S("bench.changed"),
                       .workspace_id = {{0x77, w->id.b[1]}},
                       .resource_type = S("bench"),
                       .metadata = S("{\"why\":\"so that the bytes are about as many as those of a real change\"}")};
    enum errc rc = tx_exec(tx, &bench_change, PARAMS(v_int(w->n), v_text(str_c(name))), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    usec next = clock_mono_us();
    while (next < w->until_us) {
        err e = {0};
        w->n++;
        if (db_write(store_db(w->store, DB_MAIN), change_unit, w, &e) != ERR_NONE) die(e.msg);
        next += w->every_us;
        pause_us(next - clock_mono_us());
    }
    return NULL;
}

static void open_log(const char *url, struct store **store, struct events **log)
{
    struct store_source source = {.data_dir = "/nonexistent", .url = str_c(url), .migrates = true};
    err e = {0};
    if (store_open(store, &source, &e) != ERR_NONE || events_new(log, *store, master, &e) != ERR_NONE) die(e.msg);
}

static int node_main(const char *url, unsigned name, unsigned per_second, unsigned seconds)
{
    struct store *store;
    struct events *log;
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    open_log(url, &store, &log);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.store = store,
                                     .id = {{(uint8_t)name, (uint8_t)i, 1}},
                                     .every_us = USEC_PER_S * THREADS / per_second,
                                     .until_us = clock_mono_us() + (usec)seconds * USEC_PER_S};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    events_free(log);
    store_close(store);
    return 0;
}

/* --- looking --- */

static int64_t ask(PGconn *pg, const char *statement)
{
    PGresult *r = PQexec(pg, statement);
    if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK) die(PQerrorMessage(pg));
    int64_t n = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return n;
}

/* CPU time of PostgreSQL's processes that are there now, but the one that asks. */
static usec cpu_of_server(PGconn *pg)
{
    PGresult *r = PQexec(pg, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
    unsigned long long user, sys, sum = 0;
    for (int i = 0; i < PQntuples(r); i++) {
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%s/stat", PQgetvalue(r, i, 0));
        FILE *f = fopen(path, "r");
        const char *at = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &sys) == 2) sum += user + sys;
        if (f) fclose(f);
    }
    PQclear(r);
    return (usec)sum * USEC_PER_S / sysconf(_SC_CLK_TCK);
}

static usec cpu_of(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_S + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static void check_numbers(PGconn *pg)
{
    while (ask(pg, "SELECT count(*) FROM main.events WHERE number IS NULL"))
        pause_us(2000);
    if (ask(pg, "SELECT count(*) - max(number) + count(*) - count(DISTINCT number) FROM main.events")) die("the numbers are not dense");
}

/* --- measuring --- */

static void measure_two(PGconn *pg, const char *url, unsigned per_second, unsigned seconds)
{
    pid_t pids[2];
    extern char **environ;
    char rate[16], duration[16];
    usec server_us = 0, oldest_us = 0, start_us = clock_mono_us();
    snprintf(rate, sizeof rate, "%u", per_second / 2);
    snprintf(duration, sizeof duration, "%u", seconds);
    for (unsigned i = 0; i < LENGTH_OF(pids); i++) {
        char name[4];
        snprintf(name, sizeof name, "%u", i + 1);
        char *argv[] = {(char[]){"seal"}, (char *)(uintptr_t)url, rate, duration, name, NULL};
        if (posix_spawn(&pids[i], "/proc/self/exe", NULL, NULL, argv, environ) != 0) die("a node cannot be started");
    }
    for (usec until = start_us + (usec)seconds * USEC_PER_S; clock_mono_us() < until; pause_us(50000)) {
        int64_t at = ask(pg, "SELECT COALESCE(min(at_us), 0) FROM main.events WHERE number IS NULL");
        if (at && clock_now_us() - at > oldest_us) oldest_us = clock_now_us() - at;
        server_us = cpu_of_server(pg); /* its connections end with the nodes */
    }
    for (unsigned i = 0; i < LENGTH_OF(pids); i++)
        waitpid(pids[i], NULL, 0);
    double n = (double)ask(pg, "SELECT count(*) FROM main.events");
    usec took_us = clock_mono_us() - start_us;
    check_numbers(pg);
    printf("two nodes:   %8.0f changes/s, the oldest without a number %lld ms, CPU a change: nodes %.0f us, PostgreSQL %.0f us\n",
           n * USEC_PER_S / (double)took_us, (long long)oldest_us / 1000, (double)cpu_of(RUSAGE_CHILDREN) / n, (double)server_us / n);
}

static void measure_backlog(PGconn *pg, const char *url)
{
    struct store *store;
    struct events *log;
    char text[512];
    snprintf(text, sizeof text,
             "INSERT INTO main.events (id, workspace_id, at_us, type, resource_type, bytes, leaf) SELECT md5(i::text)::uuid, "
             "md5((i %% 20)::text)::uuid, i, 'bench.changed', 'bench', decode(repeat('ab', 600), 'hex'), decode(repeat('00', 32), "
             "'hex') FROM generate_series(1, %d) AS i",
             BACKLOG);
    ask(pg, text);
    usec start_us = clock_mono_us(), own_us = cpu_of(RUSAGE_SELF), server_us = cpu_of_server(pg);
    open_log(url, &store, &log);
    while (ask(pg, "SELECT count(*) FROM (SELECT 1 FROM main.events WHERE number IS NULL LIMIT 1) AS x"))
        pause_us(10000);
    usec took_us = clock_mono_us() - start_us;
    server_us = cpu_of_server(pg) - server_us;
    own_us = cpu_of(RUSAGE_SELF) - own_us;
    check_numbers(pg);
    printf("a backlog:   %8.0f events/s, CPU an event: the node %.1f us, PostgreSQL %.1f us\n",
           (double)BACKLOG * USEC_PER_S / (double)took_us, (double)own_us / BACKLOG, (double)server_us / BACKLOG);
    events_free(log);
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc < 2) die("bench/seal URL [CHANGES_A_SECOND [SECONDS]]");
    unsigned per_second = argc > 2 ? (unsigned)atoi(argv[2]) : 2000, seconds = argc > 3 ? (unsigned)atoi(argv[3]) : 10;
    struct store *store;
    struct events *log;
    log_set_level(LOG_ERROR);
    if (stats_init(1) != ERR_NONE) return 1;
    if (argc > 4) return node_main(argv[1], (unsigned)atoi(argv[4]), per_second, seconds);
    open_log(argv[1], &store, &log);
    events_free(log);
    store_close(store);
    PGconn *pg = PQconnectdb(argv[1]);
    if (PQstatus(pg) != CONNECTION_OK) die(PQerrorMessage(pg));
    measure_two(pg, argv[1], per_second, seconds);
    measure_backlog(pg, argv[1]);
    PQfinish(pg);
    return 0;
}
