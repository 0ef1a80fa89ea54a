/* keyring.c - from rows to keys in memory. */
#include "core/secrets/keyring.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/events.h"

#define ROWS_ARENA (256u << 20)
#define WRAPPED_LEN (AEAD_KEY_LEN + AEAD_OVERHEAD)

SQL(find_instance_key, DB_MAIN, SQL_INSTANCE, "",
    "SELECT generation, root, kind, wrapped FROM instance_keys ORDER BY generation DESC LIMIT 1");
SQL(all_data_keys, DB_MAIN, SQL_INSTANCE, "",
    "SELECT workspace_id, purpose, version, wrapped, created_us, retired_us FROM data_keys "
    "ORDER BY workspace_id, purpose, version");
SQL(find_data_key, DB_MAIN, 0, "u",
    "SELECT version FROM data_keys WHERE workspace_id = $1 AND purpose = 'seal' LIMIT 1");
SQL(all_fingerprints, DB_MAIN, SQL_INSTANCE, "", "SELECT fingerprint FROM master_keys");
SQL(drop_fingerprints, DB_MAIN, SQL_INSTANCE, "b", "DELETE FROM master_keys WHERE fingerprint <> $1");
SQL(put_fingerprint, DB_MAIN, SQL_INSTANCE, "bi",
    "INSERT INTO master_keys (fingerprint, since_us) VALUES ($1, $2) ON CONFLICT (fingerprint) DO NOTHING");
