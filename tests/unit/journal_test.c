/* The journal on a real file system: what was flushed is there exactly once, whatever happens to the
 * process, to the tail of a file or to the space on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/journal/journal.h"
#include "gateway/journal/journal_segment.h"

#define SMALL (64u << 10) /* the smallest segment: batches cross often */
#define DEADLINE_MS 20000
#define MAX_N 60000

static char data_dir[256];

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(data_dir, sizeof data_dir, "%s/journal_test.XXXXXX", base ? base : "/tmp");
    return mkdtemp(data_dir) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(data_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_a_little(void) { nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL); }

#define WAIT_FOR(condition)                                                                                  \
    for (int64_t wait_until = now_ms() + DEADLINE_MS; !(condition); pause_a_little())                        \
    assert_true(now_ms() < wait_until)

static struct journal *open_journal(struct journal_options o, struct journal_recovery *found)
{
    struct journal_recovery ignored;
    struct journal *j;
    err e = {0};
    enum errc rc = journal_open(&j, data_dir, &o, found ? found : &ignored, &e);
    if (rc) fail_msg("%s", e.msg);
    return j;
}

static struct usage_record record(uint64_t i)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    return (struct usage_record){
        .started_us = (usec)i,
        .dialect = DIALECT_CHAT,
        .status = 200,
        .tokens = {.input = (int64_t)i, .output = 5},
        .cost_nanousd = (int64_t)i * 3,
        .key = S("key"),
        .model = {letters, i % (sizeof letters - 1)}, /* frames of many lengths */
    };
}

/* Appends n records and flushes them in one batch. */
static enum errc write_batch(struct journal_writer *w, unsigned n, uint64_t *next, uint64_t *ticket)
{
    for (unsigned i = 0; i < n; i++) {
        struct usage_record r = record(++*next);
        journal_append(w, &r);
        assert_int_equal(r.n & (((uint64_t)1 << 48) - 1), *next);
    }
    assert_true(n == 0 || journal_is_dirty(w));
    err e = {0};
    enum errc rc = journal_flush(w, ticket, &e);
    assert_false(journal_is_dirty(w));
    assert_int_equal(rc, e.code);
    return rc;
}

/* What a reader has seen: how often each number of each boot and loop. */
struct seen {
    uint64_t n_records;
    uint64_t boot; /* only this one is counted in `times`; 0 = any */
    uint8_t times[4][MAX_N + 1];
    uint64_t last[4];
    uint64_t stop_after; /* 0 = never */
    bool is_out_of_order, is_wrong;
};

static bool see(void *ctx, const uint8_t node[16], const struct usage_record *r)
{
    (void)node;
    struct seen *s = ctx;
    uint64_t loop = r->n >> 48, n = r->n & (((uint64_t)1 << 48) - 1);
    s->n_records++;
    if (s->boot && r->boot != s->boot) return true;
    struct usage_record want = record(n);
    if (loop >= 4 || n > MAX_N || r->tokens.input != (int64_t)n || r->cost_nanousd != want.cost_nanousd ||
        !str_eq(r->model, want.model)) {
        s->is_wrong = true;
        return false;
    }
    s->times[loop][n]++;
    s->is_out_of_order |= s->last[loop] >= n;
    s->last[loop] = n;
    return s->n_records != s->stop_after;
}

static struct journal_reader *open_reader(void)
{
    struct journal_reader *rd;
    err e = {0};
    if (journal_reader_open(&rd, data_dir, &e)) fail_msg("%s", e.msg);
    return rd;
}

static uint64_t read_more(struct journal_reader *rd, struct seen *s)
{
    uint64_t damaged;
    err e = {0};
    if (journal_read(rd, see, s, &damaged, &e)) fail_msg("%s", e.msg);
    assert_false(s->is_wrong);
    return damaged;
}

