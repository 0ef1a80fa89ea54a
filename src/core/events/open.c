/* open.c - what boxes hold, for those who may read it: some events at a time, with each person's key read once. */
#include "core/events/internal.h"
#include "json/tree.h"

SQL(find_boxes, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT person_id, box FROM event_boxes WHERE event_id = $1 ORDER BY person_id");

struct known_key {
    uuid person;
    uint8_t key[AEAD_KEY_LEN];
    bool is_known;
    struct known_key *next;
};

struct opening {
    struct arena *a;
    struct people *people;
    const uuid *ids;
    unsigned n;
    struct rows *rows; /* of each event */
    struct known_key *keys;
};

static enum errc boxes_unit(struct tx *tx, void *ctx, err *e)
{
    struct opening *o = ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < o->n && rc == ERR_NONE; i++)
        rc = tx_query(tx, o->a, &find_boxes, PARAMS(v_uuid(&o->ids[i])), &o->rows[i], e);
    return rc;
}

/* The key of a person, or one that is not known: it was destroyed. */
static enum errc key_of(struct opening *o, const uuid *person, const struct known_key **out, err *e)
{
    struct known_key *k = o->keys;
    while (k && memcmp(&k->person, person, sizeof *person) != 0)
        k = k->next;
    if (!k) {
        k = arena_new(o->a, struct known_key);
        if (!k) return err_code(e, ERR_TOO_LARGE);
        k->person = *person;
        k->next = o->keys;
        o->keys = k;
        enum errc rc = people_stored_key(o->people, person, k->key, &k->is_known, e);
        if (rc != ERR_NONE) return rc;
    }
    *out = k;
    return ERR_NONE;
}

static enum errc put_value(struct opening *o, struct event_values *out, const struct json *entry, err *e)
{
    const struct json *value = json_get(entry, S("json")), *salt = json_get(entry, S("salt"));
    uint8_t salt_bytes[SALT_LEN], hash[SHA256_LEN];
    if (!value || !salt || !hex_decode(salt->text, salt_bytes, sizeof salt_bytes))
        return err_set(e, ERR_CORRUPT, "the box of an event is damaged");
    char *salted = arena_bytes(o->a, SALT_LEN + value->text.len);
    if (!salted) return err_code(e, ERR_TOO_LARGE);
    memcpy(salted, salt_bytes, SALT_LEN);
    if (value->text.len) memcpy(salted + SALT_LEN, value->text.p, value->text.len);
    sha256(str_of(salted, SALT_LEN + value->text.len), hash);
    struct event_value *v = &out->values[out->n++];
    *v = (struct event_value){.place = entry->name, .json = value->text};
    hex_encode(hash, sizeof hash, v->commitment);
    return ERR_NONE;
}

static enum errc open_box(struct opening *o, const uint8_t key[AEAD_KEY_LEN], const uuid *event_id, const uuid *person,
                          str box, struct event_values *out, err *e)
{
    char bound[35];
    struct json *root;
    if (box.len < AEAD_OVERHEAD) return err_set(e, ERR_CORRUPT, "the box of an event is damaged");
    char *text = arena_bytes(o->a, box.len);
    if (!text) return err_set(e, ERR_TOO_LARGE, "the box of an event does not fit into memory");
    enum errc rc = aead_open(key, box_bound(event_id, person, bound), box, (uint8_t *)text, e);
    if (rc == ERR_NONE) rc = json_parse(o->a, str_of(text, box.len - AEAD_OVERHEAD), &root, e);
    if (rc != ERR_NONE) return rc;
    struct event_value *values = arena_news(o->a, struct event_value, out->n + root->n);
    if (!values) return err_code(e, ERR_TOO_LARGE);
    if (out->n) memcpy(values, out->values, out->n * sizeof *values);
    out->values = values;
    for (const struct json *entry = root->child; entry && rc == ERR_NONE; entry = entry->next)
        rc = put_value(o, out, entry, e);
    return rc;
}

static enum errc open_event(struct opening *o, unsigned i, struct event_values *out, err *e)
{
    enum errc rc = ERR_NONE;
    *out = (struct event_values){0};
    for (unsigned b = 0; b < o->rows[i].n && rc == ERR_NONE; b++) {
        const struct val *v = row_at(&o->rows[i], b);
        const struct known_key *k = NULL;
        uuid person = val_uuid(&v[0]);
        rc = key_of(o, &person, &k, e);
        if (rc != ERR_NONE || !k || !k->is_known) continue;
        rc = open_box(o, k->key, &o->ids[i], &person, val_str(&v[1]), out, e);
        if (rc == ERR_CORRUPT) { /* the rest of the log is to be read all the same */
            out->is_altered = true;
            rc = ERR_NONE;
        }
    }
    return rc;
}

enum errc events_open(struct store *s, struct arena *a, const uuid *ids, unsigned n, struct event_values *out, err *e)
{
    struct events *log = db_noted_ctx(store_db(s, DB_MAIN));
    struct opening o = {.a = a, .ids = ids, .n = n};
    if (!log) return err_set(e, ERR_INTERNAL, "the log is not open");
    o.people = &log->people;
    o.rows = arena_news(a, struct rows, n);
    if (!o.rows) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = db_read(store_db(s, DB_MAIN), boxes_unit, &o, e);
    for (unsigned i = 0; i < n && rc == ERR_NONE; i++)
        rc = open_event(&o, i, &out[i], e);
    for (struct known_key *k = o.keys; k; k = k->next)
        explicit_bzero(k->key, sizeof k->key);
    return rc;
}

enum errc event_personal(struct store *s, struct arena *a, const uuid *event_id, str *json, err *e)
{
    struct event_values values;
    struct buf out;
    struct json_writer w;
    enum errc rc = events_open(s, a, event_id, 1, &values, e);
    if (rc != ERR_NONE) return rc;
    buf_init(&out, 4 * BOX_MAX);
    json_writer_init(&w, &out);
    json_object(&w);
    for (unsigned i = 0; i < values.n; i++) {
        json_name(&w, values.values[i].place);
        json_raw(&w, values.values[i].json);
    }
    json_end(&w);
    if (out.failed)
        rc = err_code(e, out.failed);
    else if (!(*json = str_dup(a, buf_str(&out))).p)
        rc = err_set(e, ERR_TOO_LARGE, "the personal values of an event do not fit into memory");
    buf_fini(&out);
    return rc;
}
