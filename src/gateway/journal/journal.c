/* The writing side of the journal.
 *
 * Who owns what. A segment is made by the journal's thread (the very first ones by journal_open), which
 * puts it into its writer's ring and publishes it by raising `tail`. From then on the loop alone decides
 * where frames go; it tells the thread how many bytes hold by `written`, and that it will not touch the
 * segment again by `is_retired`. The thread syncs, trims, seals and closes retired segments, oldest first.
 * So no lock is held while a file is touched, and the loop never does more than its one pwrite; the mutex
 * guards nothing but the thread's sleep.
 */
#include "gateway/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/journal/journal_folder.h"
#include "gateway/journal/journal_segment.h"

#define RING 32u /* segments of one writer at a time: in use, spare, and not yet sealed */
#define SEGMENT_BYTES_DEFAULT (16u << 20)
#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENT_BYTES_MAX (1u << 30)
#define SYNC_MS_DEFAULT 100
#define RETRY_MS 250                /* between attempts to make a segment while the disk is full */
#define WANT_MIN 32u                /* records that the spares hold at least */
#define N_OPEN_MAX (1u << 24)       /* calls under way that spares are asked for */
#define BATCH_KEPT_BYTES (1u << 20) /* memory of a larger batch is given back */
#define N_WRITERS_MAX 65535u        /* a loop has 16 bits in the number of a record */

struct segment {
    int fd;
    uint64_t number;
    uint32_t loop;
    size_t size;
    /* the loop's own */
    size_t at;          /* where the next frame of the batch will go */
    uint64_t n_records; /* written */
    /* shared */
    _Atomic size_t written;  /* bytes from the start that hold; the loop stores, the thread loads */
    atomic_bool is_retired;  /* the loop is done with it: written and n_records are final */
    atomic_bool is_unusable; /* syncing failed: the loop moves on to the next one */
    /* the thread's own */
    size_t synced;
};

/* The frames of a batch that go into one segment. */
struct part {
    struct segment *segment;
    size_t start, len; /* in the batch */
    uint64_t n_records;
};

struct journal_writer {
    struct journal *j;
    uint32_t loop;
    /* the loop's own */
    uint64_t sequence;
    struct buf batch;
    struct part parts[RING];
    unsigned n_parts;
    bool is_over;  /* a record of the batch found no room */
    unsigned head; /* running index of the segment in use; the segment is ring[head % RING] */
    unsigned plan; /* the same of the segment that the batch has reached */
    /* shared */
    _Alignas(64) struct segment *ring[RING];
    atomic_uint tail;         /* how many segments were ever published */
    atomic_uint want;         /* how many records the spares should hold */
    _Atomic uint64_t flushed; /* tickets */
    _Atomic uint64_t synced;
    _Atomic uint64_t n_bytes, n_calls; /* written; the loop stores */
    _Atomic uint64_t lost_from, lost_to; /* tickets whose sync failed: (lost_from, lost_to] */
    /* the thread's own */
    unsigned oldest;
    bool is_short; /* the last attempt to make a segment failed */
};

enum wake {
    WAKE_DIRTY = 1, /* something to sync, when its time comes */
    WAKE_NOW = 2,   /* segments to make or to seal */
    WAKE_STOP = 4,
};

struct journal {
    int dir;
    uint8_t node[16];
    uint64_t boot;
    uint64_t next_number; /* of the next segment; journal_open's, then the thread's */
    bool is_strict;
    size_t segment_bytes;
    unsigned sync_ms;
    void (*on_synced)(void *ctx);
    void *ctx;
    unsigned n_writers;
    struct journal_writer *writers;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t sleep; /* guards only the thread's going to sleep */
    pthread_cond_t woken;
    atomic_uint wake; /* bits of enum wake */
};

/* --- making and finishing segments: the thread, and journal_open before it runs --- */

/* Brings the pages of a preallocated segment into the page cache, so that the loop's writes find them
 * there: 0.13 us a record in batches of 16 instead of 0.21 us (ext4, Linux 6.18). Reading costs no disk
 * access, unlike writing zeros, which would be faster still but doubles what goes to the disk. Page by
 * page (RANDOM): read-ahead makes large folios, and a small write into one of those is slower than into a
 * missing page. */
