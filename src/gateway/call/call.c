/* One call from the request to its record. The life of a call:
 *
 *   call_start ── refused ───────────────────────────────┐
 *       │ scan, route, edit, head                        │
 *   client_start ── connect fails, no answer ────────────┤
 *       │ on_head: the answer's head goes out            ├─ settle: the record joins the turn's batch
 *       │ on_data / on_read_done: bytes as they come     │        └─ hold: the last bytes wait for its write
 *       ├ the event that ends the stream ────────────────┤
 *       ├ on_end ────────────────────────────────────────┤
 *       ├ on_error: cut ─────────────────────────────────┤
 *       └ client gone ───────────────────────────────────┘
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "gateway/call/call_internal.h"

#define CALL_ARENA_MAX (1u << 20)
#define CALL_ARENA_FIRST 1024
#define SCAN_ON_LOOP_MAX (1u << 20) /* larger bodies are scanned on another thread: at 2 GB/s this is half a millisecond */
#define SPARE_CALLS 1024
#define COPY_END_MAX 8192           /* an answer's end up to this size waits, copied, for the turn's one write */
#define DECODE_FOR_USAGE_MAX (1u << 20)
#define LABEL_MAX 128
#define TAGS_MAX 256
#define HEAD_MAX (80u << 10)

/* --- lists --- */

static void list_add(struct call_list *l, struct call *k)
{
    k->list = l;
    k->next = NULL;
    k->link = l->last;
    *l->last = k;
    l->last = &k->next;
}

static void list_del(struct call *k)
{
    if (k->list == &k->gl->parked)
        gateway_metrics_unparked(k->gl);
    *k->link = k->next;
    if (k->next)
        k->next->link = k->link;
    else
        k->list->last = k->link;
    k->list = NULL;
}

static void open_add(struct call *k)
{
    struct gateway_loop *gl = k->gl;
    k->next_open = gl->open;
    k->open_link = &gl->open;
    if (k->next_open)
        k->next_open->open_link = &k->next_open;
    gl->open = k;
    gl->n_open++;
}

static void open_del(struct call *k)
{
    *k->open_link = k->next_open;
    if (k->next_open)
        k->next_open->open_link = k->open_link;
    k->gl->n_open--;
}

static struct call *call_new(struct gateway_loop *gl)
{
    struct call *k = gl->spare;
    if (k) {
        gl->spare = k->next;
        gl->n_spare--;
    } else if (!(k = malloc(sizeof *k))) {
        return NULL;
    }
    memset(k, 0, sizeof *k);
    k->gl = gl;
    k->use = snapshot_use_begin(gl->use);
    arena_init(&k->arena, CALL_ARENA_MAX, CALL_ARENA_FIRST);
    return k;
}

static void call_free(struct call *k)
{
    struct gateway_loop *gl = k->gl;
    arena_fini(&k->arena);
    buf_fini(&k->answer);
    buf_fini(&k->body);
    buf_fini(&k->fields);
    sse_fini(&k->sse);
    snapshot_use_end(&gl->pools, k->use);
    if (gl->n_spare < SPARE_CALLS) {
        k->next = gl->spare;
        gl->spare = k;
        gl->n_spare++;
    } else {
        free(k);
    }
}

void calls_free_spare(struct gateway_loop *gl)
{
    while (gl->spare) {
        struct call *next = gl->spare->next;
        free(gl->spare);
        gl->spare = next;
    }
}

static int64_t since_start(const struct call *k) { return clock_mono_us() - k->began_mono_us; }

/* --- the record --- */

/* Completes the record and puts it into the turn's batch. */
static void settle(struct call *k, enum call_outcome outcome, const char *error)
{
    struct usage_record *r = &k->r;
    r->outcome = outcome;
    r->error = str_c(error ? error : "");
    r->total_us = since_start(k);
    if (k->client.sent_mono_us)
        r->sent_us = k->client.sent_mono_us - k->began_mono_us;
    r->connect_us = k->client.sent_mono_us || k->client.connect_us ? k->client.connect_us : -1;
    bool was_sent = k->provider && (k->client.sent_mono_us || k->has_head);
    if (was_sent && outcome != CALL_REFUSED) {
        /* A call that never got an answer is not known to have cost anything, unless it was
         * left while the provider worked on it. */
        bool ran_out_of_time = outcome == CALL_UPSTREAM_FAILED && str_eq(r->error, str_c(errc_name(ERR_UPSTREAM_TIMEOUT)));
        if (k->has_head || outcome == CALL_CANCELLED || ran_out_of_time)
            r->is_estimated = observer_usage(&k->observer, k->request.text_bytes, &r->tokens);
    }
    call_settle_money(k);
    if (k->has_start)
        journal_append_end(k->gl->writer, r);
    else
        journal_append(k->gl->writer, r);
    gateway_metrics_record(k->gl, r);
    k->is_recorded = true;
    open_del(k);
}

