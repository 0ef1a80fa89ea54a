/* keyring.h - the keys of a database as they are in memory. Private to core/secrets. */
#ifndef CORE_SECRETS_KEYRING_H
#define CORE_SECRETS_KEYRING_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/crypto.h"
#include "base/map.h"
#include "base/waker.h"
#include "core/secrets.h"

#define FORMAT_MASTER 1
#define FORMAT_DATA 2
#define KEY_ID_LEN 4
#define HEAD_LEN (1 + KEY_ID_LEN)
#define PURPOSE_SEAL "seal"
#define PURPOSE_DERIVE "derive"
#define PURPOSE_MASTER "master"
#define ROOTS_MAX 6
#define UPGRADE_US USEC_PER_DAY /* so long an earlier release may be put back */

struct data_key {
    char purpose[8];
    uuid workspace_id;
    uint32_t version;
    uint8_t name[8 + 16 + 4]; /* the three, for the map */
    uint8_t key[AEAD_KEY_LEN];
    usec created_us, retired_us; /* retired 0: in use */
    uint64_t taken;              /* with which reading it was last there */
};

/* The newest of a workspace. */
struct key_scope {
    uuid workspace_id;
    struct data_key *newest;
};

struct keyring {
    pthread_rwlock_t lock;             /* guards all below but what does not change after opening */
    pthread_mutex_t loading;           /* one at a time asks the root and reads the rows */
    struct store *store;               /* NULL: not attached */
    struct root_key *root;             /* in force; replaced under `loading`, never freed before the end */
    struct root_key *roots[ROOTS_MAX]; /* all that were ever opened */
    unsigned n_roots;
    int64_t generation; /* of the instance's key; 0: there is none */
    uint8_t instance[AEAD_KEY_LEN];
    struct map keys, scopes;
    uint64_t taken;             /* counts readings */
    uint8_t base[AEAD_KEY_LEN]; /* what other keys are derived from */
    bool has_base;
    /* a local master key's own, for values of format 1 */
    bool has_master;
    uint8_t master_sealing[AEAD_KEY_LEN];
    uint32_t master_id;
    usec looked_us;     /* monotonic: when it was last tried to make the first keys */
    struct waker waker; /* of the thread that follows other nodes */
    pthread_t thread;
    bool has_thread;
    atomic_bool is_behind; /* keys of the database could not be taken yet */
};

struct secrets {
    struct keyring *ring;
};

/* A row of data_keys. */
struct key_row {
    uuid workspace_id;
    str purpose;
    int64_t version;
    str wrapped;
    usec created_us, retired_us;
};

/* What the database holds, in the arena. */
struct key_rows {
    struct arena *a;
    int64_t generation; /* 0: no instance key */
    str root, kind, wrapped;
    struct key_row *keys;
    unsigned n;
    str *fingerprints; /* of master_keys */
    unsigned n_fingerprints;
    usec upgraded_us; /* when the migration that made the tables was applied */
};
WARN_UNUSED enum errc tx_key_rows(struct tx *tx, void *key_rows, err *e);
/* Takes them into memory. may_ask: the root key may be asked for the instance's key, when it is another than the one at hand. */
WARN_UNUSED enum errc keyring_take(struct keyring *r, const struct key_rows *rows, bool may_ask, err *e);
/* Reads and takes. */
WARN_UNUSED enum errc keyring_load(struct keyring *r, err *e);

/* Copies a key out; false when it is not at hand. version 0: the newest, which *version then is. */
WARN_UNUSED bool keyring_find(struct keyring *r, const char *purpose, const uuid *workspace,
                              uint32_t *version, uint8_t key[AEAD_KEY_LEN]);
WARN_UNUSED enum errc data_key_wrap(const uint8_t instance[AEAD_KEY_LEN], struct arena *a,
                                    const uuid *workspace, str purpose, int64_t version,
                                    const uint8_t key[AEAD_KEY_LEN], str *wrapped, err *e);
WARN_UNUSED enum errc data_key_unwrap(const uint8_t instance[AEAD_KEY_LEN], const struct key_row *row,
                                      uint8_t key[AEAD_KEY_LEN], err *e);
/* What the instance's key is bound to. */
str instance_bound(int64_t generation, char out[64]);
/* Makes the instance's first keys: ERR_NONE also when another node was faster. */
WARN_UNUSED enum errc keyring_found(struct keyring *r, bool is_fresh, usec now_us, err *e);
/* A workspace's first key. */
WARN_UNUSED enum errc keyring_make(struct keyring *r, const uuid *workspace, usec now_us, err *e);
/* The root with this id among all that are known, files read anew; NULL: none. Under `loading`. */
struct root_key *keyring_root(struct keyring *r, str id);
void root_fingerprint(const struct root_key *root, uint8_t out[SHA256_LEN]);
WARN_UNUSED enum errc add_root(struct keyring *r, struct root_key *root, err *e);

/* Rows, for the units that write them. */
WARN_UNUSED enum errc tx_put_instance_key(struct tx *tx, int64_t generation, const struct root_key *root,
                                          str wrapped, usec now_us, err *e);
WARN_UNUSED enum errc tx_put_data_key(struct tx *tx, const struct key_row *row, err *e);
/* The fingerprints of master keys become this one alone. */
WARN_UNUSED enum errc tx_put_fingerprint(struct tx *tx, const struct root_key *root, bool replaces,
                                         usec now_us, err *e);
static const uuid instance_scope = {{0}};

#endif
