/* bundle.c - an export as something to verify. Files are read chunk by chunk, on the thread that verifies it. */
#include "core/audit/bundle.h"

#include <stdio.h>
#include <stdlib.h>

#include "json/tree.h"
#include "store/files.h"

#define MANIFEST_MAX (64u << 10)
#define HEADS_MAX (1u << 30)
#define SEGMENT_MAX (100u << 20)

struct bundle {
    struct arena arena;
    char *dir;
    struct verify_source source;
};

static enum errc read_inside(const struct bundle *b, struct arena *a, const char *inside, size_t max, str *out, err *e)
{
    char path[FILE_PATH_MAX];
    enum errc rc = file_path(path, e, "%s/%s", b->dir, inside);
    return rc == ERR_NONE ? file_read(path, max, a, out, e) : rc;
}

/* --- tiles --- */

static enum errc tile_of(void *ctx, unsigned level, int64_t number, struct tree_hash out[TILE_WIDTH], unsigned *n, err *e)
{
    const struct bundle *b = ctx;
    struct arena a;
    char path[TILE_PATH_MAX], inside[TILE_PATH_MAX + 8];
    str bytes = {0};
    int64_t left = (b->source.size >> (TILE_HEIGHT * level)) - number * TILE_WIDTH;
    *n = 0;
    if (left <= 0) return ERR_NONE;
    arena_init(&a, 64u << 10, 16384);
    snprintf(inside, sizeof inside, "tile/%s", tile_path((int)level, number, left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH, path).p);
    enum errc rc = read_inside(b, &a, inside, TILE_BYTES, &bytes, e);
    if (rc == ERR_NONE) {
        *n = (unsigned)(bytes.len / sizeof *out);
        memcpy(out, bytes.p, *n * sizeof *out);
    }
    arena_fini(&a);
    return rc == ERR_NOT_FOUND || rc == ERR_TOO_LARGE ? ERR_NONE : rc;
}

static enum errc leaves_of(void *ctx, int64_t first, struct tree_hash out[VERIFY_CHUNK + 1], unsigned *n, err *e)
{
    enum errc rc = ERR_NONE;
    *n = 0;
    for (int64_t tile = (first - 1) / TILE_WIDTH; rc == ERR_NONE && *n <= VERIFY_CHUNK; tile++) {
        struct tree_hash hashes[TILE_WIDTH];
        unsigned there = 0, room = VERIFY_CHUNK + 1 - *n;
        rc = tile_of(ctx, 0, tile, hashes, &there, e);
        unsigned taken = there < room ? there : room;
        memcpy(out + *n, hashes, taken * sizeof *hashes);
        *n += taken;
        if (there < TILE_WIDTH) break;
    }
    return rc;
}

/* --- events --- */

/* The bundles of entries say the same as the segment: what differs is put into the records, where it does not fit its leaf. */
static enum errc compare_entries(const struct bundle *b, struct arena *a, int64_t first, struct record *records, unsigned n, err *e)
{
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; rc == ERR_NONE && i < n; i += TILE_WIDTH) {
        char path[TILE_PATH_MAX], inside[TILE_PATH_MAX + 8];
        int64_t left = b->source.size - (first - 1 + i); /* in this bundle and those after it, whatever the segment has */
        unsigned count = n - i < TILE_WIDTH ? n - i : TILE_WIDTH;
        str rest = {0};
        if (left <= 0) break;
        snprintf(inside, sizeof inside, "tile/%s", tile_path(-1, (first - 1 + i) / TILE_WIDTH, left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH, path).p);
        rc = read_inside(b, a, inside, SEGMENT_MAX, &rest, e);
        if (rc == ERR_NOT_FOUND) rc = ERR_NONE; /* all of them differ */
        for (unsigned k = i; rc == ERR_NONE && k < i + count; k++) {
            size_t len = rest.len < 2 ? 0 : (size_t)((uint8_t)rest.p[0] << 8 | (uint8_t)rest.p[1]);
            str entry = rest.len < 2 + len || rest.len < 2 ? S("") : str_take(str_skip(rest, 2), len);
            bool is_missing = rest.len < 2 || rest.len < 2 + len;
            if (is_missing || !str_eq(entry, records[k].bytes)) {
                records[k].is_damaged = true;
                break;
            }
            rest = str_skip(rest, 2 + len);
        }
    }
    return rc;
}

static enum errc records_of(void *ctx, struct arena *a, int64_t first, struct record **out, unsigned *n, err *e)
{
    const struct bundle *b = ctx;
    char inside[64];
    str bytes;
    struct segment_reader reader;
    bool has_one = true;
    *n = 0;
    *out = arena_news(a, struct record, VERIFY_CHUNK);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    snprintf(inside, sizeof inside, "segments/%020lld.seg", (long long)first);
    enum errc rc = read_inside(b, a, inside, SEGMENT_MAX, &bytes, e);
    if (rc == ERR_NOT_FOUND) return ERR_NONE;
    if (rc == ERR_NONE && segment_open(bytes, &reader, NULL) != ERR_NONE) return ERR_NONE; /* none of its events is there */
    /* What is cut off ends the events; a damaged frame says so itself. */
    while (rc == ERR_NONE && has_one && *n < VERIFY_CHUNK && segment_next(&reader, &(*out)[*n], &has_one, NULL) == ERR_NONE)
        *n += has_one;
    return rc == ERR_NONE ? compare_entries(b, a, first, *out, *n, e) : rc;
}