/* From here on the client gets nothing more until the record is written. */
static void hold(struct call *k)
{
    http_hold(k->conn, NULL, 0);
    if (!k->is_held)
        list_add(&k->gl->ending, k);
    k->is_held = true;
}

static void release(struct call *k, bool is_written)
{
    struct http_conn *c = k->conn;
    k->is_held = false;
    if (!is_written || k->aborts) {
        client_cancel(&k->client);
        http_abort(c);
        call_free(k);
        return;
    }
    bool is_finished = k->is_finished, needs_finish = k->is_finished && !k->is_replied, keeps_alive = k->keeps_alive;
    if (is_finished) {
        c->user = NULL;
        c->on_gone = NULL;
        call_free(k);
    }
    http_release(c); /* may find the client gone, which frees a call that goes on */
    if (needs_finish)
        http_finish(c, keeps_alive);
}

enum errc call_flush_journal(struct gateway_loop *gl, uint64_t *ticket, err *e)
{
    enum errc rc = journal_flush(gl->writer, ticket, e);
    if (rc != ERR_NONE) {
        gl->has_failed_flush = true;
        gateway_metrics_journal_failed(gl);
        log_error(LOG_ERROR, "journal_write_failed", e);
    }
    return rc;
}

void calls_end_turn(struct gateway_loop *gl)
{
    /* Releasing an answer can start the next, pipelined request, which can be refused at once and end in this same turn. */
    while (gl->ending.first || journal_is_dirty(gl->writer)) {
        uint64_t ticket = 0; /* of the last batch, when all was written before the turn's end */
        err e;
        (void)!call_flush_journal(gl, &ticket, &e);
        bool is_written = !gl->has_failed_flush;
        gl->has_failed_flush = false;
        while (gl->ending.first) {
            struct call *k = gl->ending.first;
            list_del(k);
            list_add(&gl->releasing, k);
        }
        while (gl->releasing.first) {
            struct call *k = gl->releasing.first;
            list_del(k);
            if (is_written && gl->gateway->is_strict) {
                k->ticket = ticket;
                list_add(&gl->syncing, k);
            } else {
                release(k, is_written);
            }
        }
    }
    if (gl->gateway->is_strict)
        calls_release_synced(gl);
}

void calls_release_synced(struct gateway_loop *gl)
{
    for (struct call *k = gl->syncing.first; k;) {
        struct call *next = k->next;
        bool is_lost = journal_is_lost(gl->writer, k->ticket);
        if (is_lost || journal_is_synced(gl->writer, k->ticket)) {
            list_del(k);
            release(k, !is_lost);
        }
        k = next;
    }
}

/* --- answers of the gateway's own --- */

static str request_id_text(const struct call *k, char out[UUID_TEXT_LEN + 1]) { return uuid_format(&k->r.request_id, out); }

void gateway_refuse(struct http_conn *c, enum dialect d, const struct dialect_error *x)
{
    struct buf body;
    char fields[1200];
    bool is_anthropic = d == DIALECT_MESSAGES || d == DIALECT_COUNT_TOKENS;
    const char *more = x->status == 401   ? "WWW-Authenticate: Bearer\r\n"
                       : x->status == 503 ? "Retry-After: 1\r\n"
                                          : "";
    int n = snprintf(fields, sizeof fields, "%s: %.*s\r\nx-catalyst-request-id: %.*s\r\n%s%.*s",
                     is_anthropic ? "request-id" : "x-request-id", STR(x->request_id), STR(x->request_id), more, STR(x->fields));
    assert(n > 0 && (size_t)n < sizeof fields);
    buf_init(&body, 16384);
    dialect_error_body(d, x, &body);
    http_reply(c, x->status, S("application/json"), str_of(fields, (size_t)n), buf_str(&body));
    buf_fini(&body);
}

/* An error instead of an answer: recorded, then sent. */
static void answer_error(struct call *k, enum call_outcome outcome, const err *e, str param)
{
    char id[UUID_TEXT_LEN + 1];
    struct dialect_error x = {.status = errc_http_status(e->code), .code = errc_name(e->code), .message = str_c(e->msg), .param = param,
                              .request_id = request_id_text(k, id), .details = k->error_details, .fields = k->error_fields};
    k->r.status = (uint16_t)x.status;
    if (k->list == &k->gl->parked)
        list_del(k);
    settle(k, outcome, x.code);
    hold(k);
    k->is_finished = true;
    k->keeps_alive = true;
    /* http_reply finishes the exchange; its bytes wait behind the hold, and the list keeps the call until they may go. */
    struct http_conn *c = k->conn;
    void (*on_gone)(void *) = c->on_gone;
    gateway_refuse(c, k->r.dialect, &x);
    if (c->state != CONN_CLOSED) {
        k->is_replied = true;
        c->user = k;
        c->on_gone = on_gone;
    }
}

/* No answer came: the client is told which of its providers failed, and how. */
static void answer_upstream_error(struct call *k, const err *e)
{
    err named = *e;
    err_prefix(&named, "provider '%.*s'", STR(k->provider->name));
    answer_error(k, CALL_UPSTREAM_FAILED, &named, S(""));
}

