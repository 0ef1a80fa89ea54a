#include "gateway/rates/rows.h"

#include <stdlib.h>

#define NODES_MAX 64
#define BEAT_EVERY_US USEC_PER_S

SQL(rate_make, DB_USAGE, SQL_INSTANCE, "tuti",
    "INSERT INTO rate_buckets (what, id, kind, full_us) VALUES ($1, $2, $3, $4) ON CONFLICT (what, id, kind) DO NOTHING");
SQL_PER_ENGINE(rate_find, DB_USAGE, SQL_INSTANCE, "tut", "SELECT full_us FROM rate_buckets WHERE what = $1 AND id = $2 AND kind = $3",
               "SELECT full_us FROM rate_buckets WHERE what = $1 AND id = $2 AND kind = $3 FOR UPDATE");
SQL(rate_move, DB_USAGE, SQL_INSTANCE, "itut", "UPDATE rate_buckets SET full_us = $1 WHERE what = $2 AND id = $3 AND kind = $4");
SQL(places_find, DB_USAGE, SQL_INSTANCE, "tu", "SELECT node, held, wanted, beat FROM parallel_leases WHERE what = $1 AND id = $2 ORDER BY node");
SQL(places_put, DB_USAGE, SQL_INSTANCE, "tuiiii",
    "INSERT INTO parallel_leases (what, id, node, held, wanted, beat) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (what, id, node) DO UPDATE SET held = excluded.held, wanted = excluded.wanted, beat = excluded.beat");
SQL(places_drop, DB_USAGE, SQL_INSTANCE, "tui", "DELETE FROM parallel_leases WHERE what = $1 AND id = $2 AND node = $3");
SQL(places_forget, DB_USAGE, SQL_INSTANCE, "i", "DELETE FROM parallel_leases WHERE node = $1");
SQL(places_beat, DB_USAGE, SQL_INSTANCE, "ii", "UPDATE parallel_leases SET beat = $1 WHERE node = $2");

/* A node whose rows were seen. */
struct seen_node {
    int64_t no, beat;
    usec moved_us; /* monotonic: when the beat was last seen to change */
};

struct rate_rows {
    struct store *store;
    int64_t node_no, beat;
    usec away_us, beaten_us;
    bool has_forgotten; /* what an earlier start held */
    bool holds;         /* rows that must beat */
    struct seen_node nodes[NODES_MAX];
    unsigned n_nodes;
};

struct exchange_job {
    struct rate_rows *r;
    struct rate_exchange *x;
    usec now_us, mono_us;
    bool beats;
    struct seen_node seen[NODES_MAX]; /* of this unit; kept when it is committed */
    unsigned n_seen;
};

static struct val what_of(const struct rate_counter *c) { return v_text(c->what == 'p' ? S("project") : S("key")); }

static enum errc lock_row(struct tx *tx, struct arena *a, const struct rate_counter *c, str kind, usec now_us, int64_t *full_us, err *e)
{
    struct rows rows;
    for (unsigned tries = 0;; tries++) {
        enum errc rc = tx_query(tx, a, &rate_find, PARAMS(what_of(c), v_uuid(&c->id), v_text(kind)), &rows, e);
        if (rc != ERR_NONE)
            return rc;
        if (rows.n) {
            *full_us = val_int(&row_at(&rows, 0)[0]);
            return ERR_NONE;
        }
        if (tries == 1)
            return err_set(e, ERR_CONFLICT, "the row of a limit goes as soon as it is made");
        if ((rc = tx_exec(tx, &rate_make, PARAMS(what_of(c), v_uuid(&c->id), v_text(kind), v_int(now_us)), NULL, e)) != ERR_NONE)
            return rc;
    }
}

static enum errc move_bucket(struct tx *tx, struct arena *a, const struct exchange_job *j, struct rate_move *m, err *e)
{
    const struct rate_counter *c = m->counter;
    str kind = m->kind == RATE_REQUESTS ? S("requests") : S("tokens");
    int64_t full_us, before;
    enum errc rc = lock_row(tx, a, c, kind, j->now_us, &full_us, e);
    if (rc != ERR_NONE)
        return rc;
    before = full_us;
    rate_row_move(&full_us, j->now_us, m);
    return full_us == before ? ERR_NONE : tx_exec(tx, &rate_move, PARAMS(v_int(full_us), what_of(c), v_uuid(&c->id), v_text(kind)), NULL, e);
}

/* Whether the node's rows have moved of late. One that was never seen has. */
static bool is_alive(struct exchange_job *j, int64_t no, int64_t beat)
{
    struct seen_node *s = j->seen;
    while (s < j->seen + j->n_seen && s->no != no)
        s++;
    if (s == j->seen + NODES_MAX)
        return true;
    if (s == j->seen + j->n_seen)
        j->n_seen++;
    else if (s->beat == beat)
        return j->mono_us - s->moved_us < j->r->away_us;
    *s = (struct seen_node){no, beat, j->mono_us};
    return true;
}

