/* projects.h - projects: what a workspace works on, as records with a repository and settings.
 *
 * A project belongs to one workspace; its name is unique there, whatever its case (ASCII). The repository is
 * a URL that git understands, without a password in it, or an absolute path on the server. Others refer to a
 * project by its id and follow "project.created", "project.updated" and "project.deleted" in the log.
 * This is the smallest whole service, and the example of docs/architecture.md, "Adding a service in eight
 * steps".
 * Threads: any but loops.
 * Errors: ERR_NOT_FOUND, ERR_CONFLICT (the name is taken), ERR_INVALID.
 */
#ifndef PROJECTS_PROJECTS_H
#define PROJECTS_PROJECTS_H

#include "core/api.h"
#include "core/export.h"

struct project {
    uuid id;
    str name, description, repository; /* repository: without a pointer when there is none yet */
    str settings;                      /* JSON object */
    uuid created_by;
    usec created_at, updated_at;
    int64_t version;
};

extern const struct shape project_shape;
extern const struct api_table projects_api; /* needs no service context */
extern const struct export_table projects_export;

/* The project that ":id" or ":project_id" of a path names, in the caller's workspace;
 * project_resource.find also serves checks of ids in bodies ("uu": workspace, project; one row, its id,
 * when it exists there). */
extern const struct api_resource project_resource, project_id_resource;

/* "ui": workspace, at most so many; the ids of its projects. */
extern const struct sql *const project_ids;

/* Inside a unit; ERR_NOT_FOUND. */
WARN_UNUSED enum errc projects_get(struct tx *tx, struct arena *a, const uuid *workspace, const uuid *id,
                                   struct project *out, err *e);
/* By name, whatever its case; ERR_NOT_FOUND. */
WARN_UNUSED enum errc projects_get_by_name(struct tx *tx, struct arena *a, const uuid *workspace, str name,
                                           struct project *out, err *e);

/* NULL when the text can be a repository, else what would be right. */
const char *repository_problem(str repository);

#endif