SQL(when_made, DB_MAIN, SQL_INSTANCE, "", "SELECT applied_us FROM schema_migrations WHERE number = 17");
SQL(drop_instance_keys, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM instance_keys");
SQL(put_instance_key, DB_MAIN, SQL_INSTANCE, "ittbi",
    "INSERT INTO instance_keys (generation, root, kind, wrapped, created_us) VALUES ($1, $2, $3, $4, $5)");
SQL(put_data_key, DB_MAIN, SQL_INSTANCE, "utibii",
    "INSERT INTO data_keys (workspace_id, purpose, version, wrapped, created_us, retired_us) VALUES ($1, $2, "
    "$3, $4, $5, $6) "
    "ON CONFLICT (workspace_id, purpose, version) DO UPDATE SET wrapped = excluded.wrapped");

/* --- rows --- */

enum errc tx_put_instance_key(struct tx *tx, int64_t generation, const struct root_key *root, str wrapped,
                              usec now_us, err *e)
{
    enum errc rc = tx_exec_unaudited(tx, &drop_instance_keys, NULL, 0, NULL, e);
    return rc ? rc
              : tx_exec_unaudited(tx, &put_instance_key,
                                  PARAMS(v_int(generation), v_text(root_key_id(root)),
                                         v_text(str_c(root_kind_name(root_key_kind(root)))), v_blob(wrapped),
                                         v_int(now_us)),
                                  NULL, e);
}

enum errc tx_put_data_key(struct tx *tx, const struct key_row *row, err *e)
{
    return tx_exec_unaudited(tx, &put_data_key,
                             PARAMS(v_uuid(&row->workspace_id), v_text(row->purpose), v_int(row->version),
                                    v_blob(row->wrapped), v_int(row->created_us),
                                    row->retired_us ? v_int(row->retired_us) : v_null()),
                             NULL, e);
}

void root_fingerprint(const struct root_key *root, uint8_t out[SHA256_LEN])
{
    char text[ROOT_ID_MAX + 20];
    const uint8_t *bytes = root_key_bytes(root);
    if (bytes) {
        hkdf_sha256(str_of((const char *)bytes, MASTER_KEY_LEN), S("catalyst fingerprint"), out, SHA256_LEN);
        return;
    }
    int n = snprintf(text, sizeof text, "catalyst root %.*s", STR(root_key_id(root)));
    sha256(str_of(text, (size_t)n), out);
}

enum errc tx_put_fingerprint(struct tx *tx, const struct root_key *root, bool replaces, usec now_us, err *e)
{
    uint8_t print[SHA256_LEN];
    root_fingerprint(root, print);
    str own = str_of((const char *)print, sizeof print);
    enum errc rc =
        replaces ? tx_exec_unaudited(tx, &drop_fingerprints, PARAMS(v_blob(own)), NULL, e) : ERR_NONE;
    return rc ? rc : tx_exec_unaudited(tx, &put_fingerprint, PARAMS(v_blob(own), v_int(now_us)), NULL, e);
}

enum errc tx_key_rows(struct tx *tx, void *key_rows, err *e)
{
    struct key_rows *k = key_rows;
    struct rows instance, keys, prints, made;
    enum errc rc = tx_query(tx, k->a, &find_instance_key, NULL, 0, &instance, e);
    if (!rc) rc = tx_query(tx, k->a, &all_data_keys, NULL, 0, &keys, e);
    if (!rc) rc = tx_query(tx, k->a, &all_fingerprints, NULL, 0, &prints, e);
    if (!rc) rc = tx_query(tx, k->a, &when_made, NULL, 0, &made, e);
    if (rc) return rc;
    k->generation = 0;
    if (instance.n) {
        const struct val *row = row_at(&instance, 0);
        k->generation = val_int(&row[0]);
        k->root = val_str(&row[1]);
        k->kind = val_str(&row[2]);
        k->wrapped = val_str(&row[3]);
    }
    k->keys = arena_news(k->a, struct key_row, keys.n);
    k->fingerprints = arena_news(k->a, str, prints.n);
    if (!k->keys || !k->fingerprints) return err_code(e, ERR_TOO_LARGE);
    for (k->n = 0; k->n < keys.n; k->n++) {
        const struct val *row = row_at(&keys, k->n);
        k->keys[k->n] = (struct key_row){val_uuid(&row[0]), val_str(&row[1]),
                                         val_int(&row[2]),  val_str(&row[3]),
                                         val_int(&row[4]),  row[5].type == VAL_NULL ? 0 : val_int(&row[5])};
    }
    for (k->n_fingerprints = 0; k->n_fingerprints < prints.n; k->n_fingerprints++)
        k->fingerprints[k->n_fingerprints] = val_str(row_at(&prints, k->n_fingerprints));
    k->upgraded_us = made.n ? val_int(row_at(&made, 0)) : 0;
    return ERR_NONE;
}

/* --- wrapping --- */

str instance_bound(int64_t generation, char out[64])
{
    int n = snprintf(out, 64, "catalyst instance key %lld", (long long)generation);
    return str_of(out, (size_t)n);
}

static str data_bound(const uuid *workspace, str purpose, int64_t version, char out[128])
{
    char id[UUID_TEXT_LEN + 1];
    int n = snprintf(out, 128, "data_keys|%s|%.20s|%lld", uuid_format(workspace, id).p,
                     str_take(purpose, 20).p, (long long)version);
    return str_of(out, (size_t)n);
}

enum errc data_key_wrap(const uint8_t instance[AEAD_KEY_LEN], struct arena *a, const uuid *workspace,
                        str purpose, int64_t version, const uint8_t key[AEAD_KEY_LEN], str *wrapped, err *e)
{
    char bound[128], name[21];
    uint8_t *out = (uint8_t *)arena_bytes(a, WRAPPED_LEN);
    if (!out) return err_code(e, ERR_TOO_LARGE);
    snprintf(name, sizeof name, "%.*s", STR(purpose));
    *wrapped = str_of((const char *)out, WRAPPED_LEN);
    return aead_seal(instance, data_bound(workspace, str_c(name), version, bound),
                     str_of((const char *)key, AEAD_KEY_LEN), out, e);
}

enum errc data_key_unwrap(const uint8_t instance[AEAD_KEY_LEN], const struct key_row *row,
                          uint8_t key[AEAD_KEY_LEN], err *e)
{
    char bound[128], name[21];
    snprintf(name, sizeof name, "%.*s", STR(row->purpose));
    if (row->wrapped.len != WRAPPED_LEN ||
        aead_open(instance, data_bound(&row->workspace_id, str_c(name), row->version, bound), row->wrapped,
                  key, NULL))
        return err_set(e, ERR_CORRUPT, "a data key does not open: it was changed, or belongs elsewhere");
    return ERR_NONE;
}

/* --- in memory --- */

static void name_of(const char *purpose, const uuid *workspace, uint32_t version, uint8_t out[28])
{
    memset(out, 0, 28);
    memcpy(out, purpose, strnlen(purpose, 7));
    memcpy(out + 8, workspace->b, 16);
    memcpy(out + 24, &version, 4);
}

static str scope_name(const uuid *workspace)
{
    return str_of((const char *)workspace->b, sizeof workspace->b);
}

bool keyring_find(struct keyring *r, const char *purpose, const uuid *workspace, uint32_t *version,
                  uint8_t key[AEAD_KEY_LEN])
{
    uint8_t name[28];
    const struct data_key *k = NULL;
    pthread_rwlock_rdlock(&r->lock);
    if (*version) {
        name_of(purpose, workspace, *version, name);
        k = map_get(&r->keys, str_of((const char *)name, sizeof name));
    } else {
        const struct key_scope *scope = map_get(&r->scopes, scope_name(workspace));
        k = scope ? scope->newest : NULL;
    }
    if (k) {
        *version = k->version;
        memcpy(key, k->key, AEAD_KEY_LEN);
    }
    pthread_rwlock_unlock(&r->lock);
    return k != NULL;
}

/* Under the write lock. */
static enum errc keep(struct keyring *r, const struct key_row *row, const uint8_t key[AEAD_KEY_LEN], err *e)
{
    char purpose[8];
    uint8_t name[28];
    snprintf(purpose, sizeof purpose, "%.*s", STR(row->purpose));
    name_of(purpose, &row->workspace_id, (uint32_t)row->version, name);
    struct data_key *k = map_get(&r->keys, str_of((const char *)name, sizeof name));
    if (!k) {
        k = calloc(1, sizeof *k);
        if (!k) return err_code(e, ERR_NO_MEMORY);
        memcpy(k->name, name, sizeof name);
        memcpy(k->purpose, purpose, sizeof purpose);
        k->workspace_id = row->workspace_id;
        k->version = (uint32_t)row->version;
        k->created_us = row->created_us;
        enum errc rc = map_put(&r->keys, str_of((const char *)k->name, sizeof k->name), k);
        if (rc) {
            free(k);
            return err_code(e, rc);
        }
    }
    memcpy(k->key, key, AEAD_KEY_LEN);
    k->retired_us = row->retired_us;
    k->taken = r->taken;
    if (str_eq(row->purpose, S(PURPOSE_DERIVE))) {
        memcpy(r->base, key, AEAD_KEY_LEN);
        r->has_base = true;
    }
    if (!str_eq(row->purpose, S(PURPOSE_SEAL))) return ERR_NONE;
    struct key_scope *scope = map_get(&r->scopes, scope_name(&row->workspace_id));
    if (!scope) {
        scope = calloc(1, sizeof *scope);
        if (!scope) return err_code(e, ERR_NO_MEMORY);
        scope->workspace_id = row->workspace_id;
        enum errc rc = map_put(&r->scopes, scope_name(&scope->workspace_id), scope);
        if (rc) {
            free(scope);
            return err_code(e, rc);
        }
    }
    if (!scope->newest || scope->newest->version < k->version) scope->newest = k;
    return ERR_NONE;
}

/* Under the write lock: lets go of what was destroyed, that is what this taking has not seen. */
static void forget(struct keyring *r)
{
    str name;
    void *value;
    for (size_t it = 0; map_next(&r->keys, &it, &name, &value);) {
        struct data_key *k = value;
        if (k->taken == r->taken) continue;
        struct key_scope *scope = map_get(&r->scopes, scope_name(&k->workspace_id));
        if (scope && scope->newest == k) {
            map_del(&r->scopes, scope_name(&k->workspace_id));
            free(scope);
        }
        map_del(&r->keys, name);
        explicit_bzero(k, sizeof *k);
        free(k);
        it = 0; /* the map has changed */
    }
}

enum errc add_root(struct keyring *r, struct root_key *root, err *e)
{
    for (unsigned i = 0; i < r->n_roots; i++)
        if (r->roots[i] == root) return ERR_NONE;
    if (r->n_roots == ROOTS_MAX) { /* the oldest that is not in force makes room */
        unsigned i = r->roots[0] == r->root;
        root_key_free(r->roots[i]);
        memmove(&r->roots[i], &r->roots[i + 1], (ROOTS_MAX - i - 1) * sizeof r->roots[0]);
        r->n_roots--;
    }
    (void)e;
    r->roots[r->n_roots++] = root;
    return ERR_NONE;
}

/* What stands beside a key's file by now. */
static struct root_key *read_anew(struct keyring *r, str id)
{
    for (unsigned i = 0; i < r->n_roots; i++) {
        struct root_key *fresh = NULL;
        for (unsigned is_next = 0; is_next < 2; is_next++) {
            if (root_key_again(&fresh, r->roots[i], is_next, NULL) != ERR_NONE) continue;
            if (str_eq(root_key_id(fresh), id) && add_root(r, fresh, NULL) == ERR_NONE) return fresh;
            root_key_free(fresh);
        }
    }
    return NULL;
}

struct root_key *keyring_root(struct keyring *r, str id)
{
    for (unsigned i = 0; i < r->n_roots; i++)
        if (str_eq(root_key_id(r->roots[i]), id)) return r->roots[i];
    return read_anew(r, id);
}

/* The instance's key of these rows; *is_new when it is another than the one at hand. */
static enum errc open_instance(struct keyring *r, const struct key_rows *rows, bool may_ask,
                               uint8_t key[AEAD_KEY_LEN], struct root_key **root, err *e)
{
    char bound[64];
    struct arena a;
    str plain;
    *root = r->root;
    if (rows->generation == r->generation) {
        memcpy(key, r->instance, AEAD_KEY_LEN);
        return ERR_NONE;
    }
    if (!may_ask) return err_set(e, ERR_UNAVAILABLE, "the master key was changed, and is being taken");
    *root = keyring_root(r, rows->root);
    if (!*root)
        return err_set(e, ERR_CONFIG,
                       "the database is sealed under another master key (%.*s, kind %.*s) than this one: "
                       "copy DIR/master.key of the server that made it, or name the key that it has in security.*",
                       STR(str_take(rows->root, 60)), STR(str_take(rows->kind, 20)));
    arena_init(&a, 1u << 20, 0);
    enum errc rc =
        root_key_unwrap(*root, &a, instance_bound(rows->generation, bound), rows->wrapped, &plain, e);
    if (!rc && plain.len != AEAD_KEY_LEN) rc = err_set(e, ERR_CORRUPT, "the instance's key is damaged");
    if (!rc) memcpy(key, plain.p, AEAD_KEY_LEN);
    if (!rc) explicit_bzero((char *)plain.p, plain.len);
    arena_fini(&a);
    return rc;
}

enum errc keyring_take(struct keyring *r, const struct key_rows *rows, bool may_ask, err *e)
{
    uint8_t instance[AEAD_KEY_LEN], key[AEAD_KEY_LEN];
    struct root_key *root = NULL;
    if (!rows->generation) return ERR_NONE;
    enum errc rc = open_instance(r, rows, may_ask, instance, &root, e);
    pthread_rwlock_wrlock(&r->lock);
    r->taken++;
    for (unsigned i = 0; i < rows->n && !rc; i++) {
        rc = data_key_unwrap(instance, &rows->keys[i], key, e);
        if (!rc) rc = keep(r, &rows->keys[i], key, e);
    }
    if (!rc) {
        if (r->keys.n > rows->n) forget(r);
        memcpy(r->instance, instance, sizeof instance);
        r->generation = rows->generation;
        r->root = root;
    }
    pthread_rwlock_unlock(&r->lock);
    explicit_bzero(instance, sizeof instance);
    explicit_bzero(key, sizeof key);
    return rc;
}

enum errc keyring_load(struct keyring *r, err *e)
{
    struct arena a;
    struct key_rows rows = {.a = &a};
    arena_init(&a, ROWS_ARENA, 0);
    pthread_mutex_lock(&r->loading);
    enum errc rc = db_read(store_db(r->store, DB_MAIN), tx_key_rows, &rows, e);
    if (!rc) rc = keyring_take(r, &rows, true, e);
    pthread_mutex_unlock(&r->loading);
    arena_fini(&a);
    return rc;
}

/* --- making --- */

struct founding {
    struct keyring *ring;
    uint8_t instance[AEAD_KEY_LEN];
    str wrapped; /* the instance's key */
    struct key_row rows[3];
    unsigned n;
    usec now_us;
};

static enum errc found_unit(struct tx *tx, void *ctx, err *e)
{
    struct founding *f = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 64u << 10, 0);
    enum errc rc = tx_query(tx, &a, &find_instance_key, NULL, 0, &rows, e);
    if (!rc && !rows.n) {
        rc = tx_put_instance_key(tx, 1, f->ring->root, f->wrapped, f->now_us, e);
        for (unsigned i = 0; i < f->n && !rc; i++)
            rc = tx_put_data_key(tx, &f->rows[i], e);
    }
    arena_fini(&a);
    return rc == ERR_CONFLICT ? ERR_NONE : rc;
}

