/* root_remote.c - root keys that never leave the service which keeps them: Vault's transit engine, AWS KMS. */
#include <openssl/evp.h>
#include <stdio.h>

#include "core/outbound_config.h"
#include "core/secrets/root.h"
#include "net/sigv4.h"
#include "store/files.h"
#include "json/tree.h"

#define BODY_MAX (64u << 10)
#define ANSWER_MAX (256u << 10)
#define DEADLINE_MS 15000
#define TRIES 3
#define TOKEN_TEXT_MAX 4096

/* --- texts --- */

enum errc base64_of(struct arena *a, str plain, str *text, err *e)
{
    size_t len = (plain.len + 2) / 3 * 4;
    char *out = arena_bytes(a, len + 1);
    if (!out || plain.len > INT32_MAX / 2) return err_code(e, ERR_TOO_LARGE);
    EVP_EncodeBlock((uint8_t *)out, (const uint8_t *)plain.p, (int)plain.len);
    *text = str_of(out, len);
    return ERR_NONE;
}

enum errc base64_read(struct arena *a, str text, str *plain, err *e)
{
    char *out = arena_bytes(a, text.len + 1);
    if (!out || text.len > INT32_MAX) return err_code(e, ERR_TOO_LARGE);
    size_t padding = str_ends(text, S("==")) ? 2 : str_ends(text, S("=")) ? 1 : 0;
    int n = text.len ? EVP_DecodeBlock((uint8_t *)out, (const uint8_t *)text.p, (int)text.len) : -1;
    if (n < (int)padding) return err_set(e, ERR_UPSTREAM, "the answer holds no base64");
    *plain = str_of(out, (size_t)n - padding);
    return ERR_NONE;
}

