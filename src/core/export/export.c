/* export.c - the job that writes a workspace into files. */
#include "core/export.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/config.h"
#include "core/export/internal.h"


SQL(job_is_kept, DB_MAIN, SQL_INSTANCE, "u", "SELECT id FROM jobs WHERE id = $1");

void export_path(const struct export *x, const uuid *job, unsigned part, char out[EXPORT_PATH_MAX])
{
    char id[UUID_TEXT_LEN + 1];
    uuid_format(job, id);
    if (part)
        snprintf(out, EXPORT_PATH_MAX, "%s/%s/part-%u.ndjson", x->dir, id, part);
    else
        snprintf(out, EXPORT_PATH_MAX, "%s/%s", x->dir, id);
}

/* --- where it stands --- */

struct place {
    unsigned source; /* of all tables' sources in order */
    char after[256]; /* first column of the last row: an id, number or name; empty at a source's start */
    unsigned part;
    int64_t bytes; /* of that part */
    int64_t rows, all_bytes;
};

static enum errc save(struct job_run *j, const struct place *p, err *e)
{
    struct buf text;
    struct json_writer w;
    buf_init(&text, 4096);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_int(&w, "source", p->source);
    json_put_str(&w, "after", str_c(p->after));
    json_put_int(&w, "part", p->part);
    json_put_int(&w, "bytes", p->bytes);
    json_put_int(&w, "rows", p->rows);
    json_put_int(&w, "all_bytes", p->all_bytes);
    json_end(&w);
    enum errc rc = text.failed ? err_code(e, text.failed) : job_save(j, buf_str(&text), e);
    buf_fini(&text);
    return rc;
}

static enum errc load(struct job_run *j, struct place *p, err *e)
{
    struct json *root;
    int64_t source = 0, part = 0;
    str text = job_checkpoint(j);
    *p = (struct place){.part = 1};
    if (!text.len) return ERR_NONE;
    enum errc rc = json_parse(job_arena(j), text, &root, e);
    if (rc != ERR_NONE) return rc;
    const struct json *after = json_get(root, S("after"));
    if (!json_i64(json_get(root, S("source")), &source) || !json_i64(json_get(root, S("part")), &part) ||
        !json_i64(json_get(root, S("bytes")), &p->bytes) || !json_i64(json_get(root, S("rows")), &p->rows) ||
        !json_i64(json_get(root, S("all_bytes")), &p->all_bytes) || !after ||
        after->text.len >= sizeof p->after)
        return err_set(e, ERR_CORRUPT, "the checkpoint of an export is damaged");
    p->source = (unsigned)source;
    p->part = (unsigned)part;
    memcpy(p->after, after->text.p, after->text.len);
    return ERR_NONE;
}

/* --- lines --- */

static void put_words(struct json_writer *w, str words)
{
    json_array(w);
    while (words.len)
        json_str(w, str_cut(&words, ' '));
    json_end(w);
}

static void put_value(struct json_writer *w, char type, const struct val *v)
{
    char text[UUID_TEXT_LEN + 1], time[TIME_TEXT_LEN + 1];
    uuid id;
    if (v->type == VAL_NULL) {
        json_null(w);
        return;
    }
    switch (type) {
    case 'u':
        id = val_uuid(v);
        json_str(w, uuid_format(&id, text));
        break;
    case 'i': json_int(w, val_int(v)); break;
    case 'b': json_boolean(w, val_bool(v)); break;
    case 'T': json_str(w, time_format(val_int(v), time)); break;
    case 'j': json_raw(w, val_str(v)); break;
    case 'w': put_words(w, val_str(v)); break;
    default: json_str(w, val_str(v)); break;
    }
}

