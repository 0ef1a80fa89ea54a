/* The first start: a one-time link, then the owner and the first workspace; through the page or by
 * somebody at the data folder. */
#include "core/identity/internal.h"

#include "base/keytext.h"
#include "core/workspaces.h"

#define SETUP_LINK_US (3600LL * USEC_PER_S)

SQL(user_any, DB_MAIN, SQL_INSTANCE, "", "SELECT id FROM users LIMIT 1");
SQL(setup_link_put, DB_MAIN, SQL_INSTANCE, "bi",
    "INSERT INTO setup_links (id, token_hash, expires_us) VALUES (1, $1, $2) "
    "ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, expires_us = excluded.expires_us");
SQL(setup_link_get, DB_MAIN, SQL_INSTANCE, "bi",
    "SELECT id FROM setup_links WHERE token_hash = $1 AND expires_us > $2");
SQL(setup_link_drop, DB_MAIN, SQL_INSTANCE, "", "DELETE FROM setup_links");

static enum errc has_owner(struct tx *tx, struct arena *a, bool *out, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &user_any, NULL, 0, &rows, e);
    *out = rc == ERR_NONE && rows.n > 0;
    return rc;
}

/* --- the link --- */

struct link_unit {
    struct arena *a;
    const struct token *token;
    usec expires_us;
    bool has_owner;
};

static enum errc link_write(struct tx *tx, void *ctx, err *e)
{
    struct link_unit *l = ctx;
    enum errc rc = has_owner(tx, l->a, &l->has_owner, e);
    if (rc != ERR_NONE) return rc;
    return l->has_owner ? tx_exec_unaudited(tx, &setup_link_drop, NULL, 0, NULL, e)
                        : tx_exec_unaudited(tx, &setup_link_put,
                                            PARAMS(v_hash(l->token->hash), v_int(l->expires_us)), NULL, e);
}

