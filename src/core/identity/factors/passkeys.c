/* Passkeys as browsers speak of them: the options that a page hands to navigator.credentials, what comes back, and the
 * rows in which credentials are kept. */
#include "core/identity/factors/factors.h"
#include "net/url.h"
#include "json/tree.h"

SQL(passkey_by_credential, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT id, user_id, credential_id, public_key, sign_count, is_backup_eligible FROM factors "
    "WHERE credential_id = $1 AND is_confirmed = 1");
SQL(passkey_ids, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT credential_id FROM factors WHERE user_id = $1 AND kind = 'passkey' ORDER BY id");

enum errc passkey_expected(struct api_request *r, struct webauthn_expected *out, err *e)
{
    static const enum cose_algorithm algorithms[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};
    const struct identity *id = identity_of(r);
    str *origins = arena_news(r->arena, str, 2);
    if (!origins) return err_code(e, ERR_TOO_LARGE);
    if (!id->passkey_host.len)
        return err_set(e, ERR_CONFLICT,
                       "passkeys need a host that has a name, not only an address: set listen.public_url");
    origins[0] = id->origin;
    /* A browser knows the loopback by its name alone. */
    if (id->is_loopback)
        origins[0] = arena_printf(r->arena, "%.*s://localhost%.*s", STR(id->scheme), STR(id->port));
    *out = (struct webauthn_expected){
        .rp_id = id->passkey_host,
        .origins = origins,
        .n_origins = 1,
        .algorithms = algorithms,
        .n_algorithms = LENGTH_OF(algorithms),
    };
    return ERR_NONE;
}

/* --- options --- */

static void put_base64url(struct json_writer *w, const char *name, str bytes)
{
    char text[BASE64_SIZE(WEBAUTHN_CREDENTIAL_ID_MAX)];
    json_put_str(w, name, base64url_encode(bytes.p, bytes.len, text));
}

static enum errc put_credentials(struct api_request *r, struct tx *tx, struct json_writer *w,
                                 const char *name, const uuid *user, err *e)
{
    struct rows rows = {0};
    enum errc rc = user ? tx_query(tx, r->arena, &passkey_ids, PARAMS(v_uuid(user)), &rows, e) : ERR_NONE;
    if (rc != ERR_NONE) return rc;
    json_name(w, str_c(name));
    json_array(w);
    for (unsigned i = 0; i < rows.n; i++) {
        json_object(w);
        json_put_str(w, "type", S("public-key"));
        put_base64url(w, "id", val_str(&row_at(&rows, i)[0]));
        json_end(w);
    }
    json_end(w);
    return ERR_NONE;
}

static enum errc finish(struct api_request *r, struct buf *b, str *json, enum errc rc, err *e)
{
    if (rc == ERR_NONE && (rc = buf_err(b)) != ERR_NONE) rc = err_code(e, rc);
    if (rc == ERR_NONE) *json = str_dup(r->arena, buf_str(b));
    buf_fini(b);
    return rc == ERR_NONE && !json->p ? err_code(e, ERR_TOO_LARGE) : rc;
}

#define OPTIONS_MAX (64u << 10)

enum errc passkey_request_options(struct api_request *r, struct tx *tx, const struct challenge *c,
                                  const uuid *user, str *json, err *e)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, OPTIONS_MAX);
    json_writer_init(&w, &b);
    json_object(&w);
    put_base64url(&w, "challenge", str_of((const char *)c->bytes, sizeof c->bytes));
    json_put_str(&w, "rpId", identity_of(r)->passkey_host);
    json_put_int(&w, "timeout", CHALLENGE_US / USEC_PER_MS);
    json_put_str(&w, "userVerification", user ? S("preferred") : S("required"));
    enum errc rc = put_credentials(r, tx, &w, "allowCredentials", user, e);
    json_end(&w);
    return finish(r, &b, json, rc, e);
}

enum errc passkey_creation_options(struct api_request *r, struct tx *tx, const struct challenge *c, str *json,
                                   err *e)
{
    struct webauthn_expected x;
    struct buf b;
    struct json_writer w;
    enum errc rc = passkey_expected(r, &x, e);
    if (rc != ERR_NONE) return rc;
    buf_init(&b, OPTIONS_MAX);
    json_writer_init(&w, &b);
    json_object(&w);
    put_base64url(&w, "challenge", str_of((const char *)c->bytes, sizeof c->bytes));
    json_name(&w, S("rp"));
    json_object(&w);
    json_put_str(&w, "id", x.rp_id);
    json_put_str(&w, "name", S("Catalyst"));
    json_end(&w);
    json_name(&w, S("user"));
    json_object(&w);
    put_base64url(&w, "id", str_of((const char *)r->who.user_id.b, sizeof r->who.user_id.b));
    json_put_str(&w, "name", r->who.email);
    json_put_str(&w, "displayName", r->who.name);
    json_end(&w);
    json_name(&w, S("pubKeyCredParams"));
    json_array(&w);
    for (unsigned i = 0; i < x.n_algorithms; i++) {
        json_object(&w);
        json_put_str(&w, "type", S("public-key"));
        json_put_int(&w, "alg", (int64_t)x.algorithms[i]);
        json_end(&w);
    }
    json_end(&w);
    json_put_int(&w, "timeout", CHALLENGE_US / USEC_PER_MS);
    json_put_str(&w, "attestation", S("none"));
    json_name(&w, S("authenticatorSelection"));
    json_object(&w);
    json_put_str(&w, "residentKey", S("preferred"));
    json_put_bool(&w, "requireResidentKey", false);
    json_put_str(&w, "userVerification", S("preferred"));
    json_end(&w);
    rc = put_credentials(r, tx, &w, "excludeCredentials", &r->who.user_id, e);
    json_end(&w);
    return finish(r, &b, json, rc, e);
}

