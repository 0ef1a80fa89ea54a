#include "core/secrets.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/events.h"
#include "core/secrets/keyring.h"

#define BOUND_MAX 256
#define ROWS_ARENA (256u << 20)
#define LOOK_AGAIN_US (10 * USEC_PER_S)

_Static_assert(SECRET_OVERHEAD == HEAD_LEN + AEAD_OVERHEAD,
               "a sealed value is its head, a nonce, the text and a tag");

/* --- opening --- */

static void take_master(struct keyring *r)
{
    uint8_t id[32];
    const uint8_t *master = root_key_bytes(r->root);
    r->has_master = master != NULL;
    if (!master) return;
    str text = str_of((const char *)master, MASTER_KEY_LEN);
    hkdf_sha256(text, S("catalyst sealing"), r->master_sealing, sizeof r->master_sealing);
    hkdf_sha256(text, S("catalyst key id"), id, sizeof id);
    r->master_id = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

enum errc secrets_open(struct secrets **out, const struct config *config, const char *data_dir, err *e)
{
    struct secrets *s = calloc(1, sizeof *s);
    struct keyring *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!s || !r) {
        free(s);
        free(r);
        return err_code(e, ERR_NO_MEMORY);
    }
    s->ring = r;
    pthread_rwlock_init(&r->lock, NULL);
    pthread_mutex_init(&r->loading, NULL);
    map_init(&r->keys);
    map_init(&r->scopes);
    enum errc rc = waker_init(&r->waker, e);
    if (!rc) rc = root_key_open(&r->root, config, data_dir, e);
    if (!rc) rc = add_root(r, r->root, e);
    for (unsigned i = 0; !rc && r->n_roots < ROOTS_MAX; i++) {
        struct root_key *other;
        if (root_key_other(&other, config, data_dir, i, NULL) != ERR_NONE) break;
        rc = add_root(r, other, e);
    }
    if (rc) {
        secrets_free(s);
        return rc;
    }
    take_master(r);
    *out = s;
    return ERR_NONE;
}

void secrets_stop(struct secrets *s)
{
    if (!s) return;
    waker_stop(&s->ring->waker);
    if (s->ring->has_thread) pthread_join(s->ring->thread, NULL);
    s->ring->has_thread = false;
}

void secrets_free(struct secrets *s)
{
    struct keyring *r = s ? s->ring : NULL;
    str name;
    void *value;
    if (!s) return;
    secrets_stop(s);
    waker_fini(&r->waker);
    for (size_t it = 0; map_next(&r->keys, &it, &name, &value);) {
        explicit_bzero(value, sizeof(struct data_key));
        free(value);
    }
    for (size_t it = 0; map_next(&r->scopes, &it, &name, &value);)
        free(value);
    map_fini(&r->keys);
    map_fini(&r->scopes);
    for (unsigned i = 0; i < r->n_roots; i++)
        root_key_free(r->roots[i]);
    pthread_mutex_destroy(&r->loading);
    pthread_rwlock_destroy(&r->lock);
    explicit_bzero(r, sizeof *r);
    free(r);
    free(s);
}

struct root_key *secrets_root(const struct secrets *s) { return s->ring->root; }

bool secrets_has_data_keys(const struct secrets *s)
{
    pthread_rwlock_rdlock(&s->ring->lock);
    bool has = s->ring->generation > 0;
    pthread_rwlock_unlock(&s->ring->lock);
    return has;
}

/* --- the database's keys --- */

/* By its fingerprints: the root that a database without an instance's key is sealed under. */
static enum errc choose_root(struct keyring *r, const struct key_rows *rows, err *e)
{
    uint8_t print[SHA256_LEN];
    for (unsigned i = 0; i < r->n_roots; i++) {
        root_fingerprint(r->roots[i], print);
        for (unsigned k = 0; k < rows->n_fingerprints; k++)
            if (str_eq(rows->fingerprints[k], str_of((const char *)print, sizeof print))) {
                r->root = r->roots[i];
                return ERR_NONE;
            }
    }
    if (!rows->n_fingerprints) return ERR_NONE;
    return err_set(
        e, ERR_CONFIG,
        "this master key is not the one that the database is sealed under: copy DIR/master.key of the server "
        "that made it, or name its file with security.master_key_file");
}

