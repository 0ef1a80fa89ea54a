/* The two ceremonies: Web Authentication Level 3, sections 7.1 and 7.2. */
#include "core/webauthn.h"

#include "base/crypto.h"
#include "core/webauthn/cbor.h"
#include "core/webauthn/cose.h"
#include "core/webauthn/internal.h"

enum errc webauthn_challenge(struct arena *a, str client_data, str *challenge, err *e)
{
    struct client_data c;
    enum errc rc = client_data_read(a, client_data, &c, e);
    *challenge = c.challenge;
    return rc;
}

static enum errc check_client(struct arena *a, const struct webauthn_expected *x, str client_data, str type,
                              err *e)
{
    struct client_data c;
    enum errc rc = client_data_read(a, client_data, &c, e);
    if (rc != ERR_NONE) return rc;
    if (!str_eq(c.type, type))
        return err_set(e, ERR_INVALID, "client data is of another ceremony than %.*s", STR(type));
    if (x->challenge.len != WEBAUTHN_CHALLENGE_LEN || !secret_eq(c.challenge, x->challenge))
        return err_set(e, ERR_INVALID, "client data has another challenge than the one that was given out");
    bool is_ours = false;
    for (unsigned i = 0; i < x->n_origins; i++)
        is_ours = is_ours || str_eq(c.origin, x->origins[i]);
    if (!is_ours) return err_set(e, ERR_INVALID, "client data is of another origin than this one");
    if (c.is_cross_origin)
        return err_set(e, ERR_INVALID, "passkeys do not work inside a frame of another site");
    return ERR_NONE;
}

static enum errc check_authenticator(const struct webauthn_expected *x, const struct authenticator_data *d,
                                     err *e)
{
    uint8_t hash[SHA256_LEN];
    sha256(x->rp_id, hash);
    if (!str_eq(d->rp_id_hash, str_of((const char *)hash, sizeof hash)))
        return err_set(e, ERR_INVALID, "the authenticator answered for another site");
    if (!(d->flags & FLAG_USER_PRESENT))
        return err_set(e, ERR_INVALID, "the authenticator does not say that somebody was present");
    if (x->needs_verification && !(d->flags & FLAG_USER_VERIFIED))
        return err_set(e, ERR_INVALID,
                       "the authenticator does not say that it knows who was present (PIN, finger, face)");
    return ERR_NONE;
}

/* What is signed: the authenticator data and the hash of the client data. In the arena; no pointer: exhausted. */
static str signed_data(struct arena *a, str authenticator_data, str client_data)
{
    uint8_t hash[SHA256_LEN];
    char *p = arena_bytes(a, authenticator_data.len + sizeof hash);
    if (!p) return (str){NULL, 0};
    sha256(client_data, hash);
    memcpy(p, authenticator_data.p, authenticator_data.len);
    memcpy(p + authenticator_data.len, hash, sizeof hash);
    return str_of(p, authenticator_data.len + sizeof hash);
}

/* --- registration --- */

/* Section 8.2, self attestation: signed with the key itself. */
static enum errc check_packed(struct arena *a, const struct cbor *statement, const struct cose_key *key,
                              str authenticator, str client_data, err *e)
{
    struct cbor alg, sig, x5c;
    int64_t algorithm;
    if (cbor_named(statement, S("x5c"), &x5c))
        return err_set(e, ERR_INVALID, "attestation by certificates was not asked for");
    if (statement->n != 2 || !cbor_named(statement, S("alg"), &alg) || !cbor_i64(&alg, &algorithm) ||
        !cbor_named(statement, S("sig"), &sig) || sig.type != CBOR_BYTES)
        return err_set(e, ERR_INVALID, "a packed attestation has an algorithm and a signature");
    if (algorithm != (int64_t)key->algorithm)
        return err_set(e, ERR_INVALID, "the attestation is of another algorithm than the key");
    str data = signed_data(a, authenticator, client_data);
    if (!data.p) return err_code(e, ERR_TOO_LARGE);
    return cose_verify(key, data, sig.bytes)
               ? ERR_NONE
               : err_set(e, ERR_INVALID, "the signature of the attestation is wrong");
}

static enum errc check_attestation(struct arena *a, const struct cbor *object, const struct cose_key *key,
                                   str authenticator, str client_data, err *e)
{
    struct cbor format, statement;
    if (!cbor_named(object, S("fmt"), &format) || format.type != CBOR_TEXT ||
        !cbor_named(object, S("attStmt"), &statement) || statement.type != CBOR_MAP)
        return err_set(e, ERR_INVALID, "an attestation object has a format and a statement");
    if (str_eq(format.bytes, S("packed")))
        return check_packed(a, &statement, key, authenticator, client_data, e);
    if (!str_eq(format.bytes, S("none")))
        return err_set(e, ERR_INVALID, "attestation of this format was not asked for");
    return statement.n == 0 ? ERR_NONE
                            : err_set(e, ERR_INVALID, "no attestation has a statement that is not empty");
}