static void segment_warm(int fd, size_t size)
{
    char bytes[16384];
    if (posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) != 0) return;
    for (size_t at = 0; at < size; at += sizeof bytes) {
        if (pread(fd, bytes, sizeof bytes, (off_t)at) <= 0) return;
    }
}

static enum errc segment_make(struct journal *j, uint32_t loop, struct segment **out, err *e)
{
    char name[SEGMENT_NAME_LEN + 1], temp[SEGMENT_NAME_LEN + sizeof NEW_SUFFIX];
    segment_name_format(j->boot, j->next_number, loop, name);
    snprintf(temp, sizeof temp, "%s" NEW_SUFFIX, name);
    struct segment *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    *s = (struct segment){.number = j->next_number, .loop = loop, .size = j->segment_bytes};
    enum errc rc = ERR_NONE;
    s->fd = openat(j->dir, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        rc = err_errno(e, ERR_IO, errno, "cannot create journal/%s", temp);
        free(s);
        return rc;
    }
    int failed;
    do
        failed = posix_fallocate(s->fd, 0, (off_t)s->size);
    while (failed == EINTR);
    if (failed) {
        /* A limit on the size of files is to the operator what a full disk is: there is no room to write. */
        rc = err_errno(e, failed == EFBIG ? ERR_DISK_FULL : ERR_IO, failed,
                       "cannot reserve %zu bytes for journal/%s", s->size, name);
        goto out;
    }
    struct segment_header h = {
        .boot = j->boot, .number = s->number, .created_us = clock_now_us(), .loop = loop};
    memcpy(h.node, j->node, sizeof h.node);
    uint8_t header[SEGMENT_HEADER_LEN];
    segment_header_write(&h, header);
    failed = segment_write(s->fd, header, sizeof header, 0);
    /* The name appears only once the header stands, so that a reader beside us never sees half of one. */
    if (!failed && (fdatasync(s->fd) != 0 || renameat(j->dir, temp, j->dir, name) != 0 || fsync(j->dir) != 0))
        failed = errno;
    if (failed) rc = err_errno(e, ERR_IO, failed, "cannot prepare journal/%s", name);
out:
    if (rc) {
        close(s->fd);
        unlinkat(j->dir, temp, 0);
        unlinkat(j->dir, name, 0);
        free(s);
        return rc;
    }
    s->at = s->synced = SEGMENT_HEADER_LEN;
    atomic_init(&s->written, SEGMENT_HEADER_LEN);
    j->next_number++;
    *out = s;
    return ERR_NONE;
}

static void segment_finish(struct journal *j, struct segment *s)
{
    char name[SEGMENT_NAME_LEN + 1];
    segment_name_format(j->boot, s->number, s->loop, name);
    size_t keep = atomic_load(&s->written);
    int failed = 0;
    if (keep == SEGMENT_HEADER_LEN)
        failed = unlinkat(j->dir, name, 0) == 0 ? 0 : errno;
    else
        failed = segment_seal(s->fd, keep, s->n_records);
    if (failed) {
        err e;
        err_errno(&e, ERR_IO, failed, "cannot finish journal/%s", name);
        log_error(LOG_ERROR, "journal_finish_failed", &e);
    }
    close(s->fd);
    free(s);
}

static size_t segment_records(size_t free_bytes) { return free_bytes / JOURNAL_RECORD_MAX; }
static size_t segment_end(const struct segment *s) { return s->size - SEAL_LEN; }

/* Adds spares until there is one, and enough of them for the calls under way. */
static enum errc writer_prepare(struct journal_writer *w, err *e)
{
    size_t each = segment_records(w->j->segment_bytes - SEAL_LEN - SEGMENT_HEADER_LEN);
    for (;;) {
        unsigned tail = atomic_load_explicit(&w->tail, memory_order_relaxed); /* only we store it */
        unsigned n_usable = 0;
        for (unsigned i = w->oldest; i != tail; i++) {
            const struct segment *s = w->ring[i % RING];
            n_usable += !atomic_load(&s->is_retired) && !atomic_load(&s->is_unusable);
        }
        if ((n_usable >= 2 && (n_usable - 1) * each >= atomic_load(&w->want)) || tail - w->oldest == RING)
            return ERR_NONE;
        struct segment *s;
        enum errc rc = segment_make(w->j, w->loop, &s, e);
        if (rc) return rc;
        segment_warm(s->fd, s->size);
        w->ring[tail % RING] = s;
        atomic_store_explicit(&w->tail, tail + 1, memory_order_release);
    }
}

