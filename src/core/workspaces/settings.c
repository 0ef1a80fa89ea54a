/* Settings of a workspace: what they may be, who may change which, and what others read of them. */
#include <stdio.h>

#include "core/workspaces/internal.h"

#include "net/address.h"
#include "net/url.h"
#include "json/tree.h"
#include "json/write.h"

SQL(settings_of, DB_MAIN, SQL_INSTANCE, "u", "SELECT settings FROM workspaces WHERE id = $1");
SQL(gate_of, DB_MAIN, SQL_INSTANCE, "u", "SELECT settings, deleted_us FROM workspaces WHERE id = $1");

#define LIST_MAX 20
#define TEXTS(member_, max_, meaning_)                                                                       \
    FIELD(struct workspace_settings, member_, FIELD_TEXTS, .min = 1, .max = (max_), .max_items = LIST_MAX,   \
          .format = FORMAT_LINE, .fallback = "[]", .meaning = meaning_)

static const struct field settings_fields[] = {
    FIELD(struct workspace_settings, allow_external_collaborators, FIELD_BOOL, .fallback = "true",
          .meaning =
              "Whether people can be invited whose address is of another domain than email_domains (without "
              "any: than the owners')."),
    FIELD(struct workspace_settings, require_code_review, FIELD_BOOL, .fallback = "false",
          .meaning = "Whether changes need a review before they are merged."),
    FIELD(struct workspace_settings, require_deployment_approval, FIELD_BOOL, .fallback = "false",
          .meaning = "Whether deployments need an approval."),
    FIELD(struct workspace_settings, default_llm_provider, FIELD_TEXT, .min = 0, .max = 64,
          .format = FORMAT_NONE, .fallback = "\"\"",
          .meaning = "Name of the provider that is asked first for a model that several serve; empty: none."),
    TEXTS(email_domains, 253, "Domains of the workspace's own people."),
    FIELD(struct workspace_settings, mfa_required, FIELD_ONE_OF, .choices = "none|all|roles",
          .fallback = "\"none\"",
          .meaning = "Who must give a second factor: nobody, everybody, those of mfa_roles."),
    TEXTS(mfa_roles, 36, "Roles that need a second factor, when mfa_required is roles."),
    TEXTS(passkey_roles, 36, "Roles whose second factor must be a passkey."),
    FIELD(struct workspace_settings, session_max_hours, FIELD_INT, .min = 0, .max = 720, .fallback = "0",
          .meaning = "So many hours after the password or a factor was given a session is of no use here, "
                     "until one is given again; 0: as the instance says."),
    FIELD(struct workspace_settings, api_key_max_days, FIELD_INT, .min = 1, .max = 365, .fallback = "365",
          .meaning = "The most days that a new API key is valid; every key expires."),
    TEXTS(allowed_addresses, 49,
          "Addresses and ranges (192.0.2.0/24) that requests may come from; none: anywhere."),
    TEXTS(cors_origins, 253,
          "Origins (https://app.example.com) whose pages may call the API with an access token."),
};
const struct shape workspace_settings_shape = SHAPE("WorkspaceSettings", struct workspace_settings,
                                                    settings_fields, "Settings and policies of a workspace.");

/* --- stored --- */

enum errc workspace_settings_read(struct arena *a, str text, struct workspace_settings *out, err *e)
{
    struct json *tree;
    struct field_errors ignored = {.last = &ignored.first};
    *out = (struct workspace_settings){0};
    enum errc rc = json_parse(a, text, &tree, e);
    if (rc == ERR_NONE)
        rc = shape_decode(a, &workspace_settings_shape, tree, SHAPE_NEW, out, NULL, &ignored, e);
    return rc == ERR_INVALID ? ERR_NONE : rc;
}

enum errc policy_write(struct arena *a, const struct workspace_settings *s, str *json, err *e)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, 64u << 10);
    json_writer_init(&w, &out);
    shape_encode(&workspace_settings_shape, s, &w);
    *json = buf_err(&out) == ERR_NONE ? str_dup(a, buf_str(&out)) : (str){NULL, 0};
    buf_fini(&out);
    return json->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

struct workspace_settings *workspace_settings_usual(struct arena *a)
{
    struct workspace_settings *s = arena_new(a, struct workspace_settings);
    return s && workspace_settings_read(a, S("{}"), s, NULL) == ERR_NONE ? s : NULL;
}

/* --- checks --- */

static str lower(struct arena *a, str text)
{
    char *p = arena_bytes(a, text.len + 1);
    for (size_t i = 0; p && i < text.len; i++)
        p[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] | 0x20) : text.p[i];
    return str_of(p, p ? text.len : 0);
}