/* --- towards the client --- */

/* Sends what the read in progress has brought. With is_last the bytes are the answer's end (tail closes the framing). */
static void send_out(struct call *k, str tail)
{
    struct gateway_loop *gl = k->gl;
    str slices[OUT_SLICES_MAX + 4];
    char chunk[20];
    unsigned n = 0;
    if (gl->head.len)
        slices[n++] = buf_str(&gl->head);
    if (k->is_chunked && gl->body_len)
        slices[n++] = str_of(chunk, http_chunk_head(gl->body_len, chunk));
    for (unsigned i = 0; i < gl->n_body; i++)
        slices[n++] = gl->body[i];
    if (k->is_chunked && gl->body_len)
        slices[n++] = S("\r\n");
    if (tail.len)
        slices[n++] = tail;
    k->r.bytes_out += k->is_recorded ? 0 : gl->body_len;
    gl->n_body = 0;
    gl->body_len = 0;
    buf_clear(&gl->head);
    if (!n)
        return;
    if (k->is_held)
        http_hold(k->conn, slices, n);
    else
        http_send(k->conn, slices, n);
}

/* Adjacent slices become one. False when the client was found gone (the call is freed then). */
static bool add_body(struct call *k, str s)
{
    struct gateway_loop *gl = k->gl;
    if (!s.len)
        return true;
    if (gl->n_body && gl->body[gl->n_body - 1].p + gl->body[gl->n_body - 1].len == s.p) {
        gl->body[gl->n_body - 1].len += s.len;
    } else {
        if (gl->n_body == OUT_SLICES_MAX) {
            struct http_conn *c = k->conn;
            send_out(k, S(""));
            if (c->state == CONN_CLOSED)
                return false;
        }
        gl->body[gl->n_body++] = s;
    }
    gl->body_len += s.len;
    return true;
}

static void drop_out(struct gateway_loop *gl)
{
    gl->n_body = 0;
    gl->body_len = 0;
    buf_clear(&gl->head);
}

/* The answer is over and its record is in the batch: its last bytes go out as soon as that is written. */
static void finish(struct call *k, str tail, bool keeps_alive)
{
    struct gateway_loop *gl = k->gl;
    struct http_conn *c = k->conn;
    uint64_t ticket;
    k->is_finished = true;
    k->keeps_alive = keeps_alive;
    if (!k->is_held && !gl->gateway->is_strict && gl->body_len > COPY_END_MAX && !k->aborts) {
        /* Copying much would cost more than a write of its own. */
        err e;
        if (call_flush_journal(gl, &ticket, &e) == ERR_NONE) {
            c->user = NULL;
            c->on_gone = NULL;
            send_out(k, tail);
            call_free(k);
            http_finish(c, keeps_alive);
            return;
        }
        k->aborts = true;
    }
    hold(k);
    send_out(k, tail);
}

/* --- from the provider --- */

static bool ends_in_own_framing(const struct call *k) { return k->is_chunked || k->conn->is_http10; }

static str end_of_framing(const struct call *k) { return k->is_chunked ? S("0\r\n\r\n") : S(""); }

/* The answer broke off after its head. A stream says so in its own words; anything else must not look complete. */
static void cut(struct call *k, const err *e)
{
    struct buf event;
    char id[UUID_TEXT_LEN + 1];
    if (k->is_recorded) { /* the terminal event had passed: what is missing is only the framing's end */
        k->is_finished = true;
        k->keeps_alive = false;
        hold(k);
        send_out(k, end_of_framing(k));
        return;
    }
    settle(k, CALL_CUT, errc_name(e->code));
    if (!k->is_sse || !ends_in_own_framing(k)) {
        k->aborts = true;
        finish(k, S(""), false);
        return;
    }
    buf_init(&event, 16384);
    if (!k->observer.has_error) {
        struct dialect_error x = {.status = errc_http_status(e->code), .code = errc_name(e->code), .message = str_c(e->msg),
                                  .request_id = request_id_text(k, id)};
        dialect_error_event(k->r.dialect, &x, &event);
    }
    hold(k);
    if (add_body(k, buf_str(&event)))
        finish(k, end_of_framing(k), false);
    buf_fini(&event);
}

static bool is_dropped_from_answer(str n)
{
    switch (n.len) {
    case 7: return str_ieq(n, S("alt-svc")) || str_ieq(n, S("trailer")) || str_ieq(n, S("upgrade"));
    case 10: return str_ieq(n, S("set-cookie")) || str_ieq(n, S("connection")) || str_ieq(n, S("keep-alive"));
    case 14: return str_ieq(n, S("content-length"));
    case 17: return str_ieq(n, S("transfer-encoding"));
    case 18: return str_ieq(n, S("proxy-authenticate"));
    case 21: return str_ieq(n, S("x-catalyst-request-id")) || str_ieq(n, S("x-catalyst-max-tokens"));
    case 25: return str_ieq(n, S("strict-transport-security"));
    default: return false;
    }
}