SQL(any_person, DB_PEOPLE, SQL_INSTANCE, "", "SELECT 1 FROM person_keys LIMIT 1");

static enum errc any_person_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    struct rows rows;
    arena_init(&a, 4096, 0);
    enum errc rc = tx_query(tx, &a, &any_person, NULL, 0, &rows, e);
    *(bool *)ctx = !rc && rows.n;
    arena_fini(&a);
    return rc;
}

/* A new database has its keys at once; one of an earlier release on its second day. */
static enum errc found_if_due(struct keyring *r, const struct key_rows *rows, usec now_us, err *e)
{
    bool was_used = false;
    enum errc rc = db_read(store_db(r->store, DB_PEOPLE), any_person_unit, &was_used, e);
    if (rc) return rc;
    was_used = was_used || rows->n_fingerprints;
    if (was_used && r->has_master && now_us - rows->upgraded_us < UPGRADE_US) return ERR_NONE;
    return keyring_found(r, !was_used, now_us, e);
}

static enum errc attach(struct keyring *r, struct key_rows *rows, usec now_us, err *e)
{
    enum errc rc = db_read(store_db(r->store, DB_MAIN), tx_key_rows, rows, e);
    if (rc) return rc;
    r->looked_us = clock_mono_us();
    if (rows->generation) {
        pthread_mutex_lock(&r->loading);
        rc = keyring_take(r, rows, true, e);
        pthread_mutex_unlock(&r->loading);
    } else {
        rc = choose_root(r, rows, e);
        take_master(r);
        if (!rc) rc = found_if_due(r, rows, now_us, e);
    }
    return rc;
}

enum errc secrets_attach(struct secrets *s, struct store *store, usec now_us, err *e)
{
    struct keyring *r = s->ring;
    struct arena a;
    struct key_rows rows = {.a = &a};
    struct root_key *configured = r->root;
    arena_init(&a, ROWS_ARENA, 0);
    r->store = store;
    enum errc rc = attach(r, &rows, now_us, e);
    if (!rc) rc = root_key_take_place(r->root, e);
    if (!rc && r->root != configured)
        log_event(LOG_WARN, "root_key_is_another", LOG_S("in_force", root_key_id(r->root)),
                  LOG_S("configured", root_key_id(configured)));
    arena_fini(&a);
    return rc;
}

struct claim {
    const struct root_key *root;
    usec now_us;
};

static enum errc claim_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena a;
    struct key_rows rows = {.a = &a};
    const struct claim *c = ctx;
    arena_init(&a, ROWS_ARENA, 0);
    enum errc rc = tx_key_rows(tx, &rows, e);
    if (!rc && !rows.n_fingerprints) rc = tx_put_fingerprint(tx, c->root, false, c->now_us, e);
    arena_fini(&a);
    return rc;
}

enum errc secrets_claim(struct secrets *s, usec now_us, err *e)
{
    struct claim c = {s->ring->root, now_us};
    return db_write(store_db(s->ring->store, DB_MAIN), claim_unit, &c, e);
}

enum errc tx_secrets(struct tx *tx, const struct secrets *s, err *e)
{
    struct arena a;
    struct key_rows rows = {.a = &a};
    arena_init(&a, ROWS_ARENA, 0);
    enum errc rc = tx_key_rows(tx, &rows, e);
    if (!rc) rc = keyring_take(s->ring, &rows, false, e);
    arena_fini(&a);
    return rc;
}

void secrets_derive(const struct secrets *s, const char *purpose, uint8_t out[32])
{
    char info[64];
    uint8_t base[32] = {0};
    int n = snprintf(info, sizeof info, "catalyst %s", purpose);
    pthread_rwlock_rdlock(&s->ring->lock);
    const uint8_t *from = s->ring->has_base ? s->ring->base : root_key_bytes(s->ring->root);
    if (from) memcpy(base, from, sizeof base);
    pthread_rwlock_unlock(&s->ring->lock);
    /* purposes are literals, and nobody derives from a remote key before secrets_attach */
    if (n < 0 || (size_t)n >= sizeof info || !from) abort();
    hkdf_sha256(str_of((const char *)base, sizeof base), str_of(info, (size_t)n), out, 32);
    explicit_bzero(base, sizeof base);
}

/* --- what other nodes do --- */

static void see(void *ctx, const struct sealed_event *ev)
{
    struct keyring *r = ctx;
    (void)ev;
    waker_wake(&r->waker);
}

