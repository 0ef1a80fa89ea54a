/* root_key.h - the master key: what everything that is sealed hangs on, wherever it is kept.
 *
 * It wraps and unwraps a few bytes (the instance's key, core/secrets.h) and is asked for nothing else. Kinds:
 *   file         security.master_key_file, else DIR/master.key (0600), made at the first start
 *   environment  security.master_key, meant for CATALYST_SECURITY__MASTER_KEY
 *   credential   systemd's catalyst_master_key
 *   vault        HashiCorp Vault's or OpenBao's transit engine, by HTTP: the key never leaves it
 *   aws_kms      AWS KMS, by HTTP: the same
 * The first three hold the same 32 bytes, as 64 hexadecimal digits: which of them is a matter of where one likes to keep
 * them. They need no network; the others are asked at the start and when keys change.
 * A root key has an id that tells nothing about it. What one has wrapped another does not open, nor does it open bound
 * to something else.
 * Next to a file named F there may be F.next, the key that replaces it: it is written first, then the database is wrapped
 * under it, then it takes F's place, and F becomes F.previous.
 * Threads: immutable after opening, but for the token of an AppRole, which has a lock; remote kinds not on loops.
 * Errors: ERR_CONFIG (no usable key where the configuration says), ERR_CORRUPT (DIR/master.key is damaged; something does not
 * unwrap), ERR_FORBIDDEN (others may read the file; the remote service refuses), ERR_UNREACHABLE and the like.
 * Source: NIST SP 800-38D; Vault HTTP API, "Transit secrets engine"; AWS KMS API Reference, Encrypt and Decrypt.
 */
#ifndef CORE_ROOT_KEY_H
#define CORE_ROOT_KEY_H

#include "core/config.h"

#define MASTER_KEY_LEN 32
#define ROOT_ID_MAX 300

enum root_kind { ROOT_FILE, ROOT_ENVIRONMENT, ROOT_CREDENTIAL, ROOT_VAULT, ROOT_AWS_KMS };
const char *root_kind_name(enum root_kind kind);

struct root_key;
/* The one that the configuration names. */
WARN_UNUSED enum errc root_key_open(struct root_key **out, const struct config *config, const char *data_dir,
                                    err *e);
/* Others that the configuration has beside it, which a database may be wrapped under while it goes from one to the other:
 * F.next, security.next_master_key_file, a vault or KMS key that is configured and not the one in force. i counts them from 0;
 * ERR_NOT_FOUND behind the last. One that cannot be opened is passed over, with a line in the log. */
WARN_UNUSED enum errc root_key_other(struct root_key **out, const struct config *config, const char *data_dir,
                                     unsigned i, err *e);
void root_key_free(struct root_key *r); /* wipes; NULL is fine */

enum root_kind root_key_kind(const struct root_key *r);
/* "local:1f2e…", "vault:transit/catalyst", "aws_kms:eu-central-1/alias/catalyst"; as long as the key. */
str root_key_id(const struct root_key *r);
/* The bytes of a local one; NULL for the others. */
const uint8_t *root_key_bytes(const struct root_key *r);

/* In the arena; bound: text that the result is bound to. */
WARN_UNUSED enum errc root_key_wrap(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped,
                                    err *e);
WARN_UNUSED enum errc root_key_unwrap(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain,
                                      err *e);

/* What the file of a local key holds by now, or F.next; ERR_NOT_FOUND for the other kinds. */
WARN_UNUSED enum errc root_key_again(struct root_key **out, const struct root_key *r, bool next, err *e);
/* Makes F.next with a fresh key and opens it; one that is there already is taken. ERR_CONFIG when the key in force is no file
 * of ours to write: the configuration then names the next one. */
WARN_UNUSED enum errc root_key_make_next(struct root_key **out, const struct root_key *now, err *e);
/* F becomes F.previous, and F.next F: when r is a file's next, else nothing. */
WARN_UNUSED enum errc root_key_take_place(struct root_key *r, err *e);

#endif
