/* bus.c - live frames from node to node, through rows of PostgreSQL.
 *
 * One thread writes what this node has published, some frames to a row and at most one row every BUS_EVERY_US, and reads
 * the rows of the others while streams are open here. A node writes its rows one after the other and their numbers
 * grow, so whoever asks for what is behind a number misses nothing that commits late. Nothing is written while no other
 * node has listeners. What does not fit into the queue is dropped and counted: these frames may be lost.
 *
 * A row, little endian: version (1), then for each frame: workspace (16), user (16), length of the permission's name
 * (1), the name, length of the text (4), the text as it is sent.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/waker.h"
#include "core/live/internal.h"
#include "core/nodes.h"

#define BUS_VERSION 1
#define BUS_EVERY_US (50LL * USEC_PER_MS)
#define BUS_POLL_US (1LL * USEC_PER_S)  /* for rows that nobody told us of, and when the database is away */
#define BUS_KEEP_US (10LL * USEC_PER_S) /* rows, for those that were held up */
#define BUS_SWEEP_US (2LL * USEC_PER_S)
#define BUS_QUEUE_FRAMES 8192
#define BUS_QUEUE_BYTES (4u << 20)
#define BUS_ROW_BYTES (1u << 20) /* a row ends after the frame that reaches it */
#define BUS_READ_ROWS 16
#define BUS_ARENA_MAX (64u << 20)
#define BUS_PEERS_MAX 256

SQL(bus_add, DB_MAIN, SQL_INSTANCE, "uiuib",
    "INSERT INTO live_frames (boot_id, n, node_id, at_us, frames) VALUES ($1, $2, $3, $4, $5)");
SQL(bus_sweep, DB_MAIN, SQL_INSTANCE, "ui", "DELETE FROM live_frames WHERE node_id = $1 AND at_us < $2");
SQL(bus_end, DB_MAIN, SQL_INSTANCE, "u", "SELECT MAX(n) FROM live_frames WHERE boot_id = $1");
SQL(bus_read, DB_MAIN, SQL_INSTANCE, "uii",
    "SELECT n, frames FROM live_frames WHERE boot_id = $1 AND n > $2 ORDER BY n LIMIT $3");

/* How far the rows of another node's start have been read. */
struct bus_place {
    struct node_peer peer;
    int64_t n;
    usec alive_us; /* monotonic: when it was last known to be there */
};

struct live_bus {
    struct live *live;
    struct nodes *nodes;
    struct db *db;
    struct waker waker;
    pthread_t thread;
    bool has_thread;
    _Atomic uint64_t n_dropped;
    pthread_mutex_t lock; /* guards the queue */
    struct live_frame *queue[BUS_QUEUE_FRAMES];
    unsigned first, n_queued;
    size_t queued_bytes;
    _Atomic bool is_told;
    /* of the thread */
    int64_t n; /* of the last row written */
    usec wrote_us, swept_us, read_us;
    bool has_rows, is_listening, was_well;
    uint64_t n_dropped_shown;
    struct bus_place places[BUS_PEERS_MAX];
    unsigned n_places;
    struct stat_series *sent, *received, *dropped;
};

/* --- the queue --- */

bool live_bus_is_heard(const struct live_bus *b) { return b && nodes_listening(b->nodes) > 0; }

void live_bus_put(struct live_bus *b, struct live_frame *f)
{
    bool is_first = false;
    pthread_mutex_lock(&b->lock);
    if (b->n_queued < BUS_QUEUE_FRAMES && b->queued_bytes + f->len <= BUS_QUEUE_BYTES) {
        is_first = b->n_queued == 0;
        b->queue[(b->first + b->n_queued++) % BUS_QUEUE_FRAMES] = live_frame_ref(f);
        b->queued_bytes += f->len;
    } else {
        b->n_dropped++;
    }
    pthread_mutex_unlock(&b->lock);
    if (is_first) waker_wake(&b->waker);
}

static struct live_frame *take(struct live_bus *b)
{
    struct live_frame *f = NULL;
    pthread_mutex_lock(&b->lock);
    if (b->n_queued) {
        f = b->queue[b->first];
        b->first = (b->first + 1) % BUS_QUEUE_FRAMES;
        b->n_queued--;
        b->queued_bytes -= f->len;
    }
    pthread_mutex_unlock(&b->lock);
    return f;
}

