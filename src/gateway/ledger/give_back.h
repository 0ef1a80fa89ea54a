/* give_back.h - what a node holds of budgets and limits, and giving it back: at its start and end, and for one that does not come back.
 *
 * Threads: any but loops.
 */
#ifndef GATEWAY_LEDGER_GIVE_BACK_H
#define GATEWAY_LEDGER_GIVE_BACK_H

#include "store/store.h"

struct given_back {
    int64_t leased_nanousd; /* of budgets: neither spent nor lent any more */
    int64_t parallel;       /* places for parallel calls */
};
/* After everything that it had in its journal is in the database. node_no: in usage_nodes. */
WARN_UNUSED enum errc leases_give_back(struct store *s, int64_t node_no, struct given_back *out, err *e);
/* What it holds of budgets now: 0 for one that is not known. */
WARN_UNUSED enum errc leases_held(struct store *s, const uuid *node, int64_t *leased_nanousd, err *e);

#endif
