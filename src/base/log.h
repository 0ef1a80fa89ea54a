/* log.h - the server's log: one JSON object a line on standard error.
 *
 *   {"time":"2026-11-24T06:50:00.123456Z","level":"info","event":"listening","address":"127.0.0.1:8080"}
 *
 * `event` is a stable snake_case name. Never bodies, prompts, keys or secrets: callers pass named fields, nothing is dumped.
 * Lines over 8 KiB are cut (with "truncated":true). One write(2) a line, so lines of threads do not mix.
 * Threads: any.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_BOOL } kind;
    str s;
    int64_t i;
};

#define LOG_S(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_FIELD_STR, .s = (value_)})
#define LOG_I(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_FIELD_INT, .i = (int64_t)(value_)})
#define LOG_B(name_, value_) ((struct log_field){.name = (name_), .kind = LOG_FIELD_BOOL, .i = (value_)})

/* log_event(LOG_WARN, "journal_cut", LOG_S("file", path), LOG_I("bytes", n)); at least one field. */
#define log_event(level, event, ...)                                                                                  \
    do {                                                                                                              \
        if (log_enabled(level))                                                                                       \
            log_write((level), (event), (const struct log_field[]){__VA_ARGS__, {.name = NULL}});                     \
    } while (0)
/* An error as fields "error" (code name) and "reason". */
void log_error(enum log_level level, const char *event, const err *e);

bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields);
void log_set_level(enum log_level level);
/* Where lines go (default 2); -1 silences. */
void log_set_fd(int fd);
WARN_UNUSED bool log_level_parse(str name, enum log_level *out);

#endif