static void put_line(struct buf *out, const struct export_source *source, const struct val *row)
{
    struct json_writer w;
    str columns = str_c(source->columns), record = {0};
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "kind", str_c(source->kind));
    json_name(&w, S("record"));
    if (str_find(columns, S(":r")) >= 0) { /* the record is stored as it is */
        unsigned i = 0;
        for (str rest = columns; rest.len; i++)
            if (str_ends(str_cut(&rest, ' '), S(":r"))) record = val_str(&row[i]);
        json_raw(&w, record);
    } else {
        json_object(&w);
        unsigned i = 0;
        for (str rest = columns; rest.len; i++) {
            str column = str_cut(&rest, ' '), name = str_cut(&column, ':');
            json_name(&w, name);
            put_value(&w, column.p[0], &row[i]);
        }
        json_end(&w);
    }
    json_end(&w);
    buf_add_char(out, '\n');
}

/* --- reading --- */

struct page {
    const struct export *x;
    const struct export_source *source;
    struct arena *a;
    uuid workspace;
    const struct place *place;
    struct rows rows;
};

static enum errc page_unit(struct tx *tx, void *ctx, err *e)
{
    struct page *p = ctx;
    const struct sql *s = p->source->page;
    uuid id = {0};
    int64_t number = 0;
    str after = str_c(p->place->after);
    char type = s->params[1];
    if (after.len &&
        ((type == 'u' && !uuid_parse(after, &id)) || (type == 'i' && !str_to_i64(after, &number))))
        return err_set(e, ERR_CORRUPT, "the checkpoint of an export is damaged");
    struct val behind = type == 'u' ? v_uuid(&id) : type == 'i' ? v_int(number) : v_text(after);
    return tx_query(tx, p->a, s, PARAMS(v_uuid(&p->workspace), behind, v_int(p->x->page_rows)), &p->rows, e);
}

struct counting {
    const struct export_source *source;
    uuid workspace;
    int64_t n;
};

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct counting *c = ctx;
    struct arena a;
    const struct val *row;
    arena_init(&a, 1u << 20, 4096);
    enum errc rc = tx_query_row(tx, &a, c->source->count, PARAMS(v_uuid(&c->workspace)), &row, e);
    if (rc == ERR_NONE) c->n = val_int(row);
    arena_fini(&a);
    return rc;
}

static const struct export_source *source_at(const struct export *x, unsigned i)
{
    for (unsigned t = 0; t < x->setup.n_tables; t++) {
        if (i < x->tables[t]->n) return &x->tables[t]->sources[i];
        i -= x->tables[t]->n;
    }
    return NULL;
}

static enum errc count_all(const struct export *x, const uuid *workspace, int64_t *total, err *e)
{
    struct counting c = {.workspace = *workspace};
    enum errc rc = ERR_NONE;
    *total = 0;
    for (unsigned i = 0; rc == ERR_NONE && (c.source = source_at(x, i)) != NULL; i++) {
        rc = db_read(store_db(x->setup.store, c.source->count->db), count_unit, &c, e);
        *total += c.n;
    }
    return rc;
}

/* --- writing --- */

/* The part, cut to what the checkpoint says of it. *fd -1: it is in the database. */
static enum errc open_part(const struct export *x, const struct job_run *j, const struct place *p, int *fd, err *e)
{
    char path[EXPORT_PATH_MAX];
    *fd = -1;
    if (store_is_postgres(x->setup.store)) return export_pages_begin(j, p->part, p->bytes, e);
    export_path(x, &job_of(j)->id, p->part, path);
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) return err_errno(e, ERR_IO, errno, "making %.150s", path);
    if (ftruncate(*fd, p->bytes) < 0 || lseek(*fd, p->bytes, SEEK_SET) < 0)
        return err_errno(e, ERR_IO, errno, "cutting %.150s", path);
    return ERR_NONE;
}

