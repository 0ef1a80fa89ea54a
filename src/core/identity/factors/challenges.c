/* Challenges for passkeys: given out, and taken back once. */
#include "core/identity/factors/factors.h"

SQL(challenge_add, DB_MAIN, SQL_INSTANCE, "bbi",
    "INSERT INTO passkey_challenges (challenge_hash, bound_to, expires_us) VALUES ($1, $2, $3)");
SQL(challenge_drop, DB_MAIN, SQL_INSTANCE, "bbi",
    "DELETE FROM passkey_challenges WHERE challenge_hash = $1 AND bound_to = $2 AND expires_us > $3");

static void bind_to(enum challenge_purpose purpose, str bound_to, uint8_t out[SHA256_LEN])
{
    char text[1 + SHA256_LEN];
    text[0] = (char)purpose;
    sha256(bound_to, (uint8_t *)text + 1);
    sha256(str_of(text, sizeof text), out);
}

void challenge_make(struct challenge *c, enum challenge_purpose purpose, str bound_to)
{
    random_bytes(c->bytes, sizeof c->bytes);
    sha256(str_of((const char *)c->bytes, sizeof c->bytes), c->hash);
    bind_to(purpose, bound_to, c->bound_to);
}

enum errc challenge_insert(struct tx *tx, const struct challenge *c, usec now, err *e)
{
    return tx_exec_unaudited(
        tx, &challenge_add, PARAMS(v_hash(c->hash), v_hash(c->bound_to), v_int(now + CHALLENGE_US)), NULL, e);
}

struct taking {
    uint8_t hash[SHA256_LEN], bound_to[SHA256_LEN];
    usec now;
    int64_t n;
};

static enum errc take_unit(struct tx *tx, void *ctx, err *e)
{
    struct taking *t = ctx;
    return tx_exec_unaudited(tx, &challenge_drop, PARAMS(v_hash(t->hash), v_hash(t->bound_to), v_int(t->now)),
                             &t->n, e);
}

enum errc challenge_take(struct api_request *r, enum challenge_purpose purpose, str bound_to, str client_data,
                         str *challenge, err *e)
{
    struct taking t = {.now = r->now_us};
    enum errc rc = webauthn_challenge(r->arena, client_data, challenge, e);
    if (rc != ERR_NONE) return rc;
    sha256(*challenge, t.hash);
    bind_to(purpose, bound_to, t.bound_to);
    if ((rc = db_write(identity_of(r)->db, take_unit, &t, e)) != ERR_NONE || t.n == 1) return rc;
    return err_set(e, ERR_CREDENTIALS,
                   "the challenge was not given out for this, was answered already, or is too old");
}