/* --- what comes back --- */

/* *out stays without a pointer when there is no such member. */
static enum errc bytes_at(struct arena *a, const struct json *o, str name, bool is_required, str *out, err *e)
{
    const struct json *v = json_get(o, name);
    size_t len;
    *out = (str){NULL, 0};
    if ((!v || v->type == JSON_NULL) && !is_required) return ERR_NONE;
    if (!v || v->type != JSON_STRING)
        return err_set(e, ERR_INVALID, "the passkey's answer has no text '%.*s'", STR(name));
    uint8_t *bytes = arena_alloc(a, BASE64_DECODED_MAX(v->text.len));
    if (!bytes) return err_code(e, ERR_TOO_LARGE);
    if (!base64url_decode(v->text, bytes, &len))
        return err_set(e, ERR_INVALID, "'%.*s' in the passkey's answer is no base64url", STR(name));
    *out = str_of((const char *)bytes, len);
    return ERR_NONE;
}

static enum errc read_response(struct arena *a, const struct json *json, str *credential_id,
                               const struct json **response, err *e)
{
    str raw_id;
    const struct json *type = json_get(json, S("type"));
    enum errc rc = bytes_at(a, json, S("id"), true, credential_id, e);
    if (rc == ERR_NONE) rc = bytes_at(a, json, S("rawId"), false, &raw_id, e);
    if (rc != ERR_NONE) return rc;
    *response = json_get(json, S("response"));
    if (raw_id.p && !str_eq(raw_id, *credential_id))
        return err_set(e, ERR_INVALID, "'id' and 'rawId' in the passkey's answer differ");
    if (!type || type->type != JSON_STRING || !str_eq(type->text, S("public-key")) || !*response)
        return err_set(e, ERR_INVALID, "the passkey's answer must be of type 'public-key', with a response");
    return ERR_NONE;
}

enum errc passkey_read_assertion(struct arena *a, const struct json *json, struct webauthn_assertion *out,
                                 err *e)
{
    const struct json *response;
    enum errc rc = read_response(a, json, &out->credential_id, &response, e);
    if (rc == ERR_NONE) rc = bytes_at(a, response, S("clientDataJSON"), true, &out->client_data, e);
    if (rc == ERR_NONE) rc = bytes_at(a, response, S("authenticatorData"), true, &out->authenticator_data, e);
    if (rc == ERR_NONE) rc = bytes_at(a, response, S("signature"), true, &out->signature, e);
    return rc == ERR_NONE ? bytes_at(a, response, S("userHandle"), false, &out->user_handle, e) : rc;
}

enum errc passkey_read_registration(struct arena *a, const struct json *json,
                                    struct passkey_registration *out, err *e)
{
    const struct json *response;
    enum errc rc = read_response(a, json, &out->credential_id, &response, e);
    if (rc == ERR_NONE) rc = bytes_at(a, response, S("clientDataJSON"), true, &out->client_data, e);
    return rc == ERR_NONE ? bytes_at(a, response, S("attestationObject"), true, &out->attestation_object, e)
                          : rc;
}

enum errc passkey_find(struct tx *tx, struct arena *a, str credential_id, struct passkey *out, bool *exists,
                       err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, a, &passkey_by_credential, PARAMS(v_blob(credential_id)), &rows, e);
    *exists = rc == ERR_NONE && rows.n > 0;
    if (!*exists) return rc;
    const struct val *row = row_at(&rows, 0);
    *out = (struct passkey){
        .id = val_uuid(&row[0]),
        .user_id = val_uuid(&row[1]),
        .credential = {.id = val_str(&row[2]),
                       .public_key = val_str(&row[3]),
                       .sign_count = (uint32_t)val_int(&row[4]),
                       .is_backup_eligible = val_bool(&row[5])},
    };
    out->credential.user_handle = str_of((const char *)out->user_id.b, sizeof out->user_id.b);
    return ERR_NONE;
}