static enum errc write_all(int fd, str text, err *e)
{
    while (text.len) {
        ssize_t n = write(fd, text.p, text.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(e, ERR_IO, errno, "writing an export");
        text = str_skip(text, (size_t)n);
    }
    return fdatasync(fd) == 0 ? ERR_NONE : err_errno(e, ERR_IO, errno, "syncing an export");
}

static void remember_last(struct place *p, const struct export_source *source, const struct val *row)
{
    char type = source->page->params[1];
    if (type == 'u') {
        uuid id = val_uuid(&row[0]);
        uuid_format(&id, p->after);
    } else if (type == 'i') {
        snprintf(p->after, sizeof p->after, "%lld", (long long)val_int(&row[0]));
    } else {
        snprintf(p->after, sizeof p->after, "%.*s", STR(val_str(&row[0])));
    }
}

/* One page of a source; *is_last when there is no more of it. */
static enum errc write_page(const struct export *x, struct job_run *j, struct place *p, int fd, bool *is_last,
                            err *e)
{
    struct arena a;
    struct buf text;
    const struct export_source *source = source_at(x, p->source);
    struct page page = {.x = x, .source = source, .a = &a, .workspace = job_of(j)->workspace_id, .place = p};
    arena_init(&a, EXPORT_PAGE_ARENA, 16384);
    buf_init(&text, EXPORT_PAGE_ARENA);
    enum errc rc = db_read(store_db(x->setup.store, source->page->db), page_unit, &page, e);
    for (unsigned i = 0; i < page.rows.n && rc == ERR_NONE; i++)
        put_line(&text, source, row_at(&page.rows, i));
    if (rc == ERR_NONE && text.failed) rc = err_code(e, text.failed);
    if (rc == ERR_NONE && page.rows.n)
        rc = fd >= 0 ? write_all(fd, buf_str(&text), e) : export_pages_put(j, p->part, p->bytes, buf_str(&text), e);
    if (rc == ERR_NONE) {
        *is_last = page.rows.n < x->page_rows;
        p->bytes += (int64_t)text.len;
        p->all_bytes += (int64_t)text.len;
        p->rows += page.rows.n;
        if (page.rows.n) remember_last(p, source, row_at(&page.rows, page.rows.n - 1));
    }
    buf_fini(&text);
    arena_fini(&a);
    return rc;
}

/* --- what is left of older exports --- */

struct keeping {
    uuid job;
    bool is_kept;
};

static enum errc kept_unit(struct tx *tx, void *ctx, err *e)
{
    struct keeping *k = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &job_is_kept, PARAMS(v_uuid(&k->job)), &rows, e);
    k->is_kept = rc != ERR_NONE || rows.n > 0;
    arena_fini(&a);
    return rc;
}

static void remove_export(const struct export *x, const uuid *job)
{
    char path[EXPORT_PATH_MAX];
    for (unsigned part = 1;; part++) {
        export_path(x, job, part, path);
        if (unlink(path) < 0) break;
    }
    export_path(x, job, 0, path);
    if (rmdir(path) < 0) log_event(LOG_WARN, "old_export_not_removed", LOG_S("folder", str_c(path)));
}

/* Files of jobs that are forgotten by now go too. */
static void remove_old(const struct export *x)
{
    DIR *d = opendir(x->dir);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        struct keeping k = {.is_kept = true};
        if (uuid_parse(str_c(entry->d_name), &k.job) &&
            db_read(store_db(x->setup.store, DB_MAIN), kept_unit, &k, NULL) == ERR_NONE && !k.is_kept)
            remove_export(x, &k.job);
    }
    if (d) closedir(d);
}

/* --- the job --- */

