/* limits.h - how often somebody may try: counters by account, by address, by workspace and of all, in the database so that they hold
 * over nodes and survive a restart.
 *
 * Every kind of try has a line in the table of limits.c. In common:
 * Account: after LIMIT_ACCOUNT_FREE failures in a row each further one doubles a delay, from 1 second to 15 minutes; a day without a try
 * forgets it. An account that does not exist counts like one that does. A browser that has signed in to the account before (the
 * known-device cookie) is exempt, so that nobody can be locked out by others.
 * 100 failures in a row, however long they took (LIMIT_IN_A_ROW), and no try of an unknown device is looked at any more: it is wrong
 * whatever it is (is_locked) until the password is reset by mail or a known device succeeds. Known devices have a count of their own,
 * after which they are as good as unknown ones.
 * Address (IPv6: its /64): LIMIT_FAILURES failures in ten minutes, LIMIT_TRIES tries in an hour.
 * Ceilings: LIMIT_WORKSPACE failures in ten minutes on accounts of a workspace, and tries of unknown devices on them are wrong whatever
 * they are; LIMIT_INSTANCE of all, and tries of unknown devices are refused. Reaching one is an event (limit.ceiling_reached), of which
 * administrators are told.
 * A try is counted as failed before it is looked at, and taken back when it was right: tries side by side cannot outrun the count.
 * Threads: any but loops.
 * Source: OWASP ASVS 5.0 V6.1.1, V6.3.1; NIST SP 800-63B-4 section 3.2.2 (100 failures).
 */
#ifndef CORE_IDENTITY_LIMITS_H
#define CORE_IDENTITY_LIMITS_H

#include "store/db.h"

#define LIMIT_ACCOUNT_FREE 5
#define LIMIT_ACCOUNT_DELAY_MAX_S 900
#define LIMIT_IN_A_ROW 100
#define LIMIT_FAILURES 20
#define LIMIT_TRIES 100
#define LIMIT_KEY_FAILURES 100 /* API keys, in ten minutes */
#define LIMIT_WORKSPACE 200    /* in ten minutes */
#define LIMIT_INSTANCE 1000

enum limit_kind {
    LIMIT_PASSWORD,   /* account: the address in its key form */
    LIMIT_FACTOR,     /* codes of a second factor; account: the user's id */
    LIMIT_RECOVERY,   /* recovery codes; likewise */
    LIMIT_PASSKEY,    /* WebAuthn's answers; account: the user's id, or none when the passkey says who it is */
    LIMIT_REFRESH,    /* refresh tokens; by address alone */
    LIMIT_DEVICE,     /* codes of a device that wants to sign in; account: the user's id, or none */
    LIMIT_INVITATION, /* tokens of invitations and other links; by address alone */
    LIMIT_RESET,      /* mails that somebody asks for; account: where they go to; every try counts, right or not */
    LIMIT_KINDS
};

struct limit_try {
    enum limit_kind kind;
    str account;  /* whose, see the kinds; empty: nobody is named */
    uuid user_id; /* who that is, when there is such a person */
    str address;  /* of the client */
    bool is_known_device;
    bool is_counted; /* limit_begin let it through */
    bool is_locked;  /* limit_begin: whatever it is, it is wrong */
};

/* "2001:db8:1:2::/64", "192.0.2.1": what counts as one address. In the arena. */
str limit_address(struct arena *a, str address);

/* In a unit of its own. ERR_RATE_LIMITED with the wait in *retry_after_s; nothing is counted then. */
WARN_UNUSED enum errc limit_begin(struct db *db, struct limit_try *t, usec now, unsigned *retry_after_s,
                                  err *e);
/* The try was right: inside the unit of what it allows. */
WARN_UNUSED enum errc limit_succeeded(struct tx *tx, const struct limit_try *t, err *e);
/* It was wrong: counts for the ceilings of the person's workspaces and of all, in a unit of its own. */
WARN_UNUSED enum errc limit_failed(struct db *db, const struct limit_try *t, usec now, err *e);
/* The try could not be looked at (no memory, too many at once): in a unit of its own, as if it had not
 * been. */
WARN_UNUSED enum errc limit_forgive(struct db *db, const struct limit_try *t, err *e);
/* A person has proved who they are by mail: what they failed at is forgotten. account: their address in its key form. */
WARN_UNUSED enum errc limit_reset(struct tx *tx, const uuid *user, str account, err *e);

/* Wrong API keys of an address: whether it has had its fill, and one more. */
WARN_UNUSED enum errc limit_key_check(struct tx *tx, struct arena *a, str address, usec now,
                                      unsigned *retry_after_s, err *e);
WARN_UNUSED enum errc limit_key_failed(struct db *db, str address, usec now, err *e);

/* Forgets counters of more than two days ago, and what persons failed at in a row after 400. */
WARN_UNUSED enum errc limit_purge(struct tx *tx, usec now, err *e);

#endif