enum errc webauthn_register(struct arena *a, const struct webauthn_expected *x, str client_data,
                            str attestation_object, struct webauthn_registered *out, err *e)
{
    struct cbor object, authenticator;
    struct authenticator_data d;
    struct cose_key key;
    enum errc rc = check_client(a, x, client_data, S("webauthn.create"), e);
    if (rc == ERR_NONE) rc = cbor_parse(attestation_object, &object, e);
    if (rc != ERR_NONE) return rc;
    if (object.type != CBOR_MAP || object.n != 3 || !cbor_named(&object, S("authData"), &authenticator) ||
        authenticator.type != CBOR_BYTES)
        return err_set(e, ERR_INVALID, "an attestation object is a map of three with authenticator data");
    if ((rc = authenticator_data_read(authenticator.bytes, &d, e)) != ERR_NONE ||
        (rc = check_authenticator(x, &d, e)) != ERR_NONE)
        return rc;
    if (!(d.flags & FLAG_ATTESTED))
        return err_set(e, ERR_INVALID, "the authenticator data has no credential");
    if ((rc = cose_key_read(d.public_key, &key, e)) != ERR_NONE) return rc;
    bool is_asked_for = false;
    for (unsigned i = 0; i < x->n_algorithms; i++)
        is_asked_for = is_asked_for || x->algorithms[i] == key.algorithm;
    if (!is_asked_for) return err_set(e, ERR_INVALID, "the key is of an algorithm that was not asked for");
    if ((rc = check_attestation(a, &object, &key, authenticator.bytes, client_data, e)) != ERR_NONE)
        return rc;
    *out = (struct webauthn_registered){
        .credential_id = d.credential_id,
        .public_key = d.public_key,
        .aaguid = d.aaguid,
        .algorithm = key.algorithm,
        .sign_count = d.sign_count,
        .is_verified = d.flags & FLAG_USER_VERIFIED,
        .is_backup_eligible = d.flags & FLAG_BACKUP_ELIGIBLE,
        .is_backed_up = d.flags & FLAG_BACKED_UP,
    };
    return ERR_NONE;
}

/* --- assertion --- */

enum errc webauthn_assert(struct arena *a, const struct webauthn_expected *x,
                          const struct webauthn_credential *credential, bool needs_user_handle,
                          const struct webauthn_assertion *as, struct webauthn_asserted *out, err *e)
{
    struct authenticator_data d;
    struct cose_key key;
    if (!str_eq(as->credential_id, credential->id))
        return err_set(e, ERR_INVALID, "the assertion is of another credential");
    if (!as->user_handle.len && needs_user_handle)
        return err_set(e, ERR_INVALID, "the authenticator does not say whose the credential is");
    if (as->user_handle.len && !str_eq(as->user_handle, credential->user_handle))
        return err_set(e, ERR_INVALID, "the credential belongs to somebody else");
    enum errc rc = check_client(a, x, as->client_data, S("webauthn.get"), e);
    if (rc == ERR_NONE) rc = authenticator_data_read(as->authenticator_data, &d, e);
    if (rc == ERR_NONE) rc = check_authenticator(x, &d, e);
    if (rc != ERR_NONE) return rc;
    if (d.flags & FLAG_ATTESTED)
        return err_set(e, ERR_INVALID, "an assertion has no credential in its authenticator data");
    if (!(d.flags & FLAG_BACKUP_ELIGIBLE) == credential->is_backup_eligible)
        return err_set(e, ERR_INVALID,
                       "whether the key can be backed up is not what it was when it was registered");
    if ((rc = cose_key_read(credential->public_key, &key, e)) != ERR_NONE) return rc;
    str data = signed_data(a, as->authenticator_data, as->client_data);
    if (!data.p) return err_code(e, ERR_TOO_LARGE);
    if (!cose_verify(&key, data, as->signature)) return err_set(e, ERR_INVALID, "the signature is wrong");
    *out = (struct webauthn_asserted){
        .sign_count = d.sign_count,
        .is_verified = d.flags & FLAG_USER_VERIFIED,
        .is_backed_up = d.flags & FLAG_BACKED_UP,
        .is_counter_behind =
            (d.sign_count || credential->sign_count) && d.sign_count <= credential->sign_count,
    };
    return ERR_NONE;
}
