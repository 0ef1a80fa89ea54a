/* internal.h - what the parts of core/notify share: rows and listener (notify.c), endpoints (routes.c). */
#ifndef CORE_NOTIFY_INTERNAL_H
#define CORE_NOTIFY_INTERNAL_H

#include "core/notify.h"

struct notify {
    struct store *store;
    struct live *live;
    usec keep_us;
};

struct notification {
    uuid id, workspace_id;
    str kind, title, body, link;
    bool is_read;
    usec created_at;
};
extern const struct shape notification_shape;

#define NOTIFICATION_COLUMNS "created_us, id, workspace_id, kind, title, body, link, is_read"
void notification_of_row(const struct val *row, struct notification *out);

struct notification_kind {
    const char *name, *meaning;
};
extern const struct notification_kind notification_kinds[];
extern const unsigned n_notification_kinds;

#endif
