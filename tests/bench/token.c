/* What it costs to let an access token in: signature, claims, and that its session stands, with 1,000 sessions in turn.
 *
 *   build/release/bench/token [SECONDS] [cpu]
 *
 * cpu: time of the CPU instead of the clock's, for a machine that others use too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/backend.h"
#include "core/identity/bearer/bearer.h"
#include "core/workspaces.h"

#define SESSIONS 1000
#define SAMPLES_MAX 4000000

SQL(bench_user, DB_MAIN, SQL_INSTANCE, "u",
    "INSERT INTO users (id, email, email_key, name, is_instance_admin, is_disabled, created_us, updated_us) "
    "VALUES ($1, "
    "'ada@example.com', 'ada@example.com', 'Ada', 0, 0, 0, 0)");
SQL(bench_session, DB_MAIN, 0, "ubuiiu",
    "INSERT INTO sessions (id, token_hash, user_id, created_us, last_seen_us, expires_us, authenticated_us, "
    "address, user_agent, "
    "kind, client, workspace_id) VALUES ($1, $2, $3, $4, $4, $5, $4, '', '', 'program', 'bench', $6)");

static struct grant grants[SESSIONS];
static str tokens[SESSIONS];
static uint32_t samples[SAMPLES_MAX];

static enum errc fill(struct tx *tx, void *ctx, err *e)
{
    usec now = *(usec *)ctx;
    enum errc rc = tx_exec_unaudited(tx, &bench_user, PARAMS(v_uuid(&grants[0].user_id)), NULL, e);
    for (unsigned i = 0; i < SESSIONS && rc == ERR_NONE; i++)
        rc = tx_exec_unaudited(tx, &bench_session,
                               PARAMS(v_uuid(&grants[i].session_id), v_uuid(&grants[i].session_id),
                                      v_uuid(&grants[i].user_id), v_int(now), v_int(now + USEC_PER_DAY),
                                      v_uuid(&grants[i].workspace_id)),
                               NULL, e);
    return rc;
}

static int compare(const void *a, const void *b)
{
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static void must(enum errc rc, const err *e)
{
    if (rc == ERR_NONE) return;
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

int main(int argc, char **argv)
{
    static const struct option_table *const tables[] = {&secrets_options, &signing_options, &identity_options,
                                                        &workspaces_options};
    static const char *const no_environment[] = {NULL};
    struct config_source source = {
        .environ = no_environment, .tables = tables, .n_tables = LENGTH_OF(tables)};
    struct config *config;
    struct buf problems;
    struct arena a, request;
    struct store *store;
    struct secrets *secrets;
    struct events *log;
    struct signing *signing;
    struct identity *id;
    uint8_t people[32];
    err e = {0};
    char dir[] = "/tmp/catalyst_bench_XXXXXX";
    usec now = clock_now_us(), seconds = argc > 1 ? atoll(argv[1]) : 5;
    clockid_t clock = argc > 2 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    size_t n = 0;
    if (!mkdtemp(dir)) return 1;
    log_set_level(LOG_ERROR);
    arena_init(&a, 64u << 20, 0);
    arena_init(&request, 4u << 20, 8u << 10);
    buf_init(&problems, 1 << 16);
    must(config_load(&a, &source, &config, &problems, &e), &e);
    must(store_open(&store, &(struct store_source){.data_dir = dir, .migrates = true}, &e), &e);
    must(secrets_open(&secrets, config, dir, &e), &e);
    secrets_derive(secrets, "people", people);
    must(events_new(&log, store, people, &e), &e);
    must(signing_new(&signing, store, secrets, config, &e), &e);
    must(identity_new(&id,
                      &(struct identity_source){.store = store,
                                                .secrets = secrets,
                                                .config = config,
                                                .signing = signing,
                                                .public_url = S("https://catalyst.example.com")},
                      &e),
         &e);
    uuid user = uuid7_make(now), workspace = uuid7_make(now);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct tokens t;
        grant_begin(&grants[i], now);
        grants[i].user_id = user;
        grants[i].workspace_id = workspace;
        grants[i].client = S("bench");
        grants[i].scopes = S(SCOPES_ALL);
        must(tokens_make(id, &a, &grants[i], now, &t, &e), &e);
        tokens[i] = t.access_token;
    }
    must(db_write(store_db(store, DB_MAIN), fill, &now, &e), &e);
    for (usec until = clock_mono_us() + seconds * USEC_PER_S; clock_mono_us() < until && n < SAMPLES_MAX;
         n++) {
        struct arena_mark m = arena_mark(&request);
        struct api_request r = {
            .arena = &request, .store = store, .service = id, .now_us = now, .address = S("192.0.2.1")};
        struct timespec from, to;
        clock_gettime(clock, &from);
        must(bearer_authenticate(id, &r, tokens[n % SESSIONS], &e), &e);
        clock_gettime(clock, &to);
        samples[n] = (uint32_t)((to.tv_sec - from.tv_sec) * 1000000000 + (to.tv_nsec - from.tv_nsec));
        arena_reset(&request, m);
    }
    qsort(samples, n, sizeof samples[0], compare);
    printf("%zu checks, microseconds: p50 %.1f, p99 %.1f, p99.9 %.1f\n", n, samples[n / 2] / 1e3,
           samples[n * 99 / 100] / 1e3, samples[n * 999 / 1000] / 1e3);
    identity_free(id);
    signing_free(signing);
    events_free(log);
    store_close(store);
    secrets_free(secrets);
    arena_fini(&request);
    arena_fini(&a);
    buf_fini(&problems);
    return 0;
}