static enum errc add_row(struct founding *f, struct arena *a, str purpose, int64_t version,
                         const uint8_t key[AEAD_KEY_LEN], err *e)
{
    struct key_row *row = &f->rows[f->n++];
    *row = (struct key_row){.purpose = purpose, .version = version, .created_us = f->now_us};
    return data_key_wrap(f->instance, a, &row->workspace_id, purpose, version, key, &row->wrapped, e);
}

enum errc keyring_found(struct keyring *r, bool is_fresh, usec now_us, err *e)
{
    struct founding f = {.ring = r, .now_us = now_us};
    struct arena a;
    char bound[64];
    uint8_t key[AEAD_KEY_LEN];
    const uint8_t *master = root_key_bytes(r->root);
    arena_init(&a, 1u << 20, 0);
    random_bytes(f.instance, sizeof f.instance);
    enum errc rc = root_key_wrap(r->root, &a, instance_bound(1, bound),
                                 str_of((const char *)f.instance, AEAD_KEY_LEN), &f.wrapped, e);
    random_bytes(key, sizeof key);
    if (!rc) rc = add_row(&f, &a, S(PURPOSE_SEAL), 1, key, e);
    /* What an earlier release has derived from the master key itself stays as it is. */
    random_bytes(key, sizeof key);
    if (!is_fresh && master) memcpy(key, master, sizeof key);
    if (!rc) rc = add_row(&f, &a, S(PURPOSE_DERIVE), 1, key, e);
    if (!rc && !is_fresh && r->has_master)
        rc = add_row(&f, &a, S(PURPOSE_MASTER), r->master_id, r->master_sealing, e);
    if (!rc) rc = db_write(store_db(r->store, DB_MAIN), found_unit, &f, e);
    if (!rc) rc = keyring_load(r, e);
    explicit_bzero(key, sizeof key);
    explicit_bzero(&f.instance, sizeof f.instance);
    arena_fini(&a);
    return rc;
}