static enum errc make_folder(const struct export *x, const uuid *job, err *e)
{
    char path[EXPORT_PATH_MAX];
    export_path(x, job, 0, path);
    if ((mkdir(x->dir, 0700) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
        return err_errno(e, ERR_IO, errno, "making %.150s", path);
    return ERR_NONE;
}

static enum errc write_source(const struct export *x, struct job_run *j, struct place *p, int *fd,
                              int64_t total, err *e)
{
    bool is_last = false;
    enum errc rc = ERR_NONE;
    const struct export_source *source = source_at(x, p->source);
    while (!is_last && rc == ERR_NONE) {
        if (p->bytes >= EXPORT_PART_BYTES) {
            if (*fd >= 0) close(*fd);
            p->part++;
            p->bytes = 0;
            if ((rc = open_part(x, j, p, fd, e)) != ERR_NONE) break;
        }
        rc = write_page(x, j, p, *fd, &is_last, e);
        if (rc == ERR_NONE && is_last) {
            p->source++;
            p->after[0] = '\0';
        }
        if (rc == ERR_NONE) rc = save(j, p, e);
        if (rc == ERR_NONE)
            rc = job_progress(j, p->rows, total > p->rows ? total : p->rows, str_c(source->kind), e);
    }
    return rc;
}

/* A release that wrote files on PostgreSQL too may have begun it: those are not here, so it begins anew. */
static enum errc check_pages(const struct export *x, struct job_run *j, struct place *p, err *e)
{
    int64_t size = 0;
    if (!store_is_postgres(x->setup.store)) return ERR_NONE;
    enum errc rc = export_pages_size(j, p->part, p->bytes, &size, e);
    if (rc == ERR_NONE && size != p->all_bytes) *p = (struct place){.part = 1};
    return rc;
}

enum errc export_run(void *ctx, struct job_run *j, err *e)
{
    const struct export *x = ctx;
    struct place p;
    int64_t total = 0;
    char result[200];
    int fd = -1;
    remove_old(x);
    enum errc rc = load(j, &p, e);
    if (rc == ERR_NONE) rc = check_pages(x, j, &p, e);
    if (rc == ERR_NONE && !store_is_postgres(x->setup.store)) rc = make_folder(x, &job_of(j)->id, e);
    if (rc == ERR_NONE) rc = count_all(x, &job_of(j)->workspace_id, &total, e);
    if (rc == ERR_NONE) rc = open_part(x, j, &p, &fd, e);
    while (rc == ERR_NONE && source_at(x, p.source))
        rc = write_source(x, j, &p, &fd, total, e);
    if (fd >= 0) close(fd);
    if (rc == ERR_NONE) {
        int n = snprintf(result, sizeof result, "{\"rows\":%lld,\"bytes\":%lld,\"parts\":%u}",
                         (long long)p.rows, (long long)p.all_bytes, p.part);
        job_result(j, str_of(result, (size_t)n));
    }
    return rc;
}

/* --- life --- */

enum errc export_new(struct export **out, const struct export_setup *setup, err *e)
{
    struct export *x = calloc(1, sizeof *x);
    *out = NULL;
    if (!x) return err_code(e, ERR_NO_MEMORY);
    x->setup = *setup;
    x->page_rows = (unsigned)config_int(setup->config, "export.page_rows");
    x->kind = (struct job_kind){.name = EXPORT_KIND,
                                .timeout_s = 24 * 3600,
                                .started_by = PERMISSION_AUDIT_EXPORT,
                                .run = export_run,
                                .ctx = x};
    int n = snprintf(x->dir, sizeof x->dir, "%s/exports", setup->data_dir);
    if (n < 0 || (size_t)n >= sizeof x->dir || setup->n_tables > EXPORT_TABLES_MAX) {
        free(x);
        return err_set(e, ERR_CONFIG, "the data folder's path is too long");
    }
    memcpy(x->tables, setup->tables, setup->n_tables * sizeof x->tables[0]);
    jobs_add_kind(setup->jobs, &x->kind);
    *out = x;
    return ERR_NONE;
}

void export_free(struct export *x) { free(x); }

static const struct option options[] = {
    {.key = "export.page_rows",
     .type = OPTION_INT,
     .fallback = "500",
     .min = 1,
     .max = 1000,
     .meaning = "Rows that the export of a workspace reads at a time; behind each such page it can go on "
                "after a crash."},
};

const struct option_table export_options = {options, LENGTH_OF(options)};
