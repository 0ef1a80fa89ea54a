#include "gateway/call/worst.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/map.h"

/* What providers put around a request: their own words for tools and for the start of each turn. */
#define HIDDEN_TOKENS 1024
#define HIDDEN_TOKENS_OF_TURNS 64
/* Images: 1,600 tokens at most (4,784 for the newest models) at Anthropic; 768 by 2,048 pixels are 1,105 tokens of gpt-4o, 10,000 leave room for others; gpt-4o-mini
 * counts 2,833 + 8 * 5,667. */
#define IMAGE_TOKENS_ANTHROPIC 5000
#define IMAGE_TOKENS 10000
#define IMAGE_TOKENS_4O_MINI 50000
#define CONTEXT_UNKNOWN 2000000
#define CUTS_MAX 8
#define TOKENS_LIMIT (INT64_C(1) << 40)

enum part {
    PART_LIMIT_0, /* the first spelling */
    PART_LIMIT_1,
    PART_CHOICES,
    PART_THINKING,
    PART_OPEN_ENDED, /* there, and not null: refers to what is elsewhere */
    PART_PIECE,      /* a string or another whole value that the model reads */
    PART_SYSTEM,     /* the same when it is no array */
    PART_TOOL_TYPE,
    PART_TURN,
    PART_TURN_TYPE,
    PART_CONTENT,
    PART_BLOCK,
    PART_BLOCK_TYPE,
    PART_BLOCK_TEXT,
    PART_CACHE,
    PART_SOURCE_TYPE,
    PART_INNER_BLOCK,
    PART_INNER_TYPE,
    PART_INNER_SOURCE_TYPE,
};

struct rule {
    struct json_path path;
    enum part part;
};
#define RULE(path_, part_) {{STR_LIT(path_), false}, part_}
#define DECIDES(path_, part_) {{STR_LIT(path_), true}, part_}

static const struct rule chat_rules[] = {
    DECIDES("max_completion_tokens", PART_LIMIT_0),
    DECIDES("max_tokens", PART_LIMIT_1),
    DECIDES("n", PART_CHOICES),
    RULE("web_search_options", PART_OPEN_ENDED),
    RULE("tools", PART_PIECE),
    RULE("tools[].type", PART_TOOL_TYPE),
    RULE("functions", PART_PIECE),
    RULE("messages[]", PART_TURN),
    RULE("messages[].content[]", PART_BLOCK),
    RULE("messages[].content[].type", PART_BLOCK_TYPE),
};
static const struct rule responses_rules[] = {
    DECIDES("max_output_tokens", PART_LIMIT_0),
    RULE("previous_response_id", PART_OPEN_ENDED),
    RULE("conversation", PART_OPEN_ENDED),
    RULE("prompt", PART_OPEN_ENDED),
    RULE("instructions", PART_PIECE),
    RULE("tools", PART_PIECE),
    RULE("tools[].type", PART_TOOL_TYPE),
    RULE("input[]", PART_TURN),
    RULE("input[].type", PART_TURN_TYPE),
    RULE("input[].content[]", PART_BLOCK),
    RULE("input[].content[].type", PART_BLOCK_TYPE),
    RULE("input[].output[]", PART_INNER_BLOCK),
    RULE("input[].output[].type", PART_INNER_TYPE),
};
static const struct rule messages_rules[] = {
    DECIDES("max_tokens", PART_LIMIT_0),
    DECIDES("thinking.budget_tokens", PART_THINKING),
    RULE("container", PART_OPEN_ENDED),
    RULE("mcp_servers", PART_OPEN_ENDED),
    RULE("system", PART_SYSTEM),
    RULE("system[]", PART_PIECE),
    RULE("tools", PART_PIECE),
    RULE("tools[].type", PART_TOOL_TYPE),
    RULE("messages[]", PART_TURN),
    RULE("messages[].content", PART_CONTENT),
    RULE("messages[].content[]", PART_BLOCK),
    RULE("messages[].content[].type", PART_BLOCK_TYPE),
    RULE("messages[].content[].text", PART_BLOCK_TEXT),
    RULE("messages[].content[].cache_control", PART_CACHE),
    RULE("messages[].content[].source.type", PART_SOURCE_TYPE),
    RULE("messages[].content[].content[]", PART_INNER_BLOCK),
    RULE("messages[].content[].content[].type", PART_INNER_TYPE),
    RULE("messages[].content[].content[].source.type", PART_INNER_SOURCE_TYPE),
};
/* Nothing but its bytes matters. */
static const struct rule embeddings_rules[] = {RULE("model", PART_BLOCK_TEXT)};

