/* A person's factors: listed, named, removed; and all of them reset by an administrator. */
#include "core/identity/factors/enrolment.h"
#include "core/workspaces.h"

SQL(factors_of, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, kind, name, created_us, last_used_us, locked_until_us, is_backed_up FROM factors "
    "WHERE user_id = $1 AND is_confirmed = 1 ORDER BY id");
SQL(factor_rename, DB_MAIN, SQL_INSTANCE, "tuu",
    "UPDATE factors SET name = $1 WHERE id = $2 AND user_id = $3");
SQL(factor_drop, DB_MAIN, SQL_INSTANCE, "uu",
    "DELETE FROM factors WHERE id = $1 AND user_id = $2 AND is_confirmed = 1");
SQL(factors_clear, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM factors WHERE user_id = $1");
SQL(recovery_count, DB_MAIN, SQL_INSTANCE, "u", "SELECT count(*) FROM recovery_codes WHERE user_id = $1");
SQL(recovery_clear, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM recovery_codes WHERE user_id = $1");
SQL(factors_counted, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE users SET n_factors = (SELECT count(*) FROM factors f WHERE f.user_id = users.id AND "
    "f.is_confirmed = 1) "
    "WHERE id = $1");
SQL(password_is_short, DB_MAIN, SQL_INSTANCE, "u", "SELECT is_password_short FROM users WHERE id = $1");
SQL(password_drop, DB_MAIN, SQL_INSTANCE, "u",
    "UPDATE users SET password = NULL, is_password_short = 0 WHERE id = $1 AND is_password_short = 1");
SQL(memberships_count, DB_MAIN, SQL_INSTANCE, "u", "SELECT count(*) FROM memberships WHERE user_id = $1");
SQL(member_exists, DB_MAIN, 0, "uu", "SELECT NULL FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(role_of_member, DB_MAIN, 0, "uu",
    "SELECT role FROM memberships WHERE workspace_id = $1 AND user_id = $2");
SQL(sessions_of, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM sessions WHERE user_id = $1");

static const struct field factor_fields[] = {
    FIELD(struct factor, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the factor."),
    FIELD(struct factor, kind, FIELD_ONE_OF, .choices = "totp|passkey", .flags = FIELD_READONLY,
          .meaning = "totp: codes of an authenticator app; passkey."),
    FIELD(struct factor, name, FIELD_TEXT, .min = 1, .max = FACTOR_NAME_MAX, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED | FIELD_PERSONAL, .meaning = "What its person calls it."),
    FIELD(struct factor, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it was enrolled."),
    FIELD(struct factor, last_used_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "When it was last given."),
    FIELD(struct factor, locked_until, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE | FIELD_UNAUDITED,
          .meaning = "After wrong codes: until when no code is looked at."),
    FIELD(struct factor, is_backed_up, FIELD_BOOL, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning = "A passkey that its maker keeps copies of (synchronised between devices)."),
};
const struct shape factor_shape =
    SHAPE("Factor", struct factor, factor_fields, "A second factor of a person.");

struct event factor_event(const struct api_request *r, str type, unsigned n, const uuid *user,
                          const struct factor *before, const struct factor *after)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("factor");
    ev.resource_id = after ? after->id : before->id;
    ev.person_id = *user;
    ev.shape = &factor_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

enum errc factors_load(struct tx *tx, struct arena *a, const uuid *user, struct factor **out, unsigned *n,
                       err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &factors_of, PARAMS(v_uuid(user)), &rows, e);
    if (rc != ERR_NONE) return rc;
    struct factor *list = arena_news(a, struct factor, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        list[i] = (struct factor){.id = val_uuid(&row[0]),
                                  .kind = val_str(&row[1]),
                                  .name = val_str(&row[2]),
                                  .created_at = val_int(&row[3]),
                                  .last_used_at = val_int(&row[4]),
                                  .locked_until = val_int(&row[5]),
                                  .is_backed_up = val_bool(&row[6])};
    }
    *out = list;
    *n = rows.n;
    return ERR_NONE;
}

enum errc factor_added(struct api_request *r, struct tx *tx, const struct factor *f, err *e)
{
    struct event ev = factor_event(r, S("factor.added"), EVENT_KEY, &r->who.user_id, NULL, f);
    enum errc rc = tx_exec(tx, &factors_counted, PARAMS(v_uuid(&r->who.user_id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

enum errc factors_drop(struct api_request *r, struct tx *tx, const uuid *user, unsigned *n, err *e)
{
    struct factor *list;
    enum errc rc = factors_load(tx, r->arena, user, &list, n, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &factors_clear, PARAMS(v_uuid(user)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &recovery_clear, PARAMS(v_uuid(user)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &factors_counted, PARAMS(v_uuid(user)), NULL, e);
    for (unsigned i = 0; i < *n && rc == ERR_NONE; i++) {
        struct event ev = factor_event(r, S("factor.removed"), EVENT_MORE + 1 + i, user, &list[i], NULL);
        rc = tx_event(tx, &ev, e);
    }
    return rc;
}

/* --- GET /api/auth/mfa --- */

struct factors {
    struct objects factors;
    int64_t recovery_codes_left;
};
static const struct field factors_fields[] = {
    FIELD(struct factors, factors, FIELD_OBJECTS, .shape = &factor_shape, .flags = FIELD_READONLY,
          .max_items = PASSKEYS_MAX + 1, .meaning = "The oldest first; none: the password alone signs in."),
    FIELD(struct factors, recovery_codes_left, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Recovery codes that have not been used."),
};
static const struct shape factors_shape =
    SHAPE("Factors", struct factors, factors_fields, "How the caller can sign in besides the password.");

static enum errc list_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct factors *answer = arena_new(r->arena, struct factors);
    struct factor *list;
    const struct val *count;
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    r->answer = answer;
    enum errc rc = factors_load(tx, r->arena, &r->who.user_id, &list, &answer->factors.n, e);
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, r->arena, &recovery_count, PARAMS(v_uuid(&r->who.user_id)), &count, e);
    if (rc != ERR_NONE) return rc;
    answer->factors.items = list;
    answer->recovery_codes_left = val_int(&count[0]);
    return ERR_NONE;
}

/* --- PATCH and DELETE /api/auth/mfa/:id --- */

/* The factor of the path, of the caller; *n is how many there are. */
static enum errc own_factor(struct api_request *r, struct tx *tx, struct factor **out, unsigned *n, err *e)
{
    struct factor *list;
    enum errc rc = factors_load(tx, r->arena, &r->who.user_id, &list, n, e);
    for (unsigned i = 0; i < *n && rc == ERR_NONE; i++)
        if (memcmp(&list[i].id, &r->path_id[0], sizeof(uuid)) == 0) {
            *out = &list[i];
            return ERR_NONE;
        }
    return rc == ERR_NONE ? err_set(e, ERR_NOT_FOUND, "there is no such factor") : rc;
}

static enum errc step_up_prepare(struct api_request *r, err *e) { return recently_authenticated(r, e); }

static enum errc rename_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct factor *before, *after = arena_new(r->arena, struct factor);
    unsigned n = 0;
    enum errc rc = own_factor(r, tx, &before, &n, e);
    if (rc != ERR_NONE) return rc;
    if (!after) return err_code(e, ERR_TOO_LARGE);
    *after = *before;
    if ((rc = api_merge(r, after, e)) != ERR_NONE) return rc;
    r->answer = after;
    if (str_eq(after->name, before->name)) return ERR_NONE;
    struct event ev = factor_event(r, S("factor.renamed"), EVENT_KEY, &r->who.user_id, before, after);
    rc = tx_exec(tx, &factor_rename, PARAMS(v_text(after->name), v_uuid(&after->id), v_uuid(&r->who.user_id)),
                 NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static enum errc remove_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct factor *f;
    const struct val *is_short;
    unsigned n = 0;
    enum errc rc = own_factor(r, tx, &f, &n, e);
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, r->arena, &password_is_short, PARAMS(v_uuid(&r->who.user_id)), &is_short, e);
    if (rc != ERR_NONE) return rc;
    if (n == 1 && val_bool(&is_short[0]))
        return err_set(
            e, ERR_CONFLICT,
            "your password has less than 15 characters, which is enough beside a second factor only: change "
            "it to a longer one, then remove this factor");
    if (n == 1) rc = tx_exec(tx, &recovery_clear, PARAMS(v_uuid(&r->who.user_id)), NULL, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &factor_drop, PARAMS(v_uuid(&f->id), v_uuid(&r->who.user_id)), NULL, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &factors_counted, PARAMS(v_uuid(&r->who.user_id)), NULL, e);
    struct event ev = factor_event(r, S("factor.removed"), EVENT_KEY, &r->who.user_id, f, NULL);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- DELETE /api/workspaces/:id/members/:user_id/factors --- */

static enum errc reset_prepare(struct api_request *r, err *e)
{
    enum errc rc = recently_authenticated(r, e);
    return rc == ERR_NONE ? person_key_ensure(r->store, &r->path_id[1], r->now_us, e) : rc;
}

/* Nobody opens the account of somebody who may more than they. */
static enum errc may_reset(struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, r->arena, &role_of_member,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[1])), &row, e);
    return rc == ERR_NONE ? may_give_role(r, tx, NULL, "role", val_str(&row[0]), e) : rc;
}

static enum errc reset_apply(struct api_request *r, struct tx *tx, err *e)
{
    const uuid *user = &r->path_id[1];
    const struct val *count;
    unsigned n = 0;
    int64_t n_sessions = 0, n_passwords = 0;
    enum errc rc = may_reset(r, tx, e);
    if (rc == ERR_NONE) rc = tx_query_row(tx, r->arena, &memberships_count, PARAMS(v_uuid(user)), &count, e);
    if (rc != ERR_NONE) return rc;
    if (memcmp(user, &r->who.user_id, sizeof *user) == 0)
        return err_set(e, ERR_CONFLICT, "your own factors are removed at /api/auth/mfa");
    if (val_int(&count[0]) != 1)
        return err_set(e, ERR_CONFLICT,
                       "only the factors of people who belong to this workspace alone can be reset here");
    if ((rc = factors_drop(r, tx, user, &n, e)) != ERR_NONE) return rc;
    if (n == 0) return err_set(e, ERR_CONFLICT, "they have no factors");
    /* A password that was good enough beside a factor only is none any more: it is set anew by mail. */
    rc = tx_exec(tx, &password_drop, PARAMS(v_uuid(user)), &n_passwords, e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &sessions_of, PARAMS(v_uuid(user)), &n_sessions, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = event_of(r, S("factors.reset"), EVENT_MEMBER),
                 ended = event_of(r, S("auth.sessions_ended"), EVENT_REPLACED);
    ev.resource_type = ended.resource_type = S("user");
    ev.resource_id = ended.resource_id = *user;
    ended.workspace_id = (uuid){0};
    ev.metadata =
        arena_printf(r->arena, "{\"factors\":%u,\"password_dropped\":%s}", n, n_passwords ? "true" : "false");
    ended.metadata = arena_printf(r->arena, "{\"sessions\":%lld}", (long long)n_sessions);
    rc = tx_event(tx, &ev, e);
    return rc == ERR_NONE ? tx_event(tx, &ended, e) : rc;
}

static void reset_after(struct api_request *r)
{
    static const uuid none;
    struct identity *id = identity_of(r);
    if (id->live) live_revoke(id->live, &none, &r->path_id[1], &none);
}

static const struct api_resource member_resource = {
    .param = ":user_id", .find = &member_exists, .noun = "member"};

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/auth/mfa",
     .name = "auth_mfa",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .answer = &factors_shape,
     .summary = "The caller's second factors",
     .apply = list_apply},
    {.method = HTTP_PATCH,
     .path = "/api/auth/mfa/:id",
     .name = "auth_mfa_update",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &factor_shape,
     .answer = &factor_shape,
     .is_merge = true,
     .summary = "Gives a factor another name",
     .apply = rename_apply},
    {.method = HTTP_DELETE,
     .path = "/api/auth/mfa/:id",
     .name = "auth_mfa_delete",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Removes a factor",
     .text = "With the last one the recovery codes go. A password of less than 15 characters has to be "
             "changed before that.",
     .prepare = step_up_prepare,
     .apply = remove_apply},
    {.method = HTTP_DELETE,
     .path = "/api/workspaces/:id/members/:user_id/factors",
     .name = "members_factors_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_UPDATE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &member_resource,
     .status = 204,
     .summary = "Resets the second factors of a member who has lost them",
     .text = "Of people who belong to this workspace alone, by who could give them their role. All their "
             "sessions end, "
             "and they are told by mail.",
     .prepare = reset_prepare,
     .apply = reset_apply,
     .after = reset_after},
};
const struct api_table factors_api = {"auth", routes, LENGTH_OF(routes)};