struct making {
    struct keyring *ring;
    struct key_row row;
    int64_t generation; /* under whose key the row is wrapped */
    uuid event;
    bool is_stale;
};

static enum errc make_unit(struct tx *tx, void *ctx, err *e)
{
    struct making *m = ctx;
    struct arena a;
    struct rows now = {0}, has = {0};
    char text[200], id[UUID_TEXT_LEN + 1];
    arena_init(&a, 64u << 10, 0);
    enum errc rc = tx_query(tx, &a, &find_instance_key, NULL, 0, &now, e);
    if (!rc) rc = tx_query(tx, &a, &find_data_key, PARAMS(v_uuid(&m->row.workspace_id)), &has, e);
    m->is_stale = !rc && (!now.n || val_int(row_at(&now, 0)) != m->generation);
    arena_fini(&a);
    if (rc || m->is_stale || has.n) return rc;
    rc = tx_put_data_key(tx, &m->row, e);
    snprintf(text, sizeof text, "{\"workspace\":\"%s\",\"version\":1}",
             uuid_format(&m->row.workspace_id, id).p);
    struct event ev = {.id = m->event,
                       .at_us = m->row.created_us,
                       .type = S("data_key.created"),
                       .resource_type = S("data_key"),
                       .resource_id = m->row.workspace_id,
                       .status = S("success"),
                       .metadata = str_c(text)};
    return rc ? rc : tx_event(tx, &ev, e);
}

