/* internal.h - the SQL of projects (store.c) for its handlers (routes.c). */
#ifndef PROJECTS_INTERNAL_H
#define PROJECTS_INTERNAL_H

#include "projects/projects.h"

/* A page of the workspace's projects by name; name: a part of it, empty for all. */
WARN_UNUSED enum errc project_list(struct tx *tx, struct arena *a, const uuid *workspace, str name,
                                   str cursor, unsigned limit, struct project **out, unsigned *n,
                                   str *next_cursor, err *e);
WARN_UNUSED enum errc project_insert(struct tx *tx, struct arena *a, const uuid *workspace,
                                     const struct project *p, err *e);
WARN_UNUSED enum errc project_update(struct tx *tx, struct arena *a, const uuid *workspace,
                                     const struct project *p, err *e);
WARN_UNUSED enum errc project_delete(struct tx *tx, const uuid *workspace, const uuid *id, err *e);

#endif