static enum errc give_places(struct tx *tx, struct arena *a, struct exchange_job *j, struct rate_places *p, err *e)
{
    const struct rate_counter *c = p->counter;
    struct rows rows;
    int64_t lock, others = 0;
    enum errc rc = lock_row(tx, a, c, S("parallel"), j->now_us, &lock, e);
    if (rc == ERR_NONE)
        rc = tx_query(tx, a, &places_find, PARAMS(what_of(c), v_uuid(&c->id)), &rows, e);
    if (rc != ERR_NONE)
        return rc;
    bool has_row = false, others_hold = false, is_wanted = false;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        int64_t no = val_int(&row[0]);
        if (no == j->r->node_no) {
            has_row = true;
        } else if (is_alive(j, no, val_int(&row[3]))) {
            others += val_int(&row[1]);
            others_hold |= val_int(&row[1]) > 0;
            is_wanted |= val_int(&row[2]) > 0;
        }
    }
    int64_t left = p->limit - others - p->held, rest, want = p->want + (is_wanted ? 0 : p->spare);
    p->granted = left > 0 ? (left < want ? left : want) : 0;
    rest = left - p->granted;
    if (p->ahead_of && rest > 0)
        p->granted += rest / p->ahead_of;
    int64_t held = p->held + p->granted, wanted = p->want > p->granted ? p->want - p->granted : 0;
    rc = held || wanted ? tx_exec(tx, &places_put, PARAMS(what_of(c), v_uuid(&c->id), v_int(j->r->node_no), v_int(held), v_int(wanted), v_int(j->r->beat)), NULL, e)
         : has_row      ? tx_exec(tx, &places_drop, PARAMS(what_of(c), v_uuid(&c->id), v_int(j->r->node_no)), NULL, e)
                        : ERR_NONE;
    if (rc == ERR_NONE && ((wanted && others_hold) || (is_wanted && held < c->places_held)))
        rc = tx_tell(tx, TOPIC_LEASES, e);
    return rc;
}

static enum errc exchange_unit(struct tx *tx, void *ctx, err *e)
{
    struct exchange_job *j = ctx;
    struct rate_rows *r = j->r;
    struct arena a;
    memcpy(j->seen, r->nodes, sizeof j->seen);
    j->n_seen = r->n_nodes;
    arena_init(&a, 16 << 20, 4096);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE)
        rc = tx_without_sync(tx, e);
    if (rc == ERR_NONE && !r->has_forgotten)
        rc = tx_exec(tx, &places_forget, PARAMS(v_int(r->node_no)), NULL, e);
    for (unsigned i = 0; i < j->x->n_moves && rc == ERR_NONE; i++)
        rc = move_bucket(tx, &a, j, &j->x->moves[i], e);
    if (rc == ERR_NONE && j->beats)
        rc = tx_exec(tx, &places_beat, PARAMS(v_int(r->beat), v_int(r->node_no)), NULL, e);
    for (unsigned i = 0; i < j->x->n_places && rc == ERR_NONE; i++)
        rc = give_places(tx, &a, j, &j->x->places[i], e);
    arena_fini(&a);
    return rc;
}

enum errc rate_rows_exchange(struct rate_rows *r, struct rate_exchange *x, err *e)
{
    struct exchange_job j = {.r = r, .x = x, .now_us = clock_now_us(), .mono_us = clock_mono_us()};
    j.beats = r->holds && j.mono_us - r->beaten_us >= BEAT_EVERY_US;
    if (j.beats)
        r->beat++;
    enum errc rc = db_write(store_db(r->store, DB_USAGE), exchange_unit, &j, e);
    if (rc != ERR_NONE)
        return rc;
    memcpy(r->nodes, j.seen, sizeof r->nodes);
    r->n_nodes = j.n_seen;
    r->has_forgotten = true;
    if (j.beats)
        r->beaten_us = j.mono_us;
    for (unsigned i = 0; i < x->n_places; i++)
        r->holds |= x->places[i].held + x->places[i].granted > 0;
    return ERR_NONE;
}

enum errc rate_rows_new(struct rate_rows **out, struct store *store, int64_t node_no, unsigned away_ms, err *e)
{
    struct rate_rows *r = calloc(1, sizeof *r);
    if (!r)
        return err_code(e, ERR_NO_MEMORY);
    r->store = store;
    r->node_no = node_no;
    r->away_us = (usec)away_ms * 1000;
    r->beat = clock_now_us(); /* greater than before the restart, or at least another one */
    *out = r;
    return ERR_NONE;
}

void rate_rows_free(struct rate_rows *r) { free(r); }
