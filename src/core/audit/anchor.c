/* anchor.c - the thread that gives heads and segments away, and what is known of how far they are. */
#include "core/audit/anchor.h"

#include <stdlib.h>

#include "base/log.h"
#include "core/audit/records.h"
#include "core/audit/trail.h"

#define PAUSE_FIRST_US (1 * USEC_PER_S)
#define PAUSE_MOST_US (60 * USEC_PER_S)
#define LOOK_US (1 * USEC_PER_S)
#define SEGMENT_EVENTS 4096 /* most of one segment at an anchor */
#define LAST_ROUND_US (5 * USEC_PER_S)

#define ANCHOR_COLUMNS "name, kind, head_size, head_us, segment_number, tried_us, failing_us, error"
SQL(find_anchor, DB_MAIN, SQL_INSTANCE, "t", "SELECT head_size, segment_number, failing_us FROM audit_anchors WHERE name = $1");
SQL(list_anchors, DB_MAIN, SQL_INSTANCE, "", "SELECT " ANCHOR_COLUMNS " FROM audit_anchors ORDER BY name");
SQL(anchor_worked, DB_MAIN, SQL_INSTANCE, "ttiiii",
    "INSERT INTO audit_anchors (name, kind, head_size, head_us, segment_number, tried_us) VALUES ($1, $2, $3, $4, $5, $6) "
    "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, head_size = excluded.head_size, head_us = excluded.head_us, "
    "segment_number = excluded.segment_number, tried_us = excluded.tried_us, failing_us = NULL, error = NULL");
SQL(anchor_failed, DB_MAIN, SQL_INSTANCE, "ttiit",
    "INSERT INTO audit_anchors (name, kind, head_size, segment_number, tried_us, failing_us, error) VALUES ($1, $2, 0, 0, $3, $4, $5) "
    "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, tried_us = excluded.tried_us, "
    "failing_us = COALESCE(audit_anchors.failing_us, excluded.failing_us), error = excluded.error");
SQL(tree_size_now, DB_MAIN, SQL_INSTANCE, "u", "SELECT size FROM audit_trees WHERE tree_id = $1");

static const uuid instance;

struct anchors {
    struct audit *audit;
    struct anchor **list;
    unsigned n;
    struct waker waker;
    bool has_waker, has_thread;
    pthread_t thread;
    atomic_bool is_stopping;
    struct stat *failing, *behind;
};

/* --- one anchor --- */

enum errc anchor_new(struct anchor **out, const struct config *c, const struct json *entry, struct outbound *outbound,
                     const atomic_bool *is_stopping, err *e)
{
    static const struct anchor_kind *const kinds[] = {&anchor_file, &anchor_s3, &anchor_syslog, &anchor_webhook};
    str name = config_entry_text(c, entry, "audit.anchors[].name"), kind = config_entry_text(c, entry, "audit.anchors[].kind");
    struct anchor *a = calloc(1, sizeof *a);
    enum errc rc = a && (a->name = strndup(name.p ? name.p : "", name.len)) ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
    *out = NULL;
    if (rc == ERR_NONE) {
        a->has_segments = config_entry_bool(c, entry, "audit.anchors[].segments");
        a->outbound = outbound;
        a->is_stopping = is_stopping;
        for (size_t i = 0; i < LENGTH_OF(kinds); i++)
            if (str_eq(kind, str_c(kinds[i]->name))) a->kind = kinds[i];
        rc = a->kind ? a->kind->open(a, c, entry, e) : err_set(e, ERR_CONFIG, "it is of no kind that there is");
    }
    if (rc == ERR_NONE && a->has_segments && !a->kind->put_segment)
        rc = err_set(e, ERR_CONFIG, "segments go to anchors of the kinds file and s3 only");
    if (rc != ERR_NONE) {
        err_prefix(e, "audit.anchors: %.*s", STR(name));
        anchor_free(a);
        return rc;
    }
    *out = a;
    return rc;
}

void anchor_free(struct anchor *a)
{
    if (!a) return;
    if (a->state) a->kind->close(a);
    free(a->name);
    free(a);
}

/* --- a round --- */

struct standing {
    struct arena *arena;
    const struct anchor *anchor;
    struct audit_head head;
    bool has_head, is_failing;
    int64_t head_size, segment_number;
};

static enum errc standing_unit(struct tx *tx, void *ctx, err *e)
{
    struct standing *s = ctx;
    struct rows rows;
    enum errc rc = audit_head(tx, s->arena, &instance, &s->head, e);
    s->has_head = rc == ERR_NONE;
    if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) return ERR_NONE;
    if (rc == ERR_NONE) rc = tx_query(tx, s->arena, &find_anchor, PARAMS(v_text(str_c(s->anchor->name))), &rows, e);
    s->head_size = rc == ERR_NONE && rows.n ? val_int(&row_at(&rows, 0)[0]) : 0;
    s->segment_number = rc == ERR_NONE && rows.n ? val_int(&row_at(&rows, 0)[1]) : 0;
    s->is_failing = rc == ERR_NONE && rows.n && row_at(&rows, 0)[2].type != VAL_NULL;
    return rc;
}

