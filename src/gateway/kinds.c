#include "gateway/kinds.h"

#define CHAT DIALECT_BIT(DIALECT_CHAT)
#define RESPONSES DIALECT_BIT(DIALECT_RESPONSES)
#define EMBEDDINGS DIALECT_BIT(DIALECT_EMBEDDINGS)
#define MESSAGES (DIALECT_BIT(DIALECT_MESSAGES) | DIALECT_BIT(DIALECT_COUNT_TOKENS))

/* clang-format off */
static const struct provider_kind kinds[] = {
    {STR_LIT("openai"), "https://api.openai.com/v1", STR_LIT("openai"),
     STR_LIT("gpt-* chatgpt-* o1* o3* o4* o5* codex-* computer-use-* text-embedding-*"), CHAT | RESPONSES | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("anthropic"), "https://api.anthropic.com", STR_LIT("anthropic"), STR_LIT("claude-*"), MESSAGES, AUTH_X_API_KEY, false},
    {STR_LIT("azure"), NULL, STR_LIT("azure-openai"), STR_LIT(""), CHAT | RESPONSES | EMBEDDINGS, AUTH_API_KEY, false},
    {STR_LIT("gemini"), "https://generativelanguage.googleapis.com/v1beta/openai", STR_LIT("google"),
     STR_LIT("gemini-* models/gemini-* gemma-*"), CHAT | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("openrouter"), "https://openrouter.ai/api/v1", STR_LIT("openrouter"), STR_LIT(""), CHAT, AUTH_BEARER, false},
    {STR_LIT("ollama"), "http://127.0.0.1:11434/v1", STR_LIT(""), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, true},
    {STR_LIT("vllm"), "http://127.0.0.1:8000/v1", STR_LIT(""), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, true},
    {STR_LIT("llamacpp"), "http://127.0.0.1:8081/v1", STR_LIT(""), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, true},
    {STR_LIT("xai"), "https://api.x.ai/v1", STR_LIT("x-ai"), STR_LIT("grok-*"), CHAT | RESPONSES, AUTH_BEARER, false},
    {STR_LIT("mistral"), "https://api.mistral.ai/v1", STR_LIT("mistral-ai"),
     STR_LIT("mistral-* ministral-* codestral-* devstral-* magistral-* pixtral-* open-mistral-* open-mixtral-*"), CHAT | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("groq"), "https://api.groq.com/openai/v1", STR_LIT("groq"), STR_LIT(""), CHAT, AUTH_BEARER, false},
    {STR_LIT("deepseek"), "https://api.deepseek.com/v1", STR_LIT("deepseek"), STR_LIT("deepseek-*"), CHAT, AUTH_BEARER, false},
    {STR_LIT("together"), "https://api.together.xyz/v1", STR_LIT("together-ai"), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("fireworks"), "https://api.fireworks.ai/inference/v1", STR_LIT("fireworks-ai"), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("cerebras"), "https://api.cerebras.ai/v1", STR_LIT("cerebras"), STR_LIT(""), CHAT, AUTH_BEARER, false},
    {STR_LIT("moonshot"), "https://api.moonshot.ai/v1", STR_LIT("moonshot"), STR_LIT("kimi-* moonshot-*"), CHAT, AUTH_BEARER, false},
    {STR_LIT("deepinfra"), "https://api.deepinfra.com/v1/openai", STR_LIT("deepinfra"), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, false},
    {STR_LIT("compatible"), NULL, STR_LIT(""), STR_LIT(""), CHAT | EMBEDDINGS, AUTH_BEARER, false},
};
/* clang-format on */

const struct provider_kind *provider_kinds(unsigned *n)
{
    *n = LENGTH_OF(kinds);
    return kinds;
}

const struct provider_kind *provider_kind_find(str name)
{
    for (unsigned i = 0; i < LENGTH_OF(kinds); i++)
        if (str_eq(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

str provider_kind_names(void)
{
    return S("openai, anthropic, azure, gemini, openrouter, ollama, vllm, llamacpp, xai, mistral, groq, deepseek, together, "
             "fireworks, cerebras, moonshot, deepinfra, compatible");
}
