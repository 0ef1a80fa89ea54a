/* What handlers call. */
#include <stdarg.h>
#include <stdio.h>

#include "core/api/api_internal.h"

enum errc api_merge(struct api_request *r, void *current, err *e)
{
    r->errors = (struct field_errors){0}; /* the unit may run again */
    return shape_decode(r->arena, r->route->body, r->body_json, SHAPE_MERGE, current, &r->body_has,
                        &r->errors, e);
}

enum errc api_if_match(const struct api_request *r, str etag, err *e)
{
    if (!r->if_match.len || str_eq(r->if_match, etag)) return ERR_NONE;
    return err_set(e, ERR_PRECONDITION,
                   "the resource has changed since it was read: it is \"%.*s\" now, not \"%.*s\"", STR(etag),
                   STR(str_take(r->if_match, 80)));
}

str api_etag(struct api_request *r, int64_t version)
{
    return arena_printf(r->arena, "%lld", (long long)version);
}

enum errc api_field_error(struct api_request *r, err *e, const char *field, const char *code, const char *fmt,
                          ...)
{
    char message[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    field_error_add(r->arena, &r->errors, str_c(field), code, "%s", message);
    return field_errors_sum(&r->errors, e);
}

str api_location(struct api_request *r, const char *prefix, const uuid *id)
{
    char text[UUID_TEXT_LEN + 1];
    size_t len = strlen(prefix);
    return arena_printf(r->arena, "%s%s%s", prefix, len && prefix[len - 1] == '/' ? "" : "/",
                        uuid_format(id, text).p);
}

/* --- projects --- */

static bool key_is_for(const struct principal *who, const uuid *project)
{
    for (unsigned i = 0; i < who->n_key_projects; i++)
        if (memcmp(&who->key_projects[i], project, sizeof *project) == 0) return true;
    return who->n_key_projects == 0;
}

bool api_sees_project(const struct api_request *r, const uuid *project)
{
    struct permission_set set;
    return key_is_for(&r->who, project) && (!r->access || access_in(r->access, project, &set));
}

bool api_may_in(const struct api_request *r, const uuid *project, enum permission p)
{
    struct permission_set set = r->may;
    if (!uuid_is_nil(project)) {
        if (!key_is_for(&r->who, project)) return false;
        if (r->access) {
            if (!access_in(r->access, project, &set)) return false;
            set = permission_set_and(&set, &r->who.key_scopes);
        }
    }
    return permission_set_has(&set, p);
}

enum errc api_need_in(const struct api_request *r, const uuid *project, enum permission p, err *e)
{
    if (!api_sees_project(r, project)) return err_set(e, ERR_NOT_FOUND, "there is no such project");
    if (api_may_in(r, project, p)) return ERR_NONE;
    return err_set(e, ERR_FORBIDDEN, "this needs the permission %s in the project", permission_name(p));
}

enum errc api_hidden_projects(const struct api_request *r, str *out, err *e)
{
    uuid *ids;
    unsigned n;
    *out = S("");
    enum errc rc = r->access ? access_hidden(r->access, r->arena, &ids, &n, e) : ERR_NONE;
    if (rc != ERR_NONE || !r->access || n == 0) return rc;
    char *text = arena_bytes(r->arena, (size_t)n * (2 * sizeof *ids + 1));
    if (!text) return err_code(e, ERR_TOO_LARGE);
    size_t len = 0;
    for (unsigned i = 0; i < n; i++) {
        static const char digits[] = "0123456789abcdef";
        if (i) text[len++] = ',';
        for (size_t k = 0; k < sizeof ids[i].b; k++) {
            text[len++] = digits[ids[i].b[k] >> 4];
            text[len++] = digits[ids[i].b[k] & 15];
        }
    }
    *out = str_of(text, len);
    return ERR_NONE;
}
