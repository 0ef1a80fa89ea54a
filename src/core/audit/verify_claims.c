/* verify_claims.c - what was signed of a log: its heads and breaks; and the report as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "core/audit/verify_internal.h"
#include "json/write.h"

/* Heads of a tree are signed under the name of its own origin, breaks under the instance's. */
static enum errc keys_of(struct arena *a, const struct verify_source *s, str origin, struct note_key **out, err *e)
{
    *out = arena_news(a, struct note_key, s->n_keys);
    if (!*out) return err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; i < s->n_keys; i++) {
        (*out)[i] = s->keys[i];
        (*out)[i].name = origin;
    }
    return ERR_NONE;
}

static int by_size(const void *a, const void *b)
{
    const struct head_claim *x = a, *y = b;
    if (x->head.size != y->head.size) return x->head.size < y->head.size ? -1 : 1;
    return x->signed_us < y->signed_us ? -1 : x->signed_us > y->signed_us;
}

static void complain(struct verify_finding *f, const char *what)
{
    if (f->what != VERIFY_OK) return;
    f->what = VERIFY_HEAD;
    snprintf(f->text, sizeof f->text, "%s", what);
}

struct breaks {
    struct break_note *list;
    unsigned n;
    usec last_us;
};

/* A break of the instance gives up what was signed before it and does not come out. */
static bool is_given_up(const struct verify_source *s, const struct breaks *b, const struct head_claim *c)
{
    for (unsigned i = 0; i < b->n; i++)
        if (uuid_is_nil(&s->tree) && b->list[i].lost_size == c->head.size && tree_hash_eq(&b->list[i].lost_root, &c->head.root)) return true;
    return c->signed_us && c->signed_us <= b->last_us;
}

enum errc claims_read(struct arena *a, const struct verify_source *s, const struct verify_options *o, struct verify_report *r,
                      struct verify_finding *finding,
                      struct head_claim **out, unsigned *n, err *e)
{
    struct note_key *keys, *break_keys;
    struct breaks b = {0};
    str text, instance = s->origin;
    ptrdiff_t last = -1;
    for (size_t i = 0; i < s->origin.len; i++)
        if (s->origin.p[i] == '/') last = (ptrdiff_t)i;
    if (!uuid_is_nil(&s->tree) && last > 0) instance = str_take(s->origin, (size_t)last);
    *n = 0;
    enum errc rc = keys_of(a, s, s->origin, &keys, e);
    if (rc == ERR_NONE) rc = keys_of(a, s, instance, &break_keys, e);
    *out = arena_news(a, struct head_claim, s->n_heads + o->n_exported);
    b.list = arena_news(a, struct break_note, s->n_breaks);
    if (rc == ERR_NONE && (!*out || !b.list)) rc = err_code(e, ERR_NO_MEMORY);
    if (rc != ERR_NONE) return rc;
    for (unsigned i = 0; i < s->n_breaks; i++) {
        struct break_note *one = &b.list[b.n];
        if (note_open_any(s->breaks[i], break_keys, s->n_keys, &text, NULL, NULL) != ERR_NONE || break_parse(text, one, NULL) != ERR_NONE) {
            complain(finding, "the record of an accepted restore is damaged, or not signed by this log");
            continue;
        }
        if (one->at_us > b.last_us) b.last_us = one->at_us;
        b.n++;
    }
    r->n_breaks = b.n;
    for (unsigned i = 0; i < s->n_heads + o->n_exported; i++) {
        struct head_claim *c = &(*out)[*n];
        bool is_exported = i >= s->n_heads;
        str note = is_exported ? o->exported[i - s->n_heads] : s->heads[i].note;
        c->is_exported = is_exported;
        c->signed_us = is_exported ? 0 : s->heads[i].signed_us;
        if (note_open_any(note, keys, s->n_keys, &text, NULL, NULL) != ERR_NONE || head_parse(text, &c->head, NULL) != ERR_NONE ||
            !str_eq(c->head.origin, s->origin)) {
            complain(finding, is_exported ? "the head that was given is not signed by this log" : "a head is damaged, or not signed by this log");
            continue;
        }
        c->is_given_up = is_given_up(s, &b, c);
        if (c->head.size > 0) ++*n;
    }
    qsort(*out, *n, sizeof **out, by_size);
    return ERR_NONE;
}

void verify_report_put(const struct verify_report *r, const struct verify_source *s, struct json_writer *w)
{
    char hex[2 * SHA256_LEN + 1], id[UUID_TEXT_LEN + 1];
    json_object(w);
    json_put_bool(w, "ok", r->first.what == VERIFY_OK);
    json_put_str(w, "origin", s->origin);
    json_put_int(w, "events", r->events);
    json_put_int(w, "bytes", r->bytes);
    json_put_int(w, "dropped", r->n_dropped);
    json_put_int(w, "boxes_opened", r->n_opened);
    json_put_int(w, "heads", r->n_heads);
    json_put_int(w, "heads_given_up", r->n_heads_given_up);
    json_put_int(w, "breaks", r->n_breaks);
    json_put_int(w, "signed_size", r->signed_size);
    json_put_str(w, "root", hex_encode(r->root.b, sizeof r->root.b, hex));
    json_put_int(w, "took_ms", r->took_us / USEC_PER_MS);
    json_name(w, S("first_bad"));
    if (r->first.what == VERIFY_OK) {
        json_null(w);
    } else {
        json_object(w);
        json_put_str(w, "what", str_c(verify_name(r->first.what)));
        json_put_int(w, "number", r->first.number);
        json_put_int(w, "until", r->first.until);
        if (r->first.has_id)
            json_put_str(w, "id", uuid_format(&r->first.id, id));
        else
            json_put_null(w, "id");
        json_put_str(w, "text", str_c(r->first.text));
        json_end(w);
    }
    json_end(w);
}
