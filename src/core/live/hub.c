/* hub.c - the event streams of one loop. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/live/internal.h"
#include "net/http1.h"

#define RETRY_MS 500 /* before a page that could not be read is asked for again */

struct live_stream {
    struct live_hub *hub;
    struct live_stream *next, **link;
    struct http_conn *conn; /* NULL: gone; the stream waits for what still works for it */
    struct live_viewer viewer;
    struct principal who; /* for the recheck: without texts */
    bool is_http10;
    int64_t position; /* everything up to this number has been sent, or is not for it */
    int64_t head;     /* as far as the log went when a page was read: the ring may not know of it */
    uint64_t recheck_due_ms;
    struct wheel_timer heartbeat, retry;

    struct pool_task page_task; /* on the pool: the next page from the database */
    struct live_message page_message;
    bool is_reading;
    struct {
        struct live_viewer viewer;
        int64_t after, upto, head; /* of the log; upto, head: out */
        struct buf text;
        bool is_well;
    } page;

    struct pool_task check_task; /* on the pool: does it still hold? */
    struct live_message check_message;
    bool is_checking;
    struct {
        struct permission_set may;
        enum errc rc;
    } check;
};

/* --- messages --- */

bool live_give(struct live_hub *h, struct live_message *m)
{
    bool wakes = false;
    pthread_mutex_lock(&h->lock);
    bool takes = m->kind != LIVE_FRAME || h->n_inbox < LIVE_INBOX_MAX;
    if (takes) {
        m->next = NULL;
        *h->inbox_last = m;
        h->inbox_last = &m->next;
        h->n_inbox++;
        wakes = !h->is_woken;
        h->is_woken = true;
    }
    pthread_mutex_unlock(&h->lock);
    if (wakes) loop_post(h->loop, &h->wake);
    return takes;
}

static struct live_message *take_all(struct live_hub *h)
{
    pthread_mutex_lock(&h->lock);
    struct live_message *first = h->inbox;
    h->inbox = NULL;
    h->inbox_last = &h->inbox;
    h->n_inbox = 0;
    h->is_woken = false;
    pthread_mutex_unlock(&h->lock);
    return first;
}

/* --- streams --- */

static void stream_free(struct live_stream *s)
{
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    buf_fini(&s->page.text);
    free(s);
}

/* The connection is no longer its. */
static void detach(struct live_stream *s)
{
    struct live_hub *h = s->hub;
    s->conn = NULL;
    loop_disarm(h->loop, &s->heartbeat);
    loop_disarm(h->loop, &s->retry);
    live_count_down(h->live, &s->viewer.user, &s->viewer.workspace);
    stats_add(h->live->streams, h->loop->index, -1);
    if (!s->is_reading && !s->is_checking) stream_free(s);
}

static void on_gone(void *user) { detach(user); }

static void end_stream(struct live_stream *s)
{
    struct http_conn *c = s->conn;
    bool is_http10 = s->is_http10;
    if (!c) return;
    c->on_gone = NULL; /* from here on the connection looks after itself */
    detach(s);
    if (!is_http10) http_send(c, (str[]){S("0\r\n\r\n")}, 1);
    http_finish(c, false);
}

static void on_stop(void *user) { end_stream(user); }

/* False when the client went away by it. */
static bool send_text(struct live_stream *s, str text, unsigned n_frames)
{
    char head[20];
    struct http_conn *c = s->conn;
    if (!text.len) return true;
    stats_add(s->hub->live->sent, s->hub->loop->index, n_frames);
    if (s->is_http10)
        http_send(c, &text, 1);
    else
        http_send(c, (str[]){str_of(head, http_chunk_head(text.len, head)), text, S("\r\n")}, 3);
    return c->user != NULL; /* else on_gone was called, and the stream may be freed */
}

static void ask_for_page(struct live_stream *s);

/* Sends what the ring holds behind the stream's position, as much as may be sent now. False when the stream
 * has ended by it. */
static bool send_from_ring(struct live_stream *s)
{
    struct live_hub *h = s->hub;
    struct buf text;
    buf_init(&text, LIVE_SEND_MAX + LIVE_FRAME_MAX);
    while (s->position < h->ring_last && s->position + 1 >= h->ring_first) {
        unsigned n = 0;
        if (http_is_congested(s->conn)) break;
        buf_clear(&text);
        while (s->position < h->ring_last && text.len < LIVE_SEND_MAX) {
            const struct live_frame *f = h->ring[(s->position + 1) % LIVE_RING];
            if (live_is_visible(&s->viewer, f)) {
                buf_add(&text, str_of(f->text, f->len));
                n++;
            }
            s->position++;
        }
        if (text.failed) end_stream(s); /* it resumes where it stands */
        if (text.failed || !send_text(s, buf_str(&text), n)) {
            buf_fini(&text);
            return false;
        }
    }
    buf_fini(&text);
    return true;
}

