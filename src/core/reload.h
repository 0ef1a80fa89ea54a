/* reload.h - another configuration for a server that runs, without dropping a stream.
 *
 * On SIGHUP, and after settings of the database have changed, the configuration is read again from all its layers. Rooms follow it in
 * two steps: each prepares what the new values mean for it (loads certificates, builds providers), and may refuse; only when all
 * have prepared, all commit, which cannot fail. So a configuration with an error changes nothing: it is refused with a line in the
 * log and counted, and what is in force stays. Keys that take effect only at start are named in the log.
 * A generation of the configuration lives as long as somebody holds it: who keeps slices of it on another thread holds it meanwhile.
 * The first one, which rooms are started with, lives until reload_free.
 * Threads: any but loops; reloads run one after the other.
 */
#ifndef CORE_RELOAD_H
#define CORE_RELOAD_H

#include "core/config.h"

struct generation; /* a configuration and its memory */
const struct config *generation_config(const struct generation *g);
struct generation *generation_hold(struct generation *g);
void generation_let_go(struct generation *g);

struct config_follower {
    const char *name;
    /* *prepared goes to commit or discard. Problems of the configuration: one line each into problems, and ERR_CONFIG. */
    enum errc (*prepare)(void *ctx, struct generation *next, void **prepared, struct buf *problems, err *e);
    void (*commit)(void *ctx, void *prepared);
    void (*discard)(void *ctx, void *prepared);
    void *ctx;
};
#define FOLLOWERS_MAX 16

struct reload;
/* Loads the first generation from everything but the database; texts of layers live as long as the server. Problems as config_load. */
WARN_UNUSED enum errc reload_new(struct reload **out, const struct config_source *layers,
                                 struct buf *problems, err *e);
void reload_free(struct reload *r);
/* The database is open: its settings (in the arena) are a layer from now on, and the first generation is made anew with them. */
WARN_UNUSED enum errc reload_database(struct reload *r,
                                      enum errc (*settings)(void *ctx, struct arena *a,
                                                            struct config_setting **out, unsigned *n, err *e),
                                      void *ctx, struct buf *problems, err *e);
/* The metrics, after stats_init (whose size depends on the configuration). */
void reload_declare(struct reload *r);
/* Waits for a reload under way; later ones are ERR_UNAVAILABLE. Before the loops end. */
void reload_close(struct reload *r);
/* Before the first reload. The values of the first generation are taken from it, not by the callbacks. */
void reload_follow(struct reload *r, const struct config_follower *f);
/* Held for the caller. */
struct generation *reload_current(struct reload *r);
/* why: for the log ("SIGHUP", "settings"). On an error nothing has changed, and it has been logged. */
WARN_UNUSED enum errc reload_now(struct reload *r, str why, err *e);
/* Whether a configuration with these settings in place of the database's would be taken: everything but commit. ERR_INVALID with the
 * first problem. */
WARN_UNUSED enum errc reload_try(struct reload *r, const struct config_setting *settings, unsigned n, err *e);

#endif