static void writer_finish_retired(struct journal_writer *w)
{
    unsigned tail = atomic_load_explicit(&w->tail, memory_order_relaxed);
    for (; w->oldest != tail; w->oldest++) {
        struct segment *s = w->ring[w->oldest % RING];
        if (!atomic_load(&s->is_retired)) break;
        segment_finish(w->j, s);
    }
}

/* Makes everything flushed so far durable; true when a ticket went through. */
static bool writer_sync(struct journal_writer *w)
{
    /* The ticket first: whatever was written before it was stored is seen below. */
    uint64_t ticket = atomic_load(&w->flushed),
             before = atomic_load_explicit(&w->synced, memory_order_relaxed);
    unsigned tail = atomic_load_explicit(&w->tail, memory_order_relaxed);
    bool is_lost = false;
    for (unsigned i = w->oldest; i != tail; i++) {
        struct segment *s = w->ring[i % RING];
        size_t written = atomic_load(&s->written);
        if (written <= s->synced) continue;
        if (fdatasync(s->fd) != 0) {
            /* The kernel reports a failed write-back once and then forgets the pages: trying again would
             * only seem to succeed. Nothing more goes into this segment. */
            err e;
            err_errno(&e, ERR_IO, errno, "cannot sync segment %" PRIu64 " of the journal", s->number);
            log_error(LOG_ERROR, "journal_sync_failed", &e);
            atomic_store(&s->is_unusable, true);
            is_lost = true;
        }
        s->synced = written;
    }
    if (ticket == before) return false;
    if (is_lost) {
        if (atomic_load(&w->lost_to) == 0) atomic_store(&w->lost_from, before);
        atomic_store(&w->lost_to, ticket);
    }
    atomic_store_explicit(&w->synced, ticket, memory_order_release);
    return true;
}

/* --- the thread --- */

static void wake(struct journal *j, unsigned why)
{
    /* Almost always the bit stands already. Skipping is safe because the thread clears a bit before it
     * looks for what the bit announced, and all of it is sequentially consistent: it cannot miss a store
     * made before this. */
    if ((atomic_load(&j->wake) & why) == why || (atomic_fetch_or(&j->wake, why) & why) == why) return;
    pthread_mutex_lock(&j->sleep);
    pthread_cond_signal(&j->woken);
    pthread_mutex_unlock(&j->sleep);
}

/* The real clock, not base/clock.h: a test that freezes time must not stop the syncing. */
static int64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sleeps until one of the bits is set, or the time has come (-1: none is set). */
static void thread_sleep(struct journal *j, unsigned bits, int64_t until_ms)
{
    struct timespec t = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_mutex_lock(&j->sleep);
    while (!(atomic_load(&j->wake) & bits)) {
        if (until_ms < 0)
            pthread_cond_wait(&j->woken, &j->sleep);
        else if (pthread_cond_timedwait(&j->woken, &j->sleep, &t) == ETIMEDOUT)
            break;
    }
    pthread_mutex_unlock(&j->sleep);
}

/* True when some writer still lacks a segment. */
static bool thread_prepare(struct journal *j)
{
    bool is_short = false;
    for (unsigned i = 0; i < j->n_writers; i++) {
        struct journal_writer *w = &j->writers[i];
        err e;
        if (writer_prepare(w, &e)) {
            is_short = true;
            if (!w->is_short) log_error(LOG_ERROR, "journal_no_room", &e);
            w->is_short = true;
        } else {
            if (w->is_short) log_event(LOG_INFO, "journal_room_again", LOG_I("loop", w->loop));
            w->is_short = false;
        }
        writer_finish_retired(w);
    }
    return is_short;
}

