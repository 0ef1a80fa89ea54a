/* client.h - the commands that ask a server: one way to call its API, to show what it answers, and to tell what it refused.
 *
 * The server is --url, CATALYST_URL, or http://127.0.0.1:8080; the key --api-key or CATALYST_API_KEY (better: --api-key shows in the
 * list of processes). Proxies come from the environment. A refusal is told as one sentence, wrong fields one a line below it; the exit
 * code is that of the refusal's code.
 * Threads: main thread only.
 */
#ifndef CLI_CLIENT_CLIENT_H
#define CLI_CLIENT_CLIENT_H

#include "cli/cli.h"
#include "net/outbound.h"
#include "json/write.h"

#define CLI_SERVER_FLAGS                                                                                     \
    {"--url", "URL", NULL, "the server (default: CATALYST_URL, else http://127.0.0.1:8080)"},                \
        {"--api-key", "KEY", NULL, "a management key, cat_... (default: CATALYST_API_KEY)"},                 \
    {                                                                                                        \
        "--ca-file", "FILE", NULL, "certificate authorities to trust for the server, besides the system's"   \
    }
#define CLI_CLIENT_FLAGS                                                                                     \
    CLI_SERVER_FLAGS, { "--json", NULL, NULL, "prints JSON" }

struct client {
    const struct cli_args *args;
    struct arena *arena;
    struct outbound *outbound;
    str url; /* without a slash at its end */
    str key;
    bool as_json;
    struct buf body; /* of the next request */
    struct json_writer writer;
};

/* Runs a command with a client made from its flags; whatever fn returns is the exit code. */
int client_run(const struct cli_args *args, int (*fn)(struct client *c));

/* For commands that also work on a data folder: whether --url, or CATALYST_URL without --data, means a server. */
bool client_is_meant(const struct cli_args *args);

/* --- requests --- */

/* Begins the body of the next call: an object is open, client_call closes it. */
struct json_writer *client_body(struct client *c);
/* *answer (may be NULL) is the answer's tree, NULL without a body. EXIT_OK, or the failure's exit code after it has been told. */
int client_call(struct client *c, const char *method, str path, const struct json **answer);
/* "a%20b": text as a part of a path or query. */
str client_escape(struct client *c, str text);

/* Flags that are members of a body. */
enum member_type {
    MEMBER_TEXT,
    MEMBER_TEXTS /* a,b,c */,
    MEMBER_INT,
    MEMBER_MONEY /* USD */,
    MEMBER_TRUE,
    MEMBER_FALSE
};
struct body_flag {
    const char *flag, *member;
    enum member_type type;
};
/* Those that were given; EXIT_USAGE, told, when one has a wrong value. */
int client_put_flags(struct client *c, struct json_writer *w, const struct body_flag *flags, unsigned n);

/* The id of what has this id or name in a list; told when there is none or several. */
int client_find(struct client *c, const char *list, const char *noun, const char *name, str *id);
/* The id of the key's workspace. */
int client_workspace(struct client *c, str *id);

/* --- answers --- */

enum column_type {
    COLUMN_TEXT,
    COLUMN_MONEY,
    COLUMN_TIME,
    COLUMN_COUNT,
    COLUMN_TEXTS,
    COLUMN_BOOL,
    COLUMN_PROGRESS
};
struct column {
    const char *title;
    const char *member; /* dotted */
    enum column_type type;
};
/* All pages of a list (with --limit at most so many) as a table or as a JSON array. query: without '?', may be empty. */
int client_list(struct client *c, const char *path, str query, const struct column *columns, unsigned n);
/* Calls, 50 unless --limit says otherwise; with --json objects, one a line. */
int client_lines(struct client *c, const char *path, str query, const struct column *columns, unsigned n);
/* The items of an answer that is no paged list. */
int client_table(struct client *c, const struct json *items, const struct column *columns, unsigned n);
/* One object: a line per column, or JSON. */
int client_object(struct client *c, const struct json *object, const struct column *columns, unsigned n);
/* A sentence, or the answer as JSON ({} without one). */
int client_done(struct client *c, const struct json *answer, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* `requests` and `usage` of a server. */
int client_requests(struct client *c);
int client_usage(struct client *c);

/* EXIT_USAGE after telling that a positional argument is missing; EXIT_OK when all n are there. */
int client_needs(struct client *c, unsigned n);
/* Tells the failure; its exit code. */
int client_fail(enum errc code, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
