/* export.h - everything that a workspace holds, as files of lines (NDJSON) that another program can read.
 *
 * POST /api/workspaces/:id/export starts the job workspace.export; its parts are files in DIR/exports/JOB/, or
 * with PostgreSQL rows, so that every node has them. They are read one by one at GET /api/workspaces/:id/exports/:job_id/:part, as long as the job is kept. A
 * line is {"kind":"project","record":{…}}; the log's lines hold the exact bytes of their event, so that
 * hashes can be checked. Secrets are never in it. A service adds what it stores with a table of sources.
 * After a crash the job goes on behind its last checkpoint: the part is cut there first.
 * Threads: any but loops.
 */
#ifndef CORE_EXPORT_H
#define CORE_EXPORT_H

#include "core/api.h"
#include "core/jobs.h"

struct export_source {
    const char *kind; /* of its lines: "project" */
    /* "uui", "uii" or "uti": workspace, behind this first column, at most so many; ordered by that column. */
    const struct sql *page;
    const struct sql *count; /* "u": how many rows the workspace has */
    /* name:type of each column in order, separated by spaces; u uuid, t text, i integer, b boolean, T time,
     * j JSON text, w words of a text as an array, r the record itself as JSON bytes. */
    const char *columns;
};
struct export_table {
    const struct export_source *sources;
    unsigned n;
};
extern const struct export_table core_export; /* workspace, members, invitations, API keys, jobs, the log */

#define EXPORT_TABLES_MAX 16
struct export_setup {
    struct store *store;
    struct jobs *jobs; /* gets the kind of job */
    const struct config *config;
    const char *data_dir;
    const struct export_table *const *tables;
    unsigned n_tables;
};
extern const struct option_table export_options;
struct export;
WARN_UNUSED enum errc export_new(struct export **out, const struct export_setup *setup, err *e);
void export_free(struct export *x);       /* after jobs_stop; NULL is fine */
extern const struct api_table export_api; /* service: struct export * */

#endif