enum errc root_text(struct root_key *r, const struct config *config, const char *key, str *out, err *e)
{
    *out = str_dup(&r->texts, config_text(config, key));
    return out->p ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

enum errc root_remote_init(struct root_key *r, const struct config *config, err *e)
{
    struct arena a;
    struct outbound_settings settings;
    arena_init(&a, 1u << 20, 0);
    enum errc rc = outbound_settings_of(config, &a, &settings, e);
    if (rc == ERR_NONE) rc = outbound_new(&r->outbound, &settings, e);
    arena_fini(&a);
    return rc;
}

/* A file's text, without the line's end; as long as the arena. */
static enum errc read_text_file(const struct root_key *r, struct arena *a, str path, str *out, err *e)
{
    char *name = str_to_c(a, path);
    (void)r;
    if (!name) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = file_read(name, TOKEN_TEXT_MAX, a, out, e);
    *out = str_trim(*out);
    return rc == ERR_NOT_FOUND ? err_set(e, ERR_CONFIG, "there is no file %.150s", name) : rc;
}

/* --- asking --- */

enum errc root_post(struct root_key *r, struct arena *a, const struct fetch_request *request, int *status,
                    const struct json **answer, err *e)
{
    struct fetch_request asked = *request;
    struct fetch_answer got;
    struct json *tree = NULL;
    asked.method = S("POST");
    asked.answer_max = ANSWER_MAX;
    asked.deadline_ms = DEADLINE_MS;
    asked.tries = TRIES;
    asked.is_repeatable = true; /* wrapping twice wraps twice, and nothing else */
    asked.allows_local = true;
    enum errc rc = fetch(r->outbound, a, &asked, &got, e);
    if (rc != ERR_NONE) return err_prefix(e, "the master key %.100s", r->id);
    *status = got.status;
    *answer = NULL;
    if (got.body.len && json_parse(a, got.body, &tree, NULL) == ERR_NONE) *answer = tree;
    return ERR_NONE;
}

static enum errc refused(const struct root_key *r, int status, const char *doing, str why, err *e)
{
    enum errc code = status == 403 || status == 401 || status == 400 ? ERR_FORBIDDEN : ERR_UPSTREAM;
    return err_set(e, code, "the master key %.100s: %s was answered with %d %.*s", r->id, doing, status,
                   STR(str_take(why, 80)));
}

/* --- Vault --- */

static str vault_why(const struct json *answer)
{
    const struct json *errors = json_get(answer, S("errors"));
    return errors && errors->child ? errors->child->text : S("");
}

static enum errc vault_call(struct root_key *r, struct arena *a, const char *path, str token, str body,
                            int *status, const struct json **answer, err *e)
{
    struct fetch_field fields[4];
    unsigned n = 0;
    fields[n++] = (struct fetch_field){S("Content-Type"), S("application/json"), false};
    fields[n++] = (struct fetch_field){S("X-Vault-Request"), S("true"), false};
    if (token.len) fields[n++] = (struct fetch_field){S("X-Vault-Token"), token, true};
    if (r->space.len) fields[n++] = (struct fetch_field){S("X-Vault-Namespace"), r->space, false};
    struct fetch_request request = {.url = arena_printf(a, "%.*s/v1/%s", STR(r->url), path),
                                    .fields = fields,
                                    .n_fields = n,
                                    .body = body};
    return request.url.p ? root_post(r, a, &request, status, answer, e) : err_code(e, ERR_NO_MEMORY);
}

/* A token for the role; kept until it is refused. */
static enum errc vault_login(struct root_key *r, struct arena *a, err *e)
{
    struct buf body;
    struct json_writer w;
    const struct json *answer;
    str secret = r->secret_id;
    int status = 0;
    enum errc rc = r->secret_id_file.len ? read_text_file(r, a, r->secret_id_file, &secret, e) : ERR_NONE;
    if (rc != ERR_NONE) return rc;
    buf_init(&body, BODY_MAX);
    json_writer_init(&w, &body);
    json_object(&w);
    json_put_str(&w, "role_id", r->role_id);
    if (secret.len) json_put_str(&w, "secret_id", secret);
    json_end(&w);
    rc = vault_call(r, a, "auth/approle/login", (str){0}, buf_str(&body), &status, &answer, e);
    if (body.p) explicit_bzero(body.p, body.cap);
    buf_fini(&body);
    if (rc != ERR_NONE) return rc;
    const struct json *token = json_at(answer, S("auth.client_token"));
    if (status != 200 || !token || !token->text.len || token->text.len >= sizeof r->login)
        return refused(r, status, "signing in as its AppRole", vault_why(answer), e);
    memcpy(r->login, token->text.p, token->text.len);
    r->login[token->text.len] = '\0';
    return ERR_NONE;
}

/* POST /v1/MOUNT/WHAT/KEY with the token of the configuration, of its file as it is now, or of the AppRole. */
static enum errc vault_transit(struct root_key *r, struct arena *a, const char *what, str body,
                               const char *member, str *out, err *e)
{
    char path[500];
    const struct json *answer = NULL;
    str token = r->token;
    int status = 0;
    enum errc rc = ERR_NONE;
    snprintf(path, sizeof path, "%.*s/%s/%.*s", STR(r->mount), what, STR(r->key));
    if (r->token_file.len) rc = read_text_file(r, a, r->token_file, &token, e);
    if (rc != ERR_NONE) return rc;
    if (r->role_id.len) {
        pthread_mutex_lock(&r->lock);
        bool is_fresh = !r->login[0];
        if (is_fresh) rc = vault_login(r, a, e);
        if (rc == ERR_NONE) rc = vault_call(r, a, path, str_c(r->login), body, &status, &answer, e);
        if (rc == ERR_NONE && status == 403 && !is_fresh) { /* it has expired */
            rc = vault_login(r, a, e);
            if (rc == ERR_NONE) rc = vault_call(r, a, path, str_c(r->login), body, &status, &answer, e);
        }
        pthread_mutex_unlock(&r->lock);
    } else {
        rc = vault_call(r, a, path, token, body, &status, &answer, e);
    }
    if (rc != ERR_NONE) return rc;
    const struct json *value = json_get(json_get(answer, S("data")), str_c(member));
    if (status != 200 || !value || value->type != JSON_STRING)
        return refused(r, status, what, vault_why(answer), e);
    *out = value->text;
    return ERR_NONE;
}

static enum errc vault_body(struct arena *a, const char *member, str value, str bound, str *out, err *e)
{
    struct buf body;
    struct json_writer w;
    str bound_text;
    enum errc rc = base64_of(a, bound, &bound_text, e);
    if (rc != ERR_NONE) return rc;
    buf_init(&body, BODY_MAX);
    json_writer_init(&w, &body);
    json_object(&w);
    json_put_str(&w, member, value);
    json_put_str(&w, "associated_data", bound_text);
    json_end(&w);
    *out = str_dup(a, buf_str(&body));
    rc = buf_err(&body) != ERR_NONE || !out->p ? err_code(e, ERR_TOO_LARGE) : ERR_NONE;
    if (body.p) explicit_bzero(body.p, body.cap);
    buf_fini(&body);
    return rc;
}

static enum errc vault_wrap(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped, err *e)
{
    str text, body;
    enum errc rc = base64_of(a, plain, &text, e);
    if (rc == ERR_NONE) rc = vault_body(a, "plaintext", text, bound, &body, e);
    return rc == ERR_NONE ? vault_transit(r, a, "encrypt", body, "ciphertext", wrapped, e) : rc;
}

static enum errc vault_unwrap(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain, err *e)
{
    str text, body;
    enum errc rc = vault_body(a, "ciphertext", wrapped, bound, &body, e);
    if (rc == ERR_NONE) rc = vault_transit(r, a, "decrypt", body, "plaintext", &text, e);
    return rc == ERR_NONE ? base64_read(a, text, plain, e) : rc;
}

/* A name that stands in a path. */
static bool is_path_name(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '/'))
            return false;
    return s.len > 0 && s.len <= 120;
}

