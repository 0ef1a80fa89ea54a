/* bundle_write.c - `catalyst audit export`. Every file is there whole or not at all, so one that is there and full is done. */
#include <stdio.h>

#include "core/audit/bundle.h"
#include "json/write.h"
#include "store/files.h"

#define MANIFEST_MAX (64u << 10)
#define TEXT_MAX (1u << 30)

struct writing {
    const struct verify_source *s;
    const struct bundle_order *o;
    struct bundle_result *out;
    int64_t size;
};

static enum errc put(struct writing *w, const char *inside, str bytes, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_make_parents(w->o->dir, inside, e);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/%s", w->o->dir, inside);
    if (rc == ERR_NONE) rc = file_write(path, bytes, e);
    w->out->n_written++;
    return rc;
}

static bool is_there(struct writing *w, const char *inside)
{
    char path[FILE_PATH_MAX];
    bool is = file_path(path, NULL, "%s/%s", w->o->dir, inside) == ERR_NONE && file_exists(path);
    w->out->n_kept += is;
    return is;
}

/* --- tiles --- */

static enum errc write_tile(struct writing *w, unsigned level, int64_t number, unsigned n, err *e)
{
    char path[TILE_PATH_MAX], inside[TILE_PATH_MAX + 8];
    struct tree_hash hashes[TILE_WIDTH];
    unsigned there = 0;
    snprintf(inside, sizeof inside, "tile/%s", tile_path((int)level, number, n, path).p);
    if (n == TILE_WIDTH && is_there(w, inside)) return ERR_NONE;
    enum errc rc = w->s->tile(w->s->ctx, level, number, hashes, &there, e);
    if (rc == ERR_NONE && there < n) rc = err_set(e, ERR_CORRUPT, "tile %u/%lld of the log is missing or cut off", level, (long long)number);
    return rc == ERR_NONE ? put(w, inside, str_of((const char *)hashes, n * sizeof *hashes), e) : rc;
}

static enum errc write_tiles(struct writing *w, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned level = 0; level < TILE_LEVELS - 1 && rc == ERR_NONE; level++) {
        int64_t n = w->size >> (TILE_HEIGHT * level), full = n / TILE_WIDTH;
        for (int64_t i = 0; i < full && rc == ERR_NONE; i++)
            rc = write_tile(w, level, i, TILE_WIDTH, e);
        if (rc == ERR_NONE && n % TILE_WIDTH) rc = write_tile(w, level, full, (unsigned)(n % TILE_WIDTH), e);
        if (n == 0) break;
    }
    return rc;
}

/* --- events --- */

static enum errc write_entries(struct writing *w, const struct record *records, unsigned n, int64_t number, err *e)
{
    char path[TILE_PATH_MAX], inside[TILE_PATH_MAX + 8];
    struct buf bytes;
    snprintf(inside, sizeof inside, "tile/%s", tile_path(-1, number, n, path).p);
    buf_init(&bytes, TILE_WIDTH * (64u << 10));
    for (unsigned i = 0; i < n; i++) { /* big-endian lengths, as tlog-tiles has them */
        buf_add_char(&bytes, (char)(records[i].bytes.len >> 8 & 0xff));
        buf_add_char(&bytes, (char)(records[i].bytes.len & 0xff));
        buf_add(&bytes, records[i].bytes);
    }
    enum errc rc = bytes.failed ? err_code(e, bytes.failed) : put(w, inside, buf_str(&bytes), e);
    buf_fini(&bytes);
    return rc;
}

/* The segment is written behind the bundles: when it is there, so are they. One of part of a chunk is written anew. */
static bool is_full_segment(struct writing *w, const char *inside)
{
    struct arena a;
    char path[FILE_PATH_MAX];
    struct segment_reader reader = {0};
    struct record r;
    str text;
    bool has_one = true;
    arena_init(&a, 128u << 20, 64u << 10);
    if (file_path(path, NULL, "%s/%s", w->o->dir, inside) == ERR_NONE && file_read(path, 100u << 20, &a, &text, NULL) == ERR_NONE &&
        segment_open(text, &reader, NULL) == ERR_NONE)
        while (has_one && segment_next(&reader, &r, &has_one, NULL) == ERR_NONE)
            continue;
    bool is_full = reader.has_ended && reader.n == VERIFY_CHUNK;
    w->out->n_kept += is_full;
    arena_fini(&a);
    return is_full;
}

static enum errc write_chunk(struct writing *w, int64_t first, err *e)
{
    struct arena a;
    struct buf segment;
    struct record *records = NULL;
    char inside[64];
    unsigned n = 0, wanted = w->size - first + 1 < VERIFY_CHUNK ? (unsigned)(w->size - first + 1) : VERIFY_CHUNK;
    snprintf(inside, sizeof inside, "segments/%020lld.seg", (long long)first);
    if (wanted == VERIFY_CHUNK && is_full_segment(w, inside)) return ERR_NONE;
    arena_init(&a, 128u << 20, 1u << 20);
    buf_init(&segment, 100u << 20);
    enum errc rc = w->s->records(w->s->ctx, &a, first, &records, &n, e);
    segment_begin(&(struct segment_header){w->o->node, w->s->tree, first}, &segment);
    for (unsigned i = 0; rc == ERR_NONE && i < wanted; i++) {
        if (i >= n || record_number(&records[i], &w->s->tree) != first + i)
            rc = err_set(e, ERR_CORRUPT, "event %lld of the log is not there: `catalyst audit verify` says more", (long long)(first + i));
        else
            segment_put(&records[i], &segment);
    }
    segment_end(wanted, &segment);
    for (unsigned i = 0; rc == ERR_NONE && i < wanted; i += TILE_WIDTH)
        rc = write_entries(w, records + i, wanted - i < TILE_WIDTH ? wanted - i : TILE_WIDTH, (first - 1 + i) / TILE_WIDTH, e);
    if (rc == ERR_NONE) rc = segment.failed ? err_code(e, segment.failed) : put(w, inside, buf_str(&segment), e);
    buf_fini(&segment);
    arena_fini(&a);
    return rc;
}

