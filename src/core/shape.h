/* shape.h - field tables: one description of a struct from which it is decoded, validated, encoded, documented
 * (OpenAPI 3.1, TypeScript), filtered, and compared for the audit log.
 *
 *   static const struct field project_fields[] = {
 *       FIELD(struct project, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "…"),
 *       FIELD(struct project, name, FIELD_TEXT, .min = 1, .max = 100, .flags = FIELD_REQUIRED, .meaning = "…"),
 *   };
 *   const struct shape project_shape = SHAPE("Project", struct project, project_fields, "A project of a workspace.");
 *
 * The C type of each kind is fixed (see the enum). "None" is NO_VALUE, a text without pointer, a nil uuid, a list without pointer, a
 * NULL object; it is written as JSON null, read from null where FIELD_NULLABLE allows that, and what an absent optional
 * member without a fallback gets. Texts are slices into the arena or the input. A shape has at most 64 fields.
 * Threads: tables are constant, functions pure.
 */
#ifndef CORE_SHAPE_H
#define CORE_SHAPE_H

#include "json/tree.h"
#include "json/write.h"
#include "store/db.h"

enum field_type {      /* C type            JSON */
    FIELD_TEXT,        /* str               string; min..max count Unicode code points */
    FIELD_ONE_OF,      /* str               string; one of `choices`, separated by '|' */
    FIELD_INT,         /* int64_t           integer in min..max */
    FIELD_BOOL,        /* bool              true, false */
    FIELD_MONEY,       /* int64_t nano-USD  two members: NAME_usd (decimal string) and NAME_nanousd (integer); either is read */
    FIELD_TIME,        /* usec              RFC 3339 in UTC */
    FIELD_UUID,        /* uuid              string */
    FIELD_TEXTS,       /* struct texts      array of strings; min..max, format and choices per text, max_items (0: 100) */
    FIELD_JSON,        /* str               any value, as compact JSON text; max bytes of it (0: 10,000), 16 levels */
    FIELD_OBJECT,      /* nested struct     object of `shape`; with FIELD_NULLABLE a pointer to the struct */
    FIELD_OBJECTS,     /* struct objects    array of objects of `shape`; max_items (0: 100) */
};

struct texts {
    const str *items;
    unsigned n;
};
struct objects {
    void *items; /* adjacent structs of the field's shape */
    unsigned n;
};

enum field_flags {
    FIELD_REQUIRED = 1,  /* must be in a body that creates or replaces */
    FIELD_NULLABLE = 2,
    FIELD_READONLY = 4,  /* set by the server: an error in a body */
    FIELD_WRITEONLY = 8, /* never in an answer (passwords, secrets) and never in an event */
    FIELD_PERSONAL = 16, /* about a person: events hold a commitment, the value is in a box */
    FIELD_UNAUDITED = 32,/* derived or ticking (last use, progress): not compared for events */
    FIELD_SECRET = 64    /* shown once, in the answer that makes it: not in the copy kept for Idempotency-Key, never in an event */
};

/* What a text must look like, beyond its length. */
enum field_format {
    FORMAT_NONE,  /* no control characters but tab and newline */
    FORMAT_ANY,   /* any code points, control characters and NUL too: passwords */
    FORMAT_LINE,  /* no control characters at all, not only spaces */
    FORMAT_NAME,  /* letters, digits, '.', '_', '-', starts with a letter or digit: names in URLs and commands */
    FORMAT_EMAIL,
    FORMAT_URL,   /* http or https */
    FORMAT_OBJECT /* of FIELD_JSON: an object */
};

