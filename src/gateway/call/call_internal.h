/* call_internal.h - a call under way, as the files of this folder share it. Private to gateway/call.
 */
#ifndef GATEWAY_CALL_CALL_INTERNAL_H
#define GATEWAY_CALL_CALL_INTERNAL_H

#include "gateway/call/worst.h"
#include "gateway/internal.h"

struct call {
    struct gateway_loop *gl;
    struct snapshot_use *use;   /* what it is decided by, to its end */
    const struct key_secret *secret;
    struct call *next_open, **open_link; /* of all calls that are not recorded */
    struct http_conn *conn;     /* NULL when the client is gone */
    struct client_call client;
    struct arena arena;
    struct usage_record r;
    usec began_mono_us;
    const struct provider *provider;
    struct call_request request;
    struct observer observer;
    struct sse sse;
    struct buf answer;          /* an unstreamed answer that comes in several reads, for its usage */
    str piece;                  /* its bytes of the read in progress */
    struct buf body;            /* request body, while another thread scans it */
    struct buf fields;          /* request head, likewise */
    str query;
    uv_work_t *scan;
    err scan_error;
    enum http_coding answer_coding;
    bool is_sse, is_chunked, has_head, has_answer_overflow;
    bool is_recorded;           /* the record is in a batch, or written */
    bool is_held;               /* in a list of answers that wait for their record to be written */
    bool is_finished;           /* nothing more will be sent: finish when released */
    bool aborts;                /* break off instead of finishing when released */
    bool keeps_alive;
    bool is_paused;
    bool is_revoked;            /* its key went while another thread scanned the body */
    bool has_rates;             /* taken, and to be given back */
    bool has_start;             /* a START frame is written: the record keeps its number */
    int64_t estimated_tokens;   /* what its rates were charged */
    struct budget_hold hold;
    usec waits_since_us;        /* monotonic: parked for a lease; 0: never */
    bool is_kept;               /* body and fields are its own: it was parked */
    int64_t most_input, most_output; /* tokens that were reserved for */
    struct worst_case *worst;   /* read of the body when a hard budget holds; in the arena */
    int64_t lowered_to;         /* the output limit that was put in place of the client's; 0: it was left alone */
    str error_fields, error_details; /* of a refusal */
    uint64_t ticket;
    bool is_replied;            /* the connection has been told that the answer is finished */
    struct call_list *list;     /* the one it is in, or NULL */
    struct call *next, **link;
};

/* --- admit.c --- */

/* What another thread must find out first, by asking the database, leaves a call ADMISSION_WAITS: it is parked on its loop (call.c) with everything that it needs,
 * nothing taken but what has_rates and hold say, and is admitted again after gateway_leases_changed. It waits no longer than budgets.lease_wait_ms for its limits,
 * and so long again for its budgets; the client may leave meanwhile. Whoever lets a call wait wakes the thread that will answer, and decides at once when k->waits_since_us lies before the last
 * answer. */
enum admission { ADMISSION_GRANTED, ADMISSION_REFUSED, ADMISSION_WAITS };

/* Rates, then budgets: everything that may refuse a call that has its provider, before it is sent. Adds what must change in the body to *edit. With
 * ADMISSION_REFUSED *e is set and the call's refusal (fields and details) is filled in; *param is the offending member, if any. */
WARN_UNUSED enum admission call_admit(struct call *k, str body, const struct route_choice *choice, struct json_edit *edit, str *param, err *e);
/* Its cost, and what its budgets are charged; settles what was reserved and taken. */
void call_settle_money(struct call *k);
/* Header fields of its limits, and of a lowered output. */
void call_write_limit_fields(const struct call *k, struct buf *out);
/* Writes what is waiting for the journal; a failure lets all answers of this turn break off. */
WARN_UNUSED enum errc call_flush_journal(struct gateway_loop *gl, uint64_t *ticket, err *e);

#endif
