/* keytext.h - the text form of API keys: PREFIX_<8 base62 id>_<32 base62 secret>_<6 base62 CRC-32>.
 *
 * Greppable by secret scanners; the checksum (over everything before its underscore) lets typos be told from wrong keys.
 * Prefixes: "cvk" virtual keys (gateway only), "cat" management keys. Stored only as SHA-256 of the whole text; the key's id in records is
 * the first 16 bytes of that hash. 190 bits of entropy, so no slow hash is needed.
 * Threads: any.
 */
#ifndef BASE_KEYTEXT_H
#define BASE_KEYTEXT_H

#include "base/str.h"

#define KEYTEXT_LEN (3 + 1 + 8 + 1 + 32 + 1 + 6)

enum keytext_kind { KEYTEXT_OTHER, KEYTEXT_VIRTUAL, KEYTEXT_MANAGEMENT };

/* A fresh key; prefix is "cvk" or "cat". Writes KEYTEXT_LEN bytes and a NUL. */
str keytext_make(const char *prefix, char out[KEYTEXT_LEN + 1]);
/* What the text looks like by its prefix; *is_sound says whether length, alphabet and checksum hold. */
enum keytext_kind keytext_kind(str s, bool *is_sound);

#endif
