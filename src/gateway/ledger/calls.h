/* calls.h - calls read back from the usage database.
 *
 * Threads: any but loops.
 */
#ifndef GATEWAY_LEDGER_CALLS_H
#define GATEWAY_LEDGER_CALLS_H

#include "gateway/journal/journal.h"
#include "store/store.h"

/* The columns of a call, its request id first; for statements of this folder and of admin/. */
#define CALL_COLUMNS                                                                                                                         \
    "request_id, boot, n, workspace_id, started_us, dialect, outcome, is_streamed, is_estimated, status, sent_us, connect_us, head_us, "     \
    "first_us, total_us, bytes_in, bytes_out, input, cache_read, cache_write, cache_write_1h, output, reasoning, cost_nanousd, "             \
    "charged_nanousd, key_id, key_name, project_id, project, user_id, user_label, task, session, tags, provider, model, model_asked, error, " \
    "trace_id, node"
#define CALL_NODE_COLUMN 39u /* its number in usage_nodes */
/* Texts are those of the row. */
void call_from_row(const struct val *row, struct usage_record *out);

/* The smallest id of a request at this time: ids are in the order of time, to the millisecond. */
uuid request_id_from(usec at_us);

/* --- all of them, for the command line --- */

enum call_verdict {
    CALLS_GO_ON,
    CALLS_ENOUGH, /* of this workspace: those that follow began earlier */
    CALLS_STOP,
};
typedef enum call_verdict (*call_fn)(void *ctx, const uint8_t node[16], const struct usage_record *r);

/* Every call that began in [since, until), once, whatever is drained meanwhile: what stands in the journal beyond the database, then the database, newest first
 * in each workspace. s NULL: the journal alone; rd NULL: there is none. rd has not been read yet, and goes on afterwards with what is new. */
WARN_UNUSED enum errc calls_all(struct store *s, struct journal_reader *rd, usec since_us, usec until_us, call_fn fn, void *ctx,
                                uint64_t *n_damaged, err *e);

#endif