static void write_answer_head(struct call *k, const struct http_head *h)
{
    struct gateway_loop *gl = k->gl;
    struct buf *out = &gl->head;
    char id[UUID_TEXT_LEN + 1];
    bool has_length = h->framing == HTTP_BODY_LENGTH && !k->is_sse;
    bool has_body = h->framing != HTTP_BODY_NONE;
    k->is_chunked = has_body && !has_length && !k->conn->is_http10;
    k->keeps_alive = has_length || k->is_chunked || !has_body;
    if (!k->keeps_alive)
        k->conn->keeps_alive = false;
    buf_clear(out);
    buf_add(out, S("HTTP/1.1 "));
    buf_add_u64(out, (uint64_t)h->status);
    buf_add_char(out, ' ');
    buf_add(out, h->reason);
    buf_add(out, S("\r\n"));
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http_field *f = &h->fields[i];
        if (is_dropped_from_answer(f->name) || (h->connection_at && http_field_is_hop(h, f->name)) ||
            (k->has_rates && rates_is_field(f->name)))
            continue;
        buf_add(out, f->name);
        buf_add(out, S(": "));
        buf_add(out, f->value);
        buf_add(out, S("\r\n"));
    }
    buf_add(out, S("x-catalyst-request-id: "));
    buf_add(out, request_id_text(k, id));
    buf_add(out, S("\r\n"));
    if (k->has_rates || k->lowered_to)
        call_write_limit_fields(k, out);
    if (has_length) {
        buf_add(out, S("Content-Length: "));
        buf_add_u64(out, h->content_length);
        buf_add(out, S("\r\n"));
    } else if (k->is_chunked) {
        buf_add(out, S("Transfer-Encoding: chunked\r\n"));
    }
    buf_add(out, http_connection_line(k->conn));
    buf_add(out, S("\r\n"));
}

static struct call *call_of(struct client_call *c) { return (struct call *)((char *)c - offsetof(struct call, client)); }

static void on_head(struct client_call *client, const struct http_head *h)
{
    struct call *k = call_of(client);
    str type = str_take(h->content_type, sizeof "text/event-stream" - 1);
    k->has_head = true;
    k->r.head_us = since_start(k);
    k->r.status = (uint16_t)h->status;
    bool is_plain = coding_parse(h->content_encoding, &k->answer_coding, NULL) == ERR_NONE && k->answer_coding == CODING_IDENTITY;
    k->is_sse = h->status < 300 && h->framing != HTTP_BODY_NONE && is_plain && str_ieq(type, S("text/event-stream"));
    k->r.is_streamed |= k->is_sse;
    if (h->status >= 400)
        k->observer.has_error = true;
    if (k->is_sse)
        sse_init(&k->sse, k->gl->gateway->event_max);
    else
        buf_init(&k->answer, k->gl->gateway->answer_max);
    write_answer_head(k, h);
}

struct feed {
    struct call *call;
    str piece;
    bool is_gone;
};

static bool on_event(void *ctx, const struct sse_event *event)
{
    struct feed *f = ctx;
    struct call *k = f->call;
    enum event_verdict verdict = observe_event(&k->observer, event);
    if (verdict == EVENT_DROP)
        return true;
    if (verdict == EVENT_LAST && !k->is_recorded) {
        k->r.bytes_out += k->gl->body_len + event->raw.len;
        settle(k, CALL_COMPLETED, k->observer.has_error ? "provider_error" : NULL);
        hold(k);
    }
    bool is_in_piece = event->raw.p >= f->piece.p && event->raw.p + event->raw.len <= f->piece.p + f->piece.len;
    f->is_gone = !add_body(k, event->raw);
    if (!is_in_piece && !f->is_gone) {
        /* It was put together from several reads: its bytes are the splitter's, and only until the next event. */
        struct http_conn *c = k->conn;
        send_out(k, S(""));
        f->is_gone = c->state == CONN_CLOSED;
    }
    return !f->is_gone;
}

static void feed_stream(struct call *k, str piece)
{
    struct feed f = {k, piece, false};
    err e = {0};
    if (sse_feed(&k->sse, piece, on_event, &f, &e) != ERR_NONE && !f.is_gone) {
        e.code = ERR_UPSTREAM;
        err_prefix(&e, "the stream of %.*s", STR(k->provider->name));
        client_cancel(&k->client);
        cut(k, &e);
    }
}

/* Keeps an unstreamed answer for its usage. Within one read it is only pointed to. */
static void keep_piece(struct call *k)
{
    if (k->piece.len && !k->has_answer_overflow) {
        buf_add(&k->answer, k->piece);
        if (k->answer.failed) {
            k->has_answer_overflow = true;
            k->observer.text_bytes += k->answer.len;
            buf_fini(&k->answer);
        }
    }
    if (k->has_answer_overflow)
        k->observer.text_bytes += k->piece.len;
    k->piece = S("");
}

