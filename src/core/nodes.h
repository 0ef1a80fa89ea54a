/* nodes.h - which servers work on this database, and how each of them is.
 *
 * A node is one `catalyst serve` with its data folder, whose id it has; a boot id stands for one start of it. Each node
 * writes a row every node.heartbeat_ms and reads those of the others (with SQLite there are none: its row is written
 * when its state changes). A node is away when its row has not changed for node.away_ms by the observer's monotonic
 * clock: clocks of two machines are never compared. A node that is cut off from the database goes on, keeps what it
 * last knew of the others, and judges nobody until it has seen them again for that long.
 * Two folders with one id (a copy) are one node too many: the second is refused at its start while the first is alive;
 * should both run nevertheless, each says so in its log and nodes_is_doubled tells it.
 * States: starting, serving, draining, stopped. Events of the instance: node.started, node.stopped, node.away,
 * node.returned; none per heartbeat.
 * Threads: any, but new, start, stop and free from one; what is marked so takes no lock.
 */
#ifndef CORE_NODES_H
#define CORE_NODES_H

#include "core/api.h"
#include "core/config.h"
#include "store/store.h"

extern const struct option_table nodes_options;
extern const struct api_table nodes_api; /* GET /api/nodes, DELETE /api/nodes/:id; service: struct nodes * */

struct nodes;
struct json_writer;
/* DIR/control.sock's command "nodes": what GET /api/nodes lists, as an array. nodes: struct nodes *. */
WARN_UNUSED enum errc nodes_command(void *nodes, struct arena *a, const struct json *request,
                                    struct json_writer *result, err *e);
/* Nothing is read or written yet. Before store_listen. id: of the data folder; address: where it listens (copied). */
WARN_UNUSED enum errc nodes_new(struct nodes **out, struct store *store, const struct config *config,
                                const uuid *id, str address, err *e);
/* Takes the row and starts the heartbeat; before anything that works under the node's id. The log must be open.
 * ERR_CONFLICT: another server with this id is alive. Takes up to node.away_ms when the id was last used on another
 * machine and not given up. */
WARN_UNUSED enum errc nodes_start(struct nodes *n, err *e);
/* The last row and the end of the heartbeat: everything that worked under the node's id has ended. */
void nodes_stop(struct nodes *n);
void nodes_free(struct nodes *n); /* NULL is fine */

const uuid *nodes_id(const struct nodes *n);
const uuid *nodes_boot(const struct nodes *n);
/* "serving", "draining" (a literal): the others know it at once. */
void nodes_set_state(struct nodes *n, const char *state);
/* A heartbeat now: for figures that others wait for. */
void nodes_wake(struct nodes *n);
/* Events up to this number have been followed here (on the log's thread). */
void nodes_followed(struct nodes *n, int64_t number);

/* Every row is of a server that runs no more: for a database that was just restored, in which they stand as they were then. Does nothing when
 * its schema has no nodes yet. */
WARN_UNUSED enum errc nodes_have_stopped(struct store *store, err *e);
/* Everything that a node which does not come back had is in the database, and what it held was given back (its journal was imported): its row says
 * so. */
WARN_UNUSED enum errc nodes_taken_over(struct store *store, const uuid *id, err *e);

/* --- of the others --- */

/* Nodes that are alive, this one included: at least 1. No lock. */
unsigned nodes_alive(const struct nodes *n);
/* Event streams that are open on others, or were a moment ago. No lock. */
int64_t nodes_listening(const struct nodes *n);
/* Whether another server runs under this node's id. No lock. */
bool nodes_is_doubled(const struct nodes *n);
/* Whether the last heartbeat could not be written, or hangs: what is known of the others is old. No lock. */
bool nodes_is_cut_off(const struct nodes *n);
/* Whether this node has been seen and is neither stopped nor away. */
bool nodes_is_alive(struct nodes *n, const uuid *id);
/* Waits until every other node that is alive has in its snapshot what was committed before, but no longer than NODES_AWAIT_US: one that hangs is told of
 * in the log then. At once when there is no other. Not on a loop. */
#define NODES_AWAIT_US (2 * USEC_PER_S)
void nodes_await(struct nodes *n);
/* What its row says of a node's life, whoever asks: two looks some seconds apart tell whether it lives. */
struct node_signs {
    bool is_known;
    bool is_stopped; /* it said so */
    uuid boot;
    int64_t beats; /* grows while it lives */
};
WARN_UNUSED enum errc nodes_signs(struct store *store, const uuid *id, struct node_signs *out, err *e);
struct node_peer {
    uuid id, boot;
};
/* The others that are alive; returns their number, at most `most`. */
unsigned nodes_others(struct nodes *n, struct node_peer *out, unsigned most);

/* --- what a node tells of itself --- */

struct node_figures {
    int64_t snapshot_version, snapshot_number; /* of the log, up to which changes are in it */
    int64_t journal_bytes, journal_calls;      /* not drained yet */
    usec journal_oldest_us;                    /* when the oldest of them ended; NO_VALUE: there is none */
    int64_t leased_nanousd;
    int64_t streams; /* open event streams */
};
#define NODE_REPORTS_MAX 8
/* fill sets its members of the figures at each heartbeat, on its thread: quick, without I/O. Any time after nodes_new. */
void nodes_report(struct nodes *n, void (*fill)(void *ctx, struct node_figures *f), void *ctx);
/* Who knows what a node holds of budgets, whichever node it is: asked before it is forgotten, on any thread but a loop. At most one. */
void nodes_on_forget(struct nodes *n,
                     enum errc (*holds)(void *ctx, const uuid *node, int64_t *leased_nanousd, err *e),
                     void *ctx);
/* Before ctx goes: asks it once more and keeps what it said. Fine when it was never given. */
void nodes_report_end(struct nodes *n, void *ctx);

#endif
