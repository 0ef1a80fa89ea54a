/* observe_internal.h - what the observers of the dialects share. Private to observe*.c.
 *
 * An event or a body is read in one json_scan into a plain "reading" and applied to the observer only when
 * the whole text was well-formed, so that half an object never leaves half a result.
 */
#ifndef GATEWAY_OBSERVE_INTERNAL_H
#define GATEWAY_OBSERVE_INTERNAL_H

#include "gateway/call/observe.h"
#include "json/scan.h"

/* No answer has more tokens; a larger number is a fault of the sender, and sums of such numbers could
 * overflow. */
#define TOKENS_MAX (INT64_C(1) << 40)

/* The numbers of an OpenAI usage object (chat and responses name them differently); -1 = not there. */
struct openai_usage {
    int64_t input, output, total, cached, cache_write, reasoning;
};
#define OPENAI_USAGE_NONE ((struct openai_usage){-1, -1, -1, -1, -1, -1})

/* A token count, or -1 when the value is no whole number from 0 to TOKENS_MAX. */
int64_t token_count(const struct json_value *v);
/* Whether an "error" member tells of an error: null, false and the empty string do not. */
bool tells_error(const struct json_value *v);
/* Replaces the observer's tokens by a report, when it has any number. */
void observer_report(struct observer *o, const struct openai_usage *u);
/* Compiles a query of our own; the paths are constants, so it cannot fail. */
void query_compile(struct json_query *q, const struct json_path *paths, unsigned n);

/* Compile the dialect's queries; each called once. */
void observe_chat_init(void);
void observe_responses_init(void);
void observe_messages_init(void);

enum event_verdict observe_chat_event(struct observer *o, const struct sse_event *event);
enum event_verdict observe_responses_event(struct observer *o, const struct sse_event *event);
enum event_verdict observe_messages_event(struct observer *o, const struct sse_event *event);
/* Return false when the body is not well-formed. */
bool observe_chat_body(struct observer *o, str body);
bool observe_responses_body(struct observer *o, str body);
bool observe_messages_body(struct observer *o, str body);

#endif
