/* password.h - passwords of people: what is accepted, and Argon2id.
 *
 * A password is UTF-8, brought into Unicode's NFC once, so that "é" typed on any keyboard is the same
 * password; nothing is cut off and there are no rules of composition. 15 to 1,024 code points, 8 to 1,024 beside a
 * second factor; NUL and control characters are characters like others.
 * Refused is what is guessed first. There is no list to look up: a password is cut into the pieces that such
 * lists are made of (words that people use as passwords, also written l1k3 th1s, first names, runs on the
 * keyboard, dates, counting and repeated signs, and the words of the person's own name, address and
 * workspace; what is repeated counts once), and refused when PASSWORD_PIECES_MAX pieces leave at most
 * PASSWORD_UNCOVERED_MAX of its signs. From 15 signs on that covers the common passwords by their base forms,
 * some hundred thousand for pairs of words alone; a phrase of a few unrelated words passes.
 * Stored as PHC string ($argon2id$v=19$m=…,t=…,p=1$salt$hash), so that parameters can rise: password_verify
 * says when to hash again.
 * Threads: any but loops. A gate lets only so many hash at once (about 20 MB and 25 ms each) and only so many
 * wait; beyond that ERR_UNAVAILABLE.
 * Source: RFC 9106; NIST SP 800-63B-4 section 3.1.1.2; OWASP ASVS 5.0 V6.2; Unicode Standard Annex 15.
 */
#ifndef CORE_IDENTITY_PASSWORD_H
#define CORE_IDENTITY_PASSWORD_H

#include <pthread.h>

#include "base/arena.h"

#define PASSWORD_MIN 15            /* code points, as long as there is no second factor */
#define PASSWORD_MIN_WITH_FACTOR 8 /* beside one */
#define PASSWORD_MAX 1024
#define PASSWORD_PIECES_MAX 4
#define PASSWORD_UNCOVERED_MAX 3
#define PASSWORD_HASH_LEN 128 /* of a PHC string, with its NUL */

/* NFC in the arena; ERR_INVALID when it is not UTF-8. */
WARN_UNUSED enum errc password_normalize(struct arena *a, str given, str *out, err *e);

/* What is wrong with a new password: NULL, or "too_short", "too_long", "too_common" with a sentence in
 * *message. words: whatever else an attacker would try first (name, e-mail address, names of workspaces);
 * each is cut into its words. min: PASSWORD_MIN or PASSWORD_MIN_WITH_FACTOR. */
WARN_UNUSED const char *password_problem(str nfc, size_t min, const str *words, unsigned n_words,
                                         const char **message);
size_t password_length(str nfc); /* code points */

struct password_gate {
    pthread_mutex_t lock; /* guards the two counters */
    pthread_cond_t freed;
    unsigned running, waiting, running_max, waiting_max;
    size_t memory_bytes; /* of one hash */
    unsigned passes;
    char dummy[PASSWORD_HASH_LEN]; /* of a password that nobody knows */
};

/* running_max 0: one per core. */
WARN_UNUSED enum errc password_gate_init(struct password_gate *g, unsigned running_max, unsigned waiting_max,
                                         size_t memory_bytes, unsigned passes, err *e);
void password_gate_fini(struct password_gate *g);

WARN_UNUSED enum errc password_hash(struct password_gate *g, str nfc, char out[PASSWORD_HASH_LEN], err *e);
/* An empty phc (no such user, no password) takes as long as a wrong password and is never right.
 * *is_outdated (may be NULL): right, but hashed with less than today's parameters. */
WARN_UNUSED enum errc password_verify(struct password_gate *g, str phc, str nfc, bool *is_right,
                                      bool *is_outdated, err *e);

#endif
