/* secrets.h - secrets at rest: AES-256-GCM under keys derived from the master key, bound to the table, row
 * and column they lie in.
 *
 * The master key comes from security.master_key_file, CATALYST_SECURITY__MASTER_KEY (64 hex digits), a
 * systemd credential (catalyst_master_key), or DIR/master.key (0600, the same digits), made at the first
 * start. Both of the first two at once are ERR_CONFIG. A sealed value moved to another row, column or table
 * does not open.
 * Format: version 1 byte, key id 4 bytes, nonce 12, ciphertext, tag 16.
 * Threads: immutable after opening.
 * Source: NIST SP 800-38D; HKDF, RFC 5869.
 */
#ifndef CORE_SECRETS_H
#define CORE_SECRETS_H

#include "base/random.h"
#include "core/config.h"

#define MASTER_KEY_LEN 32
#define SECRET_OVERHEAD (1 + 4 + 28) /* bytes that a sealed value is longer than its plain text */

extern const struct option_table secrets_options;

struct secrets;
/* ERR_CONFIG: no usable key where the configuration says; ERR_CORRUPT: DIR/master.key is damaged;
 * ERR_FORBIDDEN: others may read it. */
WARN_UNUSED enum errc secrets_open(struct secrets **out, const struct config *config, const char *data_dir,
                                   err *e);
void secrets_free(struct secrets *s); /* wipes the keys */
/* In the arena. */
WARN_UNUSED enum errc secret_seal(const struct secrets *s, struct arena *a, const char *table,
                                  const uuid *row, const char *column, str plain, str *sealed, err *e);
/* ERR_CORRUPT when it was changed, moved, or sealed under another master key. */
WARN_UNUSED enum errc secret_open(const struct secrets *s, struct arena *a, const char *table,
                                  const uuid *row, const char *column, str sealed, str *plain, err *e);
/* A key of its own for another purpose ("csrf", "people"): 32 bytes. */
void secrets_derive(const struct secrets *s, const char *purpose, uint8_t out[32]);

#endif
