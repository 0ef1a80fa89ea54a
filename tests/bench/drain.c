/* drain - how many calls a second move from the journal into the usage database.
 *
 *     bench/drain [DIR] [CALLS] [NODES]
 *
 * DIR is where the data folder goes (default: a new folder under TMPDIR or /tmp); CATALYST_BENCH_POSTGRES names a database postgresql://… in its place. The
 * mark is 100,000 a second on SQLite: records of a usual size from twenty keys, ten projects and four models, in order of time. The CPU time of the process is
 * shown too, for machines that have other work. Several nodes are processes that drain journals of so many calls each at the same time, of the same keys and projects,
 * into one PostgreSQL.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gateway/ledger/drain.h"

#define CALLS 500000u
#define KEYS 20u

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what, const err *e)
{
    fprintf(stderr, "%s: %s\n", what, e->msg);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static struct usage_record sample(unsigned i, usec start)
{
    static const str models[] = {STR_LIT("claude-sonnet-4-5-20250929"), STR_LIT("gpt-4o-mini"), STR_LIT("gpt-5"), STR_LIT("claude-haiku-4-5-20251001")};
    static char sessions[64][40];
    char *session = sessions[i % 64];
    snprintf(session, sizeof sessions[0], "7d3cbe6e-0c56-4b9e-a0d1-%012u", i / 40);
    usec at = start + (int64_t)i * 20;
    struct usage_record r = {
        .request_id = uuid7_make(at), .started_us = at, .dialect = DIALECT_MESSAGES, .is_streamed = true, .status = 200, .sent_us = 130, .head_us = 350000,
        .first_us = 350200, .total_us = 4200000, .bytes_in = 80000 + i % 1000, .bytes_out = 20000,
        .tokens = {.input = 1200, .cache_read = 80000, .cache_write_1h = 400, .output = 512},
        .cost_nanousd = 38329050, .charged_nanousd = 38329050, .workspace_id = {{1}}, .project_id = {{2, (uint8_t)(i % 10)}}, .user_id = {{3, (uint8_t)(i % 7)}},
        .key = S("alice"), .project = S("demo"), .session = str_c(session), .provider = S("anthropic"), .model = models[i % 4], .model_asked = models[i % 4],
        .trace_id = S("4bf92f3577b34da6a3ce929d0e0e4736"),
    };
    r.key_id[0] = 4;
    r.key_id[1] = (uint8_t)(i % KEYS);
    return r;
}

/* All nodes begin to drain when the last has written its journal. */
static int prepared[2], go[2];

static void wait_for_all(bool is_first, unsigned nodes)
{
    char byte = 0;
    if (write(prepared[1], &byte, 1) != 1)
        exit(1);
    for (unsigned i = 0; is_first && i < nodes; i++)
        if (read(prepared[0], &byte, 1) != 1)
            exit(1);
    close(go[1]);
    if (!is_first && read(go[0], &byte, 1) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    char dir[300];
    const char *base = getenv("TMPDIR"), *url = getenv("CATALYST_BENCH_POSTGRES");
    unsigned calls = argc > 2 ? (unsigned)atoi(argv[2]) : CALLS, nodes = argc > 3 && url ? (unsigned)atoi(argv[3]) : 1;
    bool is_first = true;
    err e = {0};
    struct store *store;
    struct journal *j;
    struct journal_recovery found;
    struct drain *d;
    if (pipe(prepared) || pipe(go))
        die("making a pipe", &(err){.msg = "it failed"});
    for (unsigned i = 1; i < nodes && is_first; i++)
        is_first = fork() != 0;
    snprintf(dir, sizeof dir, "%s/drain_bench.XXXXXX", argc > 1 ? argv[1] : base ? base : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    struct store_source source = {.data_dir = dir, .url = str_c(url ? url : ""), .migrates = true, .skips_backup = true};
    if (store_open(&store, &source, &e) || journal_open(&j, dir, &(struct journal_options){.n_writers = 1}, &found, &e))
        die("opening", &e);
    struct journal_writer *w = journal_writer(j, 0);
    usec start = clock_now_us();
    for (unsigned i = 0; i < calls;) {
        uint64_t ticket;
        if (!journal_has_room(w, 64)) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            continue;
        }
        for (unsigned k = 0; k < 64 && i < calls; k++, i++) {
            struct usage_record r = sample(i, start);
            journal_append(w, &r);
        }
        if (journal_flush(w, &ticket, &e))
            die("writing the journal", &e);
    }
    wait_for_all(is_first, nodes);
    int64_t t0 = now_ns();
    double cpu = cpu_seconds();
    if (drain_open(&d, &(struct drain_setup){.store = store, .data_dir = dir, .journal = j, .interval_ms = 250}, &e))
        die("draining", &e);
    double seconds = (double)(now_ns() - t0) / 1e9;
    cpu = cpu_seconds() - cpu;
    printf("%s: %u calls in %.2f s: %.0f calls/s; %.2f us of CPU a call\n", url ? "PostgreSQL" : "SQLite", calls, seconds, calls / seconds, cpu * 1e6 / calls);
    drain_free(d);
    journal_close(j);
    store_close(store);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    while (is_first && wait(NULL) > 0)
        ;
    return 0;
}