enum errc root_vault_open(struct root_key *r, const struct config *config, err *e)
{
    static const char *const keys[] = {
        "security.vault_url",       "security.vault_mount",          "security.vault_key",
        "security.vault_token",     "security.vault_token_file",     "security.vault_role_id",
        "security.vault_secret_id", "security.vault_secret_id_file", "security.vault_namespace"};
    str *const places[] = {&r->url,       &r->mount,          &r->key,
                           &r->token,     &r->token_file,     &r->role_id,
                           &r->secret_id, &r->secret_id_file, &r->space};
    if (!config_text(config, "security.vault_url").len)
        return err_set(e, ERR_NOT_FOUND,
                       "security.vault_url is not set: where is the Vault that keeps the master key?");
    enum errc rc = root_remote_init(r, config, e);
    for (size_t i = 0; i < LENGTH_OF(keys) && rc == ERR_NONE; i++)
        rc = root_text(r, config, keys[i], places[i], e);
    if (rc != ERR_NONE) return rc;
    while (r->url.len && r->url.p[r->url.len - 1] == '/')
        r->url.len--;
    if (!is_path_name(r->mount) || !is_path_name(r->key) || str_chr(r->key, '/') >= 0)
        return err_set(e, ERR_CONFIG, "security.vault_mount and security.vault_key must be names of Vault");
    if ((r->token.len > 0) + (r->token_file.len > 0) + (r->role_id.len > 0) != 1)
        return err_set(
            e, ERR_CONFIG,
            "Vault wants one of security.vault_token, security.vault_token_file and security.vault_role_id");
    r->kind = ROOT_VAULT;
    r->wrap = vault_wrap;
    r->unwrap = vault_unwrap;
    snprintf(r->id, sizeof r->id, "vault:%.*s/%.*s", STR(r->mount), STR(r->key));
    return ERR_NONE;
}

/* --- AWS KMS --- */

