/* datadir.h - the data folder: made on first use, owned by one server at a time, never opened by an older release.
 *
 * DIR/VERSION holds the format's number; DIR/lock is locked (flock) while a server runs.
 * Threads: main thread.
 */
#ifndef CORE_DATADIR_H
#define CORE_DATADIR_H

#include "base/err.h"

#define DATADIR_VERSION 1

/* mkdir -p; new folders are only for their owner (0700). */
WARN_UNUSED enum errc datadir_make(const char *dir, err *e);
/* Makes the folder if need be and takes the lock; *lock_fd stays open as long as the folder is used. ERR_BUSY: another server has it;
 * ERR_CONFIG: a newer release wrote it; ERR_IO, ERR_DISK_FULL. */
WARN_UNUSED enum errc datadir_open(const char *dir, int *lock_fd, err *e);

#endif