/* Brings the stream nearer to the log's end. May end it. */
static void pump(struct live_stream *s)
{
    const struct live_hub *h = s->hub;
    if (!s->conn || s->is_reading || http_is_congested(s->conn)) return;
    if (s->position < h->ring_last && s->position + 1 >= h->ring_first && !send_from_ring(s)) return;
    bool is_behind = s->position < h->ring_last ? s->position + 1 < h->ring_first : s->position < s->head;
    if (is_behind && !http_is_congested(s->conn)) ask_for_page(s);
}

static void on_drained(void *user) { pump(user); }

/* --- pages of the log --- */

static enum errc page_unit(struct tx *tx, void *ctx, err *e)
{
    struct live_stream *s = ctx;
    struct arena a;
    struct sealed_event *events;
    unsigned n = 0;
    int64_t head = 0;
    arena_init(&a, 16u << 20, 64u << 10);
    buf_clear(&s->page.text);
    enum errc rc = events_head(tx, &head, e);
    if (rc == ERR_NONE)
        rc = events_after(tx, &a, s->page.after, &s->page.viewer.workspace, LIVE_PAGE, &events, &n, e);
    for (unsigned i = 0; i < n && rc == ERR_NONE; i++) {
        struct live_frame *f = live_frame_of_event(&a, &events[i]);
        if (!f) {
            rc = err_set(e, ERR_TOO_LARGE, "events do not fit into memory");
            break;
        }
        if (live_is_visible(&s->page.viewer, f)) buf_add(&s->page.text, str_of(f->text, f->len));
        live_frame_unref(f);
    }
    /* Fewer than asked for: all others up to the head are other workspaces'. */
    s->page.head = head;
    s->page.upto = n == LIVE_PAGE ? events[n - 1].number : head > s->page.after ? head : s->page.after;
    if (rc == ERR_NONE && s->page.text.failed) rc = err_code(e, s->page.text.failed);
    arena_fini(&a);
    return rc;
}

static void run_page(struct pool_task *task, bool is_late)
{
    struct live_stream *s =
        (struct live_stream *)(void *)((char *)task - offsetof(struct live_stream, page_task));
    err e = {0};
    s->page.is_well =
        !is_late && db_read(store_db(s->hub->live->setup.store, DB_MAIN), page_unit, s, &e) == ERR_NONE;
    if (e.code != ERR_NONE) log_error(LOG_WARN, "live_page_not_readable", &e);
    live_give(s->hub, &s->page_message);
}

static void ask_for_page(struct live_stream *s)
{
    if (s->is_reading || wheel_is_armed(&s->retry)) return;
    s->page.viewer = s->viewer;
    s->page.after = s->position;
    s->is_reading = pool_submit(s->hub->live->pool, &s->page_task, NULL) == ERR_NONE;
    if (!s->is_reading) loop_arm(s->hub->loop, &s->retry, RETRY_MS);
}

static void on_retry(struct wheel_timer *t)
{
    ask_for_page((struct live_stream *)(void *)((char *)t - offsetof(struct live_stream, retry)));
}

static void page_read(struct live_stream *s)
{
    s->is_reading = false;
    if (!s->conn) {
        if (!s->is_checking) stream_free(s);
    } else if (!s->page.is_well) {
        loop_arm(s->hub->loop, &s->retry, RETRY_MS);
    } else {
        int64_t upto = s->page.upto;
        s->head = s->page.head;
        if (!send_text(s, buf_str(&s->page.text), 1)) return;
        s->position = upto;
        pump(s);
    }
}

/* --- does it still hold --- */

static enum errc check_unit(struct tx *tx, void *ctx, err *e)
{
    struct live_stream *s = ctx;
    const struct live_setup *setup = &s->hub->live->setup;
    struct arena a;
    arena_init(&a, 256u << 10, 0);
    struct api_request r = {
        .arena = &a,
        .store = setup->store,
        .now_us = clock_now_us(),
        .who = s->who,
        .workspace_id = s->viewer.workspace,
    };
    enum errc rc = setup->recheck(setup->ctx, &r, tx, e);
    s->check.may = r.may;
    access_let_go(r.access);
    arena_fini(&a);
    return rc;
}

