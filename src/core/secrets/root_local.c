/* root_local.c - master keys that are bytes at hand: of a file, the environment, systemd's credentials. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "core/secrets/root.h"

#define KEY_TEXT_MAX 4096 /* of a key's file; more is not a key */
#define WRAP_FORMAT 1

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
    char temporary[ROOT_PATH_MAX], text[2 * MASTER_KEY_LEN + 2];
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

static enum errc own_key(const char *dir, const char *path, uint8_t out[MASTER_KEY_LEN], err *e)
{
    mode_t mode = 0;
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

/* --- wrapping --- */

static enum errc wrap(struct root_key *r, struct arena *a, str bound, str plain, str *wrapped, err *e)
{
    uint8_t *out = (uint8_t *)arena_bytes(a, 1 + plain.len + AEAD_OVERHEAD);
    if (!out) return err_code(e, ERR_TOO_LARGE);
    out[0] = WRAP_FORMAT;
    *wrapped = str_of((const char *)out, 1 + plain.len + AEAD_OVERHEAD);
    return aead_seal(r->wrapping, bound, plain, out + 1, e);
}

static enum errc unwrap(struct root_key *r, struct arena *a, str bound, str wrapped, str *plain, err *e)
{
    bool is_ours = wrapped.len > 1 + AEAD_OVERHEAD && wrapped.p[0] == WRAP_FORMAT;
    size_t len = is_ours ? wrapped.len - 1 - AEAD_OVERHEAD : 0;
    char *out = arena_bytes(a, len + 1);
    if (!out) return err_code(e, ERR_TOO_LARGE);
    *plain = str_of(out, len);
    if (!is_ours || aead_open(r->wrapping, bound, str_skip(wrapped, 1), (uint8_t *)out, NULL) != ERR_NONE)
        return err_set(e, ERR_CORRUPT, "what the master key has wrapped was changed, or belongs elsewhere");
    return ERR_NONE;
}

static void derive(const struct root_key *r, str info, uint8_t *out, size_t len)
{
    hkdf_sha256(str_of((const char *)r->master, sizeof r->master), info, out, len);
}

static enum errc ready(struct root_key *r, enum root_kind kind)
{
    uint8_t id[8];
    char text[2 * sizeof id + 1];
    r->kind = kind;
    r->wrap = wrap;
    r->unwrap = unwrap;
    derive(r, S("catalyst wrapping"), r->wrapping, sizeof r->wrapping);
    derive(r, S("catalyst root id"), id, sizeof id);
    hex_encode(id, sizeof id, text);
    snprintf(r->id, sizeof r->id, "local:%s", text);
    return ERR_NONE;
}

/* --- finding --- */

enum errc root_local_open_file(struct root_key *r, const char *path, err *e)
{
    mode_t mode = 0;
    int n = snprintf(r->path, sizeof r->path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof r->path)
        return err_set(e, ERR_CONFIG, "the path of the master key is too long");
    enum errc rc = read_key(path, r->master, &mode, e);
    if (rc == ERR_NONE && mode & 077)
        log_event(LOG_WARN, "master_key_readable_by_others", LOG_S("file", str_c(path)));
    return rc != ERR_NONE ? rc : ready(r, ROOT_FILE);
}

static enum errc open_credential(struct root_key *r, err *e)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    mode_t mode = 0;
    char path[ROOT_PATH_MAX];
    if (!credentials) return ERR_NOT_FOUND;
    int n = snprintf(path, sizeof path, "%s/catalyst_master_key", credentials);
    if (n < 0 || (size_t)n >= sizeof path) return ERR_NOT_FOUND;
    enum errc rc = read_key(path, r->master, &mode, e);
    return rc != ERR_NONE ? rc : ready(r, ROOT_CREDENTIAL);
}

