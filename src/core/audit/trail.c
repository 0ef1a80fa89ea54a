/* trail.c - the trail's life, and the thread that grows, signs and watches. */
#include "core/audit.h"

#include <stdlib.h>

#include "base/log.h"
#include "core/audit/anchor.h"
#include "core/audit/trail.h"

#define POLL_US (1 * USEC_PER_S)
#define POLL_SHORT_US (50 * USEC_PER_MS)
#define SCRUB_US (1 * USEC_PER_S)

static const struct option options[] = {
    {.key = "audit.head_interval_ms", .type = OPTION_MS, .fallback = "1m", .min = 50, .max = 60000, .change = OPTION_AT_START,
     .meaning = "How often a head of the log is signed while there is something new."},
    {.key = "audit.anchors[].name", .type = OPTION_TEXT, .is_required = true, .change = OPTION_AT_START,
     .meaning = "Name of a place outside the database that heads of the log go to."},
    {.key = "audit.anchors[].kind", .type = OPTION_ONE_OF, .choices = "file|s3|syslog|webhook", .is_required = true, .change = OPTION_AT_START,
     .meaning = "What it is: a folder, an S3 bucket, a syslog server, or a URL."},
    {.key = "audit.anchors[].segments", .type = OPTION_BOOL, .fallback = "false", .change = OPTION_AT_START,
     .meaning = "Whether the sealed events go there too (file and s3)."},
    {.key = "audit.anchors[].path", .type = OPTION_TEXT, .change = OPTION_AT_START, .meaning = "file: the folder, on another disk or machine."},
    {.key = "audit.anchors[].url", .type = OPTION_TEXT, .change = OPTION_AT_START,
     .meaning = "s3: the bucket as https://HOST/BUCKET or https://BUCKET.HOST; webhook: where to POST; syslog: udp://, tcp:// or tls://HOST:PORT, or unix:/dev/log."},
    {.key = "audit.anchors[].prefix", .type = OPTION_TEXT, .fallback = "catalyst-audit", .change = OPTION_AT_START, .meaning = "s3: what the names of objects begin with."},
    {.key = "audit.anchors[].region", .type = OPTION_TEXT, .fallback = "us-east-1", .change = OPTION_AT_START, .meaning = "s3: the region that requests are signed for."},
    {.key = "audit.anchors[].access_key", .type = OPTION_TEXT, .change = OPTION_AT_START, .meaning = "s3: id of the access key."},
    {.key = "audit.anchors[].secret_key", .type = OPTION_SECRET, .change = OPTION_AT_START, .meaning = "s3: the access key's secret."},
    {.key = "audit.anchors[].retain_days", .type = OPTION_INT, .fallback = "0", .min = 0, .max = 36500, .change = OPTION_AT_START,
     .meaning = "s3: for so many days nobody can delete or replace what was put there (object lock, compliance mode); 0: as the bucket says."},
    {.key = "audit.anchors[].secret", .type = OPTION_SECRET, .change = OPTION_AT_START,
     .meaning = "webhook: what X-Catalyst-Signature is made with (HMAC-SHA-256)."},
};
const struct option_table audit_options = {options, LENGTH_OF(options)};

enum errc audit_new(struct audit **out, const struct audit_setup *setup, err *e)
{
    struct audit *a = calloc(1, sizeof *a);
    *out = NULL;
    if (!a) return err_code(e, ERR_NO_MEMORY);
    a->setup = *setup;
    a->db = store_db(setup->store, DB_MAIN);
    a->head_interval_us = config_int(setup->config, "audit.head_interval_ms") * USEC_PER_MS;
    a->data_dir = strdup(setup->data_dir);
    enum errc rc = a->data_dir ? waker_init(&a->waker, e) : err_code(e, ERR_NO_MEMORY);
    if (rc == ERR_NONE) rc = anchors_new(&a->anchors, a, e);
    if (rc != ERR_NONE) {
        audit_free(a);
        return rc;
    }
    *out = a;
    return ERR_NONE;
}

