/* Invitations: a link that is valid once, for seven days, for one address; the role is checked again when
 * it is accepted. */
#include "core/identity/limits.h"
#include "core/identity/people.h"
#include "core/workspaces.h"

#define INVITATION_US (7 * USEC_PER_DAY)

SQL(invitation_add, DB_MAIN, 0, "uubtttuii",
    "INSERT INTO invitations (id, workspace_id, token_hash, email, email_key, role, invited_by, created_us, "
    "expires_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
SQL(invitation_list, DB_MAIN, 0, "u",
    "SELECT i.id, i.email, i.role, i.created_us, i.expires_us, i.invited_by FROM invitations i WHERE "
    "i.workspace_id = $1");
SQL(invitation_get, DB_MAIN, 0, "uu",
    "SELECT i.id, i.email, i.role, i.created_us, i.expires_us, i.invited_by FROM invitations i WHERE "
    "i.workspace_id = $1 AND i.id = $2");
SQL(invitation_find, DB_MAIN, 0, "uu", "SELECT NULL FROM invitations WHERE workspace_id = $1 AND id = $2");
SQL(invitation_of_email, DB_MAIN, 0, "ut",
    "SELECT i.id, i.email, i.role, i.created_us, i.expires_us, i.invited_by FROM invitations i WHERE "
    "i.workspace_id = $1 AND i.email_key = $2");
SQL(invitation_by_token, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT i.id, i.email, i.role, i.created_us, i.expires_us, i.invited_by, i.workspace_id, i.email_key, "
    "w.name, u.id "
    "FROM invitations i JOIN workspaces w ON w.id = i.workspace_id LEFT JOIN users u ON u.email_key = "
    "i.email_key WHERE i.token_hash = $1");
SQL(invitation_drop, DB_MAIN, 0, "uu", "DELETE FROM invitations WHERE workspace_id = $1 AND id = $2");
SQL(member_of_email, DB_MAIN, 0, "ut",
    "SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.workspace_id = $1 AND "
    "u.email_key = $2");

struct invitation {
    uuid id;
    str email, role;
    usec created_at, expires_at;
    uuid invited_by;
    str link; /* of a fresh one only */
};
#define INVITATION_FIELDS                                                                                    \
    FIELD(struct invitation, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the invitation."),   \
        FIELD(struct invitation, email, FIELD_TEXT, .min = 3, .max = 320, .format = FORMAT_EMAIL,            \
              .flags = FIELD_REQUIRED | FIELD_PERSONAL,                                                      \
              .meaning = "The address that is invited, and that alone can accept."),                         \
        FIELD(struct invitation, role, FIELD_TEXT, .min = 1, .max = 36, \
              .flags = FIELD_REQUIRED,                                                                       \
              .meaning = "Role that they will have; never more than the inviter holds, then or when it is "  \
                         "accepted."),                                                                       \
        FIELD(struct invitation, created_at, FIELD_TIME, .flags = FIELD_READONLY,                            \
              .meaning = "When it was made."),                                                               \
        FIELD(struct invitation, expires_at, FIELD_TIME, .flags = FIELD_READONLY,                            \
              .meaning = "When it stops being valid."),                                                      \
        FIELD(struct invitation, invited_by, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Who invites.")
static const struct field invitation_fields[] = {INVITATION_FIELDS};
static const struct shape invitation_shape =
    SHAPE("Invitation", struct invitation, invitation_fields, "An invitation to a workspace.");
static const struct field fresh_fields[] = {
    INVITATION_FIELDS,
    FIELD(struct invitation, link, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "The link to give to the person: shown this once, valid once."),
};
static const struct shape fresh_shape =
    SHAPE("NewInvitation", struct invitation, fresh_fields, "An invitation with its link.");

static const struct api_resource invitation_resource = {
    .param = ":invitation_id", .find = &invitation_find, .noun = "invitation"};

static void read_row(const struct val *row, struct invitation *i)
{
    *i = (struct invitation){.id = val_uuid(&row[0]),
                             .email = val_str(&row[1]),
                             .role = val_str(&row[2]),
                             .created_at = val_int(&row[3]),
                             .expires_at = val_int(&row[4]),
                             .invited_by = val_uuid(&row[5])};
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

/* --- POST /api/workspaces/:id/invite --- */

struct invite_state {
    struct token token;
    str email_key;
    struct invitation fresh;
    uuid replaced; /* the one before it for the same address; its person's key is at hand */
};

struct one_row {
    struct arena *a;
    const struct sql *sql;
    const struct val *params;
    unsigned n;
    struct rows rows;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct one_row *o = ctx;
    return tx_query(tx, o->a, o->sql, o->params, o->n, &o->rows, e);
}

static enum errc invite_prepare(struct api_request *r, err *e)
{
    const struct invitation *body = r->body;
    struct invite_state *s = arena_new(r->arena, struct invite_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    token_make(&s->token);
    enum errc rc = email_key(r->arena, body->email, &s->email_key, e);
    if (rc != ERR_NONE) return rc;
    s->fresh = *body;
    s->fresh.id = uuid7_make(r->now_us);
    s->fresh.created_at = r->now_us;
    s->fresh.expires_at = r->now_us + INVITATION_US;
    s->fresh.invited_by = r->who.user_id;
    s->fresh.link =
        arena_printf(r->arena, "%.*s/invite#%s", STR(identity_public_url(identity_of(r))), s->token.text);
    struct val params[] = {v_uuid(&r->workspace_id), v_text(s->email_key)};
    struct one_row before = {
        .a = r->arena, .sql = &invitation_of_email, .params = params, .n = LENGTH_OF(params)};
    if ((rc = db_read(identity_db(identity_of(r)), read_unit, &before, e)) != ERR_NONE) return rc;
    if (before.rows.n) {
        s->replaced = val_uuid(&row_at(&before.rows, 0)[0]);
        if ((rc = person_key_ensure(r->store, &s->replaced, r->now_us, e)) != ERR_NONE) return rc;
    }
    return person_key_ensure(r->store, &s->fresh.id, r->now_us, e);
}

static enum errc invite(struct api_request *r, struct tx *tx, err *e)
{
    struct invite_state *s = r->state;
    struct rows members, olds;
    enum errc rc = may_give_role(r, tx, s->fresh.role, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, r->arena, &member_of_email, PARAMS(v_uuid(&r->workspace_id), v_text(s->email_key)),
                      &members, e);
    if (rc == ERR_NONE && members.n)
        return err_set(e, ERR_CONFLICT, "they are a member of this workspace already");
    if (rc == ERR_NONE)
        rc = tx_query(tx, r->arena, &invitation_of_email,
                      PARAMS(v_uuid(&r->workspace_id), v_text(s->email_key)), &olds, e);
    if (rc == ERR_NONE && olds.n) {
        struct invitation old;
        read_row(row_at(&olds, 0), &old);
        if (memcmp(&old.id, &s->replaced, sizeof old.id) != 0)
            return err_set(e, ERR_CONFLICT, "somebody has just invited the same address; try again");
        rc = drop(r, tx, S("invitation.revoked"), EVENT_REPLACED, &r->workspace_id, &old, e);
    }
    if (rc == ERR_NONE)
        rc = tx_exec(tx, &invitation_add,
                     PARAMS(v_uuid(&s->fresh.id), v_uuid(&r->workspace_id), v_hash(s->token.hash),
                            v_text(s->fresh.email), v_text(s->email_key), v_text(s->fresh.role),
                            v_uuid(&r->who.user_id), v_int(r->now_us), v_int(s->fresh.expires_at)),
                     NULL, e);
    if (rc != ERR_NONE) return rc;
    struct event ev =
        invitation_event(r, S("invitation.created"), EVENT_INVITATION, &r->workspace_id, NULL, &s->fresh);
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
    for (unsigned i = 0; i < rows.n; i++)
        read_row(row_at(&rows, i), &list[i]);
    r->items = (struct objects){list, rows.n};
    return ERR_NONE;
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
    if (rc != ERR_NONE) return rc;
    read_row(row, &old);
    return drop(r, tx, S("invitation.revoked"), EVENT_INVITATION, &r->workspace_id, &old, e);
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
};

/* ERR_NOT_FOUND: the inviter is no member any more, may invite nobody, or does not hold what they offered. */
static enum errc is_still_worth(struct api_request *r, struct tx *tx, struct found *f, err *e)
{
    static const uuid workspace;
    struct permission_set wanted, given;
    struct access *inviter;
    enum errc rc = tx_role(tx, r->arena, &f->workspace_id, f->invitation.role, &wanted, &f->role_name, e);
    if (rc != ERR_NONE) return rc;
    rc = tx_access(NULL, tx, &f->workspace_id, &f->invitation.invited_by, r->now_us, &inviter, e);
    if (rc != ERR_NONE) return rc;
    bool makes_owner = str_eq(f->invitation.role, str_c(role_name(ROLE_OWNER)));
    bool is_worth = access_lasting_in(inviter, &workspace, &given) && permission_set_has(&given, PERMISSION_MEMBERS_INVITE) &&
                    permission_set_holds_all(&given, &wanted) && (!makes_owner || access_is_owner(inviter));
    access_let_go(inviter);
    return is_worth ? ERR_NONE : err_code(e, ERR_NOT_FOUND);
}

/* An invitation is worth what its inviter could give today: ERR_NOT_FOUND when that is less. */
static enum errc find_by_token(struct api_request *r, struct tx *tx, const uint8_t hash[SHA256_LEN],
                               struct found *f, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &invitation_by_token, PARAMS(v_hash(hash)), &rows, e);
    if (rc != ERR_NONE) return rc;
    if (rows.n == 0) goto gone;
    const struct val *row = row_at(&rows, 0);
    read_row(row, &f->invitation);
    f->workspace_id = val_uuid(&row[6]);
    f->email_key = val_str(&row[7]);
    f->workspace_name = val_str(&row[8]);
    f->user_id = val_uuid(&row[9]);
    if (f->invitation.expires_at <= r->now_us) goto gone;
    if ((rc = is_still_worth(r, tx, f, e)) != ERR_NOT_FOUND) return rc;
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

static enum errc accept_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct token_state *s = r->state;
    struct signed_in *answer = arena_new(r->arena, struct signed_in);
    const struct val *row;
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = find_by_token(r, tx, s->hash, &s->found, e);
    if (rc == ERR_NONE && s->is_new) rc = new_user_insert(r, tx, &s->person, e);
    if (rc == ERR_NONE) rc = member_insert(r, tx, &s->found.workspace_id, &r->who.user_id, s->found.invitation.role, e);
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
     .text = "Answers with the link to give to the person. An earlier invitation of the same address stops "
             "being valid.",
     .prepare = invite_prepare,
     .apply = invite},
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
