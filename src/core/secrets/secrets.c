#include "core/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"

#define KEY_TEXT_MAX 4096 /* of a key's file; more is not a key */
#define PATH_LEN 4096
#define FORMAT_VERSION 1
#define KEY_ID_LEN 4
#define HEAD_LEN (1 + KEY_ID_LEN)
#define BOUND_MAX 256

_Static_assert(SECRET_OVERHEAD == HEAD_LEN + AEAD_OVERHEAD,
               "a sealed value is its head, a nonce, the text and a tag");

struct secrets {
    uint8_t master[MASTER_KEY_LEN];
    uint8_t sealing[AEAD_KEY_LEN];
    uint8_t key_id[KEY_ID_LEN];
};

/* --- the master key --- */

static enum errc parse_key(str text, str where, uint8_t out[MASTER_KEY_LEN], err *e)
{
    if (!hex_decode(str_trim(text), out, MASTER_KEY_LEN))
        return err_set(e, ERR_CONFIG,
                       "%.*s must hold the master key as %d hexadecimal digits (openssl rand -hex 32)",
                       STR(str_take(where, 100)), 2 * MASTER_KEY_LEN);
    return ERR_NONE;
}

/* ERR_NOT_FOUND when there is no such file. *mode are its permission bits. */
static enum errc read_key(const char *path, uint8_t out[MASTER_KEY_LEN], mode_t *mode, err *e)
{
    char text[KEY_TEXT_MAX];
    struct stat st;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC), number = errno;
    if (fd < 0)
        return err_errno(e, number == ENOENT ? ERR_NOT_FOUND : ERR_CONFIG, number,
                         "reading the master key %.150s", path);
    if (fstat(fd, &st) == 0) got = read(fd, text, sizeof text);
    number = errno;
    close(fd);
    if (got < 0) return err_errno(e, ERR_CONFIG, number, "reading the master key %.150s", path);
    *mode = st.st_mode & 0777;
    enum errc rc = parse_key(str_of(text, (size_t)got), str_c(path), out, e);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* Another code for the same message. */
static enum errc recode(err *e, enum errc code)
{
    if (e) e->code = code;
    return code;
}

static enum errc sync_dir(const char *dir, err *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "opening %.150s", dir);
    int rc = fsync(fd), number = errno;
    close(fd);
    return rc == 0 ? ERR_NONE : err_errno(e, ERR_IO, number, "syncing %.150s", dir);
}

/* Writes a fresh key under a name of its own and links it to its place: it is there whole, or not at all,
 * and never replaces one that another process has just made (ERR_CONFLICT). */
static enum errc make_key(const char *dir, const char *path, err *e)
{
    char temporary[PATH_LEN], text[2 * MASTER_KEY_LEN + 2];
    uint8_t key[MASTER_KEY_LEN], nonce[8];
    char nonce_text[2 * sizeof nonce + 1];
    enum errc rc = ERR_NONE;
    random_bytes(key, sizeof key);
    random_bytes(nonce, sizeof nonce);
    hex_encode(nonce, sizeof nonce, nonce_text);
    hex_encode(key, sizeof key, text);
    explicit_bzero(key, sizeof key);
    text[2 * MASTER_KEY_LEN] = '\n';
    int n = snprintf(temporary, sizeof temporary, "%s.%s", path, nonce_text);
    if (n < 0 || (size_t)n >= sizeof temporary)
        return err_set(e, ERR_CONFIG, "the data folder's path is too long");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return err_errno(e, ERR_IO, errno, "making the master key %.150s", temporary);
    bool is_written = write(fd, text, 2 * MASTER_KEY_LEN + 1) == 2 * MASTER_KEY_LEN + 1 && fsync(fd) == 0;
    int number = errno;
    explicit_bzero(text, sizeof text);
    close(fd);
    if (!is_written)
        rc = err_errno(e, ERR_IO, number, "writing the master key %.150s", temporary);
    else if (link(temporary, path) < 0)
        rc = err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_IO, errno, "making the master key %.150s",
                       path);
    unlink(temporary);
    return rc != ERR_NONE ? rc : sync_dir(dir, e);
}

static enum errc own_key(const char *dir, uint8_t out[MASTER_KEY_LEN], err *e)
{
    char path[PATH_LEN];
    mode_t mode = 0;
    int n = snprintf(path, sizeof path, "%s/master.key", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_CONFIG, "the data folder's path is too long");
    enum errc rc = read_key(path, out, &mode, e);
    if (rc == ERR_NOT_FOUND) {
        rc = make_key(dir, path, e);
        if (rc == ERR_NONE) log_event(LOG_INFO, "master_key_made", LOG_S("file", str_c(path)));
        if (rc == ERR_NONE || rc == ERR_CONFLICT) rc = read_key(path, out, &mode, e);
    }
    if (rc == ERR_CONFIG) return recode(e, ERR_CORRUPT);
    if (rc == ERR_NONE && mode & 077)
        return err_set(e, ERR_FORBIDDEN, "%.150s can be read by others (mode %03o): chmod 600 it", path,
                       (unsigned)mode);
    return rc;
}

