/* backend.h - what everything that touches the databases opens first, in this order: store, secrets, log of
 * events, keys to sign with.
 *
 * The server and the commands that work on a data folder of their own (`catalyst setup`) share it. The folder
 * must be locked by the caller (datadir_open).
 * Threads: open and close from one thread; the parts say for themselves.
 */
#ifndef CORE_BACKEND_H
#define CORE_BACKEND_H

#include "core/config.h"
#include "core/events.h"
#include "core/secrets.h"
#include "core/signing.h"
#include "store/store.h"

struct backend {
    struct store *store;
    struct secrets *secrets;
    struct events *events; /* its sealer works; listeners do not before events_start */
    struct signing *signing;
};

/* What the configuration says about the store: also for tools that open it in another way. */
struct store_source backend_store_source(const struct config *config, const char *data_dir);
/* Brings the schema up to date. On an error nothing stays open. ERR_CONFIG: the master key is not the one that the
 * database is sealed under. */
WARN_UNUSED enum errc backend_open(struct backend *out, const struct config *config, const char *data_dir,
                                   err *e);
/* When no unit runs any more; a zeroed one is fine. */
void backend_close(struct backend *b);

#endif
