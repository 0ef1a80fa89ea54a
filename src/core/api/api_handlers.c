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
