#include "core/webauthn/cbor.h"

#include "base/utf8.h"

enum major {
    MAJOR_UINT,
    MAJOR_NEGATIVE,
    MAJOR_BYTES,
    MAJOR_TEXT,
    MAJOR_ARRAY,
    MAJOR_MAP,
    MAJOR_TAG,
    MAJOR_SIMPLE
};

static enum errc cut_short(err *e) { return err_set(e, ERR_INVALID, "CBOR is cut short"); }

/* The first byte of an item and the number that it announces, in the fewest bytes. */
static enum errc read_head(str *rest, enum major *major, uint64_t *n, err *e)
{
    if (!rest->len) return cut_short(e);
    uint8_t first = (uint8_t)rest->p[0];
    unsigned more = first & 0x1f;
    *major = first >> 5;
    *rest = str_skip(*rest, 1);
    *n = more;
    if (*major == MAJOR_SIMPLE)
        return ERR_NONE; /* what follows its byte would be a float or a number of none */
    if (more < 24) return ERR_NONE;
    if (more > 27) return err_set(e, ERR_INVALID, "CBOR of indefinite length is not accepted");
    size_t len = (size_t)1 << (more - 24);
    if (rest->len < len) return cut_short(e);
    *n = 0;
    for (size_t i = 0; i < len; i++)
        *n = *n << 8 | (uint8_t)rest->p[i];
    *rest = str_skip(*rest, len);
    static const uint64_t least[] = {24, 0x100, 0x10000, 0x100000000};
    return *n >= least[more - 24] ? ERR_NONE : err_set(e, ERR_INVALID, "CBOR is not in its shortest form");
}

/* Whether a comes before b; the order of canonical maps: major type, then length, then bytes. */
static bool is_before(str a, str b)
{
    uint8_t major_a = (uint8_t)a.p[0] >> 5, major_b = (uint8_t)b.p[0] >> 5;
    if (major_a != major_b) return major_a < major_b;
    if (a.len != b.len) return a.len < b.len;
    return memcmp(a.p, b.p, a.len) < 0;
}

static enum errc read_item(str *rest, unsigned depth, struct cbor *out, err *e);

static enum errc check_elements(str *rest, const struct cbor *c, unsigned depth, err *e)
{
    bool is_map = c->type == CBOR_MAP;
    str last = {NULL, 0};
    struct cbor item;
    if (depth == CBOR_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "CBOR is nested deeper than %d levels", CBOR_DEPTH_MAX);
    if (c->n > rest->len) return cut_short(e); /* an element has a byte at least */
    for (uint64_t i = 0; i < c->n; i++) {
        enum errc rc;
        if (is_map) {
            str from = *rest;
            if ((rc = read_item(rest, depth + 1, &item, e)) != ERR_NONE) return rc;
            if (item.type != CBOR_UINT && item.type != CBOR_NEGATIVE && item.type != CBOR_TEXT)
                return err_set(e, ERR_INVALID, "a CBOR map has a key that is no integer and no text");
            str key = str_take(from, from.len - rest->len);
            if (last.p && !is_before(last, key))
                return err_set(e, ERR_INVALID,
                               "the keys of a CBOR map are out of order, or one is there twice");
            last = key;
        }
        if ((rc = read_item(rest, depth + 1, &item, e)) != ERR_NONE) return rc;
    }
    return ERR_NONE;
}

static enum errc read_item(str *rest, unsigned depth, struct cbor *out, err *e)
{
    enum major major = MAJOR_UINT;
    uint64_t n = 0;
    enum errc rc = read_head(rest, &major, &n, e);
    if (rc != ERR_NONE) return rc;
    *out = (struct cbor){.n = n, .bytes = *rest};
    switch (major) {
    case MAJOR_UINT: out->type = CBOR_UINT; break;
    case MAJOR_NEGATIVE: out->type = CBOR_NEGATIVE; break;
    case MAJOR_BYTES:
    case MAJOR_TEXT:
        if (n > rest->len) return cut_short(e);
        out->type = major == MAJOR_TEXT ? CBOR_TEXT : CBOR_BYTES;
        out->bytes = str_take(*rest, (size_t)n);
        if (major == MAJOR_TEXT && !utf8_is_valid(out->bytes))
            return err_set(e, ERR_INVALID, "a text of CBOR is not UTF-8");
        *rest = str_skip(*rest, (size_t)n);
        return ERR_NONE;
    case MAJOR_ARRAY:
    case MAJOR_MAP:
        out->type = major == MAJOR_ARRAY ? CBOR_ARRAY : CBOR_MAP;
        rc = check_elements(rest, out, depth, e);
        out->bytes.len -= rest->len;
        return rc;
    case MAJOR_TAG: return err_set(e, ERR_INVALID, "CBOR with tags is not accepted");
    case MAJOR_SIMPLE:
        switch (n) {
        case 20: out->type = CBOR_FALSE; break;
        case 21: out->type = CBOR_TRUE; break;
        case 22: out->type = CBOR_NULL; break;
        default:
            return err_set(e, ERR_INVALID,
                           "CBOR with floating point or unknown simple values is not accepted");
        }
        break;
    }
    out->bytes = (str){NULL, 0};
    return ERR_NONE;
}

enum errc cbor_read(str *rest, struct cbor *out, err *e) { return read_item(rest, 0, out, e); }

enum errc cbor_parse(str text, struct cbor *out, err *e)
{
    enum errc rc = read_item(&text, 0, out, e);
    if (rc == ERR_NONE && text.len)
        return err_set(e, ERR_INVALID, "%zu bytes stand behind the CBOR", text.len);
    return rc;
}

bool cbor_next(str *elements, struct cbor *out)
{
    return elements->len && read_item(elements, 0, out, NULL) == ERR_NONE;
}

bool cbor_at(const struct cbor *map, int64_t key, struct cbor *out)
{
    struct cbor k;
    int64_t number;
    if (map->type != CBOR_MAP) return false;
    for (str rest = map->bytes; cbor_next(&rest, &k) && cbor_next(&rest, out);)
        if (cbor_i64(&k, &number) && number == key) return true;
    return false;
}

bool cbor_named(const struct cbor *map, str key, struct cbor *out)
{
    struct cbor k;
    if (map->type != CBOR_MAP) return false;
    for (str rest = map->bytes; cbor_next(&rest, &k) && cbor_next(&rest, out);)
        if (k.type == CBOR_TEXT && str_eq(k.bytes, key)) return true;
    return false;
}

bool cbor_i64(const struct cbor *c, int64_t *out)
{
    if ((c->type != CBOR_UINT && c->type != CBOR_NEGATIVE) || c->n > INT64_MAX) return false;
    *out = c->type == CBOR_UINT ? (int64_t)c->n : -1 - (int64_t)c->n;
    return true;
}
