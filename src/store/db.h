/* db.h - units of work over SQLite and PostgreSQL.
 *
 * A unit of work is a function that may run again: no I/O, clock, randomness or locks in it, and short. There is
 * no begin or commit and no asynchronous form. SQLite runs the writing units of a database on one writer thread,
 * each in a SAVEPOINT of a group commit; PostgreSQL runs each on a connection of its own, SERIALIZABLE, again on
 * 40001 and 40P01.
 * A statement that fails ends its unit on both engines: what follows fails with the same error, and the unit is undone
 * whatever it returns. Only refused parameters and ERR_NOT_FOUND leave it as it was.
 * Statements are compile-time constants made with SQL(): they register themselves, so that a test prepares every
 * one on both engines. Parameters are $1, $2, … in order of first use; a statement names workspace_id unless it is
 * tagged SQL_INSTANCE. Texts are UTF-8 without NUL (ERR_INVALID) and compare by their bytes. Columns come back as
 * integers, reals, texts or blobs; uuids are blobs of 16 bytes. PostgreSQL makes sums of integers numeric, which is an
 * error here: CAST(SUM(x) AS BIGINT).
 * Databases: no transaction and no join crosses two of them. With SQLite each is a file of DIR/db/, with
 * PostgreSQL a schema of one database.
 * Threads: any but an event loop (asserted). A tx belongs to its unit.
 * An outcome that is not known: when the connection to PostgreSQL breaks, or is silent, while a unit is committed
 * (ERR_UNAVAILABLE, db_is_unknown) the unit may have been committed or not, and it is not run again here. Who calls db_write makes it safe to ask again: the unit brings its own ids and finds what it did the
 * first time (a unique key, a cursor or a position that it compares and moves, the row of an Idempotency-Key), and what is
 * kept in memory follows the database and not the answer. No unit is "count up by one" and nothing else.
 * Errors: ERR_CONFLICT (a unique or foreign key constraint; the message names it), ERR_BUSY (deadline or queue
 * full), ERR_DISK_FULL, ERR_IO, ERR_CORRUPT, ERR_UNAVAILABLE (no connection), and whatever the unit itself returns.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "base/arena.h"
#include "base/random.h"

enum db_id {
    DB_MAIN,   /* state, events, jobs: every commit is synced */
    DB_USAGE,  /* the gateway's calls and what was spent */
    DB_PEOPLE, /* keys of persons, apart so that backups of them can be short-lived */
    DB_IDS
};
extern const char *const db_names[DB_IDS]; /* "main", "usage", "people" */

enum val_type { VAL_NULL, VAL_INT, VAL_REAL, VAL_TEXT, VAL_BLOB };

struct val {
    enum val_type type;
    union {
        int64_t i;
        double r;
        str s; /* texts and blobs; valid as long as the arena it was read into */
    };
};

static inline struct val v_null(void) { return (struct val){.type = VAL_NULL}; }
static inline struct val v_int(int64_t i) { return (struct val){.type = VAL_INT, .i = i}; }
static inline struct val v_real(double r) { return (struct val){.type = VAL_REAL, .r = r}; }
static inline struct val v_text(str s) { return (struct val){.type = VAL_TEXT, .s = s}; }
static inline struct val v_blob(str s) { return (struct val){.type = VAL_BLOB, .s = s}; }
/* The uuid must outlive the call. */
static inline struct val v_uuid(const uuid *u) { return v_blob(str_of((const char *)u->b, sizeof u->b)); }
/* NULL for an all-zero uuid, a text without a pointer, NO_VALUE. */
static inline bool uuid_is_nil(const uuid *u)
{
    static const uuid nil;
    return memcmp(u, &nil, sizeof nil) == 0;
}
static inline struct val v_uuid_or_null(const uuid *u) { return uuid_is_nil(u) ? v_null() : v_uuid(u); }
static inline struct val v_text_or_null(str s) { return s.p ? v_text(s) : v_null(); }
#define NO_VALUE INT64_MIN /* "none" of an optional integer, time or amount */
static inline struct val v_int_or_null(int64_t i) { return i == NO_VALUE ? v_null() : v_int(i); }

enum sql_flags {
    SQL_INSTANCE = 1, /* is not about one workspace */
    SQL_ANYWHERE = 2  /* the same in each database */
};

struct sql {
    const char *name; /* the constant's own, for messages */
    enum db_id db;
    unsigned flags;
    const char *params; /* one letter each: u uuid, i int, r real, t text, b blob */
    const char *text;
    const char
        *postgres; /* what PostgreSQL needs said otherwise (SKIP LOCKED, for example); NULL: the same text */
};