static void on_data(struct client_call *client, str piece)
{
    struct call *k = call_of(client);
    if (k->r.first_us < 0)
        k->r.first_us = since_start(k);
    if (k->is_sse) {
        feed_stream(k, piece);
        return;
    }
    if (k->piece.len)
        keep_piece(k);
    k->piece = piece;
    add_body(k, piece);
}

static void on_read_done(struct client_call *client)
{
    struct call *k = call_of(client);
    struct http_conn *c = k->conn;
    if (!k->is_sse)
        keep_piece(k);
    send_out(k, S(""));
    if (c->state != CONN_CLOSED && http_is_congested(c) && !k->is_paused) {
        k->is_paused = true;
        client_pause(client);
    }
}

static void observe_whole(struct call *k)
{
    struct buf plain;
    str body = k->piece;
    if (k->answer.len || k->has_answer_overflow) {
        keep_piece(k);
        body = buf_str(&k->answer);
    }
    k->piece = S("");
    if (k->has_answer_overflow)
        return;
    if (k->answer_coding == CODING_IDENTITY) {
        observe_body(&k->observer, body);
        return;
    }
    /* Identity was asked for, and something else came: it passes as it is, and is looked into if it is small. */
    buf_init(&plain, DECODE_FOR_USAGE_MAX);
    if (coding_decode(k->answer_coding, body, &plain, NULL) == ERR_NONE)
        observe_body(&k->observer, buf_str(&plain));
    else
        k->observer.text_bytes += body.len;
    buf_fini(&plain);
}

static void on_end(struct client_call *client)
{
    struct call *k = call_of(client);
    if (k->is_sse && sse_unfinished(&k->sse).len) {
        struct http_conn *c = k->conn;
        feed_stream(k, S("\n\n")); /* a last event without its empty line */
        if (c->state == CONN_CLOSED || k->is_finished)
            return;
    }
    if (k->is_recorded) {
        k->is_finished = true;
        hold(k);
        send_out(k, end_of_framing(k));
        return;
    }
    if (k->is_sse && !k->observer.is_ended && !k->observer.has_error && !k->observer.has_finish) {
        err e;
        err_set(&e, ERR_UPSTREAM, "the stream of provider '%.*s' ended before its answer was complete", STR(k->provider->name));
        cut(k, &e);
        return;
    }
    if (!k->is_sse)
        observe_whole(k);
    k->r.bytes_out += k->gl->body_len;
    settle(k, CALL_COMPLETED, k->observer.has_error ? "provider_error" : NULL);
    finish(k, end_of_framing(k), k->keeps_alive);
}

static void on_error(struct client_call *client, const err *e)
{
    struct call *k = call_of(client);
    if (k->has_head) {
        if (!k->is_sse && !k->is_recorded) {
            keep_piece(k);
            observe_body(&k->observer, buf_str(&k->answer));
        }
        cut(k, e);
        return;
    }
    drop_out(k->gl);
    answer_upstream_error(k, e);
}

/* --- from the client --- */

static void on_gone(void *user)
{
    struct call *k = user;
    k->conn = NULL;
    client_cancel(&k->client);
    if (k->list)
        list_del(k);
    k->is_held = false;
    if (k->scan)
        return; /* the other thread still reads the body: scanned() goes on from here */
    if (!k->is_recorded) {
        if (k->has_head && !k->is_sse) {
            keep_piece(k);
            observe_body(&k->observer, buf_str(&k->answer));
        }
        settle(k, CALL_CANCELLED, "client_gone");
    }
    call_free(k);
}

/* The server's stop deadline has passed. */
static void on_stop(void *user)
{
    struct call *k = user;
    err e;
    err_set(&e, ERR_UNAVAILABLE, "Catalyst is being stopped and could not wait for this answer any longer");
    if (k->is_finished || k->scan)
        return;
    client_cancel(&k->client);
    if (k->has_head)
        cut(k, &e);
    else
        answer_error(k, k->provider ? CALL_CANCELLED : CALL_REFUSED, &e, S(""));
}

static const err *revoked(err *e)
{
    err_set(e, ERR_UNAUTHENTICATED, "the API key of this call was revoked");
    return e;
}

void calls_revoke(struct gateway_loop *gl)
{
    const struct snapshot *s = gl->use->snapshot;
    usec now = clock_now_us();
    for (struct call *k = gl->open, *next; k; k = next) {
        const struct key_secret *secret = snapshot_secret_by_hash(s, k->secret->sha256);
        err e;
        next = k->next_open;
        if (k->use == gl->use || k->is_finished || (secret && key_secret_check(secret, now, &e) == ERR_NONE))
            continue;
        if (k->scan) {
            k->is_revoked = true;
            continue;
        }
        client_cancel(&k->client);
        if (k->has_head)
            cut(k, revoked(&e));
        else
            answer_error(k, k->provider ? CALL_CANCELLED : CALL_REFUSED, revoked(&e), S(""));
    }
    if (gl->ending.first || journal_is_dirty(gl->writer))
        calls_end_turn(gl);
}

