/* trail.h - what the parts of the audit trail share: growing the trees (grow.c), signing them (sign.c), what lies outside (outside.c),
 * places that it goes to (anchor*.c), accepting a break (accept.c). Private to core/audit.
 */
#ifndef CORE_AUDIT_INTERNAL_H
#define CORE_AUDIT_INTERNAL_H

#include <pthread.h>

#include "base/stats.h"
#include "base/waker.h"
#include "core/audit.h"
#include "core/audit/tile.h"
#include "core/jobs.h"
#include "store/files.h"

#define GROW_BATCH 512
#define ALARM_MAX 200

struct anchors;

struct audit {
    struct audit_setup setup;
    char *data_dir;
    struct db *db;
    char origin[HEAD_ORIGIN_MAX + 1]; /* of the instance's tree; empty: not read yet */
    usec head_interval_us;
    struct waker waker;
    pthread_t thread;
    bool has_thread;
    bool is_behind_others; /* another node grows the trees: this one looks less often */
    bool is_blind;         /* the database could not be read; told once */
    bool is_shut;          /* the log is older than what was given away: nothing is appended */
    int64_t scrubbed;      /* events compared with the tiles in this round */
    struct stat_series *alarm, *behind, *head_age;
    struct anchors *anchors;
    struct job_kind verify;
};

static inline bool uuid_eq(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

/* A tree's row. */
struct tree_row {
    uuid tree;
    str origin;
    int64_t size, head_size;
    bool is_alarmed;
};
WARN_UNUSED enum errc tree_row_find(struct tx *tx, struct arena *a, const uuid *tree, struct tree_row *out, bool *is_found, err *e);

/* Makes the instance's row at the first call, and reads its origin. */
WARN_UNUSED enum errc audit_name(struct audit *a, err *e);
/* Adds the next events to the trees. */
WARN_UNUSED enum errc audit_grow(struct audit *a, bool *has_more, err *e);
WARN_UNUSED enum errc audit_grow_all(struct audit *a, err *e);
/* Compares the next events with the tiles. */
WARN_UNUSED enum errc audit_scrub(struct audit *a, err *e);
/* The log was rewritten: once per tree until a restore is accepted. number: of the first event that is wrong, 0: not known. */
WARN_UNUSED enum errc audit_alarm(struct audit *a, const uuid *tree, int64_t number, const char *what, err *e);

/* Signs heads of what has grown and was not signed for head_interval_us; with all, whatever has grown. */
WARN_UNUSED enum errc audit_sign(struct audit *a, bool all, err *e);

/* --- outside the database --- */

struct outside_head {
    const char *source; /* "DIR/audit/head" or "anchor NAME" */
    str note;
    struct head head;
};
/* The heads that lie outside: those of the file and of every anchor that can be read. An anchor that cannot be reached is told of in the log. */
WARN_UNUSED enum errc outside_heads(struct audit *a, struct arena *arena, struct outside_head **out, unsigned *n, err *e);
/* Whether the log bears the head out: 0 yes, else why not (a sentence in `why`). A break that was accepted for it counts as yes. */
struct outside_view {
    bool holds;
    bool is_given_up; /* by a break, and only so does it hold */
    char why[ALARM_MAX];
};
WARN_UNUSED enum errc outside_judge(struct audit *a, const struct head *h, struct outside_view *out, err *e);
/* Takes the newest head of the database into the file, when it is newer; shuts the log when the file's is not borne out. */
WARN_UNUSED enum errc outside_follow(struct audit *a, err *e);
WARN_UNUSED enum errc outside_write(struct audit *a, str note, err *e);

/* The origin of another tree than the instance's. */
str tree_origin(struct arena *arena, str instance, const uuid *tree);

#endif