/* Tries until it has the keys: a file that somebody still has to copy here, a Vault that is away. */
static void *follower_main(void *arg)
{
    struct keyring *r = arg;
    bool was_well = true;
    usec wait_us = -1;
    while (waker_wait(&r->waker, wait_us)) {
        err e = {0};
        enum errc rc = keyring_load(r, &e);
        if (rc && was_well) log_error(LOG_ERROR, "keys_not_taken", &e);
        if (!rc && !was_well) log_event(LOG_INFO, "keys_taken", LOG_S("root", root_key_id(r->root)));
        was_well = !rc;
        atomic_store(&r->is_behind, rc != ERR_NONE);
        wait_us = rc ? USEC_PER_S : -1;
    }
    return NULL;
}

enum errc secrets_watch(struct secrets *s, struct events *log, err *e)
{
    struct keyring *r = s->ring;
    events_watch(log, &(struct watcher){.types = "data_key.*|root_key.*", .see = see, .ctx = r});
    int number = pthread_create(&r->thread, NULL, follower_main, r);
    r->has_thread = number == 0;
    return number ? err_errno(e, ERR_INTERNAL, number, "starting the thread that follows keys") : ERR_NONE;
}

bool secrets_is_behind(const struct secrets *s) { return atomic_load(&s->ring->is_behind); }

/* --- sealed values --- */

extern const struct sealed_column *const __start_catalyst_sealed[]
    __attribute__((weak, visibility("hidden")));
extern const struct sealed_column *const __stop_catalyst_sealed[] __attribute__((weak, visibility("hidden")));

const struct sealed_column *const *sealed_columns(size_t *n)
{
    *n = (size_t)(__stop_catalyst_sealed - __start_catalyst_sealed);
    return __start_catalyst_sealed;
}

static bool is_registered(const char *table, const char *column)
{
    size_t n;
    const struct sealed_column *const *all = sealed_columns(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i]->table, table) == 0 && strcmp(all[i]->column, column) == 0) return true;
    return false;
}

/* What a value is bound to: its format and key, its table and column, each ended by a NUL, its row, and with format 2
 * its workspace. */
static str bound_to(char out[BOUND_MAX], const uint8_t head[HEAD_LEN], const char *table, const uuid *row,
                    const char *column, const uuid *workspace)
{
    size_t t = strlen(table) + 1, c = strlen(column) + 1, len = HEAD_LEN + t + c + 2 * sizeof row->b;
    if (len > BOUND_MAX) abort(); /* names of tables and columns are literals */
    memcpy(out, head, HEAD_LEN);
    memcpy(out + HEAD_LEN, table, t);
    memcpy(out + HEAD_LEN + t, column, c);
    memcpy(out + HEAD_LEN + t + c, row->b, sizeof row->b);
    memcpy(out + len - sizeof row->b, workspace->b, sizeof row->b);
    return str_of(out, head[0] == FORMAT_MASTER ? len - sizeof row->b : len);
}

static void put_number(uint8_t out[KEY_ID_LEN], uint32_t n)
{
    for (int i = 0; i < KEY_ID_LEN; i++)
        out[i] = (uint8_t)(n >> (24 - 8 * i));
}

