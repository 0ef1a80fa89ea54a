/* yaml.h - YAML 1.1 as libyaml reads it, restricted to what configuration needs, into the tree of tree.h with
 * line marks.
 *
 * One document; no anchors, aliases or merge keys (refused: they are bombs and surprises), no tags, plain
 * scalars resolved by the JSON-like core rules: null ~ true false and decimal integers/floats; everything
 * else, and every quoted scalar, is a string ("yes", "on", "010" stay text). Duplicate keys are refused.
 * Limits: 1 MiB of text, depth 32.
 * Errors: ERR_SYNTAX, ERR_INVALID with "line L, column C" in the message.
 */
#ifndef JSON_YAML_H
#define JSON_YAML_H

#include "json/tree.h"

#define YAML_TEXT_MAX (1u << 20)

WARN_UNUSED enum errc yaml_parse(struct arena *a, str text, struct json **out, err *e);

#endif