struct rule_set {
    const struct rule *rules;
    unsigned n;
};
static const struct rule_set rule_sets[DIALECTS] = {
    [DIALECT_CHAT] = {chat_rules, LENGTH_OF(chat_rules)},
    [DIALECT_RESPONSES] = {responses_rules, LENGTH_OF(responses_rules)},
    [DIALECT_MESSAGES] = {messages_rules, LENGTH_OF(messages_rules)},
    [DIALECT_EMBEDDINGS] = {embeddings_rules, LENGTH_OF(embeddings_rules)},
    [DIALECT_COUNT_TOKENS] = {embeddings_rules, LENGTH_OF(embeddings_rules)},
};

/* Written under queries_once and never again. */
static pthread_once_t queries_once = PTHREAD_ONCE_INIT;
static struct json_query queries[DIALECTS];

static void queries_init(void)
{
    for (unsigned d = 0; d < DIALECTS; d++) {
        struct json_path paths[JSON_QUERY_PATHS];
        for (unsigned i = 0; i < rule_sets[d].n; i++)
            paths[i] = rule_sets[d].rules[i].path;
        enum errc code = json_query_init(&queries[d], paths, rule_sets[d].n, NULL);
        assert(code == ERR_NONE);
        (void)code;
    }
}

/* --- reading --- */

enum block_kind { BLOCK_TEXT, BLOCK_IMAGE, BLOCK_DOCUMENT, BLOCK_SMALL_DOCUMENT /* its text stands in it */ };

struct cut {
    size_t from, to; /* in the text */
};

struct reading {
    struct worst_case *out;
    const struct rule *rules;
    str text;
    struct json_value choices, thinking;
    /* of the turn that is being read */
    enum block_kind block, inner;
    bool is_inline, is_inner_inline; /* a source whose text stands in the body */
    struct json_value content, block_text, last_block;
    bool has_text_type, has_cut_block;
    struct cut cuts[CUTS_MAX];
    unsigned n_cuts;
    bool is_over; /* more cuts than that: the turn is hashed as it is */
    uint64_t image_bytes;
    uint32_t n_images;
    uint32_t n_documents;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t both[2] = {a, b};
    return hash_bytes(str_of((const char *)both, sizeof both));
}

static bool is_there(const struct json_value *v) { return v->type != JSON_NONE && v->type != JSON_NULL; }

static enum block_kind block_kind_of(const struct json_value *type)
{
    if (json_string_is(type, S("image")) || json_string_is(type, S("image_url")) || json_string_is(type, S("input_image")) ||
        json_string_is(type, S("computer_screenshot")))
        return BLOCK_IMAGE;
    if (json_string_is(type, S("document")) || json_string_is(type, S("file")) || json_string_is(type, S("input_file")) ||
        json_string_is(type, S("video_url")) || json_string_is(type, S("container_upload")))
        return BLOCK_DOCUMENT;
    return BLOCK_TEXT;
}

/* Tools that the client runs: their results come in a later request. All others may read without end. */
static bool is_client_tool(const struct json_value *type)
{
    static const str globs[] = {STR_LIT("function"),      STR_LIT("custom"),  STR_LIT("bash_*"),      STR_LIT("text_editor_*"),
                                STR_LIT("computer*"),     STR_LIT("memory_*"), STR_LIT("local_shell"), STR_LIT("shell"),
                                STR_LIT("apply_patch")};
    if (type->type != JSON_STRING || type->raw.len < 2)
        return type->type == JSON_NULL;
    str name = str_of(type->raw.p + 1, type->raw.len - 2);
    for (size_t i = 0; i < LENGTH_OF(globs); i++)
        if (str_glob(globs[i], name))
            return true;
    return false;
}

static void add_piece(struct worst_case *w, const struct json_value *v)
{
    if (!is_there(v))
        return;
    uint64_t hash = hash_bytes(v->raw);
    if (w->n_pieces < WORST_PIECES) {
        w->pieces[w->n_pieces] = hash;
        w->piece_bytes[w->n_pieces++] = v->raw.len;
    } else { /* the last one is of all that follow */
        w->pieces[WORST_PIECES - 1] = mix(w->pieces[WORST_PIECES - 1], hash);
        w->piece_bytes[WORST_PIECES - 1] += v->raw.len;
    }
}