static enum errc find_key(const struct config *config, const char *dir, uint8_t out[MASTER_KEY_LEN], err *e)
{
    char path[PATH_LEN];
    mode_t mode = 0;
    str file = config_text(config, "security.master_key_file"),
        text = config_text(config, "security.master_key");
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    if (file.len && text.len)
        return err_set(
            e, ERR_CONFIG,
            "security.master_key and security.master_key_file are both set: only one can be the master key");
    if (file.len) {
        struct arena a;
        arena_init(&a, 2 * PATH_LEN, 0);
        const char *named = config_path(config, &a, file);
        enum errc rc = named ? read_key(named, out, &mode, e) : err_code(e, ERR_NO_MEMORY);
        if (rc == ERR_NONE && mode & 077)
            log_event(LOG_WARN, "master_key_readable_by_others", LOG_S("file", str_c(named)));
        arena_fini(&a);
        return rc == ERR_NOT_FOUND ? recode(e, ERR_CONFIG) : rc;
    }
    if (text.len) return parse_key(text, S("security.master_key"), out, e);
    if (credentials) {
        int n = snprintf(path, sizeof path, "%s/catalyst_master_key", credentials);
        if (n > 0 && (size_t)n < sizeof path) {
            enum errc rc = read_key(path, out, &mode, e);
            if (rc != ERR_NOT_FOUND) return rc;
        }
    }
    return own_key(dir, out, e);
}

enum errc secrets_open(struct secrets **out, const struct config *config, const char *data_dir, err *e)
{
    struct secrets *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return err_code(e, ERR_NO_MEMORY);
    enum errc rc = find_key(config, data_dir, s->master, e);
    if (rc != ERR_NONE) {
        secrets_free(s);
        return rc;
    }
    uint8_t id[32];
    secrets_derive(s, "sealing", s->sealing);
    secrets_derive(s, "key id", id);
    memcpy(s->key_id, id, sizeof s->key_id);
    *out = s;
    if (e) /* that there was no key yet is no error any more */
        e->code = ERR_NONE;
    return ERR_NONE;
}

void secrets_free(struct secrets *s)
{
    if (!s) return;
    explicit_bzero(s, sizeof *s);
    free(s);
}

void secrets_derive(const struct secrets *s, const char *purpose, uint8_t out[32])
{
    char info[64];
    int n = snprintf(info, sizeof info, "catalyst %s", purpose);
    if (n < 0 || (size_t)n >= sizeof info) abort(); /* purposes are literals */
    hkdf_sha256(str_of((const char *)s->master, sizeof s->master), str_of(info, (size_t)n), out, 32);
}

/* --- sealed values --- */

/* What a value is bound to: its format and key, its table and column, each ended by a NUL, and its row. */
static str bound_to(char out[BOUND_MAX], const uint8_t head[HEAD_LEN], const char *table, const uuid *row,
                    const char *column)
{
    size_t t = strlen(table) + 1, c = strlen(column) + 1, len = HEAD_LEN + t + c + sizeof row->b;
    if (len > BOUND_MAX) abort(); /* names of tables and columns are literals */
    memcpy(out, head, HEAD_LEN);
    memcpy(out + HEAD_LEN, table, t);
    memcpy(out + HEAD_LEN + t, column, c);
    memcpy(out + HEAD_LEN + t + c, row->b, sizeof row->b);
    return str_of(out, len);
}

enum errc secret_seal(const struct secrets *s, struct arena *a, const char *table, const uuid *row,
                      const char *column, str plain, str *sealed, err *e)
{
    char bound[BOUND_MAX];
    uint8_t *out = (uint8_t *)arena_bytes(a, plain.len + SECRET_OVERHEAD);
    if (!out) return err_set(e, ERR_TOO_LARGE, "a secret of %zu bytes does not fit", plain.len);
    out[0] = FORMAT_VERSION;
    memcpy(out + 1, s->key_id, KEY_ID_LEN);
    enum errc rc = aead_seal(s->sealing, bound_to(bound, out, table, row, column), plain, out + HEAD_LEN, e);
    *sealed = str_of((const char *)out, plain.len + SECRET_OVERHEAD);
    return rc;
}

enum errc secret_open(const struct secrets *s, struct arena *a, const char *table, const uuid *row,
                      const char *column, str sealed, str *plain, err *e)
{
    char bound[BOUND_MAX];
    const uint8_t *head = (const uint8_t *)sealed.p;
    if (sealed.len < SECRET_OVERHEAD || head[0] != FORMAT_VERSION)
        return err_set(e, ERR_CORRUPT, "the secret in %s.%s is damaged", table, column);
    if (memcmp(head + 1, s->key_id, KEY_ID_LEN) != 0)
        return err_set(e, ERR_CORRUPT, "the secret in %s.%s was sealed under another master key", table,
                       column);
    size_t len = sealed.len - SECRET_OVERHEAD;
    char *out = arena_bytes(a, len + 1); /* one more, so that an empty secret has a place too */
    if (!out) return err_set(e, ERR_TOO_LARGE, "a secret of %zu bytes does not fit", len);
    if (aead_open(s->sealing, bound_to(bound, head, table, row, column), str_skip(sealed, HEAD_LEN),
                  (uint8_t *)out, NULL) != ERR_NONE)
        return err_set(e, ERR_CORRUPT, "the secret in %s.%s was changed or moved there from another place",
                       table, column);
    *plain = str_of(out, len);
    return ERR_NONE;
}

static const struct option options[] = {
    {.key = "security.master_key_file",
     .type = OPTION_TEXT,
     .meaning = "File with the master key as 64 hexadecimal digits; without it and security.master_key the "
                "systemd credential "
                "catalyst_master_key, else DIR/master.key, made at the first start."},
    {.key = "security.master_key",
     .type = OPTION_SECRET,
     .meaning = "The master key itself; meant for CATALYST_SECURITY__MASTER_KEY."},
};

const struct option_table secrets_options = {options, LENGTH_OF(options)};
