/* webauthn.h - passkeys: whether a registration or an assertion of a browser is what was asked for.
 *
 * Everything that comes from outside is read strictly: CBOR in CTAP2's canonical form with nothing behind it, COSE keys
 * with exactly their members (ES256 on P-256 with the point on the curve, RS256 of 2,048 to 4,096 bits, EdDSA on
 * Ed25519), client data that is JSON without a member twice. Attestation is "none" or of the key itself ("packed"
 * without certificates); nobody's make of authenticator is asked for.
 * Checked at both ceremonies: type, challenge, an origin of the list byte for byte and not in another site's frame, the
 * hash of the relying party's id, user presence, user verification where it is required, that what is backed up may be.
 * At registration also that the algorithm is one of those asked for and the credential's id has 16 to 1,023 bytes; at
 * assertion the credential's id, its owner (user handle), the signature, that backup eligibility has not changed, and
 * the counter.
 * Slices of results point into the input.
 * Errors: ERR_INVALID with a sentence about what is wrong, which tells nothing about an account; ERR_TOO_LARGE (arena).
 * Threads: pure functions.
 * Source: Web Authentication Level 3, sections 6.1, 6.5, 7.1, 7.2 and 8.2; RFC 8949, RFC 9052, RFC 9053; CTAP 2.1
 * section 8.
 */
#ifndef CORE_WEBAUTHN_H
#define CORE_WEBAUTHN_H

#include "base/arena.h"

#define WEBAUTHN_CHALLENGE_LEN 32
#define WEBAUTHN_CREDENTIAL_ID_MIN 16
#define WEBAUTHN_CREDENTIAL_ID_MAX 1023
#define WEBAUTHN_AAGUID_LEN 16

enum cose_algorithm { COSE_ES256 = -7, COSE_EDDSA = -8, COSE_RS256 = -257 };

/* What this server has asked for. */
struct webauthn_expected {
    str challenge;      /* its bytes */
    str rp_id;          /* "catalyst.example.com" */
    const str *origins; /* "https://catalyst.example.com" */
    unsigned n_origins;
    bool needs_verification;               /* of the user, by the authenticator */
    const enum cose_algorithm *algorithms; /* registration */
    unsigned n_algorithms;
};

/* The challenge in client data, to look up what was asked; everything else of it is checked later. In the arena. */
WARN_UNUSED enum errc webauthn_challenge(struct arena *a, str client_data, str *challenge, err *e);

struct webauthn_registered {
    str credential_id;
    str public_key; /* COSE_Key */
    str aaguid;
    enum cose_algorithm algorithm;
    uint32_t sign_count;
    bool is_verified; /* the user, by the authenticator */
    bool is_backup_eligible, is_backed_up;
};
WARN_UNUSED enum errc webauthn_register(struct arena *a, const struct webauthn_expected *expected,
                                        str client_data, str attestation_object,
                                        struct webauthn_registered *out, err *e);

struct webauthn_credential { /* as it was registered */
    str id, public_key;
    str user_handle;
    uint32_t sign_count;
    bool is_backup_eligible;
};
struct webauthn_assertion {
    str credential_id, client_data, authenticator_data, signature;
    str user_handle; /* empty: not sent */
};
struct webauthn_asserted {
    uint32_t sign_count;
    bool is_verified, is_backed_up;
    bool
        is_counter_behind; /* not above the stored one, though one of them counts: there may be a copy of the key */
};
/* needs_user_handle: nobody was named before, so the authenticator has to. */
WARN_UNUSED enum errc webauthn_assert(struct arena *a, const struct webauthn_expected *expected,
                                      const struct webauthn_credential *credential, bool needs_user_handle,
                                      const struct webauthn_assertion *assertion,
                                      struct webauthn_asserted *out, err *e);

#endif
