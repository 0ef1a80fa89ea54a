/* People: their accounts, the policy of their passwords, the list for the instance's administrators, the
 * catalogue of permissions. */
#include "core/identity/internal.h"

SQL(user_insert, DB_MAIN, SQL_INSTANCE, "uttttiiii",
    "INSERT INTO users (id, email, email_key, name, password, is_instance_admin, is_disabled, created_us, "
    "updated_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
SQL(user_by_email, DB_MAIN, SQL_INSTANCE, "t",
    "SELECT id, email, name, is_instance_admin, created_us, password, is_disabled, n_factors FROM users "
    "WHERE email_key "
    "= $1");
SQL(user_by_id, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT id, email, name, is_instance_admin, created_us, password, is_disabled, n_factors FROM users "
    "WHERE id = $1");
SQL(user_set_password, DB_MAIN, SQL_INSTANCE, "tiiu",
    "UPDATE users SET password = $1, is_password_short = $2, updated_us = $3 WHERE id = $4");
SQL(users_all, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, email, name, is_instance_admin, created_us FROM users WHERE 1 = 1");

static const struct field user_fields[] = {
    FIELD(struct user, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Id of the person."),
    FIELD(struct user, email, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_PERSONAL,
          .meaning = "E-mail address, as it was written."),
    FIELD(struct user, name, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_PERSONAL,
          .meaning = "Name shown to others."),
    FIELD(struct user, is_instance_admin, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Administers the instance."),
    FIELD(struct user, created_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "When the account was made."),
};
const struct shape user_shape = SHAPE("User", struct user, user_fields, "A person with an account.");

void user_read(const struct val *row, struct user *u)
{
    *u = (struct user){
        .id = val_uuid(&row[0]),
        .email = val_str(&row[1]),
        .name = val_str(&row[2]),
        .is_instance_admin = val_bool(&row[3]),
        .created_at = val_int(&row[4]),
    };
}

str user_password(const struct val *row) { return val_str(&row[5]); }

enum errc user_row(struct tx *tx, struct arena *a, const uuid *user, const struct val **row, err *e)
{
    return tx_query_row(tx, a, &user_by_id, PARAMS(v_uuid(user)), row, e);
}

/* --- accounts --- */

struct finding {
    struct arena *a;
    str key;
    const uuid *id;
    struct account *out;
};

static enum errc find_unit(struct tx *tx, void *ctx, err *e)
{
    struct finding *f = ctx;
    struct rows rows;
    enum errc rc = f->id ? tx_query(tx, f->a, &user_by_id, PARAMS(v_uuid(f->id)), &rows, e)
                         : tx_query(tx, f->a, &user_by_email, PARAMS(v_text(f->key)), &rows, e);
    *f->out = (struct account){.exists = false};
    if (rc != ERR_NONE || rows.n == 0) return rc;
    const struct val *row = row_at(&rows, 0);
    user_read(row, &f->out->user);
    f->out->password = val_str(&row[5]);
    f->out->is_disabled = val_bool(&row[6]);
    f->out->has_factors = val_int(&row[7]) > 0;
    f->out->exists = true;
    return ERR_NONE;
}

enum errc account_find(struct identity *id, struct arena *a, str key, struct account *out, err *e)
{
    struct finding f = {.a = a, .key = key, .out = out};
    return db_read(id->db, find_unit, &f, e);
}

enum errc account_of(struct identity *id, struct arena *a, const uuid *user, struct account *out, err *e)
{
    struct finding f = {.a = a, .id = user, .out = out};
    return db_read(id->db, find_unit, &f, e);
}

enum errc account_set_password(struct tx *tx, const uuid *user, const char *phc, bool is_short, usec now,
                               err *e)
{
    return tx_exec(tx, &user_set_password,
                   PARAMS(v_text(str_c(phc)), v_int(is_short), v_int(now), v_uuid(user)), NULL, e);
}

enum errc password_accept(struct api_request *r, const char *field, str given, bool has_factors,
                          const str *words, unsigned n_words, str *nfc, err *e)
{
    const char *message;
    enum errc rc = password_normalize(r->arena, given, nfc, e);
    if (rc != ERR_NONE) return rc;
    const char *code = password_problem(*nfc, has_factors ? PASSWORD_MIN_WITH_FACTOR : PASSWORD_MIN, words,
                                        n_words, &message);
    return code ? api_field_error(r, e, field, code, "%s", message) : ERR_NONE;
}

#define WORDS_MAX 8

enum errc new_user_prepare(struct identity *id, struct api_request *r, str email, str name, str password,
                           const str *words, unsigned n_words, struct new_user *out, err *e)
{
    str own[WORDS_MAX] = {email_local(email), email, name}, nfc;
    unsigned n_own = 3;
    for (unsigned i = 0; i < n_words && n_own < WORDS_MAX; i++)
        own[n_own++] = words[i];
    out->user =
        (struct user){.id = uuid7_make(r->now_us), .email = email, .name = name, .created_at = r->now_us};
    enum errc rc = email_key(r->arena, email, &out->email_key, e);
    if (rc == ERR_NONE) rc = password_accept(r, "password", password, false, own, n_own, &nfc, e);
    if (rc == ERR_NONE) rc = password_hash(&id->gate, nfc, out->password, e);
    return rc == ERR_NONE ? person_key_ensure(r->store, &out->user.id, r->now_us, e) : rc;
}

enum errc new_user_insert(struct api_request *r, struct tx *tx, const struct new_user *u, err *e)
{
    struct rows others;
    enum errc rc = tx_query(tx, r->arena, &user_by_email, PARAMS(v_text(u->email_key)), &others, e);
    if (rc == ERR_NONE && others.n)
        return err_set(e, ERR_CONFLICT, "there is an account with this e-mail address");
    if (rc == ERR_NONE)
        rc =
            tx_exec(tx, &user_insert,
                    PARAMS(v_uuid(&u->user.id), v_text(u->user.email), v_text(u->email_key),
                           v_text(u->user.name), v_text(str_c(u->password)), v_int(u->user.is_instance_admin),
                           v_int(0), v_int(u->user.created_at), v_int(u->user.created_at)),
                    NULL, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = event_of(r, S("user.created"), EVENT_USER);
    ev.workspace_id = (uuid){0};
    ev.resource_type = S("user");
    ev.resource_id = ev.person_id = u->user.id;
    ev.shape = &user_shape;
    ev.after = &u->user;
    return tx_event(tx, &ev, e);
}

/* --- GET /api/users --- */

static enum errc users_list(struct api_request *r, struct tx *tx, err *e)
{
    struct keyset key = {.column = "id", .param = 'u', .cursor = r->cursor, .limit = r->limit};
    struct rows rows;
    enum errc rc = tx_list(tx, r->arena, &users_all, NULL, 0, NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct user *list = arena_news(r->arena, struct user, rows.n);
    if (!list) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++)
        user_read(row_at(&rows, i), &list[i]);
    r->items = (struct objects){list, rows.n};
    return ERR_NONE;
}

/* --- GET /api/permissions --- */

struct role_view {
    str name;
    struct texts permissions;
};
static const struct field role_fields[] = {
    FIELD(struct role_view, name, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "owner, admin, developer, reviewer or viewer."),
    FIELD(struct role_view, permissions, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = PERMISSIONS,
          .meaning = "What it holds."),
};
static const struct shape role_shape = SHAPE("Role", struct role_view, role_fields, "A built-in role.");

struct permission_view {
    str name, meaning;
    bool is_for_keys;
};
static const struct field permission_fields[] = {
    FIELD(struct permission_view, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "resource.action"),
    FIELD(struct permission_view, meaning, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What it allows."),
    FIELD(struct permission_view, is_for_keys, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "An API key can have it as a scope."),
};
static const struct shape permission_shape =
    SHAPE("Permission", struct permission_view, permission_fields, "A permission.");

struct catalogue {
    struct objects roles, permissions;
};
static const struct field catalogue_fields[] = {
    FIELD(struct catalogue, roles, FIELD_OBJECTS, .flags = FIELD_READONLY, .shape = &role_shape,
          .meaning = "The built-in roles."),
    FIELD(struct catalogue, permissions, FIELD_OBJECTS, .flags = FIELD_READONLY, .shape = &permission_shape,
          .max_items = PERMISSIONS, .meaning = "Every permission."),
};
static const struct shape catalogue_shape =
    SHAPE("Permissions", struct catalogue, catalogue_fields, "Who may do what.");

enum errc permission_names(struct arena *a, const struct permission_set *set, struct texts *out, err *e)
{
    str *names = arena_news(a, str, PERMISSIONS);
    if (!names) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){names, 0};
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (permission_set_has(set, p)) names[out->n++] = str_c(permission_name(p));
    return ERR_NONE;
}

static enum errc permissions_show(struct api_request *r, err *e)
{
    struct catalogue *c = arena_new(r->arena, struct catalogue);
    struct role_view *roles = arena_news(r->arena, struct role_view, ROLES);
    struct permission_view *list = arena_news(r->arena, struct permission_view, PERMISSIONS);
    if (!c || !roles || !list) return err_code(e, ERR_TOO_LARGE);
    for (enum role i = 0; i < ROLES; i++) {
        roles[i].name = str_c(role_name(i));
        enum errc rc = permission_names(r->arena, role_permissions(i), &roles[i].permissions, e);
        if (rc != ERR_NONE) return rc;
    }
    unsigned n = 0;
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        list[n++] = (struct permission_view){str_c(permission_name(p)), str_c(permission_meaning(p)),
                                             permission_set_has(permission_set_for_keys(), p)};
    *c = (struct catalogue){{roles, ROLES}, {list, n}};
    r->answer = c;
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/users",
     .name = "users_list",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .answer = &user_shape,
     .is_list = true,
     .summary = "Everybody with an account",
     .text = "For the instance's administrators. It tells nothing about workspaces.",
     .reads = "user.listed",
     .apply = users_list},
    {.method = HTTP_GET,
     .path = "/api/permissions",
     .name = "permissions_show",
     .access = ACCESS_SIGNED_IN,
     .scope = SCOPE_SELF,
     .answer = &catalogue_shape,
     .summary = "The catalogue of permissions and the built-in roles",
     .prepare = permissions_show},
};
const struct api_table users_api = {"users", routes, LENGTH_OF(routes)};
