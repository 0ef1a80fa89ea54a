/* The keys that verify access tokens, for everybody; replacing them, for administrators of the instance. */
#include "core/identity/bearer/bearer.h"

#define JWKS_MAX (64u << 10)
#define JWKS_CACHE_S 300

static enum errc jwks_show(struct api_request *r, err *e)
{
    struct signing_public *keys;
    unsigned n;
    struct buf b;
    struct json_writer w;
    struct identity *id = identity_of(r);
    if (!id->signing) return err_set(e, ERR_UNAVAILABLE, "this process signs no tokens");
    enum errc rc = signing_publics(id->signing, SIGNING_ACCESS, r->arena, r->now_us, &keys, &n, e);
    if (rc != ERR_NONE) return rc;
    buf_init(&b, JWKS_MAX);
    json_writer_init(&w, &b);
    json_object(&w);
    json_name(&w, S("keys"));
    json_array(&w);
    for (unsigned i = 0; i < n; i++)
        jwk_write(&w, keys[i].algorithm == SIGNING_P256 ? JOSE_ES256 : JOSE_EDDSA, str_c(keys[i].kid),
                  keys[i].key);
    json_end(&w);
    json_end(&w);
    r->raw = str_dup(r->arena, buf_str(&b));
    r->raw_type = S("application/jwk-set+json");
    r->public_for_s = JWKS_CACHE_S;
    rc = buf_err(&b);
    buf_fini(&b);
    return rc == ERR_NONE && r->raw.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

struct rotation {
    bool is_compromised;
};
static const struct field rotation_fields[] = {
    FIELD(struct rotation, is_compromised, FIELD_BOOL, .fallback = "false", .flags = FIELD_WRITEONLY,
          .meaning = "Somebody else has the key: every access token until now is void at once. Programs "
                     "refresh theirs."),
};
static const struct shape rotation_shape = SHAPE("SigningKeyRotation", struct rotation, rotation_fields,
                                                 "How the key that signs access tokens is replaced.");

struct fresh_key {
    str kid, algorithm;
};
static const struct field fresh_key_fields[] = {
    FIELD(struct fresh_key, kid, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Its id in GET /.well-known/jwks.json."),
    FIELD(struct fresh_key, algorithm, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "EdDSA or ES256."),
};
static const struct shape fresh_key_shape =
    SHAPE("SigningKey", struct fresh_key, fresh_key_fields, "A key that signs access tokens.");

static enum errc rotate_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    struct signing_fresh *fresh = arena_new(r->arena, struct signing_fresh);
    enum errc rc = recently_authenticated(r, e);
    if (rc != ERR_NONE) return rc;
    if (!fresh) return err_code(e, ERR_TOO_LARGE);
    if (!id->signing) return err_set(e, ERR_UNAVAILABLE, "this process signs no tokens");
    r->state = fresh;
    return signing_prepare(id->signing, r->arena, SIGNING_ACCESS, r->now_us, fresh, e);
}

static enum errc rotate(struct api_request *r, struct tx *tx, err *e)
{
    const struct rotation *b = r->body;
    const struct signing_fresh *fresh = r->state;
    struct fresh_key *answer = arena_new(r->arena, struct fresh_key);
    struct event ev = event_of(r, S("signing_key.rotated"), EVENT_KEY);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    *answer = (struct fresh_key){str_c(fresh->public_half.kid),
                                 fresh->public_half.algorithm == SIGNING_P256 ? S("ES256") : S("EdDSA")};
    r->answer = answer;
    return tx_signing_rotate(tx, r->arena, SIGNING_ACCESS, fresh, b->is_compromised, &ev, e);
}

static void rotated(struct api_request *r) { signing_changed(identity_of(r)->signing); }

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/.well-known/jwks.json",
     .name = "jwks_show",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .summary = "The keys that verify access tokens",
     .text = "A JWK Set (RFC 7517). A retired key stays until the last token under it has expired.",
     .prepare = jwks_show},
    {.method = HTTP_POST,
     .path = "/api/admin/signing-keys/rotate",
     .name = "signing_keys_rotate",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .body = &rotation_shape,
     .answer = &fresh_key_shape,
     .status = 201,
     .summary = "Replaces the key that signs access tokens",
     .text = "It is done by itself every 90 days (`signing.rotation_ms`). The password or a factor must have "
             "been given within the "
             "last 10 minutes.",
     .prepare = rotate_prepare,
     .apply = rotate,
     .after = rotated},
};
const struct api_table signing_api = {"auth", routes, LENGTH_OF(routes)};
