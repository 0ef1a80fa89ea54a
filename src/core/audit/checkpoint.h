/* checkpoint.h - signed heads of the log, as texts.
 *
 * A head is what a log says of itself: whose it is (origin), how many leaves it has and their root. It is signed as a note, so that everybody
 * who was given one can hold the log to it for ever:
 *
 *   catalyst/0197c2…            origin, also the name of the key
 *   1042                        leaves
 *   CsUYapGGPo4dkMgIAUqom/X…    root, base64
 *
 *   — catalyst/0197c2… rWPE4z8…   base64 of four bytes of the key's hash and the 64 of the Ed25519 signature over the three lines
 *
 * Other parties may add signature lines of their own; only the one under a key that is asked for is looked at. A break is a note of the same
 * kind with six lines: what an administrator has accepted to be lost.
 * Threads: pure. Errors: ERR_CORRUPT: it is no note, or its signature does not hold.
 * Source: C2SP signed-note and tlog-checkpoint, version 1; vkey of golang.org/x/mod/sumdb/note.
 */
#ifndef CORE_AUDIT_CHECKPOINT_H
#define CORE_AUDIT_CHECKPOINT_H

#include "base/arena.h"
#include "base/clock.h"
#include "core/audit/tree.h"

#define HEAD_ORIGIN_MAX 200
#define NOTE_MAX 4096

struct head {
    str origin;
    int64_t size;
    struct tree_hash root;
};

/* A key that notes are verified with. */
struct note_key {
    str name;
    uint8_t key[ED25519_PUBLIC_LEN];
};

/* The three lines that are signed. */
void head_text(const struct head *h, struct buf *out);
/* origin is a slice of the text. Lines behind the third are allowed and not read. */
WARN_UNUSED enum errc head_parse(str text, struct head *out, err *e);

/* Four bytes that a key is named by in signature lines: of SHA-256 of its name, its kind and itself. */
uint32_t note_key_id(const struct note_key *k);
/* text, which ends in a line feed, and one signature line. */
void note_put(str text, const struct note_key *k, const uint8_t signature[ED25519_SIGNATURE_LEN], struct buf *out);
/* The text of a note whose signature under this key holds: a slice of the note. */
WARN_UNUSED enum errc note_open(str note, const struct note_key *k, str *text, err *e);
/* The text of a note, whoever signed it. */
WARN_UNUSED enum errc note_text(str note, str *text, err *e);
/* Any of n keys; *which (may be NULL) is its index. */
WARN_UNUSED enum errc note_open_any(str note, const struct note_key *keys, unsigned n, str *text, unsigned *which, err *e);
/* Takes the first note of several, which stand one behind the other with an empty line between them. False at the end. */
WARN_UNUSED bool notes_next(str *rest, str *note);

/* "name+1234abcd+BASE64": how keys are handed out. */
void vkey_put(const struct note_key *k, struct buf *out);
/* name is a slice of the text. */
WARN_UNUSED bool vkey_parse(str text, struct note_key *out);

struct break_note {
    str origin;
    int64_t lost_size, size;
    struct tree_hash lost_root, root;
    usec at_us;
};
void break_text(const struct break_note *b, struct buf *out);
WARN_UNUSED enum errc break_parse(str text, struct break_note *out, err *e);

#endif