static bool has_queue(struct live_bus *b)
{
    pthread_mutex_lock(&b->lock);
    bool has = b->n_queued > 0;
    pthread_mutex_unlock(&b->lock);
    return has;
}

/* --- rows as bytes --- */

static void put_frame(struct buf *out, const struct live_frame *f)
{
    str needs = f->needs == PERMISSION_NONE ? S("") : str_c(permission_name(f->needs));
    buf_add(out, str_of((const char *)f->workspace.b, sizeof f->workspace));
    buf_add(out, str_of((const char *)f->user.b, sizeof f->user));
    buf_add_char(out, (char)needs.len);
    buf_add(out, needs);
    for (unsigned i = 0; i < 4; i++)
        buf_add_char(out, (char)(f->len >> (8 * i) & 0xff));
    buf_add(out, str_of(f->text, f->len));
}

static bool get(str *from, size_t n, str *out)
{
    if (from->len < n) return false;
    *out = str_take(*from, n);
    *from = str_skip(*from, n);
    return true;
}

enum errc live_frames_read(str row, void (*give)(void *ctx, struct live_frame *f), void *ctx)
{
    str version, workspace, user, len, name, text;
    if (!get(&row, 1, &version)) return ERR_CORRUPT;
    if (version.p[0] != BUS_VERSION) return ERR_NONE; /* of a later release: not for us */
    while (row.len) {
        enum permission needs = PERMISSION_NONE;
        uuid of_workspace, of_user;
        size_t n = 0;
        if (!get(&row, 16, &workspace) || !get(&row, 16, &user) || !get(&row, 1, &len) ||
            !get(&row, (uint8_t)len.p[0], &name) || !get(&row, 4, &len))
            return ERR_CORRUPT;
        for (unsigned i = 0; i < 4; i++)
            n |= (size_t)(uint8_t)len.p[i] << (8 * i);
        if (n > LIVE_FRAME_MAX || !get(&row, n, &text)) return ERR_CORRUPT;
        if (name.len && !permission_parse(name, &needs)) continue; /* nobody has it here */
        memcpy(of_workspace.b, workspace.p, 16);
        memcpy(of_user.b, user.p, 16);
        struct live_frame *f = live_frame_new(&of_workspace, &of_user, needs, 0, text);
        if (f) give(ctx, f);
        live_frame_unref(f);
    }
    return ERR_NONE;
}

void live_frames_begin(struct buf *out)
{
    buf_init(out, BUS_ROW_BYTES + 2 * LIVE_FRAME_MAX);
    buf_add_char(out, BUS_VERSION);
}

void live_frames_add(struct buf *out, const struct live_frame *f) { put_frame(out, f); }

/* --- writing --- */

struct bus_write {
    struct live_bus *bus;
    int64_t n; /* of the row */
    usec now_us;
    str frames; /* empty: none */
    usec sweep_before_us;
};

static enum errc write_unit(struct tx *tx, void *ctx, err *e)
{
    struct bus_write *w = ctx;
    const uuid *node = nodes_id(w->bus->nodes);
    enum errc rc = tx_read_committed(tx, e);
    if (rc == ERR_NONE) rc = tx_without_sync(tx, e);
    if (rc == ERR_NONE && w->frames.len)
        rc = tx_exec_unaudited(tx, &bus_add,
                               PARAMS(v_uuid(nodes_boot(w->bus->nodes)), v_int(w->n), v_uuid(node),
                                      v_int(w->now_us), v_blob(w->frames)),
                               NULL, e);
    if (rc == ERR_NONE && w->frames.len) rc = tx_tell(tx, TOPIC_LIVE, e);
    if (rc == ERR_NONE && w->sweep_before_us)
        rc = tx_exec_unaudited(tx, &bus_sweep, PARAMS(v_uuid(node), v_int(w->sweep_before_us)), NULL, e);
    return rc;
}

