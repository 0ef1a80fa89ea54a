/* observe.h - reads usage out of answers as they pass, per dialect, without changing them; and estimates it
 * when the provider reports none.
 *
 * An observer is fed either the whole JSON body of an answer or each event of a stream. It never fails: what
 * it cannot read it leaves out (unknown means ignore in the middle). The event verdict tells the gateway what
 * to do with the bytes; they are passed, dropped or held, never changed.
 * The queries are compiled once per process, on first use.
 * Sources: OpenAI API reference (chat completions, responses, embeddings), Anthropic API reference (messages,
 * streaming).
 * Threads: one owner per observer; any number of observers in parallel.
 */
#ifndef GATEWAY_OBSERVE_H
#define GATEWAY_OBSERVE_H

#include "gateway/usage.h"
#include "net/sse.h"

#define ESTIMATE_BYTES_PER_TOKEN 4 /* until there is a tokenizer */

struct observer {
    enum dialect dialect;
    /* chat: we asked for include_usage, the client did not: the extra chunk is dropped. The other chunks then
     * carry "usage":null, which they would not have without our asking: clients accept the member, so those
     * bytes stay. */
    bool hides_usage_chunk;
    bool has_usage;         /* the provider reported usage (final) */
    bool has_partial_usage; /* messages: message_start came, message_delta not yet */
    /* A finish_reason (chat) or stop_reason (messages) passed: a body that ends cleanly after it is complete
     * even without the terminal event, which some compatible servers leave out. */
    bool has_finish;
    bool is_ended;  /* the terminal event passed, or a whole body that is JSON */
    bool has_error; /* an error event or an error body passed */
    struct token_usage tokens;
    uint64_t text_bytes; /* bytes of generated text, tool arguments and reasoning that passed */
    /* text_bytes when output tokens were last reported: what passed later is not in them */
    uint64_t reported_at;
    /* messages: cache_creation_input_tokens and its parts by life, as last reported; -1 = not yet */
    int64_t cache_creation, cache_creation_5m, cache_creation_1h;
};

enum event_verdict {
    EVENT_PASS,
    EVENT_DROP, /* do not send it to the client */
    EVENT_LAST, /* tells the client that the answer ended: hold it until the record is written */
};

void observer_init(struct observer *o, enum dialect d, bool hides_usage_chunk);
enum event_verdict observe_event(struct observer *o, const struct sse_event *event);
/* A body that breaks off inside its JSON counts as text that passed, for the estimate. */
void observe_body(struct observer *o, str json_body);
/* Usage for the record: what was reported; completed by estimates (bytes / 4, rounded up) where it was not: a
 * kind that was not reported or reported as 0 though text passed, or text that passed after the last report.
 * input_text_bytes = bytes of text in the request. Returns whether anything was estimated. An answer with
 * has_error, without usage and without generated text costs nothing and is not an estimate; neither is
 * count_tokens. */
bool observer_usage(const struct observer *o, uint64_t input_text_bytes, struct token_usage *out);

/* The dialect's error, as a body and as a stream event. */
struct dialect_error {
    int status;
    const char *code; /* machine name, errc_name */
    str message;
    str param; /* the offending member, may be empty */
    str request_id;
    str details; /* a member "budget" for the error object, as JSON; may be empty */
    str fields;  /* further header fields, complete lines; may be empty */
};
void dialect_error_body(enum dialect d, const struct dialect_error *x, struct buf *out);
void dialect_error_event(enum dialect d, const struct dialect_error *x, struct buf *out);

#endif
