#include "gateway/pools.h"

#include <assert.h>
#include <stdlib.h>

struct pool {
    struct client_pool client;
    struct client_target target; /* its own: the snapshot that it came from may be gone */
    unsigned n_uses;
    struct pool *next;
};

void pools_init(struct pools *p, struct loop *l) { *p = (struct pools){.loop = l}; }

static bool is_same(const struct client_target *a, const struct client_target *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port && a->tls == b->tls && a->connect_timeout_ms == b->connect_timeout_ms &&
           a->first_byte_timeout_ms == b->first_byte_timeout_ms && a->stall_timeout_ms == b->stall_timeout_ms &&
           a->total_timeout_ms == b->total_timeout_ms && a->idle_timeout_ms == b->idle_timeout_ms &&
           a->idle_connections == b->idle_connections && outbound_route_is_same(a->route, b->route);
}

static void pool_free(struct pool *pool)
{
    SSL_CTX_free(pool->target.tls);
    free((char *)(uintptr_t)pool->target.host);
    free((struct outbound_route *)(uintptr_t)pool->target.route);
    free(pool);
}

static struct pool *pool_of(struct pools *p, const struct client_target *target)
{
    for (struct pool *pool = p->first; pool; pool = pool->next)
        if (is_same(&pool->target, target)) {
            pool->client.is_closing = false;
            return pool;
        }
    struct pool *pool = calloc(1, sizeof *pool);
    char *host = strdup(target->host);
    struct outbound_route *route = target->route ? outbound_route_copy(target->route) : NULL;
    if (!pool || !host || (target->route && !route)) {
        free(pool);
        free(host);
        free(route);
        return NULL;
    }
    pool->target = *target;
    pool->target.host = host;
    pool->target.route = route;
    if (target->tls)
        SSL_CTX_up_ref(target->tls);
    client_pool_init(&pool->client, p->loop, &pool->target);
    pool->next = p->first;
    p->first = pool;
    return pool;
}

/* Pools that no provider has any more close their connections; one without any goes. */
static void sweep(struct pools *p)
{
    for (struct pool **at = &p->first; *at;) {
        struct pool *pool = *at;
        if (!pool->n_uses && !pool->client.is_closing)
            client_pool_close(&pool->client);
        if (!pool->n_uses && !pool->client.all) {
            *at = pool->next;
            pool_free(pool);
        } else {
            at = &pool->next;
        }
    }
}

struct snapshot_use *snapshot_use_new(struct pools *p, struct snapshot *s)
{
    struct snapshot_use *u = calloc(1, sizeof *u);
    struct pool **pools = calloc(s->n_providers + 1u, sizeof(struct pool *));
    bool is_whole = u && pools;
    for (unsigned i = 0; is_whole && i < s->n_providers; i++) {
        pools[i] = pool_of(p, &s->providers[i].target);
        is_whole = pools[i] != NULL;
    }
    if (!is_whole) {
        free(u);
        free(pools);
        snapshot_put(s);
        return NULL;
    }
    for (unsigned i = 0; i < s->n_providers; i++)
        pools[i]->n_uses++;
    *u = (struct snapshot_use){.snapshot = s, .is_current = true, .pools = pools};
    return u;
}

static void use_free(struct pools *p, struct snapshot_use *u)
{
    for (unsigned i = 0; i < u->snapshot->n_providers; i++)
        u->pools[i]->n_uses--;
    snapshot_put(u->snapshot);
    free(u->pools);
    free(u);
    sweep(p);
}

void snapshot_use_retire(struct pools *p, struct snapshot_use *u)
{
    u->is_current = false;
    if (!u->n_calls)
        use_free(p, u);
}

void snapshot_use_end(struct pools *p, struct snapshot_use *u)
{
    assert(u->n_calls > 0);
    if (!--u->n_calls && !u->is_current)
        use_free(p, u);
}

struct client_pool *snapshot_use_pool(const struct snapshot_use *u, const struct provider *p) { return &u->pools[p->index]->client; }

void pools_close(struct pools *p)
{
    for (struct pool *pool = p->first; pool; pool = pool->next)
        client_pool_close(&pool->client);
}

void pools_fini(struct pools *p)
{
    while (p->first) {
        struct pool *next = p->first->next;
        pool_free(p->first);
        p->first = next;
    }
}