static enum errc kms_call(struct root_key *r, struct arena *a, const char *action, const char *member,
                          str value, str bound, const char *result, str *out, err *e)
{
    struct buf body;
    struct json_writer w;
    char bound_text[2 * 128 + 1], target[40];
    const struct json *answer;
    struct sigv4_credentials credentials = {r->access_key, r->secret_key, r->session_token};
    struct fetch_field *fields;
    unsigned n;
    int status = 0;
    if (bound.len > 128) return err_set(e, ERR_INTERNAL, "an encryption context is too long");
    buf_init(&body, BODY_MAX);
    json_writer_init(&w, &body);
    json_object(&w);
    json_put_str(&w, "KeyId", r->key);
    json_put_str(&w, member, value);
    json_name(&w, S("EncryptionContext"));
    json_object(&w);
    json_put_str(&w, "catalyst", hex_encode(bound.p, bound.len, bound_text));
    json_end(&w);
    json_end(&w);
    snprintf(target, sizeof target, "TrentService.%s", action);
    const struct fetch_field own[] = {{S("Content-Type"), S("application/x-amz-json-1.1"), false},
                                      {S("X-Amz-Target"), str_c(target), false}};
    struct sigv4_request request = {.region = r->region,
                                    .service = S("kms"),
                                    .method = S("POST"),
                                    .url = r->url,
                                    .fields = own,
                                    .n_fields = LENGTH_OF(own),
                                    .body = buf_str(&body)};
    enum errc rc = buf_err(&body) ? err_code(e, ERR_TOO_LARGE)
                                  : sigv4_sign(a, &credentials, &request, clock_now_us(), &fields, &n, e);
    if (rc == ERR_NONE)
        rc = root_post(
            r, a,
            &(struct fetch_request){.url = r->url, .fields = fields, .n_fields = n, .body = buf_str(&body)},
            &status, &answer, e);
    if (body.p) explicit_bzero(body.p, body.cap);
    buf_fini(&body);
    if (rc != ERR_NONE) return rc;
    const struct json *got = json_get(answer, str_c(result)), *type = json_get(answer, S("__type"));
    if (status != 200 || !got || got->type != JSON_STRING)
        return refused(r, status, action, type ? type->text : S(""), e);
    return base64_read(a, got->text, out, e);
}

static enum errc kms_wrap(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped, err *e)
{
    str text;
    enum errc rc = base64_of(a, plain, &text, e);
    return rc == ERR_NONE ? kms_call(r, a, "Encrypt", "Plaintext", text, bound, "CiphertextBlob", wrapped, e)
                          : rc;
}

static enum errc kms_unwrap(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain, err *e)
{
    str text;
    enum errc rc = base64_of(a, wrapped, &text, e);
    return rc == ERR_NONE ? kms_call(r, a, "Decrypt", "CiphertextBlob", text, bound, "Plaintext", plain, e)
                          : rc;
}

enum errc root_kms_open(struct root_key *r, const struct config *config, err *e)
{
    static const char *const keys[] = {"security.kms_endpoint",   "security.kms_region",
                                       "security.kms_key_id",     "security.kms_access_key",
                                       "security.kms_secret_key", "security.kms_session_token"};
    str *const places[] = {&r->url, &r->region, &r->key, &r->access_key, &r->secret_key, &r->session_token};
    if (!config_text(config, "security.kms_key_id").len)
        return err_set(e, ERR_NOT_FOUND,
                       "security.kms_key_id is not set: which key of AWS KMS is the master key?");
    enum errc rc = root_remote_init(r, config, e);
    for (size_t i = 0; i < LENGTH_OF(keys) && rc == ERR_NONE; i++)
        rc = root_text(r, config, keys[i], places[i], e);
    if (rc != ERR_NONE) return rc;
    if (!is_path_name(r->region) || !r->access_key.len || !r->secret_key.len)
        return err_set(
            e, ERR_CONFIG,
            "AWS KMS wants security.kms_region, security.kms_access_key and security.kms_secret_key");
    if (!r->url.len) r->url = arena_printf(&r->texts, "https://kms.%.*s.amazonaws.com/", STR(r->region));
    if (!r->url.p) return err_code(e, ERR_NO_MEMORY);
    r->kind = ROOT_AWS_KMS;
    r->wrap = kms_wrap;
    r->unwrap = kms_unwrap;
    snprintf(r->id, sizeof r->id, "aws_kms:%.*s/%.*s", STR(r->region), STR(str_take(r->key, 200)));
    return ERR_NONE;
}
