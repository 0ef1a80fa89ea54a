/* internal.h - what the parts of core/export share: the job (export.c), the endpoints (routes.c), the
 * core's own sources (sources.c). */
#ifndef CORE_EXPORT_INTERNAL_H
#define CORE_EXPORT_INTERNAL_H

#include "core/export.h"

#define EXPORT_KIND "workspace.export"
#define EXPORT_PART_BYTES (4u << 20) /* a new part begins behind so many */
#define EXPORT_PATH_MAX 4096

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
WARN_UNUSED enum errc export_run(void *ctx, struct job_run *j, err *e);

#endif