/* All records of the folder; the caller frees. */
static struct seen *read_all(uint64_t *damaged)
{
    struct seen *s = calloc(1, sizeof *s);
    struct journal_reader *rd = open_reader();
    uint64_t d = read_more(rd, s);
    if (damaged)
        *damaged = d;
    else
        assert_int_equal(d, 0);
    journal_reader_free(rd);
    return s;
}

static unsigned count_files(const char *suffix, char *last, size_t cap)
{
    char path[300];
    snprintf(path, sizeof path, "%s/journal", data_dir);
    DIR *list = opendir(path);
    assert_non_null(list);
    unsigned n = 0;
    for (const struct dirent *d; (d = readdir(list)) != NULL;) {
        if (str_ends(str_c(d->d_name), str_c(suffix))) {
            n++;
            if (last) snprintf(last, cap, "%s/%s", path, d->d_name);
        }
    }
    closedir(list);
    return n;
}

static char *load(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *len = (size_t)st.st_size;
    return p;
}

static void store(const char *path, const char *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, len), (ssize_t)len);
    close(fd);
}

/* --- */

static void what_was_flushed_is_read_again_in_order(void **state)
{
    (void)state;
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 2}, NULL);
    uint64_t next[2] = {0, 0}, ticket, before = 0;
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned loop = 0; loop < 2; loop++) {
            struct journal_writer *w = journal_writer(j, loop);
            WAIT_FOR(journal_has_room(w, 17));
            assert_int_equal(write_batch(w, i % 17, &next[loop], &ticket), ERR_NONE);
            assert_true(journal_is_synced(w, ticket));
            assert_false(journal_is_lost(w, ticket));
        }
        assert_true(ticket >= before);
        before = ticket;
    }
    assert_null(journal_writer(j, 2));
    journal_close(j);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, next[0] + next[1]);
    assert_false(s->is_out_of_order);
    free(s);

    struct journal_recovery found;
    j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, &found);
    assert_int_equal(found.records, next[0] + next[1]);
    assert_int_equal(found.segments, 2);
    assert_int_equal(found.torn_segments, 0);
    assert_int_equal(found.torn_bytes, 0);
    journal_close(j);
}

static void a_batch_that_is_larger_than_a_segment_crosses_into_the_next_ones(void **state)
{
    (void)state;
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, NULL);
    struct journal_writer *w = journal_writer(j, 0);
    uint64_t next = 0, ticket;
    WAIT_FOR(journal_has_room(w, 60)); /* sixty records of the greatest size need several spares */
    for (unsigned i = 0; i < 20; i++) {
        WAIT_FOR(journal_has_room(w, 60));
        assert_int_equal(write_batch(w, 60, &next, &ticket), ERR_NONE);
    }
    /* far more than one segment holds, if small records fit */
    WAIT_FOR(journal_has_room(w, 300));
    assert_int_equal(write_batch(w, 1500, &next, &ticket), ERR_NONE);
    journal_close(j);
    assert_true(count_files(".seg", NULL, 0) >= 3);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, next);
    assert_false(s->is_out_of_order);
    free(s);
    struct journal_recovery found;
    journal_close(open_journal((struct journal_options){.n_writers = 1}, &found));
    assert_int_equal(found.records, next);
}

static void a_batch_without_room_fails_as_a_whole_and_the_next_one_works(void **state)
{
    (void)state;
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, NULL);
    struct journal_writer *w = journal_writer(j, 0);
    uint64_t next = 0, ticket, after;
    assert_int_equal(write_batch(w, 3, &next, &ticket), ERR_NONE);
    /* 32 segments of 64 KiB at most are prepared: 60,000 records never fit */
    assert_int_equal(write_batch(w, MAX_N - 100, &next, &after), ERR_DISK_FULL);
    assert_true(after == ticket);
    uint64_t first_good = next + 1;
    assert_int_equal(write_batch(w, 2, &next, &after), ERR_NONE);
    assert_true(after > ticket);
    journal_close(j);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, 5);
    assert_int_equal(s->times[0][3], 1);
    assert_int_equal(s->times[0][4], 0);
    assert_int_equal(s->times[0][first_good], 1);
    free(s);
}

