/* settings.h - the layer of the configuration that lies in the database: what an administrator of the instance sets while the server
 * runs.
 *
 * Only keys that are OPTION_SETTABLE, checked by the same tables as the file; they lie below flags, environment and file. Texts that are
 * secrets (OPTION_SECRET, or credentials inside a URL) are sealed, and never shown. A change is tried on every room first
 * (core/reload.h), written with an event for each key, and then taken; other nodes take it when they see the event. What one of
 * them cannot take (its own file or certificate is broken by now) it refuses: what was in force there stays, and it says so with an event
 * "setting.refused", in its log and in catalyst_config_reloads_total.
 * Threads: any but loops; taking what other nodes changed has one of its own.
 */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "core/api.h"
#include "core/reload.h"
#include "core/secrets.h"

struct events;
struct settings;
/* Where a reader of settings notes what it has read: of all keys and values. */
typedef _Atomic uint64_t settings_mark;
/* mark: as the configuration in force was read with it. */
WARN_UNUSED enum errc settings_new(struct settings **out, struct store *store, const struct secrets *secrets,
                                   struct reload *reload, const settings_mark *mark,
                                   const struct option_table *const *tables, unsigned n_tables, err *e);
/* Follows what other nodes change, and takes at once what they have changed since the configuration was read; node: who says that
 * it cannot. Before events_start. */
WARN_UNUSED enum errc settings_watch(struct settings *s, struct events *log, const uuid *node, err *e);
void settings_stop(struct settings *s); /* follows no more: before what reload_now works on goes */
void settings_free(struct settings *s);

/* All settings, in the arena. Without secrets a secret's value is "****". mark may be NULL. */
WARN_UNUSED enum errc settings_read(struct store *store, const struct secrets *secrets, struct arena *a,
                                    struct config_setting **out, unsigned *n, settings_mark *mark, err *e);

extern const struct api_table settings_api; /* GET, PUT, PATCH /api/settings */

#endif