/* --- as a whole --- */

static enum errc read_manifest(struct bundle *b, err *e)
{
    struct verify_source *s = &b->source;
    struct json *root;
    str text;
    int64_t format = 0;
    enum errc rc = read_inside(b, &b->arena, "manifest.json", MANIFEST_MAX, &text, e);
    if (rc == ERR_NOT_FOUND) return err_set(e, ERR_NOT_FOUND, "%s is no export of a log: it has no manifest.json", b->dir);
    if (rc == ERR_NONE) rc = json_parse(&b->arena, text, &root, e);
    if (rc != ERR_NONE) return err_prefix(e, "manifest.json");
    const struct json *origin = json_get(root, S("origin")), *workspace = json_get(root, S("workspace"));
    if (!json_i64(json_get(root, S("format")), &format) || format != 1)
        return err_set(e, ERR_CORRUPT, "manifest.json is of a format that is not known here");
    if (!origin || origin->type != JSON_STRING || !workspace || (workspace->type == JSON_STRING && !uuid_parse(workspace->text, &s->tree)) ||
        !json_i64(json_get(root, S("size")), &s->size) || s->size < 0 || !json_i64(json_get(root, S("since")), &s->since))
        return err_set(e, ERR_CORRUPT, "manifest.json is damaged");
    s->origin = origin->text;
    return ERR_NONE;
}

static enum errc read_notes(struct bundle *b, const char *inside, str **out, unsigned *n, err *e)
{
    str text, rest, note;
    unsigned count = 0;
    enum errc rc = read_inside(b, &b->arena, inside, HEADS_MAX, &text, e);
    if (rc != ERR_NONE) return rc == ERR_NOT_FOUND ? err_set(e, ERR_CORRUPT, "the export has no file %s", inside) : rc;
    for (rest = text; notes_next(&rest, &note);)
        count++;
    *out = arena_news(&b->arena, str, count);
    if (!*out) return err_code(e, ERR_TOO_LARGE);
    *n = 0;
    for (rest = text; *n < count && notes_next(&rest, &note);)
        (*out)[(*n)++] = note;
    return ERR_NONE;
}

static enum errc read_signed(struct bundle *b, err *e)
{
    struct verify_source *s = &b->source;
    struct json *times = NULL;
    str text, *notes = NULL, *breaks = NULL;
    unsigned n_lines = 0;
    enum errc rc = read_notes(b, "heads", &notes, &s->n_heads, e);
    if (rc == ERR_NONE) rc = read_notes(b, "breaks", &breaks, &s->n_breaks, e);
    if (rc == ERR_NONE && read_inside(b, &b->arena, "heads.json", HEADS_MAX, &text, NULL) == ERR_NONE &&
        json_parse(&b->arena, text, &times, NULL) != ERR_NONE)
        times = NULL; /* then it is not known when they were signed */
    struct verify_head *heads = rc == ERR_NONE ? arena_news(&b->arena, struct verify_head, s->n_heads) : NULL;
    if (rc == ERR_NONE && !heads) rc = err_code(e, ERR_TOO_LARGE);
    const struct json *time = times ? times->child : NULL;
    for (unsigned i = 0; rc == ERR_NONE && i < s->n_heads; i++, time = time ? time->next : NULL) {
        heads[i].note = notes[i];
        if (time && !time_parse(time->text, &heads[i].signed_us)) heads[i].signed_us = 0;
    }
    s->heads = heads;
    s->breaks = breaks;
    if (rc == ERR_NONE) rc = read_inside(b, &b->arena, "keys", 1u << 20, &text, e);
    if (rc != ERR_NONE) return rc;
    for (str rest = text; rest.len; str_cut(&rest, '\n'))
        n_lines++;
    struct note_key *keys = arena_news(&b->arena, struct note_key, n_lines);
    if (!keys) return err_code(e, ERR_TOO_LARGE);
    for (str rest = text; rest.len;) {
        str line = str_trim(str_cut(&rest, '\n'));
        if (line.len && vkey_parse(line, &keys[s->n_keys])) s->n_keys++;
    }
    s->keys = keys;
    return ERR_NONE;
}

enum errc bundle_open(struct bundle **out, const char *dir, err *e)
{
    struct bundle *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b || !(b->dir = strdup(dir))) {
        free(b);
        return err_code(e, ERR_NO_MEMORY);
    }
    arena_init(&b->arena, (size_t)4 << 30, 64u << 10);
    b->source = (struct verify_source){.ctx = b, .records = records_of, .leaves = leaves_of, .tile = tile_of};
    enum errc rc = read_manifest(b, e);
    if (rc == ERR_NONE) rc = read_signed(b, e);
    if (rc != ERR_NONE)
        bundle_close(b);
    else
        *out = b;
    return rc;
}

void bundle_close(struct bundle *b)
{
    if (!b) return;
    arena_fini(&b->arena);
    free(b->dir);
    free(b);
}

struct verify_source *bundle_source(struct bundle *b) { return &b->source; }
