/* observe.h - reads usage out of answers as they pass, per dialect, without changing them; and estimates it when the provider reports none.
 *
 * An observer is fed either the whole JSON body of an answer or each event of a stream. It never fails: what it cannot read it leaves out
 * (unknown means ignore in the middle). The event verdict tells the gateway what to do with the bytes.
 * Sources: OpenAI API reference (chat completions, responses, embeddings), Anthropic API reference (messages, streaming).
 * Threads: one owner.
 */
#ifndef GATEWAY_OBSERVE_H
#define GATEWAY_OBSERVE_H

#include "gateway/usage.h"
#include "net/sse.h"

struct observer {
    enum dialect dialect;
    bool hides_usage_chunk; /* chat: we asked for include_usage, the client did not: remove the extra chunk; see observe.c for the usage:null members of the others */
    bool has_usage;         /* the provider reported usage (final) */
    bool has_partial_usage; /* messages: message_start came, message_delta not yet */
    bool is_ended;          /* the terminal event passed */
    bool has_error;         /* an error event or an error body passed */
    struct token_usage tokens;
    uint64_t text_bytes;    /* bytes of generated text, tool arguments and reasoning that passed */
};

enum event_verdict {
    EVENT_PASS,
    EVENT_DROP,      /* do not send it to the client */
    EVENT_LAST,      /* tells the client that the answer ended: hold it until the record is written */
};

void observer_init(struct observer *o, enum dialect d, bool hides_usage_chunk);
enum event_verdict observe_event(struct observer *o, const struct sse_event *event);
void observe_body(struct observer *o, str json_body);
/* Usage for the record: what was reported; completed by estimates (bytes / 4, rounded up) where it was not. input_text_bytes = bytes of text in the request.
 * Returns whether anything was estimated. An answer with has_error and without usage costs nothing and is not an estimate. */
bool observer_usage(const struct observer *o, uint64_t input_text_bytes, struct token_usage *out);

/* The dialect's error, as a body and as a stream event. */
struct dialect_error {
    int status;
    const char *code;  /* machine name, errc_name */
    str message;
    str param;         /* the offending member, may be empty */
    str request_id;
};
void dialect_error_body(enum dialect d, const struct dialect_error *x, struct buf *out);
void dialect_error_event(enum dialect d, const struct dialect_error *x, struct buf *out);

#endif
