/* worst.h - the most that a call can cost: what is reserved for it under a hard budget.
 *
 * Input. No tokenizer makes more tokens than bytes, so the bytes of the body are a bound; images count by a maximum each and not by their bytes. What the
 * body only refers to (files, stored responses, tools that the provider runs) is bounded by the model's context, and so is everything else. Where
 * the same conversation was seen before and its turns are unchanged, what the provider reported then plus the bytes that are new is a
 * better bound: an agent's growing conversation is reserved for at nearly what it costs.
 * Output. The limit that the call names, in any spelling, times the choices that it asks for. Where it names none, the model's longest answer is put in; it can
 * be lowered to what a budget has left.
 * Conversations are known by hashes of their turns under a key of this process, per virtual key, provider and model, and are forgotten in time; cache breakpoints,
 * which agents move along, do not count as changes.
 * Threads: a worst_case has one owner; struct conversations is for any thread.
 * Source: RFC 8259; OpenAI and Anthropic API references (members of requests, sizes of images).
 */
#ifndef GATEWAY_CALL_WORST_H
#define GATEWAY_CALL_WORST_H

#include "base/arena.h"
#include "gateway/prices.h"
#include "json/edit.h"

#define WORST_PIECES 8   /* parts of the body beside the turns: tools, and pieces of the system prompt */
#define WORST_TURNS 256  /* ends of turns that are remembered while the body is read */
#define WORST_LIMITS 2   /* spellings of the output limit in one body */

struct worst_turn {
    uint64_t hash;                /* of all turns up to the end of this one */
    uint64_t bytes;               /* of them, without images */
    uint32_t n_images;
    uint32_t n_documents;         /* things that only the context bounds */
};

struct worst_case {
    enum dialect dialect;
    uint64_t text_bytes;                    /* of the body, without images */
    struct json_value root;
    struct json_value limits[WORST_LIMITS]; /* the members that limit the output; type JSON_NONE: not there */
    int64_t output_asked;                   /* the largest of them; -1: none */
    int64_t choices;                        /* answers that are asked for: 1 or more */
    int64_t thinking_tokens;                /* thinking.budget_tokens: the output limit must be above it; 0: none */
    bool is_open_ended;                     /* refers to what is not in the body */
    bool writes_cache, writes_cache_1h;     /* asks for cache breakpoints, which may be dearer than plain input */
    str bad_member;                         /* after ERR_INVALID */
    /* the conversation */
    uint64_t seed;                          /* what it belongs to: set by the caller, see conversation_seed */
    struct worst_turn *turns;               /* the last WORST_TURNS, as a ring; in the arena */
    unsigned n_turns;                       /* in all */
    struct worst_turn now;                  /* after the last turn */
    uint64_t pieces[WORST_PIECES];          /* hashes */
    uint64_t piece_bytes[WORST_PIECES];
    unsigned n_pieces;
};

/* Reads a body that call_request_scan has taken. ERR_INVALID (with bad_member) for an output limit or a number of choices that is no whole number above 0: a
 * provider might read it as something. */
WARN_UNUSED enum errc worst_case_scan(struct arena *a, enum dialect d, str body, struct worst_case *out, err *e);
/* Of the virtual key, the provider and the model. */
uint64_t conversation_seed(const uint8_t key_id[16], str provider, str model);

/* --- conversations --- */

struct conversations;
struct conversations *conversations_new(void); /* NULL when out of memory */
void conversations_free(struct conversations *c);
/* The provider has reported so many input tokens (all kinds) for this body. */
void conversation_learn(struct conversations *c, const struct worst_case *w, int64_t input_tokens);

/* The bound of the input's tokens. */
int64_t worst_input_tokens(struct conversations *c, const struct worst_case *w, str model, const struct model_limits *limits);
/* What one input token can cost at most, and one output token; false when a price that is needed is unknown. */
WARN_UNUSED bool worst_prices(const struct worst_case *w, const struct price *p, int64_t *input_pico, int64_t *output_pico);
/* Sets the output limit to `tokens`: replaces every spelling that asks for more, or adds the one that the provider understands. */
WARN_UNUSED enum errc worst_case_limit(const struct worst_case *w, struct json_edit *edit, struct arena *a, int64_t tokens, bool is_openai, err *e);

#endif
