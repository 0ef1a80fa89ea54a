/* Keys of the instance: rows, what of them is in memory, and the hand-over from one to the next. */
#include "core/signing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/jose.h"
#include "core/signing/p256.h"

#define ARENA_LIMIT (4u << 20)
#define SECRET_LEN 32                /* of both algorithms */
#define FRESH_US (60LL * USEC_PER_S) /* what is in memory is read anew after this time */
/* A retired key goes on being known: a node may sign under it for another minute, then a token lives for ten. */
#define OVERLAP_US (3600LL * USEC_PER_S)

_Static_assert(ED25519_SEED_LEN == SECRET_LEN && P256_SECRET_LEN == SECRET_LEN,
               "one room for private halves");

/* clang-format off */
static const struct option options[] = {
    {.key = "signing.rotation_ms", .type = OPTION_MS, .fallback = "2160h", .min = 60000, .max = 31536000000,
     .meaning = "A key that signs access tokens or heads of the log is replaced after this time."},
    {.key = "signing.access_algorithm", .type = OPTION_ONE_OF, .fallback = "EdDSA", .choices = "EdDSA|ES256",
     .meaning = "How access tokens are signed: EdDSA (Ed25519), or ES256 (P-256) for programs that verify them and know no Ed25519. It holds for the next key."},
};
/* clang-format on */
const struct option_table signing_options = {options, LENGTH_OF(options)};

SQL(signing_list, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT id, generation, algorithm, kid, public_key, secret, created_us, retired_us, until_us FROM "
    "signing_keys WHERE purpose = $1 ORDER BY generation");
SQL(signing_last, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT generation, id, kid, retired_us FROM signing_keys WHERE purpose = $1 ORDER BY generation DESC "
    "LIMIT 1");
SQL(signing_add, DB_MAIN, SQL_INSTANCE, "utittbbi",
    "INSERT INTO signing_keys (id, purpose, generation, algorithm, kid, public_key, secret, created_us) "
    "VALUES "
    "($1, $2, $3, $4, $5, $6, $7, $8)");
SQL(signing_retire, DB_MAIN, SQL_INSTANCE, "iiu",
    "UPDATE signing_keys SET retired_us = $1, until_us = $2, secret = NULL WHERE id = $3");
SQL(signing_void, DB_MAIN, SQL_INSTANCE, "iti",
    "UPDATE signing_keys SET until_us = $1 WHERE purpose = $2 AND until_us > $3");