static bool is_domain(str text)
{
    bool was_dot = true;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        bool is_dot = c == '.';
        if ((is_dot && was_dot) || !(is_dot || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')))
            return false;
        was_dot = is_dot;
    }
    return !was_dot && str_chr(text, '.') > 0;
}

static bool is_role(str text)
{
    enum role role;
    uuid id;
    return role_parse(text, &role) || uuid_parse(text, &id);
}

/* scheme://host[:port] as browsers write it, and nothing else: it is compared byte by byte. */
static bool is_origin(str text)
{
    str host = str_starts(text, S("https://"))  ? str_skip(text, 8)
               : str_starts(text, S("http://")) ? str_skip(text, 7)
                                                : (str){NULL, 0};
    if (!host.len) return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.p[i];
        if (!(c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || (c >= '0' && c <= '9') ||
              (c >= 'a' && c <= 'z')))
            return false;
    }
    return true;
}

static bool is_range(str text)
{
    struct address_range range;
    return address_range_parse(text, &range);
}

static void check_list(struct api_request *r, const char *name, struct texts *list, bool is_lower,
                       bool (*is_fine)(str), const char *wanted)
{
    str *items = arena_news(r->arena, str, list->n + 1u);
    char field[64];
    if (!items) return;
    for (unsigned i = 0; i < list->n; i++) {
        items[i] = is_lower ? lower(r->arena, list->items[i]) : list->items[i];
        if (is_fine(items[i])) continue;
        snprintf(field, sizeof field, "settings.%s[%u]", name, i);
        field_error_add(r->arena, &r->errors, str_dup(r->arena, str_c(field)), "bad_format", "must be %s",
                        wanted);
    }
    list->items = items;
}

enum errc policy_check(struct api_request *r, struct workspace_settings *s, err *e)
{
    str json;
    check_list(r, "email_domains", &s->email_domains, true, is_domain, "a domain such as example.com");
    check_list(r, "mfa_roles", &s->mfa_roles, false, is_role, "the name of a role or the id of a custom one");
    check_list(r, "passkey_roles", &s->passkey_roles, false, is_role,
               "the name of a role or the id of a custom one");
    check_list(r, "allowed_addresses", &s->allowed_addresses, true, is_range,
               "an address or a range such as 192.0.2.0/24 or 2001:db8::/32");
    check_list(r, "cors_origins", &s->cors_origins, false, is_origin,
               "an origin such as https://app.example.com, without a path");
    if (str_eq(s->mfa_required, S("roles")) && s->mfa_roles.n == 0)
        (void)api_field_error(r, e, "settings.mfa_roles", "required",
                              "must name a role when mfa_required is roles");
    enum errc rc = policy_write(r->arena, s, &json, e);
    if (rc == ERR_NONE && json.len > SETTINGS_MAX)
        (void)api_field_error(r, e, "settings", "too_long", "must have at most %d bytes as JSON, not %zu",
                              SETTINGS_MAX, json.len);
    if (rc != ERR_NONE) return rc;
    return r->errors.n ? field_errors_sum(&r->errors, e) : ERR_NONE;
}

static bool same(const struct texts *a, const struct texts *b)
{
    if (a->n != b->n) return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!str_eq(a->items[i], b->items[i])) return false;
    return true;
}

bool workspace_address_is_in(const struct texts *ranges, str address)
{
    struct address from;
    if (!address_parse(address, &from)) return false;
    for (unsigned i = 0; i < ranges->n; i++) {
        struct address_range range;
        if (address_range_parse(ranges->items[i], &range) && address_in(&from, &range)) return true;
    }
    return false;
}

static bool has(const struct texts *list, str text)
{
    for (unsigned i = 0; i < list->n; i++)
        if (str_eq(list->items[i], text)) return true;
    return false;
}

bool workspace_wants_mfa(const struct workspace_settings *s, str role, bool *needs_passkey)
{
    *needs_passkey = has(&s->passkey_roles, role);
    return *needs_passkey || str_eq(s->mfa_required, S("all")) ||
           (str_eq(s->mfa_required, S("roles")) && has(&s->mfa_roles, role));
}

static enum errc session_is_good(const struct api_request *r, const struct workspace_settings *s, err *e)
{
    bool needs_passkey = false, needs_factor = workspace_wants_mfa(s, r->role, &needs_passkey);
    unsigned n = 0;
    const str *roles = r->access ? access_roles(r->access, &n) : NULL;
    for (unsigned i = 0; i < n; i++) { /* also those that they have beside their membership's */
        bool passkey;
        needs_factor |= workspace_wants_mfa(s, roles[i], &passkey);
        needs_passkey |= passkey;
    }
    if (r->who.kind != PRINCIPAL_API_KEY && s->session_max_hours &&
        r->who.authenticated_us + s->session_max_hours * 3600 * USEC_PER_S <= r->now_us)
        return err_set(
            e, ERR_REAUTHENTICATE,
            "this workspace asks for your password every %lld hours: POST /api/auth/reauthenticate",
            (long long)s->session_max_hours);
    return factor_enough(r,
                         needs_passkey  ? FACTOR_PHISHING_RESISTANT
                         : needs_factor ? FACTOR_REQUIRED
                                        : FACTOR_OPTIONAL,
                         e);
}

