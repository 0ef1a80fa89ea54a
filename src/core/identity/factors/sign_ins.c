/* Sign-ins between their two steps: kept here, bound to the browser by a cookie, worth nothing by themselves. */
#include "core/identity/factors/factors.h"

SQL(sign_in_add, DB_MAIN, SQL_INSTANCE, "ububii",
    "INSERT INTO sign_ins (id, browser_hash, user_id, password_hash, failures, expires_us) "
    "VALUES ($1, $2, $3, $4, $5, $6)");
SQL(sign_in_get, DB_MAIN, SQL_INSTANCE, "ubii",
    "SELECT user_id, password_hash, expires_us FROM sign_ins "
    "WHERE id = $1 AND browser_hash = $2 AND expires_us > $3 AND failures < $4");
SQL(sign_ins_purge, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM sign_ins WHERE expires_us <= $1");
SQL(challenges_purge, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM passkey_challenges WHERE expires_us <= $1");
SQL(secrets_purge, DB_MAIN, SQL_INSTANCE, "i",
    "DELETE FROM factors WHERE is_confirmed = 0 AND created_us <= $1");
SQL(kinds_of, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT DISTINCT kind FROM factors WHERE user_id = $1 AND is_confirmed = 1 ORDER BY kind DESC");
SQL(has_recovery_codes, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT 1 FROM recovery_codes WHERE user_id = $1 LIMIT 1");

str sign_in_cookie_name(const struct api_request *r)
{
    return r->is_secure ? S("__Host-cat_sign_in") : S("cat_sign_in");
}
str passkey_cookie_name(const struct api_request *r)
{
    return r->is_secure ? S("__Host-cat_passkey") : S("cat_passkey");
}

enum errc sign_in_begin(struct api_request *r, struct tx *tx, const struct sign_in *s, const struct token *t,
                        err *e)
{
    enum errc rc = tx_exec(tx, &sign_in_add,
                           PARAMS(v_uuid(&s->id), v_hash(t->hash), v_uuid(&s->user_id),
                                  v_hash(s->password_hash), v_int(0), v_int(s->expires_us)),
                           NULL, e);
    if (rc != ERR_NONE) return rc;
    cookie_set(r, sign_in_cookie_name(r), str_of(t->text, TOKEN_LEN), SIGN_IN_US / USEC_PER_S);
    struct event ev = event_of(r, S("auth.sign_in_begun"), EVENT_SIGN_IN);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = s->user_id;
    ev.metadata = S("{\"factor\":\"password\"}");
    return tx_event(tx, &ev, e);
}

struct finding {
    struct api_request *r;
    const uuid *id;
    uint8_t browser_hash[SHA256_LEN];
    struct sign_in *out;
    bool exists;
};

static enum errc find_unit(struct tx *tx, void *ctx, err *e)
{
    struct finding *f = ctx;
    struct rows rows;
    enum errc rc = tx_query(
        tx, f->r->arena, &sign_in_get,
        PARAMS(v_uuid(f->id), v_hash(f->browser_hash), v_int(f->r->now_us), v_int(FACTOR_TRIES)), &rows, e);
    f->exists = rc == ERR_NONE && rows.n > 0;
    if (!f->exists) return rc;
    const struct val *row = row_at(&rows, 0);
    str hash = val_str(&row[1]);
    if (hash.len != SHA256_LEN) return err_code(e, ERR_CORRUPT);
    *f->out = (struct sign_in){.id = *f->id, .user_id = val_uuid(&row[0]), .expires_us = val_int(&row[2])};
    memcpy(f->out->password_hash, hash.p, SHA256_LEN);
    return ERR_NONE;
}

enum errc sign_in_find(struct api_request *r, const uuid *id, struct sign_in *out, err *e)
{
    struct finding f = {.r = r, .id = id, .out = out};
    enum errc rc = ERR_NONE;
    token_hash(r->sign_in, f.browser_hash);
    if (r->sign_in.len == TOKEN_LEN) rc = db_read(identity_of(r)->db, find_unit, &f, e);
    if (rc != ERR_NONE || f.exists) return rc;
    return err_set(e, ERR_CREDENTIALS,
                   "this sign-in has ended, or was begun elsewhere: begin again with your password");
}

enum errc factor_kinds(struct tx *tx, struct arena *a, const uuid *user, struct texts *out, err *e)
{
    struct rows kinds, codes;
    enum errc rc = tx_query(tx, a, &kinds_of, PARAMS(v_uuid(user)), &kinds, e);
    if (rc == ERR_NONE) rc = tx_query(tx, a, &has_recovery_codes, PARAMS(v_uuid(user)), &codes, e);
    if (rc != ERR_NONE) return rc;
    str *items = arena_news(a, str, kinds.n + 1);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    for (unsigned i = 0; i < kinds.n; i++)
        items[out->n++] = val_str(&row_at(&kinds, i)[0]);
    if (codes.n) items[out->n++] = S("recovery_code");
    return ERR_NONE;
}

enum errc factors_tidy(struct tx *tx, usec now, err *e)
{
    enum errc rc = tx_exec_unaudited(tx, &sign_ins_purge, PARAMS(v_int(now)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec_unaudited(tx, &challenges_purge, PARAMS(v_int(now)), NULL, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &secrets_purge, PARAMS(v_int(now - USEC_PER_DAY)), NULL, e)
                          : rc;
}
