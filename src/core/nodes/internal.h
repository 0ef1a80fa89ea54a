/* internal.h - what the parts of core/nodes share: the heartbeat (nodes.c), the SQL (rows.c), who a process is
 * (process.c), the endpoints (routes.c).
 */
#ifndef CORE_NODES_INTERNAL_H
#define CORE_NODES_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/stats.h"
#include "base/waker.h"
#include "core/events.h"
#include "core/nodes.h"

#define NODE_NAME_MAX 100
#define NODE_PROCESS_MAX 160

/* What a heartbeat writes. */
struct node_row {
    uuid id, boot;
    char process[NODE_PROCESS_MAX];
    str name, address, version;
    int64_t schema;
    const char *state;
    usec started_us, seen_us;
    int64_t log_head, log_number;
    struct node_figures figures;
};

/* Another node, as this one sees it. */
struct node_other {
    uuid id, boot;
    int64_t beats, streams;
    usec changed_us; /* monotonic: when its row was last seen to change */
    char state[12];
    bool is_alive;
};

struct nodes {
    struct store *store;
    struct node_row row; /* of the heartbeat's thread, once that runs */
    char name[NODE_NAME_MAX + 1], address[64];
    usec heartbeat_us, away_us;
    struct waker waker;
    pthread_t thread;
    bool has_thread, has_row;
    _Atomic(const char *) state;
    _Atomic int64_t followed;
    _Atomic unsigned n_alive;
    _Atomic int64_t n_listening;
    _Atomic bool is_doubled, is_cut_off;
    _Atomic usec read_us; /* monotonic: when the others were last read */
    enum errc (*holds)(void *ctx, const uuid *node, int64_t *leased_nanousd,
                       err *e); /* see nodes_on_forget */
    void *holds_ctx;
    pthread_mutex_t lock; /* guards what follows */
    struct node_other *others;
    unsigned n_others;
    struct node_figures figures;
    struct {
        void (*fill)(void *ctx, struct node_figures *f);
        void *ctx;
    } reports[NODE_REPORTS_MAX];
    unsigned n_reports;
    /* of the heartbeat's thread */
    usec doubled_log_us;
    const char *written_state;
    bool written_listens; /* there were streams */
    struct {
        struct stat_series *starting, *serving, *draining, *away, *stopped;
        struct stat_series *log_lag, *snapshot_lag, *journal_bytes, *journal_calls, *leased, *doubled, *beats,
            *failed;
    } stats;
};

/* This node's figures of this moment. */
void nodes_figures(struct nodes *n, struct node_figures *out);

/* --- rows --- */

struct node_claim {
    const struct node_row *row;
    bool has_old; /* what was found before: it must still be so */
    uuid old_boot;
    int64_t old_beats;
    uuid event_id;
    bool is_taken; /* out: it is not */
};
WARN_UNUSED enum errc node_claim_unit(struct tx *tx, void *claim, err *e);

struct node_beat {
    const struct node_row *row;
    uuid event_id; /* of node.returned, node.stopped */
    bool is_stop;
    bool is_told;     /* the others shall look at once */
    bool is_returned; /* out: others had given it up */
    bool is_doubled;  /* out: the row is another boot's */
};
WARN_UNUSED enum errc node_beat_unit(struct tx *tx, void *beat, err *e);

struct node_look { /* every row, and the log's end */
    struct arena *arena;
    struct rows rows; /* id, boot_id, beats, state, streams, process, address */
    int64_t head;
};
WARN_UNUSED enum errc node_look_unit(struct tx *tx, void *look, err *e);

struct node_away {
    uuid id, boot;
    int64_t beats;
    uuid event_id;
    usec now_us;
    bool is_first; /* out: this node noticed it first */
};
WARN_UNUSED enum errc node_away_unit(struct tx *tx, void *away, err *e);

/* --- processes --- */

enum process_state { PROCESS_UNKNOWN, PROCESS_DEAD, PROCESS_ALIVE };
/* This process, among all of all machines: kernel's boot id, namespace of process ids, id, start. NUL-terminated. */
void process_name(char out[NODE_PROCESS_MAX]);
/* PROCESS_UNKNOWN: it was made on another machine or in another container. */
enum process_state process_state_of(str name);
/* The process id in it, 0 when there is none. */
int64_t process_id_of(str name);

#endif