/* --- texts --- */

static enum errc write_manifest(struct writing *w, err *e)
{
    struct buf text;
    struct json_writer j;
    char id[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1];
    buf_init(&text, MANIFEST_MAX);
    json_writer_init(&j, &text);
    json_object(&j);
    json_put_int(&j, "format", 1);
    json_put_str(&j, "origin", w->s->origin);
    if (uuid_is_nil(&w->s->tree))
        json_put_null(&j, "workspace");
    else
        json_put_str(&j, "workspace", uuid_format(&w->s->tree, id));
    json_put_int(&j, "size", w->size);
    json_put_int(&j, "since", w->o->since);
    json_put_str(&j, "node", uuid_format(&w->o->node, id));
    json_put_str(&j, "exported_at", time_format(w->o->now_us, time));
    json_put_int(&j, "events_per_segment", VERIFY_CHUNK);
    json_end(&j);
    buf_add_char(&text, '\n');
    enum errc rc = text.failed ? err_code(e, text.failed) : put(w, "manifest.json", buf_str(&text), e);
    buf_fini(&text);
    return rc;
}

/* heads.json tells when each head was signed, which the notes do not. */
static enum errc write_texts(struct writing *w, str newest, err *e)
{
    struct buf heads, times, keys, breaks;
    struct json_writer j;
    char time[TIME_TEXT_LEN + 1];
    buf_init(&heads, TEXT_MAX);
    buf_init(&times, TEXT_MAX);
    buf_init(&keys, 1u << 20);
    buf_init(&breaks, 16u << 20);
    json_writer_init(&j, &times);
    json_array(&j);
    for (unsigned i = 0; i < w->s->n_heads; i++) {
        buf_addf(&heads, "%s%.*s", i ? "\n" : "", STR(w->s->heads[i].note));
        json_str(&j, time_format(w->s->heads[i].signed_us, time));
    }
    json_end(&j);
    for (unsigned i = 0; i < w->s->n_breaks; i++)
        buf_addf(&breaks, "%s%.*s", i ? "\n" : "", STR(w->s->breaks[i]));
    for (unsigned i = 0; i < w->s->n_keys; i++) {
        struct note_key key = w->s->keys[i];
        key.name = w->s->origin;
        vkey_put(&key, &keys);
        buf_add_char(&keys, '\n');
    }
    enum errc rc = heads.failed || times.failed || keys.failed || breaks.failed ? err_code(e, ERR_TOO_LARGE) : ERR_NONE;
    if (rc == ERR_NONE) rc = put(w, "heads", buf_str(&heads), e);
    if (rc == ERR_NONE) rc = put(w, "heads.json", buf_str(&times), e);
    if (rc == ERR_NONE) rc = put(w, "keys", buf_str(&keys), e);
    if (rc == ERR_NONE) rc = put(w, "breaks", buf_str(&breaks), e);
    if (rc == ERR_NONE) rc = put(w, "checkpoint", newest, e);
    buf_fini(&heads);
    buf_fini(&times);
    buf_fini(&keys);
    buf_fini(&breaks);
    return rc;
}

/* The folder is new, or holds an export of this log that does not go further. */
static enum errc check_folder(struct writing *w, err *e)
{
    struct bundle *there;
    char path[FILE_PATH_MAX];
    enum errc rc = file_make_folder(w->o->dir, e);
    if (rc == ERR_NONE) rc = file_path(path, e, "%s/manifest.json", w->o->dir);
    if (rc != ERR_NONE || !file_exists(path)) return rc;
    rc = bundle_open(&there, w->o->dir, e);
    if (rc != ERR_NONE) return rc;
    const struct verify_source *old = bundle_source(there);
    if (!str_eq(old->origin, w->s->origin))
        rc = err_set(e, ERR_CONFLICT, "%s holds an export of another log", w->o->dir);
    else if (old->size > w->size)
        rc = err_set(e, ERR_CONFLICT, "%s holds %lld events, and this log has %lld: it is an older copy", w->o->dir, (long long)old->size,
                     (long long)w->size);
    bundle_close(there);
    return rc;
}

enum errc bundle_write(const struct verify_source *s, const struct bundle_order *o, struct bundle_result *out, err *e)
{
    struct writing w = {.s = s, .o = o, .out = out};
    struct head newest = {0};
    str text, note = {0};
    *out = (struct bundle_result){0};
    if (s->n_heads) note = s->heads[s->n_heads - 1].note;
    if (!note.p) return err_set(e, ERR_NOT_FOUND, "no head of this log was signed yet: the server signs one within a minute");
    enum errc rc = note_text(note, &text, e);
    if (rc == ERR_NONE) rc = head_parse(text, &newest, e);
    if (rc == ERR_NONE && newest.size > s->size)
        rc = err_set(e, ERR_CORRUPT, "the log is shorter than its newest head says: `catalyst audit verify` says more");
    w.size = out->size = newest.size;
    if (rc == ERR_NONE) rc = check_folder(&w, e);
    if (rc == ERR_NONE) rc = write_manifest(&w, e); /* first: what is interrupted can be recognised */
    if (rc == ERR_NONE) rc = write_tiles(&w, e);
    for (int64_t first = 1; rc == ERR_NONE && first <= w.size; first += VERIFY_CHUNK)
        if (first + VERIFY_CHUNK > o->since) rc = write_chunk(&w, first, e);
    return rc == ERR_NONE ? write_texts(&w, note, e) : rc;
}
