/* postgres_backup.c - one dump for each schema by pg_dump, put in by pg_restore.
 *
 * The programs get the connection's parameters by their environment, never as arguments, which every user of the
 * machine could read. What is replaced is renamed (main_before and so on) until all is restored.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/files.h"
#include "store/postgres.h"

#define ENV_MAX 512u
#define SAID_MAX 4096u

/* --- programs --- */

static bool is_set_by(const char *entry, const PQconninfoOption *options)
{
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (o->val && o->envvar && strncmp(entry, o->envvar, strlen(o->envvar)) == 0 &&
            entry[strlen(o->envvar)] == '=')
            return true;
    return false;
}

/* The environment with the URL's parameters; out is ended by NULL, texts are in the arena. */
static enum errc environment(const PQconninfoOption *options, struct arena *a, char *out[ENV_MAX], err *e)
{
    unsigned n = 0;
    for (char **at = environ; *at && n < ENV_MAX - 64; at++)
        if (!is_set_by(*at, options)) out[n++] = *at;
    for (const PQconninfoOption *o = options; o->keyword && n < ENV_MAX - 1; o++) {
        if (!o->val || !o->envvar) continue;
        str s = arena_printf(a, "%s=%s", o->envvar, o->val);
        if (!s.p) return err_code(e, ERR_NO_MEMORY);
        out[n++] = (char *)s.p;
    }
    out[n] = NULL;
    return ERR_NONE;
}

/* "dbname='x'" without anything secret, for the argument that makes pg_restore connect. */
static const char *database_argument(const PQconninfoOption *options, struct arena *a)
{
    struct buf text;
    const char *out = NULL;
    buf_init(&text, SAID_MAX);
    buf_add(&text, S("--dbname=dbname='"));
    for (const PQconninfoOption *o = options; o->keyword; o++)
        if (strcmp(o->keyword, "dbname") == 0 && o->val)
            for (const char *p = o->val; *p; p++) {
                if (*p == '\'' || *p == '\\') buf_add_char(&text, '\\');
                buf_add_char(&text, *p);
            }
    buf_add_char(&text, '\'');
    if (!buf_err(&text)) out = str_to_c(a, buf_str(&text));
    buf_fini(&text);
    return out;
}

/* Reads to the end and keeps the first bytes. */
static size_t read_said(int fd, char *out, size_t max)
{
    char rest[512];
    size_t n = 0;
    for (;;) {
        bool keeps = n < max;
        ssize_t got = keeps ? read(fd, out + n, max - n) : read(fd, rest, sizeof rest);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return n;
        if (keeps) n += (size_t)got;
    }
}