static void on_drained(void *user)
{
    struct call *k = user;
    if (!k->is_paused)
        return;
    k->is_paused = false;
    client_resume(&k->client);
}

static str label(struct call *k, str value, size_t max) { return str_dup(&k->arena, str_take(value, max)); }

/* 00-<trace id>-<parent id>-<flags>, W3C Trace Context. */
static void take_trace(struct call *k, str value)
{
    uint8_t id[16];
    if (value.len >= 55 && value.p[2] == '-' && value.p[35] == '-' && hex_decode(str_of(value.p + 3, 32), id, sizeof id))
        k->r.trace_id = label(k, str_of(value.p + 3, 32), 32);
}

static void take_own_label(struct call *k, str name, str value)
{
    if (str_ieq(name, S("x-catalyst-project")) && !k->r.project.len)
        k->r.project = label(k, value, LABEL_MAX);
    else if (str_ieq(name, S("x-catalyst-task")))
        k->r.task = label(k, value, LABEL_MAX);
    else if (str_ieq(name, S("x-catalyst-user")) && uuid_is_nil(&k->r.user_id)) /* the key's own binding wins */
        k->r.user = label(k, value, LABEL_MAX);
    else if (str_ieq(name, S("x-catalyst-session")))
        k->r.session = label(k, value, LABEL_MAX);
    else if (str_ieq(name, S("x-catalyst-tags")))
        k->r.tags = label(k, value, TAGS_MAX);
}

static bool is_session_field(str name)
{
    return str_ieq(name, S("x-claude-code-session-id")) || str_ieq(name, S("session_id")) || str_ieq(name, S("session-id")) ||
           str_ieq(name, S("x-session-id")) || str_ieq(name, S("conversation_id"));
}

/* What must not reach the provider: credentials and cookies meant for Catalyst, what describes this connection or the body's old coding, and where the
 * client sits. */
static bool is_dropped_from_request(str n)
{
    switch (n.len) {
    case 4: return str_ieq(n, S("host"));
    case 6: return str_ieq(n, S("cookie")) || str_ieq(n, S("expect"));
    case 7: return str_ieq(n, S("api-key")) || str_ieq(n, S("trailer")) || str_ieq(n, S("upgrade"));
    case 9: return str_ieq(n, S("x-api-key")) || str_ieq(n, S("forwarded")) || str_ieq(n, S("x-real-ip"));
    case 10: return str_ieq(n, S("connection")) || str_ieq(n, S("keep-alive"));
    case 13: return str_ieq(n, S("authorization"));
    case 14: return str_ieq(n, S("content-length"));
    case 15: return str_ieq(n, S("accept-encoding")) || str_ieq(n, S("x-forwarded-for"));
    case 16: return str_ieq(n, S("content-encoding")) || str_ieq(n, S("x-forwarded-host")) || str_ieq(n, S("proxy-connection"));
    case 17: return str_ieq(n, S("transfer-encoding")) || str_ieq(n, S("x-forwarded-proto"));
    case 19: return str_ieq(n, S("proxy-authorization"));
    default: return false;
    }
}

/* Header fields for the provider; labels for the record are taken on the way. */
static void write_fields(struct call *k, const struct http_head *h, struct buf *out)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        str name = h->fields[i].name, value = h->fields[i].value;
        if (name.len > 11 && str_ieq(str_take(name, 11), S("x-catalyst-"))) {
            take_own_label(k, name, value);
            continue;
        }
        if (is_dropped_from_request(name) || http_field_is_hop(h, name))
            continue;
        if (name.len == 11 && str_ieq(name, S("traceparent")))
            take_trace(k, value);
        else if (!k->r.session.len && is_session_field(name))
            k->r.session = label(k, value, LABEL_MAX);
        buf_add(out, name);
        buf_add(out, S(": "));
        buf_add(out, value);
        buf_add(out, S("\r\n"));
    }
}

/* What the request's record says of it. */
static void label_request(struct call *k)
{
    k->r.model_asked = label(k, k->request.model_name, REQUEST_MODEL_MAX);
    k->r.model = k->r.model_asked;
    if (!k->r.session.len)
        k->r.session = label(k, k->request.session, LABEL_MAX);
    if (!k->r.task.len)
        k->r.task = label(k, k->request.task, LABEL_MAX);
    k->r.is_streamed = k->request.is_streamed;
}

/* --- waiting for a lease --- */

/* The timer is for whoever has waited longest. */
static void arm_for(const struct call *k)
{
    struct gateway_loop *gl = k->gl;
    int64_t left_us = k->waits_since_us + (int64_t)gl->gateway->lease_wait_ms * USEC_PER_MS - clock_mono_us();
    uint64_t left_ms = left_us > 0 ? (uint64_t)(left_us / USEC_PER_MS) + 1 : 0;
    if (!wheel_is_armed(&gl->parked_timer) || loop_now_ms(gl->loop) + left_ms < gl->parked_timer.due_ms)
        loop_arm(gl->loop, &gl->parked_timer, left_ms);
}

