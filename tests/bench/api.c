/* api - requests that change something, a second, through the program's own path without the network.
 *
 *     bench/api [DIR [URL]]
 *
 * 32 threads ask to make things, each as the pool would run it: who asks, membership and permission in one
 * snapshot, rates, decoding, one unit of work with its row and its event (numbered and hashed in the group
 * commit, synced), the encoded answer. DIR is where SQLite's files go (default: a new folder under TMPDIR or
 * /tmp); its disk decides what a synced commit costs. With a URL (postgresql://…, an empty database)
 * PostgreSQL is measured instead. The mark, on SQLite: 5,000 a second.
 */
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "core/api/api_internal.h"
#include "core/config.h"
#include "core/events.h"
#include "net/options.h"
#include "store/migrate.h"

#define SECONDS 3
#define THREADS_MAX 32u

SQL(bench_member, DB_MAIN, 0, "uu",
    "SELECT role FROM bench_members WHERE workspace_id = $1 AND user_id = $2");
SQL(bench_join, DB_MAIN, 0, "uut",
    "INSERT INTO bench_members (workspace_id, user_id, role) VALUES ($1, $2, $3)");
SQL(bench_insert, DB_MAIN, 0, "uutt",
    "INSERT INTO bench_things (id, workspace_id, name, note) VALUES ($1, $2, $3, $4)");

static const char tables[] = "-- database: main\n"
                             "CREATE TABLE bench_members (workspace_id {uuid} NOT NULL, user_id {uuid} NOT "
                             "NULL, role {text} NOT NULL,\n"
                             "    PRIMARY KEY (workspace_id, user_id));\n"
                             "CREATE TABLE bench_things (id {uuid} PRIMARY KEY, workspace_id {uuid} NOT "
                             "NULL, name {text} NOT NULL, note {text});\n"
                             "CREATE INDEX bench_things_by_workspace ON bench_things (workspace_id, id);\n";

static const uuid workspace = {{0x77}}, user = {{0xa1}};

static void die(const err *e)
{
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

/* --- the service --- */

struct thing {
    uuid id;
    str name, note;
};
static const struct field thing_fields[] = {
    FIELD(struct thing, id, FIELD_UUID, .flags = FIELD_READONLY),
    FIELD(struct thing, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED),
    FIELD(struct thing, note, FIELD_TEXT, .max = 1000, .flags = FIELD_NULLABLE),
};
static const struct shape thing_shape = SHAPE("Thing", struct thing, thing_fields, "A thing.");

static enum errc prepare(struct api_request *r, err *e)
{
    struct thing *t = r->body;
    t->id = uuid7_make(r->now_us);
    return person_key_ensure(r->store, &r->who.user_id, r->now_us, e);
}

static enum errc apply(struct api_request *r, struct tx *tx, err *e)
{
    struct thing *t = r->body;
    struct event ev = event_of(r, S("thing.created"), 0);
    ev.shape = &thing_shape;
    ev.after = t;
    ev.resource_type = S("thing");
    ev.resource_id = t->id;
    r->answer = t;
    r->location = api_location(r, "/api/projects", &t->id);
    enum errc rc = tx_exec(
        tx, &bench_insert,
        PARAMS(v_uuid(&t->id), v_uuid(&r->workspace_id), v_text(t->name), v_text_or_null(t->note)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/projects",
     .name = "things_new",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_PROJECTS_CREATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &thing_shape,
     .answer = &thing_shape,
     .status = 201,
     .summary = "A new thing",
     .prepare = prepare,
     .apply = apply},
};
static const struct api_table table = {"things", routes, LENGTH_OF(routes)};

static enum errc authenticate(void *ctx, struct api_request *r, const struct http_head *h, err *e)
{
    (void)ctx, (void)h, (void)e;
    r->who =
        (struct principal){.kind = PRINCIPAL_SESSION, .user_id = user, .key_scopes = permission_set_all()};
    return ERR_NONE;
}

static enum errc authorize(void *ctx, struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    enum role role;
    (void)ctx;
    enum errc rc = tx_query_row(tx, r->arena, &bench_member,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->who.user_id)), &row, e);
    if (rc != ERR_NONE || !role_parse(val_str(&row[0]), &role))
        return rc != ERR_NONE ? rc : err_code(e, ERR_CORRUPT);
    r->may = *role_permissions(role);
    return ERR_NONE;
}

static enum errc only_workspace(void *ctx, struct api_request *r, struct tx *tx, uuid *out, err *e)
{
    (void)ctx, (void)r, (void)tx, (void)e;
    *out = workspace;
    return ERR_NONE;
}

static enum errc join(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec_unaudited(tx, &bench_join, PARAMS(v_uuid(&workspace), v_uuid(&user), v_text(S("owner"))),
                             NULL, e);
}

/* --- measuring --- */

struct worker {
    struct api *api;
    atomic_bool *is_over;
    bool has_key; /* an Idempotency-Key each time */
    uint64_t n_done, n_other;
    int64_t longest_us;
};