SQL(signing_forget, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM signing_keys WHERE until_us <= $1");

struct key {
    struct signing_public half;
    uuid id;
    int64_t generation;
    uint8_t secret[SECRET_LEN];
    bool has_secret;
};

struct keys {
    struct key *list; /* the oldest first */
    unsigned n;
    usec read_mono_us; /* 0: never */
};

struct signing {
    struct db *db;
    const struct secrets *secrets;
    usec rotation_us;
    enum signing_algorithm algorithm; /* of the next key for access tokens */
    pthread_mutex_t lock;             /* guards keys */
    struct keys keys[SIGNING_USES];
    atomic_bool is_stale[SIGNING_USES];
};

static str purpose_of(enum signing_use use) { return use == SIGNING_ACCESS ? S("access") : S("log"); }
static str name_of(enum signing_algorithm a) { return a == SIGNING_P256 ? S("ES256") : S("EdDSA"); }
static size_t public_len(enum signing_algorithm a)
{
    return a == SIGNING_P256 ? P256_PUBLIC_LEN : ED25519_PUBLIC_LEN;
}

enum errc signing_new(struct signing **out, struct store *store, const struct secrets *secrets,
                      const struct config *config, err *e)
{
    struct signing *s = calloc(1, sizeof *s);
    *out = s;
    if (!s) return err_code(e, ERR_NO_MEMORY);
    s->db = store_db(store, DB_MAIN);
    s->secrets = secrets;
    s->rotation_us = config_int(config, "signing.rotation_ms") * USEC_PER_MS;
    s->algorithm =
        str_eq(config_text(config, "signing.access_algorithm"), S("ES256")) ? SIGNING_P256 : SIGNING_ED25519;
    pthread_mutex_init(&s->lock, NULL);
    return ERR_NONE;
}

static void wipe(struct key *list, unsigned n)
{
    if (list) explicit_bzero(list, n * sizeof *list);
    free(list);
}

void signing_free(struct signing *s)
{
    if (!s) return;
    for (unsigned i = 0; i < SIGNING_USES; i++)
        wipe(s->keys[i].list, s->keys[i].n);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void see(void *ctx, const struct sealed_event *ev)
{
    (void)ev;
    signing_changed(ctx);
}

void signing_watch(struct signing *s, struct events *log)
{
    events_watch(log, &(struct watcher){.types = "signing_key.*", .see = see, .ctx = s});
}

void signing_changed(struct signing *s)
{
    for (unsigned i = 0; i < SIGNING_USES; i++)
        atomic_store(&s->is_stale[i], true);
}

SEALED_COLUMN(signing_secrets, DB_MAIN, signing_keys, id, NULL, secret, false, NULL);

/* --- making one --- */

enum errc signing_prepare(struct signing *s, struct arena *a, enum signing_use use, usec now,
                          struct signing_fresh *out, err *e)
{
    uint8_t secret[SECRET_LEN];
    struct signing_public *half = &out->public_half;
    enum errc rc = ERR_NONE;
    *out = (struct signing_fresh){.id = uuid7_make(now)};
    half->created_us = now;
    half->algorithm = use == SIGNING_ACCESS ? s->algorithm : SIGNING_ED25519;
    if (half->algorithm == SIGNING_P256) {
        rc = p256_generate(secret, half->key, e);
    } else {
        ed25519_generate(secret);
        ed25519_public(secret, half->key);
    }
    if (rc == ERR_NONE)
        rc = secret_seal(s->secrets, a, "signing_keys", &out->id, "secret",
                         str_of((const char *)secret, sizeof secret), &out->sealed, e);
    explicit_bzero(secret, sizeof secret);
    jwk_thumbprint(half->algorithm == SIGNING_P256 ? JOSE_ES256 : JOSE_EDDSA, half->key, half->kid);
    return rc;
}

/* The last key of a purpose; generation 0: there is none. */
static enum errc last(struct tx *tx, struct arena *a, enum signing_use use, struct key *out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &signing_last, PARAMS(v_text(purpose_of(use))), &rows, e);
    *out = (struct key){0};
    if (rc != ERR_NONE || rows.n == 0) return rc;
    const struct val *row = row_at(&rows, 0);
    out->generation = val_int(&row[0]);
    out->id = val_uuid(&row[1]);
    out->half.retired_us = val_int(&row[3]) == NO_VALUE ? 0 : val_int(&row[3]);
    memcpy(out->half.kid, val_str(&row[2]).p,
           val_str(&row[2]).len < SIGNING_KID_LEN ? val_str(&row[2]).len : SIGNING_KID_LEN);
    return ERR_NONE;
}

static enum errc put(struct tx *tx, enum signing_use use, int64_t generation, const struct signing_fresh *f,
                     err *e)
{
    const struct signing_public *half = &f->public_half;
    return tx_exec(tx, &signing_add,
                   PARAMS(v_uuid(&f->id), v_text(purpose_of(use)), v_int(generation),
                          v_text(name_of(half->algorithm)), v_text(str_c(half->kid)),
                          v_blob(str_of((const char *)half->key, public_len(half->algorithm))),
                          v_blob(f->sealed), v_int(half->created_us)),
                   NULL, e);
}

static enum errc tell(struct tx *tx, struct arena *a, const struct event *ev, str type, enum signing_use use,
                      const struct signing_fresh *f, const struct key *before, bool counts_no_more, err *e)
{
    struct event told = *ev;
    told.type = type;
    told.workspace_id = (uuid){0};
    told.resource_type = S("signing_key");
    told.resource_id = f->id;
    told.metadata =
        before->generation
            ? arena_printf(a,
                           "{\"purpose\":\"%.*s\",\"kid\":\"%s\",\"algorithm\":\"%.*s\",\"replaces\":\"%s\","
                           "\"reason\":\"%s\"}",
                           STR(purpose_of(use)), f->public_half.kid, STR(name_of(f->public_half.algorithm)),
                           before->half.kid, counts_no_more ? "compromised" : "rotation")
            : arena_printf(a, "{\"purpose\":\"%.*s\",\"kid\":\"%s\",\"algorithm\":\"%.*s\"}",
                           STR(purpose_of(use)), f->public_half.kid, STR(name_of(f->public_half.algorithm)));
    return told.metadata.p ? tx_event(tx, &told, e) : err_code(e, ERR_TOO_LARGE);
}

enum errc tx_signing_rotate(struct tx *tx, struct arena *a, enum signing_use use,
                            const struct signing_fresh *fresh, bool counts_no_more, const struct event *ev,
                            err *e)
{
    struct key before;
    usec now = fresh->public_half.created_us;
    enum errc rc = last(tx, a, use, &before, e);
    /* Heads of the log that were given away are never void: an auditor asks who signed them, and when. */
    int64_t until = use == SIGNING_LOG ? NO_VALUE : counts_no_more ? now : now + OVERLAP_US;
    if (rc == ERR_NONE && before.generation)
        rc = tx_exec(tx, &signing_retire, PARAMS(v_int(now), v_int_or_null(until), v_uuid(&before.id)), NULL,
                     e);
    if (rc == ERR_NONE && counts_no_more && use == SIGNING_ACCESS)
        rc = tx_exec(tx, &signing_void, PARAMS(v_int(now), v_text(purpose_of(use)), v_int(now)), NULL, e);
    if (rc == ERR_NONE) rc = put(tx, use, before.generation + 1, fresh, e);
    return rc == ERR_NONE
               ? tell(tx, a, ev, before.generation ? S("signing_key.rotated") : S("signing_key.made"), use,
                      fresh, &before, counts_no_more, e)
               : rc;
}

struct turn {
    struct arena a;
    enum signing_use use;
    int64_t generation; /* that is to be replaced: somebody else may have done it */
    struct signing_fresh fresh;
    struct event ev;
};

static enum errc turn_unit(struct tx *tx, void *ctx, err *e)
{
    struct turn *t = ctx;
    struct key before;
    struct arena_mark m = arena_mark(&t->a);
    enum errc rc = last(tx, &t->a, t->use, &before, e);
    if (rc == ERR_NONE && before.generation == t->generation)
        rc = tx_signing_rotate(tx, &t->a, t->use, &t->fresh, false, &t->ev, e);
    arena_reset(&t->a, m);
    return rc;
}

/* Puts a new key in the place of this generation, unless another node has done so. */
static enum errc turn(struct signing *s, enum signing_use use, int64_t generation, usec now, err *e)
{
    struct turn t = {.use = use, .generation = generation};
    err mine = {0};
    arena_init(&t.a, ARENA_LIMIT, 0);
    t.ev = (struct event){.id = uuid7_make(now), .at_us = now, .actor = ACTOR_SYSTEM, .status = S("success")};
    enum errc rc = signing_prepare(s, &t.a, use, now, &t.fresh, &mine);
    if (rc == ERR_NONE) rc = db_write(s->db, turn_unit, &t, &mine);
    if (rc == ERR_CONFLICT) rc = ERR_NONE; /* theirs is as good */
    if (rc != ERR_NONE && e) *e = mine;
    arena_fini(&t.a);
    atomic_store(&s->is_stale[use], true);
    return rc;
}

/* --- what is in memory --- */

struct reading {
    struct arena a;
    enum signing_use use;
    struct rows rows;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *r = ctx;
    return tx_query(tx, &r->a, &signing_list, PARAMS(v_text(purpose_of(r->use))), &r->rows, e);
}

static usec or_none(const struct val *v) { return val_int(v) == NO_VALUE ? 0 : val_int(v); }

static enum errc read_row(struct signing *s, struct arena *a, const struct val *row, struct key *k, err *e)
{
    str kid = val_str(&row[3]), public_key = val_str(&row[4]), sealed = val_str(&row[5]), plain;
    *k = (struct key){.id = val_uuid(&row[0]), .generation = val_int(&row[1])};
    k->half.algorithm = str_eq(val_str(&row[2]), S("ES256")) ? SIGNING_P256 : SIGNING_ED25519;
    k->half.created_us = val_int(&row[6]);
    k->half.retired_us = or_none(&row[7]);
    k->half.until_us = or_none(&row[8]);
    if (kid.len != SIGNING_KID_LEN || public_key.len != public_len(k->half.algorithm))
        return err_set(e, ERR_CORRUPT, "a row of signing_keys is damaged");
    memcpy(k->half.kid, kid.p, kid.len);
    memcpy(k->half.key, public_key.p, public_key.len);
    if (!sealed.p) return ERR_NONE;
    enum errc rc = secret_open(s->secrets, a, "signing_keys", &k->id, "secret", sealed, &plain, e);
    if (rc != ERR_NONE) return rc;
    if (plain.len != SECRET_LEN)
        return err_set(e, ERR_CORRUPT, "the private half of a signing key is damaged");
    memcpy(k->secret, plain.p, SECRET_LEN);
    explicit_bzero((char *)(uintptr_t)plain.p, plain.len);
    k->has_secret = true;
    return ERR_NONE;
}

static enum errc read_keys(struct signing *s, enum signing_use use, err *e)
{
    struct reading r = {.use = use};
    struct key *list = NULL;
    arena_init(&r.a, ARENA_LIMIT, 0);
    atomic_store(&s->is_stale[use], false); /* before: what changes meanwhile is read again */
    enum errc rc = db_read(s->db, read_unit, &r, e);
    if (rc == ERR_NONE && !(list = calloc(r.rows.n ? r.rows.n : 1, sizeof *list)))
        rc = err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < r.rows.n && rc == ERR_NONE; i++)
        rc = read_row(s, &r.a, row_at(&r.rows, i), &list[i], e);
    if (rc == ERR_NONE) {
        pthread_mutex_lock(&s->lock);
        struct keys old = s->keys[use];
        s->keys[use] = (struct keys){list, r.rows.n, clock_mono_us()};
        pthread_mutex_unlock(&s->lock);
        wipe(old.list, old.n);
    } else {
        atomic_store(&s->is_stale[use], true);
        wipe(list, list ? r.rows.n : 0);
    }
    arena_fini(&r.a);
    return rc;
}

