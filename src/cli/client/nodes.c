/* nodes.c - `catalyst nodes`: the servers on the database, as the one on this data folder sees them.
 *
 * It asks through DIR/control.sock: no API key is an administrator of the instance.
 */
#include "cli/client/client.h"
#include "core/control.h"

#define ARENA_LIMIT (64u << 20)

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT},
    {"STATE", "state", COLUMN_TEXT},
    {"ADDRESS", "address", COLUMN_TEXT},
    {"VERSION", "version", COLUMN_TEXT},
    {"SCHEMA", "schema", COLUMN_COUNT},
    {"LOG LAG", "log_lag", COLUMN_COUNT},
    {"SNAPSHOT LAG", "snapshot_lag", COLUMN_COUNT},
    {"JOURNAL BYTES", "journal.bytes", COLUMN_COUNT},
    {"CALLS", "journal.calls", COLUMN_COUNT},
    {"LEASED", "leased_usd", COLUMN_MONEY},
    {"STREAMS", "streams", COLUMN_COUNT},
    {"STARTED", "started_at", COLUMN_TIME},
    {"LAST SEEN", "last_seen_at", COLUMN_TIME},
    {"SELF", "is_self", COLUMN_BOOL},
    {"ID", "id", COLUMN_TEXT},
};

static int run(const struct cli_app *app, const struct cli_args *args)
{
    struct arena a;
    const struct json *nodes = NULL;
    bool is_running = false;
    int code;
    err e = {0};
    (void)app;
    arena_init(&a, ARENA_LIMIT, 64u << 10);
    enum errc rc =
        control_call(&a, cli_data_dir(args), S("{\"command\":\"nodes\"}"), &is_running, &nodes, &e);
    if (rc == ERR_NONE && !is_running)
        rc = err_set(&e, ERR_UNREACHABLE, "no server runs on %s: ask where one does", cli_data_dir(args));
    struct client c = {.args = args, .arena = &a, .as_json = cli_flag(args, "--json") != NULL};
    code = rc == ERR_NONE ? client_table(&c, nodes, columns, LENGTH_OF(columns)) : cli_fail(&e);
    arena_fini(&a);
    return code;
}

static const struct flag flags[] = {
    CLI_DATA_FLAG,
    {"--json", NULL, NULL, "prints JSON"}};

const struct command cmd_nodes = {
    .name = "nodes",
    .arguments = "",
    .meaning = "lists the servers on the database, as the one on this data folder sees them",
    .flags = flags,
    .n_flags = LENGTH_OF(flags),
    .run = run,
};