static void ask(struct worker *w, const struct endpoint *ep, uint64_t number)
{
    static const char body[] =
        "{\"name\":\"a thing of the benchmark\",\"note\":\"which has a note of some length, as notes have\"}";
    char key[40];
    struct api_call *k = api_call_new(w->api, ep);
    usec began = clock_mono_us();
    if (!k) abort();
    k->head =
        (struct http_head){.method = HTTP_POST, .path = S("/api/projects"), .n_fields = w->has_key ? 1 : 0};
    if (w->has_key) {
        int n = snprintf(key, sizeof key, "%p-%llu", (void *)w, (unsigned long long)number);
        k->head.fields[0] = (struct http_field){S("Idempotency-Key"), str_of(key, (size_t)n)};
    }
    k->r = (struct api_request){.arena = &k->arena,
                                .route = ep->api,
                                .store = w->api->store,
                                .now_us = clock_now_us(),
                                .request_id = uuid7_make(clock_now_us()),
                                .method = HTTP_POST,
                                .address = S("192.0.2.1"),
                                .user_agent = S("bench/1")};
    buf_init(&k->body, sizeof body);
    buf_add(&k->body, str_of(body, sizeof body - 1));
    api_run(k);
    if (k->status == 201)
        w->n_done++;
    else if (w->n_other++ == 0)
        fprintf(stderr, "status %d: %.*s\n", k->status, STR(buf_str(&k->out)));
    int64_t us = clock_mono_us() - began;
    w->longest_us = us > w->longest_us ? us : w->longest_us;
    api_call_free(k);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    str allow;
    const struct endpoint *ep = api_find(w->api, HTTP_POST, S("/api/projects"), &allow);
    for (uint64_t i = 0; !*w->is_over; i++)
        ask(w, ep, i);
    return NULL;
}

static void measure(struct api *api, unsigned n, bool has_key)
{
    struct worker workers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    atomic_bool is_over = false;
    uint64_t done = 0, other = 0;
    int64_t longest = 0;
    usec began = clock_mono_us();
    for (unsigned i = 0; i < n; i++) {
        workers[i] = (struct worker){.api = api, .is_over = &is_over, .has_key = has_key};
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) abort();
    }
    sleep(SECONDS);
    is_over = true;
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        done += workers[i].n_done;
        other += workers[i].n_other;
        longest = workers[i].longest_us > longest ? workers[i].longest_us : longest;
    }
    double s = (double)(clock_mono_us() - began) / 1e6;
    printf("%2u threads%s: %7.0f changing requests/s, longest %.1f ms%s\n", n,
           has_key ? ", each with an Idempotency-Key" : "", (double)done / s, (double)longest / 1e3,
           other ? ", some refused" : "");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct migration migrations[64];
    static const struct option_table *const tables_of_options[] = {&net_options, &api_options};
    static const struct config_setting settings[] = {
        {STR_LIT("api.rate_per_minute"), STR_LIT("0"), STR_LIT("")}};
    static const uint8_t master[32] = {1};
    char folder[] = "/tmp/catalyst_bench_XXXXXX";
    const char *dir = argc > 1 ? argv[1] : mkdtemp(folder);
    struct config_source source = {.flags = settings,
                                   .n_flags = LENGTH_OF(settings),
                                   .tables = tables_of_options,
                                   .n_tables = LENGTH_OF(tables_of_options)};
    struct store_source store_source = {
        .data_dir = dir, .url = str_c(argc > 2 ? argv[2] : ""), .migrates = true};
    struct config *config;
    struct store *store = NULL;
    struct events *log = NULL;
    struct api *api;
    struct arena a;
    struct buf problems;
    err e = {0};
    log_set_level(LOG_ERROR);
    arena_init(&a, 1 << 20, 0);
    buf_init(&problems, 1 << 16);
    memcpy(migrations, migrations_embedded, migrations_embedded_n * sizeof migrations[0]);
    migrations[migrations_embedded_n] =
        (struct migration){"9000_tables", tables, tables + sizeof tables - 1, NULL, NULL};
    if (stats_init(1) != ERR_NONE || config_load(&a, &source, &config, &problems, &e) != ERR_NONE ||
        store_open_with(&store, &store_source, migrations, migrations_embedded_n + 1, &e) != ERR_NONE ||
        events_new(&log, store, master, &e) != ERR_NONE ||
        db_write(store_db(store, DB_MAIN), join, NULL, &e) != ERR_NONE)
        die(&e);
    struct api_mount mount = {&table, NULL};
    struct api_setup setup = {.store = store,
                              .config = config,
                              .mounts = &mount,
                              .n_mounts = 1,
                              .authenticate = authenticate,
                              .authorize = authorize,
                              .only_workspace = only_workspace};
    if (api_new(&api, &setup, &e) != ERR_NONE) die(&e);
    measure(api, 1, false);
    measure(api, 8, false);
    measure(api, 32, false);
    measure(api, 32, true);
    api_free(api);
    events_free(log);
    store_close(store);
    stats_fini();
    buf_fini(&problems);
    arena_fini(&a);
    if (argc <= 1) nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
