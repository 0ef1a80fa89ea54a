/* config_internal.h - what loading and showing a configuration share: the option tables read as a schema of
 * paths.
 *
 * A path is a key as in the tables ("limits.head_bytes", "providers[].name", "aliases.*"). The document
 * itself is one tree: settings from the environment and the command line are put into it as nodes, with a
 * note of where each came from, so that checking, reading and showing know one kind of value.
 * Threads: as config.h.
 */
#ifndef CORE_CONFIG_INTERNAL_H
#define CORE_CONFIG_INTERNAL_H

#include "core/config.h"

struct schema {
    const struct option_table *const *tables;
    unsigned n_tables;
};

/* A node of the tree that did not come from the file. */
struct config_given {
    const struct json *node;
    enum config_origin origin;
    str where; /* "CATALYST_TLS__CERT", "--listen" */
    struct config_given *next;
};

/* The parsed default of an OPTION_TEXT_LIST. */
struct config_list_default {
    const struct option *option;
    const struct json *list;
    struct config_list_default *next;
};

struct config {
    struct schema schema;
    str file; /* as it was named; empty without one */
    str dir;
    struct json *root; /* an object */
    struct config_given *given;
    struct config_list_default *list_defaults;
};

/* The options of all tables in order; NULL behind the last. */
const struct option *schema_at(const struct schema *s, unsigned i);
/* The option of exactly this path, or NULL. */
const struct option *schema_find(const struct schema *s, str path);
/* Whether a key starts with path followed by infix ("." or "[]"). */
bool schema_has_below(const struct schema *s, str path, const char *infix);

enum schema_shape { SCHEMA_NOTHING, SCHEMA_LEAF, SCHEMA_SECTION, SCHEMA_LIST };
enum schema_shape schema_shape_of(const struct schema *s, str path, const struct option **leaf);

/* The first member of a path behind its prefix: "head_bytes" of "limits.head_bytes" behind "limits.",
 * "providers" of "providers[].name" behind "". Empty when key does not start with the prefix. */
str schema_segment(const char *key, str prefix);
/* Whether no option before i has the same segment behind the same prefix: each is visited once. */
bool schema_is_first(const struct schema *s, unsigned i, str prefix, str segment);

/* The text of a scalar ("true", "12", "abc"); false for null, lists and objects. */
bool config_scalar(const struct json *v, str *text);
/* The note of a node that was given outside the file, or NULL. */
const struct config_given *config_given_of(const struct config *c, const struct json *node);
/* The node at a key without lists, NULL when absent or null. */
const struct json *config_node(const struct config *c, const char *key);
/* Whether the text has the form of a credential, wherever it stands: such text is not repeated to people. */
bool config_looks_secret(str text);
/* The list that the fallback of a text list describes, or NULL. */
const struct json *config_list_default(const struct config *c, const struct option *o);

#endif