/* What waits, as one row; old rows go with it. Frames that could not be written are lost. */
static enum errc flush(struct live_bus *b, usec now, err *e)
{
    struct bus_write w = {.bus = b, .n = b->n + 1, .now_us = clock_now_us()};
    struct live_frame *f;
    struct buf text;
    unsigned n = 0;
    live_frames_begin(&text);
    while (text.len < BUS_ROW_BYTES && (f = take(b)) != NULL) {
        live_frames_add(&text, f);
        live_frame_unref(f);
        n++;
    }
    if (text.failed) n = 0;
    if (n) w.frames = buf_str(&text);
    if (b->has_rows && now - b->swept_us >= BUS_SWEEP_US) w.sweep_before_us = w.now_us - BUS_KEEP_US;
    enum errc rc = w.frames.len || w.sweep_before_us ? db_write(b->db, write_unit, &w, e) : ERR_NONE;
    if (rc == ERR_NONE && n) {
        b->n = w.n;
        b->wrote_us = now;
        b->has_rows = true;
        stats_add(b->sent, 0, n);
    } else {
        b->n_dropped += n;
    }
    if (rc == ERR_NONE && w.sweep_before_us) {
        b->swept_us = now;
        b->has_rows = now - b->wrote_us < BUS_KEEP_US + BUS_SWEEP_US;
    }
    buf_fini(&text);
    return rc;
}

/* --- reading --- */

/* Makes places for whoever is alive. A node that has started again numbers from anew, and all its rows are new to us. */
static void follow_peers(struct live_bus *b, usec now)
{
    struct node_peer peers[BUS_PEERS_MAX];
    unsigned n = nodes_others(b->nodes, peers, BUS_PEERS_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct bus_place *p = b->places, *end = b->places + b->n_places;
        while (p < end && memcmp(&p->peer.id, &peers[i].id, sizeof(uuid)) != 0)
            p++;
        if (p == end && b->n_places == BUS_PEERS_MAX) continue;
        if (p == end) b->n_places++;
        if (p == end || memcmp(&p->peer.boot, &peers[i].boot, sizeof(uuid)) != 0)
            *p = (struct bus_place){.peer = peers[i]};
        p->alive_us = now;
    }
}

struct bus_reading {
    struct arena *arena;
    const struct bus_place *place;
    struct rows rows;
};

static enum errc end_unit(struct tx *tx, void *ctx, err *e)
{
    struct bus_reading *r = ctx;
    return tx_query(tx, r->arena, &bus_end, PARAMS(v_uuid(&r->place->peer.boot)), &r->rows, e);
}

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct bus_reading *r = ctx;
    return tx_query(tx, r->arena, &bus_read,
                    PARAMS(v_uuid(&r->place->peer.boot), v_int(r->place->n), v_int(BUS_READ_ROWS)), &r->rows,
                    e);
}

/* The first stream is open: what was said before is not for it. */
static enum errc begin_listening(struct live_bus *b, usec now, err *e)
{
    enum errc rc = ERR_NONE;
    b->n_places = 0;
    follow_peers(b, now);
    for (unsigned i = 0; i < b->n_places && rc == ERR_NONE; i++) {
        struct arena a;
        struct bus_reading r = {.arena = &a, .place = &b->places[i]};
        arena_init(&a, 4096, 512);
        rc = db_read(b->db, end_unit, &r, e);
        if (rc == ERR_NONE && row_at(&r.rows, 0)->type == VAL_INT)
            b->places[i].n = val_int(row_at(&r.rows, 0));
        arena_fini(&a);
    }
    b->is_listening = rc == ERR_NONE;
    return rc;
}

static void give_to_hubs(void *ctx, struct live_frame *f)
{
    struct live_bus *b = ctx;
    stats_add(b->received, 0, 1);
    live_tell_frame(b->live, f);
}

static enum errc read_place(struct live_bus *b, struct bus_place *p, bool *has_more, err *e)
{
    struct arena a;
    struct bus_reading r = {.arena = &a, .place = p};
    arena_init(&a, BUS_ARENA_MAX, 64u << 10);
    enum errc rc = db_read(b->db, read_unit, &r, e);
    for (unsigned i = 0; rc == ERR_NONE && i < r.rows.n; i++) {
        const struct val *v = row_at(&r.rows, i);
        if (live_frames_read(val_str(&v[1]), give_to_hubs, b) != ERR_NONE)
            log_event(LOG_ERROR, "live_frames_damaged", LOG_I("n", val_int(&v[0])));
        p->n = val_int(&v[0]);
    }
    *has_more |= rc == ERR_NONE && r.rows.n == BUS_READ_ROWS;
    arena_fini(&a);
    return rc;
}

