/* postgres_backup.c - one dump for each schema by pg_dump, all of one exported snapshot; put in by pg_restore and psql.
 *
 * The programs get the connection's parameters by their environment, never as arguments, which every user of the
 * machine could read. pg_restore only turns a dump into statements; one psql runs those of all schemas in one transaction, so that a
 * server that is connected all the time sees everything or nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/files.h"
#include "store/postgres.h"

#define ENV_MAX 512u
#define SAID_MAX 4096u
#define GONE_US (2 * USEC_PER_S)
#define GUEST_MS                                                                                             \
    30000 /* longest statement of a connection of our own: waiting for units that are under way */

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

/* "dbname='x'" without anything secret, for the argument that makes psql connect to what the environment cannot say. */
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

struct program {
    const char *name;
    pid_t pid;
    int said; /* a file without a name: what it wrote to standard error, and to standard output unless that goes elsewhere */
};

/* out: -1: into `said`; in: -1: nothing. */
static enum errc program_start(struct program *p, const char *const *argv, char *const *env, int in, int out,
                               err *e)
{
    posix_spawn_file_actions_t actions;
    *p = (struct program){.name = argv[0], .pid = -1, .said = memfd_create("said", MFD_CLOEXEC)};
    if (p->said < 0) return err_errno(e, ERR_IO, errno, "starting %s", argv[0]);
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, 0);
    else
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out >= 0 ? out : p->said, 1);
    posix_spawn_file_actions_adddup2(&actions, p->said, 2);
    int number = posix_spawnp(&p->pid, argv[0], &actions, NULL, (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (!number) return ERR_NONE;
    close(p->said);
    if (number == ENOENT)
        return err_set(e, ERR_CONFIG, "the program %s is not on PATH: install PostgreSQL's client programs",
                       argv[0]);
    return err_errno(e, ERR_IO, number, "starting %s", argv[0]);
}

/* What it said, in `text`; ERR_IO when it failed. */
static enum errc program_end(struct program *p, char text[SAID_MAX], err *e)
{
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    ssize_t n = pread(p->said, text, SAID_MAX - 1, 0);
    close(p->said);
    text[n > 0 ? n : 0] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ERR_NONE;
    str words = str_trim(str_c(text));
    if (strstr(text, "unsupported version"))
        return err_set(
            e, ERR_CONFIG,
            "%s is older than the pg_dump that made the backup: install newer client programs of PostgreSQL",
            p->name);
    return err_set(e, ERR_IO, "%s failed: %.*s", p->name, STR(words));
}

static enum errc run(const char *const *argv, char *const *env, char text[SAID_MAX], err *e)
{
    struct program p;
    enum errc rc = program_start(&p, argv, env, -1, -1, e);
    return rc ? rc : program_end(&p, text, e);
}

/* What programs need to reach the server. */
struct reach {
    struct arena a;
    char *env[ENV_MAX];
    const char *database;
};

static enum errc reach_init(struct reach *r, str url, err *e)
{
    PQconninfoOption *options = PQconninfoParse(url.p, NULL);
    if (!options) return err_set(e, ERR_CONFIG, "database.url is not a connection URL of PostgreSQL");
    arena_init(&r->a, 256u << 10, 0);
    enum errc rc = environment(options, &r->a, r->env, e);
    if (!rc && !(r->database = database_argument(options, &r->a))) rc = err_code(e, ERR_NO_MEMORY);
    PQconninfoFree(options);
    if (rc) arena_fini(&r->a);
    return rc;
}

/* A connection beside those of the store. */
struct guest {
    struct pg_pool *pool;
    struct pg_conn *c;
};

static enum errc guest_open(struct guest *g, const struct store_source *source, err *e)
{
    struct store_source one = *source;
    *g = (struct guest){0};
    one.connections = 1;
    one.write_deadline_ms = GUEST_MS;
    enum errc rc = pg_pool_new(&g->pool, &one, e);
    if (!rc) rc = pg_conn_get(g->pool, DB_MAIN, store_mono_us() + USEC_PER_S, &g->c, e);
    if (!rc) g->c->deadline_us = 0;
    return rc;
}

static void guest_close(struct guest *g)
{
    if (g->c) {
        g->c->is_broken = true;
        pg_conn_put(g->pool, g->c);
    }
    pg_pool_free(g->pool);
}

static enum errc guest_ask(struct guest *g, const char *text, PGresult **out, err *e)
{
    *out = NULL;
    if (!PQsendQuery(g->c->pg, text)) return pg_error(g->c, NULL, "asking PostgreSQL", e);
    return pg_finish(g->c, "asking PostgreSQL", out, e);
}

/* --- backing up --- */

/* "pg_dump (PostgreSQL) 17.2 (Debian 17.2-1)" */
static enum errc check_version(struct reach *r, const char *program, int server, err *e)
{
    char text[SAID_MAX];
    uint64_t major = 0;
    enum errc rc = run((const char *const[]){program, "--version", NULL}, r->env, text, e);
    if (rc) return rc;
    str rest = str_trim(str_c(text));
    ptrdiff_t at = str_find(rest, S("(PostgreSQL) "));
    str version = at < 0 ? (str){0} : str_skip(rest, (size_t)at + 13);
    size_t n = 0;
    while (n < version.len && version.p[n] >= '0' && version.p[n] <= '9')
        n++;
    if (!str_to_u64(str_take(version, n), &major))
        return err_set(e, ERR_CONFIG, "%s --version says '%.*s'", program, STR(str_take(rest, 80)));
    if ((int)major >= server / 10000) return ERR_NONE;
    return err_set(
        e, ERR_CONFIG,
        "%s on PATH is of PostgreSQL %d, the server of %d: install the client programs of PostgreSQL %d",
        program, (int)major, server / 10000, server / 10000);
}

/* A snapshot that others may dump, and that no order of the units that were under way contradicts; when these do not end, whatever is
 * committed. */
static enum errc export_snapshot(struct guest *g, char out[64], err *e)
{
    PGresult *r = NULL;
    enum errc rc = pg_run(g->c,
                          "SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL SERIALIZABLE "
                          "READ ONLY DEFERRABLE",
                          "beginning a snapshot", e);
    if (!rc) rc = guest_ask(g, "SELECT pg_export_snapshot()", &r, e);
    if (rc == ERR_BUSY) {
        rc = pg_run(g->c, "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "beginning a snapshot",
                    e);
        if (!rc) rc = guest_ask(g, "SELECT pg_export_snapshot()", &r, e);
    }
    if (!rc) snprintf(out, 64, "--snapshot=%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    return rc;
}

static enum errc dump(struct reach *r, enum db_id id, const char *snapshot, const char *path, err *e)
{
    char schema[32], file[FILE_PATH_MAX + 16], text[SAID_MAX];
    snprintf(schema, sizeof schema, "--schema=%s", db_names[id]);
    snprintf(file, sizeof file, "--file=%s", path);
    const char *argv[] = {"pg_dump",
                          "--format=custom",
                          "--no-owner",
                          "--no-privileges",
                          "--no-password",
                          snapshot,
                          schema,
                          file,
                          NULL};
    enum errc rc = run(argv, r->env, text, e);
    return rc ? rc : file_sync(path, e);
}

enum errc pg_backup(struct store *s, const char *const paths[DB_IDS], err *e)
{
    struct guest g = {0};
    struct reach r;
    char snapshot[64];
    enum errc rc = reach_init(&r, s->source.url, e);
    if (rc) return rc;
    rc = guest_open(&g, &s->source, e);
    if (!rc) rc = check_version(&r, "pg_dump", PQserverVersion(g.c->pg), e);
    if (!rc) rc = export_snapshot(&g, snapshot, e);
    for (int id = 0; id < DB_IDS && !rc; id++)
        rc = dump(&r, (enum db_id)id, snapshot, paths[id], e);
    guest_close(&g);
    arena_fini(&r.a);
    return rc;
}

/* --- restoring --- */

/* Whoever works on the database as this user; a person's psql does not count. */
#define OTHERS                                                                                               \
    "pg_catalog.pg_stat_activity WHERE datname = current_database() AND usename = current_user AND "         \
    "backend_type = 'client backend' AND application_name NOT IN ('psql', 'pg_dump') AND pid <> "            \
    "pg_backend_pid()"

/* Statements for each schema, whose name takes the place of @. */
static void add_for_each(struct buf *out, const char *format)
{
    for (int id = 0; id < DB_IDS; id++)
        for (const char *at = format; *at; at++) {
            if (*at == '@')
                buf_add(out, str_c(db_names[id]));
            else
                buf_add_char(out, *at);
        }
}

/* A server that goes on while its database is put back in time would go on with what it remembers: money, places in the log. A connection
 * that was closed just now is seen for some moments yet. */
static enum errc check_others(struct guest *g, err *e)
{
    char who[128] = "";
    int n = 1;
    for (usec until_us = store_mono_us() + GONE_US; n;
         nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL)) {
        PGresult *r = NULL;
        enum errc rc =
            guest_ask(g,
                      "SELECT application_name || coalesce(' from ' || client_addr::text, '') FROM " OTHERS
                      " ORDER BY 1",
                      &r, e);
        n = rc ? 0 : PQntuples(r);
        if (n) snprintf(who, sizeof who, "%s", PQgetvalue(r, 0, 0));
        PQclear(r);
        if (rc || n == 0) return rc;
        if (store_mono_us() > until_us) break;
    }
    return err_set(e, ERR_CONFLICT,
                   "%d connection%s open to this PostgreSQL database (%s): stop every server first", n,
                   n == 1 ? " is" : "s are", who);
}

static enum errc check_emptiness(struct guest *g, err *e)
{
    char name[64];
    PGresult *r = NULL;
    enum errc rc = guest_ask(
        g,
        "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname IN ('main', 'usage', 'people') ORDER BY 1 LIMIT 1",
        &r, e);
    if (!rc && PQntuples(r)) {
        snprintf(name, sizeof name, "%s", PQgetvalue(r, 0, 0));
        rc = err_set(e, ERR_CONFLICT,
                     "the PostgreSQL database holds the schemas main, usage or people already (%s)", name);
    }
    PQclear(r);
    return rc;
}

static enum errc check_target(const struct store_source *source, bool replaces, err *e)
{
    struct guest g;
    enum errc rc = guest_open(&g, source, e);
    if (!rc && !replaces) rc = check_emptiness(&g, e);
    if (!rc) rc = check_others(&g, e);
    guest_close(&g);
    return rc;
}

static enum errc tell(int fd, const struct buf *text, err *e)
{
    if (buf_err(text)) return err_code(e, buf_err(text));
    for (size_t n = 0; n < text->len;) {
        ssize_t sent = send(fd, text->p + n, text->len - n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return err_errno(e, ERR_IO, errno, "writing to psql");
        n += (size_t)sent;
    }
    return ERR_NONE;
}

/* The statements of one dump into psql. */
static enum errc put_dump(struct reach *r, const char *path, int to, err *e)
{
    struct program p;
    char text[SAID_MAX];
    const char *argv[] = {"pg_restore", "--no-owner", "--no-privileges", "--file=-", path, NULL};
    enum errc rc = program_start(&p, argv, r->env, -1, to, e);
    return rc ? rc : program_end(&p, text, e);
}

static enum errc put_dumps(struct reach *r, const char *const paths[DB_IDS], bool replaces, int to,
                           enum errc (*last)(void *ctx, err *e), void *ctx, err *e)
{
    struct buf text;
    buf_init(&text, 16u << 10);
    buf_add(&text, S("BEGIN; SET LOCAL client_min_messages = error;\n"));
    add_for_each(&text, replaces ? "DROP SCHEMA IF EXISTS @ CASCADE;\n" : "DROP SCHEMA IF EXISTS @;\n");
    enum errc rc = tell(to, &text, e);
    for (int id = 0; id < DB_IDS && !rc; id++)
        if (paths[id]) rc = put_dump(r, paths[id], to, e);
    if (!rc) rc = last(ctx, e);
    buf_clear(&text);
    buf_add(&text, S("\nDO $$ BEGIN IF EXISTS (SELECT 1 FROM " OTHERS
                     ") THEN RAISE 'a server of Catalyst has begun to use this database "
                     "meanwhile'; END IF; END $$;\nCOMMIT;\n"));
    if (!rc) rc = tell(to, &text, e);
    buf_fini(&text);
    return rc;
}

enum errc pg_restore(const struct store_source *source, const char *const paths[DB_IDS], bool replaces,
                     enum errc (*last)(void *ctx, err *e), void *ctx, err *e)
{
    struct reach r;
    struct program psql;
    err of_psql = {0};
    char text[SAID_MAX];
    int ends[2];
    enum errc rc = check_target(source, replaces, e);
    if (rc || (rc = reach_init(&r, source->url, e)) != ERR_NONE) return rc;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        arena_fini(&r.a);
        return err_errno(e, ERR_IO, errno, "making a socket");
    }
    const char *argv[] = {"psql",          "--no-psqlrc",        "--quiet",  "--set=ON_ERROR_STOP=1",
                          "--no-password", "--output=/dev/null", r.database, NULL};
    rc = program_start(&psql, argv, r.env, ends[0], -1, e);
    close(ends[0]);
    if (!rc) {
        rc = put_dumps(&r, paths, replaces, ends[1], last, ctx, e);
        close(ends[1]); /* without the COMMIT everything is undone */
        enum errc ended = program_end(&psql, text, &of_psql);
        if (ended && e && (!rc || rc == ERR_IO)) *e = of_psql; /* why nobody could write to it */
        if (ended) rc = rc && rc != ERR_IO ? rc : ended;
    } else {
        close(ends[1]);
    }
    arena_fini(&r.a);
    return rc;
}
