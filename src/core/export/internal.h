/* internal.h - what the parts of core/export share: the job (export.c), the endpoints (routes.c), the
 * core's own sources (sources.c), parts in the database (pages.c). */
#ifndef CORE_EXPORT_INTERNAL_H
#define CORE_EXPORT_INTERNAL_H

#include "core/export.h"

#define EXPORT_KIND "workspace.export"
#define EXPORT_PART_BYTES (4u << 20) /* a new part begins behind so many */
#define EXPORT_PATH_MAX 4096
#define EXPORT_PAGE_ARENA (64u << 20)

struct export
{
    struct export_setup setup;
    const struct export_table *tables[EXPORT_TABLES_MAX];
    char dir[EXPORT_PATH_MAX - 128]; /* DIR/exports */
    struct job_kind kind;
    unsigned page_rows;
};

/* DIR/exports/JOB/part-N.ndjson; part 0: the folder. */
void export_path(const struct export *x, const uuid *job, unsigned part, char out[EXPORT_PATH_MAX]);
/* --- PostgreSQL: parts as rows --- */

/* What stands behind this place goes, and what is left of exports whose jobs are forgotten. ERR_CANCELLED: the job is not the
 * run's any more; also when putting. */
WARN_UNUSED enum errc export_pages_begin(const struct job_run *run, unsigned part, int64_t bytes, err *e);
/* Bytes of all parts before this place. */
WARN_UNUSED enum errc export_pages_size(const struct job_run *run, unsigned part, int64_t bytes, int64_t *size, err *e);
/* A page of lines at this place of the part. */
WARN_UNUSED enum errc export_pages_put(const struct job_run *run, unsigned part, int64_t bytes, str lines, err *e);
/* A whole part, in the arena; p NULL: there is none. */
WARN_UNUSED enum errc export_pages_read(const struct export *x, struct arena *a, const uuid *job, unsigned part, str *out,
                                        err *e);

WARN_UNUSED enum errc export_run(void *ctx, struct job_run *j, err *e);

#endif
