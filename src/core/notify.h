/* notify.h - what a person is told in the page: rows, unread ones counted, a live frame for each.
 *
 * Notifications are made from events by a listener, so each is made once and names its cause; a service
 * adds kinds of its own with tx_notify in a listener of its own. Everybody may turn kinds off. What is
 * older than notifications.keep_days is forgotten.
 * Threads: any but loops.
 */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include "core/api.h"
#include "core/events.h"
#include "core/jobs.h"
#include "core/live.h"

extern const struct option_table notify_options;

struct notice {
    uuid cause_id; /* the event; with the user it makes the notification unique */
    uuid user_id;
    uuid workspace_id; /* nil: of the instance */
    str kind;          /* one of the table in notify.c: "job.failed" */
    str title, body;   /* plain text; the title in one line */
    str link;          /* a path of the page, or empty */
    usec now_us;
};
/* Adds it unless the user does not want the kind, or has it already. Texts are cut to what fits. */
WARN_UNUSED enum errc tx_notify(struct tx *tx, const struct notice *n, err *e);

struct notify;
/* live may be NULL. Registers its listener with the log and its forgetting with the jobs (NULL: nothing is
 * forgotten), so before both start. */
WARN_UNUSED enum errc notify_new(struct notify **out, struct store *s, struct events *log, struct live *live,
                                 struct jobs *jobs, const struct config *config, err *e);
void notify_free(struct notify *n); /* after events_stop and jobs_stop; NULL is fine */
/* Live frames of what was notified because of this event, once its unit has committed: for the `heard` of
 * other listeners. */
void notify_show(struct notify *n, const uuid *cause_id);
extern const struct api_table notify_api; /* service: struct notify * */

#endif