struct outcome {
    const struct anchor *anchor;
    const struct audit_head *head; /* NULL: it failed */
    int64_t segment_number;
    usec now_us;
    const char *error;
};

static enum errc outcome_unit(struct tx *tx, void *ctx, err *e)
{
    const struct outcome *o = ctx;
    str name = str_c(o->anchor->name), kind = str_c(o->anchor->kind->name);
    enum errc rc = tx_read_committed(tx, e);
    if (rc != ERR_NONE) return rc;
    return o->head ? tx_exec_unaudited(tx, &anchor_worked,
                                       PARAMS(v_text(name), v_text(kind), v_int(o->head->size), v_int(o->head->signed_us),
                                              v_int(o->segment_number), v_int(o->now_us)),
                                       NULL, e)
                   : tx_exec_unaudited(tx, &anchor_failed,
                                       PARAMS(v_text(name), v_text(kind), v_int(o->now_us), v_int(o->now_us), v_text(str_c(o->error))), NULL, e);
}

/* Segments up to the head; *number: the last event that is there. */
static enum errc put_segments(struct anchors *s, struct anchor *a, const struct audit_head *head, int64_t *number, err *e)
{
    enum errc rc = ERR_NONE;
    while (rc == ERR_NONE && *number < head->size && !s->is_stopping) {
        struct arena arena;
        struct buf bytes;
        char name[64];
        int64_t last = *number + SEGMENT_EVENTS < head->size ? *number + SEGMENT_EVENTS : head->size;
        arena_init(&arena, 128u << 20, 64u << 10);
        buf_init(&bytes, 64u << 20);
        rc = records_segment(s->audit->db, &s->audit->setup.node, &instance, *number + 1, last, &bytes, e);
        snprintf(name, sizeof name, "%020lld-%020lld.seg", (long long)*number + 1, (long long)last);
        if (rc == ERR_NONE) rc = a->kind->put_segment(a, &arena, str_c(name), buf_str(&bytes), e);
        if (rc == ERR_NONE) *number = last;
        buf_fini(&bytes);
        arena_fini(&arena);
    }
    return rc;
}

static void failed(struct anchors *s, struct anchor *a, const err *why)
{
    struct outcome o = {.anchor = a, .now_us = clock_now_us(), .error = why->msg};
    err e = {0};
    a->pause_us = a->pause_us ? a->pause_us * 2 : PAUSE_FIRST_US;
    if (a->pause_us > PAUSE_MOST_US) a->pause_us = PAUSE_MOST_US;
    a->retry_us = clock_mono_us() + a->pause_us;
    if (!a->is_failing) log_event(LOG_WARN, "audit_anchor_fails", LOG_S("anchor", str_c(a->name)), LOG_S("reason", str_c(why->msg)));
    a->is_failing = true;
    if (db_write(s->audit->db, outcome_unit, &o, &e) != ERR_NONE) log_error(LOG_WARN, "audit_anchor_not_stored", &e);
}

static void serve_anchor(struct anchors *s, struct anchor *a)
{
    struct arena arena;
    struct standing st = {.arena = &arena, .anchor = a};
    err e = {0};
    const str label[] = {str_c(a->name)};
    arena_init(&arena, 1u << 20, 4096);
    enum errc rc = db_read(s->audit->db, standing_unit, &st, &e);
    bool has_news = rc == ERR_NONE && st.has_head && (st.head.size != st.head_size || st.is_failing);
    bool has_events = rc == ERR_NONE && st.has_head && a->has_segments && st.segment_number < st.head.size;
    if (rc == ERR_NONE && (has_news || has_events) && !s->audit->is_shut) {
        int64_t number = st.segment_number > st.head.size ? st.head.size : st.segment_number; /* a break was accepted */
        if (a->has_segments) rc = put_segments(s, a, &st.head, &number, &e);
        if (rc == ERR_NONE) rc = a->kind->put_head(a, &arena, &st.head, &e);
        struct outcome o = {.anchor = a, .head = &st.head, .segment_number = number, .now_us = clock_now_us()};
        if (rc != ERR_NONE) {
            failed(s, a, &e);
        } else {
            if (a->is_failing) log_event(LOG_INFO, "audit_anchor_works", LOG_S("anchor", str_c(a->name)));
            a->is_failing = false;
            a->pause_us = a->retry_us = 0;
            rc = db_write(s->audit->db, outcome_unit, &o, &e);
            if (rc != ERR_NONE) log_error(LOG_WARN, "audit_anchor_not_stored", &e);
        }
    }
    struct stat_series *failing = stats_series(s->failing, label), *behind = stats_series(s->behind, label);
    stats_set(failing, 0, a->is_failing);
    if (st.has_head) stats_set(behind, 0, rc == ERR_NONE ? 0 : st.head.size - st.head_size);
    arena_fini(&arena);
}