static void room_grows_with_the_calls_under_way(void **state)
{
    (void)state;
    struct journal *j =
        open_journal((struct journal_options){.segment_bytes = 1u << 20, .n_writers = 1}, NULL);
    struct journal_writer *w = journal_writer(j, 0);
    WAIT_FOR(journal_has_room(w, 4000)); /* each megabyte holds 255 of the greatest size */
    assert_false(journal_has_room(w, 100000));
    journal_close(j);
    assert_int_equal(count_files(".seg", NULL, 0), 0); /* nothing was written: nothing stays */
}

static void a_clean_close_trims_the_file_and_seals_it(void **state)
{
    (void)state;
    struct journal *j = open_journal((struct journal_options){.n_writers = 1}, NULL);
    uint64_t next = 0, ticket;
    assert_int_equal(write_batch(journal_writer(j, 0), 2, &next, &ticket), ERR_NONE);
    char path[600];
    struct stat st;
    journal_close(j);
    assert_int_equal(count_files(".seg", path, sizeof path), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 1000);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_node_id_stays_and_boots_count_up(void **state)
{
    (void)state;
    char node_path[300], boot_path[300];
    snprintf(node_path, sizeof node_path, "%s/journal/node", data_dir);
    snprintf(boot_path, sizeof boot_path, "%s/journal/boot", data_dir);
    uint64_t boots[4];
    char *node = NULL;
    for (unsigned i = 0; i < 4; i++) {
        struct journal *j = open_journal((struct journal_options){.n_writers = 1}, NULL);
        struct usage_record r = record(1);
        journal_append(journal_writer(j, 0), &r);
        boots[i] = r.boot;
        uint64_t ticket;
        assert_int_equal(journal_flush(journal_writer(j, 0), &ticket, NULL), ERR_NONE);
        journal_close(j);
        size_t len;
        char *now = load(node_path, &len);
        assert_int_equal(len, 33);
        if (node) assert_memory_equal(now, node, len);
        free(node);
        node = now;
        if (i == 1)
            assert_int_equal(unlink(boot_path), 0); /* even a lost file does not give a number twice */
    }
    free(node);
    for (unsigned i = 1; i < 4; i++)
        assert_true(boots[i] > boots[i - 1]);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, 4);
    free(s);

    store(node_path, "not hex\n", 8);
    struct journal *j;
    struct journal_recovery found;
    err e = {0};
    assert_int_equal(journal_open(&j, data_dir, &(struct journal_options){.n_writers = 1}, &found, &e),
                     ERR_CORRUPT);
    assert_null(j);
}

static void bad_options_and_folders_are_refused(void **state)
{
    (void)state;
    struct journal *j;
    struct journal_recovery found;
    err e = {0};
    assert_int_equal(journal_open(&j, data_dir,
                                  &(struct journal_options){.n_writers = 1, .segment_bytes = 4096}, &found,
                                  &e),
                     ERR_CONFIG);
    assert_int_equal(journal_open(&j, data_dir, &(struct journal_options){.n_writers = 0}, &found, &e),
                     ERR_CONFIG);
    assert_int_equal(
        journal_open(&j, "/nonexistent/x", &(struct journal_options){.n_writers = 1}, &found, &e), ERR_IO);
    struct journal_reader *rd;
    assert_int_equal(journal_reader_open(&rd, data_dir, &e), ERR_NOT_FOUND);
    assert_int_equal(journal_reader_open(&rd, "/nonexistent/x", &e), ERR_NOT_FOUND);
}

/* Leaves one segment as a killed process does: preallocated and not sealed. Gives its path, content, and
 * where the last frame begins. */
