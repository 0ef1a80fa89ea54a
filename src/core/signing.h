/* signing.h - keys with which the instance signs: access tokens, heads of the log.
 *
 * Private halves are sealed in the database (table signing_keys), so all nodes have the same. The first key of
 * a use is made when it is first needed, once, whatever number of nodes need it at that moment. A key signs for
 * signing.rotation_ms; then whoever signs next makes another. The private half of a retired key is erased at
 * once. Its public half counts on: for tokens until the last one under it has expired, for the log for ever,
 * since heads that were given away must be verified years later.
 * A key's id (kid) is its JWK thumbprint. Access tokens can be signed with P-256 (signing.access_algorithm:
 * ES256) for programs that verify them and know no Ed25519; the log knows Ed25519 alone.
 * Events of the instance: signing_key.made, signing_key.rotated.
 * Threads: any but loops. A private half is kept in memory, so that signing reads nothing from the database but
 * once a minute.
 * Source: RFC 8037, RFC 7638 (thumbprint), NIST SP 800-57 (cryptoperiods).
 */
#ifndef CORE_SIGNING_H
#define CORE_SIGNING_H

#include "base/crypto.h"
#include "core/config.h"
#include "core/events.h"
#include "core/secrets.h"
#include "store/store.h"

extern const struct option_table signing_options;

enum signing_use { SIGNING_ACCESS, SIGNING_LOG, SIGNING_USES };
enum signing_algorithm { SIGNING_ED25519, SIGNING_P256 };

#define SIGNING_KID_LEN 43       /* base64url of a SHA-256 */
#define SIGNING_SIGNATURE_LEN 64 /* of both algorithms */
#define SIGNING_PUBLIC_MAX 64    /* Ed25519: the 32 bytes of RFC 8032; P-256: x and y */

struct signing;
WARN_UNUSED enum errc signing_new(struct signing **out, struct store *store, const struct secrets *secrets,
                                  const struct config *config, err *e);
void signing_free(struct signing *s); /* wipes the keys; NULL is fine */
/* Takes what other nodes make and rotate at once instead of within a minute. Before events_start. */
void signing_watch(struct signing *s, struct events *log);

/* Signs with the key in force. Not in a unit: it may make a key. P-256 signs the SHA-256 of data and gives r and s. */
WARN_UNUSED enum errc signing_sign(struct signing *s, enum signing_use use, usec now, str data,
                                   char kid[SIGNING_KID_LEN + 1], uint8_t sig[SIGNING_SIGNATURE_LEN], err *e);
/* The kid and the algorithm that signing_sign would use now: for what stands in the text that is signed. */
WARN_UNUSED enum errc signing_current(struct signing *s, enum signing_use use, usec now,
                                      char kid[SIGNING_KID_LEN + 1], enum signing_algorithm *algorithm,
                                      err *e);

struct signing_public {
    char kid[SIGNING_KID_LEN + 1];
    enum signing_algorithm algorithm;
    uint8_t key[SIGNING_PUBLIC_MAX]; /* Ed25519: the first 32 bytes */
    usec created_us;
    usec retired_us; /* 0: in force */
    usec until_us;   /* what it signed counts until then; 0: for ever, or not known yet */
};
/* Those in force and the retired ones that still count, the oldest first; in the arena. A key is made when there is none. */
WARN_UNUSED enum errc signing_publics(struct signing *s, enum signing_use use, struct arena *a, usec now,
                                      struct signing_public **out, unsigned *n, err *e);
/* By its kid, from memory when it is known there. ERR_NOT_FOUND: there is none, or it does not count any more. */
WARN_UNUSED enum errc signing_find(struct signing *s, enum signing_use use, str kid, usec now,
                                   struct signing_public *out, err *e);

/* The key in force is retired and another takes its place. */
WARN_UNUSED enum errc signing_rotate(struct signing *s, enum signing_use use, usec now, err *e);

/* --- as part of a unit of work --- */

struct signing_fresh {
    uuid id;
    struct signing_public public_half;
    str sealed; /* the private half */
};
/* For prepare. */
WARN_UNUSED enum errc signing_prepare(struct signing *s, struct arena *a, enum signing_use use, usec now,
                                      struct signing_fresh *out, err *e);
/* For apply: retires the key in force; with counts_no_more what it signed is void from now on (it has been stolen).
 * ev (event_of) says who did it; its type, resource and metadata are set here. */
WARN_UNUSED enum errc tx_signing_rotate(struct tx *tx, struct arena *a, enum signing_use use,
                                        const struct signing_fresh *fresh, bool counts_no_more,
                                        const struct event *ev, err *e);
/* For after: what is in memory is read anew. */
void signing_changed(struct signing *s);
/* A chore: forgets the keys of tokens that have all expired. */
WARN_UNUSED enum errc signing_tidy(struct tx *tx, void *signing, err *e);

#endif