void audit_free(struct audit *a)
{
    if (!a) return;
    audit_stop(a);
    anchors_free(a->anchors);
    if (a->data_dir) waker_fini(&a->waker);
    free(a->data_dir);
    free(a);
}

/* The sentence that an administrator reads. */
static enum errc refuse(const struct outside_head *h, const char *why, err *e)
{
    return err_set(e, ERR_FORBIDDEN,
                   "%s. The head is in %s. Restored on purpose? `catalyst audit accept-restore` writes down what is lost",
                   why, h->source);
}

enum errc audit_check(struct audit *a, err *e)
{
    struct arena arena;
    struct outside_head *heads = NULL;
    unsigned n = 0;
    arena_init(&arena, 4u << 20, 8192);
    enum errc rc = audit_name(a, e);
    if (rc == ERR_NONE) rc = audit_grow_all(a, e);
    if (rc == ERR_NONE) rc = outside_heads(a, &arena, &heads, &n, e);
    for (unsigned i = 0; rc == ERR_NONE && i < n; i++) {
        struct outside_view view;
        rc = outside_judge(a, &heads[i].head, &view, e);
        if (rc == ERR_NONE && !view.holds) rc = refuse(&heads[i], view.why, e);
    }
    arena_fini(&arena);
    return rc;
}

static enum errc round_of_work(struct audit *a, bool is_last, usec *scrub_us, err *e)
{
    bool has_more = true;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; rc == ERR_NONE && has_more && i < 10000 / GROW_BATCH; i++)
        rc = audit_grow(a, &has_more, e);
    if (rc == ERR_NONE) rc = outside_follow(a, e); /* before a head of an old copy takes the place of the one that tells of it */
    if (rc == ERR_NONE && !has_more) rc = audit_sign(a, is_last, e);
    if (rc == ERR_NONE && !is_last && clock_mono_us() >= *scrub_us) {
        *scrub_us = clock_mono_us() + SCRUB_US;
        rc = audit_scrub(a, e);
    }
    if (has_more) waker_wake(&a->waker);
    return rc;
}

static void *audit_main(void *arg)
{
    struct audit *a = arg;
    usec poll = a->head_interval_us / 4, scrub_us = 0;
    bool is_running = true;
    if (poll > POLL_US) poll = POLL_US;
    if (poll < POLL_SHORT_US) poll = POLL_SHORT_US;
    while (is_running) {
        err e = {0};
        is_running = waker_wait(&a->waker, poll);
        enum errc rc = round_of_work(a, !is_running, &scrub_us, &e);
        if (rc != ERR_NONE && !a->is_blind) log_error(LOG_WARN, "audit_trail_waits", &e);
        a->is_blind = rc != ERR_NONE;
    }
    return NULL;
}

enum errc audit_start(struct audit *a, err *e)
{
    a->alarm = stats_series(stats_declare(STAT_GAUGE, "catalyst_audit_alarm",
                                          "1 when the log does not agree with what was signed of it: it was rewritten, or is an old copy.", NULL,
                                          NULL, 0, 1),
                            NULL);
    a->behind = stats_series(stats_declare(STAT_GAUGE, "catalyst_audit_unsigned_events", "Sealed events that are under no signed head yet.",
                                           NULL, NULL, 0, 1),
                             NULL);
    enum errc rc = audit_check(a, e);
    if (rc == ERR_NONE) rc = outside_follow(a, e);
    if (rc != ERR_NONE) return rc;
    int number = pthread_create(&a->thread, NULL, audit_main, a);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the audit trail's thread");
    a->has_thread = true;
    return anchors_start(a->anchors, e);
}

void audit_stop(struct audit *a)
{
    if (!a || !a->has_thread) return;
    waker_stop(&a->waker);
    pthread_join(a->thread, NULL);
    anchors_stop(a->anchors); /* the last head goes there too */
    a->has_thread = false;
}