static void *thread_main(void *arg)
{
    struct journal *j = arg;
    int64_t sync_at = -1, retry_at = 0; /* the spares are made at once */
    for (;;) {
        int64_t now = mono_ms();
        unsigned why = atomic_fetch_and(&j->wake, ~(unsigned)WAKE_NOW);
        if (why & WAKE_DIRTY && sync_at < 0) sync_at = j->is_strict ? now : now + (int64_t)j->sync_ms;
        if (sync_at >= 0 && now >= sync_at) {
            /* Until here the bit stayed set, so that the loops did not wake us with each flush. */
            atomic_fetch_and(&j->wake, ~(unsigned)WAKE_DIRTY);
            sync_at = -1;
            bool has_news = false;
            for (unsigned i = 0; i < j->n_writers; i++)
                has_news |= writer_sync(&j->writers[i]);
            if (has_news && j->is_strict && j->on_synced) j->on_synced(j->ctx);
        }
        if (why & WAKE_NOW || (retry_at >= 0 && now >= retry_at))
            retry_at = thread_prepare(j) ? mono_ms() + RETRY_MS : -1;
        if (why & WAKE_STOP) return NULL;
        int64_t until = sync_at;
        if (retry_at >= 0 && (until < 0 || retry_at < until)) until = retry_at;
        thread_sleep(j, WAKE_NOW | WAKE_STOP | (sync_at < 0 ? (unsigned)WAKE_DIRTY : 0), until);
    }
}

static enum errc thread_start(struct journal *j, err *e)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&j->sleep, NULL);
    pthread_cond_init(&j->woken, &attr);
    pthread_condattr_destroy(&attr);
    /* Signals belong to the main thread; and a limit on file sizes must be an error here, not a death by
     * SIGXFSZ. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&j->thread, NULL, thread_main, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return err_errno(e, ERR_INTERNAL, failed, "cannot start the journal's thread");
    j->has_thread = true;
    return ERR_NONE;
}

/* --- opening and closing --- */

/* Ends the thread and finishes all segments. */
static void journal_stop(struct journal *j)
{
    if (j->has_thread) {
        wake(j, WAKE_STOP);
        pthread_join(j->thread, NULL);
        pthread_cond_destroy(&j->woken);
        pthread_mutex_destroy(&j->sleep);
    }
    for (unsigned i = 0; i < j->n_writers; i++) {
        struct journal_writer *w = &j->writers[i];
        unsigned tail = atomic_load(&w->tail);
        for (unsigned k = w->oldest; k != tail; k++)
            segment_finish(j, w->ring[k % RING]);
        buf_fini(&w->batch);
    }
    if (j->dir >= 0) {
        fsync(j->dir);
        close(j->dir);
    }
    free(j->writers);
    free(j);
}

enum errc journal_open(struct journal **out, const char *data_dir, const struct journal_options *options,
                       struct journal_recovery *found, err *e)
{
    *out = NULL;
    *found = (struct journal_recovery){0};
    struct journal *j = calloc(1, sizeof *j);
    if (!j) return err_code(e, ERR_NO_MEMORY);
    *j = (struct journal){
        .dir = -1,
        .is_strict = options->is_strict,
        .segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES_DEFAULT,
        .sync_ms = options->sync_ms ? options->sync_ms : SYNC_MS_DEFAULT,
        .on_synced = options->on_synced,
        .ctx = options->ctx,
    };
    enum errc rc;
    if (options->n_writers == 0 || options->n_writers > N_WRITERS_MAX) {
        rc = err_set(e, ERR_CONFIG, "a journal for %u loops: 1 to %u are possible", options->n_writers,
                     N_WRITERS_MAX);
        goto fail;
    }
    if (j->segment_bytes < SEGMENT_BYTES_MIN || j->segment_bytes > SEGMENT_BYTES_MAX) {
        rc = err_set(e, ERR_CONFIG, "journal segments of %zu bytes: 64 KiB to 1 GiB are possible",
                     j->segment_bytes);
        goto fail;
    }
    j->writers = aligned_alloc(_Alignof(struct journal_writer), options->n_writers * sizeof *j->writers);
    if (!j->writers) {
        rc = err_code(e, ERR_NO_MEMORY);
        goto fail;
    }
    for (unsigned i = 0; i < options->n_writers; i++) {
        struct journal_writer *w = &j->writers[i];
        *w = (struct journal_writer){.j = j, .loop = i, .want = WANT_MIN};
        buf_init(&w->batch, RING * j->segment_bytes); /* more could never be written at once */
    }
    j->n_writers = options->n_writers;

