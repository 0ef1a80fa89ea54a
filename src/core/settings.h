/* settings.h - the layer of the configuration that lies in the database: what an administrator of the instance sets while the server
 * runs.
 *
 * Only keys that are OPTION_SETTABLE, checked by the same tables as the file; they lie below flags, environment and file. Texts that are
 * secrets (OPTION_SECRET, or credentials inside a URL) are sealed, and never shown. A change is tried on every room first
 * (core/reload.h), written with an event for each key, and then taken.
 * Threads: any but loops.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "core/api.h"
#include "core/reload.h"
#include "core/secrets.h"

struct settings;
WARN_UNUSED enum errc settings_new(struct settings **out, struct store *store, const struct secrets *secrets,
                                   struct reload *reload, const struct option_table *const *tables,
                                   unsigned n_tables, err *e);
void settings_free(struct settings *s);

/* All settings, in the arena. Without secrets a secret's value is "****". */
WARN_UNUSED enum errc settings_read(struct store *store, const struct secrets *secrets, struct arena *a,
                                    struct config_setting **out, unsigned *n, err *e);

extern const struct api_table settings_api; /* GET, PUT, PATCH /api/settings */

#endif