static char *make_unsealed(char *path, size_t cap, size_t *len, size_t *last_frame, size_t *end)
{
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, NULL);
    uint64_t next = 0, ticket;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(write_batch(journal_writer(j, 0), 1, &next, &ticket), ERR_NONE);
    journal_close(j);
    assert_int_equal(count_files(".seg", path, cap), 1);
    size_t sealed_len;
    char *bytes = load(path, &sealed_len);
    *end = sealed_len - SEAL_LEN;
    bytes = realloc(bytes, SMALL);
    memset(bytes + *end, 0, SMALL - *end);
    *len = SMALL;
    size_t at = SEGMENT_HEADER_LEN;
    for (struct frame f; at < *end; at += f.len) {
        assert_int_equal(frame_parse((str){bytes + at, *end - at}, &f), FRAME_WHOLE);
        *last_frame = at;
    }
    return bytes;
}

static void recover_and_expect(const char *path, const char *bytes, size_t len, uint64_t records,
                               uint64_t torn_bytes)
{
    store(path, bytes, len);
    /* a reader that comes first sees the sound records and changes nothing */
    uint64_t damaged;
    struct seen *s = read_all(&damaged);
    assert_int_equal(s->n_records, records);
    free(s);

    struct journal_recovery found;
    journal_close(open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, &found));
    assert_int_equal(found.records, records);
    assert_int_equal(found.torn_segments, torn_bytes > 0);
    assert_int_equal(found.torn_bytes, torn_bytes);
    s = read_all(NULL);
    assert_int_equal(s->n_records, records);
    assert_false(s->is_out_of_order);
    free(s);
    /* once repaired, it is whole */
    journal_close(open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, &found));
    assert_int_equal(found.records, records);
    assert_int_equal(found.torn_segments, 0);
}

static void a_tail_torn_at_every_byte_of_the_last_frame_is_cut(void **state)
{
    (void)state;
    log_set_fd(-1);
    char path[600];
    size_t len, last, end;
    char *bytes = make_unsealed(path, sizeof path, &len, &last, &end);
    char *torn = malloc(len);
    assert_true(bytes[last] != 0);
    recover_and_expect(path, bytes, len, 4, 0); /* unused space is not torn */
    for (size_t cut = last; cut < end; cut++) {
        /* the file ends there */
        uint64_t used = cut - last;
        while (used > 0 && bytes[last + used - 1] == 0)
            used--;
        recover_and_expect(path, bytes, cut, 3, used);
        /* the file goes on with unused space */
        memcpy(torn, bytes, len);
        memset(torn + cut, 0, len - cut);
        bool is_whole =
            memcmp(torn, bytes, end) == 0; /* the last bytes of the frame may be zeros themselves */
        recover_and_expect(path, torn, len, is_whole ? 4 : 3, is_whole ? 0 : used);
    }
    free(torn);
    free(bytes);
}

static void a_flipped_bit_anywhere_in_the_last_frame_ends_the_segment_there(void **state)
{
    (void)state;
    log_set_fd(-1);
    char path[600];
    size_t len, last, end;
    char *bytes = make_unsealed(path, sizeof path, &len, &last, &end);
    for (size_t at = last; at < end; at++) {
        bytes[at] = (char)(bytes[at] ^ 0x10);
        store(path, bytes, len);
        struct journal_recovery found;
        journal_close(open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, &found));
        assert_int_equal(found.records, 3);
        assert_int_equal(found.torn_segments, 1);
        bytes[at] = (char)(bytes[at] ^ 0x10);
    }
    free(bytes);
}

