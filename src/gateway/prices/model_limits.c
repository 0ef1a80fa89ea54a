/* What models take and give at most, by name. The context only ever lowers the bound of what a call's input can cost, so each row is the largest of
 * its family; the longest answer is put into calls under a hard budget that name none. Rows of `prices` (context, max_output) override both.
 * Sources: the providers' model pages. */
#include "gateway/prices.h"

/* clang-format off */
static const struct {
    str glob;
    struct model_limits limits;
} rows[] = {
    {STR_LIT("gpt-5*"), {1100000, 128000}},
    {STR_LIT("gpt-4.1*"), {1047576, 32768}},
    {STR_LIT("gpt-4o*"), {128000, 16384}},
    {STR_LIT("chatgpt-4o*"), {128000, 16384}},
    {STR_LIT("gpt-4-turbo*"), {128000, 4096}},
    {STR_LIT("gpt-4-1106*"), {128000, 4096}},
    {STR_LIT("gpt-4-0125*"), {128000, 4096}},
    {STR_LIT("gpt-4-32k*"), {32768, 32768}},
    {STR_LIT("gpt-4"), {8192, 8192}},
    {STR_LIT("gpt-4-0613"), {8192, 8192}},
    {STR_LIT("gpt-3.5-turbo*"), {16385, 4096}},
    {STR_LIT("gpt-oss*"), {131072, 131072}},
    {STR_LIT("o1-mini*"), {128000, 65536}},
    {STR_LIT("o1*"), {200000, 100000}},
    {STR_LIT("o3*"), {200000, 100000}},
    {STR_LIT("o4*"), {200000, 100000}},
    {STR_LIT("codex-mini*"), {200000, 100000}},
    {STR_LIT("claude-3-5*"), {200000, 8192}},
    {STR_LIT("claude-3-7*"), {200000, 64000}},
    {STR_LIT("claude-3-*"), {200000, 4096}},
    {STR_LIT("claude-2*"), {200000, 4096}},
    {STR_LIT("claude-opus-4-1*"), {200000, 32000}},
    {STR_LIT("claude-opus-4-2025*"), {200000, 32000}},
    {STR_LIT("claude-opus-4-0*"), {200000, 32000}},
    {STR_LIT("claude-haiku-4*"), {200000, 64000}},
    {STR_LIT("claude-*"), {1000000, 64000}},
    {STR_LIT("gemini-1.5-pro*"), {2097152, 8192}},
    {STR_LIT("gemini-1.5*"), {1048576, 8192}},
    {STR_LIT("gemini-2.0*"), {1048576, 8192}},
    {STR_LIT("gemini-*"), {2097152, 65536}},
    {STR_LIT("grok-4*"), {2000000, MODEL_OUTPUT_DEFAULT}},
    {STR_LIT("grok-3*"), {131072, MODEL_OUTPUT_DEFAULT}},
    {STR_LIT("deepseek-chat"), {131072, 8192}},
    {STR_LIT("deepseek-reasoner"), {131072, 64000}},
    {STR_LIT("kimi-*"), {262144, MODEL_OUTPUT_DEFAULT}},
};
/* clang-format on */

struct model_limits price_model_limits(const struct price *p, str model)
{
    struct model_limits found = {0, MODEL_OUTPUT_DEFAULT};
    /* "openai/gpt-4o" of a reseller, "models/gemini-2.5-pro". */
    for (ptrdiff_t slash; (slash = str_chr(model, '/')) >= 0;)
        model = str_skip(model, (size_t)slash + 1);
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        if (str_glob(rows[i].glob, model)) {
            found = rows[i].limits;
            break;
        }
    if (p->pico[PRICE_CONTEXT] > 0)
        found.context = p->pico[PRICE_CONTEXT];
    if (p->pico[PRICE_MAX_OUTPUT] > 0)
        found.max_output = p->pico[PRICE_MAX_OUTPUT];
    return found;
}