static bool is_fresh(struct signing *s, enum signing_use use)
{
    pthread_mutex_lock(&s->lock);
    usec at = s->keys[use].read_mono_us;
    pthread_mutex_unlock(&s->lock);
    return at && clock_mono_us() - at < FRESH_US && !atomic_load(&s->is_stale[use]);
}

/* A copy of the key in force, which the caller wipes; made or rotated when it is time. */
static enum errc in_force(struct signing *s, enum signing_use use, usec now, struct key *out, err *e)
{
    for (unsigned tries = 0; tries < 3; tries++) {
        enum errc rc = is_fresh(s, use) ? ERR_NONE : read_keys(s, use, e);
        if (rc != ERR_NONE) return rc;
        pthread_mutex_lock(&s->lock);
        const struct keys *keys = &s->keys[use];
        *out = keys->n ? keys->list[keys->n - 1] : (struct key){0};
        pthread_mutex_unlock(&s->lock);
        if (out->has_secret && !out->half.retired_us && now - out->half.created_us < s->rotation_us)
            return ERR_NONE;
        if ((rc = turn(s, use, out->generation, now, e)) != ERR_NONE) return rc;
    }
    return err_set(e, ERR_UNAVAILABLE, "there is no key to sign with: others keep replacing it");
}

/* --- signing, and what verifies it --- */

