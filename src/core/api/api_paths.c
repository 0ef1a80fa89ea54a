/* From a path to its endpoint: segment by segment, a fixed segment before a parameter. */
#include <stdlib.h>

#include "base/utf8.h"
#include "core/api/api_internal.h"
#include "net/url.h"

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

static bool is_param(str segment) { return segment.len && segment.p[0] == ':'; }

/* The segments of "/a/b"; 0 when it has an empty one or too many. */
static unsigned split(str path, str segments[API_SEGMENTS_MAX])
{
    unsigned n = 0;
    if (!path.len || path.p[0] != '/') return 0;
    path = str_skip(path, 1);
    for (;;) {
        bool is_last = str_chr(path, '/') < 0;
        str segment = str_cut(&path, '/');
        if (!segment.len || n == API_SEGMENTS_MAX) return 0;
        segments[n++] = segment;
        if (is_last) return n;
    }
}

/* More exact first: at the first difference a fixed segment before a parameter. Methods of one path stay
 * adjacent. */
static int compare(const void *a, const void *b)
{
    const struct endpoint *x = a, *y = b;
    for (unsigned i = 0; i < x->n_segments && i < y->n_segments; i++) {
        if (is_param(x->segments[i]) != is_param(y->segments[i])) return is_param(x->segments[i]) ? 1 : -1;
        int order = str_cmp(x->segments[i], y->segments[i]);
        if (order) return order;
    }
    if (x->n_segments != y->n_segments) return x->n_segments < y->n_segments ? -1 : 1;
    return (int)x->api->method - (int)y->api->method;
}

static bool is_same_path(const struct endpoint *x, const struct endpoint *y)
{
    return !strcmp(x->api->path, y->api->path);
}

static enum errc set_allow(struct api *a, unsigned from, unsigned to, err *e)
{
    struct buf text;
    buf_init(&text, 256);
    for (unsigned i = from; i < to; i++) {
        enum http_method m = a->endpoints[i].api->method;
        buf_addf(&text, "%s%s%s", i > from ? ", " : "", method_names[m], m == HTTP_GET ? ", HEAD" : "");
    }
    str allow = str_dup(&a->arena, buf_str(&text));
    buf_fini(&text);
    for (unsigned i = from; i < to; i++)
        a->endpoints[i].allow = allow;
    return allow.p ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

enum errc api_compile(struct api *a, err *e)
{
    for (unsigned i = 0; i < a->n_endpoints; i++) {
        struct endpoint *ep = &a->endpoints[i];
        ep->n_segments = split(str_c(ep->api->path), ep->segments);
        for (unsigned j = 0; j < ep->n_segments; j++)
            ep->n_params += is_param(ep->segments[j]);
        if (!ep->n_segments || ep->n_params > API_PATH_PARAMS)
            return err_set(e, ERR_INTERNAL, "route %s: the path %s cannot be served", ep->api->name,
                           ep->api->path);
    }
    qsort(a->endpoints, a->n_endpoints, sizeof a->endpoints[0], compare);
    for (unsigned from = 0, to; from < a->n_endpoints; from = to) {
        for (to = from + 1; to < a->n_endpoints && is_same_path(&a->endpoints[from], &a->endpoints[to]); to++)
            if (a->endpoints[to].api->method == a->endpoints[to - 1].api->method)
                return err_set(e, ERR_INTERNAL, "%s %s is there twice, as %s and %s",
                               method_names[a->endpoints[to].api->method], a->endpoints[to].api->path,
                               a->endpoints[to - 1].api->name, a->endpoints[to].api->name);
        if (set_allow(a, from, to, e) != ERR_NONE) return e ? e->code : ERR_NO_MEMORY;
    }
    return ERR_NONE;
}

static bool matches(const struct endpoint *ep, const str *segments, unsigned n)
{
    if (ep->n_segments != n) return false;
    for (unsigned i = n; i-- > 0;) /* paths differ towards their end */
        if (!is_param(ep->segments[i]) && !str_eq(ep->segments[i], segments[i])) return false;
    return true;
}

const struct endpoint *api_find(const struct api *a, enum http_method m, str path, str *allow)
{
    str segments[API_SEGMENTS_MAX];
    unsigned n = split(path, segments);
    if (m == HTTP_HEAD) m = HTTP_GET;
    for (unsigned i = 0; n && i < a->n_endpoints; i++) {
        const struct endpoint *first = &a->endpoints[i];
        if (!matches(first, segments, n)) continue;
        *allow = first->allow;
        for (; i < a->n_endpoints && is_same_path(first, &a->endpoints[i]); i++)
            if (a->endpoints[i].api->method == m) return &a->endpoints[i];
        return NULL;
    }
    return NULL;
}

bool api_path_params(struct arena *a, const struct endpoint *ep, str path, struct api_request *r)
{
    str segments[API_SEGMENTS_MAX];
    unsigned n = split(path, segments), k = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!is_param(ep->segments[i])) continue;
        char *text = arena_bytes(a, segments[i].len);
        size_t len;
        if (!text || !url_decode(segments[i], text, &len) || !utf8_is_valid(str_of(text, len))) return false;
        r->path_text[k] = str_of(text, len);
        if (!uuid_parse(r->path_text[k], &r->path_id[k])) r->path_id[k] = (uuid){{0}};
        k++;
    }
    return true;
}
