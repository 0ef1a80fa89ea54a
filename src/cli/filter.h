/* filter.h - which calls of the journal a command is about, by the flags that all of them share.
 *
 * Text flags match the whole name and may hold `*` and `?`. Times are UTC: a date, an RFC 3339 time, or a
 * span back from now (90m, 24h, 7d); --since is inclusive, --until exclusive.
 * Threads: plain values; slices of the command line.
 */
#ifndef CLI_FILTER_H
#define CLI_FILTER_H

#include "cli/cli.h"
#include "gateway/ledger/calls.h"

#define CALL_FILTER_FLAGS                                                                             \
    {"--since", "TIME", NULL, "calls that started at or after: a date, RFC 3339, or 24h, 7d back"},   \
        {"--until", "TIME", NULL, "calls that started before"},                                       \
        {"--model", "GLOB", NULL, "model, as sent to the provider or as asked for"},                  \
        {"--provider", "GLOB", NULL, "provider"},                                                     \
        {"--key", "GLOB", NULL, "virtual key, by name or by its 32 hex digits of id"},                \
        {"--project", "GLOB", NULL, "project"},                                                       \
        {"--user", "GLOB", NULL, "user label"},                                                       \
        {"--task", "GLOB", NULL, "task id"},                                                          \
        {"--session", "GLOB", NULL, "session id: one run of an agent"},                               \
        {"--tag", "GLOB", NULL, "one of the call's tags"},                                            \
        {"--status", "STATUS", NULL, "200, 4xx, failed, or an outcome such as completed, cut"},       \
    {                                                                                                 \
        "--dialect", "NAME", NULL, "chat, responses, messages, embeddings or count_tokens"            \
    }

struct call_filter {
    usec since_us, until_us; /* INT64_MIN / INT64_MAX without */
    str model, provider, key, project, user, task, session, tag, status; /* p == NULL without */
    bool has_dialect;
    enum dialect dialect;
};

/* ERR_USAGE. */
WARN_UNUSED enum errc call_filter_parse(struct call_filter *f, const struct cli_args *args, usec now_us,
                                        err *e);
bool call_filter_matches(const struct call_filter *f, const struct usage_record *r);
/* Neither passed on nor answered as it should be: cut, refused, failed upstream, or an error status. A client
 * that went away is no failure. */
bool call_is_failed(const struct usage_record *r);

/* The journal below the data folder; *out is NULL when the folder has none yet. ERR_NOT_FOUND without the
 * folder. */
WARN_UNUSED enum errc cli_journal_open(const struct cli_args *args, struct journal_reader **out, err *e);
/* Every call that fits the filter's times, once: those of the database, and those of the journal (rd, which may be NULL) that are not there yet. */
WARN_UNUSED enum errc cli_calls_each(const struct cli_app *app, const struct cli_args *args, struct journal_reader *rd, const struct call_filter *f,
                                     call_fn fn, void *ctx, uint64_t *n_damaged, err *e);
/* Says on standard error that segments end in damage; nothing for 0. */
void cli_journal_damage(uint64_t n_damaged);

/* "1,234,567" */
void add_thousands(struct buf *out, int64_t v);
/* Text for a terminal: control characters, which clients could smuggle in, become '?'. Padded to width
 * columns with spaces (0 = not). */
void add_plain(struct buf *out, str s, size_t width);

#endif