static void run_check(struct pool_task *task, bool is_late)
{
    struct live_stream *s =
        (struct live_stream *)(void *)((char *)task - offsetof(struct live_stream, check_task));
    s->check.rc =
        is_late ? ERR_BUSY : db_read(store_db(s->hub->live->setup.store, DB_MAIN), check_unit, s, NULL);
    live_give(s->hub, &s->check_message);
}

static void ask_for_check(struct live_stream *s)
{
    if (s->is_checking) return;
    s->is_checking = pool_submit(s->hub->live->pool, &s->check_task, NULL) == ERR_NONE;
}

static void checked(struct live_stream *s)
{
    enum errc rc = s->check.rc;
    s->is_checking = false;
    if (!s->conn) {
        if (!s->is_reading) stream_free(s);
        return;
    }
    s->recheck_due_ms = loop_now_ms(s->hub->loop) + s->hub->live->recheck_ms;
    if (rc == ERR_UNAUTHENTICATED || rc == ERR_NOT_FOUND || rc == ERR_FORBIDDEN)
        end_stream(s);
    else if (rc == ERR_NONE && !permission_set_has(&s->check.may, PERMISSION_CHAT_READ))
        end_stream(s);
    else if (rc == ERR_NONE)
        s->viewer.may = s->check.may; /* else the database is away, and nothing can be told from that */
}

static void on_heartbeat(struct wheel_timer *t)
{
    struct live_stream *s =
        (struct live_stream *)(void *)((char *)t - offsetof(struct live_stream, heartbeat));
    const struct live *l = s->hub->live;
    uint64_t now = loop_now_ms(s->hub->loop),
             wait = l->heartbeat_ms < l->recheck_ms ? l->heartbeat_ms : l->recheck_ms;
    loop_arm(s->hub->loop, t, wait);
    if (now >= s->recheck_due_ms) ask_for_check(s);
    if (!http_is_congested(s->conn)) (void)send_text(s, S(":\n\n"), 0);
}

/* --- the hub --- */

static void ring_clear(struct live_hub *h, int64_t next)
{
    for (unsigned i = 0; i < LIVE_RING; i++) {
        live_frame_unref(h->ring[i]);
        h->ring[i] = NULL;
    }
    h->ring_first = next;
    h->ring_last = next - 1;
}

static void ring_add(struct live_hub *h, struct live_frame *f)
{
    if (f->number != h->ring_last + 1) ring_clear(h, f->number);
    struct live_frame **slot = &h->ring[f->number % LIVE_RING];
    if (*slot) h->ring_first++;
    live_frame_unref(*slot);
    *slot = f;
    h->ring_last = f->number;
}

static void send_live(struct live_hub *h, const struct live_frame *f)
{
    for (struct live_stream *s = h->first, *next; s; s = next) {
        next = s->next;
        if (!s->conn || !live_is_visible(&s->viewer, f)) continue;
        if (http_is_congested(s->conn))
            stats_add(h->live->dropped, h->loop->index, 1);
        else
            (void)send_text(s, str_of(f->text, f->len), 1);
    }
}

static void end_revoked(struct live_hub *h, const struct live_message *m)
{
    for (struct live_stream *s = h->first, *next; s; s = next) {
        const struct live_viewer *v = &s->viewer;
        next = s->next;
        if (s->conn &&
            (uuid_is_nil(&m->credential) ||
             memcmp(&m->credential, &v->credential, sizeof v->credential) == 0) &&
            (uuid_is_nil(&m->user) || memcmp(&m->user, &v->user, sizeof v->user) == 0) &&
            (uuid_is_nil(&m->workspace) || memcmp(&m->workspace, &v->workspace, sizeof v->workspace) == 0))
            end_stream(s);
    }
}

static void end_all(struct live_hub *h)
{
    h->is_stopping = true;
    for (struct live_stream *s = h->first, *next; s; s = next) {
        next = s->next;
        end_stream(s);
    }
}

