/* Claims: what a token is, for whom, from whom, and when. */
#include "core/jose.h"

#define CLAIMS_DEPTH 8
#define TIME_MAX_S (1LL << 40) /* some 35,000 years: nothing overflows */

/* A media type without its "application/", which may be left out (RFC 7515 section 4.1.9). */
static bool is_type(str typ, str wanted)
{
    str prefix = S("application/");
    if (typ.len > prefix.len && str_ieq(str_take(typ, prefix.len), prefix)) typ = str_skip(typ, prefix.len);
    return str_ieq(typ, wanted);
}

/* A whole number of seconds, written as one: 1e9 and 5.0 are not. */
static enum errc time_of(const struct json *claims, const char *name, bool is_required, int64_t *out, err *e)
{
    const struct json *v = json_get(claims, str_c(name));
    *out = JWT_NO_TIME;
    if (!v && !is_required) return ERR_NONE;
    if (!v || v->type != JSON_NUMBER || !str_to_i64(v->text, out) || *out < 0 || *out > TIME_MAX_S)
        return err_set(e, ERR_UNAUTHENTICATED, "the token's \"%s\" is %s", name,
                       v ? "no whole number of seconds" : "missing");
    return ERR_NONE;
}

static enum errc check_times(const struct jwt *t, const struct jwt_rules *rules, err *e)
{
    int64_t now = rules->now_us / USEC_PER_S,
            skew = rules->skew_s < JOSE_SKEW_MAX_S ? rules->skew_s : JOSE_SKEW_MAX_S;
    if (t->exp_s + skew <= now) return err_set(e, ERR_UNAUTHENTICATED, "the token has expired");
    if (t->nbf_s != JWT_NO_TIME && t->nbf_s - skew > now)
        return err_set(e, ERR_UNAUTHENTICATED, "the token is not valid yet");
    if (t->iat_s != JWT_NO_TIME && t->iat_s - skew > now)
        return err_set(e, ERR_UNAUTHENTICATED, "the token was made in the future");
    if (rules->age_max_s && (t->iat_s == JWT_NO_TIME || t->iat_s + rules->age_max_s + skew <= now))
        return err_set(e, ERR_UNAUTHENTICATED, "the token is too old");
    return ERR_NONE;
}

static enum errc check_audience(struct jwt *t, str audience, err *e)
{
    const struct json *v = json_get(t->claims, S("aud"));
    bool is_ours = false;
    if (v && v->type == JSON_STRING) {
        t->n_audiences = 1;
        is_ours = str_eq(v->text, audience);
    } else if (v && v->type == JSON_ARRAY) {
        t->n_audiences = v->n;
        for (const struct json *one = v->child; one; one = one->next) {
            if (one->type != JSON_STRING)
                return err_set(e, ERR_UNAUTHENTICATED, "the token's \"aud\" is no list of texts");
            is_ours = is_ours || str_eq(one->text, audience);
        }
    }
    return is_ours && audience.len ? ERR_NONE
                                   : err_set(e, ERR_UNAUTHENTICATED, "the token is for somebody else");
}

str jwt_text(const struct jwt *t, str name)
{
    const struct json *v = json_get(t->claims, name);
    return v && v->type == JSON_STRING ? v->text : (str){"", 0};
}

enum errc jwt_read(struct arena *a, const struct jws *t, const struct jwt_rules *rules, struct jwt *out,
                   err *e)
{
    struct json *claims;
    err ignored;
    *out = (struct jwt){.n_audiences = 0};
    bool is_kind = rules->typ.len ? is_type(t->typ, rules->typ) : !t->typ.len || is_type(t->typ, S("JWT"));
    if (!is_kind || t->cty.len) return err_set(e, ERR_UNAUTHENTICATED, "the token is of another kind");
    if (json_parse(a, t->payload, &claims, &ignored) != ERR_NONE || claims->type != JSON_OBJECT ||
        json_depth(claims) > CLAIMS_DEPTH)
        return err_set(e, ERR_UNAUTHENTICATED,
                       "the token's claims are no JSON object whose members stand once");
    out->claims = claims;
    if (!rules->issuer.len || !str_eq(jwt_text(out, S("iss")), rules->issuer))
        return err_set(e, ERR_UNAUTHENTICATED, "the token is from somebody else");
    enum errc rc = check_audience(out, rules->audience, e);
    if (rc == ERR_NONE) rc = time_of(claims, "exp", true, &out->exp_s, e);
    if (rc == ERR_NONE) rc = time_of(claims, "nbf", false, &out->nbf_s, e);
    if (rc == ERR_NONE) rc = time_of(claims, "iat", false, &out->iat_s, e);
    if (rc == ERR_NONE) rc = check_times(out, rules, e);
    out->sub = jwt_text(out, S("sub"));
    out->jti = jwt_text(out, S("jti"));
    return rc;
}
