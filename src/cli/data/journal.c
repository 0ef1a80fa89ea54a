/* catalyst journal import: what a node that does not come back has left in its data folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/money.h"
#include "cli/data/store.h"
#include "core/nodes.h"
#include "gateway/ledger/drain.h"
#include "gateway/ledger/give_back.h"
#include "json/write.h"
#include "store/files.h"

#define ARENA_LIMIT (64u << 20)
#define TEXT_MAX (1u << 20)
#define LOOK_MS 100

struct import {
    const char *folder;
    bool is_forced, is_node_alive;
    int lock;
    unsigned away_ms;
    struct arena *a;
    struct drain_import drained;
    struct given_back given;
};

/* A server that runs on the folder drains its journal by itself. The lock is kept until the end, so that none begins meanwhile; a copy has none. */
static enum errc lock_folder(struct import *i, err *e)
{
    char path[FILE_PATH_MAX];
    struct stat st;
    enum errc rc = file_path(path, e, "%s/journal", i->folder);
    if (rc == ERR_NONE && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        rc = err_set(e, ERR_NOT_FOUND, "%s is no data folder: it has no journal/", i->folder);
    if (rc == ERR_NONE)
        rc = file_path(path, e, "%s/lock", i->folder);
    if (rc != ERR_NONE || i->is_forced)
        return rc;
    i->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (i->lock < 0)
        return errno == ENOENT ? ERR_NONE : err_errno(e, ERR_IO, errno, "opening %s", path);
    if (flock(i->lock, LOCK_EX | LOCK_NB) == 0)
        return ERR_NONE;
    return errno == EWOULDBLOCK ? err_set(e, ERR_BUSY, "a server runs on %s: it drains its journal by itself", i->folder)
                                : err_errno(e, ERR_IO, errno, "locking %s", path);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A node that lives is seen by its heartbeat: what counts is that it moves, not what clock it bears. */
static enum errc look_for_life(struct import *i, struct store *s, err *e)
{
    struct node_signs first, now;
    struct journal_reader *reader;
    uuid node;
    int64_t end = now_ms() + i->away_ms;
    enum errc rc = journal_reader_open(&reader, i->folder, e);
    if (rc != ERR_NONE)
        return rc;
    if (!journal_reader_node(reader, node.b))
        rc = err_set(e, ERR_NOT_FOUND, "%s/journal/node does not say whose journal this is", i->folder);
    journal_reader_free(reader);
    if (rc == ERR_NONE)
        rc = nodes_signs(s, &node, &first, e);
    if (rc != ERR_NONE || !first.is_known || first.is_stopped)
        return rc;
    while (rc == ERR_NONE && !i->is_node_alive && now_ms() < end) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
        if ((rc = nodes_signs(s, &node, &now, e)) == ERR_NONE)
            i->is_node_alive = now.beats != first.beats || memcmp(&now.boot, &first.boot, sizeof now.boot) != 0;
    }
    if (rc == ERR_NONE && i->is_node_alive && !i->is_forced)
        return err_set(e, ERR_BUSY, "the node of %s is alive: its heartbeat moves; --force takes the calls of a copy that have ended", i->folder);
    return rc;
}

static enum errc import_into(struct import *i, const struct store_source *source, err *e)
{
    struct store *s = NULL;
    enum errc rc = lock_folder(i, e);
    if (rc == ERR_NONE)
        rc = store_open(&s, source, e);
    if (rc == ERR_NONE)
        rc = look_for_life(i, s, e);
    i->drained = (struct drain_import){.store = s, .data_dir = i->folder, .leaves_open = i->is_node_alive};
    if (rc == ERR_NONE)
        rc = drain_import(&i->drained, i->a, e);
    if (rc == ERR_NONE && !i->is_node_alive)
        rc = leases_give_back(s, i->drained.node_no, &i->given, e);
    if (rc == ERR_NONE && !i->is_node_alive)
        rc = nodes_taken_over(s, (const uuid *)i->drained.node, e);
    store_close(s);
    return rc;
}

/* --- what it says --- */

static void segment_name(const struct journal_place *p, char out[SEGMENT_NAME_LEN + 1]) { segment_name_format(p->boot, p->number, p->loop, out); }

static void report(const struct import *i, struct buf *out)
{
    const struct drain_import *d = &i->drained;
    char usd[MONEY_TEXT_LEN], node[33], name[SEGMENT_NAME_LEN + 1];
    hex_encode(d->node, sizeof d->node, node);
    buf_addf(out, "node %.32s: %zu segments\n", node, d->n_segments);
    buf_addf(out, "calls that were in no database yet: %lld, %.*s USD\n", (long long)d->n_calls, STR(money_format(d->charged_nanousd, usd)));
    buf_addf(out, "calls that never ended: %lld, %.*s USD %s\n", (long long)d->n_open, STR(money_format(d->open_nanousd, usd)),
             i->is_node_alive ? "reserved, left to the node, which is alive" : "charged as reserved");
    if (i->is_node_alive)
        buf_add(out, S("leases: left to the node, which is alive\n"));
    else
        buf_addf(out, "given back: budgets %.*s USD, places for parallel calls %lld\n", STR(money_format(i->given.leased_nanousd, usd)),
                 (long long)i->given.parallel);
    for (size_t k = 0; k < d->n_damaged; k++) {
        segment_name(&d->damaged[k], name);
        buf_addf(out, "damaged: journal/%s cannot be read beyond byte %llu\n", name, (unsigned long long)d->damaged[k].position);
    }
}

static void put_money(struct json_writer *w, const char *usd_name, const char *nano_name, int64_t nanousd)
{
    char usd[MONEY_TEXT_LEN];
    json_put_str(w, usd_name, money_format(nanousd, usd));
    json_put_int(w, nano_name, nanousd);
}

static void report_json(const struct import *i, struct buf *out)
{
    const struct drain_import *d = &i->drained;
    char node[33], name[SEGMENT_NAME_LEN + 1];
    struct json_writer w;
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "node", str_take(hex_encode(d->node, sizeof d->node, node), 32));
    json_put_bool(&w, "is_alive", i->is_node_alive);
    json_put_int(&w, "segments", (int64_t)d->n_segments);
    json_put_int(&w, "calls", d->n_calls);
    put_money(&w, "charged_usd", "charged_nanousd", d->charged_nanousd);
    json_put_int(&w, "open_calls", d->n_open);
    put_money(&w, "open_usd", "open_nanousd", d->open_nanousd);
    put_money(&w, "given_back_usd", "given_back_nanousd", i->given.leased_nanousd);
    json_put_int(&w, "given_back_parallel", i->given.parallel);
    json_name(&w, S("damaged"));
    json_array(&w);
    for (size_t k = 0; k < d->n_damaged; k++) {
        segment_name(&d->damaged[k], name);
        json_object(&w);
        json_put_str(&w, "segment", str_c(name));
        json_put_int(&w, "position", (int64_t)d->damaged[k].position);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    buf_add_char(out, '\n');
}

static int run(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    struct config *config;
    struct buf out;
    struct import i = {.folder = cli_positional(args, 0), .is_forced = cli_flag(args, "--force") != NULL, .lock = -1, .a = &a};
    err e = {0};
    log_set_level(LOG_ERROR);
    arena_init(&a, ARENA_LIMIT, 0);
    buf_init(&out, TEXT_MAX);
    enum errc rc = i.folder ? cli_config(app, args, &a, &config, &e)
                            : err_set(&e, ERR_USAGE, "name the data folder of the node that does not come back: catalyst journal import FOLDER");
    if (rc == ERR_NONE) {
        struct store_source source = backend_store_source(config, cli_data_dir(args));
        source.migrates = false;
        i.away_ms = (unsigned)config_int(config, "node.away_ms");
        rc = source.url.len ? import_into(&i, &source, &e)
                            : err_set(&e, ERR_CONFIG, "the databases here are SQLite files, which have one node: with database.url, "
                                                      "of the PostgreSQL that the nodes share, its journal can be imported");
    }
    if (rc == ERR_NONE && cli_flag(args, "--json"))
        report_json(&i, &out);
    else if (rc == ERR_NONE)
        report(&i, &out);
    int code = rc ? cli_fail(&e) : cli_print(&out);
    if (i.lock >= 0)
        close(i.lock);
    buf_fini(&out);
    arena_fini(&a);
    return code;
}

static const struct flag flags[] = {
    CLI_CONFIG_FLAGS,
    {"--force", NULL, NULL, "of a copy: also while its node is alive; takes only calls that have ended then"},
    {"--json", NULL, NULL, "prints what was done as JSON"},
};

const struct command cmd_journal_import = {
    .name = "journal import",
    .arguments = "FOLDER",
    .meaning = "takes over the calls of a node that does not come back, and what it holds of budgets",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
