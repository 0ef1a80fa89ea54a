/* Compiling paths: a trie is built with parent links, then laid out level by level so that children are
 * adjacent. */
#include "json/scan.h"

struct draft {
    struct json_query_node node;
    unsigned parent;
};

/* The child of `parent` for one step of a path, made when missing; 0 when there is no room. Node 0 is the
 * root. */
static unsigned draft_step(struct draft *d, unsigned *n, unsigned parent, str name, bool any_element)
{
    for (unsigned i = 1; i < *n; i++)
        if (d[i].parent == parent && d[i].node.any_element == any_element && str_eq(d[i].node.name, name))
            return i;
    if (*n == JSON_QUERY_NODES) return 0;
    d[*n] = (struct draft){{.name = name, .path = -1, .any_element = any_element}, parent};
    return (*n)++;
}

/* Cuts the next step off a path: a name, or "[]". False when the path is malformed. */
static bool path_step(str *rest, bool at_start, str *name, bool *any_element)
{
    *any_element = str_starts(*rest, S("[]"));
    if (*any_element) {
        *name = (str){NULL, 0};
        *rest = str_skip(*rest, 2);
        return true;
    }
    if (!at_start) {
        if (*rest->p != '.') return false;
        *rest = str_skip(*rest, 1);
    }
    size_t len = 0;
    while (len < rest->len && !memchr(".[]", rest->p[len], 3))
        len++;
    *name = str_take(*rest, len);
    *rest = str_skip(*rest, len);
    return len > 0;
}

enum errc json_query_init(struct json_query *q, const struct json_path *paths, unsigned n, err *e)
{
    struct draft d[JSON_QUERY_NODES] = {{{.path = -1}, 0}};
    unsigned n_nodes = 1;
    memset(q, 0, sizeof *q);
    if (n > JSON_QUERY_PATHS)
        return err_set(e, ERR_INVALID, "a query has at most %d paths, not %u", JSON_QUERY_PATHS, n);
    for (unsigned i = 0; i < n; i++) {
        str rest = paths[i].path;
        unsigned at = 0;
        if (rest.len == 0) return err_set(e, ERR_INVALID, "path %u of the query is empty", i);
        while (rest.len > 0) {
            str name;
            bool any_element;
            if (!path_step(&rest, rest.p == paths[i].path.p, &name, &any_element))
                return err_set(e, ERR_INVALID, "path '%.*s' is malformed", STR(paths[i].path));
            at = draft_step(d, &n_nodes, at, name, any_element);
            if (at == 0) return err_set(e, ERR_INVALID, "a query has at most %d nodes", JSON_QUERY_NODES);
            d[at].node.decides |= paths[i].decides;
        }
        if (d[at].node.path >= 0)
            return err_set(e, ERR_INVALID, "path '%.*s' is there twice", STR(paths[i].path));
        d[at].node.path = (int8_t)i;
    }

    unsigned from[JSON_QUERY_NODES] = {0}; /* the draft index of each node in q */
    q->nodes[0] = d[0].node;
    q->n_nodes = 1;
    q->n_paths = n;
    for (unsigned at = 0; at < q->n_nodes; at++) {
        q->nodes[at].first_child = (uint8_t)q->n_nodes;
        for (unsigned i = 1; i < n_nodes; i++) {
            if (d[i].parent != from[at]) continue;
            from[q->n_nodes] = i;
            q->nodes[q->n_nodes++] = d[i].node;
            q->nodes[at].n_children++;
        }
    }
    return ERR_NONE;
}
