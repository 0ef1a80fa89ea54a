/* options.h - the configuration keys of the server side of net/. */
#ifndef NET_OPTIONS_H
#define NET_OPTIONS_H

#include "base/options.h"
#include "net/http1.h"

extern const struct option_table net_options;

#endif