enum errc keyring_make(struct keyring *r, const uuid *workspace, usec now_us, err *e)
{
    struct arena a;
    uint8_t key[AEAD_KEY_LEN], instance[AEAD_KEY_LEN];
    struct making m = {
        .ring = r,
        .row = {.workspace_id = *workspace, .purpose = S(PURPOSE_SEAL), .version = 1, .created_us = now_us},
        .event = uuid7_make(now_us)};
    enum errc rc = ERR_NONE;
    arena_init(&a, 64u << 10, 0);
    random_bytes(key, sizeof key);
    for (unsigned tries = 0; !rc && tries < 3; tries++) {
        pthread_rwlock_rdlock(&r->lock);
        memcpy(instance, r->instance, sizeof instance);
        m.generation = r->generation;
        pthread_rwlock_unlock(&r->lock);
        rc = data_key_wrap(instance, &a, workspace, m.row.purpose, 1, key, &m.row.wrapped, e);
        if (!rc) rc = db_write(store_db(r->store, DB_MAIN), make_unit, &m, e);
        if (!rc) rc = keyring_load(r, e);
        if (rc || !m.is_stale) break;
    }
    explicit_bzero(key, sizeof key);
    explicit_bzero(instance, sizeof instance);
    arena_fini(&a);
    return rc;
}