/* Keeps what is needed of the request beyond this turn; r NULL: it is the call's own already. */
static bool keep_request(struct call *k, const struct http_request *r, str fields)
{
    if (!r || k->is_kept)
        return true;
    buf_init(&k->fields, HEAD_MAX);
    buf_add(&k->fields, fields);
    k->query = r->head->query.p ? str_dup(&k->arena, r->head->query) : r->head->query;
    if (k->fields.failed || !http_take_body(k->conn, r, &k->body))
        return false;
    k->worst = NULL; /* it points into the body where that was */
    return call_request_scan(&k->arena, k->r.dialect, buf_str(&k->body), &k->request, NULL) == ERR_NONE;
}

static void park(struct call *k, const struct http_request *r, str fields)
{
    err e;
    if (!keep_request(k, r, fields)) {
        err_code(&e, ERR_NO_MEMORY);
        answer_error(k, CALL_REFUSED, &e, S(""));
        return;
    }
    k->is_kept = true;
    gateway_metrics_parked(k->gl, !k->waits_since_us);
    if (!k->waits_since_us)
        k->waits_since_us = clock_mono_us();
    list_add(&k->gl->parked, k);
    arm_for(k);
}

/* Routes, edits and sends a request whose body has been scanned. r: body and fields are not the call's own but of this request. */
static void forward(struct call *k, const struct http_request *r, str body, str fields)
{
    struct route_choice choice;
    struct json_edit edit;
    str slices[2 * JSON_EDITS_MAX + 9];
    char length[24];
    err e = {0};
    unsigned n = 0;
    if (!k->is_kept)
        label_request(k);
    if (snapshot_route(k->secret->key->workspace, k->r.dialect, k->request.model_name, &choice, &e) != ERR_NONE ||
        virtual_key_allows(k->secret->key, k->request.model_name, &choice, &e) != ERR_NONE) {
        answer_error(k, CALL_REFUSED, &e, S("model"));
        return;
    }
    if (!k->is_kept)
        k->r.model = label(k, choice.model, REQUEST_MODEL_MAX);
    bool asks_usage = k->r.dialect == DIALECT_CHAT && k->request.is_streamed && !k->request.wants_usage;
    if (call_request_edit(&k->request, &k->arena, body, choice.model, asks_usage, &edit, &e) != ERR_NONE) {
        answer_error(k, CALL_REFUSED, &e, S(""));
        return;
    }
    observer_init(&k->observer, k->r.dialect, asks_usage);
    k->provider = choice.provider;
    k->r.provider = choice.provider->name;
    str param = S("");
    switch (call_admit(k, body, &choice, &edit, &param, &e)) {
    case ADMISSION_GRANTED:
        break;
    case ADMISSION_WAITS:
        park(k, r, fields);
        return;
    case ADMISSION_REFUSED:
    default:
        answer_error(k, CALL_REFUSED, &e, param);
        return;
    }
    struct buf b = {.p = length, .cap = sizeof length, .max = sizeof length};
    buf_add_u64(&b, json_edit_len(&edit));
    bool has_query = k->query.p || choice.provider->base_query.len;
    slices[n++] = choice.provider->request_line[k->r.dialect];
    if (has_query) {
        slices[n++] = S("?");
        slices[n++] = choice.provider->base_query;
        slices[n++] = k->query.len && choice.provider->base_query.len ? S("&") : S("");
        slices[n++] = k->query;
    }
    slices[n++] = choice.provider->fixed_fields;
    slices[n++] = fields;
    slices[n++] = S("Content-Length: ");
    slices[n++] = buf_str(&b);
    slices[n++] = S("\r\n\r\n");
    n += json_edit_slices(&edit, slices + n);
    k->client = (struct client_call){.on_head = on_head, .on_data = on_data, .on_read_done = on_read_done, .on_end = on_end, .on_error = on_error};
    if (client_start(snapshot_use_pool(k->use, choice.provider), &k->client, slices, n, &e) != ERR_NONE)
        answer_upstream_error(k, &e);
}

void calls_unpark(struct gateway_loop *gl)
{
    struct call_list waiting;
    usec now = clock_mono_us(), most_us = (usec)gl->gateway->lease_wait_ms * USEC_PER_MS;
    call_list_init(&waiting);
    loop_disarm(gl->loop, &gl->parked_timer);
    while (gl->parked.first) {
        struct call *k = gl->parked.first;
        list_del(k);
        list_add(&waiting, k);
    }
    while (waiting.first) { /* one at a time: an answer can end another's connection, which takes itself off the list */
        struct call *k = waiting.first;
        list_del(k);
        /* Limits need no answer any more when the database does not give one. */
        bool goes_alone = k->secret->key->n_rates && !k->has_rates && gl->gateway->rates && rate_pool_is_late(gl->gateway->rates, now * 1000);
        if (now - k->waits_since_us < most_us || goes_alone) {
            forward(k, NULL, buf_str(&k->body), buf_str(&k->fields));
            continue;
        }
        err e;
        err_set(&e, ERR_UNAVAILABLE, "whether budgets and limits cover this call is not known: the database did not answer in time; nothing was sent to the provider");
        answer_error(k, CALL_REFUSED, &e, S(""));
    }
    if (gl->ending.first || journal_is_dirty(gl->writer))
        calls_end_turn(gl);
}