static size_t skip_back(str text, size_t at)
{
    while (at > 0 && (text.p[at - 1] == ' ' || text.p[at - 1] == '\t' || text.p[at - 1] == '\n' || text.p[at - 1] == '\r'))
        at--;
    return at;
}

static size_t skip_on(str text, size_t at)
{
    while (at < text.len && (text.p[at] == ' ' || text.p[at] == '\t' || text.p[at] == '\n' || text.p[at] == '\r'))
        at++;
    return at;
}

/* The member of this value with its name and one comma: what is left is the object as it would be without it. */
static void add_cut(struct reading *r, const struct json_value *v)
{
    size_t at = skip_back(r->text, v->offset), to = v->offset + v->raw.len;
    at = at > 0 ? skip_back(r->text, at - 1) : 0; /* the colon */
    while (at > 1 && r->text.p[at - 2] != '"')
        at--;
    at = at > 1 ? skip_back(r->text, at - 2) : 0; /* before the name's first quote */
    if (at > 0 && r->text.p[at - 1] == ',')
        at--;
    else if (skip_on(r->text, to) < r->text.len && r->text.p[skip_on(r->text, to)] == ',')
        to = skip_on(r->text, to) + 1;
    if (r->n_cuts < CUTS_MAX)
        r->cuts[r->n_cuts++] = (struct cut){at, to};
    else
        r->is_over = true;
}

static uint64_t hash_range(const struct reading *r, uint64_t hash, size_t from, size_t to)
{
    for (unsigned i = 0; i < r->n_cuts && !r->is_over; i++) {
        const struct cut *c = &r->cuts[i];
        if (c->from < from || c->to > to)
            continue;
        hash = mix(hash, hash_bytes(str_of(r->text.p + from, c->from - from)));
        from = c->to;
    }
    return mix(hash, hash_bytes(str_of(r->text.p + from, to - from)));
}

/* The hash of a turn in one form: without cache breakpoints, and with a single block of text as the string that some clients make of it when it is not the
 * last turn any more. */
static uint64_t hash_turn(const struct reading *r, uint64_t hash, const struct json_value *turn)
{
    size_t from = turn->offset, to = turn->offset + turn->raw.len;
    const struct json_value *c = &r->content;
    uint32_t members = 2 + (r->has_cut_block ? 1 : 0);
    bool is_plain = c->type == JSON_STRING;
    bool is_wrapped = c->type == JSON_ARRAY && c->n == 1 && r->has_text_type && r->block_text.type == JSON_STRING &&
                      r->last_block.type == JSON_OBJECT && r->last_block.n == members;
    if (!is_plain && !is_wrapped)
        return hash_range(r, hash, from, to);
    str text = is_plain ? c->raw : r->block_text.raw;
    hash = mix(hash, hash_bytes(str_of(r->text.p + from, c->offset - from)));
    hash = mix(hash, hash_bytes(text));
    return mix(hash, hash_bytes(str_of(r->text.p + c->offset + c->raw.len, to - c->offset - c->raw.len)));
}

static void end_of_turn(struct reading *r, const struct json_value *v)
{
    struct worst_case *w = r->out;
    struct worst_turn *t = &w->turns[w->n_turns % WORST_TURNS];
    w->now.hash = hash_turn(r, w->now.hash, v);
    w->now.bytes += v->raw.len - (r->image_bytes < v->raw.len ? r->image_bytes : v->raw.len);
    w->now.n_images += r->n_images;
    w->now.n_documents += r->n_documents;
    w->text_bytes -= r->image_bytes < v->raw.len ? r->image_bytes : v->raw.len;
    *t = w->now;
    w->n_turns++;
    r->content = r->block_text = r->last_block = (struct json_value){.type = JSON_NONE};
    r->has_text_type = r->has_cut_block = r->is_over = false;
    r->n_cuts = 0;
    r->image_bytes = 0;
    r->n_images = 0;
    r->n_documents = 0;
}

