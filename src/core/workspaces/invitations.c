/* Invitations: a link that is valid once, for seven days, for one address; what it gives is checked again when it
 * is accepted, against what the inviter could give then. */
#include "base/log.h"
#include "core/identity/limits.h"
#include "core/mail.h"
#include "core/workspaces/internal.h"

#define INVITATION_US (7 * USEC_PER_DAY)
#define PROJECTS_MAX 50
#define PENDING_MAX 1000                /* of a workspace */
#define MAIL_PAUSE_US (60 * USEC_PER_S) /* between two mails to one address */
#define MAILS_MAX 5                     /* to one address, until it accepts or its invitation is forgotten */

#define INVITATION_COLUMNS                                                                                   \
    "i.id, i.email, i.role, i.created_us, i.expires_us, i.invited_by, i.project_ids, i.sent_us, i.sent"
SQL(invitation_add, DB_MAIN, 0, "uubtttuiitii",
    "INSERT INTO invitations (id, workspace_id, token_hash, email, email_key, role, invited_by, created_us, "
    "expires_us, project_ids, sent_us, sent) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
SQL(invitation_renew, DB_MAIN, 0, "buiiiuu",
    "UPDATE invitations SET token_hash = $1, invited_by = $2, expires_us = $3, sent_us = $4, sent = $5 WHERE "
    "workspace_id = $6 AND id = $7");
SQL(invitation_list, DB_MAIN, 0, "u",
    "SELECT " INVITATION_COLUMNS " FROM invitations i WHERE i.workspace_id = $1");
SQL(invitation_get, DB_MAIN, 0, "uu",
    "SELECT " INVITATION_COLUMNS " FROM invitations i WHERE i.workspace_id = $1 AND i.id = $2");
SQL(invitation_find, DB_MAIN, 0, "uu", "SELECT NULL FROM invitations WHERE workspace_id = $1 AND id = $2");
SQL(invitation_of_email, DB_MAIN, 0, "ut",
    "SELECT " INVITATION_COLUMNS " FROM invitations i WHERE i.workspace_id = $1 AND i.email_key = $2");
SQL(invitation_by_token, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT " INVITATION_COLUMNS ", i.workspace_id, i.email_key, w.name, u.id, n.is_disabled "
    "FROM invitations i JOIN workspaces w ON w.id = i.workspace_id JOIN users n ON n.id = i.invited_by "
    "LEFT JOIN users u ON u.email_key = i.email_key WHERE i.token_hash = $1 AND w.deleted_us IS NULL");
SQL(invitation_drop, DB_MAIN, 0, "uu", "DELETE FROM invitations WHERE workspace_id = $1 AND id = $2");
SQL(invitations_pending, DB_MAIN, 0, "u", "SELECT count(*) FROM invitations WHERE workspace_id = $1");
SQL(member_of_email, DB_MAIN, 0, "ut",
    "SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND "
    "u.email_key = $2");
SQL(owners_addresses, DB_MAIN, 0, "u",
    "SELECT u.email_key FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND "
    "m.role = 'owner'");
SQL(workspace_name, DB_MAIN, SQL_INSTANCE, "u", "SELECT name FROM workspaces WHERE id = $1");
SQL(assignment_add, DB_MAIN, 0, "uuuutui",
    "INSERT INTO assignments (id, workspace_id, project_id, user_id, role, reason, granted_by, created_us) "
    "VALUES "
    "($1, $2, $3, $4, $5, 'invitation', $6, $7)");

struct invitation {
    uuid id;
    str email, role;
    struct texts project_ids;
    usec created_at, expires_at;
    uuid invited_by;
    usec sent_at;
    int64_t sent;
    bool is_mailed; /* of a fresh one only */
    str link;       /* likewise */
};
#define INVITATION_FIELDS                                                                                    \
    FIELD(struct invitation, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the invitation."),   \
        FIELD(struct invitation, email, FIELD_TEXT, .min = 3, .max = 320, .format = FORMAT_EMAIL,            \
              .flags = FIELD_REQUIRED | FIELD_PERSONAL,                                                      \
              .meaning = "The address that is invited, and that alone can accept."),                         \
        FIELD(struct invitation, role, FIELD_TEXT, .min = 1, .max = 36, .format = FORMAT_NAME,               \
              .flags = FIELD_REQUIRED,                                                                       \
              .meaning = "Role that they will have, a built-in one's name or a custom one's id; never more " \
                         "than the inviter holds, then or when it is accepted."),                            \
        FIELD(struct invitation, project_ids, FIELD_TEXTS, .min = 36, .max = 36, .max_items = PROJECTS_MAX,  \
              .fallback = "[]",                                                                              \
              .meaning =                                                                                     \
                  "The only projects that they will have the role in; none: in all of the workspace."),      \
        FIELD(struct invitation, created_at, FIELD_TIME, .flags = FIELD_READONLY,                            \
              .meaning = "When it was made."),                                                               \
        FIELD(struct invitation, expires_at, FIELD_TIME, .flags = FIELD_READONLY,                            \
              .meaning = "When it stops being valid."),                                                      \
        FIELD(struct invitation, invited_by, FIELD_UUID, .flags = FIELD_READONLY,                            \
              .meaning = "Who invites."),                                                                    \
        FIELD(struct invitation, sent_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE,              \
              .meaning = "When it was mailed last; null: it was not.")
static const struct field invitation_fields[] = {INVITATION_FIELDS};
static const struct shape invitation_shape =
    SHAPE("Invitation", struct invitation, invitation_fields, "An invitation to a workspace.");
static const struct field fresh_fields[] = {
    INVITATION_FIELDS,
    FIELD(struct invitation, is_mailed, FIELD_BOOL, .flags = FIELD_READONLY | FIELD_UNAUDITED,
          .meaning =
              "It goes to the address by mail; not when one went there within the last minute, or five did."),
    FIELD(struct invitation, link, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The link to give to the person: shown this once, valid once."),
};
static const struct shape fresh_shape =
    SHAPE("NewInvitation", struct invitation, fresh_fields, "An invitation with its link.");

static const struct api_resource invitation_resource = {
    .param = ":invitation_id", .find = &invitation_find, .noun = "invitation"};

static enum errc read_row(struct arena *a, const struct val *row, struct invitation *i, err *e)
{
    *i = (struct invitation){.id = val_uuid(&row[0]),
                             .email = val_str(&row[1]),
                             .role = val_str(&row[2]),
                             .created_at = val_int(&row[3]),
                             .expires_at = val_int(&row[4]),
                             .invited_by = val_uuid(&row[5]),
                             .sent_at = val_int(&row[7]),
                             .sent = val_int(&row[8]) == NO_VALUE ? 0 : val_int(&row[8])};
    return words_read(a, val_str(&row[6]), &i->project_ids, e);
}

/* The address is about a person who may have no account: its box has a key of the invitation's own. */
static struct event invitation_event(const struct api_request *r, str type, enum event_number n,
                                     const uuid *workspace, const struct invitation *before,
                                     const struct invitation *after)
{
    struct event ev = event_of(r, type, n);
    ev.workspace_id = *workspace;
    ev.resource_type = S("invitation");
    ev.resource_id = ev.person_id = after ? after->id : before->id;
    ev.shape = &invitation_shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

static enum errc drop(struct api_request *r, struct tx *tx, str type, enum event_number n,
                      const uuid *workspace, const struct invitation *i, err *e)
{
    struct event ev = invitation_event(r, type, n, workspace, i, NULL);
    enum errc rc = tx_exec(tx, &invitation_drop, PARAMS(v_uuid(workspace), v_uuid(&i->id)), NULL, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

/* --- who can be invited --- */

static str domain_of(str address)
{
    size_t at = address.len;
    while (at > 0 && address.p[at - 1] != '@')
        at--;
    return str_skip(address, at);
}

/* ERR_FORBIDDEN for an address outside of the workspace's domains, when only those are let in. */
static enum errc address_is_let_in(struct tx *tx, struct arena *a, const uuid *workspace, str email_key,
                                   err *e)
{
    struct workspace_settings s;
    struct rows rows;
    str domain = domain_of(email_key);
    enum errc rc = workspace_policy(tx, a, workspace, &s, e);
    if (rc != ERR_NONE || s.allow_external_collaborators) return rc;
    for (unsigned i = 0; i < s.email_domains.n; i++)
        if (str_ieq(s.email_domains.items[i], domain)) return ERR_NONE;
    if (s.email_domains.n == 0) {
        if ((rc = tx_query(tx, a, &owners_addresses, PARAMS(v_uuid(workspace)), &rows, e)) != ERR_NONE)
            return rc;
        for (unsigned i = 0; i < rows.n; i++)
            if (str_ieq(domain_of(val_str(&row_at(&rows, i)[0])), domain)) return ERR_NONE;
    }
    return err_set(e, ERR_FORBIDDEN,
                   "this workspace takes nobody from outside its own domains (allow_external_collaborators)");
}

/* The projects exist for the caller, and they can give the role there. */
static enum errc may_give(struct api_request *r, struct tx *tx, str role, const struct texts *projects,
                          err *e)
{
    enum errc rc = projects->n ? ERR_NONE : may_give_role(r, tx, NULL, "role", role, e);
    if (projects->n && str_eq(role, str_c(role_name(ROLE_OWNER))))
        return api_field_error(r, e, "role", "not_one_of",
                               "an owner owns the workspace, not single projects of it");
    for (unsigned i = 0; i < projects->n && rc == ERR_NONE; i++) {
        struct rows rows;
        uuid id;
        if (!uuid_parse(projects->items[i], &id))
            return api_field_error(r, e, "project_ids", "bad_format", "'%.*s' is no id",
                                   STR(projects->items[i]));
        rc = tx_query(tx, r->arena, identity_find_project(identity_of(r)),
                      PARAMS(v_uuid(&r->workspace_id), v_uuid(&id)), &rows, e);
        if (rc == ERR_NONE && (rows.n == 0 || !api_sees_project(r, &id)))
            return err_set(e, ERR_NOT_FOUND, "there is no project with one of these ids");
        if (rc == ERR_NONE) rc = may_give_role(r, tx, &id, "role", role, e);
    }
    return rc;
}

/* --- POST /api/workspaces/:id/invite, POST /api/workspaces/:id/invitations/:invitation_id/resend --- */

struct invite_state {
    struct token token;
    str email_key;
    struct invitation before; /* the one for the same address; its person's key is at hand */
    bool has_before;
    struct invitation fresh;
    struct mail_ready mail;
    bool is_mailed;
};

struct reading {
    const struct api_request *r;
    const struct sql *sql;
    const struct val *params;
    unsigned n;
    struct rows rows;
    str workspace_name;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct reading *x = ctx;
    const struct val *row;
    enum errc rc = tx_query(tx, x->r->arena, x->sql, x->params, x->n, &x->rows, e);
    if (rc == ERR_NONE)
        rc = tx_query_row(tx, x->r->arena, &workspace_name, PARAMS(v_uuid(&x->r->workspace_id)), &row, e);
    if (rc == ERR_NONE) x->workspace_name = val_str(&row[0]);
    return rc;
}

/* A name that cannot stand in a mail (with a link in it, for example) keeps nobody from being invited: the link is in the answer. */
static enum errc prepare_mail(struct api_request *r, struct invite_state *s, str workspace, err *e)
{
    struct mailer *mailer = identity_mailer(identity_of(r));
    enum role built_in;
    str role = role_parse(s->fresh.role, &built_in) ? s->fresh.role : S("member");
    struct mail_value values[] = {{S("inviter"), r->who.name},
                                  {S("workspace"), workspace},
                                  {S("role"), role},
                                  {S("link"), s->fresh.link}};
    struct mail mail = {.kind = S("invitation"),
                        .workspace_id = r->workspace_id,
                        .to = s->fresh.email,
                        .values = values,
                        .n = LENGTH_OF(values),
                        .expires_us = s->fresh.expires_at};
    bool is_soon =
        s->has_before && s->before.sent_at != NO_VALUE && s->before.sent_at + MAIL_PAUSE_US > r->now_us;
    s->fresh.sent = s->has_before ? s->before.sent : 0;
    s->fresh.sent_at = s->has_before ? s->before.sent_at : NO_VALUE;
    if (!mailer || is_soon || s->fresh.sent >= MAILS_MAX) return ERR_NONE;
    enum errc rc = mail_prepare(mailer, r->arena, &mail, r->now_us, &s->mail, e);
    if (rc == ERR_INVALID) {
        log_event(LOG_INFO, "invitation_not_mailed", LOG_S("reason", str_c(e->msg)));
        *e = (err){0};
        return ERR_NONE;
    }
    s->is_mailed = rc == ERR_NONE;
    if (s->is_mailed) {
        s->fresh.sent++;
        s->fresh.sent_at = r->now_us;
    }
    s->fresh.is_mailed = s->is_mailed;
    return rc;
}

static void renew(struct api_request *r, struct invite_state *s)
{
    token_make(&s->token);
    s->fresh.expires_at = r->now_us + INVITATION_US;
    s->fresh.invited_by = r->who.user_id;
    s->fresh.link =
        arena_printf(r->arena, "%.*s/invite#%s", STR(identity_public_url(identity_of(r))), s->token.text);
}

static enum errc invite_prepare(struct api_request *r, err *e)
{
    const struct invitation *body = r->body;
    struct invite_state *s = arena_new(r->arena, struct invite_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = email_key(r->arena, body->email, &s->email_key, e);
    if (rc != ERR_NONE) return rc;
    s->fresh = *body;
    s->fresh.id = uuid7_make(r->now_us);
    s->fresh.created_at = r->now_us;
    renew(r, s);
    struct val params[] = {v_uuid(&r->workspace_id), v_text(s->email_key)};
    struct reading x = {.r = r, .sql = &invitation_of_email, .params = params, .n = LENGTH_OF(params)};
    if ((rc = db_read(identity_db(identity_of(r)), read_unit, &x, e)) != ERR_NONE) return rc;
    if (x.rows.n) {
        s->has_before = true;
        if ((rc = read_row(r->arena, row_at(&x.rows, 0), &s->before, e)) != ERR_NONE ||
            (rc = person_key_ensure(r->store, &s->before.id, r->now_us, e)) != ERR_NONE)
            return rc;
    }
    if ((rc = prepare_mail(r, s, x.workspace_name, e)) != ERR_NONE) return rc;
    return person_key_ensure(r->store, &s->fresh.id, r->now_us, e);
}

static enum errc pending_has_room(struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    enum errc rc =
        tx_query_row(tx, r->arena, &invitations_pending, PARAMS(v_uuid(&r->workspace_id)), &row, e);
    if (rc == ERR_NONE && val_int(&row[0]) >= PENDING_MAX)
        return err_set(e, ERR_CONFLICT,
                       "there are %d invitations that nobody has answered yet: take some back first",
                       PENDING_MAX);
    return rc == ERR_NONE ? plan_has_room(tx, r->arena, &r->workspace_id, PLAN_MEMBERS, true, e) : rc;
}

/* Drops the invitation before this one of the same address. */
static enum errc replace(struct api_request *r, struct tx *tx, const struct invite_state *s, err *e)
{
    struct rows olds;
    struct invitation old;
    enum errc rc = tx_query(tx, r->arena, &invitation_of_email,
                            PARAMS(v_uuid(&r->workspace_id), v_text(s->email_key)), &olds, e);
    if (rc != ERR_NONE || olds.n == 0) return rc;
    if ((rc = read_row(r->arena, row_at(&olds, 0), &old, e)) != ERR_NONE) return rc;
    if (!s->has_before || memcmp(&old.id, &s->before.id, sizeof old.id) != 0)
        return err_set(e, ERR_CONFLICT, "somebody has just invited the same address; try again");
    return drop(r, tx, S("invitation.revoked"), EVENT_REPLACED, &r->workspace_id, &old, e);
}

static enum errc invite(struct api_request *r, struct tx *tx, err *e)
{
    struct invite_state *s = r->state;
    struct rows members;
    str projects;
    enum errc rc = may_give(r, tx, s->fresh.role, &s->fresh.project_ids, e);
    if (rc == ERR_NONE) rc = address_is_let_in(tx, r->arena, &r->workspace_id, s->email_key, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, r->arena, &member_of_email, PARAMS(v_uuid(&r->workspace_id), v_text(s->email_key)),
                      &members, e);
    if (rc == ERR_NONE && members.n)
        return err_set(e, ERR_CONFLICT, "they are a member of this workspace already");
    if (rc == ERR_NONE) rc = replace(r, tx, s, e);
    if (rc == ERR_NONE) rc = pending_has_room(r, tx, e);
    if (rc == ERR_NONE) rc = words_write(r->arena, &s->fresh.project_ids, &projects, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &invitation_add,
                     PARAMS(v_uuid(&s->fresh.id), v_uuid(&r->workspace_id), v_hash(s->token.hash),
                            v_text(s->fresh.email), v_text(s->email_key), v_text(s->fresh.role),
                            v_uuid(&r->who.user_id), v_int(r->now_us), v_int(s->fresh.expires_at),
                            v_text(projects), v_int_or_null(s->fresh.sent_at), v_int(s->fresh.sent)),
                     NULL, e);
    if (rc == ERR_NONE && s->is_mailed) rc = tx_mail(tx, &s->mail, e);
    if (rc != ERR_NONE) return rc;
    struct event ev =
        invitation_event(r, S("invitation.created"), EVENT_INVITATION, &r->workspace_id, NULL, &s->fresh);
    r->answer = &s->fresh;
    r->has_secret = true;
    return tx_event(tx, &ev, e);
}

static enum errc resend_prepare(struct api_request *r, err *e)
{
    struct invite_state *s = arena_new(r->arena, struct invite_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    struct val params[] = {v_uuid(&r->workspace_id), v_uuid(&r->path_id[1])};
    struct reading x = {.r = r, .sql = &invitation_get, .params = params, .n = LENGTH_OF(params)};
    enum errc rc = db_read(identity_db(identity_of(r)), read_unit, &x, e);
    if (rc != ERR_NONE) return rc;
    if (x.rows.n == 0) return err_set(e, ERR_NOT_FOUND, "there is no such invitation");
    if ((rc = read_row(r->arena, row_at(&x.rows, 0), &s->before, e)) != ERR_NONE) return rc;
    s->has_before = true;
    if (s->before.sent_at != NO_VALUE && s->before.sent_at + MAIL_PAUSE_US > r->now_us) {
        r->retry_after_s = 1 + (unsigned)((s->before.sent_at + MAIL_PAUSE_US - r->now_us) / USEC_PER_S);
        return err_set(e, ERR_RATE_LIMITED, "this invitation was mailed less than a minute ago");
    }
    if (s->before.sent >= MAILS_MAX)
        return err_set(e, ERR_CONFLICT,
                       "this address has been sent %d mails: give it the link in another way", MAILS_MAX);
    s->fresh = s->before;
    renew(r, s);
    if ((rc = prepare_mail(r, s, x.workspace_name, e)) != ERR_NONE) return rc;
    return person_key_ensure(r->store, &s->fresh.id, r->now_us, e);
}

static enum errc resend(struct api_request *r, struct tx *tx, err *e)
{
    struct invite_state *s = r->state;
    const struct val *row;
    struct invitation now;
    enum errc rc = tx_query_row(tx, r->arena, &invitation_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[1])), &row, e);
    if (rc == ERR_NONE) rc = read_row(r->arena, row, &now, e);
    if (rc == ERR_NONE && now.sent != s->before.sent)
        return err_set(e, ERR_CONFLICT, "somebody has just sent it; try again");
    if (rc == ERR_NONE) rc = may_give(r, tx, now.role, &now.project_ids, e);
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &invitation_renew,
                     PARAMS(v_hash(s->token.hash), v_uuid(&r->who.user_id), v_int(s->fresh.expires_at),
                            v_int_or_null(s->fresh.sent_at), v_int(s->fresh.sent), v_uuid(&r->workspace_id),
                            v_uuid(&now.id)),
                     NULL, e);
    if (rc == ERR_NONE && s->is_mailed) rc = tx_mail(tx, &s->mail, e);
    if (rc != ERR_NONE) return rc;
    struct event ev =
        invitation_event(r, S("invitation.resent"), EVENT_INVITATION, &r->workspace_id, &now, &s->fresh);
    r->answer = &s->fresh;
    r->has_secret = true;
    return tx_event(tx, &ev, e);
}

/* --- GET, DELETE /api/workspaces/:id/invitations --- */

static enum errc invitations_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {
        .column = "i.id", .param = 'u', .is_descending = true, .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &invitation_list, PARAMS(v_uuid(&r->workspace_id)), NULL, 0, &key,
                           &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct invitation *list = arena_news(r->arena, struct invitation, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n && rc == ERR_NONE; i++)
        rc = read_row(r->arena, row_at(&rows, i), &list[i], e);
    r->items = (struct objects){list, rows.n};
    return rc;
}

static enum errc take_back_prepare(struct api_request *r, err *e)
{
    return person_key_ensure(r->store, &r->path_id[1], r->now_us, e);
}

static enum errc take_back(struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    struct invitation old;
    enum errc rc = tx_query_row(tx, r->arena, &invitation_get,
                                PARAMS(v_uuid(&r->workspace_id), v_uuid(&r->path_id[1])), &row, e);
    if (rc == ERR_NONE) rc = read_row(r->arena, row, &old, e);
    return rc == ERR_NONE ? drop(r, tx, S("invitation.revoked"), EVENT_INVITATION, &r->workspace_id, &old, e)
                          : rc;
}

/* --- GET /api/invitations/:token, POST /api/invitations/:token/accept --- */

struct offer {
    str workspace_name, email, role;
    bool has_account;
};
static const struct field offer_fields[] = {
    FIELD(struct offer, workspace_name, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Where they are invited to."),
    FIELD(struct offer, email, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "The address that is invited."),
    FIELD(struct offer, role, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Role that they will have."),
    FIELD(struct offer, has_account, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "The address has an account: sign in first, then accept."),
};
static const struct shape offer_shape =
    SHAPE("InvitationOffer", struct offer, offer_fields, "What an invitation offers.");

/* What a token stands for, as of now. */
struct found {
    struct invitation invitation;
    uuid workspace_id, user_id; /* of the account with that address; nil: none */
    str email_key, workspace_name, role_name;
    uuid *projects; /* those that are still there */
    unsigned n_projects;
};

/* Whether the inviter holds in the project (NULL: in the workspace) for good what the invitation gives there. */
static bool inviter_holds(const struct access *inviter, const uuid *project,
                          const struct permission_set *wanted)
{
    static const uuid nowhere;
    struct permission_set held;
    return access_lasting_in(inviter, project ? project : &nowhere, &held) &&
           permission_set_holds_all(&held, wanted);
}

/* *is_good: the inviter is still a member who may invite, and holds what they give. */
static enum errc ask_inviter(struct api_request *r, struct tx *tx, struct found *f, bool *is_good, err *e)
{
    const struct invitation *i = &f->invitation;
    struct access *inviter;
    struct permission_set wanted, held;
    *is_good = false;
    enum errc rc = tx_access(identity_permissions(identity_of(r)), tx, &f->workspace_id, &i->invited_by,
                             r->now_us, &inviter, e);
    if (rc != ERR_NONE) return rc == ERR_NOT_FOUND ? ERR_NONE : rc;
    bool gives_all = i->project_ids.n == 0, is_none = str_eq(i->role, S(ROLE_NONE));
    f->projects = arena_news(r->arena, uuid, i->project_ids.n + 1u);
    if (!f->projects) rc = err_code(e, ERR_TOO_LARGE);
    if (rc == ERR_NONE && is_none)
        wanted = (struct permission_set){{0, 0}};
    else if (rc == ERR_NONE)
        rc = tx_role(tx, r->arena, &f->workspace_id, i->role, &wanted, &f->role_name, e);
    if (rc != ERR_NONE) goto out;
    held = access_in_workspace(inviter);
    if (!permission_set_has(&held, PERMISSION_MEMBERS_INVITE) ||
        (str_eq(i->role, str_c(role_name(ROLE_OWNER))) && !access_is_owner(inviter)) ||
        (gives_all && !inviter_holds(inviter, NULL, &wanted)))
        goto out;
    for (unsigned k = 0; k < i->project_ids.n && rc == ERR_NONE; k++) {
        struct rows rows;
        uuid id;
        if (!uuid_parse(i->project_ids.items[k], &id)) continue;
        rc = tx_query(tx, r->arena, identity_find_project(identity_of(r)),
                      PARAMS(v_uuid(&f->workspace_id), v_uuid(&id)), &rows, e);
        if (rc == ERR_NONE && rows.n && inviter_holds(inviter, &id, &wanted))
            f->projects[f->n_projects++] = id;
    }
    *is_good = rc == ERR_NONE && (gives_all || f->n_projects);
out:
    access_let_go(inviter);
    return rc == ERR_NOT_FOUND ? ERR_NONE : rc;
}

/* An invitation is worth what its inviter could give today: ERR_NOT_FOUND when that is less. */
static enum errc find_by_token(struct api_request *r, struct tx *tx, const uint8_t hash[SHA256_LEN],
                               struct found *f, err *e)
{
    struct rows rows;
    bool is_good;
    *f = (struct found){0};
    enum errc rc = tx_query(tx, r->arena, &invitation_by_token, PARAMS(v_hash(hash)), &rows, e);
    if (rc != ERR_NONE) return rc;
    if (rows.n == 0) goto gone;
    const struct val *row = row_at(&rows, 0);
    if ((rc = read_row(r->arena, row, &f->invitation, e)) != ERR_NONE) return rc;
    f->workspace_id = val_uuid(&row[9]);
    f->email_key = val_str(&row[10]);
    f->workspace_name = val_str(&row[11]);
    f->user_id = val_uuid(&row[12]);
    f->role_name = f->invitation.role;
    if (f->invitation.expires_at <= r->now_us || val_bool(&row[13])) goto gone;
    if ((rc = ask_inviter(r, tx, f, &is_good, e)) != ERR_NONE) return rc;
    if (is_good) return ERR_NONE;
gone:
    return err_set(e, ERR_NOT_FOUND, "this invitation is not valid any more; ask for a new one");
}

struct token_state {
    struct api_request *r;
    uint8_t hash[SHA256_LEN];
    struct found found;
    struct new_user person; /* of somebody without an account */
    struct fresh_session session;
    bool is_new;
};

static enum errc find_unit(struct tx *tx, void *ctx, err *e)
{
    struct token_state *s = ctx;
    return find_by_token(s->r, tx, s->hash, &s->found, e);
}

/* Guessing at 256 bits is hopeless; that somebody tries is held up all the same. */
static enum errc find(struct api_request *r, struct token_state **out, err *e)
{
    struct identity *id = identity_of(r);
    struct token_state *s = arena_new(r->arena, struct token_state);
    struct limit_try try = {.address = r->address};
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = *out = s;
    s->r = r;
    token_hash(r->path_text[0], s->hash);
    enum errc rc = db_read(identity_db(id), find_unit, s, e);
    if (rc != ERR_NOT_FOUND) return rc;
    err limit = {0};
    enum errc limited = limit_begin(identity_db(id), &try, r->now_us, &r->retry_after_s, &limit);
    if (limited == ERR_NONE) return rc;
    *e = limit;
    return limited;
}

static enum errc offer_show(struct api_request *r, err *e)
{
    struct token_state *s;
    struct offer *o = arena_new(r->arena, struct offer);
    if (!o) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = find(r, &s, e);
    if (rc != ERR_NONE) return rc;
    *o = (struct offer){s->found.workspace_name, s->found.invitation.email, s->found.role_name,
                        !uuid_is_nil(&s->found.user_id)};
    r->answer = o;
    return ERR_NONE;
}

struct acceptance {
    str name, password;
};
static const struct field acceptance_fields[] = {
    FIELD(struct acceptance, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_NULLABLE | FIELD_WRITEONLY, .meaning = "Name of somebody who has no account yet."),
    FIELD(struct acceptance, password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX, .format = FORMAT_ANY,
          .flags = FIELD_NULLABLE | FIELD_WRITEONLY,
          .meaning = "Their password: at least 15 characters, and none of what is guessed first."),
};
static const struct shape acceptance_shape =
    SHAPE("Acceptance", struct acceptance, acceptance_fields,
          "A new person's name and password; nothing from somebody who is signed in.");

static enum errc accept_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    const struct acceptance *body = r->body;
    struct token_state *s;
    enum errc rc = find(r, &s, e);
    if (rc == ERR_NONE) rc = person_key_ensure(r->store, &s->found.invitation.id, r->now_us, e);
    if (rc != ERR_NONE) return rc;
    if (r->who.kind == PRINCIPAL_SESSION) {
        str own;
        if ((rc = email_key(r->arena, r->who.email, &own, e)) != ERR_NONE) return rc;
        return str_eq(own, s->found.email_key)
                   ? person_key_ensure(r->store, &r->who.user_id, r->now_us, e)
                   : err_set(e, ERR_FORBIDDEN,
                             "this invitation is for another address than yours: sign out first");
    }
    if (!uuid_is_nil(&s->found.user_id))
        return err_set(e, ERR_CONFLICT,
                       "there is an account with this address: sign in, then accept the invitation");
    if (!body->name.p)
        (void)api_field_error(r, e, "name", "required",
                              "is needed, since there is no account with this address yet");
    if (!body->password.p)
        (void)api_field_error(r, e, "password", "required",
                              "is needed, since there is no account with this address yet");
    if (r->errors.n) return ERR_INVALID;
    s->is_new = true;
    rc = new_user_prepare(id, r, s->found.invitation.email, body->name, body->password,
                          &s->found.workspace_name, 1, &s->person, e);
    return rc == ERR_NONE ? session_prepare(r, &s->person.user, &s->session, e) : rc;
}

/* The membership, and where it is for single projects only an assignment in each. */
static enum errc join(struct api_request *r, struct tx *tx, const struct found *f, err *e)
{
    bool gives_all = f->invitation.project_ids.n == 0;
    enum errc rc = member_insert(r, tx, &f->workspace_id, &r->who.user_id,
                                 gives_all ? f->invitation.role : S(ROLE_NONE), f->invitation.created_at, e);
    for (unsigned i = 0; i < f->n_projects && rc == ERR_NONE && !gives_all; i++) {
        uuid id = event_id_of(&r->request_id, EVENT_MORE + i);
        rc = tx_exec(tx, &assignment_add,
                     PARAMS(v_uuid(&id), v_uuid(&f->workspace_id), v_uuid(&f->projects[i]),
                            v_uuid(&r->who.user_id), v_text(f->invitation.role),
                            v_uuid(&f->invitation.invited_by), v_int(r->now_us)),
                     NULL, e);
    }
    return rc;
}

static enum errc accept_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct token_state *s = r->state;
    struct signed_in *answer = arena_new(r->arena, struct signed_in);
    const struct val *row;
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = find_by_token(r, tx, s->hash, &s->found, e);
    if (rc == ERR_NONE && s->is_new) rc = new_user_insert(r, tx, &s->person, e);
    if (rc == ERR_NONE) rc = address_is_let_in(tx, r->arena, &s->found.workspace_id, s->found.email_key, e);
    if (rc == ERR_NONE) rc = plan_has_room(tx, r->arena, &s->found.workspace_id, PLAN_MEMBERS, false, e);
    if (rc == ERR_NONE) rc = join(r, tx, &s->found, e);
    if (rc == ERR_NONE)
        rc = drop(r, tx, S("invitation.accepted"), EVENT_INVITATION, &s->found.workspace_id,
                  &s->found.invitation, e);
    if (rc == ERR_NONE && s->is_new) rc = session_start(r, tx, &s->session, e);
    if (rc == ERR_NONE) rc = user_row(tx, r->arena, &r->who.user_id, &row, e);
    if (rc != ERR_NONE) return rc;
    if (s->is_new) device_cookie_set(r, &r->who.user_id, str_c(s->person.password));
    user_read(row, &answer->user);
    answer->csrf_token = csrf_token(identity_of(r), r->arena, &r->who.credential_id);
    r->answer = answer;
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/workspaces/:id/invite",
     .name = "invitations_create",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_INVITE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &invitation_shape,
     .answer = &fresh_shape,
     .status = 201,
     .summary = "Invites somebody",
     .text = "Mails the link to the address, and answers with it. An earlier invitation of the same address "
             "stops being "
             "valid. 402 when the plan has no place left.",
     .prepare = invite_prepare,
     .apply = invite},
    {.method = HTTP_POST,
     .path = "/api/workspaces/:id/invitations/:invitation_id/resend",
     .name = "invitations_resend",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_INVITE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &invitation_resource,
     .answer = &fresh_shape,
     .summary = "Sends an invitation again, with another link",
     .text = "The link before stops being valid, and the caller is the inviter from now on. At most once a "
             "minute, and five "
             "mails to an address.",
     .prepare = resend_prepare,
     .apply = resend},
    {.method = HTTP_GET,
     .path = "/api/workspaces/:id/invitations",
     .name = "invitations_list",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_INVITE,
     .scope = SCOPE_WORKSPACE,
     .answer = &invitation_shape,
     .is_list = true,
     .summary = "Invitations that have not been accepted, the newest first",
     .apply = invitations_list},
    {.method = HTTP_DELETE,
     .path = "/api/workspaces/:id/invitations/:invitation_id",
     .name = "invitations_delete",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_MEMBERS_INVITE,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .resource = &invitation_resource,
     .status = 204,
     .summary = "Takes an invitation back",
     .prepare = take_back_prepare,
     .apply = take_back},
    {.method = HTTP_GET,
     .path = "/api/invitations/:token",
     .name = "invitations_show",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .answer = &offer_shape,
     .summary = "What an invitation offers",
     .prepare = offer_show},
    {.method = HTTP_POST,
     .path = "/api/invitations/:token/accept",
     .name = "invitations_accept",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &acceptance_shape,
     .answer = &signed_in_shape,
     .is_idempotent_exempt = true,
     .summary = "Accepts an invitation",
     .text = "With an account: signed in, and an empty object. Without: a name and a password, which sign in "
             "too.",
     .prepare = accept_prepare,
     .apply = accept_apply},
};
const struct api_table invitations_api = {"workspaces", routes, LENGTH_OF(routes)};