enum errc identity_setup_link(struct identity *id, struct arena *a, str *link, err *e)
{
    struct token token;
    struct link_unit l = {.a = a, .token = &token, .expires_us = clock_now_us() + SETUP_LINK_US};
    *link = (str){NULL, 0};
    token_make(&token);
    enum errc rc = db_write(id->db, link_write, &l, e);
    if (rc != ERR_NONE || l.has_owner) return rc;
    *link = arena_printf(a, "%.*s/setup#%s", STR(id->public_url), token.text);
    return link->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* --- owner and first workspace, common to both ways --- */

struct founding {
    struct new_user owner;
    struct workspace workspace;
};

static enum errc founding_prepare(struct identity *id, struct api_request *r, str email, str name,
                                  str password, str workspace_name, struct founding *f, err *e)
{
    enum errc rc = new_user_prepare(id, r, email, name, password, &workspace_name, 1, &f->owner, e);
    f->owner.user.is_instance_admin = true;
    f->workspace = (struct workspace){
        .id = uuid7_make(r->now_us),
        .name = workspace_name,
        .owner_id = f->owner.user.id,
        .settings = workspace_settings_usual(r->arena),
        .deletes_at = NO_VALUE,
        .role = str_c(role_name(ROLE_OWNER)),
        .created_at = r->now_us,
        .updated_at = r->now_us,
        .version = 1,
    };
    return rc;
}

/* ERR_CONFLICT when somebody was faster. */
static enum errc founding_apply(struct api_request *r, struct tx *tx, struct founding *f, err *e)
{
    bool is_late;
    enum errc rc = has_owner(tx, r->arena, &is_late, e);
    if (rc == ERR_NONE && is_late) return err_set(e, ERR_CONFLICT, "Catalyst has been set up already");
    if (rc == ERR_NONE) rc = new_user_insert(r, tx, &f->owner, e);
    if (rc == ERR_NONE) rc = workspace_insert(r, tx, &f->workspace, &f->owner.user.id, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &setup_link_drop, NULL, 0, NULL, e) : rc;
}

/* --- GET /api/setup --- */

struct setup_state {
    bool is_needed;
};
static const struct field setup_state_fields[] = {
    FIELD(struct setup_state, is_needed, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Nobody owns this instance yet."),
};
static const struct shape setup_state_shape =
    SHAPE("SetupState", struct setup_state, setup_state_fields, "Whether there is an owner.");

static enum errc setup_show(struct api_request *r, struct tx *tx, err *e)
{
    struct setup_state *s = arena_new(r->arena, struct setup_state);
    bool is_done;
    if (!s) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = has_owner(tx, r->arena, &is_done, e);
    s->is_needed = !is_done;
    r->answer = s;
    return rc;
}

/* --- POST /api/setup --- */

struct setup_body {
    str token, email, name, password, workspace_name;
};
static const struct field setup_fields[] = {
    FIELD(struct setup_body, token, FIELD_TEXT, .min = 1, .max = 200,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "What stands behind the # of the link that the server printed."),
    FIELD(struct setup_body, email, FIELD_TEXT, .min = 3, .max = 320, .format = FORMAT_EMAIL,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "The owner's e-mail address."),
    FIELD(struct setup_body, name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "The owner's name."),
    FIELD(struct setup_body, password, FIELD_TEXT, .min = 1, .max = PASSWORD_MAX, .format = FORMAT_ANY,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "At least 15 characters, and none of what is guessed first."),
    FIELD(struct setup_body, workspace_name, FIELD_TEXT, .min = 1, .max = 100, .format = FORMAT_LINE,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "Name of the first workspace."),
};
static const struct shape setup_shape =
    SHAPE("Setup", struct setup_body, setup_fields, "Owner and first workspace.");

struct setup_answer {
    struct user user;
    struct workspace workspace;
    str csrf_token;
};
static const struct field setup_answer_fields[] = {
    FIELD(struct setup_answer, user, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &user_shape,
          .meaning = "The owner, signed in."),
    FIELD(struct setup_answer, workspace, FIELD_OBJECT, .flags = FIELD_READONLY, .shape = &workspace_shape,
          .meaning = "The first workspace."),
    FIELD(struct setup_answer, csrf_token, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What X-CSRF-Token must be in requests that change something."),
};
static const struct shape setup_answer_shape =
    SHAPE("SetupDone", struct setup_answer, setup_answer_fields,
          "Catalyst is set up and its owner signed in; the session's cookie comes along.");

struct setup_work {
    struct token given; /* only its hash */
    struct founding founding;
    struct fresh_session session;
    bool has_owner, is_valid;
    struct api_request *r;
};

static enum errc setup_check(struct tx *tx, void *ctx, err *e)
{
    struct setup_work *w = ctx;
    struct rows rows;
    enum errc rc = has_owner(tx, w->r->arena, &w->has_owner, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, w->r->arena, &setup_link_get, PARAMS(v_hash(w->given.hash), v_int(w->r->now_us)),
                      &rows, e);
    w->is_valid = rc == ERR_NONE && rows.n > 0;
    return rc;
}

static enum errc setup_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    const struct setup_body *b = r->body;
    struct setup_work *w = arena_new(r->arena, struct setup_work);
    if (!w) return err_code(e, ERR_TOO_LARGE);
    r->state = w;
    w->r = r;
    token_hash(b->token, w->given.hash);
    enum errc rc = db_read(id->db, setup_check, w, e);
    if (rc != ERR_NONE) return rc;
    if (w->has_owner) return err_code(e, ERR_NOT_FOUND);
    if (!w->is_valid) {
        struct limit_try try = {.address = r->address};
        if ((rc = limit_begin(id->db, &try, r->now_us, &r->retry_after_s, e)) != ERR_NONE) return rc;
        return err_set(e, ERR_FORBIDDEN,
                       "this link is not valid any more: it works once, for an hour; the server prints a new "
                       "one when it starts");
    }
    rc = founding_prepare(id, r, b->email, b->name, b->password, b->workspace_name, &w->founding, e);
    return rc == ERR_NONE ? session_prepare(r, &w->founding.owner.user, &w->session, e) : rc;
}

static enum errc setup_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct setup_work *w = r->state;
    struct setup_answer *answer = arena_new(r->arena, struct setup_answer);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = setup_check(tx, w, e);
    if (rc != ERR_NONE) return rc;
    if (w->has_owner || !w->is_valid) return err_code(e, ERR_NOT_FOUND);
    if ((rc = founding_apply(r, tx, &w->founding, e)) == ERR_NONE) rc = session_start(r, tx, &w->session, e);
    if (rc != ERR_NONE) return rc;
    device_cookie_set(r, &w->founding.owner.user.id, str_c(w->founding.owner.password));
    *answer = (struct setup_answer){w->founding.owner.user, w->founding.workspace,
                                    csrf_token(identity_of(r), r->arena, &w->session.id)};
    r->answer = answer;
    r->location = api_location(r, "/api/workspaces/", &w->founding.workspace.id);
    return ERR_NONE;
}

/* --- `catalyst setup` --- */

struct local_setup {
    struct api_request r;
    struct founding founding;
    struct new_key key;
};

static enum errc local_unit(struct tx *tx, void *ctx, err *e)
{
    struct local_setup *l = ctx;
    enum errc rc = founding_apply(&l->r, tx, &l->founding, e);
    return rc == ERR_NONE ? key_insert(&l->r, tx, &l->key, e) : rc;
}

static enum errc first_problem(const struct field_errors *errors, err *e)
{
    return errors->first
               ? err_set(e, ERR_INVALID, "%.*s: %.*s", STR(errors->first->field), STR(errors->first->message))
               : ERR_INVALID;
}

/* What the field table of the body says, for values that come from somewhere else. */
static enum errc check_values(struct arena *a, const struct setup_body *b, struct field_errors *errors,
                              err *e)
{
    struct buf text;
    struct json_writer w;
    struct json *tree;
    struct setup_body ignored = {0};
    buf_init(&text, 64u << 10);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "token", S("-"));
    json_put_str(&w, "email", b->email);
    json_put_str(&w, "name", b->name);
    json_put_str(&w, "password", b->password);
    json_put_str(&w, "workspace_name", b->workspace_name);
    json_end(&w);
    str copy = str_dup(a, buf_str(&text));
    enum errc rc = buf_err(&text);
    explicit_bzero(text.p, text.len);
    buf_fini(&text);
    if (rc != ERR_NONE || !copy.p) return err_code(e, ERR_TOO_LARGE);
    if ((rc = json_parse(a, copy, &tree, e)) == ERR_NONE)
        rc = shape_decode(a, &setup_shape, tree, SHAPE_NEW, &ignored, NULL, errors, e);
    return rc == ERR_INVALID ? first_problem(errors, e) : rc;
}