    uint64_t last_boot = 0;
    if ((rc = folder_open(data_dir, &j->dir, e)) || (rc = folder_node(j->dir, j->node, e)) ||
        (rc = folder_recover(j->dir, found, &last_boot, e)) ||
        (rc = folder_boot(j->dir, last_boot, &j->boot, e)))
        goto fail;
    /* One segment each is enough to be ready; the thread makes the spares at once. */
    for (unsigned i = 0; i < j->n_writers; i++) {
        struct segment *s;
        if ((rc = segment_make(j, i, &s, e))) goto fail;
        j->writers[i].ring[0] = s;
        atomic_store(&j->writers[i].tail, 1);
    }
    if ((rc = thread_start(j, e))) goto fail;
    *out = j;
    return ERR_NONE;
fail:
    journal_stop(j);
    return rc;
}

void journal_close(struct journal *j)
{
    if (j) journal_stop(j);
}

const uint8_t *journal_node(const struct journal *j) { return j->node; }

struct journal_writer *journal_writer(struct journal *j, unsigned loop)
{
    return loop < j->n_writers ? &j->writers[loop] : NULL;
}

uint64_t journal_boot(const struct journal *j) { return j->boot; }

struct journal_written journal_written(const struct journal *j)
{
    struct journal_written sum = {0};
    for (unsigned i = 0; i < j->n_writers; i++) {
        sum.bytes += atomic_load_explicit(&j->writers[i].n_bytes, memory_order_relaxed);
        sum.calls += atomic_load_explicit(&j->writers[i].n_calls, memory_order_relaxed);
    }
    return sum;
}

/* --- the loop's side --- */

static struct segment *writer_segment(const struct journal_writer *w, unsigned index)
{
    if (index == atomic_load_explicit(&w->tail, memory_order_acquire)) return NULL;
    return w->ring[index % RING];
}

bool journal_has_room(struct journal_writer *w, unsigned n_open)
{
    /* Spares for half as many calls again are asked for ahead, in steps: the thread is woken seldom. */
    unsigned ahead = n_open + n_open / 2, want = atomic_load_explicit(&w->want, memory_order_relaxed);
    if (ahead >= want && ahead < N_OPEN_MAX) {
        while (want <= ahead)
            want *= 2;
        atomic_store(&w->want, want);
        wake(w->j, WAKE_NOW);
    }
    size_t room = 0, need = (size_t)n_open + 1;
    const struct segment *s;
    for (unsigned i = w->plan; room < need && (s = writer_segment(w, i)) != NULL; i++) {
        if (!atomic_load_explicit(&s->is_unusable, memory_order_relaxed) && s->at < segment_end(s))
            room += segment_records(segment_end(s) - s->at);
    }
    return room >= need;
}

static void append(struct journal_writer *w, enum frame_type type, struct usage_record *r)
{
    size_t start = w->batch.len;
    usage_frame_encode(type, r, &w->batch);
    size_t len = w->batch.len - start;

    struct segment *s;
    while ((s = writer_segment(w, w->plan)) != NULL &&
           (s->at + len > segment_end(s) || (atomic_load_explicit(&s->is_unusable, memory_order_relaxed) &&
                                             s->at == atomic_load(&s->written))))
        w->plan++;
    if (!s) {
        w->is_over = true;
        return;
    }
    if (w->n_parts == 0 || w->parts[w->n_parts - 1].segment != s)
        w->parts[w->n_parts++] = (struct part){.segment = s, .start = start};
    struct part *part = &w->parts[w->n_parts - 1];
    part->len += len;
    part->n_records += type == FRAME_CALL;
    s->at += len;
}

static void number(struct journal_writer *w, struct usage_record *r)
{
    r->boot = w->j->boot;
    r->n = (uint64_t)w->loop << 48 | ++w->sequence;
}

void journal_append(struct journal_writer *w, struct usage_record *r)
{
    number(w, r);
    append(w, FRAME_CALL, r);
}

void journal_append_start(struct journal_writer *w, struct usage_record *r)
{
    number(w, r);
    append(w, FRAME_START, r);
}