static void *anchors_main(void *arg)
{
    struct anchors *s = arg;
    bool is_running = true;
    while (is_running) {
        is_running = waker_wait(&s->waker, LOOK_US);
        usec until = clock_mono_us() + LAST_ROUND_US;
        for (unsigned i = 0; i < s->n; i++) {
            usec now = clock_mono_us();
            if (is_running ? now >= s->list[i]->retry_us : now < until) serve_anchor(s, s->list[i]);
        }
    }
    return NULL;
}

/* --- life --- */

enum errc anchors_new(struct anchors **out, struct audit *audit, err *e)
{
    const struct json *list = config_tree(audit->setup.config, "audit.anchors");
    struct anchors *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return err_code(e, ERR_NO_MEMORY);
    s->audit = audit;
    enum errc rc = waker_init(&s->waker, e);
    s->has_waker = rc == ERR_NONE;
    unsigned n = list ? list->n : 0;
    if (rc == ERR_NONE && n && !(s->list = calloc(n, sizeof(struct anchor *)))) rc = err_code(e, ERR_NO_MEMORY);
    for (const struct json *entry = list ? list->child : NULL; rc == ERR_NONE && entry; entry = entry->next) {
        rc = anchor_new(&s->list[s->n], audit->setup.config, entry, audit->setup.outbound, &s->is_stopping, e);
        if (rc != ERR_NONE) break;
        for (unsigned i = 0; i < s->n && rc == ERR_NONE; i++)
            if (strcmp(s->list[i]->name, s->list[s->n]->name) == 0)
                rc = err_set(e, ERR_CONFIG, "audit.anchors: two are named %s", s->list[i]->name);
        s->n++;
    }
    if (rc != ERR_NONE) {
        anchors_free(s);
        return rc;
    }
    *out = s;
    return ERR_NONE;
}

void anchors_free(struct anchors *s)
{
    if (!s) return;
    anchors_stop(s);
    for (unsigned i = 0; i < s->n; i++)
        anchor_free(s->list[i]);
    if (s->has_waker) waker_fini(&s->waker);
    free(s->list);
    free(s);
}

enum errc anchors_start(struct anchors *s, err *e)
{
    static const char *const labels[] = {"anchor", NULL};
    if (!s->n) return ERR_NONE;
    s->failing = stats_declare(STAT_GAUGE, "catalyst_audit_anchor_failing", "1 while heads of the log do not reach this anchor.", labels, NULL, 0, 1);
    s->behind = stats_declare(STAT_GAUGE, "catalyst_audit_anchor_behind", "Events under a signed head that this anchor has not got.", labels, NULL, 0, 1);
    int number = pthread_create(&s->thread, NULL, anchors_main, s);
    if (number != 0) return err_errno(e, ERR_INTERNAL, number, "starting the thread of the audit anchors");
    s->has_thread = true;
    return ERR_NONE;
}

void anchors_stop(struct anchors *s)
{
    if (!s || !s->has_thread) return;
    waker_stop(&s->waker);
    pthread_join(s->thread, NULL);
    s->has_thread = false;
}

void anchors_wake(struct anchors *s) { waker_wake(&s->waker); }
unsigned anchors_n(const struct anchors *s) { return s ? s->n : 0; }
struct anchor *anchors_at(const struct anchors *s, unsigned i) { return s->list[i]; }

/* --- the report --- */

enum errc anchors_view(struct tx *tx, struct arena *arena, const struct anchors *s, struct anchor_view **out, unsigned *n, err *e)
{
    struct rows rows, size;
    *n = 0;
    enum errc rc = tx_query(tx, arena, &list_anchors, NULL, 0, &rows, e);
    if (rc == ERR_NONE) rc = tx_query(tx, arena, &tree_size_now, PARAMS(v_uuid(&instance)), &size, e);
    if (rc != ERR_NONE) return rc;
    int64_t events = size.n ? val_int(&row_at(&size, 0)[0]) : 0;
    struct anchor_view *list = arena_news(arena, struct anchor_view, rows.n + anchors_n(s));
    if (!list) return err_code(e, ERR_TOO_LARGE);
    *out = list;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        list[(*n)++] = (struct anchor_view){.name = val_str(&v[0]),
                                            .kind = val_str(&v[1]),
                                            .head_size = val_int(&v[2]),
                                            .behind = events - val_int(&v[2]),
                                            .head_at = val_int(&v[3]),
                                            .segment_number = val_int(&v[4]),
                                            .tried_at = val_int(&v[5]),
                                            .failing_since = val_int(&v[6]),
                                            .error = val_str(&v[7])};
    }
    for (unsigned i = 0; i < anchors_n(s); i++) {
        struct anchor_view *view = NULL;
        for (unsigned k = 0; k < *n && !view; k++)
            if (str_eq(list[k].name, str_c(s->list[i]->name))) view = &list[k];
        if (!view) {
            view = &list[(*n)++];
            *view = (struct anchor_view){.name = str_c(s->list[i]->name),
                                         .behind = events,
                                         .head_at = NO_VALUE,
                                         .tried_at = NO_VALUE,
                                         .failing_since = NO_VALUE};
        }
        view->kind = str_c(s->list[i]->kind->name);
        view->is_configured = true;
        view->has_segments = s->list[i]->has_segments;
    }
    return ERR_NONE;
}
