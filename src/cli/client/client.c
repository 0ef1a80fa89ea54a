#include "cli/client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/money.h"
#include "base/random.h"
#include "net/fetch.h"

#define ARENA_LIMIT (512u << 20)
#define BODY_MAX (16u << 20)
#define ANSWER_MAX (256u << 20)
#define DEADLINE_MS 120000
#define PAGE 200
#define CALLS_DEFAULT 50 /* as `requests` of a data folder */
#define URL_DEFAULT "http://127.0.0.1:8080"

int client_fail(enum errc code, const char *fmt, ...)
{
    err e = {0};
    char text[sizeof e.msg];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&e, code, "%s", text);
    return cli_fail(&e);
}

/* --- opening --- */

static enum errc open_client(struct client *c, err *e)
{
    struct outbound_settings settings = {.has_no_proxy = false};
    struct url url;
    const char *text = cli_flag(c->args, "--url"), *key = cli_flag(c->args, "--api-key");
    bool is_default = false;
    if (!text) text = getenv("CATALYST_URL");
    if (!text || !*text) {
        text = URL_DEFAULT;
        is_default = true;
    }
    if (!key) key = getenv("CATALYST_API_KEY");
    if (!key || !*key)
        return err_set(e, ERR_USAGE,
                       "a management key is needed: set CATALYST_API_KEY, or give --api-key cat_...");
    c->url = str_c(text);
    while (str_ends(c->url, S("/")))
        c->url.len--;
    if (url_parse(c->url, &url, e)) {
        err_prefix(e, is_default                   ? "the server's URL"
                      : cli_flag(c->args, "--url") ? "--url"
                                                   : "CATALYST_URL");
        return e->code = ERR_USAGE;
    }
    if (url.query.p) return err_set(e, ERR_USAGE, "the server's URL has a query; give the address alone");
    c->key = str_trim(str_c(key));
    c->as_json = cli_flag(c->args, "--json") != NULL;
    settings.ca_file = cli_flag(c->args, "--ca-file");
    outbound_environment(&settings, (const char *const *)environ);
    return outbound_new(&c->outbound, &settings, e);
}

int client_run(const struct cli_args *args, int (*fn)(struct client *c))
{
    struct arena a;
    err e = {0};
    struct client c = {.args = args, .arena = &a};
    arena_init(&a, ARENA_LIMIT, 0);
    buf_init(&c.body, BODY_MAX);
    int code = open_client(&c, &e) ? cli_fail(&e) : fn(&c);
    outbound_free(c.outbound);
    if (c.body.p) explicit_bzero(c.body.p, c.body.cap);
    buf_fini(&c.body);
    arena_fini(&a);
    return code;
}

bool client_is_meant(const struct cli_args *args)
{
    const char *url = getenv("CATALYST_URL");
    return cli_flag(args, "--url") || (url && *url && !cli_flag(args, "--data"));
}

/* --- requests --- */

struct json_writer *client_body(struct client *c)
{
    buf_clear(&c->body);
    json_writer_init(&c->writer, &c->body);
    json_object(&c->writer);
    return &c->writer;
}

