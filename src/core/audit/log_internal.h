/* log_internal.h - what the parts of the log's search share: searching (search.c), entries (entries.c), what finding needs
 * (index.c), endpoints (log_routes.c). Private to core/audit.
 */
#ifndef CORE_AUDIT_LOG_INTERNAL_H
#define CORE_AUDIT_LOG_INTERNAL_H

#include <pthread.h>
#include <stdio.h>

#include "base/crypto.h"
#include "base/waker.h"
#include "core/audit_log.h"

#define LOG_SPAN 1024 /* numbers that a row of event_spans tells the times of */

struct audit_log {
    struct audit_log_setup setup;
    struct waker wake;
    pthread_t thread;
    bool is_running;
};

/* A row of the columns that search.c selects. */
struct log_row log_row_of(const struct val *v);
/* Where events of a range of time can stand: numbers between these, both excluded. */
WARN_UNUSED enum errc log_numbers_of_time(struct tx *tx, usec from_us, usec until_us, int64_t *above, int64_t *below, err *e);
/* A step of what the thread does; *has_more: there is more of it. */
WARN_UNUSED enum errc log_index_step(struct store *s, bool *has_more, err *e);

#endif
