#include "core/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/api/api_internal.h"
#include "core/config.h"

#define TIDY_S 5
#define TIDY_KEYS_US (3600LL * USEC_PER_S) /* answers kept for Idempotency-Key are looked through so often */
#define ARENA_MAX (16u << 20)
#define OPENAPI_MAX (16u << 20)

/* clang-format off */
static const struct option options[] = {
    {.key = "api.threads", .type = OPTION_INT, .fallback = "32", .min = 1, .max = 1024,
     .meaning = "Threads that answer requests under /api; changes of many of them share a commit."},
    {.key = "api.queue", .type = OPTION_INT, .fallback = "1024", .min = 1, .max = 1000000,
     .meaning = "Requests under /api that may wait for a thread; more are refused with 503."},
    {.key = "api.deadline_ms", .type = OPTION_MS, .fallback = "5s", .min = 10, .max = 600000,
     .meaning = "How long a request under /api may wait for a thread before it is refused with 503."},
    {.key = "api.rate_per_minute", .type = OPTION_INT, .fallback = "6000", .min = 0, .max = 100000000,
     .meaning = "Requests under /api a minute for each user and each API key; 0 = no limit."},
    {.key = "api.rate_per_address_per_minute", .type = OPTION_INT, .fallback = "12000", .min = 0, .max = 100000000,
     .meaning = "Requests under /api a minute for each client address (of IPv6, each /64); 0 = no limit."},
};
/* clang-format on */
const struct option_table api_options = {options, LENGTH_OF(options)};

static const char *const route_label[] = {"route", NULL}, *const request_labels[] = {"route", "status", NULL};
static const int64_t seconds_bounds_us[] = {500,   1000,   2500,   5000,    10000,  25000,
                                            50000, 100000, 250000, 1000000, 5000000};

/* --- the tables against the rows of rbac.json --- */

static const char *access_text(const struct api_route *route)
{
    switch (route->access) {
    case ACCESS_PERMISSION: return permission_name(route->permission);
    case ACCESS_SIGNED_IN:
    case ACCESS_SESSION: return "(any signed-in user)";
    case ACCESS_PUBLIC: return "(public)";
    case ACCESS_SETUP_TOKEN: return "(set-up token)";
    case ACCESS_INSTANCE_ADMIN: return "(instance admin)";
    }
    return "";
}

static const char *method_name(enum http_method m)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    return (unsigned)m < LENGTH_OF(names) ? names[m] : "";
}

static enum errc check_route(const struct api_route *route, const struct rbac_row **row, err *e)
{
    *row = rbac_find(method_name(route->method), route->path);
    if (!*row)
        return err_set(e, ERR_INTERNAL, "route %s: %s %s has no row in rbac.json", route->name,
                       method_name(route->method), route->path);
    if (strcmp((*row)->permission, access_text(route)) != 0)
        return err_set(e, ERR_INTERNAL, "route %s: it asks for '%s', its row in rbac.json for '%s'",
                       route->name, access_text(route), (*row)->permission);
    if (route->access == ACCESS_SESSION && (*row)->takes_keys)
        return err_set(e, ERR_INTERNAL, "route %s: its row in rbac.json lets API keys in", route->name);
    if (route->access == ACCESS_PERMISSION && route->scope != SCOPE_WORKSPACE)
        return err_set(e, ERR_INTERNAL, "route %s: a permission is held in a workspace", route->name);
    if (!route->answer && route->is_list)
        return err_set(e, ERR_INTERNAL, "route %s: a list needs the shape of its items", route->name);
    if (route->is_merge && !route->body)
        return err_set(e, ERR_INTERNAL, "route %s: a merge needs the shape of what it changes", route->name);
    return ERR_NONE;
}

static enum errc add_endpoints(struct api *a, const struct api_mount *mount, err *e)
{
    for (unsigned i = 0; i < mount->table->n; i++) {
        struct endpoint *ep = &a->endpoints[a->n_endpoints++];
        const struct api_route *route = &mount->table->routes[i];
        str name[] = {str_c(route->name)};
        *ep = (struct endpoint){.api = route, .service = mount->service, .tag = mount->table->tag};
        enum errc rc = check_route(route, &ep->row, e);
        if (rc != ERR_NONE) return rc;
        ep->body_max = route->body_max ? route->body_max : a->body_max;
        ep->seconds = stats_series(stats_declare(STAT_HISTOGRAM, "catalyst_api_seconds",
                                                 "Time from a request's arrival to its answer.", route_label,
                                                 seconds_bounds_us, LENGTH_OF(seconds_bounds_us), 1000000),
                                   name);
        ep->route = (struct route){
            .method = route->method,
            .path = str_c(route->path),
            .body = ROUTE_API_BODY,
            .admit = api_admit,
            .handle = api_handle,
        };
    }
    return ERR_NONE;
}

static enum errc make_endpoints(struct api *a, err *e)
{
    unsigned n = 0;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < a->n_mounts; i++)
        n += a->mounts[i].table->n;
    a->endpoints = calloc(n, sizeof *a->endpoints);
    if (!a->endpoints) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < a->n_mounts && rc == ERR_NONE; i++)
        rc = add_endpoints(a, &a->mounts[i], e);
    return rc != ERR_NONE ? rc : api_compile(a, e);
}