void journal_append_end(struct journal_writer *w, struct usage_record *r) { append(w, FRAME_CALL, r); }

bool journal_is_dirty(const struct journal_writer *w) { return w->batch.len > 0 || w->is_over; }

/* Hands the segments before `until` to the thread. */
static void retire(struct journal_writer *w, unsigned until)
{
    if (w->head == until) return;
    for (; w->head != until; w->head++)
        atomic_store(&w->ring[w->head % RING]->is_retired, true);
    wake(w->j, WAKE_NOW);
}

/* Forgets the batch; segments from `head` on are where they were before it. */
static void batch_drop(struct journal_writer *w)
{
    for (unsigned i = w->head; i != w->plan; i++) {
        struct segment *s = w->ring[i % RING];
        s->at = atomic_load_explicit(&s->written, memory_order_relaxed);
    }
    struct segment *s = writer_segment(w, w->plan);
    if (s) s->at = atomic_load_explicit(&s->written, memory_order_relaxed);
    w->plan = w->head;
}

static void batch_clear(struct journal_writer *w)
{
    w->n_parts = 0;
    w->is_over = false;
    buf_clear(&w->batch);
    if (w->batch.cap > BATCH_KEPT_BYTES) {
        size_t max = w->batch.max;
        buf_fini(&w->batch);
        buf_init(&w->batch, max);
    }
}

enum errc journal_flush(struct journal_writer *w, uint64_t *ticket, err *e)
{
    uint64_t last = atomic_load_explicit(&w->flushed, memory_order_relaxed);
    *ticket = last;
    if (!journal_is_dirty(w)) return ERR_NONE;
    enum errc rc = buf_err(&w->batch);
    if (rc || w->is_over) {
        /* The batch's limit is what all segments could hold. */
        rc = rc == ERR_NO_MEMORY
                 ? err_code(e, rc)
                 : err_set(e, ERR_DISK_FULL,
                           "the usage journal has no prepared segment left for loop %" PRIu32, w->loop);
        batch_drop(w);
        batch_clear(w);
        return rc;
    }
    for (unsigned i = 0; i < w->n_parts; i++) {
        const struct part *part = &w->parts[i];
        struct segment *s = part->segment;
        int failed = segment_write(s->fd, w->batch.p + part->start, part->len, s->at - part->len);
        if (!failed) continue;
        rc =
            err_errno(e, ERR_IO, failed, "cannot write %zu bytes to segment %" PRIu64 " of the usage journal",
                      part->len, s->number);
        /* What has reached the files of this batch must not be read later: `written` stands where it was,
         * and the thread cuts these segments there. The next batch begins in a fresh one. */
        unsigned next = w->head;
        while (w->ring[next % RING] != s)
            next++;
        batch_drop(w);
        retire(w, next + 1);
        w->plan = w->head;
        batch_clear(w);
        return rc;
    }
    for (unsigned i = 0; i < w->n_parts; i++) {
        const struct part *part = &w->parts[i];
        part->segment->n_records += part->n_records;
        atomic_store(&part->segment->written, part->segment->at);
        atomic_store_explicit(&w->n_bytes, atomic_load_explicit(&w->n_bytes, memory_order_relaxed) + part->len,
                              memory_order_relaxed);
        atomic_store_explicit(&w->n_calls,
                              atomic_load_explicit(&w->n_calls, memory_order_relaxed) + part->n_records,
                              memory_order_relaxed);
    }
    *ticket = last + 1;
    atomic_store(&w->flushed, last + 1);
    retire(w, w->plan);
    batch_clear(w);
    wake(w->j, WAKE_DIRTY);
    return ERR_NONE;
}

bool journal_is_synced(const struct journal_writer *w, uint64_t ticket)
{
    return !w->j->is_strict ||
           (ticket <= atomic_load_explicit(&w->synced, memory_order_acquire) && !journal_is_lost(w, ticket));
}

bool journal_is_lost(const struct journal_writer *w, uint64_t ticket)
{
    return w->j->is_strict && ticket <= atomic_load_explicit(&w->synced, memory_order_acquire) &&
           ticket > atomic_load(&w->lost_from) && ticket <= atomic_load(&w->lost_to);
}
