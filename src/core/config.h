/* config.h - the configuration: flags over CATALYST_SECTION__KEY variables over the YAML file over settings of
 * the database over defaults, checked against the option tables.
 *
 * A loaded configuration is an immutable value in an arena. Every wrong thing is reported at once, each with
 * file, line and what would be right. Values of OPTION_SECRET keys never stand in a problem, a warning or the
 * output of config_show.
 * Variables: CATALYST_LIMITS__HEAD_BYTES sets limits.head_bytes; a key without a section takes both
 * underscores at once (CATALYST__LOOPS); variables with a single underscore (CATALYST_DATA) are not
 * configuration.
 * Threads: immutable after loading.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/options.h"
#include "json/tree.h"

enum config_origin { CONFIG_DEFAULT, CONFIG_DATABASE, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

struct config;

/* A value given on the command line or in the database: key as in the tables. Lists of texts are written
 * a,b,c. */
struct config_setting {
    str key, value;
    str given_as; /* for messages: "--listen"; empty means "--set KEY" */
};

struct config_source {
    const char *file;                   /* NULL = no file; must exist when given */
    const char *const *environ;         /* NULL = none */
    const struct config_setting *flags; /* from the command line */
    unsigned n_flags;
    const struct config_setting *database; /* only keys that are OPTION_SETTABLE count */
    unsigned n_database;
    const struct option_table *const *tables; /* of all rooms */
    unsigned n_tables;
};

/* Loads and checks. On ERR_CONFIG `problems` holds one line per problem ("data/catalyst.yaml:12: unknown key
 * 'limits.haed_bytes'; did you mean 'limits.head_bytes'?"), the message of e sums them up. Warnings ("...:
 * warning: ...", a readable-by-others file that holds secrets, for example) are appended too when it
 * succeeds. A setting of the database that is not valid (any more) is a warning and is left out: nobody could
 * start the server to correct it. The source need not outlive the call, the tables must. */
WARN_UNUSED enum errc config_load(struct arena *a, const struct config_source *source, struct config **out,
                                  struct buf *problems, err *e);

/* Values by key; the key must be in a table (asserted). Text keys without value and default give an empty
 * slice. */
str config_text(const struct config *c, const char *key);
int64_t config_int(const struct config *c, const char *key); /* also bytes and milliseconds */
bool config_bool(const struct config *c, const char *key);
/* The subtree at a key ("providers", "aliases"): NULL when absent. Lists and maps are read through it; scalar
 * leaves have been checked. For an OPTION_TEXT_LIST without a value this is its default. */
const struct json *config_tree(const struct config *c, const char *key);
/* Values inside list entries, with the table's parsing and default: config_entry_int(c, entry,
 * "providers[].connect_timeout_ms"). 0 / false / empty when there is neither value nor default. */
str config_entry_text(const struct config *c, const struct json *entry, const char *key);
int64_t config_entry_int(const struct config *c, const struct json *entry, const char *key);
bool config_entry_bool(const struct config *c, const struct json *entry, const char *key);
/* Whether the entry has the member at all (so that an override can be told from the default). */
bool config_entry_has(const struct config *c, const struct json *entry, const char *key);
/* "data/catalyst.yaml:12" (or the variable, or the flag) for messages about a value. */
str config_where(const struct config *c, struct arena *a, const struct json *value);
/* The same for a key: "default" when it was not set. */
str config_where_key(const struct config *c, struct arena *a, const char *key);
enum config_origin config_origin_of(const struct config *c, const char *key);
/* The directory that relative paths are relative to: the file's, "." without a file. */
str config_dir(const struct config *c);
/* A path of the configuration as one that can be opened: absolute ones as they are, others below config_dir.
 * NUL-terminated in the arena; NULL when the path is empty or the arena exhausted. */
const char *config_path(const struct config *c, struct arena *a, str path);

/* `config show`: every key with its value, secrets masked; with_origin adds where each came from. As YAML or
 * JSON. */
void config_show(const struct config *c, bool with_origin, bool as_json, struct buf *out);
/* The reference of all keys as Markdown (docs/configuration.md is made from it). */
void config_reference(const struct option_table *const *tables, unsigned n, struct buf *out);
/* One line per key for --help: key, default, meaning. */
void config_help(const struct option_table *const *tables, unsigned n, struct buf *out);

/* The option of a key as a setting can have it (not within lists; entries of maps by their own name:
 * "aliases.fast"), or NULL. */
const struct option *config_option(const struct option_table *const *tables, unsigned n, str key);
/* Checks one value against its option without loading anything: ERR_INVALID says what would be right. */
WARN_UNUSED enum errc config_check_value(const struct option_table *const *tables, unsigned n, str key, str value, err *e);
/* Every key whose value differs between two configurations of the same tables: whole lists and maps count as
 * one ("providers", "aliases"). change is the option's, of lists that of their entries' first option. */
void config_diff(const struct config *a, const struct config *b,
                 void (*differs)(void *ctx, str key, enum option_change change), void *ctx);

/* A size or duration as the file would say it ("16KiB", "10s"), the largest unit that loses nothing.
 * NUL-terminated. */
#define CONFIG_NUMBER_LEN 28
str config_number_format(enum option_type type, int64_t v, char out[CONFIG_NUMBER_LEN]);
/* The reverse for OPTION_INT, OPTION_BYTES and OPTION_MS. */
WARN_UNUSED bool config_number_parse(enum option_type type, str s, int64_t *out);

#endif
