/* kinds.h - what is known about each kind of provider, so that a configuration needs little more than a key.
 *
 * Threads: constant. Source: the providers' API references.
 */
#ifndef GATEWAY_KINDS_H
#define GATEWAY_KINDS_H

#include "gateway/usage.h"

enum auth_style {
    AUTH_BEARER,    /* Authorization: Bearer KEY */
    AUTH_X_API_KEY, /* x-api-key: KEY (Anthropic) */
    AUTH_API_KEY,   /* api-key: KEY (Azure) */
};

struct provider_kind {
    str name;
    const char *base_url;  /* NULL: must be configured */
    str price_source;      /* its name in the price list; empty: none */
    str models;            /* default globs, separated by spaces; empty: it may serve anything */
    unsigned dialects;     /* default, bit set of 1 << enum dialect */
    enum auth_style auth;
    bool is_local;         /* runs on one's own machine: costs are 0, not unknown */
};

#define DIALECT_BIT(d) (1u << (unsigned)(d))

/* All of them. */
const struct provider_kind *provider_kinds(unsigned *n);
/* The names of all kinds, as field tables want choices. */
#define PROVIDER_KIND_CHOICES                                                                                                          \
    "openai|anthropic|azure|gemini|openrouter|ollama|vllm|llamacpp|xai|mistral|groq|deepseek|together|fireworks|cerebras|moonshot|" \
    "deepinfra|compatible"

/* NULL when there is no such kind. */
const struct provider_kind *provider_kind_find(str name);
/* All kinds, for messages: "openai, anthropic, ...". */
str provider_kind_names(void);

#endif