enum errc root_local_open(struct root_key *r, const struct config *config, const char *dir, err *e)
{
    str file = config_text(config, "security.master_key_file"),
        text = config_text(config, "security.master_key");
    if (file.len && text.len)
        return err_set(
            e, ERR_CONFIG,
            "security.master_key and security.master_key_file are both set: only one can be the master key");
    if (file.len) {
        struct arena a;
        arena_init(&a, 2 * ROOT_PATH_MAX, 0);
        const char *named = config_path(config, &a, file);
        enum errc rc = named ? root_local_open_file(r, named, e) : err_code(e, ERR_NO_MEMORY);
        arena_fini(&a);
        return rc == ERR_NOT_FOUND ? recode(e, ERR_CONFIG) : rc;
    }
    if (text.len) {
        enum errc rc = parse_key(text, S("security.master_key"), r->master, e);
        return rc != ERR_NONE ? rc : ready(r, ROOT_ENVIRONMENT);
    }
    enum errc rc = open_credential(r, e);
    if (rc != ERR_NOT_FOUND) return rc;
    int n = snprintf(r->path, sizeof r->path, "%s/master.key", dir);
    if (n < 0 || (size_t)n >= sizeof r->path)
        return err_set(e, ERR_CONFIG, "the data folder's path is too long");
    rc = own_key(dir, r->path, r->master, e);
    return rc != ERR_NONE ? rc : ready(r, ROOT_FILE);
}

/* --- replacing a file --- */

static void folder_of(const char *path, char out[ROOT_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    memcpy(out, path, len);
    out[len] = '\0';
    if (!len) memcpy(out, slash ? "/" : ".", 2);
}

enum errc root_key_again(struct root_key **out, const struct root_key *r, bool next, err *e)
{
    char path[ROOT_PATH_MAX];
    struct root_key *fresh = NULL;
    *out = NULL;
    if (r->kind != ROOT_FILE || (next && r->is_next)) return err_code(e, ERR_NOT_FOUND);
    int n = snprintf(path, sizeof path, next ? "%s.next" : "%s", r->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_CONFIG, "the path of the master key is too long");
    enum errc rc = root_new(&fresh, e);
    if (rc == ERR_NONE) rc = root_local_open_file(fresh, path, e);
    if (rc != ERR_NONE) {
        root_key_free(fresh);
        return rc;
    }
    fresh->is_next = next || r->is_next;
    *out = fresh;
    return ERR_NONE;
}

enum errc root_key_make_next(struct root_key **out, const struct root_key *now, err *e)
{
    char path[ROOT_PATH_MAX], dir[ROOT_PATH_MAX];
    struct root_key *r = NULL;
    *out = NULL;
    if (now->kind != ROOT_FILE)
        return err_set(
            e, ERR_CONFIG,
            "the master key of kind %s is not a file that can be replaced here: name the next one with "
            "security.next_master_key_file, or configure a vault or KMS key beside it",
            root_kind_name(now->kind));
    int n = snprintf(path, sizeof path, "%s.next", now->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(e, ERR_CONFIG, "the path of the master key is too long");
    folder_of(path, dir);
    enum errc rc = make_key(dir, path, e);
    if (rc == ERR_NONE || rc == ERR_CONFLICT) rc = root_new(&r, e);
    if (rc == ERR_NONE) rc = root_local_open_file(r, path, e);
    if (rc != ERR_NONE) {
        root_key_free(r);
        return rc;
    }
    r->is_next = true;
    *out = r;
    if (e) e->code = ERR_NONE;
    return ERR_NONE;
}

enum errc root_key_take_place(struct root_key *r, err *e)
{
    char path[ROOT_PATH_MAX], previous[ROOT_PATH_MAX], dir[ROOT_PATH_MAX];
    size_t len = strlen(r->path) - (r->is_next ? strlen(".next") : 0);
    if (!r->is_next) return ERR_NONE;
    memcpy(path, r->path, len);
    path[len] = '\0';
    int n = snprintf(previous, sizeof previous, "%s.previous", path);
    if (n < 0 || (size_t)n >= sizeof previous)
        return err_set(e, ERR_CONFIG, "the path of the master key is too long");
    folder_of(path, dir);
    /* A copy of the old one first: at no moment is the name without a key. */
    if ((unlink(previous) < 0 && errno != ENOENT) || (link(path, previous) < 0 && errno != ENOENT))
        return err_errno(e, ERR_IO, errno, "keeping the former master key as %.150s", previous);
    if (rename(r->path, path) < 0)
        return err_errno(e, ERR_IO, errno, "putting the new master key in its place, %.150s", path);
    memcpy(r->path, path, len + 1);
    r->is_next = false;
    return sync_dir(dir, e);
}