/* Works one message off; frees it unless it is a stream's own. */
static void work_off(struct live_hub *h, struct live_message *m, bool *has_log)
{
    switch (m->kind) {
    case LIVE_LOG:
        ring_add(h, m->frame); /* keeps the reference */
        *has_log = true;
        break;
    case LIVE_GAP:
        ring_clear(h, m->number + 1);
        *has_log = true;
        break;
    case LIVE_FRAME:
        send_live(h, m->frame);
        live_frame_unref(m->frame);
        break;
    case LIVE_PAGE_READ: page_read(m->stream); return;
    case LIVE_RECHECKED: checked(m->stream); return;
    case LIVE_REVOKED: end_revoked(h, m); break;
    case LIVE_STOPPED: end_all(h); break;
    }
    free(m);
}

static void on_wake(struct loop_task *task)
{
    struct live_hub *h = (struct live_hub *)(void *)((char *)task - offsetof(struct live_hub, wake));
    bool has_log = false;
    for (struct live_message *m = take_all(h), *next; m; m = next) {
        next = m->next;
        work_off(h, m, &has_log);
    }
    for (struct live_stream *s = has_log ? h->first : NULL, *next; s; s = next) {
        next = s->next;
        pump(s);
    }
}

enum errc live_hub_new(struct live_hub **out, struct live *l, struct loop *loop, err *e)
{
    struct live_hub *h = calloc(1, sizeof *h);
    *out = h;
    if (!h) return err_code(e, ERR_NO_MEMORY);
    h->live = l;
    h->loop = loop;
    h->wake.run = on_wake;
    h->inbox_last = &h->inbox;
    h->ring_first = 1;
    pthread_mutex_init(&h->lock, NULL);
    return ERR_NONE;
}

void live_hub_free(struct live_hub *h)
{
    if (!h) return;
    for (struct live_message *m = take_all(h), *next; m; m = next) {
        next = m->next;
        live_frame_unref(m->frame);
        if (!m->stream) free(m);
    }
    while (h->first)
        stream_free(h->first);
    ring_clear(h, 1);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* --- the beginning --- */

void live_stream_begin(struct live_hub *h, const struct api_request *r, int64_t position, struct http_conn *c,
                       str fields)
{
    struct live *l = h->live;
    struct live_stream *s = calloc(1, sizeof *s);
    char ready[120];
    err e;
    if (!s || c->is_head_request || h->is_stopping) {
        live_count_down(l, &r->who.user_id, &r->workspace_id);
        free(s);
        if (c->is_head_request)
            http_reply(c, 200, S("text/event-stream"), fields, S(""));
        else
            problem_reply(c, (err_code(&e, s ? ERR_UNAVAILABLE : ERR_NO_MEMORY), &e),
                          S("Retry-After: 5\r\n"));
        return;
    }
    s->hub = h;
    s->conn = c;
    s->viewer = (struct live_viewer){r->workspace_id, r->who.user_id, r->who.credential_id, r->may};
    s->who = r->who;
    s->who.email = s->who.name = (str){0};
    s->who.key_projects = NULL;
    s->who.n_key_projects = 0;
    s->is_http10 = c->is_http10;
    s->position = position;
    s->recheck_due_ms = loop_now_ms(h->loop) + l->recheck_ms;
    s->heartbeat.fire = on_heartbeat;
    s->retry.fire = on_retry;
    s->page_task.run = run_page;
    s->page_message = (struct live_message){.kind = LIVE_PAGE_READ, .stream = s};
    s->check_task.run = run_check;
    s->check_message = (struct live_message){.kind = LIVE_RECHECKED, .stream = s};
    buf_init(&s->page.text, 4u << 20);
    s->next = h->first;
    s->link = &h->first;
    if (s->next) s->next->link = &s->next;
    h->first = s;
    c->user = s;
    c->on_gone = on_gone;
    c->on_drained = on_drained;
    c->on_stop = on_stop;
    c->keeps_alive = false;
    stats_add(l->streams, h->loop->index, 1);
    loop_arm(h->loop, &s->heartbeat, l->heartbeat_ms < l->recheck_ms ? l->heartbeat_ms : l->recheck_ms);
    int n = snprintf(ready, sizeof ready, "id: %lld\nevent: ready\ndata: {\"number\":%lld}\n\n",
                     (long long)position, (long long)position);
    http_send(c,
              (str[]){S("HTTP/1.1 200 OK\r\nDate: "), http_date(c->server),
                      S("\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"),
                      s->is_http10 ? S("") : S("Transfer-Encoding: chunked\r\n"), fields,
                      S("Connection: close\r\n\r\n")},
              6);
    if (c->user == s && send_text(s, str_of(ready, (size_t)n), 1))
        ask_for_page(s); /* what was sealed since the position was read, and is told from now on */
}