static void a_reader_counts_damage_and_goes_on_when_it_is_repaired(void **state)
{
    (void)state;
    char path[600];
    size_t len, last, end;
    char *bytes = make_unsealed(path, sizeof path, &len, &last, &end);
    bytes[last + 12] = (char)(bytes[last + 12] ^ 1);
    store(path, bytes, len);
    struct journal_reader *rd = open_reader();
    struct seen *s = calloc(1, sizeof *s);
    assert_int_equal(read_more(rd, s), 1);
    assert_int_equal(read_more(rd, s), 1);
    assert_int_equal(s->n_records, 3);
    bytes[last + 12] = (char)(bytes[last + 12] ^ 1);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
    close(fd);
    assert_int_equal(read_more(rd, s), 0);
    assert_int_equal(s->n_records, 4);
    journal_reader_free(rd);
    free(s);
    free(bytes);
}

static void frames_of_unknown_types_are_skipped(void **state)
{
    (void)state;
    char path[600];
    size_t len, last, end;
    char *bytes = make_unsealed(path, sizeof path, &len, &last, &end);
    /* an unknown frame goes between the third record and the fourth */
    uint8_t frame[50] = {[8] = 77};
    frame_finish(frame, sizeof frame);
    memmove(bytes + last + sizeof frame, bytes + last, end - last);
    memcpy(bytes + last, frame, sizeof frame);
    recover_and_expect(path, bytes, len, 4, 0);
    free(bytes);
}

static void half_made_segments_are_removed_and_foreign_ones_stop_the_start(void **state)
{
    (void)state;
    log_set_fd(-1);
    char path[600], other[700];
    size_t len, last, end;
    char *bytes = make_unsealed(path, sizeof path, &len, &last, &end);
    snprintf(other, sizeof other, "%s.new", path);
    store(other, bytes, 1000);
    char *zeros = calloc(1, SMALL);
    snprintf(other, sizeof other, "%s/journal/0000000000000001-00000077-0000.seg", data_dir);
    store(other, zeros, SMALL);
    free(zeros);
    struct journal_recovery found;
    journal_close(open_journal((struct journal_options){.n_writers = 1}, &found));
    assert_int_equal(found.torn_segments, 0);
    assert_int_equal(count_files(".new", NULL, 0), 0);
    assert_int_equal(count_files(".seg", NULL, 0), 1);

    struct journal *j;
    err e = {0};
    bytes[8] = 2; /* a newer version */
    store(other, bytes, len);
    assert_int_equal(journal_open(&j, data_dir, &(struct journal_options){.n_writers = 1}, &found, &e),
                     ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "format 2"));
    bytes[8] = 1;
    bytes[20] = (char)(bytes[20] ^ 1);
    store(other, bytes, len);
    assert_int_equal(journal_open(&j, data_dir, &(struct journal_options){.n_writers = 1}, &found, &e),
                     ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "00000077"));
    uint64_t damaged;
    free(read_all(&damaged));
    assert_int_equal(damaged, 1);
    free(bytes);
}

static void a_callback_can_stop_and_the_reader_resumes_behind_that_record(void **state)
{
    (void)state;
    struct journal *j = open_journal((struct journal_options){.n_writers = 1}, NULL);
    uint64_t next = 0, ticket;
    assert_int_equal(write_batch(journal_writer(j, 0), 5, &next, &ticket), ERR_NONE);
    struct journal_reader *rd = open_reader();
    struct seen *s = calloc(1, sizeof *s);
    s->stop_after = 2;
    read_more(rd, s);
    assert_int_equal(s->n_records, 2);
    read_more(rd, s);
    assert_int_equal(s->n_records, 5);
    assert_int_equal(write_batch(journal_writer(j, 0), 1, &next, &ticket), ERR_NONE);
    read_more(rd, s);
    journal_close(j);
    read_more(rd, s);
    assert_int_equal(s->n_records, 6);
    assert_false(s->is_out_of_order);
    journal_reader_free(rd);
    free(s);
}

/* --- threads --- */

struct writing {
    struct journal_writer *w;
    uint64_t total;
    _Atomic uint64_t flushed;
    atomic_bool has_failed;
};

