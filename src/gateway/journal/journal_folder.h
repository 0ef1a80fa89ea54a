/* journal_folder.h - the folder of the journal when it is opened: its node id, its boot number, and what
 * the last process left behind.
 *
 * Threads: one, before the journal's own thread runs; the caller holds the lock of the data folder.
 */
#ifndef GATEWAY_JOURNAL_FOLDER_H
#define GATEWAY_JOURNAL_FOLDER_H

#include "gateway/journal/journal.h"

#define NEW_SUFFIX ".new" /* of a file that is being made */
#define NODE_FILE "node"

/* Opens DIR/journal, made when there is none. */
WARN_UNUSED enum errc folder_open(const char *data_dir, int *out, err *e);
/* The id of this data folder, made when there is none. */
WARN_UNUSED enum errc folder_node(int dir, uint8_t node[16], err *e);
/* The next boot number: above the one on file, and above that of every segment, in case the file was lost. */
WARN_UNUSED enum errc folder_boot(int dir, uint64_t last_of_segments, uint64_t *boot, err *e);
/* Cuts and seals what was not finished in order, removes what holds nothing; *last_boot is the greatest
 * boot number of a segment. */
WARN_UNUSED enum errc folder_recover(int dir, struct journal_recovery *found, uint64_t *last_boot, err *e);

#endif
