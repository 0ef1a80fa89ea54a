/* internal.h - what the files of core/webauthn share; nobody else includes it but their tests. */
#ifndef CORE_WEBAUTHN_INTERNAL_H
#define CORE_WEBAUTHN_INTERNAL_H

#include "core/webauthn.h"

/* --- authenticator data (section 6.1) --- */

enum authenticator_flags {
    FLAG_USER_PRESENT = 0x01,
    FLAG_USER_VERIFIED = 0x04,
    FLAG_BACKUP_ELIGIBLE = 0x08,
    FLAG_BACKED_UP = 0x10,
    FLAG_ATTESTED = 0x40,  /* a credential follows */
    FLAG_EXTENSIONS = 0x80 /* a map of extensions follows */
};
struct authenticator_data {
    str rp_id_hash;
    uint8_t flags;
    uint32_t sign_count;
    str aaguid, credential_id, public_key; /* with FLAG_ATTESTED */
};
/* Slices of the text; nothing may stand behind what the flags announce. ERR_INVALID. */
WARN_UNUSED enum errc authenticator_data_read(str text, struct authenticator_data *out, err *e);

/* --- client data (section 5.8.1) --- */

struct client_data {
    str type, challenge, origin; /* challenge: its bytes */
    bool is_cross_origin;        /* in a frame of another site */
};
WARN_UNUSED enum errc client_data_read(struct arena *a, str text, struct client_data *out, err *e);

#endif
