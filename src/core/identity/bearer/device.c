/* Device login (RFC 8628): a program without a browser shows a code of eight letters; a person who is signed in types it, sees
 * who asks and from where, and lets it in to one workspace or not.
 *
 * The code is 34 bits: it is valid for ten minutes, wrong ones are limited by person and by address, and there is no link that
 * carries it, so that nobody is led to approve a sign-in that they did not begin by a click (section 5.4).
 */
#include "core/identity/bearer/bearer.h"

#define DEVICE_LIFE_US (600LL * USEC_PER_S)
#define INTERVAL_S 5
#define CODE_LETTERS 8
#define WAITING_MAX 20 /* of one address */

/* No vowels, so that no words come up, and none that are mistaken for others (section 6.1). */
static const char letters[20] = {'B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M',
                                 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X', 'Z'};

SQL(device_add, DB_MAIN, SQL_INSTANCE, "ubbttttiiii",
    "INSERT INTO device_logins (id, device_hash, user_code, client, wanted, address, user_agent, created_us, "
    "expires_us, polled_us, "
    "interval_s, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting')");
SQL(devices_waiting, DB_MAIN, SQL_INSTANCE, "ti",
    "SELECT COUNT(*) FROM device_logins WHERE address = $1 AND state = 'waiting' AND expires_us > $2");
SQL(device_by_hash, DB_MAIN, SQL_INSTANCE, "b",
    "SELECT d.id, d.expires_us, d.polled_us, d.interval_s, d.state, d.user_id, d.workspace_id, d.scopes, "
    "d.client, "
    "d.authenticated_us, d.factor_us, d.is_phishing_resistant, u.is_disabled, u.email, u.name FROM "
    "device_logins d LEFT JOIN users u "
    "ON u.id = d.user_id WHERE d.device_hash = $1");
SQL(device_polled, DB_MAIN, SQL_INSTANCE, "iiu",
    "UPDATE device_logins SET polled_us = $1, interval_s = $2 WHERE id = $3");
SQL(device_done, DB_MAIN, SQL_INSTANCE, "u",
    "DELETE FROM device_logins WHERE id = $1 AND state = 'approved'");
SQL(device_by_code, DB_MAIN, SQL_INSTANCE, "bi",
    "SELECT id, client, wanted, address, user_agent, created_us, expires_us FROM device_logins WHERE "
    "user_code = $1 AND state = "
    "'waiting' AND expires_us > $2");
SQL(device_deny, DB_MAIN, SQL_INSTANCE, "uu",
    "UPDATE device_logins SET state = 'denied', user_id = $1 WHERE id = $2 AND state = 'waiting'");
SQL(device_approve, DB_MAIN, 0, "uutiiiu",
    "UPDATE device_logins SET state = 'approved', user_id = $1, workspace_id = $2, scopes = $3, "
    "authenticated_us = $4, factor_us = $5, "
    "is_phishing_resistant = $6 WHERE id = $7 AND state = 'waiting'");
SQL(member_is, DB_MAIN, 0, "uu", "SELECT 1 FROM memberships WHERE workspace_id = $1 AND user_id = $2");

/* --- codes --- */

static void make_code(char out[CODE_LETTERS + 2])
{
    unsigned n = 0;
    while (n < CODE_LETTERS + 1) {
        uint8_t c;
        random_bytes(&c, 1);
        if (c >= 240) continue; /* a multiple of 20: each letter is as likely */
        out[n++] = letters[c % sizeof letters];
        if (n == CODE_LETTERS / 2) out[n++] = '-';
    }
    out[n] = '\0';
}

/* The code as somebody types it, with or without its dash, in either case. */
static bool code_hash(const struct identity *id, str text, uint8_t out[SHA256_LEN])
{
    char code[CODE_LETTERS];
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (c == '-' || c == ' ') continue;
        if (c >= 'a' && c <= 'z') c = (char)(c - 'a' + 'A');
        if (n == CODE_LETTERS || !memchr(letters, c, sizeof letters)) return false;
        code[n++] = c;
    }
    if (n != CODE_LETTERS) return false;
    hmac_sha256(str_of((const char *)id->user_code_key, sizeof id->user_code_key), str_of(code, CODE_LETTERS),
                out);
    return true;
}

