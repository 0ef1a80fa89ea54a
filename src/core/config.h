/* config.h - the configuration: flags over CATALYST_SECTION__KEY variables over the YAML file over defaults, checked against the option tables.
 *
 * A loaded configuration is an immutable value in an arena. Every wrong thing is reported at once, each with file, line and what would be right.
 * Threads: immutable after loading.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/options.h"
#include "json/tree.h"

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

struct config;

/* A value given on the command line or in the environment: key as in the tables. */
struct config_setting {
    str key, value;
};

struct config_source {
    const char *file;                   /* NULL = no file; must exist when given */
    const char *const *environ;         /* NULL = none */
    const struct config_setting *flags; /* from the command line */
    unsigned n_flags;
    const struct option_table *const *tables; /* of all rooms */
    unsigned n_tables;
};

/* Loads and checks. On ERR_CONFIG `problems` holds one line per problem ("catalyst.yaml:12: unknown key 'limits.haed_bytes'; did you mean 'limits.head_bytes'?").
 * Warnings (a readable-by-others file that holds secrets, for example) are appended too when it succeeds. */
WARN_UNUSED enum errc config_load(struct arena *a, const struct config_source *source, struct config **out, struct buf *problems, err *e);

/* Values by key; the key must be in a table (asserted). Text keys without value and default give an empty slice. */
str config_text(const struct config *c, const char *key);
int64_t config_int(const struct config *c, const char *key);  /* also bytes and milliseconds */
bool config_bool(const struct config *c, const char *key);
/* The subtree at a key ("providers", "aliases"): NULL when absent. Lists and maps are read through it; scalar leaves have been checked. */
const struct json *config_tree(const struct config *c, const char *key);
/* Values inside list entries, with the table's parsing and default: config_entry_int(c, entry, "providers[].connect_timeout_ms"). */
str config_entry_text(const struct config *c, const struct json *entry, const char *key);
int64_t config_entry_int(const struct config *c, const struct json *entry, const char *key);
bool config_entry_bool(const struct config *c, const struct json *entry, const char *key);
/* "catalyst.yaml:12" for messages about a value. */
str config_where(const struct config *c, struct arena *a, const struct json *value);
/* The directory that relative paths of the file are relative to. */
str config_dir(const struct config *c);

/* `config show`: every key with its value, secrets masked; with_origin adds where each came from. As YAML-like text or JSON. */
void config_show(const struct config *c, bool with_origin, bool as_json, struct buf *out);
/* The reference of all keys as Markdown (docs/configuration.md is made from it). */
void config_reference(const struct option_table *const *tables, unsigned n, struct buf *out);

#endif
