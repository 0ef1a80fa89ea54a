#include "net/outbound.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/map.h"

#define PLAN_LIMIT (1u << 20)
#define BUDGETS 64    /* hosts share them by hash */
#define RETRY_COST 10 /* in tenths of a retry */
#define BUDGET_FULL 100

struct proxy {
    const char *host; /* NULL: none */
    uint16_t port;
    str authorization;
};

/* Immutable. */
struct outbound_plan {
    struct arena arena;
    struct proxy https, http;
    str no_proxy;
    struct address_set allowed;
    const char *ca_file;
};

struct outbound {
    pthread_mutex_t lock; /* guards current */
    struct outbound_plan *current;
    _Atomic int budgets[BUDGETS];
};

/* --- settings --- */

static str variable(const char *const *environ, const char *name)
{
    for (; environ && *environ; environ++) {
        str value = str_c(*environ);
        str key = str_cut(&value, '=');
        if (str_eq(key, str_c(name)) && value.len) return value;
    }
    return (str){NULL, 0};
}

static str first_of(const char *const *environ, const char *a, const char *b, const char *c, const char *d)
{
    const char *const names[] = {a, b, c, d};
    for (size_t i = 0; i < LENGTH_OF(names); i++) {
        str value = names[i] ? variable(environ, names[i]) : (str){NULL, 0};
        if (value.len) return value;
    }
    return (str){NULL, 0};
}

