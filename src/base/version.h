/* version.h - which build this is. The build system defines both macros; the fallbacks serve a file compiled
 * by hand. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#ifndef CATALYST_VERSION
#define CATALYST_VERSION "0.2.0"
#endif
#ifndef CATALYST_COMMIT
#define CATALYST_COMMIT "unknown"
#endif

#endif
