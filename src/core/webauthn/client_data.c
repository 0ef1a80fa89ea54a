#include "base/crypto.h"
#include "core/webauthn/internal.h"
#include "json/tree.h"

#define CLIENT_DATA_MAX 8192

static bool text_at(const struct json *o, str name, str *out)
{
    const struct json *v = json_get(o, name);
    if (!v || v->type != JSON_STRING) return false;
    *out = v->text;
    return true;
}

enum errc client_data_read(struct arena *a, str text, struct client_data *out, err *e)
{
    struct json *o;
    str challenge;
    size_t len;
    *out = (struct client_data){.type = {NULL, 0}};
    if (text.len > CLIENT_DATA_MAX)
        return err_set(e, ERR_INVALID, "client data has at most %d bytes", CLIENT_DATA_MAX);
    enum errc rc = json_parse(a, text, &o, e);
    if (rc == ERR_TOO_LARGE) return rc;
    if (rc != ERR_NONE || o->type != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "client data is no JSON object, or has a member twice");
    if (!text_at(o, S("type"), &out->type) || !text_at(o, S("challenge"), &challenge) ||
        !text_at(o, S("origin"), &out->origin))
        return err_set(e, ERR_INVALID, "client data has no type, challenge and origin");
    const struct json *cross = json_get(o, S("crossOrigin"));
    if (cross && !json_bool(cross, &out->is_cross_origin))
        return err_set(e, ERR_INVALID, "crossOrigin in client data is no boolean");
    if (json_get(o, S("topOrigin"))) out->is_cross_origin = true;
    uint8_t *bytes = arena_alloc(a, BASE64_DECODED_MAX(challenge.len));
    if (!bytes) return err_code(e, ERR_TOO_LARGE);
    if (!base64url_decode(challenge, bytes, &len))
        return err_set(e, ERR_INVALID, "the challenge in client data is no base64url");
    out->challenge = str_of((const char *)bytes, len);
    return ERR_NONE;
}
