/* verify.h - is this log the one that was signed? In the database or in an export, over all cores.
 *
 * Every event's leaf is made again from its bytes, the numbers must be dense, the tiles must hold the same leaves, the roots of all signed heads
 * must come out, and their signatures hold. What is found first is named: where the tiles and a signed head agree with each other, they tell
 * what stood there, so an edit is told apart from a deletion, an insertion, another order. Where everything was made again by somebody who has
 * not got the key, the next head no longer comes out: then the first event behind the last head that does is named, and how far the doubt goes.
 * A body that retention has dropped is no finding when an event "audit.dropped" says so: its metadata has "first" and "last", numbers of the
 * instance. A head that a signed break gives up is none either.
 * Threads: verify_run starts its own; a source's functions are called from all of them.
 */
#ifndef CORE_AUDIT_VERIFY_H
#define CORE_AUDIT_VERIFY_H

#include "core/audit/checkpoint.h"
#include "core/audit/records.h"
#include "core/audit/tile.h"

#define VERIFY_CHUNK 4096 /* events */

struct verify_head {
    str note;
    usec signed_us; /* 0: not known */
};

struct verify_source {
    void *ctx;
    uuid tree; /* nil: the instance's */
    str origin;
    int64_t size;  /* events that there are, or that there should be */
    int64_t since; /* bodies from this number on are there; 1: all */
    /* Events with the numbers first … first + VERIFY_CHUNK - 1 of the tree and the one behind them, in order; whatever there is. */
    enum errc (*records)(void *ctx, struct arena *a, int64_t first, struct record **out, unsigned *n, err *e);
    /* The leaves of the same numbers (and one more) as the tiles have them; fewer when there are fewer. */
    enum errc (*leaves)(void *ctx, int64_t first, struct tree_hash out[VERIFY_CHUNK + 1], unsigned *n, err *e);
    /* A tile, of any level; n 0: there is none. */
    enum errc (*tile)(void *ctx, unsigned level, int64_t number, struct tree_hash out[TILE_WIDTH], unsigned *n, err *e);
    const struct verify_head *heads; /* in any order */
    unsigned n_heads;
    const str *breaks; /* signed notes */
    unsigned n_breaks;
    const struct note_key *keys; /* with names of any origin: each tree's is put in */
    unsigned n_keys;
    /* Personal values of an event: whether what its boxes hold is what its bytes commit to. NULL: they cannot be opened. */
    enum errc (*boxes)(void *ctx, struct arena *a, const struct record *records, unsigned n, unsigned *n_opened, int *wrong, err *e);
};

enum verify_what {
    VERIFY_OK,
    VERIFY_EDITED,
    VERIFY_DELETED,
    VERIFY_INSERTED,
    VERIFY_REORDERED,
    VERIFY_TRUNCATED,
    VERIFY_REWRITTEN,   /* with hashes made again */
    VERIFY_ROLLED_BACK, /* behind a head that was given away, or another log than its */
    VERIFY_BODY_LOST,   /* and no record says that it was dropped */
    VERIFY_TILE,        /* the events are right, the tiles are not */
    VERIFY_HEAD,        /* a head is damaged or not signed by the log */
    VERIFY_COMMITMENT,  /* a personal value is not the one that the event commits to */
};
const char *verify_name(enum verify_what what); /* "edited" */

struct verify_finding {
    enum verify_what what;
    int64_t number, until; /* in the tree; until: the doubt goes that far (else as number); 0: no event */
    bool has_id;
    uuid id;
    char text[240];
};

struct verify_report {
    struct verify_finding first; /* VERIFY_OK: none */
    int64_t events, bytes, n_dropped, n_opened;
    int64_t signed_size; /* of the newest head that came out */
    unsigned n_heads, n_heads_given_up, n_breaks;
    struct tree_hash root; /* over all events */
    usec took_us;
};

struct verify_options {
    unsigned threads;          /* 0: one for each core */
    const str *exported;       /* heads that were given away, as notes */
    unsigned n_exported;
    void (*progress)(void *ctx, int64_t done, int64_t total); /* may be NULL */
    void *ctx;
    const bool *is_cancelled;  /* may be NULL: ERR_CANCELLED */
};

/* ERR_NONE also when something was found: the report says so. */
WARN_UNUSED enum errc verify_run(const struct verify_source *s, const struct verify_options *o, struct verify_report *out, err *e);
struct json_writer;
void verify_report_put(const struct verify_report *r, const struct verify_source *s, struct json_writer *w);

#endif
