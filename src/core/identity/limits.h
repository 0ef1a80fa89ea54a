/* limits.h - how often somebody may try: counters of sign-ins by account and by address, in the database so
 * that they survive a restart.
 *
 * Account: after LIMIT_ACCOUNT_FREE failures in a row each further one doubles a delay, from 1 second to 15
 * minutes; never for good, and a day without a try forgets all. An account that does not exist counts like
 * one that does. A browser that has signed in to the account before (the known-device cookie) is exempt, so
 * that nobody can be locked out by others.
 * Address (IPv6: its /64): LIMIT_FAILURES failures in ten minutes, LIMIT_TRIES tries in an hour.
 * A try is counted as failed before the password is looked at, and taken back when it was right: tries side
 * by side cannot outrun the count.
 * Threads: any but loops.
 */
#ifndef CORE_IDENTITY_LIMITS_H
#define CORE_IDENTITY_LIMITS_H

#include "store/db.h"

#define LIMIT_ACCOUNT_FREE 5
#define LIMIT_ACCOUNT_DELAY_MAX_S 900
#define LIMIT_FAILURES 20
#define LIMIT_TRIES 100
#define LIMIT_KEY_FAILURES 100 /* API keys, in ten minutes */

struct limit_try {
    str account; /* the address of the account in its key form; empty: none is named (tokens) */
    str address; /* of the client */
    bool is_known_device;
    bool is_counted; /* limit_begin let it through */
};

/* "2001:db8:1:2::/64", "192.0.2.1": what counts as one address. In the arena. */
str limit_address(struct arena *a, str address);

/* In a unit of its own. ERR_RATE_LIMITED with the wait in *retry_after_s; nothing is counted then. */
WARN_UNUSED enum errc limit_begin(struct db *db, struct limit_try *t, usec now, unsigned *retry_after_s,
                                  err *e);
/* The try was right: inside the unit of what it allows. */
WARN_UNUSED enum errc limit_succeeded(struct tx *tx, const struct limit_try *t, err *e);
/* The try could not be looked at (no memory, too many at once): in a unit of its own, as if it had not
 * been. */
WARN_UNUSED enum errc limit_forgive(struct db *db, const struct limit_try *t, err *e);

/* Wrong API keys of an address: whether it has had its fill, and one more. */
WARN_UNUSED enum errc limit_key_check(struct tx *tx, struct arena *a, str address, usec now,
                                      unsigned *retry_after_s, err *e);
WARN_UNUSED enum errc limit_key_failed(struct db *db, str address, usec now, err *e);

/* Forgets counters of more than two days ago. */
WARN_UNUSED enum errc limit_purge(struct tx *tx, usec now, err *e);

#endif
