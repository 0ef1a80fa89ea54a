/* options.h - how a room declares its configuration keys.
 *
 * Each room exports one const table; main.c collects them. From the tables come the check of the file (unknown keys are errors with "did you mean"), `config show
 * --origin`, the reference in docs/configuration.md, the part of --help that lists keys, and what may change while the server runs.
 * Keys: "limits.head_bytes"; members of list entries "providers[].name"; entries of free maps "aliases.*".
 * Threads: constant.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/str.h"

enum option_type {
    OPTION_TEXT,
    OPTION_SECRET,   /* text that is never shown */
    OPTION_BOOL,
    OPTION_INT,      /* plain count, min..max */
    OPTION_BYTES,    /* bytes; the file may say 16KiB, 32MiB, 1GiB */
    OPTION_MS,       /* milliseconds; the file may say 500ms, 10s, 5m, 1h */
    OPTION_TEXT_LIST,/* a sequence of texts */
    OPTION_ONE_OF,   /* one of `choices`, separated by '|' */
    OPTION_TREE,     /* anything; the room checks it itself */
};

/* When another value takes effect on a server that runs. */
enum option_change {
    OPTION_AT_START,  /* not before it is started again */
    OPTION_ON_RELOAD, /* on SIGHUP; not settable in the database: a path, a list, what keeps the door shut */
    OPTION_SETTABLE,  /* on SIGHUP, and an administrator of the instance may set it in the database (GET and PUT /api/settings) */
};

struct option {
    const char *key;
    enum option_type type;
    const char *fallback; /* as it would stand in the file; NULL = none */
    int64_t min, max;     /* OPTION_INT, OPTION_BYTES, OPTION_MS */
    const char *choices;  /* OPTION_ONE_OF */
    bool is_required;     /* inside list entries: every entry must have it */
    enum option_change change;
    const char *meaning;  /* one sentence, shown to people */
};

struct option_table {
    const struct option *options;
    unsigned n;
};

#endif
