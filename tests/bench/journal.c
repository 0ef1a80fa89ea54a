/* journal - what a usage record costs a loop: encoding it, and its share of the turn's one pwrite.
 *
 *     bench/journal [DIR]
 *
 * DIR is where the journal goes (default: a new folder under TMPDIR or /tmp); the file system matters. The mark is
 * 0.14 us a record for the write in batches of 16. Also shown: reading all of it back, and loading the price list.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "gateway/journal/journal.h"
#include "gateway/prices.h"

#define RECORDS 400000u
#define ROUNDS 5

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

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

static struct usage_record sample(void)
{
    return (struct usage_record){
        .started_us = clock_now_us(),
        .dialect = DIALECT_MESSAGES,
        .is_streamed = true,
        .status = 200,
        .sent_us = 130,
        .head_us = 350000,
        .first_us = 350200,
        .total_us = 4200000,
        .bytes_in = 80000,
        .bytes_out = 20000,
        .tokens = {.input = 1200, .cache_read = 80000, .cache_write_1h = 400, .output = 512},
        .cost_nanousd = 38329050,
        .key = S("alice"),
        .project = S("demo"),
        .session = S("7d3cbe6e-0c56-4b9e-a0d1-6a4a1d1a1c55"),
        .provider = S("anthropic"),
        .model = S("claude-sonnet-4-5-20250929"),
        .model_asked = S("claude-sonnet-4-5-20250929"),
        .trace_id = S("4bf92f3577b34da6a3ce929d0e0e4736"),
    };
}

/* Nanoseconds a record of appending and of flushing, the best of the rounds. */
static void measure(struct journal_writer *w, unsigned batch, double *append, double *flush)
{
    *append = *flush = 1e9;
    struct usage_record r = sample();
    for (unsigned round = 0; round < ROUNDS; round++) {
        int64_t append_ns = 0, flush_ns = 0;
        unsigned n = 0;
        while (n < RECORDS / ROUNDS) {
            if (!journal_has_room(w, batch)) {
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
                continue;
            }
            int64_t t0 = now_ns();
            for (unsigned i = 0; i < batch; i++) journal_append(w, &r);
            int64_t t1 = now_ns();
            uint64_t ticket;
            err e = {0};
            if (journal_flush(w, &ticket, &e)) die(&e);
            flush_ns += now_ns() - t1;
            append_ns += t1 - t0;
            n += batch;
        }
        double a = (double)append_ns / n, f = (double)flush_ns / n;
        if (a < *append) *append = a;
        if (f < *flush) *flush = f;
    }
}

static bool count(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    (void)node, (void)r;
    ++*(uint64_t *)ctx;
    return true;
}

int main(int argc, char **argv)
{
    char dir[300];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/journal_bench.XXXXXX", argc > 1 ? argv[1] : base ? base : "/tmp");
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    err e = {0};
    struct journal *j;
    struct journal_recovery found;
    if (journal_open(&j, dir, &(struct journal_options){.n_writers = 1}, &found, &e)) die(&e);
    struct buf one;
    buf_init(&one, JOURNAL_RECORD_MAX);
    struct usage_record r = sample();
    usage_record_encode(&r, &one);
    printf("record of %zu bytes\n", one.len);
    buf_fini(&one);
    static const unsigned batches[] = {1, 4, 16, 64};
    for (unsigned i = 0; i < LENGTH_OF(batches); i++) {
        double append, flush;
        measure(journal_writer(j, 0), batches[i], &append, &flush);
        printf("batch of %2u: append %6.1f ns a record, write %6.1f ns a record\n", batches[i], append, flush);
    }
    journal_close(j);

    int64_t t = now_ns();
    struct journal_reader *rd;
    uint64_t n = 0;
    if (journal_reader_open(&rd, dir, &e) || journal_read(rd, count, &n, NULL, &e)) die(&e);
    journal_reader_free(rd);
    printf("read back: %.1f ns a record (%llu records)\n", (double)(now_ns() - t) / (double)n,
           (unsigned long long)n);
    t = now_ns();
    if (journal_open(&j, dir, &(struct journal_options){.n_writers = 2}, &found, &e)) die(&e);
    printf("open a journal of %llu segments: %.2f ms\n", (unsigned long long)found.segments,
           (double)(now_ns() - t) / 1e6);
    journal_close(j);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

    struct arena a;
    arena_init(&a, 8u << 20, 1u << 16);
    struct price_book *b;
    t = now_ns();
    if (price_book_load(&a, NULL, &b, &e)) die(&e);
    printf("load the price list: %.2f ms\n", (double)(now_ns() - t) / 1e6);
    arena_fini(&a);
    return 0;
}