static void *write_many(void *arg)
{
    struct writing *x = arg;
    uint64_t n = 0;
    unsigned random = 12345;
    while (n < x->total && !atomic_load(&x->has_failed)) {
        random = random * 1103515245 + 12345;
        unsigned batch = 1 + random / 65536 % 16;
        if (!journal_has_room(x->w, batch)) {
            pause_a_little();
            continue;
        }
        for (unsigned i = 0; i < batch; i++) {
            struct usage_record r = record(++n);
            journal_append(x->w, &r);
        }
        uint64_t ticket;
        if (journal_flush(x->w, &ticket, NULL)) atomic_store(&x->has_failed, true);
        atomic_store(&x->flushed, n);
    }
    return NULL;
}

static void a_reader_beside_two_writers_gets_every_record_once(void **state)
{
    (void)state;
    struct journal *j =
        open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 2, .sync_ms = 5}, NULL);
    struct writing x[2] = {{.total = 8000}, {.total = 8000}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        x[i].w = journal_writer(j, i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &x[i]), 0);
    }
    struct journal_reader *rd = open_reader();
    struct seen *s = calloc(1, sizeof *s);
    int64_t until = now_ms() + 3 * DEADLINE_MS;
    for (bool is_over = false; !is_over; sched_yield()) {
        uint64_t n0 = atomic_load(&x[0].flushed), n1 = atomic_load(&x[1].flushed);
        assert_int_equal(read_more(rd, s), 0);
        is_over = n0 >= x[0].total && n1 >= x[1].total;
        assert_true(s->n_records >= n0 + n1); /* what was flushed before the look was seen by it */
        assert_true(now_ms() < until);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_false(atomic_load(&x[i].has_failed));
        for (uint64_t n = 1; n <= atomic_load(&x[i].flushed); n++)
            assert_int_equal(s->times[i][n], 1);
    }
    journal_close(j);
    read_more(rd, s);
    assert_int_equal(s->n_records, atomic_load(&x[0].flushed) + atomic_load(&x[1].flushed));
    journal_reader_free(rd);
    free(s);
}

static void count_syncs(void *ctx) { atomic_fetch_add((atomic_uint *)ctx, 1); }

static void strict_mode_says_when_a_ticket_is_durable(void **state)
{
    (void)state;
    atomic_uint n_synced = 0;
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL,
                                                              .n_writers = 2,
                                                              .is_strict = true,
                                                              .on_synced = count_syncs,
                                                              .ctx = &n_synced},
                                     NULL);
    uint64_t next[2] = {0, 0}, ticket;
    for (unsigned i = 0; i < 20; i++) {
        struct journal_writer *w = journal_writer(j, i % 2);
        unsigned before = atomic_load(&n_synced);
        WAIT_FOR(journal_has_room(w, 50));
        assert_int_equal(write_batch(w, 50, &next[i % 2], &ticket), ERR_NONE);
        assert_false(journal_is_synced(w, ticket + 1));
        WAIT_FOR(journal_is_synced(w, ticket));
        assert_false(journal_is_lost(w, ticket));
        WAIT_FOR(atomic_load(&n_synced) > before);
    }
    journal_close(j);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, 1000);
    free(s);
}

/* --- kill -9 --- */

/* In memory that the child shares with the test. */
struct child_report {
    _Atomic uint64_t flushed[2];
};

static void run_child(struct child_report *report)
{
    struct journal *j;
    struct journal_recovery found;
    struct journal_options o = {.segment_bytes = SMALL, .n_writers = 2, .sync_ms = 1};
    if (journal_open(&j, data_dir, &o, &found, NULL)) _exit(3);
    uint64_t n[2] = {0, 0};
    for (unsigned random = (unsigned)getpid();;) {
        random = random * 1103515245 + 12345;
        unsigned batch = 1 + random / 65536 % 40, loop = random / 256 % 2;
        struct journal_writer *w = journal_writer(j, loop);
        if (n[loop] + batch > MAX_N) {
            pause();
            continue;
        }
        if (!journal_has_room(w, batch)) continue;
        for (unsigned i = 0; i < batch; i++) {
            struct usage_record r = record(++n[loop]);
            journal_append(w, &r);
        }
        uint64_t ticket;
        if (journal_flush(w, &ticket, NULL)) _exit(4);
        atomic_store(&report->flushed[loop], n[loop]);
    }
}