static void end_of_block(struct reading *r, enum block_kind kind, bool is_inline, const struct json_value *v)
{
    if (kind == BLOCK_IMAGE) {
        r->n_images++;
        r->image_bytes += v->raw.len;
    } else if (kind == BLOCK_DOCUMENT && !is_inline) {
        r->n_documents++;
    }
}

static void match(void *ctx, unsigned path, const struct json_value *v)
{
    struct reading *r = ctx;
    struct worst_case *w = r->out;
    switch (r->rules[path].part) {
    case PART_LIMIT_0: w->limits[0] = *v; break;
    case PART_LIMIT_1: w->limits[1] = *v; break;
    case PART_CHOICES: r->choices = *v; break;
    case PART_THINKING: r->thinking = *v; break;
    case PART_OPEN_ENDED: w->is_open_ended |= is_there(v) && !(v->type == JSON_ARRAY && v->n == 0); break;
    case PART_SYSTEM:
        if (v->type != JSON_ARRAY)
            add_piece(w, v);
        break;
    case PART_PIECE: add_piece(w, v); break;
    case PART_TOOL_TYPE: w->is_open_ended |= !is_client_tool(v); break;
    case PART_TURN: end_of_turn(r, v); break;
    case PART_TURN_TYPE:
        if (json_string_is(v, S("item_reference")))
            r->n_documents++;
        else if (json_string_is(v, S("computer_call_output")))
            r->n_images++;
        break;
    case PART_CONTENT: r->content = *v; break;
    case PART_BLOCK:
        end_of_block(r, r->block, r->is_inline, v);
        r->last_block = *v;
        r->block = BLOCK_TEXT;
        r->is_inline = false;
        break;
    case PART_BLOCK_TYPE:
        r->block = block_kind_of(v);
        r->has_text_type = json_string_is(v, S("text"));
        break;
    case PART_BLOCK_TEXT: r->block_text = *v; break;
    case PART_CACHE:
        add_cut(r, v);
        r->has_cut_block = true;
        break;
    case PART_SOURCE_TYPE: r->is_inline = json_string_is(v, S("text")) || json_string_is(v, S("content")); break;
    case PART_INNER_BLOCK:
        end_of_block(r, r->inner, r->is_inner_inline, v);
        r->inner = BLOCK_TEXT;
        r->is_inner_inline = false;
        break;
    case PART_INNER_TYPE: r->inner = block_kind_of(v); break;
    case PART_INNER_SOURCE_TYPE: r->is_inner_inline = json_string_is(v, S("text")) || json_string_is(v, S("content")); break;
    }
}

static enum errc whole_number(struct worst_case *w, const struct json_value *v, const char *name, int64_t *out, err *e)
{
    if (!is_there(v))
        return ERR_NONE;
    if (json_to_i64(v, out) && *out > 0 && *out < TOKENS_LIMIT)
        return ERR_NONE;
    w->bad_member = str_c(name);
    return err_set(e, ERR_INVALID, "member '%s' must be a whole number above 0: a hard budget holds for this key, and what the call can cost depends on it",
                   name);
}

static const char *const limit_names[DIALECTS][WORST_LIMITS] = {
    [DIALECT_CHAT] = {"max_completion_tokens", "max_tokens"},
    [DIALECT_RESPONSES] = {"max_output_tokens", NULL},
    [DIALECT_MESSAGES] = {"max_tokens", NULL},
};

uint64_t conversation_seed(const uint8_t key_id[16], str provider, str model)
{
    return mix(mix(hash_bytes(str_of((const char *)key_id, 16)), hash_bytes(provider)), hash_bytes(model));
}

/* Whether an escape spells a letter, a digit or '_'. No encoder writes these so; whoever does may hide a member's name from a search
 * of the bytes. */
