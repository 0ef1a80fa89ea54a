/* doctor.c - `catalyst doctor`: looks at everything that keeps a server from running well, without a server and without changing
 * anything, and says what to do about it.
 *
 * A check is a function that adds findings; what it needs and is not there (no data folder yet, no database) is said once, by the
 * check that is about it.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "cli/serve/serve.h"
#include "cli/data/store.h"
#include "core/audit/anchor.h"
#include "core/datadir.h"
#include "core/outbound_config.h"
#include "net/url.h"
#include "store/files.h"
#include "json/write.h"

#define CERTIFICATE_WARN_DAYS 30
#define DISK_FAIL_BYTES (100LL << 20)
#define DISK_WARN_BYTES (1LL << 30)
#define JOURNAL_WARN_BYTES (2LL << 30)
#define DESCRIPTORS_WARN 4096
#define EARLIEST_YEAR_US 1767225600000000LL /* 2026-01-01: no machine that runs this is older */
#define PROXY_TIMEOUT_MS 3000
#define FINDINGS_MAX 64

enum state { STATE_OK, STATE_WARN, STATE_FAIL };
static const char *const state_names[] = {"ok", "warn", "fail"};

struct finding {
    enum state state;
    const char *about;
    str detail, advice; /* advice empty: nothing to do */
};

struct doctor {
    const struct cli_app *app;
    const struct cli_args *args;
    struct arena a;
    const char *dir;
    bool has_dir, is_running; /* a server has the data folder */
    struct config_source source;
    struct config *config; /* NULL: not valid */
    struct finding findings[FINDINGS_MAX];
    unsigned n;
};

static void find(struct doctor *d, enum state state, const char *about, const char *advice, const char *fmt,
                 ...) PRINTF_LIKE(5, 6);
static void find(struct doctor *d, enum state state, const char *about, const char *advice, const char *fmt,
                 ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (d->n == FINDINGS_MAX) return;
    d->findings[d->n++] =
        (struct finding){state, about, str_dup(&d->a, str_c(text)), str_dup(&d->a, str_c(advice))};
}

