#include "net/sse.h"

#include "net/bytes.h"

#define BOM S("\xef\xbb\xbf")

void sse_init(struct sse *s, size_t max_event)
{
    /* One more byte, for the LF of a final CR LF: an event must not fit or not depending on where it was
     * split. */
    s->max_event = max_event < SIZE_MAX ? max_event : SIZE_MAX - 1;
    buf_init(&s->tail, s->max_event + 1);
    buf_init(&s->scratch, s->max_event + 1);
    s->at_start = true;
    s->ended_in_cr = false;
}

void sse_fini(struct sse *s)
{
    buf_fini(&s->tail);
    buf_fini(&s->scratch);
}

str sse_unfinished(const struct sse *s) { return buf_str(&s->tail); }

/* What stands before the bytes to be searched. */
enum before { AT_LINE_START, IN_LINE, BEHIND_CR /* its LF may follow; otherwise a line starts */ };

/* The length of the event that begins, or goes on, with b: up to and with its empty line. 0 when the end
 * is not in b. */
static size_t event_end(str b, enum before before)
{
    const char *p = b.p, *end = b.p + b.len;
    if (p < end && before == BEHIND_CR) {
        before = AT_LINE_START;
        if (*p == '\n') p++;
    }
    while (p < end) {
        if (before == AT_LINE_START && (*p == '\n' || *p == '\r')) {
            p += *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
            return (size_t)(p - b.p);
        }
        before = AT_LINE_START;
        p = bytes_line_end(p, end);
        if (p < end) p += *p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1;
    }
    return 0;
}

static enum errc too_large(const struct sse *s, err *e)
{
    return err_set(e, ERR_TOO_LARGE, "an event of the stream is larger than %zu bytes", s->max_event);
}

/* A data line's value: the first stays where it is, further ones make the joined copy. */
static void add_data(struct sse *s, struct sse_event *event, str value)
{
    if (!event->has_data) {
        event->has_data = true;
        event->data = value;
        return;
    }
    if (s->scratch.len == 0) buf_add(&s->scratch, event->data);
    buf_add_char(&s->scratch, '\n');
    buf_add(&s->scratch, value);
    event->data = buf_str(&s->scratch);
}

static void take_line(struct sse *s, struct sse_event *event, str line)
{
    if (line.p[0] != 'd' && line.p[0] != 'e') return;
    ptrdiff_t colon = str_chr(line, ':');
    str name = colon < 0 ? line : str_take(line, (size_t)colon);
    str value = colon < 0 ? str_skip(line, line.len) : str_skip(line, (size_t)colon + 1);
    if (value.len > 0 && value.p[0] == ' ') value = str_skip(value, 1);
    if (str_eq(name, S("data"))) {
        add_data(s, event, value);
    } else if (str_eq(name, S("event"))) {
        event->type = value;
    }
}

/* Takes a complete event apart and reports it; *goes_on is the callback's answer. */
static enum errc report(struct sse *s, str raw, sse_event_fn on_event, void *ctx, bool *goes_on, err *e)
{
    struct sse_event event = {.raw = raw};
    bool has_crlf = str_ends(raw, S("\r\n"));
    if (raw.len - (has_crlf ? 1 : 0) > s->max_event) return too_large(s, e);

    str rest = s->at_start && str_starts(raw, BOM) ? str_skip(raw, BOM.len) : raw;
    s->at_start = false;
    buf_clear(&s->scratch);
    while (rest.len > 0) {
        str line = str_of(rest.p, (size_t)(bytes_line_end(rest.p, rest.p + rest.len) - rest.p));
        if (line.len > 0) take_line(s, &event, line);
        rest = str_skip(
            rest, line.len + 1); /* the LF of a CR LF makes an empty line, which is no event's end here */
    }
    if (buf_err(&s->scratch) != ERR_NONE) return err_code(e, buf_err(&s->scratch));
    *goes_on = on_event(ctx, &event);
    return ERR_NONE;
}

static enum errc keep(struct sse *s, str bytes, err *e)
{
    buf_add(&s->tail, bytes);
    enum errc rc = buf_err(&s->tail);
    return rc == ERR_TOO_LARGE ? too_large(s, e) : rc != ERR_NONE ? err_code(e, rc) : ERR_NONE;
}

static enum before before_piece(const struct sse *s)
{
    str tail = buf_str(&s->tail);
    if (tail.len == 0 || (s->at_start && str_eq(tail, BOM))) return AT_LINE_START;
    char last = tail.p[tail.len - 1];
    return last == '\n' ? AT_LINE_START : last == '\r' ? BEHIND_CR : IN_LINE;
}

enum errc sse_feed(struct sse *s, str piece, sse_event_fn on_event, void *ctx, err *e)
{
    enum errc rc;
    bool goes_on = true;
    if (piece.len == 0) return ERR_NONE;

    if (s->ended_in_cr) {
        s->ended_in_cr = false;
        if (piece.p[0] == '\n') {
            if ((rc = report(s, str_take(piece, 1), on_event, ctx, &goes_on, e)) != ERR_NONE) return rc;
            piece = str_skip(piece, 1);
        }
    }
    /* A BOM in pieces: collected until it is one or none, for the line starts only behind it. */
    while (s->at_start && piece.len > 0 && s->tail.len > 0 && s->tail.len < BOM.len &&
           str_starts(BOM, buf_str(&s->tail))) {
        if ((rc = keep(s, str_take(piece, 1), e)) != ERR_NONE) return rc;
        piece = str_skip(piece, 1);
    }
    while (goes_on && piece.len > 0) {
        size_t bom = s->at_start && s->tail.len == 0 && str_starts(piece, BOM) ? BOM.len : 0;
        size_t n = event_end(str_skip(piece, bom), before_piece(s));
        str raw = n > 0 ? str_take(piece, bom + n) : piece;
        bool was_split = s->tail.len > 0;
        if (n == 0 || was_split) {
            if ((rc = keep(s, raw, e)) != ERR_NONE) return rc;
        }
        if (n == 0) return s->tail.len > s->max_event ? too_large(s, e) : ERR_NONE;

        piece = str_skip(piece, raw.len);
        s->ended_in_cr = piece.len == 0 && raw.p[raw.len - 1] == '\r';
        rc = report(s, was_split ? buf_str(&s->tail) : raw, on_event, ctx, &goes_on, e);
        if (was_split) buf_clear(&s->tail);
        if (rc != ERR_NONE) return rc;
    }
    return ERR_NONE;
}