/* Also of those that have just gone: their last words come with their end. */
static enum errc read_others(struct live_bus *b, usec now, bool *has_more, err *e)
{
    enum errc rc = ERR_NONE;
    follow_peers(b, now);
    for (unsigned i = 0; i < b->n_places && rc == ERR_NONE; i++)
        if (now - b->places[i].alive_us < BUS_KEEP_US) rc = read_place(b, &b->places[i], has_more, e);
    return rc;
}

/* --- the thread --- */

static void *bus_main(void *arg)
{
    struct live_bus *b = arg;
    bool goes_on = true;
    for (usec wait = 0; goes_on;) {
        bool has_more = false;
        err e = {0};
        goes_on = waker_wait(&b->waker, wait);
        usec now = clock_mono_us();
        enum errc rc = ERR_NONE;
        if (!goes_on || now - b->wrote_us >= BUS_EVERY_US) rc = flush(b, now, &e);
        bool has_streams = b->live->n_streams > 0;
        if (!has_streams) b->is_listening = false;
        if (rc == ERR_NONE && has_streams && goes_on) {
            bool is_told = atomic_exchange(&b->is_told, false);
            if (!b->is_listening) {
                rc = begin_listening(b, now, &e);
            } else if (is_told || now - b->read_us >= BUS_POLL_US) {
                b->read_us = now;
                rc = read_others(b, now, &has_more, &e);
            }
        }
        if (rc != ERR_NONE && b->was_well) log_error(LOG_WARN, "live_bus_waits_for_the_database", &e);
        b->was_well = rc == ERR_NONE;
        uint64_t dropped = b->n_dropped;
        stats_add(b->dropped, 0, (int64_t)(dropped - b->n_dropped_shown));
        b->n_dropped_shown = dropped;
        wait = rc != ERR_NONE ? BUS_POLL_US : has_more ? 0 : has_queue(b) ? BUS_EVERY_US : BUS_POLL_US;
    }
    return NULL;
}

/* On any thread: somebody has written, or a stream has come. */
void live_bus_wake(struct live_bus *b)
{
    b->is_told = true;
    waker_wake(&b->waker);
}

static void on_told(void *ctx) { live_bus_wake(ctx); }

/* --- life --- */

enum errc live_bus_new(struct live_bus **out, struct live *l, struct store *store, struct nodes *nodes,
                       err *e)
{
    static const char *const labels[] = {"direction", NULL};
    struct live_bus *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b) return err_code(e, ERR_NO_MEMORY);
    if (waker_init(&b->waker, e) != ERR_NONE) {
        free(b);
        return e->code;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->live = l;
    b->nodes = nodes;
    b->db = store_db(store, DB_MAIN);
    b->was_well = b->has_rows = true; /* perhaps of an earlier start */
    struct stat *frames = stats_declare(STAT_COUNTER, "catalyst_live_bus_frames_total",
                                        "Live frames from and to other nodes.", labels, NULL, 0, 1);
    b->sent = stats_series(frames, (const str[]){S("sent")});
    b->received = stats_series(frames, (const str[]){S("received")});
    b->dropped =
        stats_series(stats_declare(STAT_COUNTER, "catalyst_live_bus_dropped_total",
                                   "Live frames that other nodes did not get: too many at once, or the "
                                   "database was out of reach.",
                                   NULL, NULL, 0, 1),
                     NULL);
    store_on_told(store, TOPIC_LIVE, on_told, b);
    int number = pthread_create(&b->thread, NULL, bus_main, b);
    if (number != 0) {
        live_bus_free(b);
        return err_errno(e, ERR_INTERNAL, number, "starting the bus of live frames");
    }
    b->has_thread = true;
    *out = b;
    return ERR_NONE;
}

void live_bus_free(struct live_bus *b)
{
    struct live_frame *f;
    if (!b) return;
    waker_stop(&b->waker);
    if (b->has_thread) pthread_join(b->thread, NULL);
    while ((f = take(b)) != NULL)
        live_frame_unref(f);
    waker_fini(&b->waker);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
