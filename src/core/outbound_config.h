/* outbound_config.h - the way out (net/outbound.h) as the configuration and the environment say.
 *
 * Threads: any; the result is slices of the configuration, the environment and the arena.
 */
#ifndef CORE_OUTBOUND_CONFIG_H
#define CORE_OUTBOUND_CONFIG_H

#include "core/config.h"
#include "net/outbound.h"

WARN_UNUSED enum errc outbound_settings_of(const struct config *c, struct arena *a,
                                           struct outbound_settings *out, err *e);

#endif
