/* usage.h - what one call consumed: tokens by kind, its record, and the money.
 *
 * Token kinds are disjoint in a record, whatever the dialect reports (OpenAI's prompt_tokens include
 * cached ones, Anthropic's input_tokens do not):
 *   input        fresh input tokens
 *   cache_read   input tokens read from the provider's prompt cache
 *   cache_write  input tokens written to it with the short life (5 minutes)
 *   cache_write_1h  the same with the long life (1 hour)
 *   output       all output tokens, reasoning included
 *   reasoning    of output: tokens the provider says went into reasoning (informational, not priced again)
 * Threads: plain values.
 */
#ifndef GATEWAY_USAGE_H
#define GATEWAY_USAGE_H

#include "base/clock.h"
#include "base/random.h"

enum dialect {
    DIALECT_CHAT,
    DIALECT_RESPONSES,
    DIALECT_MESSAGES,
    DIALECT_EMBEDDINGS,
    DIALECT_COUNT_TOKENS,
    DIALECTS
};

struct token_usage {
    int64_t input, cache_read, cache_write, cache_write_1h, output, reasoning;
};

/* How a call ended. Written to the journal: values never change. */
enum call_outcome {
    CALL_COMPLETED = 0,       /* the provider's answer was passed on to its end, its errors included (see status) */
    CALL_CANCELLED = 1,       /* the client went away */
    CALL_CUT = 2,             /* the provider's answer broke off, or a time limit ended it */
    CALL_UPSTREAM_FAILED = 3, /* no answer: connect, TLS, reset or time-out before the head */
    CALL_REFUSED = 4,         /* refused by Catalyst before it went upstream, after a key was accepted */
};

#define COST_UNKNOWN INT64_MIN

/* One call, as the journal keeps it. Text fields are cut to USAGE_TEXT_MAX bytes (on a UTF-8 boundary)
 * when written. */
#define USAGE_TEXT_MAX 256
struct usage_record {
    uint64_t boot, n;          /* with the segment's node id: unique. n = loop << 48 | sequence. Set by the journal */
    uuid request_id;           /* answered as x-catalyst-request-id */
    usec started_us;           /* wall clock when the request head had arrived */
    enum dialect dialect;
    enum call_outcome outcome;
    bool is_streamed;
    bool is_estimated;         /* tokens were not reported and are estimated from what passed */
    uint16_t status;           /* as answered to the client; 0 when the client was gone before an answer */
    /* durations since started_us in microseconds; -1 when the phase was not reached */
    int64_t sent_us;           /* the request had been written to the provider */
    int64_t connect_us;        /* time spent connecting (0 when a pooled connection was used) */
    int64_t head_us;           /* the provider's response head had arrived */
    int64_t first_us;          /* first body byte or event */
    int64_t total_us;          /* the end */
    uint64_t bytes_in, bytes_out; /* body bytes from the client / to the client */
    struct token_usage tokens;
    int64_t cost_nanousd;      /* COST_UNKNOWN when the model has no price */
    uint8_t key_id[16];        /* first 16 bytes of SHA-256 of the key's (first) text */
    uuid workspace_id, project_id, user_id; /* what the key belongs and is bound to; nil: none */
    int64_t charged_nanousd;   /* what budgets are charged: the cost, or for an unknown one what their caps make of it */
    uint64_t snapshot;         /* version of the snapshot that decided, in this boot */
    str key, project, user, task, session, tags; /* names and labels, empty when absent */
    str provider, model, model_asked; /* model: as sent to the provider; model_asked: as the client named it */
    str error;                 /* machine name when something failed, else empty */
    str trace_id;              /* W3C trace id, 32 hex digits, empty when absent */
};

/* "chat", "responses", "messages", "embeddings", "count_tokens" */
const char *dialect_name(enum dialect d);
WARN_UNUSED bool dialect_parse(str name, enum dialect *out);
/* "completed", "cancelled", "cut", "upstream_failed", "refused" */
const char *outcome_name(enum call_outcome o);

#endif
