/* search.c - events by filters, in the order of their numbers, within a bounded number of looks.
 *
 * Every index ends in the number, so that what one filter leaves is read in order from where the page before ended, and other
 * filters are tested on the rows. Kinds: an event's type, type of resource and outcome are some hundreds of combinations in a
 * workspace; those that are there are found by skipping through the index, the filters that are about them choose some, and their
 * rows are merged. First the newest FIRST_LOOK rows are tested one by one, which is the answer of most questions; then the index
 * that leaves the fewest, by a count that ends at COUNT_MOST. Where filters meet seldom, LOOKS_MOST rows are passed over and the
 * page says where it goes on. Times are not in the order of numbers (a request's time is when it arrived): event_spans tell in which
 * numbers a time can stand, exactly.
 */
#include <stdlib.h>

#include "core/audit/log_internal.h"

#define FIRST_LOOK 300u
#define COUNT_MOST 1000u
#define LOOKS_MOST 30000u
#define KINDS_MOST 4096u
#define CHUNK_FIRST 8u
#define CHUNK_MOST 1000u
#define FETCH 25u

/* --- statements: one per index, scope and direction --- */

#define NARROW "SELECT number, at_us, actor_id, kind, resource_id, address_token FROM events "
#define RANGE(a, b) "number > $" a " AND number < $" b

/* All of a scope. */
#define ALL(dir) \
    NARROW "INDEXED BY events_by_workspace WHERE workspace_id = $1 AND " RANGE("2", "3") " ORDER BY number" dir " LIMIT $4"
#define ALL_INSTANCE(dir) \
    NARROW "INDEXED BY events_by_workspace WHERE workspace_id IS NULL AND " RANGE("1", "2") " ORDER BY number" dir " LIMIT $3"
#define ALL_PG(dir)                                                                                                              \
    NARROW "WHERE (workspace_id, number) > ($1, $2) AND (workspace_id, number) < ($1, $3) ORDER BY workspace_id" dir ", number" dir \
           " LIMIT $4"
#define ALL_INSTANCE_PG(dir)                                                                                                     \
    NARROW "WHERE workspace_id IS NULL AND " RANGE("1", "2") " AND number IS NOT NULL ORDER BY workspace_id" dir ", number" dir " LIMIT $3"
SQL_PER_ENGINE(all_down, DB_MAIN, 0, "uiii", ALL(" DESC"), ALL_PG(" DESC"));
SQL_PER_ENGINE(all_up, DB_MAIN, 0, "uiii", ALL(""), ALL_PG(""));
SQL_PER_ENGINE(all_instance_down, DB_MAIN, SQL_INSTANCE, "iii", ALL_INSTANCE(" DESC"), ALL_INSTANCE_PG(" DESC"));
SQL_PER_ENGINE(all_instance_up, DB_MAIN, SQL_INSTANCE, "iii", ALL_INSTANCE(""), ALL_INSTANCE_PG(""));

/* Those with one value in a column that has an index. PostgreSQL has no hint: comparing and ordering by all columns of the index
 * leaves it no other one. */
#define BY(index, column, dir)                                                                                                   \
    NARROW "INDEXED BY " index " WHERE workspace_id = $1 AND " column " = $2 AND " RANGE("3", "4") " ORDER BY number" dir " LIMIT $5"
#define BY_INSTANCE(index, column, dir)                                                                                          \
    NARROW "INDEXED BY " index " WHERE workspace_id IS NULL AND " column " = $1 AND " RANGE("2", "3") " ORDER BY number" dir " LIMIT $4"
#define BY_PG(column, dir)                                                                                                       \
    NARROW "WHERE (workspace_id, " column ", number) > ($1, $2, $3) AND (workspace_id, " column ", number) < ($1, $2, $4) "      \
           "AND number IS NOT NULL AND " column " IS NOT NULL ORDER BY workspace_id" dir ", " column dir ", number" dir " LIMIT $5"
#define BY_INSTANCE_PG(column, dir)                                                                                              \
    NARROW "WHERE workspace_id IS NULL AND (" column ", number) > ($1, $2) AND (" column ", number) < ($1, $3) "                 \
           "AND number IS NOT NULL AND " column " IS NOT NULL ORDER BY workspace_id" dir ", " column dir ", number" dir " LIMIT $4"