void outbound_environment(struct outbound_settings *s, const char *const *environ)
{
    s->https_proxy = first_of(environ, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY");
    s->http_proxy = first_of(environ, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY");
    if (!s->has_no_proxy) s->no_proxy = first_of(environ, "no_proxy", "NO_PROXY", NULL, NULL);
}

static str basic(struct arena *a, str user_info)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *plain = arena_bytes(a, user_info.len + 1);
    size_t n = 0;
    if (!plain || !url_decode(user_info, plain, &n)) return (str){NULL, 0};
    char *out = arena_bytes(a, 6 + (n + 2) / 3 * 4 + 1), *to = out;
    if (!out) return (str){NULL, 0};
    memcpy(to, "Basic ", 6);
    to += 6;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < n ? (uint8_t)plain[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            *to++ = i + k <= n ? digits[v >> (18 - 6 * k) & 63] : '=';
    }
    return str_of(out, (size_t)(to - out));
}

/* http://[user[:password]@]host[:port][/]; "host:port" is taken for http. */
static enum errc parse_proxy(struct arena *a, const char *origin, str text, struct proxy *out, err *e)
{
    if (!text.len) return ERR_NONE;
    ptrdiff_t mark = str_find(text, S("://"));
    str rest = mark < 0 ? text : str_skip(text, (size_t)mark + 3);
    if (mark >= 0 && !str_ieq(str_take(text, (size_t)mark), S("http")))
        return err_set(e, ERR_CONFIG, "%s: only http:// proxies are supported", origin);
    if (str_ends(rest, S("/"))) rest.len--;
    size_t at = rest.len;
    while (at && rest.p[at - 1] != '@')
        at--;
    if (at) {
        out->authorization = basic(a, str_take(rest, at - 1));
        if (!out->authorization.p)
            return err_set(e, ERR_CONFIG, "%s: the user and password have a malformed percent-escape",
                           origin);
    }
    struct url_authority authority;
    if (!url_authority_parse(str_skip(rest, at), &authority))
        return err_set(e, ERR_CONFIG, "%s is not http://[USER:PASSWORD@]HOST:PORT", origin);
    out->host = str_to_c(a, authority.host);
    out->port = authority.has_port ? authority.port : 80;
    return out->host ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

static str next_entry(str *list)
{
    size_t n = 0;
    *list = str_trim(*list);
    while (n < list->len && list->p[n] != ',' && list->p[n] != ' ' && list->p[n] != '\n' &&
           list->p[n] != '\t')
        n++;
    str entry = str_take(*list, n);
    *list = str_skip(*list, n + 1);
    return entry;
}

void outbound_plan_free(struct outbound_plan *g)
{
    if (!g) return;
    arena_fini(&g->arena);
    free(g);
}

static enum errc plan_fill(struct outbound_plan *g, const struct outbound_settings *s, err *e)
{
    struct arena *a = &g->arena;
    str text = s->proxy.len ? s->proxy : s->https_proxy;
    enum errc rc = parse_proxy(a, s->proxy.len ? "outbound.proxy" : "HTTPS_PROXY", text, &g->https, e);
    text = s->proxy.len ? s->proxy : s->http_proxy;
    if (!rc) rc = parse_proxy(a, s->proxy.len ? "outbound.proxy" : "HTTP_PROXY", text, &g->http, e);
    for (str list = s->allow_addresses, entry; !rc && list.len;) {
        entry = next_entry(&list);
        if (entry.len && (rc = address_set_add(&g->allowed, entry, e)) != ERR_NONE) {
            err_prefix(e, "outbound.allow_addresses");
            rc = ERR_CONFIG;
        }
    }
    g->no_proxy = str_dup(a, s->no_proxy);
    if (s->ca_file) g->ca_file = str_to_c(a, str_c(s->ca_file));
    if (!rc && (!g->no_proxy.p || (s->ca_file && !g->ca_file))) rc = err_code(e, ERR_NO_MEMORY);
    if (rc && e) e->code = rc;
    return rc;
}

enum errc outbound_plan_new(struct outbound_plan **out, const struct outbound_settings *s, err *e)
{
    struct outbound_plan *g = calloc(1, sizeof *g);
    if (!g) return err_code(e, ERR_NO_MEMORY);
    arena_init(&g->arena, PLAN_LIMIT, 0);
    enum errc rc = plan_fill(g, s, e);
    if (rc)
        outbound_plan_free(g);
    else
        *out = g;
    return rc;
}

enum errc outbound_new(struct outbound **out, const struct outbound_settings *settings, err *e)
{
    struct outbound *o = calloc(1, sizeof *o);
    if (!o) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = outbound_plan_new(&o->current, settings, e);
    if (rc) {
        free(o);
        return rc;
    }
    pthread_mutex_init(&o->lock, NULL);
    for (size_t i = 0; i < BUDGETS; i++)
        o->budgets[i] = BUDGET_FULL;
    *out = o;
    return ERR_NONE;
}

void outbound_adopt(struct outbound *o, struct outbound_plan *plan)
{
    pthread_mutex_lock(&o->lock);
    struct outbound_plan *old = o->current;
    o->current = plan;
    pthread_mutex_unlock(&o->lock);
    outbound_plan_free(old); /* routes are copies: nobody holds a part of it */
}

enum errc outbound_change(struct outbound *o, const struct outbound_settings *settings, err *e)
{
    struct outbound_plan *plan;
    enum errc rc = outbound_plan_new(&plan, settings, e);
    if (rc == ERR_NONE) outbound_adopt(o, plan);
    return rc;
}

void outbound_free(struct outbound *o)
{
    if (!o) return;
    outbound_plan_free(o->current);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* --- routes --- */

static bool is_excepted(str list, str host, uint16_t port)
{
    struct address address;
    bool is_address = address_parse(host, &address);
    while (list.len) {
        str entry = next_entry(&list);
        struct address_range range;
        struct url_authority authority;
        if (str_eq(entry, S("*"))) return true;
        if (address_range_parse(entry, &range)) {
            if (is_address && address_in(&address, &range)) return true;
            continue;
        }
        if (str_starts(entry, S("*."))) entry = str_skip(entry, 2);
        if (str_starts(entry, S("."))) entry = str_skip(entry, 1);
        if (!url_authority_parse(entry, &authority) || (authority.has_port && authority.port != port))
            continue;
        str name = authority.host;
        if (host.len < name.len || !str_ieq(str_skip(host, host.len - name.len), name)) continue;
        if (host.len == name.len || (!is_address && host.p[host.len - name.len - 1] == '.')) return true;
    }
    return false;
}

static enum errc route_in(const struct outbound_plan *g, struct arena *a, const struct url *target,
                          bool allows_local, struct outbound_route *out, err *e)
{
    struct address address;
    const struct proxy *proxy = target->is_tls ? &g->https : &g->http;
    *out = (struct outbound_route){.allows_local = allows_local, .allowed = g->allowed};
    if (address_parse(target->host, &address) && !address_may_connect(&address, &g->allowed, allows_local))
        return err_set(e, ERR_FORBIDDEN,
                       "%.*s is an address that may not be reached (see outbound.allow_addresses)",
                       STR(target->host));
    if (g->ca_file && !(out->ca_file = str_to_c(a, str_c(g->ca_file)))) return err_code(e, ERR_NO_MEMORY);
    if (!proxy->host || url_host_is_loopback(target->host) ||
        is_excepted(g->no_proxy, target->host, target->port))
        return ERR_NONE;
    out->proxy_host = str_to_c(a, str_c(proxy->host));
    out->proxy_port = proxy->port;
    out->proxy_authorization = proxy->authorization.len ? str_dup(a, proxy->authorization) : S("");
    return out->proxy_host && out->proxy_authorization.p ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

enum errc outbound_route(struct outbound *o, struct arena *a, const struct url *target, bool allows_local,
                         struct outbound_route *out, err *e)
{
    pthread_mutex_lock(&o->lock);
    enum errc rc = route_in(o->current, a, target, allows_local, out, e);
    pthread_mutex_unlock(&o->lock);
    return rc;
}

bool outbound_route_is_same(const struct outbound_route *a, const struct outbound_route *b)
{
    if (!a || !b) return a == b;
    bool is_same_proxy = str_eq(str_c(a->proxy_host), str_c(b->proxy_host)) && a->proxy_port == b->proxy_port &&
                         str_eq(a->proxy_authorization, b->proxy_authorization);
    if (!is_same_proxy || a->allows_local != b->allows_local || a->allowed.n != b->allowed.n) return false;
    for (unsigned i = 0; i < a->allowed.n; i++)
        if (a->allowed.ranges[i].bits != b->allowed.ranges[i].bits ||
            memcmp(&a->allowed.ranges[i].base, &b->allowed.ranges[i].base, sizeof(struct address)) != 0)
            return false;
    return true;
}

struct outbound_route *outbound_route_copy(const struct outbound_route *from)
{
    str host = str_c(from->proxy_host), authorization = from->proxy_authorization;
    struct outbound_route *out = malloc(sizeof *out + host.len + 1 + authorization.len);
    if (!out) return NULL;
    char *text = (char *)(out + 1);
    *out = *from;
    out->ca_file = NULL;
    if (host.len) memcpy(text, host.p, host.len);
    text[host.len] = '\0';
    out->proxy_host = from->proxy_host ? text : NULL;
    text += host.len + 1;
    if (authorization.len) memcpy(text, authorization.p, authorization.len);
    out->proxy_authorization = str_of(text, authorization.len);
    return out;
}

/* --- the retry budget --- */

static _Atomic int *budget_of(struct outbound *o, str host)
{
    return &o->budgets[hash_bytes(host) % BUDGETS];
}

void outbound_tried(struct outbound *o, str host)
{
    _Atomic int *budget = budget_of(o, host);
    int had = atomic_load(budget);
    while (had < BUDGET_FULL && !atomic_compare_exchange_weak(budget, &had, had + 1))
        continue;
}

bool outbound_may_retry(struct outbound *o, str host)
{
    _Atomic int *budget = budget_of(o, host);
    int had = atomic_load(budget);
    while (had >= RETRY_COST)
        if (atomic_compare_exchange_weak(budget, &had, had - RETRY_COST)) return true;
    return false;
}