static void kill_9_at_any_moment_loses_nothing_that_was_flushed(void **state)
{
    (void)state;
    log_set_fd(-1);
    struct child_report *report =
        mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(report != MAP_FAILED);
    uint64_t records_before = 0;
    for (unsigned round = 0; round < 20; round++) {
        atomic_store(&report->flushed[0], 0);
        atomic_store(&report->flushed[1], 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) run_child(report);
        uint64_t aim = round * round * 37 + 1;
        WAIT_FOR(atomic_load(&report->flushed[0]) >= aim);
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        struct journal_recovery found;
        struct journal *j =
            open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, &found);
        struct usage_record r = record(1);
        journal_append(journal_writer(j, 0),
                       &r); /* tells the number of this boot; the child's was one less */
        uint64_t ticket;
        assert_int_equal(journal_flush(journal_writer(j, 0), &ticket, NULL), ERR_NONE);
        journal_close(j);

        struct seen *s = calloc(1, sizeof *s);
        s->boot = r.boot - 1;
        struct journal_reader *rd = open_reader();
        assert_int_equal(read_more(rd, s), 0);
        journal_reader_free(rd);
        assert_int_equal(s->n_records, found.records + 1);
        uint64_t of_child = 0;
        for (unsigned loop = 0; loop < 2; loop++) {
            uint64_t flushed = atomic_load(&report->flushed[loop]);
            for (uint64_t n = 1; n <= MAX_N; n++) {
                if (n <= flushed)
                    assert_int_equal(s->times[loop][n], 1);
                else
                    assert_true(s->times[loop][n] <= 1); /* written, and killed before it could say so */
                of_child += s->times[loop][n];
            }
        }
        assert_false(s->is_out_of_order);
        assert_int_equal(found.records, records_before + of_child); /* and the older rounds lost nothing */
        records_before += of_child + 1;
        free(s);
    }
    munmap(report, sizeof *report);
}

/* --- no space --- */

static unsigned write_while_admitted(struct journal_writer *w, uint64_t *next)
{
    unsigned n = 0;
    uint64_t ticket;
    /* nine calls are under way at any time, and every one of them must fit when its turn comes */
    while (journal_has_room(w, 9) && n < 20000) {
        assert_int_equal(write_batch(w, 1, next, &ticket), ERR_NONE);
        n++;
    }
    assert_int_equal(write_batch(w, 9, next, &ticket), ERR_NONE);
    return n + 9;
}

static void without_space_admission_ends_calls_under_way_fit_and_it_recovers(void **state)
{
    (void)state;
    log_set_fd(-1);
    signal(SIGXFSZ, SIG_IGN);
    struct journal *j = open_journal((struct journal_options){.segment_bytes = SMALL, .n_writers = 1}, NULL);
    struct journal_writer *w = journal_writer(j, 0);
    WAIT_FOR(journal_has_room(w, 60));
    /* no further file of that size can be made; the prepared ones can be filled */
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = SMALL - 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t next = 0;
    for (unsigned k = 0; k < 3 && journal_has_room(w, 9); k++) /* a spare that was begun before may still come */
        write_while_admitted(w, &next);
    assert_false(journal_has_room(w, 9));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    WAIT_FOR(journal_has_room(w, 9));
    uint64_t ticket;
    assert_int_equal(write_batch(w, 9, &next, &ticket), ERR_NONE);
    journal_close(j);
    assert_int_equal(count_files(".new", NULL, 0), 0);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, next);
    free(s);
}