#define INDEXED(name, index, column, letter)                                                                                     \
    SQL_PER_ENGINE(name##_down, DB_MAIN, 0, "u" letter "iii", BY(index, column, " DESC"), BY_PG(column, " DESC"));               \
    SQL_PER_ENGINE(name##_up, DB_MAIN, 0, "u" letter "iii", BY(index, column, ""), BY_PG(column, ""));                           \
    SQL_PER_ENGINE(name##_instance_down, DB_MAIN, SQL_INSTANCE, letter "iii", BY_INSTANCE(index, column, " DESC"),               \
                   BY_INSTANCE_PG(column, " DESC"));                                                                             \
    SQL_PER_ENGINE(name##_instance_up, DB_MAIN, SQL_INSTANCE, letter "iii", BY_INSTANCE(index, column, ""),                      \
                   BY_INSTANCE_PG(column, ""))
INDEXED(of_actor, "events_by_actor", "actor_id", "u");
INDEXED(of_resource, "events_by_resource", "resource_id", "u");
INDEXED(of_address, "events_by_address", "address_token", "i");
INDEXED(of_kind, "events_by_kind", "kind", "i");

enum way { WAY_ALL, WAY_RESOURCE, WAY_ADDRESS, WAY_ACTOR, WAY_KIND };
static const struct sql *const statements[][2][2] = {/* way, whether of the instance, whether oldest first */
    [WAY_ALL] = {{&all_down, &all_up}, {&all_instance_down, &all_instance_up}},
    [WAY_RESOURCE] = {{&of_resource_down, &of_resource_up}, {&of_resource_instance_down, &of_resource_instance_up}},
    [WAY_ADDRESS] = {{&of_address_down, &of_address_up}, {&of_address_instance_down, &of_address_instance_up}},
    [WAY_ACTOR] = {{&of_actor_down, &of_actor_up}, {&of_actor_instance_down, &of_actor_instance_up}},
    [WAY_KIND] = {{&of_kind_down, &of_kind_up}, {&of_kind_instance_down, &of_kind_instance_up}},
};

/* Kinds that are there, each with the texts of its first event. */
#define KINDS(scope, more, end)                                                                                                  \
    "WITH RECURSIVE k(kind) AS (SELECT * FROM (SELECT kind FROM events WHERE " scope                                             \
    " AND kind IS NOT NULL AND number IS NOT NULL ORDER BY " more "kind LIMIT 1) AS first "                                      \
    "UNION ALL SELECT (SELECT kind FROM events WHERE " scope                                                                     \
    " AND kind > k.kind AND number IS NOT NULL ORDER BY " more "kind LIMIT 1) FROM k WHERE k.kind IS NOT NULL) "                 \
    "SELECT k.kind, e.type, e.resource_type, e.error FROM k JOIN events AS e ON e.seq = (SELECT seq FROM events WHERE " scope    \
    " AND kind = k.kind AND number IS NOT NULL ORDER BY " more "kind, number LIMIT 1) WHERE k.kind IS NOT NULL LIMIT " end
SQL(kinds_of_workspace, DB_MAIN, 0, "ui", KINDS("workspace_id = $1", "workspace_id, ", "$2"));
SQL(kinds_of_instance, DB_MAIN, SQL_INSTANCE, "i", KINDS("workspace_id IS NULL", "workspace_id, ", "$1"));

#define WIDE                                                                                                                     \
    "SELECT number, workspace_number, id, workspace_id, resource_id, actor_id, credential_id, at_us, dropped_us, type, "         \
    "resource_type, error, bytes, leaf FROM events WHERE number IN ("                                                            \
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25) "        \
    "ORDER BY number"
SQL(wide_rows, DB_MAIN, SQL_INSTANCE, "iiiiiiiiiiiiiiiiiiiiiiiii", WIDE);

/* --- rows that are looked at --- */

struct narrow {
    int64_t number;
    usec at_us;
    uuid actor_id, resource_id;
    int64_t kind, address_token; /* NO_VALUE: none */
};

struct stream { /* what one value of an index leaves, in order */
    enum way way;
    struct val value;
    int64_t at; /* what has been read ends here */
    struct rows rows;
    unsigned i, chunk;
    bool is_done;
};

struct search {
    struct tx *tx;
    struct arena *a;
    const struct log_filter *f;
    int64_t above, below; /* the range of numbers, both excluded */
    int64_t *kinds;       /* chosen ones in order; NULL: any */
    unsigned n_kinds;
    int64_t *found;       /* numbers */
    unsigned n_found, wanted;
    unsigned looks;
    int64_t at;           /* everything up to here has been looked at */
};

static bool is_instance(const struct search *s) { return uuid_is_nil(&s->f->workspace_id); }

static enum errc ask(struct search *s, enum way way, const struct val *value, int64_t above, int64_t below, unsigned limit,
                     struct rows *out, err *e)
{
    struct val params[5];
    unsigned n = 0;
    if (!is_instance(s)) params[n++] = v_uuid(&s->f->workspace_id);
    if (way != WAY_ALL) params[n++] = *value;
    params[n++] = v_int(above);
    params[n++] = v_int(below);
    params[n++] = v_int(limit);
    return tx_query(s->tx, s->a, statements[way][is_instance(s)][s->f->is_oldest_first], params, n, out, e);
}

static enum errc fill(struct search *s, struct stream *t, err *e)
{
    int64_t above = s->f->is_oldest_first ? t->at : s->above, below = s->f->is_oldest_first ? s->below : t->at;
    if (t->i < t->rows.n || t->is_done) return ERR_NONE;
    enum errc rc = ask(s, t->way, &t->value, above, below, t->chunk, &t->rows, e);
    if (rc != ERR_NONE) return rc;
    t->i = 0;
    t->is_done = t->rows.n < t->chunk;
    if (t->rows.n) t->at = val_int(row_at(&t->rows, t->rows.n - 1));
    t->chunk = t->chunk * 4 < CHUNK_MOST ? t->chunk * 4 : CHUNK_MOST;
    return ERR_NONE;
}

static struct narrow narrow_of(const struct val *v)
{
    return (struct narrow){.number = val_int(&v[0]),
                           .at_us = val_int(&v[1]),
                           .actor_id = val_uuid(&v[2]),
                           .kind = val_int(&v[3]),
                           .resource_id = val_uuid(&v[4]),
                           .address_token = val_int(&v[5])};
}

static bool is_same(const uuid *a, const uuid *b) { return memcmp(a, b, sizeof *a) == 0; }

static bool has_kind(const struct search *s, int64_t kind)
{
    unsigned low = 0, high = s->n_kinds;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (s->kinds[middle] == kind) return true;
        if (s->kinds[middle] < kind)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool is_wanted(const struct search *s, const struct narrow *r)
{
    const struct log_filter *f = s->f;
    return (f->from_us == NO_VALUE || r->at_us >= f->from_us) && (f->until_us == NO_VALUE || r->at_us < f->until_us) &&
           (uuid_is_nil(&f->actor_id) || is_same(&f->actor_id, &r->actor_id)) &&
           (uuid_is_nil(&f->resource_id) || is_same(&f->resource_id, &r->resource_id)) &&
           (!f->has_address || r->address_token == f->address_token) && (!s->kinds || has_kind(s, r->kind));
}

/* Takes the row; false when there is enough. */
static bool take(struct search *s, const struct narrow *r)
{
    s->looks++;
    if (is_wanted(s, r)) s->found[s->n_found++] = r->number;
    s->at = r->number;
    return s->n_found < s->wanted;
}

/* --- kinds --- */

static char small(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static bool contains(str text, str part)
{
    for (size_t at = 0; at + part.len <= text.len; at++) {
        size_t i = 0;
        while (i < part.len && small(text.p[at + i]) == small(part.p[i]))
            i++;
        if (i == part.len) return true;
    }
    return false;
}

static bool is_wanted_kind(const struct log_filter *f, str type, str resource_type, str error)
{
    str prefix = f->action;
    if (str_ends(prefix, S("*"))) prefix.len--;
    if (f->action.len && !(prefix.len < f->action.len ? str_starts(type, prefix) : str_eq(type, f->action))) return false;
    if (f->resource_type.len && !str_eq(resource_type, f->resource_type)) return false;
    if (f->status.len && str_eq(f->status, S("failure")) != (error.p != NULL)) return false;
    return !f->text.len || contains(type, f->text) || contains(resource_type, f->text) || contains(error, f->text);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static enum errc choose_kinds(struct search *s, err *e)
{
    const struct log_filter *f = s->f;
    struct rows rows;
    if (!f->action.len && !f->resource_type.len && !f->status.len && !f->text.len) return ERR_NONE;
    enum errc rc = is_instance(s)
                       ? tx_query(s->tx, s->a, &kinds_of_instance, PARAMS(v_int(KINDS_MOST)), &rows, e)
                       : tx_query(s->tx, s->a, &kinds_of_workspace, PARAMS(v_uuid(&f->workspace_id), v_int(KINDS_MOST)), &rows, e);
    if (rc != ERR_NONE) return rc;
    s->kinds = arena_news(s->a, int64_t, rows.n + 1);
    if (!s->kinds) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        if (is_wanted_kind(f, val_str(&v[1]), val_str(&v[2]), val_str(&v[3]))) s->kinds[s->n_kinds++] = val_int(&v[0]);
    }
    qsort(s->kinds, s->n_kinds, sizeof *s->kinds, by_value);
    return ERR_NONE;
}

/* --- ways --- */

static struct stream stream_of(const struct search *s, enum way way, struct val value, unsigned chunk)
{
    return (struct stream){.way = way, .value = value, .chunk = chunk, .at = s->f->is_oldest_first ? s->above : s->below};
}

static enum errc follow(struct search *s, struct stream *t, unsigned looks_most, err *e)
{
    enum errc rc = fill(s, t, e);
    while (rc == ERR_NONE && t->i < t->rows.n && s->looks < looks_most) {
        struct narrow r = narrow_of(row_at(&t->rows, t->i++));
        if (!take(s, &r)) break;
        rc = fill(s, t, e);
    }
    return rc;
}

/* Of the kinds' streams the one whose next row comes first. */
static enum errc merge(struct search *s, bool *is_done, err *e)
{
    struct stream *streams = arena_news(s->a, struct stream, s->n_kinds + 1);
    enum errc rc = streams ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
    for (unsigned k = 0; k < s->n_kinds && rc == ERR_NONE; k++) {
        streams[k] = stream_of(s, WAY_KIND, v_int(s->kinds[k]), CHUNK_FIRST);
        rc = fill(s, &streams[k], e);
    }
    while (rc == ERR_NONE && s->looks < LOOKS_MOST) {
        struct stream *first = NULL;
        int64_t number = 0;
        for (unsigned k = 0; k < s->n_kinds; k++) {
            struct stream *t = &streams[k];
            if (t->i >= t->rows.n) continue;
            int64_t next = val_int(row_at(&t->rows, t->i));
            if (!first || (s->f->is_oldest_first ? next < number : next > number)) {
                first = t;
                number = next;
            }
        }
        *is_done = !first;
        if (!first) break;
        struct narrow r = narrow_of(row_at(&first->rows, first->i++));
        if (!take(s, &r)) break;
        rc = fill(s, first, e);
    }
    return rc;
}

/* How many rows a value leaves, as far as COUNT_MOST. */
static enum errc count(struct search *s, enum way way, struct val value, unsigned most, unsigned *n, err *e)
{
    struct arena_mark mark = arena_mark(s->a);
    struct rows rows;
    enum errc rc = ask(s, way, &value, s->above, s->below, most, &rows, e);
    *n = rc == ERR_NONE ? rows.n : 0;
    arena_reset(s->a, mark);
    return rc;
}

static enum errc choose_way(struct search *s, enum way *way, struct val *value, err *e)
{
    const struct log_filter *f = s->f;
    const struct {
        enum way way;
        bool is_set;
        struct val value;
    } ways[] = {
        {WAY_RESOURCE, !uuid_is_nil(&f->resource_id), v_uuid(&f->resource_id)},
        {WAY_ADDRESS, f->has_address, v_int(f->address_token)},
        {WAY_ACTOR, !uuid_is_nil(&f->actor_id), v_uuid(&f->actor_id)},
    };
    unsigned least = COUNT_MOST + 1, n = 0, sum = 0;
    enum errc rc = ERR_NONE;
    *way = WAY_ALL;
    for (unsigned i = 0; i < LENGTH_OF(ways) && rc == ERR_NONE; i++) {
        if (!ways[i].is_set) continue;
        rc = count(s, ways[i].way, ways[i].value, COUNT_MOST, &n, e);
        if (n >= least) continue;
        least = n;
        *way = ways[i].way;
        *value = ways[i].value;
    }
    if (!s->kinds) return rc;
    for (unsigned k = 0; k < s->n_kinds && rc == ERR_NONE && sum < least; k++) {
        rc = count(s, WAY_KIND, v_int(s->kinds[k]), least - sum < COUNT_MOST ? least - sum : COUNT_MOST, &n, e);
        sum += n;
    }
    if (sum < least || *way == WAY_ALL) *way = WAY_KIND;
    return rc;
}

static enum errc look(struct search *s, bool *is_done, err *e)
{
    enum way way;
    struct val value = v_null();
    struct stream all = stream_of(s, WAY_ALL, v_null(), 100);
    enum errc rc = follow(s, &all, FIRST_LOOK, e);
    *is_done = all.is_done && all.i >= all.rows.n;
    if (rc != ERR_NONE || *is_done || s->n_found >= s->wanted) return rc;
    if (s->f->is_oldest_first)
        s->above = s->at;
    else
        s->below = s->at;
    rc = choose_way(s, &way, &value, e);
    if (rc != ERR_NONE) return rc;
    if (way == WAY_KIND) return merge(s, is_done, e);
    struct stream t = stream_of(s, way, value, 100);
    rc = follow(s, &t, LOOKS_MOST, e);
    *is_done = t.is_done && t.i >= t.rows.n;
    return rc;
}

/* --- the rows themselves --- */

struct log_row log_row_of(const struct val *v)
{
    return (struct log_row){.number = val_int(&v[0]),
                            .workspace_number = val_int(&v[1]),
                            .id = val_uuid(&v[2]),
                            .workspace_id = val_uuid(&v[3]),
                            .resource_id = val_uuid(&v[4]),
                            .actor_id = val_uuid(&v[5]),
                            .credential_id = val_uuid(&v[6]),
                            .at_us = val_int(&v[7]),
                            .dropped_us = val_int(&v[8]),
                            .type = val_str(&v[9]),
                            .resource_type = val_str(&v[10]),
                            .error = val_str(&v[11]),
                            .bytes = val_str(&v[12]),
                            .leaf = val_str(&v[13])};
}

static enum errc fetch(struct search *s, struct log_row *out, err *e)
{
    for (unsigned at = 0; at < s->n_found; at += FETCH) {
        struct val params[FETCH];
        struct rows rows;
        unsigned n = s->n_found - at < FETCH ? s->n_found - at : FETCH;
        for (unsigned i = 0; i < FETCH; i++)
            params[i] = v_int(s->found[at + (i < n ? i : 0)]);
        enum errc rc = tx_query(s->tx, s->a, &wide_rows, params, FETCH, &rows, e);
        if (rc != ERR_NONE) return rc;
        if (rows.n != n) return err_set(e, ERR_CORRUPT, "the log's indexes name events that are not there");
        for (unsigned i = 0; i < n; i++) {
            struct log_row *row = &out[at + (s->f->is_oldest_first ? i : n - 1 - i)];
            *row = log_row_of(row_at(&rows, i));
            if (!is_same(&row->workspace_id, &s->f->workspace_id))
                return err_set(e, ERR_CORRUPT, "the log's indexes name events of another workspace");
        }
    }
    return ERR_NONE;
}

enum errc log_search(struct tx *tx, struct arena *a, const struct log_filter *f, int64_t behind, unsigned limit,
                     struct log_row **out, unsigned *n, int64_t *next, err *e)
{
    struct search s = {.tx = tx, .a = a, .f = f, .above = 0, .below = INT64_MAX, .wanted = limit + 1};
    bool is_done = true;
    *n = 0;
    *next = 0;
    enum errc rc = log_numbers_of_time(tx, f->from_us, f->until_us, &s.above, &s.below, e);
    if (behind && f->is_oldest_first && behind > s.above) s.above = behind;
    if (behind && !f->is_oldest_first && behind < s.below) s.below = behind;
    s.found = arena_news(a, int64_t, limit + 1);
    if (rc == ERR_NONE && !s.found) rc = err_code(e, ERR_TOO_LARGE);
    if (rc == ERR_NONE) rc = choose_kinds(&s, e);
    if (rc == ERR_NONE && (!s.kinds || s.n_kinds) && s.above < s.below) rc = look(&s, &is_done, e);
    if (rc != ERR_NONE) return rc;
    if (s.n_found > limit) { /* one more was read to see that there is one */
        s.n_found = limit;
        *next = limit ? s.found[limit - 1] : 0;
    } else if (!is_done) {
        *next = s.at;
    }
    *out = arena_news(a, struct log_row, s.n_found);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    rc = fetch(&s, *out, e);
    *n = rc == ERR_NONE ? s.n_found : 0;
    return rc;
}