static bool spells_by_escapes(str body)
{
    for (ptrdiff_t at; (at = str_find(body, S("\\u00"))) >= 0;) {
        uint8_t c;
        body = str_skip(body, (size_t)at + 4);
        if (hex_decode(str_take(body, 2), &c, 1) && (c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z')))
            return true;
    }
    return false;
}

enum errc worst_case_scan(struct arena *a, enum dialect d, str body, struct worst_case *out, err *e)
{
    pthread_once(&queries_once, queries_init);
    *out = (struct worst_case){.dialect = d, .text_bytes = body.len, .output_asked = -1, .choices = 1};
    out->now.hash = (uint64_t)d + 1;
    out->turns = arena_news(a, struct worst_turn, WORST_TURNS);
    if (!out->turns)
        return err_set(e, ERR_TOO_LARGE, "the request needs more memory than one request may use");
    struct reading r = {.out = out, .rules = rule_sets[d].rules, .text = body};
    enum errc code = json_scan(body, &queries[d], match, &r, &out->root, NULL, e);
    if (code)
        return code;
    if (d == DIALECT_EMBEDDINGS || d == DIALECT_COUNT_TOKENS) {
        out->output_asked = 0;
        return ERR_NONE;
    }
    bool is_hidden = d == DIALECT_MESSAGES && spells_by_escapes(body);
    out->writes_cache = is_hidden || (d == DIALECT_MESSAGES && str_find(body, S("cache_control")) >= 0);
    out->writes_cache_1h = is_hidden || (out->writes_cache && str_find(body, S("\"1h\"")) >= 0);
    for (unsigned i = 0; i < WORST_LIMITS; i++) {
        int64_t asked = -1;
        if ((code = whole_number(out, &out->limits[i], limit_names[d][i] ? limit_names[d][i] : "", &asked, e)))
            return code;
        if (asked > out->output_asked)
            out->output_asked = asked;
    }
    if ((code = whole_number(out, &r.choices, "n", &out->choices, e)))
        return code;
    return whole_number(out, &r.thinking, "thinking.budget_tokens", &out->thinking_tokens, e);
}

/* --- conversations --- */

#define BUCKETS 1024u
#define WAYS 4u
#define LOCKS 64u

struct conversation {
    uint64_t hash; /* 0: free */
    uint64_t pieces[WORST_PIECES];
    uint32_t n_pieces, used;
    int64_t tokens;
};

struct conversations {
    pthread_mutex_t locks[LOCKS]; /* each guards the buckets whose number it has as its last bits */
    struct conversation entries[BUCKETS][WAYS];
    _Atomic uint32_t clock;
};

struct conversations *conversations_new(void)
{
    struct conversations *c = calloc(1, sizeof *c);
    for (unsigned i = 0; c && i < LOCKS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    return c;
}

void conversations_free(struct conversations *c)
{
    for (unsigned i = 0; c && i < LOCKS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    free(c);
}

void conversation_learn(struct conversations *c, const struct worst_case *w, int64_t input_tokens)
{
    if (!w->n_turns || input_tokens <= 0 || input_tokens >= TOKENS_LIMIT)
        return;
    uint64_t hash = mix(w->now.hash, w->seed);
    unsigned bucket = (unsigned)(hash % BUCKETS);
    pthread_mutex_lock(&c->locks[bucket % LOCKS]);
    struct conversation *at = c->entries[bucket];
    for (unsigned i = 0; i < WAYS; i++) {
        struct conversation *x = &c->entries[bucket][i];
        if (x->hash == hash) {
            at = x;
            break;
        }
        if (!x->hash || (at->hash && x->used < at->used))
            at = x;
    }
    at->hash = hash;
    at->n_pieces = w->n_pieces;
    memcpy(at->pieces, w->pieces, sizeof at->pieces);
    at->tokens = input_tokens;
    at->used = ++c->clock;
    pthread_mutex_unlock(&c->locks[bucket % LOCKS]);
}

static bool conversation_find(struct conversations *c, uint64_t hash, struct conversation *out)
{
    unsigned bucket = (unsigned)(hash % BUCKETS);
    bool is_found = false;
    pthread_mutex_lock(&c->locks[bucket % LOCKS]);
    for (unsigned i = 0; i < WAYS && !is_found; i++) {
        struct conversation *x = &c->entries[bucket][i];
        if (x->hash == hash && hash) {
            x->used = ++c->clock;
            *out = *x;
            is_found = true;
        }
    }
    pthread_mutex_unlock(&c->locks[bucket % LOCKS]);
    return is_found;
}

/* --- the bounds --- */

static int64_t image_tokens(const struct worst_case *w, str model)
{
    for (ptrdiff_t slash; (slash = str_chr(model, '/')) >= 0;)
        model = str_skip(model, (size_t)slash + 1);
    if (w->dialect == DIALECT_MESSAGES)
        return IMAGE_TOKENS_ANTHROPIC;
    return str_starts(model, S("gpt-4o-mini")) ? IMAGE_TOKENS_4O_MINI : IMAGE_TOKENS;
}

/* What was reported for the longest unchanged beginning of the conversation, and the bytes of all that is new; -1 when none is known. */
static int64_t known_tokens(struct conversations *c, const struct worst_case *w, int64_t per_image)
{
    unsigned n = w->n_turns < WORST_TURNS ? w->n_turns : WORST_TURNS;
    for (unsigned i = 0; i < n; i++) {
        const struct worst_turn *t = &w->turns[(w->n_turns - 1 - i) % WORST_TURNS];
        struct conversation seen;
        if (!conversation_find(c, mix(t->hash, w->seed), &seen))
            continue;
        if (w->now.n_documents > t->n_documents)
            return -1;
        uint64_t fresh = w->text_bytes - t->bytes;
        for (unsigned k = 0; k < w->n_pieces; k++) {
            bool is_known = false;
            for (unsigned j = 0; j < seen.n_pieces; j++)
                is_known |= seen.pieces[j] == w->pieces[k];
            fresh -= is_known ? w->piece_bytes[k] : 0;
        }
        return seen.tokens + (int64_t)fresh + (int64_t)(w->now.n_images - t->n_images) * per_image + HIDDEN_TOKENS_OF_TURNS;
    }
    return -1;
}

int64_t worst_input_tokens(struct conversations *c, const struct worst_case *w, str model, const struct model_limits *limits)
{
    int64_t context = limits->context ? limits->context : CONTEXT_UNKNOWN, per_image = image_tokens(w, model);
    if (w->dialect == DIALECT_COUNT_TOKENS)
        return 0;
    if (w->dialect == DIALECT_EMBEDDINGS) /* many inputs, each with a context of its own */
        return (int64_t)w->text_bytes;
    if (w->is_open_ended)
        return context;
    int64_t bound = known_tokens(c, w, per_image);
    if (bound < 0 && w->now.n_documents)
        return context;
    int64_t plain = (int64_t)w->text_bytes + (int64_t)w->now.n_images * per_image + HIDDEN_TOKENS;
    if (bound < 0 || (plain < bound && !w->now.n_documents))
        bound = plain;
    return bound < context ? bound : context;
}

bool worst_prices(const struct worst_case *w, const struct price *p, int64_t *input_pico, int64_t *output_pico)
{
    *input_pico = p->pico[PRICE_INPUT];
    *output_pico = p->pico[PRICE_OUTPUT];
    if (w->dialect == DIALECT_EMBEDDINGS || w->dialect == DIALECT_COUNT_TOKENS)
        *output_pico = 0;
    for (unsigned unit = PRICE_CACHE_READ; unit <= PRICE_CACHE_WRITE_1H && *input_pico >= 0; unit++) {
        /* Without breakpoints Anthropic writes nothing to its cache; the others are not asked and may. */
        bool may_happen = unit == PRICE_CACHE_READ || w->dialect != DIALECT_MESSAGES ||
                          (unit == PRICE_CACHE_WRITE ? w->writes_cache : w->writes_cache_1h);
        if (may_happen && p->pico[unit] > *input_pico)
            *input_pico = p->pico[unit];
    }
    return *input_pico >= 0 && *output_pico >= 0;
}

enum errc worst_case_limit(const struct worst_case *w, struct json_edit *edit, struct arena *a, int64_t tokens, bool is_openai, err *e)
{
    enum errc code = ERR_NONE;
    bool is_set = false;
    str number = arena_printf(a, "%lld", (long long)tokens);
    if (!number.p)
        return err_set(e, ERR_TOO_LARGE, "the request needs more memory than one request may use");
    for (unsigned i = 0; i < WORST_LIMITS && !code; i++) {
        const struct json_value *v = &w->limits[i];
        int64_t asked = 0;
        bool is_number = is_there(v) && json_to_i64(v, &asked);
        if (is_number && asked > tokens)
            code = json_edit_replace(edit, v, number, e);
        is_set |= is_number;
    }
    if (code || is_set)
        return code;
    /* None, or null, which is none: the spelling that this provider knows. */
    unsigned spelling = w->dialect == DIALECT_CHAT && !is_openai;
    if (w->limits[spelling].type == JSON_NULL)
        return json_edit_replace(edit, &w->limits[spelling], number, e);
    return json_edit_add(edit, a, &w->root, str_c(limit_names[w->dialect][spelling]), number, e);
}