static uint32_t number_of(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The key that new values of the workspace go under, made when there is none; *format says which. */
static enum errc sealing_key(struct keyring *r, const uuid *workspace, uint8_t *format, uint32_t *version,
                             uint8_t key[AEAD_KEY_LEN], err *e)
{
    enum errc rc = ERR_NONE;
    *format = FORMAT_DATA;
    for (unsigned tries = 0; !rc && tries < 3; tries++) {
        *version = 0;
        if (keyring_find(r, PURPOSE_SEAL, workspace, version, key)) return ERR_NONE;
        pthread_rwlock_rdlock(&r->lock);
        bool has_instance = r->generation > 0;
        bool is_due = r->store && clock_mono_us() - r->looked_us > LOOK_AGAIN_US;
        pthread_rwlock_unlock(&r->lock);
        if (has_instance && !db_is_in_unit()) {
            rc = tries ? keyring_make(r, workspace, clock_now_us(), e) : keyring_load(r, e);
        } else if (is_due && !db_is_in_unit()) { /* another node, or the second day */
            struct arena a;
            struct key_rows rows = {.a = &a};
            arena_init(&a, ROWS_ARENA, 0);
            rc = attach(r, &rows, clock_now_us(), e);
            arena_fini(&a);
        } else {
            break;
        }
    }
    if (rc) return rc;
    if (!r->has_master || secrets_has_data_keys(&(struct secrets){r}))
        return err_set(e, ERR_UNAVAILABLE, "the data key of a workspace is not at hand");
    *format = FORMAT_MASTER;
    *version = r->master_id;
    memcpy(key, r->master_sealing, AEAD_KEY_LEN);
    return ERR_NONE;
}

enum errc secret_seal_in(const struct secrets *s, struct arena *a, const uuid *workspace, const char *table,
                         const uuid *row, const char *column, str plain, str *sealed, err *e)
{
    char bound[BOUND_MAX];
    uint8_t key[AEAD_KEY_LEN];
    uint32_t version;
    uint8_t *out = (uint8_t *)arena_bytes(a, plain.len + SECRET_OVERHEAD);
    if (!is_registered(table, column))
        return err_set(e, ERR_INTERNAL, "%s.%s is no place of sealed values: SEALED_COLUMN in core/secrets.h registers one", table, column);
    if (!out) return err_set(e, ERR_TOO_LARGE, "a secret of %zu bytes does not fit", plain.len);
    enum errc rc = sealing_key(s->ring, workspace, &out[0], &version, key, e);
    if (rc) return rc;
    put_number(out + 1, version);
    rc = aead_seal(key, bound_to(bound, out, table, row, column, workspace), plain, out + HEAD_LEN, e);
    explicit_bzero(key, sizeof key);
    *sealed = str_of((const char *)out, plain.len + SECRET_OVERHEAD);
    return rc;
}

enum errc secret_seal(const struct secrets *s, struct arena *a, const char *table, const uuid *row,
                      const char *column, str plain, str *sealed, err *e)
{
    return secret_seal_in(s, a, &instance_scope, table, row, column, plain, sealed, e);
}

/* The key that the value's head names; ERR_CORRUPT: there is none any more. */
static enum errc opening_key(struct keyring *r, const uuid *workspace, const uint8_t *head, const char *table,
                             const char *column, uint8_t key[AEAD_KEY_LEN], err *e)
{
    uint32_t number = number_of(head + 1);
    bool is_old = head[0] == FORMAT_MASTER;
    if (is_old && r->has_master && number == r->master_id) {
        memcpy(key, r->master_sealing, AEAD_KEY_LEN);
        return ERR_NONE;
    }
    const char *purpose = is_old ? PURPOSE_MASTER : PURPOSE_SEAL;
    const uuid *scope = is_old ? &instance_scope : workspace;
    if (!number) return err_set(e, ERR_CORRUPT, "the secret in %s.%s is damaged", table, column);
    if (keyring_find(r, purpose, scope, &number, key)) return ERR_NONE;
    if (r->store && db_is_in_unit())
        return err_set(e, ERR_UNAVAILABLE, "the key of the secret in %s.%s is not at hand", table, column);
    enum errc rc = r->store ? keyring_load(r, e) : ERR_NONE;
    if (rc) return rc;
    if (keyring_find(r, purpose, scope, &number, key)) return ERR_NONE;
    return is_old ? err_set(e, ERR_CORRUPT, "the secret in %s.%s was sealed under another master key", table,
                            column)
                  : err_set(e, ERR_CORRUPT,
                            "the key that the secret in %s.%s was sealed under does not exist any more",
                            table, column);
}

enum errc secret_open_in(const struct secrets *s, struct arena *a, const uuid *workspace, const char *table,
                         const uuid *row, const char *column, str sealed, str *plain, err *e)
{
    char bound[BOUND_MAX];
    uint8_t key[AEAD_KEY_LEN];
    const uint8_t *head = (const uint8_t *)sealed.p;
    if (sealed.len < SECRET_OVERHEAD || (head[0] != FORMAT_MASTER && head[0] != FORMAT_DATA))
        return err_set(e, ERR_CORRUPT, "the secret in %s.%s is damaged", table, column);
    enum errc rc = opening_key(s->ring, workspace, head, table, column, key, e);
    if (rc) return rc;
    size_t len = sealed.len - SECRET_OVERHEAD;
    char *out = arena_bytes(a, len + 1); /* one more, so that an empty secret has a place too */
    if (!out) return err_set(e, ERR_TOO_LARGE, "a secret of %zu bytes does not fit", len);
    rc = aead_open(key, bound_to(bound, head, table, row, column, workspace), str_skip(sealed, HEAD_LEN),
                   (uint8_t *)out, NULL);
    explicit_bzero(key, sizeof key);
    if (rc)
        return err_set(e, ERR_CORRUPT, "the secret in %s.%s was changed or moved there from another place",
                       table, column);
    *plain = str_of(out, len);
    return ERR_NONE;
}

enum errc secret_open(const struct secrets *s, struct arena *a, const char *table, const uuid *row,
                      const char *column, str sealed, str *plain, err *e)
{
    return secret_open_in(s, a, &instance_scope, table, row, column, sealed, plain, e);
}

static const struct option options[] = {
    {.key = "security.root_key",
     .type = OPTION_ONE_OF,
     .fallback = "local",
     .choices = "local|vault|aws_kms",
     .meaning = "Where the master key is kept: local (security.master_key_file, security.master_key, the "
                "systemd credential, or "
                "DIR/master.key), in the transit engine of a Vault, or in AWS KMS."},
    {.key = "security.master_key_file",
     .type = OPTION_TEXT,
     .meaning = "File with the master key as 64 hexadecimal digits; without it and security.master_key the "
                "systemd credential "
                "catalyst_master_key, else DIR/master.key, made at the first start."},
    {.key = "security.master_key",
     .type = OPTION_SECRET,
     .meaning = "The master key itself; meant for CATALYST_SECURITY__MASTER_KEY."},
    {.key = "security.next_master_key_file",
     .type = OPTION_TEXT,
     .meaning = "File with the master key that `catalyst keys rotate` goes over to, where the present one is "
                "no file that it may "
                "write; a server starts with whichever of both the database is sealed under."},
    {.key = "security.vault_url",
     .type = OPTION_TEXT,
     .meaning = "Vault or OpenBao that keeps the master key, as https://vault.example:8200."},
    {.key = "security.vault_mount",
     .type = OPTION_TEXT,
     .fallback = "transit",
     .meaning = "Where its transit engine is mounted."},
    {.key = "security.vault_key",
     .type = OPTION_TEXT,
     .fallback = "catalyst",
     .meaning = "Name of the key there; of a type that takes associated data (aes256-gcm96)."},
    {.key = "security.vault_namespace", .type = OPTION_TEXT, .meaning = "Namespace of the Vault."},
    {.key = "security.vault_token",
     .type = OPTION_SECRET,
     .meaning = "Token for the Vault; meant for CATALYST_SECURITY__VAULT_TOKEN."},
    {.key = "security.vault_token_file",
     .type = OPTION_TEXT,
     .meaning = "File with the token, read for each call: an agent may renew it."},
    {.key = "security.vault_role_id",
     .type = OPTION_TEXT,
     .meaning = "AppRole to sign in to the Vault with, instead of a token."},
    {.key = "security.vault_secret_id",
     .type = OPTION_SECRET,
     .meaning = "The AppRole's secret; meant for CATALYST_SECURITY__VAULT_SECRET_ID."},
    {.key = "security.vault_secret_id_file",
     .type = OPTION_TEXT,
     .meaning = "File with the AppRole's secret."},
    {.key = "security.kms_region", .type = OPTION_TEXT, .meaning = "Region of the key in AWS KMS."},
    {.key = "security.kms_key_id",
     .type = OPTION_TEXT,
     .meaning = "Id, ARN or alias of the key in AWS KMS that is the master key."},
    {.key = "security.kms_endpoint",
     .type = OPTION_TEXT,
     .meaning = "URL of KMS, when it is not that of the region."},
    {.key = "security.kms_access_key", .type = OPTION_TEXT, .meaning = "Access key id for KMS."},
    {.key = "security.kms_secret_key",
     .type = OPTION_SECRET,
     .meaning = "Secret access key for KMS; meant for CATALYST_SECURITY__KMS_SECRET_KEY."},
    {.key = "security.kms_session_token",
     .type = OPTION_SECRET,
     .meaning = "Session token of temporary credentials for KMS."},
};

const struct option_table secrets_options = {options, LENGTH_OF(options)};
