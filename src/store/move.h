/* move.h - moves the SQLite databases of a data folder into an empty PostgreSQL, and compares the two.
 *
 * Every table of every database, as the catalogues of both sides have them, so that tables of later migrations need nothing here:
 *   1. DIR/MOVED says that a move has begun (no SQLite store of the folder opens from then on), the schema catalyst_move of the
 *      target that it belongs to this move. The schema of this release is made there; its history (main.schema_migrations) gets a row
 *      that no release knows, so that nobody serves from it, and its foreign keys and secondary indexes are put off.
 *   2. Rows are copied in the order of their rowids by binary COPY, in batches; how far a table has come is committed with its rows, so
 *      that a move that was killed goes on where it stood. Then the indexes and keys are made, identities stand behind the highest
 *      number that SQLite ever gave.
 *   3. Both sides are read in the order of the primary key, and each pair of rows is compared by the SHA-256 of its values.
 *   4. Without a difference the row that no release knows goes, and DIR/MOVED says where the data lives now.
 * The SQLite files are only read. The journal of the folder stays: its places are among the rows, so that the next start on PostgreSQL drains
 * what is left once.
 * A move belongs to a DIR/MOVED: without it (somebody has gone back to SQLite) what lies in the target is of no use and is only
 * replaced when asked to.
 * Units: rows, bytes of values, microseconds (monotonic). Threads: the caller's alone. Errors: those of store/db.h; ERR_CONFIG: another schema, a
 * server of another encoding, a URL that is none; ERR_CONFLICT: the target is not empty, or of another move; ERR_CORRUPT: rows differ, or SQLite
 * holds what PostgreSQL cannot.
 * Source: PostgreSQL 17 documentation, COPY, "Binary Format".
 */
#ifndef STORE_MOVE_H
#define STORE_MOVE_H

#include "store/store.h"

struct move_table {
    enum db_id db;
    const char *name;
    int64_t n_rows;        /* of SQLite */
    int64_t n_target;      /* of PostgreSQL, once compared */
    int64_t n_differences; /* rows that differ or that one side lacks */
    uint8_t hash[32];      /* SHA-256 over the hashes of SQLite's rows in the order of their keys */
};

struct move_report {
    uuid id;
    const struct move_table *tables;
    unsigned n_tables;
    bool went_on; /* with what an earlier run had begun */
    int64_t n_rows, n_copied /* in this run */, n_bytes /* copied in this run */, n_differences;
    usec copy_us, index_us, check_us;
};

enum move_phase { MOVE_COPIES, MOVE_INDEXES, MOVE_COMPARES };

struct move_setup {
    const char *data_dir; /* locked by the caller */
    str url;              /* ends in NUL */
    bool only_compares;
    unsigned batch_rows; /* of one commit; 0: 50,000 */
    bool begins_again;   /* drops what a move that did not end has left in the target */
    /* May be NULL. Called every few thousand rows, and at the end of each table; the table is NULL with MOVE_INDEXES. */
    void (*progress)(void *ctx, enum move_phase phase, const struct move_table *table, int64_t done);
    /* A difference in words; for each table's first ones only. May be NULL. */
    void (*differs)(void *ctx, str text);
    void *ctx;
};

/* The report is in the arena, also of a move that failed, as far as it came. */
WARN_UNUSED enum errc store_move(const struct move_setup *setup, struct arena *a, struct move_report *out,
                                 err *e);

struct migration;
/* With another list than the release's, as store_open_with. */
WARN_UNUSED enum errc store_move_with(const struct move_setup *setup, const struct migration *list,
                                      unsigned n, struct arena *a, struct move_report *out, err *e);

/* DIR/MOVED: {"format":1,"move":ID,"state":"moving"|"moved","target":…,"at":…}. */
struct moved {
    bool is_there, is_done;
    uuid id;
    usec at_us;
    char target[128]; /* without the password */
};
WARN_UNUSED enum errc moved_read(const char *data_dir, struct moved *out, err *e);
/* ERR_CONFIG when the databases of the folder were moved, or a move of them has begun. */
WARN_UNUSED enum errc moved_refuse(const char *data_dir, err *e);

/* "USER@HOST:PORT/NAME" of a URL, for people; never the password. */
void move_target_text(str url, char *out, size_t size);
/* The password stands in the URL itself. */
bool move_url_has_password(str url);

#endif
