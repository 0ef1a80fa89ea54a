/* root.h - what the kinds of root keys share. Private to core/secrets. */
#ifndef CORE_SECRETS_ROOT_H
#define CORE_SECRETS_ROOT_H

#include <pthread.h>

#include "base/crypto.h"
#include "core/root_key.h"
#include "net/fetch.h"

#define ROOT_PATH_MAX 4096

struct root_key {
    enum root_kind kind;
    char id[ROOT_ID_MAX];
    WARN_UNUSED enum errc (*wrap)(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped,
                                  err *e);
    WARN_UNUSED enum errc (*unwrap)(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain,
                                    err *e);
    /* local */
    uint8_t master[MASTER_KEY_LEN], wrapping[AEAD_KEY_LEN];
    char path[ROOT_PATH_MAX]; /* of the file */
    bool is_next;             /* path is F.next */
    /* remote */
    struct outbound *outbound;
    struct arena texts; /* of the configuration, copied */
    str url, mount, key, token, token_file, role_id, secret_id, secret_id_file, space, region, access_key,
        secret_key, session_token;
    pthread_mutex_t lock; /* guards login */
    char login[512];      /* Vault: the token that an AppRole got; empty: none yet */
};

/* A zeroed one; on an error of what opens it, root_key_free. */
WARN_UNUSED enum errc root_new(struct root_key **out, err *e);
/* Local kinds. ERR_NOT_FOUND: there is no such file. */
WARN_UNUSED enum errc root_local_open(struct root_key *r, const struct config *config, const char *data_dir,
                                      err *e);
WARN_UNUSED enum errc root_local_open_file(struct root_key *r, const char *path, err *e);
/* Remote ones. ERR_NOT_FOUND: not configured. */
WARN_UNUSED enum errc root_vault_open(struct root_key *r, const struct config *config, err *e);
WARN_UNUSED enum errc root_kms_open(struct root_key *r, const struct config *config, err *e);
/* The way out, and a place for texts. */
WARN_UNUSED enum errc root_remote_init(struct root_key *r, const struct config *config, err *e);
/* A copy of an option that lives as long as the key. */
WARN_UNUSED enum errc root_text(struct root_key *r, const struct config *config, const char *key, str *out,
                                err *e);
/* POST of JSON; the answer's tree, whatever its status. */
struct json;
WARN_UNUSED enum errc root_post(struct root_key *r, struct arena *a, const struct fetch_request *request,
                                int *status, const struct json **answer, err *e);
/* Standard base64 with padding, in the arena. */
WARN_UNUSED enum errc base64_of(struct arena *a, str plain, str *text, err *e);
WARN_UNUSED enum errc base64_read(struct arena *a, str text, str *plain, err *e);

#endif