static str bytes_text(struct doctor *d, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    unsigned u = 0;
    for (; v >= 1024 && u + 1 < LENGTH_OF(units); u++)
        v /= 1024;
    return arena_printf(&d->a, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

/* --- the program and its machine --- */

static void check_program(struct doctor *d)
{
    find(d, STATE_OK, "program", "", "catalyst " CATALYST_VERSION);
}

static void check_clock(struct doctor *d)
{
    struct timex t = {.modes = 0};
    char time[TIME_TEXT_LEN + 1];
    usec now = clock_now_us();
    str text = time_format(now, time);
    if (now < EARLIEST_YEAR_US)
        find(d, STATE_FAIL, "clock",
             "set the machine's clock: certificates, budgets and expiries depend on it", "it says %.*s",
             STR(text));
    else if (adjtimex(&t) == TIME_ERROR || (t.status & STA_UNSYNC))
        find(d, STATE_WARN, "clock",
             "let systemd-timesyncd or chrony keep it right; in a container that is the host's task",
             "%.*s; nothing tells that it is synchronised", STR(text));
    else
        find(d, STATE_OK, "clock", "", "%.*s, synchronised", STR(text));
}

static void check_limits(struct doctor *d)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    if (limit.rlim_max < DESCRIPTORS_WARN)
        find(d, STATE_WARN, "descriptors",
             "raise the hard limit of open files (LimitNOFILE= in a unit, ulimit -Hn in a shell)",
             "at most %llu connections and files at a time", (unsigned long long)limit.rlim_max);
    else
        find(d, STATE_OK, "descriptors", "", "up to %llu connections and files",
             (unsigned long long)limit.rlim_max);
}

/* --- the configuration --- */

static void check_config(struct doctor *d)
{
    struct buf problems;
    err e = {0};
    buf_init(&problems, 1 << 20);
    enum errc code = cli_config_source(d->app, d->args, &d->a, &d->source, &e);
    if (!code) code = config_load(&d->a, &d->source, &d->config, &problems, &e);
    if (code) d->config = NULL;
    if (!code) {
        enum errc of_server = d->app->check_server ? d->app->check_server(d->config, &d->a, &problems, &e) : ERR_NONE;
        if (d->app->check) code = d->app->check(d->config, &d->a, &problems, &e);
        if (!code) code = of_server;
    }
    const char *file = d->source.file ? d->source.file : "no file, the defaults";
    if (code)
        find(d, STATE_FAIL, "configuration", "catalyst config check shows it with its lines", "%s: %s", file,
             e.msg);
    for (str rest = buf_str(&problems); rest.len;) {
        str line = str_cut(&rest, '\n');
        bool is_warning = str_find(line, S(": warning: ")) >= 0;
        if (line.len) find(d, is_warning ? STATE_WARN : STATE_FAIL, "configuration", "", "%.*s", STR(line));
    }
    if (!code) find(d, STATE_OK, "configuration", "", "%s", file);
    buf_fini(&problems);
}

/* --- the data folder --- */

static const char *path_in(struct doctor *d, const char *name)
{
    return arena_printf(&d->a, "%s/%s", d->dir, name).p;
}

static void check_lock(struct doctor *d)
{
    int fd = open(path_in(d, "lock"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    d->is_running = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
}

static void check_version(struct doctor *d)
{
    char text[32];
    uint64_t version = 0;
    FILE *f = fopen(path_in(d, "VERSION"), "re");
    bool is_read = f && fgets(text, sizeof text, f) && str_to_u64(str_trim(str_c(text)), &version);
    bool is_there = f != NULL;
    if (f) fclose(f);
    if (is_there && !is_read)
        find(d, STATE_FAIL, "data folder", "restore the folder from a backup",
             "%s/VERSION holds no version number", d->dir);
    else if (version > DATADIR_VERSION)
        find(d, STATE_FAIL, "data folder", "upgrade Catalyst",
             "%s was written by a newer release (format %llu, this one knows %d)", d->dir,
             (unsigned long long)version, DATADIR_VERSION);
}

static void check_folder(struct doctor *d)
{
    struct stat st;
    d->dir = cli_data_dir(d->args);
    if (stat(d->dir, &st) != 0) {
        if (errno == ENOENT)
            find(d, STATE_OK, "data folder", "", "%s is not there yet; the first start makes it", d->dir);
        else
            find(d, STATE_FAIL, "data folder", "give the account that runs Catalyst its folder", "%s: %s",
                 d->dir, strerror(errno));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        find(d, STATE_FAIL, "data folder", "name a folder with --data", "%s is no folder", d->dir);
        return;
    }
    d->has_dir = true;
    check_lock(d);
    check_version(d);
    if (access(d->dir, R_OK | W_OK | X_OK) != 0)
        find(d, STATE_FAIL, "data folder", "run as the account that owns it, or chown it",
             "%s may not be read and written by this account", d->dir);
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        find(d, STATE_WARN, "data folder", arena_printf(&d->a, "chmod 700 %s", d->dir).p,
             "%s is open to other accounts (mode %04o)", d->dir, (unsigned)(st.st_mode & 07777));
    else
        find(d, STATE_OK, "data folder", "", "%s%s", d->dir, d->is_running ? ", a server runs on it" : "");
}

static void check_disk(struct doctor *d)
{
    struct statvfs s;
    if (statvfs(d->has_dir ? d->dir : ".", &s) != 0) return;
    int64_t left = (int64_t)s.f_bavail * (int64_t)s.f_frsize;
    bool has_inodes = s.f_files == 0 || s.f_favail > 1000;
    str text = bytes_text(d, left);
    if (left < DISK_FAIL_BYTES || !has_inodes)
        find(d, STATE_FAIL, "disk",
             "make room: without it calls are refused, since they could not be recorded", "%.*s left%s",
             STR(text), has_inodes ? "" : ", and hardly an inode");
    else
        find(d, left < DISK_WARN_BYTES ? STATE_WARN : STATE_OK, "disk",
             left < DISK_WARN_BYTES ? "make room before it is full" : "", "%.*s left", STR(text));
}

/* The file of a secret is for its owner only. */
static void check_private(struct doctor *d, const char *about, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        find(d, STATE_FAIL, about, "", "%s: %s", path, strerror(errno));
    else if (st.st_mode & (S_IRWXG | S_IRWXO))
        find(d, STATE_WARN, about, arena_printf(&d->a, "chmod 600 %s", path).p,
             "%s may be read by other accounts (mode %04o)", path, (unsigned)(st.st_mode & 07777));
    else
        find(d, STATE_OK, about, "", "%s", path);
}

static void check_master_key(struct doctor *d)
{
    struct secrets *secrets = NULL;
    err e = {0};
    const char *own = path_in(d, "master.key"),
               *named = config_path(d->config, &d->a, config_text(d->config, "security.master_key_file"));
    bool is_own_used =
        !named && !config_text(d->config, "security.master_key").len && !getenv("CREDENTIALS_DIRECTORY");
    if (is_own_used && (!d->has_dir || access(own, F_OK) != 0)) {
        find(d, STATE_OK, "master key", "", "none yet; the first start makes %s", own);
        return;
    }
    enum errc code = secrets_open(&secrets, d->config, d->dir, &e);
    secrets_free(secrets);
    if (code)
        find(d, STATE_FAIL, "master key",
             "without the right one no stored secret can be read: put it back from where it was kept", "%s",
             e.msg);
    else if (named || is_own_used)
        check_private(d, "master key", named ? named : own);
    else
        find(d, STATE_OK, "master key", "", "from %s",
             config_text(d->config, "security.master_key").len ? "the configuration"
                                                               : "a systemd credential");
}

struct weight {
    const char *from;
    int64_t bytes;
    unsigned n;
};

static enum errc weigh(void *ctx, const char *inside, err *e)
{
    struct weight *w = ctx;
    char path[FILE_PATH_MAX];
    struct stat st;
    enum errc rc = file_path(path, e, "%s/%s", w->from, inside);
    if (!rc && stat(path, &st) == 0) {
        w->bytes += (int64_t)st.st_blocks * 512;
        w->n++;
    }
    return rc;
}

static void check_journal(struct doctor *d)
{
    struct weight w = {.from = path_in(d, "journal")};
    err e = {0};
    if (!d->has_dir || access(w.from, F_OK) != 0) return;
    if (file_walk(w.from, weigh, &w, &e))
        find(d, STATE_FAIL, "journal", "", "%s", e.msg);
    else if (w.bytes > JOURNAL_WARN_BYTES)
        find(d, STATE_WARN, "journal",
             "see why calls are not drained into the database: the log and the metric catalyst_journal_*",
             "%.*s in %u segments wait in %s", STR(bytes_text(d, w.bytes)), w.n, w.from);
    else
        find(d, STATE_OK, "journal", "", "%.*s in %u files", STR(bytes_text(d, w.bytes)), w.n);
}

/* --- databases --- */

struct anchors_looked {
    struct arena *a;
    struct anchor_view *views;
    unsigned n;
};

static enum errc anchors_unit(struct tx *tx, void *ctx, err *e)
{
    struct anchors_looked *l = ctx;
    return anchors_view(tx, l->a, NULL, &l->views, &l->n, e);
}

/* Where heads of the audit log go, and whether they arrive. */
static void check_anchors(struct doctor *d, struct store *store)
{
    struct anchors_looked l = {.a = &d->a};
    const struct json *list = config_tree(d->config, "audit.anchors");
    char time[TIME_TEXT_LEN + 1];
    err e = {0};
    if (db_read(store_db(store, DB_MAIN), anchors_unit, &l, &e)) {
        find(d, STATE_FAIL, "audit anchors", "", "%s", e.msg);
        return;
    }
    for (const struct json *entry = list ? list->child : NULL; entry; entry = entry->next) {
        str name = config_entry_text(d->config, entry, "audit.anchors[].name");
        const struct anchor_view *v = NULL;
        for (unsigned i = 0; i < l.n; i++)
            if (str_eq(l.views[i].name, name)) v = &l.views[i];
        if (!v)
            find(d, STATE_WARN, "audit anchors", "it gets one when the server runs and signs one", "%.*s: no head of the log is there yet", STR(name));
        else if (v->failing_since != NO_VALUE)
            find(d, STATE_WARN, "audit anchors", "what was signed since is safe only in the database and the data folder: mend the way there",
                 "%.*s (%.*s): failing since %s (%.*s); it has the head over %lld events, %lld are behind it", STR(name), STR(v->kind),
                 time_format(v->failing_since, time).p, STR(v->error), (long long)v->head_size, (long long)v->behind);
        else
            find(d, STATE_OK, "audit anchors", "", "%.*s (%.*s): has the head over %lld events", STR(name), STR(v->kind), (long long)v->head_size);
    }
    if (!list || !list->child)
        find(d, STATE_OK, "audit anchors", "", "none: heads of the audit log lie in %s/audit/head alone, so whoever has this machine can rewrite it all", d->dir);
}

static void check_migrations(struct doctor *d, struct store *store)
{
    struct migration_state *states = NULL;
    unsigned n = 0, n_pending = 0, n_changed = 0;
    err e = {0};
    const char *engine = store_is_postgres(store) ? "PostgreSQL" : "SQLite";
    if (store_migrations(store, &d->a, &states, &n, &e)) {
        find(d, STATE_FAIL, "database", "", "%s", e.msg);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        n_pending += !states[i].applied_us;
        n_changed += states[i].is_changed;
    }
    if (n_changed)
        find(d, STATE_FAIL, "database",
             "this program does not belong to this database: use the release that made it",
             "%s: %u migrations were applied in another form", engine, n_changed);
    else if (n_pending)
        find(d, STATE_WARN, "database",
             "the next start brings it up, after a backup; or: catalyst migrate up",
             "%s: %u of %u migrations are pending", engine, n_pending, n);
    else
        find(d, STATE_OK, "database", "", "%s, %u migrations", engine, n);
    if (!n_changed && !n_pending) check_anchors(d, store);
}

static void check_database(struct doctor *d)
{
    struct store_source source = backend_store_source(d->config, d->dir);
    struct store *store = NULL;
    err e = {0};
    source.migrates = false;
    source.takes_any_schema = true;
    if (cli_store_exists(&source, &e)) {
        find(d, STATE_OK, "database", "", "none yet; the first start makes it");
        return;
    }
    if (store_open(&store, &source, &e))
        find(d, STATE_FAIL, "database",
             source.url.len ? "check database.url, the server's address and the password"
                            : "catalyst restore puts a backup back",
             "%s", e.msg);
    else
        check_migrations(d, store);
    store_close(store);
}

/* --- the network --- */

static void check_certificate(struct doctor *d)
{
    const char *cert = config_path(d->config, &d->a, config_text(d->config, "tls.cert")),
               *key = config_path(d->config, &d->a, config_text(d->config, "tls.key"));
    if (!cert || !key) return;
    FILE *f = fopen(cert, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    int days = 0, seconds = 0;
    if (f) fclose(f);
    if (!x) return; /* the check of the configuration has told */
    bool has_begun = X509_cmp_current_time(X509_get0_notBefore(x)) < 0;
    bool is_over = X509_cmp_current_time(X509_get0_notAfter(x)) < 0;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
    X509_free(x);
    const char *advice = "renew it, then send the server SIGHUP: no restart is needed";
    if (is_over)
        find(d, STATE_FAIL, "certificate", advice, "%s has expired", cert);
    else if (!has_begun)
        find(d, STATE_FAIL, "certificate", "check the machine's clock", "%s is not valid yet", cert);
    else if (days < CERTIFICATE_WARN_DAYS)
        find(d, STATE_WARN, "certificate", advice, "%s expires in %d days", cert, days);
    else
        find(d, STATE_OK, "certificate", "", "%s, for %d more days", cert, days);
    check_private(d, "certificate", key);
}

static void check_port(struct doctor *d)
{
    struct server_shared shared = {.tls = NULL};
    str host, address = config_text(d->config, "listen.address");
    uint16_t port;
    err e = {0};
    if (url_parse_listen(address, &host, &port, &e)) return;
    enum errc code = server_bind(&shared, host, port, &e);
    if (!code)
        find(d, STATE_OK, "port", "", "%.*s is free", STR(address));
    else if (d->is_running)
        find(d, STATE_OK, "port", "", "%.*s is in use, by the server of this data folder it seems",
             STR(address));
    else
        find(d, STATE_FAIL, "port", "stop what listens there, or set another listen.address", "%s", e.msg);
}

/* Whether something accepts connections there, within seconds. */
static bool accepts(const char *host, uint16_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    bool is_open = false;
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &list) != 0) return false;
    for (const struct addrinfo *it = list; it && !is_open; it = it->ai_next) {
        int fd = socket(it->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), number = 0;
        socklen_t len = sizeof number;
        if (fd < 0) continue;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (connect(fd, it->ai_addr, it->ai_addrlen) == 0 ||
            (errno == EINPROGRESS && poll(&p, 1, PROXY_TIMEOUT_MS) == 1))
            is_open = getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) == 0 && number == 0;
        close(fd);
    }
    freeaddrinfo(list);
    return is_open;
}

static void check_outbound(struct doctor *d)
{
    static const char *const targets[] = {"https://api.openai.com", "http://example.com"};
    struct outbound_settings settings;
    struct outbound *o = NULL;
    const char *seen = NULL;
    err e = {0};
    if (outbound_settings_of(d->config, &d->a, &settings, &e) || outbound_new(&o, &settings, &e))
        return; /* told before */
    for (size_t i = 0; i < LENGTH_OF(targets); i++) {
        struct outbound_route route;
        struct url url;
        if (url_parse(str_c(targets[i]), &url, &e) || outbound_route(o, &d->a, &url, false, &route, &e) ||
            !route.proxy_host)
            continue;
        if (seen && strcmp(seen, route.proxy_host) == 0) continue;
        seen = route.proxy_host;
        if (accepts(route.proxy_host, route.proxy_port))
            find(d, STATE_OK, "outbound", "", "by the proxy %s:%u", route.proxy_host, route.proxy_port);
        else
            find(d, STATE_FAIL, "outbound", "check outbound.proxy, HTTPS_PROXY and HTTP_PROXY",
                 "the proxy %s:%u cannot be reached", route.proxy_host, route.proxy_port);
    }
    if (!seen) find(d, STATE_OK, "outbound", "", "without a proxy");
    outbound_free(o);
}

/* --- the report --- */

static enum state worst(const struct doctor *d)
{
    enum state state = STATE_OK;
    for (unsigned i = 0; i < d->n; i++)
        if (d->findings[i].state > state) state = d->findings[i].state;
    return state;
}

static void report(const struct doctor *d, struct buf *out)
{
    for (unsigned i = 0; i < d->n; i++) {
        const struct finding *f = &d->findings[i];
        buf_addf(out, "%-5s %-14s %.*s\n", state_names[f->state], f->about, STR(f->detail));
        if (f->advice.len) buf_addf(out, "%-20s -> %.*s\n", "", STR(f->advice));
    }
}

static void report_json(const struct doctor *d, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "state", str_c(state_names[worst(d)]));
    json_name(&w, S("checks"));
    json_array(&w);
    for (unsigned i = 0; i < d->n; i++) {
        const struct finding *f = &d->findings[i];
        json_object(&w);
        json_put_str(&w, "about", str_c(f->about));
        json_put_str(&w, "state", str_c(state_names[f->state]));
        json_put_str(&w, "detail", f->detail);
        if (f->advice.len)
            json_put_str(&w, "advice", f->advice);
        else
            json_put_null(&w, "advice");
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    buf_add_char(out, '\n');
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    struct doctor d = {.app = app, .args = args};
    struct buf out;
    arena_init(&d.a, 64u << 20, 0);
    buf_init(&out, 1 << 20);
    log_set_level(LOG_OFF); /* what rooms would log is a finding here */
    check_program(&d);
    check_clock(&d);
    check_limits(&d);
    check_folder(&d);
    check_disk(&d);
    check_config(&d);
    if (d.config) {
        check_master_key(&d);
        check_database(&d);
        check_journal(&d);
        check_certificate(&d);
        check_port(&d);
        check_outbound(&d);
    }
    if (cli_flag(args, "--json"))
        report_json(&d, &out);
    else
        report(&d, &out);
    int code = cli_print(&out);
    if (code == EXIT_OK && worst(&d) == STATE_FAIL) code = EXIT_FAILED;
    buf_fini(&out);
    arena_fini(&d.a);
    return code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--json", NULL, NULL, "prints {state, checks} as JSON"},
};

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "",
    .meaning = "looks for everything that keeps a server from running well",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