static void a_full_disk_loses_no_admitted_record_and_leaves_no_half_made_file(void **state)
{
    (void)state;
    log_set_fd(-1);
    /* A mount of our own, gone with the process. In a chroot / is no mount (EINVAL): there the test's end takes
     * it down. */
    if (unshare(CLONE_NEWNS) != 0 ||
        (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 && errno != EINVAL) ||
        mount("tmpfs", data_dir, "tmpfs", 0, "size=1m") != 0) {
        print_message("SKIP: mounting a small tmpfs needs root\n");
        skip();
    }
    struct journal_options o = {.segment_bytes = 256u << 10, .n_writers = 1};
    struct journal *j = open_journal(o, NULL);
    struct journal_writer *w = journal_writer(j, 0);
    WAIT_FOR(count_files(".seg", NULL, 0) == 2); /* in use, and one spare */
    char filler[300];
    snprintf(filler, sizeof filler, "%s/filler", data_dir);
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    static const char block[4096] = {1};
    while (write(fd, block, sizeof block) > 0) {}
    close(fd);

    uint64_t next = 0, ticket;
    assert_true(write_while_admitted(w, &next) > 500);
    /* Trimming what was full may give a little space back, but never enough for a segment. */
    WAIT_FOR(count_files(".new", NULL, 0) == 0);
    assert_false(journal_has_room(w, 9));
    struct journal *second;
    struct journal_recovery found;
    err e = {0};

    assert_int_equal(unlink(filler), 0);
    WAIT_FOR(journal_has_room(w, 9));
    assert_int_equal(write_batch(w, 9, &next, &ticket), ERR_NONE);
    journal_close(j);
    struct seen *s = read_all(NULL);
    assert_int_equal(s->n_records, next);
    free(s);

    fd = open(filler, O_WRONLY | O_CREAT, 0600);
    while (write(fd, block, sizeof block) > 0) {}
    close(fd);
    assert_int_equal(journal_open(&second, data_dir, &o, &found, &e), ERR_DISK_FULL);
    assert_null(second);
    assert_int_equal(found.torn_segments, 0);
    assert_int_equal(umount2(data_dir, MNT_DETACH), 0);
}

#define JOURNAL_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOURNAL_TEST(what_was_flushed_is_read_again_in_order),
        JOURNAL_TEST(a_batch_that_is_larger_than_a_segment_crosses_into_the_next_ones),
        JOURNAL_TEST(a_batch_without_room_fails_as_a_whole_and_the_next_one_works),
        JOURNAL_TEST(room_grows_with_the_calls_under_way),
        JOURNAL_TEST(a_clean_close_trims_the_file_and_seals_it),
        JOURNAL_TEST(the_node_id_stays_and_boots_count_up),
        JOURNAL_TEST(bad_options_and_folders_are_refused),
        JOURNAL_TEST(a_tail_torn_at_every_byte_of_the_last_frame_is_cut),
        JOURNAL_TEST(a_flipped_bit_anywhere_in_the_last_frame_ends_the_segment_there),
        JOURNAL_TEST(a_reader_counts_damage_and_goes_on_when_it_is_repaired),
        JOURNAL_TEST(frames_of_unknown_types_are_skipped),
        JOURNAL_TEST(half_made_segments_are_removed_and_foreign_ones_stop_the_start),
        JOURNAL_TEST(a_callback_can_stop_and_the_reader_resumes_behind_that_record),
        JOURNAL_TEST(a_reader_beside_two_writers_gets_every_record_once),
        JOURNAL_TEST(strict_mode_says_when_a_ticket_is_durable),
        JOURNAL_TEST(kill_9_at_any_moment_loses_nothing_that_was_flushed),
        JOURNAL_TEST(without_space_admission_ends_calls_under_way_fit_and_it_recovers),
        JOURNAL_TEST(a_full_disk_loses_no_admitted_record_and_leaves_no_half_made_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