/* --- POST /api/auth/device --- */

struct device_wanted {
    str client;
    struct texts scopes;
};
static const struct field device_wanted_fields[] = {
    FIELD(struct device_wanted, client, FIELD_TEXT, .min = 1, .max = CLIENT_MAX, .format = FORMAT_LINE,
          .fallback = "\"program\"", .flags = FIELD_WRITEONLY,
          .meaning = "What the program and its machine are called: the person who lets it in sees it."),
    FIELD(struct device_wanted, scopes, FIELD_TEXTS, .min = 1, .max = 64, .max_items = PERMISSIONS,
          .fallback = "[]", .flags = FIELD_WRITEONLY,
          .meaning = "Permissions that it asks for; none: whatever a program can have."),
};
static const struct shape device_wanted_shape =
    SHAPE("DeviceWanted", struct device_wanted, device_wanted_fields, "A program that wants to be let in.");

struct device_begun {
    str device_code, user_code, verification_uri;
    int64_t expires_in, interval;
};
static const struct field device_begun_fields[] = {
    FIELD(struct device_begun, device_code, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET,
          .meaning = "What the program asks with; it shows it to nobody."),
    FIELD(struct device_begun, user_code, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What the person types."),
    FIELD(struct device_begun, verification_uri, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Where."),
    FIELD(struct device_begun, expires_in, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Seconds that both codes are valid."),
    FIELD(struct device_begun, interval, FIELD_INT, .flags = FIELD_READONLY,
          .meaning = "Seconds to wait between two questions."),
};
static const struct shape device_begun_shape =
    SHAPE("DeviceLogin", struct device_begun, device_begun_fields, "A device login that has begun.");

struct begin_state {
    uuid id;
    struct token token;
    char code[CODE_LETTERS + 2];
    uint8_t code_hash[SHA256_LEN];
    str wanted;
};

static enum errc begin_prepare(struct api_request *r, err *e)
{
    const struct device_wanted *b = r->body;
    struct begin_state *s = arena_new(r->arena, struct begin_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    s->id = uuid7_make(r->now_us);
    token_make(&s->token);
    make_code(s->code);
    if (!code_hash(identity_of(r), str_c(s->code), s->code_hash)) return err_code(e, ERR_INTERNAL);
    return grant_read_scopes(r, &b->scopes, &s->wanted, e);
}

static enum errc begin(struct api_request *r, struct tx *tx, err *e)
{
    const struct begin_state *s = r->state;
    const struct device_wanted *b = r->body;
    struct device_begun *answer = arena_new(r->arena, struct device_begun);
    const struct val *row;
    str address = limit_address(r->arena, r->address);
    if (!answer) return err_code(e, ERR_TOO_LARGE);
    enum errc rc =
        tx_query_row(tx, r->arena, &devices_waiting, PARAMS(v_text(address), v_int(r->now_us)), &row, e);
    if (rc == ERR_NONE && val_int(&row[0]) >= WAITING_MAX) {
        r->retry_after_s = INTERVAL_S * 12;
        return err_set(e, ERR_RATE_LIMITED, "%d device logins of this address are waiting already",
                       WAITING_MAX);
    }
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(
            tx, &device_add,
            PARAMS(v_uuid(&s->id), v_hash(s->token.hash), v_hash(s->code_hash), v_text(b->client),
                   v_text(s->wanted), v_text(address),
                   v_text(str_take(r->user_agent.p ? r->user_agent : S(""), USER_AGENT_MAX)),
                   v_int(r->now_us), v_int(r->now_us + DEVICE_LIFE_US), v_int(r->now_us), v_int(INTERVAL_S)),
            NULL, e);
    *answer = (struct device_begun){
        .device_code = str_of(s->token.text, TOKEN_LEN),
        .user_code = str_c(s->code),
        .verification_uri = arena_printf(r->arena, "%.*s/device", STR(identity_of(r)->public_url)),
        .expires_in = DEVICE_LIFE_US / USEC_PER_S,
        .interval = INTERVAL_S};
    r->answer = answer;
    r->has_secret = true;
    return rc;
}

/* --- POST /api/auth/device/token --- */

struct poll {
    str device_code, grant_type;
};
#define DEVICE_GRANT "urn:ietf:params:oauth:grant-type:device_code"
static const struct field poll_fields[] = {
    FIELD(struct poll, device_code, FIELD_TEXT, .min = 1, .max = 100,
          .flags = FIELD_REQUIRED | FIELD_WRITEONLY, .meaning = "As POST /api/auth/device gave it."),
    FIELD(struct poll, grant_type, FIELD_ONE_OF, .choices = DEVICE_GRANT, .fallback = "\"" DEVICE_GRANT "\"",
          .flags = FIELD_WRITEONLY, .meaning = "As OAuth has it."),
};
static const struct shape poll_shape =
    SHAPE("DevicePoll", struct poll, poll_fields, "Whether a program has been let in.");

struct poll_state {
    uuid id;
    bool is_known, is_approved;
    usec expires_us, polled_us;
    int64_t interval_s;
    str state;
    struct grant grant;
    struct voucher voucher;
    struct tokens tokens;
    str email, name;
    bool is_disabled;
};

static enum errc read_device(struct api_request *r, struct tx *tx, struct poll_state *s, err *e)
{
    const struct poll *b = r->body;
    uint8_t hash[SHA256_LEN];
    struct rows rows;
    token_hash(b->device_code, hash);
    enum errc rc = tx_query(tx, r->arena, &device_by_hash, PARAMS(v_hash(hash)), &rows, e);
    s->is_known = rc == ERR_NONE && rows.n > 0;
    if (!s->is_known) return rc;
    const struct val *row = row_at(&rows, 0);
    s->id = val_uuid(&row[0]);
    s->expires_us = val_int(&row[1]);
    s->polled_us = val_int(&row[2]);
    s->interval_s = val_int(&row[3]);
    s->state = val_str(&row[4]);
    s->grant.user_id = val_uuid(&row[5]);
    s->grant.workspace_id = val_uuid(&row[6]);
    s->grant.scopes = val_str(&row[7]);
    s->grant.client = val_str(&row[8]);
    s->voucher = (struct voucher){val_int(&row[9]), val_int(&row[10]) == NO_VALUE ? 0 : val_int(&row[10]),
                                  val_bool(&row[11])};
    s->is_disabled = val_bool(&row[12]);
    s->email = val_str(&row[13]);
    s->name = val_str(&row[14]);
    s->is_approved = str_eq(s->state, S("approved")) && s->expires_us > r->now_us && !s->is_disabled;
    return ERR_NONE;
}

static enum errc read_device_unit(struct tx *tx, void *ctx, err *e)
{
    struct api_request *r = ctx;
    return read_device(r, tx, r->state, e);
}

static enum errc poll_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    struct poll_state *s = arena_new(r->arena, struct poll_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    enum errc rc = db_read(id->db, read_device_unit, r, e);
    if (rc != ERR_NONE) return rc;
    if (!s->is_known) {
        struct limit_try t = {.kind = LIMIT_DEVICE, .address = r->address};
        rc = limit_begin(id->db, &t, r->now_us, &r->retry_after_s, e);
        return rc == ERR_NONE
                   ? oauth_refuse(r, "invalid_grant", S("this device code is not valid, or was used"), e)
                   : rc;
    }
    if (!s->is_approved) return ERR_NONE;
    grant_begin(&s->grant, r->now_us);
    rc = tokens_make(id, r->arena, &s->grant, r->now_us, &s->tokens, e);
    if (rc != ERR_NONE) return rc;
    r->who = (struct principal){
        .kind = PRINCIPAL_SESSION, /* the person has come in by this, and the events name them */
        .user_id = s->grant.user_id,
        .credential_id = s->grant.session_id,
        .email = s->email,
        .name = s->name};
    return person_key_ensure(r->store, &s->grant.user_id, r->now_us, e);
}

static enum errc not_yet(struct api_request *r, struct tx *tx, const struct poll_state *s, err *e)
{
    bool is_hasty =
        s->polled_us + s->interval_s * USEC_PER_S - USEC_PER_S / 2 > r->now_us && s->polled_us != r->now_us;
    int64_t interval = is_hasty ? s->interval_s + INTERVAL_S : s->interval_s; /* section 3.5 */
    if (s->expires_us <= r->now_us)
        return oauth_refuse(r, "expired_token", S("nobody let the program in within ten minutes"), e);
    if (str_eq(s->state, S("denied")))
        return oauth_refuse(r, "access_denied", S("the program was not let in"), e);
    enum errc rc = tx_exec_unaudited(
        tx, &device_polled, PARAMS(v_int(r->now_us), v_int(interval > 60 ? 60 : interval), v_uuid(&s->id)),
        NULL, e);
    if (rc != ERR_NONE) return rc;
    return is_hasty ? oauth_refuse(r, "slow_down", S("wait longer between two questions"), e)
                    : oauth_refuse(r, "authorization_pending", S("nobody has let the program in yet"), e);
}

static enum errc poll_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct poll_state *s = r->state, now = {.is_known = false};
    struct rows rows;
    int64_t n = 0;
    if (r->raw.p) return ERR_NONE;
    enum errc rc = read_device(r, tx, &now, e);
    if (rc != ERR_NONE) return rc;
    if (!now.is_known)
        return oauth_refuse(r, "invalid_grant", S("this device code is not valid, or was used"), e);
    if (!s->is_approved || !now.is_approved) /* approved since it was looked at: it is asked again */
        return not_yet(r, tx, &now, e);
    rc = tx_query(tx, r->arena, &member_is, PARAMS(v_uuid(&s->grant.workspace_id), v_uuid(&s->grant.user_id)),
                  &rows, e);
    if (rc == ERR_NONE && rows.n == 0)
        return oauth_refuse(r, "access_denied", S("the person is no member of the workspace any more"), e);
    if (rc == ERR_NONE) rc = tx_exec(tx, &device_done, PARAMS(v_uuid(&s->id)), &n, e);
    if (rc == ERR_NONE && n == 0) return oauth_refuse(r, "invalid_grant", S("this device code was used"), e);
    if (rc == ERR_NONE) rc = grant_start(r, tx, &s->grant, S("device"), &s->voucher, e);
    r->answer = &s->tokens;
    r->has_secret = true;
    return rc;
}

/* --- GET and POST /api/auth/device/:user_code --- */

struct device_view {
    str client, address, user_agent;
    struct texts scopes;
    bool is_your_address;
    usec created_at, expires_at;
    str warning;
};
static const struct field device_view_fields[] = {
    FIELD(struct device_view, client, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What the program calls itself."),
    FIELD(struct device_view, address, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "Where it asks from; of IPv6 the /64."),
    FIELD(struct device_view, user_agent, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What it says of itself in its requests."),
    FIELD(struct device_view, scopes, FIELD_TEXTS, .flags = FIELD_READONLY, .max_items = PERMISSIONS,
          .meaning = "Permissions that it asks for; [\"all\"]: whatever a program can have."),
    FIELD(struct device_view, is_your_address, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "It asks from the address that you come from."),
    FIELD(struct device_view, created_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it began."),
    FIELD(struct device_view, expires_at, FIELD_TIME, .flags = FIELD_READONLY,
          .meaning = "Until when it can be let in."),
    FIELD(struct device_view, warning, FIELD_TEXT, .flags = FIELD_READONLY,
          .meaning = "What to tell the person before they decide."),
};
static const struct shape device_view_shape =
    SHAPE("DeviceRequest", struct device_view, device_view_fields, "A program that waits to be let in.");

#define WARNING                                                                                              \
    "Go on only if you started this sign-in yourself, a moment ago, on a device that is yours, and it "      \
    "shows this code. If somebody sent "                                                                     \
    "you the code, by mail, chat or telephone, or asked you to type it here, they want to sign in as you: "  \
    "deny it."

struct decision {
    bool approve;
    uuid workspace_id;
    struct texts scopes;
};
static const struct field decision_fields[] = {
    FIELD(struct decision, approve, FIELD_BOOL, .flags = FIELD_REQUIRED | FIELD_WRITEONLY,
          .meaning = "Whether the program is let in."),
    FIELD(struct decision, workspace_id, FIELD_UUID, .flags = FIELD_NULLABLE | FIELD_WRITEONLY,
          .meaning = "The workspace that it is to reach; needed to let it in."),
    FIELD(struct decision, scopes, FIELD_TEXTS, .min = 1, .max = 64, .max_items = PERMISSIONS,
          .fallback = "[]", .flags = FIELD_WRITEONLY,
          .meaning = "Permissions that it is given; none: what it asked for. Never more than it asked for."),
};
static const struct shape decision_shape =
    SHAPE("DeviceDecision", struct decision, decision_fields, "What a person decides.");

struct code_state {
    struct limit_try try;
    uint8_t hash[SHA256_LEN];
    uuid id;
    str client, wanted, address, user_agent;
    usec created_us, expires_us;
    bool is_known;
    str scopes; /* given */
    char account[UUID_TEXT_LEN + 1];
};

static enum errc find_code(struct api_request *r, struct tx *tx, struct code_state *s, err *e)
{
    struct rows rows;
    enum errc rc =
        tx_query(tx, r->arena, &device_by_code, PARAMS(v_hash(s->hash), v_int(r->now_us)), &rows, e);
    s->is_known = rc == ERR_NONE && rows.n > 0;
    if (!s->is_known) return rc;
    const struct val *row = row_at(&rows, 0);
    s->id = val_uuid(&row[0]);
    s->client = val_str(&row[1]);
    s->wanted = val_str(&row[2]);
    s->address = val_str(&row[3]);
    s->user_agent = val_str(&row[4]);
    s->created_us = val_int(&row[5]);
    s->expires_us = val_int(&row[6]);
    return ERR_NONE;
}

static enum errc find_code_unit(struct tx *tx, void *ctx, err *e)
{
    struct api_request *r = ctx;
    return find_code(r, tx, r->state, e);
}

static enum errc no_such(err *e)
{
    return err_set(
        e, ERR_NOT_FOUND,
        "no program waits with this code: it was mistyped, was used, or is older than ten minutes");
}

/* A wrong code counts against the person and the address, whether it has the form of one or not. */
static enum errc code_prepare(struct api_request *r, err *e)
{
    struct identity *id = identity_of(r);
    struct code_state *s = arena_new(r->arena, struct code_state);
    if (!s) return err_code(e, ERR_TOO_LARGE);
    r->state = s;
    s->try = (struct limit_try){.kind = LIMIT_DEVICE,
                                .account = uuid_format(&r->who.user_id, s->account),
                                .user_id = r->who.user_id,
                                .address = r->address};
    enum errc rc = limit_begin(id->db, &s->try, r->now_us, &r->retry_after_s, e);
    if (rc != ERR_NONE) return rc;
    if (!code_hash(id, r->path_text[0], s->hash)) return no_such(e);
    rc = db_read(id->db, find_code_unit, r, e);
    return rc != ERR_NONE || (s->is_known && !s->try.is_locked) ? rc : no_such(e);
}

static enum errc split(struct arena *a, str text, struct texts *out, err *e)
{
    str *items = arena_news(a, str, text.len / 2 + 1);
    if (!items) return err_code(e, ERR_TOO_LARGE);
    *out = (struct texts){items, 0};
    while (text.len)
        items[out->n++] = str_cut(&text, ' ');
    return ERR_NONE;
}

static enum errc look(struct api_request *r, struct tx *tx, err *e)
{
    struct code_state *s = r->state;
    struct device_view *v = arena_new(r->arena, struct device_view);
    if (!v) return err_code(e, ERR_TOO_LARGE);
    *v = (struct device_view){.client = s->client,
                              .address = s->address,
                              .user_agent = s->user_agent,
                              .is_your_address = str_eq(s->address, limit_address(r->arena, r->address)),
                              .created_at = s->created_us,
                              .expires_at = s->expires_us,
                              .warning = S(WARNING)};
    r->answer = v;
    enum errc rc = split(r->arena, s->wanted, &v->scopes, e);
    return rc == ERR_NONE ? limit_succeeded(tx, &s->try, e) : rc;
}

static enum errc decide_prepare(struct api_request *r, err *e)
{
    const struct decision *b = r->body;
    enum errc rc = b->approve ? recently_authenticated(r, e) : ERR_NONE;
    if (rc == ERR_NONE) rc = code_prepare(r, e);
    if (rc != ERR_NONE || !b->approve) return rc;
    struct code_state *s = r->state;
    if (uuid_is_nil(&b->workspace_id))
        return api_field_error(r, e, "workspace_id", "required",
                               "must be the id of the workspace that the program is to reach");
    if (!b->scopes.n) {
        s->scopes = s->wanted;
        return ERR_NONE;
    }
    if ((rc = grant_read_scopes(r, &b->scopes, &s->scopes, e)) != ERR_NONE) return rc;
    struct permission_set given = grant_scopes(s->scopes), wanted = grant_scopes(s->wanted);
    return permission_set_holds_all(&wanted, &given)
               ? ERR_NONE
               : api_field_error(r, e, "scopes", "not_one_of", "the program did not ask for all of these");
}

static enum errc decide(struct api_request *r, struct tx *tx, err *e)
{
    const struct decision *b = r->body;
    struct code_state *s = r->state;
    struct rows rows;
    int64_t n = 0;
    enum errc rc = ERR_NONE;
    if (b->approve) {
        rc = tx_query(tx, r->arena, &member_is, PARAMS(v_uuid(&b->workspace_id), v_uuid(&r->who.user_id)),
                      &rows, e);
        if (rc == ERR_NONE && rows.n == 0) return err_set(e, ERR_NOT_FOUND, "there is no such workspace");
        if (rc == ERR_NONE)
            rc = tx_exec(tx, &device_approve,
                         PARAMS(v_uuid(&r->who.user_id), v_uuid(&b->workspace_id), v_text(s->scopes),
                                v_int(r->who.authenticated_us),
                                v_int_or_null(r->who.factor_us ? r->who.factor_us : NO_VALUE),
                                v_int(r->who.is_phishing_resistant), v_uuid(&s->id)),
                         &n, e);
    } else {
        rc = tx_exec(tx, &device_deny, PARAMS(v_uuid(&r->who.user_id), v_uuid(&s->id)), &n, e);
    }
    if (rc == ERR_NONE) rc = limit_succeeded(tx, &s->try, e);
    if (rc != ERR_NONE) return rc;
    if (n == 0) return no_such(e); /* somebody else has decided meanwhile */
    struct event ev =
        event_of(r, b->approve ? S("auth.device_approved") : S("auth.device_denied"), EVENT_SIGN_IN);
    ev.workspace_id = b->approve ? b->workspace_id : (uuid){0};
    ev.resource_type = S("device_login");
    ev.resource_id = s->id;
    return tx_event(tx, &ev, e);
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/auth/device",
     .name = "auth_device",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_TELEMETRY,
     .body = &device_wanted_shape,
     .answer = &device_begun_shape,
     .is_idempotent_exempt = true,
     .summary = "A device without a browser begins to sign in (RFC 8628)",
     .text = "It shows the person the code and the address, and asks POST /api/auth/device/token until it is "
             "let in.",
     .prepare = begin_prepare,
     .apply = begin},
    {.method = HTTP_POST,
     .path = "/api/auth/device/token",
     .name = "auth_device_token",
     .access = ACCESS_PUBLIC,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_TELEMETRY,
     .body = &poll_shape,
     .answer = &tokens_shape,
     .is_idempotent_exempt = true,
     .summary = "The device asks whether it has been let in",
     .text = "Until then 400 with OAuth's `{\"error\"}`: `authorization_pending`, `slow_down` (wait five "
             "seconds longer from now on), "
             "`access_denied`, `expired_token`, `invalid_grant`. The tokens are given once.",
     .prepare = poll_prepare,
     .apply = poll_apply},
    {.method = HTTP_GET,
     .path = "/api/auth/device/:user_code",
     .name = "auth_device_get",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_TELEMETRY,
     .answer = &device_view_shape,
     .summary = "What waits to be let in under a code",
     .text = "Wrong codes are limited by person and by address.",
     .prepare = code_prepare,
     .apply = look},
    {.method = HTTP_POST,
     .path = "/api/auth/device/:user_code",
     .name = "auth_device_decide",
     .access = ACCESS_SESSION,
     .scope = SCOPE_SELF,
     .effect = EFFECT_STATE,
     .body = &decision_shape,
     .status = 204,
     .is_idempotent_exempt = true,
     .summary = "Lets a device in, or not",
     .text = "It gets a session of its own in one workspace. To let it in, the password or a factor must "
             "have been given within the "
             "last 10 minutes.",
     .prepare = decide_prepare,
     .apply = decide},
};
const struct api_table device_api = {"auth", routes, LENGTH_OF(routes)};
