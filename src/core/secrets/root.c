/* root.c - which root key the configuration means. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/secrets/root.h"

const char *root_kind_name(enum root_kind kind)
{
    static const char *const names[] = {[ROOT_FILE] = "file",
                                        [ROOT_ENVIRONMENT] = "environment",
                                        [ROOT_CREDENTIAL] = "credential",
                                        [ROOT_VAULT] = "vault",
                                        [ROOT_AWS_KMS] = "aws_kms"};
    return names[kind];
}

enum errc root_new(struct root_key **out, err *e)
{
    struct root_key *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return err_code(e, ERR_NO_MEMORY);
    arena_init(&r->texts, 64u << 10, 0);
    int number = pthread_mutex_init(&r->lock, NULL);
    if (number) {
        free(r);
        return err_errno(e, ERR_INTERNAL, number, "making a lock");
    }
    *out = r;
    return ERR_NONE;
}

void root_key_free(struct root_key *r)
{
    if (!r) return;
    outbound_free(r->outbound);
    str secrets[] = {r->token, r->secret_id, r->secret_key, r->session_token};
    for (size_t i = 0; i < LENGTH_OF(secrets); i++)
        if (secrets[i].len) explicit_bzero((char *)secrets[i].p, secrets[i].len);
    arena_fini(&r->texts);
    pthread_mutex_destroy(&r->lock);
    explicit_bzero(r, sizeof *r);
    free(r);
}

static enum errc opened(struct root_key **out, struct root_key *r, enum errc rc, err *e)
{
    if (rc == ERR_NONE) {
        if (e) e->code = ERR_NONE; /* that there was no key yet is no error any more */
        *out = r;
        return ERR_NONE;
    }
    root_key_free(r);
    return rc;
}

enum errc root_key_open(struct root_key **out, const struct config *config, const char *data_dir, err *e)
{
    struct root_key *r;
    enum errc rc = root_new(&r, e);
    *out = NULL;
    if (rc != ERR_NONE) return rc;
    str kind = config_text(config, "security.root_key");
    if (str_eq(kind, S("vault")))
        rc = root_vault_open(r, config, e);
    else if (str_eq(kind, S("aws_kms")))
        rc = root_kms_open(r, config, e);
    else
        rc = root_local_open(r, config, data_dir, e);
    if (rc == ERR_NOT_FOUND) {
        if (e) e->code = ERR_CONFIG;
        rc = ERR_CONFIG;
    }
    return opened(out, r, rc, e);
}

/* The i-th of those that could be there; *is_last behind them. ERR_NOT_FOUND: this one is not configured. */
static enum errc open_other(struct root_key *r, const struct config *config, const char *data_dir, unsigned i,
                            err *e)
{
    char path[ROOT_PATH_MAX];
    struct arena a;
    enum errc rc = ERR_NOT_FOUND;
    str kind = config_text(config, "security.root_key"),
        file = config_text(config, "security.master_key_file"),
        next = config_text(config, "security.next_master_key_file");
    bool is_local = !str_eq(kind, S("vault")) && !str_eq(kind, S("aws_kms"));
    arena_init(&a, 4 * ROOT_PATH_MAX, 0);
    const char *named = file.len ? config_path(config, &a, file) : NULL, *of_next = NULL;
    switch (i) {
    case 0: /* F.next */
        if (snprintf(path, sizeof path, named ? "%s.next" : "%s/master.key.next", named ? named : data_dir) <
            (int)sizeof path)
            rc = root_local_open_file(r, path, e);
        r->is_next = rc == ERR_NONE;
        break;
    case 1:
        of_next = next.len ? config_path(config, &a, next) : NULL;
        if (of_next) rc = root_local_open_file(r, of_next, e);
        break;
    case 2: /* the local one, when another is in force */
        if (!is_local && named) rc = root_local_open_file(r, named, e);
        if (!is_local && !named && snprintf(path, sizeof path, "%s/master.key", data_dir) < (int)sizeof path)
            rc = root_local_open_file(r, path, e);
        break;
    case 3:
        if (!str_eq(kind, S("vault"))) rc = root_vault_open(r, config, e);
        break;
    default:
        if (!str_eq(kind, S("aws_kms"))) rc = root_kms_open(r, config, e);
        break;
    }
    arena_fini(&a);
    return rc;
}

enum errc root_key_other(struct root_key **out, const struct config *config, const char *data_dir, unsigned i,
                         err *e)
{
    *out = NULL;
    for (unsigned at = 0; at < 5; at++) {
        struct root_key *r;
        err why = {0};
        enum errc rc = root_new(&r, e);
        if (rc != ERR_NONE) return rc;
        rc = open_other(r, config, data_dir, at, &why);
        if (rc == ERR_NONE && i-- == 0) return opened(out, r, rc, e);
        if (rc != ERR_NONE && rc != ERR_NOT_FOUND) log_error(LOG_WARN, "root_key_passed_over", &why);
        root_key_free(r);
    }
    return err_set(e, ERR_NOT_FOUND, "the configuration has no other master key");
}

enum root_kind root_key_kind(const struct root_key *r) { return r->kind; }

str root_key_id(const struct root_key *r) { return str_c(r->id); }

const uint8_t *root_key_bytes(const struct root_key *r)
{
    return r->kind <= ROOT_CREDENTIAL ? r->master : NULL;
}

enum errc root_key_wrap(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped, err *e)
{
    return r->wrap(r, a, bound, plain, wrapped, e);
}

enum errc root_key_unwrap(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain, err *e)
{
    return r->unwrap(r, a, bound, wrapped, plain, e);
}