static enum errc run(const char *const *argv, char *const *env, err *e)
{
    int said[2], status = 0;
    char text[SAID_MAX];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe2(said, O_CLOEXEC) < 0) return err_errno(e, ERR_IO, errno, "making a pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, said[1], 1);
    posix_spawn_file_actions_adddup2(&actions, said[1], 2);
    int number = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    close(said[1]);
    size_t n = number ? 0 : read_said(said[0], text, sizeof text);
    close(said[0]);
    if (number == ENOENT)
        return err_set(e, ERR_CONFIG, "the program %s is not on PATH: install PostgreSQL's client programs",
                       argv[0]);
    if (number) return err_errno(e, ERR_IO, number, "starting %s", argv[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ERR_NONE;
    str words = str_trim(str_of(text, n));
    return err_set(e, ERR_IO, "%s failed: %.*s", argv[0], STR(words));
}

/* argv has room for the database argument where `database` stands in it (NULL: nowhere). */
static enum errc run_with(str url, const char **argv, const char **database, err *e)
{
    struct arena a;
    char *env[ENV_MAX];
    PQconninfoOption *options = PQconninfoParse(url.p, NULL);
    if (!options) return err_set(e, ERR_CONFIG, "database.url is not a connection URL of PostgreSQL");
    arena_init(&a, 256u << 10, 0);
    enum errc rc = environment(options, &a, env, e);
    if (!rc && database && !(*database = database_argument(options, &a))) rc = err_code(e, ERR_NO_MEMORY);
    if (!rc) rc = run(argv, env, e);
    arena_fini(&a);
    PQconninfoFree(options);
    return rc;
}

enum errc pg_backup(struct db *db, const char *path, err *e)
{
    char schema[32], file[FILE_PATH_MAX + 16];
    snprintf(schema, sizeof schema, "--schema=%s", db_names[db->id]);
    snprintf(file, sizeof file, "--file=%s", path);
    const char *argv[] = {
        "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--no-password", schema, file, NULL};
    enum errc rc = run_with(db->store->source.url, argv, NULL, e);
    return rc ? rc : file_sync(path, e);
}

/* --- restoring --- */

/* Runs each of the statements for every schema, whose name takes the place of @, in one transaction on a connection of its own. */
static enum errc for_each_schema(const struct store_source *source, const char *const *formats, unsigned n,
                                 const char *what, err *e)
{
    struct store_source few = *source;
    struct pg_pool *p;
    struct pg_conn *c;
    struct buf script;
    few.connections = 1;
    if (!few.write_deadline_ms) few.write_deadline_ms = 10000;
    enum errc rc = pg_pool_new(&p, &few, e);
    if (rc) return rc;
    rc = pg_conn_get(p, DB_MAIN, store_mono_us() + USEC_PER_S, &c, e);
    if (rc) {
        pg_pool_free(p);
        return rc;
    }
    c->deadline_us = 0;
    buf_init(&script, 16u << 10);
    buf_add(&script, S("BEGIN; SET LOCAL statement_timeout = 0;"));
    for (unsigned k = 0; k < n; k++)
        for (int id = 0; id < DB_IDS; id++)
            for (const char *at = formats[k]; *at; at++) {
                if (*at == '@')
                    buf_add(&script, str_c(db_names[id]));
                else
                    buf_add_char(&script, *at);
            }
    buf_add(&script, S("COMMIT"));
    buf_add_char(&script, '\0');
    rc = buf_err(&script) ? err_code(e, buf_err(&script)) : pg_run(c, script.p, what, e);
    buf_fini(&script);
    if (rc) c->is_broken = true;
    pg_conn_put(p, c);
    pg_pool_free(p);
    return rc;
}

enum errc pg_restore_begin(const struct store_source *source, bool replaces, err *e)
{
    /* An empty schema is no database yet; dropping one that is not empty fails. */
    static const char *const drop_empty[] = {"DROP SCHEMA IF EXISTS @;"};
    static const char *const set_aside[] = {"CREATE SCHEMA IF NOT EXISTS @;",
                                            "ALTER SCHEMA @ RENAME TO @_before;"};
    enum errc rc =
        replaces ? for_each_schema(source, set_aside, LENGTH_OF(set_aside), "setting the schemas aside", e)
                 : for_each_schema(source, drop_empty, LENGTH_OF(drop_empty), "looking for schemas", e);
    if (rc != ERR_INTERNAL) return rc;
    if (replaces)
        return err_set(
            e, ERR_CONFLICT,
            "the schemas main_before, usage_before and people_before are left from a restore that was "
            "interrupted: rename or drop them first");
    return err_set(e, ERR_CONFLICT,
                   "the PostgreSQL database holds the schemas main, usage or people already");
}

enum errc pg_restore_one(const struct store_source *source, enum db_id id, const char *path, err *e)
{
    const char *argv[] = {"pg_restore",
                          "--single-transaction",
                          "--exit-on-error",
                          "--no-owner",
                          "--no-privileges",
                          "--no-password",
                          NULL,
                          path,
                          NULL};
    (void)id; /* the dump names its schema */
    return run_with(source->url, argv, &argv[6], e);
}

enum errc pg_restore_end(const struct store_source *source, bool replaces, bool is_good, err *e)
{
    static const char *const drop_old[] = {"DROP SCHEMA @_before CASCADE;"};
    static const char *const drop_new[] = {"DROP SCHEMA IF EXISTS @ CASCADE;"};
    static const char *const put_back[] = {"DROP SCHEMA IF EXISTS @ CASCADE;",
                                           "ALTER SCHEMA @_before RENAME TO @;"};
    if (is_good)
        return replaces ? for_each_schema(source, drop_old, 1, "dropping what was replaced", e) : ERR_NONE;
    return replaces ? for_each_schema(source, put_back, 2, "putting the schemas back", e)
                    : for_each_schema(source, drop_new, 1, "dropping what was restored", e);
}
