/* One look at what somebody shows: counted, compared, and used up in the unit that it allows. */
#include "base/log.h"
#include "core/identity/factors/factors.h"
#include "json/tree.h"

SQL(sign_in_count, DB_MAIN, SQL_INSTANCE, "uii",
    "UPDATE sign_ins SET failures = failures + 1 WHERE id = $1 AND expires_us > $2 AND failures < $3");
SQL(sign_in_drop, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM sign_ins WHERE id = $1");
SQL(totp_of, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, seed, last_step, failures, locked_until_us FROM factors "
    "WHERE user_id = $1 AND kind = 'totp' AND is_confirmed = 1");
SQL(totp_count, DB_MAIN, SQL_INSTANCE, "iiu",
    "UPDATE factors SET failures = $1, locked_until_us = $2 WHERE id = $3");
SQL(totp_use, DB_MAIN, SQL_INSTANCE, "iiu",
    "UPDATE factors SET last_step = $1, last_used_us = $2, failures = 0, locked_until_us = NULL "
    "WHERE id = $3 AND is_confirmed = 1 AND (last_step IS NULL OR last_step < $1)");
SQL(totp_unlock, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE factors SET failures = 0, locked_until_us = NULL WHERE user_id = $1 AND kind = 'totp' AND "
    "failures > 0");
SQL(passkey_use, DB_MAIN, SQL_INSTANCE, "iiiui",
    "UPDATE factors SET sign_count = $1, is_backed_up = $2, last_used_us = $3 WHERE id = $4 AND sign_count = "
    "$5");
SQL(recovery_find, DB_MAIN, SQL_INSTANCE, "bu",
    "SELECT 1 FROM recovery_codes WHERE code_hash = $1 AND user_id = $2");
SQL(recovery_use, DB_MAIN, SQL_INSTANCE, "bu",
    "DELETE FROM recovery_codes WHERE code_hash = $1 AND user_id = $2");

const char *factor_kind_name(enum factor_kind k)
{
    static const char *const names[] = {"totp", "passkey", "recovery_code"};
    return names[k];
}

/* --- what went wrong, for the log --- */

struct failure {
    const struct api_request *r;
    const struct factor_look *l;
    const char *reason; /* of the metadata */
    bool is_locked, ends_sign_in;
};

static enum errc failure_unit(struct tx *tx, void *ctx, err *e)
{
    const struct failure *f = ctx;
    enum errc rc = ERR_NONE;
    struct event ev = event_of(f->r, f->l->type, EVENT_FAILURE);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = f->l->user_id;
    ev.status = S("failure");
    ev.error = str_c(errc_name(ERR_CREDENTIALS));
    ev.metadata = arena_printf(f->r->arena, "{\"factor\":\"%s\",\"reason\":\"%s\"}",
                               factor_kind_name(f->l->kind), f->reason);
    if (f->ends_sign_in) rc = tx_exec(tx, &sign_in_drop, PARAMS(v_uuid(&f->l->sign_in_id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_event(tx, &ev, e);
    if (rc != ERR_NONE || !f->is_locked) return rc;
    struct event locked = event_of(f->r, S("factor.locked"), EVENT_FAILURE + 1);
    locked.workspace_id = (uuid){0};
    locked.resource_type = S("factor");
    locked.resource_id = f->l->factor_id;
    locked.metadata = ev.metadata;
    return tx_event(tx, &locked, e);
}

static enum errc fail_with(struct failure *f, enum errc rc, err *e)
{
    err told = *e;
    struct db *db = identity_of(f->r)->db;
    enum errc written = person_key_ensure(f->r->store, &f->r->who.user_id, f->r->now_us, e);
    if (written == ERR_NONE) written = db_write(db, failure_unit, f, e);
    if (written == ERR_NONE) written = limit_failed(db, &f->l->try, f->r->now_us, e);
    if (written != ERR_NONE) return written;
    *e = told;
    return rc;
}

/* --- the count --- */

struct counting {
    struct api_request *r;
    struct factor_look *l;
    bool has_ended, has_none;
    usec locked_until_us;
    bool is_last; /* the code that locks the factor, if it is wrong */
    str seed;     /* sealed */
    int64_t last_step;
};

static enum errc count_totp(struct tx *tx, struct counting *c, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, c->r->arena, &totp_of, PARAMS(v_uuid(&c->l->user_id)), &rows, e);
    if (rc != ERR_NONE) return rc;
    c->has_none = rows.n == 0;
    if (c->has_none) return ERR_NONE;
    const struct val *row = row_at(&rows, 0);
    int64_t failures = val_int(&row[3]) + 1, until = val_int(&row[4]);
    c->l->factor_id = val_uuid(&row[0]);
    c->seed = val_str(&row[1]);
    c->last_step = val_int(&row[2]);
    if (until != NO_VALUE && until > c->r->now_us) {
        c->locked_until_us = until;
        return ERR_NONE;
    }
    c->is_last = failures % FACTOR_TRIES == 0;
    until = c->is_last ? c->r->now_us + FACTOR_LOCK_US : NO_VALUE;
    return tx_exec_unaudited(
        tx, &totp_count, PARAMS(v_int(failures), v_int_or_null(until), v_uuid(&c->l->factor_id)), NULL, e);
}

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    int64_t n = 1;
    c->has_ended = c->has_none = c->is_last = false;
    c->locked_until_us = 0;
    if (!uuid_is_nil(&c->l->sign_in_id)) {
        enum errc rc = tx_exec_unaudited(
            tx, &sign_in_count, PARAMS(v_uuid(&c->l->sign_in_id), v_int(c->r->now_us), v_int(FACTOR_TRIES)),
            &n, e);
        if (rc != ERR_NONE) return rc;
        if ((c->has_ended = n == 0)) return ERR_NONE;
    }
    return c->l->kind == FACTOR_TOTP ? count_totp(tx, c, e) : ERR_NONE;
}

/* --- the three kinds --- */

static enum errc look_at_code(struct counting *c, str typed, const char **reason, err *e)
{
    struct api_request *r = c->r;
    str seed, code = totp_typed(r->arena, typed);
    *reason = "wrong_code";
    if (c->has_none) return err_set(e, ERR_CREDENTIALS, "the code is wrong, or was used already");
    enum errc rc = secret_open(identity_of(r)->secrets, r->arena, "factors", &c->l->factor_id, "seed",
                               c->seed, &seed, e);
    if (rc != ERR_NONE) return rc;
    c->l->step = totp_find(seed, code, r->now_us, c->last_step);
    explicit_bzero((void *)(uintptr_t)seed.p, seed.len);
    return c->l->step != NO_VALUE ? ERR_NONE
                                  : err_set(e, ERR_CREDENTIALS, "the code is wrong, or was used already");
}

static enum errc recovery_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    struct rows rows;
    enum errc rc = tx_query(tx, c->r->arena, &recovery_find,
                            PARAMS(v_hash(c->l->code_hash), v_uuid(&c->l->user_id)), &rows, e);
    c->has_none = rows.n == 0;
    return rc;
}

static enum errc look_at_recovery_code(struct counting *c, str code, const char **reason, err *e)
{
    *reason = "wrong_code";
    recovery_code_hash(code, c->l->code_hash);
    enum errc rc = db_read(identity_of(c->r)->db, recovery_unit, c, e);
    if (rc == ERR_NONE && c->has_none)
        return err_set(e, ERR_CREDENTIALS, "the recovery code is wrong, or was used already");
    return rc;
}

struct credential_search {
    struct arena *a;
    str id;
    struct passkey found;
    bool exists;
};

static enum errc credential_unit(struct tx *tx, void *ctx, err *e)
{
    struct credential_search *s = ctx;
    return passkey_find(tx, s->a, s->id, &s->found, &s->exists, e);
}

static enum errc look_at_passkey(struct counting *c, str text, const char **reason, err *e)
{
    struct api_request *r = c->r;
    struct factor_look *l = c->l;
    struct json *json;
    struct webauthn_assertion assertion;
    struct webauthn_expected x;
    struct credential_search s = {.a = r->arena};
    bool is_alone = uuid_is_nil(&l->user_id);
    *reason = "not_asked_for";
    enum errc rc = passkey_expected(r, &x, e);
    if (rc == ERR_NONE) rc = json_parse(r->arena, text, &json, e);
    if (rc == ERR_NONE) rc = passkey_read_assertion(r->arena, json, &assertion, e);
    if (rc == ERR_NONE)
        rc = challenge_take(r, l->purpose, l->bound_to, assertion.client_data, &x.challenge, e);
    if (rc != ERR_NONE) return rc;
    s.id = assertion.credential_id;
    if ((rc = db_read(identity_of(r)->db, credential_unit, &s, e)) != ERR_NONE) return rc;
    *reason = "unknown_passkey";
    if (!s.exists || (!is_alone && memcmp(&s.found.user_id, &l->user_id, sizeof l->user_id) != 0))
        return err_set(e, ERR_CREDENTIALS, "this passkey is not registered here, or not for this account");
    *reason = "wrong_assertion";
    l->factor_id = s.found.id;
    l->user_id = s.found.user_id;
    l->counted = s.found.credential.sign_count;
    x.needs_verification = l->needs_verification;
    rc = webauthn_assert(r->arena, &x, &s.found.credential, is_alone, &assertion, &l->asserted, e);
    if (rc != ERR_NONE || !l->asserted.is_counter_behind) return rc;
    *reason = "counter_went_back";
    return err_set(
        e, ERR_REAUTHENTICATE,
        "the counter of this passkey went back: there may be a copy of it. Use another factor, then "
        "remove this one");
}

/* --- all of it --- */

static enum errc choose(struct api_request *r, const struct factor_shown *shown, enum factor_kind *kind,
                        err *e)
{
    int n = !!shown->code.p + !!shown->recovery_code.p + !!shown->passkey.p;
    if (n != 1)
        return api_field_error(r, e, "code", n ? "duplicate" : "required",
                               "exactly one of code, recovery_code and passkey is needed");
    *kind = shown->code.p ? FACTOR_TOTP : shown->passkey.p ? FACTOR_PASSKEY : FACTOR_RECOVERY_CODE;
    return ERR_NONE;
}

static enum errc suspected_unit(struct tx *tx, void *ctx, err *e)
{
    const struct failure *f = ctx;
    enum errc rc = failure_unit(tx, ctx, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = event_of(f->r, S("factor.suspected"), EVENT_FAILURE + 1);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("factor");
    ev.resource_id = f->l->factor_id;
    ev.metadata = arena_printf(f->r->arena, "{\"counter\":%u,\"counter_before\":%u}",
                               f->l->asserted.sign_count, f->l->counted);
    return tx_event(tx, &ev, e);
}

static enum errc suspect(struct failure *f, err *e)
{
    err told = *e;
    char id[UUID_TEXT_LEN + 1];
    log_event(LOG_WARN, "passkey_counter_went_back", LOG_S("factor", uuid_format(&f->l->factor_id, id)),
              LOG_I("counter", f->l->asserted.sign_count), LOG_I("counter_before", f->l->counted));
    enum errc rc = person_key_ensure(f->r->store, &f->r->who.user_id, f->r->now_us, e);
    if (rc == ERR_NONE) rc = db_write(identity_of(f->r)->db, suspected_unit, f, e);
    if (rc != ERR_NONE) return rc;
    *e = told;
    return ERR_REAUTHENTICATE;
}

enum errc factor_look(struct api_request *r, struct factor_look *l, const struct factor_shown *shown, err *e)
{
    struct identity *id = identity_of(r);
    static const enum limit_kind kinds[] = {LIMIT_FACTOR, LIMIT_PASSKEY, LIMIT_RECOVERY};
    struct counting c = {.r = r, .l = l};
    struct failure f = {.r = r, .l = l, .reason = ""};
    enum errc rc = choose(r, shown, &l->kind, e);
    if (rc != ERR_NONE) return rc;
    char user[UUID_TEXT_LEN + 1];
    l->try = (struct limit_try){
        .kind = kinds[l->kind],
        .account = uuid_is_nil(&l->user_id) ? S("") : str_dup(r->arena, uuid_format(&l->user_id, user)),
        .user_id = l->user_id,
        .address = r->address,
        .is_known_device = l->is_known_device,
    };
    if ((rc = limit_begin(id->db, &l->try, r->now_us, &r->retry_after_s, e)) != ERR_NONE) return rc;
    if ((rc = db_write(id->db, count_unit, &c, e)) != ERR_NONE) return rc;
    if (c.has_ended)
        return err_set(e, ERR_CREDENTIALS, "this sign-in has ended: begin again with your password");
    if (c.locked_until_us) {
        r->retry_after_s = (unsigned)((c.locked_until_us - r->now_us + USEC_PER_S - 1) / USEC_PER_S);
        return err_set(e, ERR_RATE_LIMITED, "too many wrong codes; codes are looked at again in %u s",
                       r->retry_after_s);
    }
    switch (l->kind) {
    case FACTOR_TOTP: rc = look_at_code(&c, shown->code, &f.reason, e); break;
    case FACTOR_RECOVERY_CODE: rc = look_at_recovery_code(&c, shown->recovery_code, &f.reason, e); break;
    case FACTOR_PASSKEY: rc = look_at_passkey(&c, shown->passkey, &f.reason, e); break;
    }
    if (rc == ERR_NONE && l->try.is_locked)
        rc = err_set(e, ERR_CREDENTIALS, "the code is wrong, or was used already");
    if (rc == ERR_REAUTHENTICATE) return suspect(&f, e);
    if (rc != ERR_CREDENTIALS && rc != ERR_INVALID) return rc;
    e->code = ERR_CREDENTIALS;
    f.is_locked = f.ends_sign_in = c.is_last;
    if (uuid_is_nil(&l->sign_in_id)) f.ends_sign_in = false;
    return fail_with(&f, ERR_CREDENTIALS, e);
}

static enum errc too_late(err *e)
{
    return err_set(e, ERR_CREDENTIALS, "this was used a moment ago, or its factor is gone");
}

static enum errc recovery_used(struct api_request *r, struct tx *tx, const struct factor_look *l, err *e)
{
    struct event ev = event_of(r, S("recovery_code.used"), EVENT_MORE);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = l->user_id;
    return tx_event(tx, &ev, e);
}

enum errc factor_use(struct api_request *r, struct tx *tx, const struct factor_look *l, err *e)
{
    int64_t n = 0;
    enum errc rc = ERR_NONE;
    switch (l->kind) {
    case FACTOR_TOTP:
        rc = tx_exec(tx, &totp_use, PARAMS(v_int(l->step), v_int(r->now_us), v_uuid(&l->factor_id)), &n, e);
        break;
    case FACTOR_RECOVERY_CODE:
        rc = tx_exec(tx, &recovery_use, PARAMS(v_hash(l->code_hash), v_uuid(&l->user_id)), &n, e);
        break;
    case FACTOR_PASSKEY:
        rc = tx_exec(tx, &passkey_use,
                     PARAMS(v_int(l->asserted.sign_count), v_int(l->asserted.is_backed_up), v_int(r->now_us),
                            v_uuid(&l->factor_id), v_int(l->counted)),
                     &n, e);
        break;
    }
    if (rc == ERR_NONE && n == 0) return too_late(e);
    if (rc == ERR_NONE && l->kind == FACTOR_RECOVERY_CODE) rc = recovery_used(r, tx, l, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &totp_unlock, PARAMS(v_uuid(&l->user_id)), NULL, e);
    return rc == ERR_NONE ? limit_succeeded(tx, &l->try, e) : rc;
}