enum errc signing_sign(struct signing *s, enum signing_use use, usec now, str data,
                       char kid[SIGNING_KID_LEN + 1], uint8_t sig[SIGNING_SIGNATURE_LEN], err *e)
{
    struct key k = {0};
    enum errc rc = in_force(s, use, now, &k, e);
    if (rc == ERR_NONE) {
        memcpy(kid, k.half.kid, SIGNING_KID_LEN + 1);
        if (k.half.algorithm == SIGNING_P256)
            rc = p256_sign(k.secret, k.half.key, data, sig, e);
        else
            ed25519_sign(k.secret, data, sig);
    }
    explicit_bzero(&k, sizeof k);
    return rc;
}

enum errc signing_current(struct signing *s, enum signing_use use, usec now, char kid[SIGNING_KID_LEN + 1],
                          enum signing_algorithm *algorithm, err *e)
{
    struct key k = {0};
    enum errc rc = in_force(s, use, now, &k, e);
    memcpy(kid, k.half.kid, SIGNING_KID_LEN + 1);
    *algorithm = k.half.algorithm;
    explicit_bzero(&k, sizeof k);
    return rc;
}

static bool counts(const struct signing_public *k, usec now) { return !k->until_us || now < k->until_us; }

enum errc signing_publics(struct signing *s, enum signing_use use, struct arena *a, usec now,
                          struct signing_public **out, unsigned *n, err *e)
{
    struct key k = {0};
    enum errc rc = in_force(s, use, now, &k, e);
    explicit_bzero(&k, sizeof k);
    *n = 0;
    if (rc != ERR_NONE) return rc;
    pthread_mutex_lock(&s->lock);
    const struct keys *keys = &s->keys[use];
    *out = arena_news(a, struct signing_public, keys->n);
    for (unsigned i = 0; *out && i < keys->n; i++)
        if (counts(&keys->list[i].half, now)) (*out)[(*n)++] = keys->list[i].half;
    pthread_mutex_unlock(&s->lock);
    return *out ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

static bool find(struct signing *s, enum signing_use use, str kid, struct signing_public *out)
{
    bool is_found = false;
    pthread_mutex_lock(&s->lock);
    const struct keys *keys = &s->keys[use];
    for (unsigned i = keys->n; i-- > 0 && !is_found;)
        if (str_eq(str_c(keys->list[i].half.kid), kid)) {
            *out = keys->list[i].half;
            is_found = true;
        }
    pthread_mutex_unlock(&s->lock);
    return is_found;
}

enum errc signing_find(struct signing *s, enum signing_use use, str kid, usec now, struct signing_public *out,
                       err *e)
{
    enum errc rc = ERR_NONE;
    if (kid.len != SIGNING_KID_LEN) return err_code(e, ERR_NOT_FOUND);
    /* One that is not in memory may have been made by another node a moment ago. */
    bool is_fresh_enough = is_fresh(s, use);
    if ((!is_fresh_enough || !find(s, use, kid, out)) && (rc = read_keys(s, use, e)) != ERR_NONE) return rc;
    return find(s, use, kid, out) && counts(out, now) ? ERR_NONE : err_code(e, ERR_NOT_FOUND);
}

enum errc signing_rotate(struct signing *s, enum signing_use use, usec now, err *e)
{
    struct key k = {0};
    enum errc rc = in_force(s, use, now, &k, e);
    int64_t generation = k.generation;
    explicit_bzero(&k, sizeof k);
    return rc == ERR_NONE ? turn(s, use, generation, now, e) : rc;
}

enum errc signing_tidy(struct tx *tx, void *signing, err *e)
{
    (void)signing;
    return tx_exec_unaudited(tx, &signing_forget, PARAMS(v_int(clock_now_us())), NULL, e);
}