struct shape;
struct field {
    const char *name;
    enum field_type type;
    uint16_t offset;
    uint16_t flags;
    enum field_format format;
    int64_t min, max;         /* 0, 0: the type's own limits (a text: 10,000 code points) */
    unsigned max_items;
    const char *choices;
    const struct shape *shape;
    const char *fallback;     /* JSON text of the value that an absent member gets in a body; NULL: none */
    const char *meaning;
};
struct shape {
    const char *name; /* of the schema in OpenAPI: "Project" */
    size_t size;
    const struct field *fields;
    unsigned n;
    const char *meaning;
};
#define FIELD(struct_, member_, type_, ...) {.name = #member_, .type = (type_), .offset = offsetof(struct_, member_), __VA_ARGS__}
#define SHAPE(name_, struct_, fields_, meaning_) {(name_), sizeof(struct_), (fields_), LENGTH_OF(fields_), (meaning_)}

/* One wrong field. */
struct field_error {
    str field;        /* "budget.limit_usd", "tags[2]" */
    const char *code; /* "required", "unknown_field", "wrong_type", "too_short", "too_long", "out_of_range", "not_one_of", "bad_format",
                         "read_only", "duplicate", "not_found" */
    str message;      /* what is wrong and what would be right */
    struct field_error *next;
};
struct field_errors {
    struct field_error *first, **last;
    unsigned n;
};

enum shape_mode {
    SHAPE_NEW,    /* creates or replaces: required members must be there, absent ones get their fallback */
    SHAPE_MERGE   /* RFC 7396: only what is there changes; null clears a nullable member */
};
/* Reads an object into *out (zeroed before, or the present state for a merge). All problems go into *errors, then ERR_INVALID.
 * present (may be NULL) gets a bit per field that the object had. */
WARN_UNUSED enum errc shape_decode(struct arena *a, const struct shape *s, const struct json *object, enum shape_mode mode, void *out,
                                   uint64_t *present, struct field_errors *errors, err *e);
/* The same from a query string (texts, numbers, booleans, times, uuids; lists as a,b). */
WARN_UNUSED enum errc shape_decode_query(struct arena *a, const struct shape *s, str query, void *out, struct field_errors *errors, err *e);
/* Adds a problem found elsewhere (a name that is taken, for example). */
void field_error_add(struct arena *a, struct field_errors *errors, str field, const char *code, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* ERR_INVALID with the sentence that sums the problems up. */
enum errc field_errors_sum(const struct field_errors *errors, err *e);
void shape_encode(const struct shape *s, const void *value, struct json_writer *w);
/* The same without the members that are shown once. */
void shape_encode_without_secrets(const struct shape *s, const void *value, struct json_writer *w);
bool shape_has_secrets(const struct shape *s);

/* Takes the personal members of an event: remembers the value and writes what stands in the event instead, {"commitment":"…"}. core/events gives one. */
struct boxes {
    /* member: its path inside before or after ("email", "contact.phone", "owners[0].name"); value: its JSON. */
    void (*put)(struct boxes *b, bool is_after, str member, str value, struct json_writer *out);
};
/* The members that differ, as two values for an event: before (an object; null when it is created) and after (null when it is deleted). A
 * created or deleted thing is written whole; a nested object or list that differs is written whole. False when nothing differs (then both are {}).
 * Secret and unaudited members are left out; personal ones go through `box`. */
WARN_UNUSED bool shape_diff(const struct shape *s, const void *before, const void *after, struct boxes *box, struct json_writer *before_out,
                            struct json_writer *after_out);

/* JSON Schema 2020-12 as an object, for OpenAPI; nested shapes as "#/components/schemas/NAME" and the use's suffix. */
enum shape_use { SHAPE_ANSWER, SHAPE_INPUT, SHAPE_PATCH, SHAPE_USES };
const char *shape_use_suffix(enum shape_use use); /* "", "Input", "Patch" */
void shape_schema(const struct shape *s, enum shape_use use, struct json_writer *w);
/* CSV (RFC 4180) header and row; a text that a spreadsheet would run as a formula gets a leading apostrophe. */
void shape_csv_header(const struct shape *s, struct buf *out);
void shape_csv_row(const struct shape *s, const void *value, struct buf *out);

#endif
