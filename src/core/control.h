/* control.h - DIR/control.sock: what somebody who owns the data folder may ask of the server that runs on it.
 *
 * The socket is for its owner only (0600, and the peer's uid is checked). A caller sends one JSON object with
 * the member "command", ends its side, and reads one answer: {"ok":true,"result":…} or
 * {"ok":false,"error":{"code":"conflict","message":"…"}}. Commands run one after the other on a thread of
 * their own.
 * Threads: start and stop from one thread; commands on the control thread, which is no loop.
 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "json/tree.h"
#include "json/write.h"

struct control_command {
    const char *name;
    /* Writes one value as the result. request lives in the arena, which dies after the answer. */
    enum errc (*run)(void *ctx, struct arena *a, const struct json *request, struct json_writer *result,
                     err *e);
    void *ctx;
};

struct control;
/* The data folder must be locked by the caller (datadir_open): a socket that is left from before is
 * replaced. commands must outlive it. */
WARN_UNUSED enum errc control_start(struct control **out, const char *data_dir,
                                    const struct control_command *commands, unsigned n, err *e);
void control_stop(struct control *c); /* ends the command in progress; NULL is fine */

/* Asks the server on data_dir. *is_running false (and ERR_NONE): there is none. The result, as a tree in
 * the arena; an error of the command is returned as it happened there. */
WARN_UNUSED enum errc control_call(struct arena *a, const char *data_dir, str request, bool *is_running,
                                   const struct json **result, err *e);

#endif
