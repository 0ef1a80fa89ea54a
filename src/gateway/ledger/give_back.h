/* give_back.h - what a node that does not come back still holds, and what is known of its life: for `catalyst journal import`.
 *
 * Threads: any but loops.
 */
#ifndef GATEWAY_LEDGER_GIVE_BACK_H
#define GATEWAY_LEDGER_GIVE_BACK_H

#include "store/store.h"

struct node_signs {
    bool is_known;   /* it has a row in nodes */
    bool is_stopped; /* it said so */
    uuid boot;
    int64_t beats;   /* grows while it lives */
};
WARN_UNUSED enum errc node_signs_read(struct store *s, const uint8_t node[16], struct node_signs *out, err *e);

struct given_back {
    int64_t leased_nanousd; /* of budgets: neither spent nor lent any more */
    int64_t parallel;       /* places for parallel calls */
};
/* After everything that it had in its journal is in the database. node_no: in usage_nodes. */
WARN_UNUSED enum errc leases_give_back(struct store *s, int64_t node_no, struct given_back *out, err *e);
/* What it holds of budgets now: 0 for one that is not known. */
WARN_UNUSED enum errc leases_held(struct store *s, const uuid *node, int64_t *leased_nanousd, err *e);

#endif