enum errc policy_may_change(const struct api_request *r, const struct workspace_settings *before,
                            const struct workspace_settings *after, err *e)
{
    bool is_sign_on = !str_eq(before->mfa_required, after->mfa_required) ||
                      !same(&before->mfa_roles, &after->mfa_roles) ||
                      !same(&before->passkey_roles, &after->passkey_roles) ||
                      !same(&before->email_domains, &after->email_domains);
    bool is_policy = is_sign_on || before->session_max_hours != after->session_max_hours ||
                     before->api_key_max_days != after->api_key_max_days ||
                     before->allow_external_collaborators != after->allow_external_collaborators ||
                     !same(&before->allowed_addresses, &after->allowed_addresses) ||
                     !same(&before->cors_origins, &after->cors_origins);
    enum errc rc = is_policy ? recently_authenticated(r, e) : ERR_NONE;
    if (rc != ERR_NONE) return rc;
    if (is_sign_on && !api_may(r, PERMISSION_SSO_MANAGE))
        return err_set(e, ERR_FORBIDDEN, "second factors and domains of a workspace need the permission %s",
                       permission_name(PERMISSION_SSO_MANAGE));
    if (after->allowed_addresses.n && !same(&before->allowed_addresses, &after->allowed_addresses) &&
        !workspace_address_is_in(&after->allowed_addresses, r->address))
        return err_set(e, ERR_CONFLICT,
                       "your own address %.*s is in none of these ranges: you would lock yourself out",
                       STR(r->address));
    return is_policy ? session_is_good(r, after, e) : ERR_NONE;
}

/* --- for those who enforce them --- */

enum errc workspace_policy(struct tx *tx, struct arena *a, const uuid *workspace,
                           struct workspace_settings *out, err *e)
{
    const struct val *row;
    enum errc rc = tx_query_row(tx, a, &settings_of, PARAMS(v_uuid(workspace)), &row, e);
    return rc == ERR_NONE ? workspace_settings_read(a, val_str(&row[0]), out, e) : rc;
}

/* What the owners of a workspace that is being deleted may still do. */
static bool may_while_deleted(const struct api_request *r)
{
    return str_eq(r->role, str_c(role_name(ROLE_OWNER))) && r->who.kind == PRINCIPAL_SESSION &&
           (r->method == HTTP_GET || r->method == HTTP_HEAD ||
            (r->route && str_eq(str_c(r->route->name), S("workspaces_restore"))));
}

enum errc workspace_admits(const struct api_request *r, struct tx *tx, err *e)
{
    const struct val *row;
    struct workspace_settings s;
    enum errc rc = tx_query_row(tx, r->arena, &gate_of, PARAMS(v_uuid(&r->workspace_id)), &row, e);
    if (rc != ERR_NONE) return rc;
    if (val_int(&row[1]) != NO_VALUE && !may_while_deleted(r)) return err_code(e, ERR_NOT_FOUND);
    if (str_eq(val_str(&row[0]), S("{}"))) return ERR_NONE;
    if ((rc = workspace_settings_read(r->arena, val_str(&row[0]), &s, e)) != ERR_NONE) return rc;
    if (s.allowed_addresses.n && r->address.len && !workspace_address_is_in(&s.allowed_addresses, r->address))
        return err_set(e, ERR_FORBIDDEN, "this workspace takes no requests from your address");
    return session_is_good(r, &s, e);
}

/* --- lists --- */

enum errc words_read(struct arena *a, str words, struct texts *out, err *e)
{
    str *items = arena_news(a, str, words.len / 2 + 1);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    while (words.len)
        items[out->n++] = str_cut(&words, ' ');
    return ERR_NONE;
}

enum errc words_write(struct arena *a, const struct texts *list, str *out, err *e)
{
    size_t len = 0;
    for (unsigned i = 0; i < list->n; i++)
        len += list->items[i].len + 1;
    char *p = arena_bytes(a, len + 1);
    if (!p) return err_code(e, ERR_TOO_LARGE);
    *out = str_of(p, len ? len - 1 : 0);
    for (unsigned i = 0; i < list->n; i++) {
        memcpy(p, list->items[i].p, list->items[i].len);
        p += list->items[i].len;
        *p++ = ' ';
    }
    return ERR_NONE;
}
