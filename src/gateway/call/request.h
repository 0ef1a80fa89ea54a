/* request.h - what the gateway must know of a request body before it forwards it, and the few members it
 * edits on the way.
 *
 * One scan over the body finds the members that decide (model, stream, the output limit), labels (session,
 * task) and measures the text that a model will read, for estimates. Everything else is the provider's
 * business and passes as it is.
 * Members that decide may stand only once: two parsers could choose differently.
 * Slices point into the body, which must outlive them, or into the arena.
 * Sources: OpenAI API reference (chat completions, responses, embeddings), Anthropic API reference (messages).
 * Threads: any; a call_request has one owner.
 * Errors: ERR_SYNTAX and ERR_INVALID with the byte offset and what would be right, ERR_TOO_LARGE when the
 * arena is full.
 */
#ifndef GATEWAY_REQUEST_H
#define GATEWAY_REQUEST_H

#include "gateway/usage.h"
#include "json/edit.h"

#define REQUEST_MODEL_MAX 256   /* bytes of a model's name */
#define REQUEST_LABEL_MAX 128   /* bytes of session and task; longer ones are cut */
#define REQUEST_ITEM_BYTES 4000 /* an image or a file counts as so much text: 1,000 tokens of 4 bytes */
#define REQUEST_TOKEN_BYTES 4   /* a token id in the input of embeddings */

struct call_request {
    enum dialect dialect;
    /* As they stand in the body; type JSON_NONE when absent. max_tokens is whichever spelling the dialect has
     * (max_completion_tokens goes before max_tokens, max_output_tokens). */
    struct json_value root, model, stream, stream_options, include_usage, max_tokens;
    str model_name;            /* decoded */
    int64_t max_output_tokens; /* the number in max_tokens, or -1 */
    bool is_streamed;          /* the answer will be an event stream; never for embeddings and count_tokens */
    bool wants_usage;          /* the client itself asked for the usage chunk */
    str session, task;         /* decoded, at most REQUEST_LABEL_MAX bytes, empty when absent */
    uint64_t text_bytes;       /* decoded bytes of text that a model reads, images and files at a flat rate */
    str bad_member; /* after ERR_INVALID: the member that is wrong, for the error's param; may be empty */
};

/* Fills *out; on error only bad_member is meaningful. The queries are compiled once per process, on first
 * use. */
WARN_UNUSED enum errc call_request_scan(struct arena *a, enum dialect d, str body, struct call_request *out,
                                        err *e);

/* Begins *edit on the body and collects what must change: the model's name becomes `model` (when that is not
 * empty and not the same already), and with ask_usage a streamed chat asks for the usage chunk. No edits
 * means that the body can be forwarded as it is. */
WARN_UNUSED enum errc call_request_edit(const struct call_request *r, struct arena *a, str body, str model,
                                        bool ask_usage, struct json_edit *edit, err *e);

#endif
