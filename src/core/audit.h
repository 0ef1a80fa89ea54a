/* audit.h - what makes the log of events prove itself: trees over it, signed heads, proofs, copies elsewhere.
 *
 * There is a tree over all events (leaf number - 1) and one over each workspace's (leaf workspace_number - 1). A thread of its own follows
 * what is sealed, so that nobody who writes an event waits for it: it compares each event's bytes with its leaf, adds the leaf to the tiles,
 * and signs a head of every tree that has grown, at least every audit.head_interval_ms and at the end. Of several nodes each step is done by
 * the one that moves the row first. Every head that was ever signed is kept, and before another is signed the tree must still be the one that
 * the last head is of: a log that was rewritten is never signed again; it raises an alarm (log, metric, event "audit.rewritten"). Meanwhile the whole log is
 * compared with its tiles again and again, some hundred events a second.
 * The newest head of the instance also lies outside the database: in DIR/audit/head, and at every anchor that is configured. A database that is
 * behind one of them, or another log, is an old copy or a forged one: the server does not start with it, and appends nothing when it finds that while
 * it runs. `catalyst audit accept-restore` writes a signed record of what is lost, a break; then the log goes on.
 * Threads: any but loops; start and stop from one.
 * Source: RFC 6962, RFC 9162; C2SP tlog-tiles, tlog-checkpoint, signed-note.
 */
#ifndef CORE_AUDIT_H
#define CORE_AUDIT_H

#include "core/api.h"
#include "core/audit/checkpoint.h"
#include "core/backend.h"
#include "core/signing.h"

extern const struct option_table audit_options;
extern const struct api_table audit_trail_api; /* GET /api/audit/heads, /api/audit/proof, /api/audit/anchors, POST /api/audit/verify */

struct audit;
struct jobs;
struct outbound;
struct audit_setup {
    struct store *store;
    struct events *events;
    struct signing *signing;
    const struct config *config;
    const char *data_dir;
    struct outbound *outbound; /* of anchors that are reached by HTTP; NULL: they are left alone */
    uuid node;                 /* who writes segments */
};
/* Nothing is read or written yet. */
WARN_UNUSED enum errc audit_new(struct audit **out, const struct audit_setup *setup, err *e);
void audit_free(struct audit *a); /* NULL is fine */
void audit_add_jobs(struct audit *a, struct jobs *jobs);
/* Adds what is sealed to the trees and holds the log to every head that was given away. ERR_FORBIDDEN: it is behind one, or another log; the
 * message says what to do. */
WARN_UNUSED enum errc audit_check(struct audit *a, err *e);
/* audit_check, then the threads. */
WARN_UNUSED enum errc audit_start(struct audit *a, err *e);
void audit_stop(struct audit *a); /* signs what is new; also without audit_start, and twice */

/* The keys that heads of a tree are verified with, the retired ones too, in the arena. origin: of the tree. */
WARN_UNUSED enum errc audit_keys(struct signing *s, struct arena *a, str origin, struct note_key **out, unsigned *n, err *e);

/* --- what is there --- */

struct audit_head {
    uuid tree;
    str origin, note, kid;
    int64_t size;
    struct tree_hash root;
    usec signed_us;
};
/* The newest head of a tree (nil: the instance's). ERR_NOT_FOUND: none was signed yet. */
WARN_UNUSED enum errc audit_head(struct tx *tx, struct arena *a, const uuid *tree, struct audit_head *out, err *e);

struct audit_proof {
    int64_t from, to; /* consistency; inclusion: index of the leaf, size of the tree */
    struct tree_hash leaf, from_root, root;
    struct tree_proof proof;
};
/* That event `number` of the tree (from 1) is among the first `size`. ERR_NOT_FOUND: the tree has not got that far. */
WARN_UNUSED enum errc audit_inclusion(struct tx *tx, const uuid *tree, int64_t number, int64_t size, struct audit_proof *out, err *e);
WARN_UNUSED enum errc audit_consistency(struct tx *tx, const uuid *tree, int64_t from, int64_t to, struct audit_proof *out, err *e);

/* --- accepting that something is lost --- */

struct audit_break {
    str source;        /* where the head was that the log does not bear out */
    struct head lost;
    struct head now;   /* what goes on */
    str note;          /* the signed record */
};
/* Builds the trees anew from the events, writes a break for every head outside that the log does not bear out, with an event
 * "audit.restore_accepted" for each, and signs a head of what there is. *n 0: there is nothing to accept, and nothing is changed. The data folder is
 * locked by the caller, no server runs on the database. */
WARN_UNUSED enum errc audit_accept(struct audit *a, str reason, struct arena *arena, struct audit_break **out, unsigned *n, err *e);

#endif