/* At file scope:  SQL(find_project, DB_MAIN, 0, "uu", "SELECT name FROM projects WHERE workspace_id = $1 AND id = $2"); */
#define SQL(name_, db_, flags_, params_, text_) SQL_PER_ENGINE(name_, db_, flags_, params_, text_, NULL)
/* With another text, of the same parameters and columns, for PostgreSQL. */
#define SQL_PER_ENGINE(name_, db_, flags_, params_, text_, postgres_)                                        \
    static const struct sql name_ = {#name_, (db_), (flags_), (params_), (text_), (postgres_)};              \
    static const struct sql *const name_##_registered __attribute__((used, section("catalyst_sql"))) = &name_
/* Every registered statement of the program. */
const struct sql *const *sql_registry(size_t *n);

struct rows {
    unsigned n, n_cols;
    const struct val *vals; /* n * n_cols, row by row */
};
static inline const struct val *row_at(const struct rows *r, unsigned i)
{
    return r->vals + (size_t)i * r->n_cols;
}
/* Readers of one value; a NULL gives NO_VALUE, an empty slice without pointer, false, a nil uuid. */
int64_t val_int(const struct val *v);
double val_real(const struct val *v);
str val_str(const struct val *v);
bool val_bool(const struct val *v);
uuid val_uuid(const struct val *v);

struct store;
struct db;
struct tx;

typedef enum errc (*tx_fn)(struct tx *tx, void *ctx, err *e);

/* Runs the unit and returns when it is durable. Whatever the unit returns but ERR_NONE undoes it. */
WARN_UNUSED enum errc db_write(struct db *db, tx_fn fn, void *ctx, err *e);
/* One snapshot, read only; ends with ERR_BUSY after the deadline (store.read_deadline_ms). */
WARN_UNUSED enum errc db_read(struct db *db, tx_fn fn, void *ctx, err *e);
/* The same statement for n rows of parameters (each strlen(params) values), in one unit of its own. */
WARN_UNUSED enum errc db_bulk(struct db *db, const struct sql *s, const struct val *rows, size_t n, err *e);

/* Whether a unit failed so that nobody can know whether it was committed; see above. */
bool db_is_unknown(const err *e);

/* Makes what was committed so far survive a power cut too: DB_USAGE does not sync every commit. */
WARN_UNUSED enum errc db_sync(struct db *db, err *e);

/* *changed (may be NULL): rows inserted, changed or deleted. */
WARN_UNUSED enum errc tx_exec(struct tx *tx, const struct sql *s, const struct val *params, unsigned n,
                              int64_t *changed, err *e);
WARN_UNUSED enum errc tx_query(struct tx *tx, struct arena *a, const struct sql *s, const struct val *params,
                               unsigned n, struct rows *out, err *e);
/* The only row; ERR_NOT_FOUND (with the plain sentence) when there is none. *row has the statement's columns. */
WARN_UNUSED enum errc tx_query_row(struct tx *tx, struct arena *a, const struct sql *s,
                                   const struct val *params, unsigned n, const struct val **row, err *e);
/* As tx_exec for n_rows rows of parameters. */
WARN_UNUSED enum errc tx_bulk(struct tx *tx, const struct sql *s, const struct val *rows, size_t n_rows,
                              err *e);
#define PARAMS(...)                                                                                          \
    (const struct val[]){__VA_ARGS__},                                                                       \
        (unsigned)(sizeof((const struct val[]){__VA_ARGS__}) / sizeof(struct val))

/* Rows changed so far by this unit, and what the layers above noted with tx_note (events added): the router lets no
 * unit commit that changed state without an event. Statements that keep the log itself use tx_exec_unaudited, which does not count. */
int64_t tx_changed(const struct tx *tx);
void tx_note(struct tx *tx);
unsigned tx_noted(const struct tx *tx);
WARN_UNUSED enum errc tx_exec_unaudited(struct tx *tx, const struct sql *s, const struct val *params,
                                        unsigned n, int64_t *changed, err *e);
struct db *tx_db(struct tx *tx);
/* Whether this thread is inside a unit of work, from where no other can be begun. */
bool db_is_in_unit(void);

/* How a unit runs on PostgreSQL; nothing on SQLite, where units are one after the other. Before its first statement.
 * READ COMMITTED: each statement sees what is committed when it begins, waits for who changes the same rows, and is never told 40001:
 * for units whose statements are each right by themselves, and which SERIALIZABLE would make fail, or would make others fail. */
WARN_UNUSED enum errc tx_read_committed(struct tx *tx, err *e);
/* What it commits may be lost with a crash of the server: for what is soon written again. */
WARN_UNUSED enum errc tx_without_sync(struct tx *tx, err *e);

/* --- lists --- */

/* A list statement by filter and keyset, made at run time from constants only: base is a registered statement that ends
 * in its WHERE clause's fixed part. */
enum filter_op { FILTER_EQ, FILTER_GE, FILTER_LT, FILTER_LIKE /* contains, without case */, FILTER_PREFIX };
struct filter {
    const char *column;
    enum filter_op op;
    char param;       /* type letter */
    struct val value; /* VAL_NULL: the filter is not set and left out */
};
struct keyset {
    const char *column;    /* sorted by; unique together with id_column */
    char param;            /* its type letter */
    const char *id_column; /* NULL: column is unique itself */
    char id_param;
    bool is_descending;
    str cursor;     /* opaque, empty at first */
    unsigned limit; /* rows wanted; one more is read to see whether there is more */
};
/* base selects the keyset's columns first (column, then id_column), $1… of base come first. *next_cursor: in the
 * arena, empty when the list has ended. ERR_INVALID for a cursor that is not of this list. */
WARN_UNUSED enum errc tx_list(struct tx *tx, struct arena *a, const struct sql *base,
                              const struct val *params, unsigned n, const struct filter *filters,
                              unsigned n_filters, const struct keyset *key, struct rows *out,
                              str *next_cursor, err *e);

#endif