/* --- the thread that tidies up --- */

static void *tidy_main(void *arg)
{
    struct api *a = arg;
    usec keys_us = 0;
    pthread_setname_np(pthread_self(), "api-tidy");
    pthread_mutex_lock(&a->tidy_lock);
    while (!a->is_stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIDY_S;
        pthread_cond_timedwait(&a->tidy_wake, &a->tidy_lock, &until);
        if (a->is_stopping) break;
        pthread_mutex_unlock(&a->tidy_lock);
        usec now = clock_now_us();
        refusals_tidy(a->refusals, now, false);
        if (now - keys_us > TIDY_KEYS_US) {
            api_idempotency_tidy(a->store, now);
            keys_us = now;
        }
        pthread_mutex_lock(&a->tidy_lock);
    }
    pthread_mutex_unlock(&a->tidy_lock);
    return NULL;
}

static enum errc start_tidying(struct api *a, err *e)
{
    int rc = pthread_create(&a->tidy, NULL, tidy_main, a);
    if (rc != 0) return err_errno(e, ERR_INTERNAL, rc, "starting thread api-tidy");
    a->is_tidying = true;
    return ERR_NONE;
}

static void stop_tidying(struct api *a)
{
    if (!a->is_tidying) return;
    pthread_mutex_lock(&a->tidy_lock);
    a->is_stopping = true;
    pthread_cond_signal(&a->tidy_wake);
    pthread_mutex_unlock(&a->tidy_lock);
    pthread_join(a->tidy, NULL);
    a->is_tidying = false;
}

/* --- life --- */

static struct api *alloc(const struct api_setup *setup)
{
    struct api *a = calloc(1, sizeof *a);
    pthread_condattr_t monotonic;
    if (!a) return NULL;
    a->store = setup->store;
    a->setup = *setup;
    arena_init(&a->arena, ARENA_MAX, 4096);
    buf_init(&a->openapi, OPENAPI_MAX);
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->tidy_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&a->tidy_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return a;
}

enum errc api_new(struct api **out, const struct api_setup *setup, err *e)
{
    const struct config *c = setup->config;
    struct api *a = alloc(setup);
    enum errc rc;
    *out = NULL;
    if (!a) return err_code(e, ERR_NO_MEMORY);
    a->is_behind_proxy = config_bool(c, "listen.behind_tls_proxy");
    a->body_max = (size_t)config_int(c, "limits.api_body_bytes");
    a->requests = stats_declare(STAT_COUNTER, "catalyst_api_requests_total",
                                "Requests under /api by route and status.", request_labels, NULL, 0, 1);
    if (setup->n_mounts >= API_TABLES_MAX) {
        api_free(a);
        return err_set(e, ERR_INTERNAL, "more than %d tables of endpoints", API_TABLES_MAX - 1);
    }
    memcpy(a->mounts, setup->mounts, setup->n_mounts * sizeof a->mounts[0]);
    a->mounts[setup->n_mounts] = (struct api_mount){&api_own_table, a};
    a->n_mounts = setup->n_mounts + 1;
    struct pool_setup pool = {.name = "api",
                              .threads = (unsigned)config_int(c, "api.threads"),
                              .queue = (unsigned)config_int(c, "api.queue"),
                              .wait_ms = (uint64_t)config_int(c, "api.deadline_ms")};
    if ((rc = make_endpoints(a, e)) != ERR_NONE ||
        (rc = rate_new(&a->by_principal, (unsigned)config_int(c, "api.rate_per_minute"), e)) != ERR_NONE ||
        (rc = rate_new(&a->by_address, (unsigned)config_int(c, "api.rate_per_address_per_minute"), e)) !=
            ERR_NONE ||
        (rc = refusals_new(&a->refusals, a->store, e)) != ERR_NONE ||
        (rc = pool_new(&a->pool, &pool, e)) != ERR_NONE || (rc = start_tidying(a, e)) != ERR_NONE) {
        api_free(a);
        return rc;
    }
    api_openapi(setup->mounts, setup->n_mounts, &a->openapi);
    if (buf_err(&a->openapi) != ERR_NONE) {
        api_free(a);
        return err_set(e, ERR_INTERNAL, "openapi.json does not fit into memory");
    }
    *out = a;
    return ERR_NONE;
}

void api_free(struct api *a)
{
    if (!a) return;
    pool_free(a->pool);
    stop_tidying(a);
    if (a->refusals) refusals_tidy(a->refusals, clock_now_us(), true);
    api_calls_free(a); /* answered by the pool after their loop had ended */
    refusals_free(a->refusals);
    rate_free(a->by_principal);
    rate_free(a->by_address);
    buf_fini(&a->openapi);
    free(a->endpoints);
    arena_fini(&a->arena);
    pthread_cond_destroy(&a->tidy_wake);
    pthread_mutex_destroy(&a->tidy_lock);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
