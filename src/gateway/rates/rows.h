/* rows.h - the limits that several nodes share, in the usage database: the exchange of a rate pool.
 *
 * One unit for all buckets of a turn, READ COMMITTED with the rows locked in order, so that no two nodes make each other run again; it does not wait for the disk: a
 * row that is lost in a crash costs seconds of a limit. Times of buckets are wall time, by the clock of each node.
 * Threads: one.
 */
#ifndef GATEWAY_RATES_ROWS_H
#define GATEWAY_RATES_ROWS_H

#include "gateway/rates/pool.h"
#include "store/store.h"

struct rate_rows;
/* node_no: in usage_nodes. Places that an earlier start of this node held are given back with the first exchange. A node whose rows do not move for away_ms does not
 * count. */
WARN_UNUSED enum errc rate_rows_new(struct rate_rows **out, struct store *store, int64_t node_no, unsigned away_ms, err *e);
void rate_rows_free(struct rate_rows *r); /* NULL is fine */
WARN_UNUSED enum errc rate_rows_exchange(struct rate_rows *r, struct rate_exchange *x, err *e);

#endif