str client_escape(struct client *c, str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_bytes(c->arena, 3 * text.len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < text.len; i++) {
        unsigned char b = (unsigned char)text.p[i];
        if ((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
            (b && strchr("-._~", b))) {
            out[n++] = (char)b;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[b >> 4];
        out[n++] = digits[b & 15];
    }
    return str_of(out, n);
}

static enum errc code_of(str name, int status)
{
    for (unsigned i = 1; i < ERR_CODES; i++)
        if (str_eq(str_c(errc_name((enum errc)i)), name)) return (enum errc)i;
    switch (status) {
    case 401:
    case 403: return ERR_FORBIDDEN;
    case 404: return ERR_NOT_FOUND;
    case 402: return ERR_BUDGET_EXCEEDED;
    case 409: return ERR_CONFLICT;
    case 413: return ERR_TOO_LARGE;
    case 429: return ERR_RATE_LIMITED;
    case 503: return ERR_UNAVAILABLE;
    default: return status >= 500 ? ERR_INTERNAL : ERR_INVALID;
    }
}

static str text_at(const struct json *v, const char *member)
{
    const struct json *it = v ? json_get(v, str_c(member)) : NULL;
    return it && it->type == JSON_STRING ? it->text : (str){NULL, 0};
}

/* What the server refused, for people: the sentence, then a line per wrong field. */
static int tell_problem(const struct client *c, int status, const struct json *problem)
{
    str detail = text_at(problem, "detail"), title = text_at(problem, "title");
    if (!detail.len) detail = title;
    if (detail.len)
        fprintf(stderr, "catalyst: %.*s\n", STR(detail));
    else
        fprintf(stderr, "catalyst: %.*s answered %d\n", STR(c->url), status);
    const struct json *errors = problem ? json_get(problem, S("errors")) : NULL;
    for (const struct json *it = errors && errors->type == JSON_ARRAY ? errors->child : NULL; it;
         it = it->next)
        fprintf(stderr, "  %.*s: %.*s\n", STR(text_at(it, "field")), STR(text_at(it, "message")));
    str id = text_at(problem, "request_id");
    if (status >= 500 && id.len) fprintf(stderr, "  request id: %.*s\n", STR(id));
    return (int)errc_exit_code(code_of(text_at(problem, "code"), status));
}

int client_call(struct client *c, const char *method, str path, const struct json **answer)
{
    err e = {0};
    struct json *tree = NULL;
    struct fetch_answer got;
    if (answer) *answer = NULL;
    if (c->body.len) json_end(&c->writer);
    if (buf_err(&c->body))
        return client_fail(buf_err(&c->body), "the request is larger than %u bytes", BODY_MAX);
    const struct fetch_field fields[] = {
        {.name = S("Authorization"),
         .value = arena_printf(c->arena, "Bearer %.*s", STR(c->key)),
         .is_secret = true},
        {.name = S("Accept"), .value = S("application/json")},
        {.name = S("Content-Type"), .value = S("application/json")},
    };
    const struct fetch_request request = {
        .method = str_c(method),
        .url = arena_printf(c->arena, "%.*s%.*s", STR(c->url), STR(path)),
        .fields = fields,
        .n_fields = c->body.len ? 3 : 2,
        .body = buf_str(&c->body),
        .answer_max = ANSWER_MAX,
        .deadline_ms = DEADLINE_MS,
        .allows_local = true,
    };
    if (!fields[0].value.p || !request.url.p) return client_fail(ERR_NO_MEMORY, "out of memory");
    enum errc code = fetch(c->outbound, c->arena, &request, &got, &e);
    buf_clear(&c->body);
    if (code) {
        if (code == ERR_UNREACHABLE || code == ERR_UPSTREAM_TIMEOUT)
            err_prefix(&e, "%.*s cannot be reached (is the server running?)", STR(c->url));
        return cli_fail(&e);
    }
    if (got.body.len && json_parse(c->arena, got.body, &tree, &e)) {
        if (got.status < 400)
            return client_fail(ERR_UPSTREAM, "%.*s answered with something that is not JSON", STR(c->url));
        tree = NULL;
    }
    if (got.status >= 300) return tell_problem(c, got.status, tree);
    if (answer) *answer = tree;
    return EXIT_OK;
}

static void put_texts(struct json_writer *w, str list)
{
    json_array(w);
    while (list.len) {
        str one = str_trim(str_cut(&list, ','));
        if (one.len) json_str(w, one);
    }
    json_end(w);
}

int client_put_flags(struct client *c, struct json_writer *w, const struct body_flag *flags, unsigned n)
{
    int64_t number;
    char money[MONEY_TEXT_LEN];
    for (unsigned i = 0; i < n; i++) {
        const char *value = cli_flag(c->args, flags[i].flag);
        if (!value) continue;
        str text = str_c(value);
        switch (flags[i].type) {
        case MEMBER_TEXT: json_put_str(w, flags[i].member, text); break;
        case MEMBER_TEXTS:
            json_name(w, str_c(flags[i].member));
            put_texts(w, text);
            break;
        case MEMBER_INT:
            if (!str_to_i64(text, &number))
                return client_fail(ERR_USAGE, "%s takes a whole number", flags[i].flag);
            json_put_int(w, flags[i].member, number);
            break;
        case MEMBER_MONEY:
            if (!money_parse(text, 9, &number) || number < 0)
                return client_fail(ERR_USAGE, "%s takes an amount in USD such as 5 or 0.25", flags[i].flag);
            json_put_str(w, flags[i].member, money_format(number, money));
            break;
        case MEMBER_TRUE:
        case MEMBER_FALSE: json_put_bool(w, flags[i].member, flags[i].type == MEMBER_TRUE); break;
        }
    }
    return EXIT_OK;
}

int client_needs(struct client *c, unsigned n)
{
    if (cli_n_positional(c->args) >= n) return EXIT_OK;
    return client_fail(ERR_USAGE, "an argument is missing: catalyst %s %s", cli_command(c->args)->name,
                       cli_command(c->args)->arguments);
}

/* --- lists --- */

/* Calls fn for every item of all pages until it returns false; at most `limit`. */
static int each_item(struct client *c, const char *path, str query, uint64_t limit,
                     bool (*fn)(void *ctx, const struct json *item), void *ctx)
{
    str cursor = {NULL, 0};
    for (uint64_t n = 0; n < limit;) {
        uint64_t page = limit - n < PAGE ? limit - n : PAGE;
        str at = arena_printf(c->arena, "%s?limit=%llu%s%.*s%s%.*s", path, (unsigned long long)page,
                              query.len ? "&" : "", STR(query), cursor.len ? "&cursor=" : "",
                              STR(client_escape(c, cursor)));
        const struct json *answer;
        int code = client_call(c, "GET", at, &answer);
        if (code) return code;
        const struct json *items = answer ? json_get(answer, S("items")) : NULL;
        if (!items || items->type != JSON_ARRAY)
            return client_fail(ERR_UPSTREAM, "the server's answer is no list");
        for (const struct json *it = items->child; it; it = it->next, n++)
            if (!fn(ctx, it)) return EXIT_OK;
        cursor = text_at(answer, "next_cursor");
        if (!cursor.len || !items->n) break;
    }
    return EXIT_OK;
}

static int limit_of(struct client *c, uint64_t fallback, uint64_t *out)
{
    const char *text = cli_flag(c->args, "--limit");
    *out = fallback;
    if (text && (!str_to_u64(str_c(text), out) || *out == 0))
        return client_fail(ERR_USAGE, "--limit takes a number from 1");
    return EXIT_OK;
}

struct finding {
    struct client *c;
    str name, id;
    bool is_id;
    unsigned n_found;
    struct buf names;
};

static bool find_item(void *ctx, const struct json *item)
{
    struct finding *f = ctx;
    str id = text_at(item, "id"), name = text_at(item, "name");
    if (f->is_id ? str_ieq(id, f->name) : str_eq(name, f->name)) {
        f->id = id;
        f->n_found++;
    }
    if (name.len && f->names.len < 200) buf_addf(&f->names, "%s%.*s", f->names.len ? ", " : "", STR(name));
    return true;
}

int client_find(struct client *c, const char *list, const char *noun, const char *name, str *id)
{
    uuid parsed;
    struct finding f = {.c = c, .name = str_c(name), .is_id = uuid_parse(str_c(name), &parsed)};
    buf_init(&f.names, 1024);
    int code = each_item(c, list, S(""), UINT64_MAX, find_item, &f);
    if (!code && f.n_found == 0) {
        str names = buf_str(&f.names);
        code = client_fail(ERR_NOT_FOUND, "there is no %s '%.60s'%s%.*s", noun, name,
                           names.len ? "; there are: " : "", STR(names));
    } else if (!code && f.n_found > 1) {
        code = client_fail(ERR_CONFLICT, "there are several of the name '%.60s'; give the id of the %s", name,
                           noun);
    }
    *id = f.id;
    buf_fini(&f.names);
    return code;
}

int client_workspace(struct client *c, str *id)
{
    const struct json *me;
    int code = client_call(c, "GET", S("/api/auth/me"), &me);
    if (code) return code;
    const struct json *workspaces = me ? json_get(me, S("workspaces")) : NULL;
    *id = workspaces && workspaces->child ? text_at(workspaces->child, "id") : (str){NULL, 0};
    return id->len ? EXIT_OK : client_fail(ERR_NOT_FOUND, "the key belongs to no workspace");
}

struct gathered {
    struct json list;
    struct json **last;
};

/* The trees are the client's own: the lists of all pages are linked into one. */
static bool gather(void *ctx, const struct json *item)
{
    struct gathered *g = ctx;
    *g->last = (struct json *)(uintptr_t)item;
    g->last = &(*g->last)->next;
    g->list.n++;
    return true;
}

static int gather_all(struct client *c, const char *path, str query, uint64_t fallback, struct gathered *g)
{
    uint64_t limit;
    *g = (struct gathered){.list = {.type = JSON_ARRAY}};
    g->last = &g->list.child;
    int code = limit_of(c, fallback, &limit);
    return code ? code : each_item(c, path, query, limit, gather, g);
}

int client_list(struct client *c, const char *path, str query, const struct column *columns, unsigned n)
{
    struct gathered g;
    int code = gather_all(c, path, query, UINT64_MAX, &g);
    return code ? code : client_table(c, &g.list, columns, n);
}

int client_lines(struct client *c, const char *path, str query, const struct column *columns, unsigned n)
{
    struct gathered g;
    struct buf out;
    int code = gather_all(c, path, query, CALLS_DEFAULT, &g);
    if (code) return code;
    if (!c->as_json) return client_table(c, &g.list, columns, n);
    buf_init(&out, ANSWER_MAX);
    for (const struct json *it = g.list.child; it; it = it->next) {
        struct json_writer w;
        json_writer_init(&w, &out);
        json_put_tree(&w, it);
        buf_add_char(&out, '\n');
    }
    code = cli_print(&out);
    buf_fini(&out);
    return code;
}