enum errc identity_setup(struct identity *id, struct arena *a, const struct setup_request *request,
                         struct setup_result *out, err *e)
{
    usec now = clock_now_us();
    struct local_setup *l = arena_new(a, struct local_setup);
    struct setup_body b = {
        .email = request->email,
        .name = request->name.len ? request->name : email_local(request->email),
        .password = request->password,
        .workspace_name = request->workspace_name.len ? request->workspace_name : S("Default"),
    };
    if (!l) return err_code(e, ERR_TOO_LARGE);
    l->r = (struct api_request){.arena = a,
                                .store = id->store,
                                .service = id,
                                .now_us = now,
                                .request_id = uuid7_make(now),
                                .who = {.kind = PRINCIPAL_SYSTEM}};
    enum errc rc = check_values(a, &b, &l->r.errors, e);
    if (rc == ERR_NONE) {
        rc = founding_prepare(id, &l->r, b.email, b.name, b.password, b.workspace_name, &l->founding, e);
        if (rc == ERR_INVALID) rc = first_problem(&l->r.errors, e);
    }
    if (rc != ERR_NONE) return rc;
    key_make(&l->key, now, S("setup"), &l->founding.workspace.id, &l->founding.owner.user.id,
             permission_set_for_keys(), KEY_DAYS_MAX);
    if ((rc = db_write(id->db, local_unit, l, e)) != ERR_NONE) return rc;
    *out = (struct setup_result){l->founding.owner.user.id, l->founding.workspace.id,
                                 str_dup(a, str_c(l->key.text))};
    return out->api_key.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

void setup_result_write(const struct setup_result *result, struct json_writer *w)
{
    char id[UUID_TEXT_LEN + 1];
    json_object(w);
    json_put_str(w, "workspace_id", uuid_format(&result->workspace_id, id));
    json_put_str(w, "user_id", uuid_format(&result->user_id, id));
    json_put_str(w, "api_key", result->api_key);
    json_end(w);
}

static str member(const struct json *request, str name)
{
    const struct json *v = json_get(request, name);
    return v && v->type == JSON_STRING ? v->text : (str){NULL, 0};
}

enum errc identity_setup_command(void *id, struct arena *a, const struct json *request,
                                 struct json_writer *result, err *e)
{
    struct setup_result done;
    struct setup_request wanted = {
        .email = member(request, S("email")),
        .name = member(request, S("name")),
        .password = member(request, S("password")),
        .workspace_name = member(request, S("workspace")),
    };
    enum errc rc = identity_setup(id, a, &wanted, &done, e);
    if (rc == ERR_NONE) setup_result_write(&done, result);
    return rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/setup",
     .name = "setup_show",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .answer = &setup_state_shape,
     .summary = "Whether set-up is still needed",
     .apply = setup_show},
    {.method = HTTP_POST,
     .path = "/api/setup",
     .name = "setup",
     .access = ACCESS_SETUP_TOKEN,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &setup_shape,
     .answer = &setup_answer_shape,
     .status = 201,
     .is_idempotent_exempt = true,
     .summary = "Makes the owner and the first workspace",
     .text = "Once, with the token of the link that the server prints while nobody owns it; 404 afterwards.",
     .prepare = setup_prepare,
     .apply = setup_apply},
};
const struct api_table setup_api = {"setup", routes, LENGTH_OF(routes)};