static void scan_run(uv_work_t *w)
{
    struct call *k = w->data;
    str body = buf_str(&k->body);
    if (call_request_scan(&k->arena, k->r.dialect, body, &k->request, &k->scan_error) == ERR_NONE && k->secret->key->has_hard_budget &&
        (k->worst = arena_new(&k->arena, struct worst_case)) != NULL &&
        worst_case_scan(&k->arena, k->r.dialect, body, k->worst, &k->scan_error) != ERR_NONE)
        k->request.bad_member = k->worst->bad_member;
}

static void scanned(uv_work_t *w, int status)
{
    struct call *k = w->data;
    (void)status;
    free(w);
    k->scan = NULL;
    if (!k->conn) { /* the client left meanwhile */
        struct gateway_loop *gl = k->gl;
        settle(k, CALL_CANCELLED, "client_gone");
        call_free(k);
        calls_end_turn(gl); /* when the server stops, this may be the loop's last turn */
        return;
    }
    if (k->is_revoked) {
        err e;
        answer_error(k, CALL_REFUSED, revoked(&e), S(""));
    } else if (k->scan_error.code != ERR_NONE)
        answer_error(k, CALL_REFUSED, &k->scan_error, k->request.bad_member);
    else
        forward(k, NULL, buf_str(&k->body), buf_str(&k->fields));
}

/* Scanning a very large body would hold the loop up: it moves to libuv's pool with everything that is needed of the request. */
static void scan_elsewhere(struct call *k, const struct http_request *r)
{
    err e;
    uv_work_t *w = malloc(sizeof *w);
    buf_init(&k->fields, HEAD_MAX);
    write_fields(k, r->head, &k->fields);
    k->query = r->head->query.p ? str_dup(&k->arena, r->head->query) : r->head->query;
    if (!w || k->fields.failed || !http_take_body(k->conn, r, &k->body)) {
        free(w);
        err_code(&e, ERR_NO_MEMORY);
        answer_error(k, CALL_REFUSED, &e, S(""));
        return;
    }
    w->data = k;
    k->scan = w;
    uv_queue_work(&k->gl->loop->uv, w, scan_run, scanned);
}

void call_start(struct gateway_loop *gl, struct http_conn *c, const struct key_secret *secret, enum dialect d, const struct http_request *r)
{
    const struct virtual_key *key = secret->key;
    struct call *k = call_new(gl);
    err e = {0};
    uuid id = uuid7_make(r->arrived_us);
    if (!k || !journal_has_room(gl->writer, gl->n_open)) {
        char id_text[UUID_TEXT_LEN + 1];
        struct dialect_error x = {.status = 503, .code = errc_name(k ? ERR_DISK_FULL : ERR_NO_MEMORY),
                                  .message = k ? S("the usage journal has no room: the disk that holds the data folder is full; nothing was sent to "
                                                   "the provider")
                                               : S("out of memory"),
                                  .request_id = uuid_format(&id, id_text)};
        if (k)
            call_free(k);
        gateway_refuse(c, d, &x);
        return;
    }
    open_add(k);
    gateway_metrics_started(gl);
    k->conn = c;
    k->secret = secret;
    k->began_mono_us = r->arrived_mono_us;
    k->r = (struct usage_record){
        .request_id = id, .started_us = r->arrived_us, .dialect = d, .sent_us = -1, .connect_us = -1, .head_us = -1, .first_us = -1,
        .bytes_in = r->body.len, .key = key->name, .project = key->project, .workspace_id = key->workspace->id,
        .project_id = key->project_id, .user_id = key->user_id, .snapshot = k->use->snapshot->version,
    };
    memcpy(k->r.key_id, key->id.b, sizeof k->r.key_id);
    k->request.dialect = d;
    observer_init(&k->observer, d, false);
    c->user = k;
    c->on_gone = on_gone;
    c->on_drained = on_drained;
    c->on_stop = on_stop;
    if (r->body.len > SCAN_ON_LOOP_MAX) {
        scan_elsewhere(k, r);
        return;
    }
    if (call_request_scan(&k->arena, d, r->body, &k->request, &e) != ERR_NONE) {
        answer_error(k, CALL_REFUSED, &e, k->request.bad_member);
        return;
    }
    buf_clear(&gl->request_head);
    write_fields(k, r->head, &gl->request_head);
    k->query = r->head->query;
    forward(k, r, r->body, buf_str(&gl->request_head));
}
