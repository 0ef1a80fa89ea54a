/* Refusals and sensitive reads as events: the first ten of a principal or address, route and minute singly, then one that counts
 * the rest, so that nobody can flood the log. What is read singly is in the log before it is answered. */
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "core/api/api_internal.h"
#include "core/events.h"

#define SINGLY 10
#define ENTRIES                                                                                              \
    1024 /* callers and routes of a minute that are told apart; one more makes the least recent be written */
#define WAYS 8
#define ADDRESS_MAX 64
#define MINUTE_US (60LL * USEC_PER_S)
#define EVENT_N 1000 /* apart from the events that a handler numbers from 0 */

struct refusal {
    uint64_t key; /* 0: free */
    int64_t minute;
    unsigned n;
    const struct api_route *route;
    const char *permission;
    enum errc code;       /* ERR_NONE: it was read */
    struct principal who; /* without its texts */
    uuid workspace_id;
    bool is_member;
    char address[ADDRESS_MAX];
    size_t address_len;
};

struct refusals {
    struct store *store;
    pthread_mutex_t lock; /* guards the entries */
    struct refusal entries[ENTRIES];
};

enum errc refusals_new(struct refusals **out, struct store *s, err *e)
{
    struct refusals *f = calloc(1, sizeof *f);
    *out = f;
    if (!f) return err_code(e, ERR_NO_MEMORY);
    f->store = s;
    pthread_mutex_init(&f->lock, NULL);
    return ERR_NONE;
}

void refusals_free(struct refusals *f)
{
    if (f) pthread_mutex_destroy(&f->lock);
    free(f);
}

static enum errc add_event(struct tx *tx, void *ctx, err *e) { return tx_event(tx, ctx, e); }

/* What is read, by the name of its event: "audit" of "audit.read". */
static str resource_of(const char *type)
{
    str rest = str_c(type);
    return str_cut(&rest, '.');
}

static struct event event_about(const struct api_request *r, const struct api_route *route, enum errc code, str message)
{
    struct event ev = event_of(r, code == ERR_NONE ? str_c(route->reads) : S("access.denied"), EVENT_N);
    if (code == ERR_NONE) {
        ev.resource_type = resource_of(route->reads);
        for (unsigned i = 0; i < API_PATH_PARAMS; i++)
            if (!uuid_is_nil(&r->path_id[i])) ev.resource_id = r->path_id[i];
        return ev;
    }
    if (!r->role.len) /* a stranger leaves no traces in the workspace that they named */
        ev.workspace_id = (uuid){0};
    ev.resource_type = S("route");
    ev.status = S("failure");
    ev.error = str_c(api_code(code));
    ev.message = code == ERR_FORBIDDEN ? message : str_c(errc_text(code)); /* others may repeat what the client sent */
    return ev;
}

/* n: how many the event stands for. */
static enum errc write_event(struct store *s, const struct api_request *r, const struct api_route *route, const char *permission,
                             enum errc code, str message, unsigned n, err *e)
{
    struct buf metadata;
    struct json_writer w;
    struct event ev = event_about(r, route, code, message);
    buf_init(&metadata, 1024);
    json_writer_init(&w, &metadata);
    json_object(&w);
    json_put_str(&w, "route", str_c(route->name));
    if (permission) json_put_str(&w, "permission", str_c(permission));
    json_put_int(&w, "count", n);
    json_end(&w);
    ev.metadata = buf_str(&metadata);
    enum errc rc = person_key_ensure(s, &r->who.user_id, r->now_us, e);
    if (rc == ERR_NONE) rc = db_write(store_db(s, DB_MAIN), add_event, &ev, e);
    if (rc != ERR_NONE) log_error(LOG_ERROR, code == ERR_NONE ? "read_not_recorded" : "refusal_not_recorded", e);
    buf_fini(&metadata);
    return rc;
}

static void write_counted(struct store *s, const struct refusal *x, usec now_us)
{
    struct api_request r = {
        .now_us = now_us,
        .request_id = uuid7_make(now_us),
        .who = x->who,
        .workspace_id = x->workspace_id,
        .role = x->is_member ? S("member") : S(""),
        .address = str_of(x->address, x->address_len),
    };
    err e = {0};
    (void)!write_event(s, &r, x->route, x->permission, x->code, str_c(errc_text(x->code)), x->n - SINGLY, &e); /* it has told */
}

static uint64_t key_of(const struct api_request *r, bool is_read)
{
    struct {
        uint8_t who[16], workspace[16];
        const struct api_route *route;
        uint64_t is_read;
    } key = {.route = r->route, .is_read = is_read};
    if (is_read) memcpy(key.workspace, r->workspace_id.b, sizeof key.workspace);
    if (!uuid_is_nil(&r->who.user_id)) {
        memcpy(key.who, r->who.user_id.b, sizeof key.who);
    } else {
        uint64_t address = hash_bytes(r->address);
        memcpy(key.who, &address, sizeof address);
    }
    uint64_t hash = hash_bytes(str_of((const char *)&key, sizeof key));
    return hash ? hash : 1;
}

static void begin(struct refusal *x, uint64_t key, int64_t minute, const struct api_request *r,
                  const char *permission, enum errc code)
{
    *x = (struct refusal){.key = key,
                          .minute = minute,
                          .route = r->route,
                          .permission = permission,
                          .code = code,
                          .who = r->who,
                          .workspace_id = r->workspace_id,
                          .is_member = r->role.len > 0};
    x->who.email = x->who.name = (str){NULL, 0};
    x->who.key_projects = NULL;
    x->who.n_key_projects = 0;
    x->address_len = r->address.len < ADDRESS_MAX ? r->address.len : ADDRESS_MAX;
    if (x->address_len) memcpy(x->address, r->address.p, x->address_len);
}

static enum errc add(struct refusals *f, const struct api_request *r, const char *permission, enum errc code, str message, err *e)
{
    uint64_t key = key_of(r, code == ERR_NONE);
    int64_t minute = r->now_us / MINUTE_US;
    struct refusal *set = &f->entries[key % (ENTRIES / WAYS) * WAYS], *x = &set[0], old = {0};
    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            x = &set[i];
            break;
        }
        if (!set[i].key || (x->key && set[i].minute < x->minute)) x = &set[i];
    }
    if (x->key != key || x->minute != minute) {
        old = *x;
        begin(x, key, minute, r, permission, code);
    }
    bool is_single = ++x->n <= SINGLY;
    pthread_mutex_unlock(&f->lock);
    if (old.n > SINGLY) write_counted(f->store, &old, r->now_us);
    return is_single ? write_event(f->store, r, r->route, permission, code, message, 1, e) : ERR_NONE;
}

void refusals_add(struct refusals *f, const struct api_request *r, const char *permission, enum errc code, str message)
{
    err e = {0};
    (void)!add(f, r, permission, code, message, &e); /* it has told */
}

enum errc reads_add(struct refusals *f, const struct api_request *r, err *e) { return add(f, r, NULL, ERR_NONE, (str){0}, e); }

void refusals_tidy(struct refusals *f, usec now_us, bool all)
{
    int64_t minute = now_us / MINUTE_US;
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct refusal old = {0};
        pthread_mutex_lock(&f->lock);
        if (f->entries[i].key && (all || f->entries[i].minute < minute)) {
            old = f->entries[i];
            f->entries[i] = (struct refusal){0};
        }
        pthread_mutex_unlock(&f->lock);
        if (old.n > SINGLY) write_counted(f->store, &old, now_us);
    }
}
