/* people.c - the keys of persons, and the boxes that hold what an event says about them.
 *
 * Each person has a random 256-bit key, wrapped under a key derived from the master key. From it come the
 * salt of every commitment (HMAC of event and place, so that a unit that runs again writes the same bytes)
 * and the sealing of the boxes; without it neither can be had back.
 */
#include <stdlib.h>

#include "core/events/internal.h"

#define KNOWN_MAX 50000              /* persons at hand before stale ones are let go */
#define FRESH_US (60LL * USEC_PER_S) /* so long a key is taken without looking whether it still exists */
#define WRAPPED_LEN (AEAD_KEY_LEN + AEAD_OVERHEAD)

SQL(find_person_key, DB_PEOPLE, SQL_INSTANCE, "u", "SELECT wrapped FROM person_keys WHERE person_id = $1");
SQL(add_person_key, DB_PEOPLE, SQL_INSTANCE, "ubi",
    "INSERT INTO person_keys (person_id, wrapped, created_us) VALUES ($1, $2, $3) ON CONFLICT (person_id) DO "
    "NOTHING");
SQL(add_box, DB_MAIN, SQL_INSTANCE, "uub",
    "INSERT INTO event_boxes (event_id, person_id, box) VALUES ($1, $2, $3)");

struct person {
    uuid id;
    uint8_t key[AEAD_KEY_LEN];
    usec checked_us; /* monotonic */
};

static str id_str(const uuid *id) { return str_of((const char *)id->b, sizeof id->b); }

static void forget(struct people *p, struct person *person)
{
    map_del(&p->known, id_str(&person->id));
    explicit_bzero(person, sizeof *person);
    free(person);
}

enum errc people_init(struct people *p, struct store *s, const uint8_t *wrap, err *e)
{
    p->store = s;
    memcpy(p->wrap, wrap, sizeof p->wrap);
    map_init(&p->known);
    int number = pthread_mutex_init(&p->lock, NULL);
    return number == 0 ? ERR_NONE : err_errno(e, ERR_INTERNAL, number, "making a lock");
}

void people_fini(struct people *p)
{
    str key;
    void *value;
    for (size_t it = 0; map_next(&p->known, &it, &key, &value);) {
        explicit_bzero(value, sizeof(struct person));
        free(value);
    }
    map_fini(&p->known);
    explicit_bzero(p->wrap, sizeof p->wrap);
    pthread_mutex_destroy(&p->lock);
}

bool people_find(struct people *p, const uuid *person, uint8_t key[AEAD_KEY_LEN])
{
    pthread_mutex_lock(&p->lock);
    const struct person *known = map_get(&p->known, id_str(person));
    if (known) memcpy(key, known->key, AEAD_KEY_LEN);
    pthread_mutex_unlock(&p->lock);
    return known != NULL;
}

static bool is_fresh(struct people *p, const uuid *person)
{
    usec now = clock_mono_us();
    pthread_mutex_lock(&p->lock);
    const struct person *known = map_get(&p->known, id_str(person));
    bool is = known && (uuid_is_nil(person) || now - known->checked_us < FRESH_US);
    pthread_mutex_unlock(&p->lock);
    return is;
}

/* Under the lock: makes room by letting go of one that nobody asked for lately. */
static void let_go(struct people *p, usec now)
{
    str key;
    void *value;
    struct person *stale = NULL;
    for (size_t it = 0; !stale && map_next(&p->known, &it, &key, &value);)
        if (now - ((struct person *)value)->checked_us > FRESH_US &&
            !uuid_is_nil(&((struct person *)value)->id))
            stale = value;
    if (stale) forget(p, stale);
}

static enum errc keep(struct people *p, const uuid *id, const uint8_t key[AEAD_KEY_LEN], err *e)
{
    enum errc rc = ERR_NONE;
    usec now = clock_mono_us();
    pthread_mutex_lock(&p->lock);
    struct person *person = map_get(&p->known, id_str(id));
    if (!person) {
        if (p->known.n >= KNOWN_MAX) let_go(p, now);
        person = calloc(1, sizeof *person);
        if (person) {
            person->id = *id;
            rc = map_put(&p->known, id_str(&person->id), person);
        }
        if (!person || rc != ERR_NONE) {
            free(person);
            person = NULL;
            rc = err_code(e, ERR_NO_MEMORY);
        }
    }
    if (person) {
        memcpy(person->key, key, sizeof person->key);
        person->checked_us = now;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* What a wrapped key is bound to. */
static str wrap_bound(const uuid *person, char out[32])
{
    memcpy(out, "person_keys", 11);
    memcpy(out + 11, person->b, sizeof person->b);
    return str_of(out, 11 + sizeof person->b);
}

struct find {
    const uuid *person;
    uint8_t wrapped[WRAPPED_LEN];
    bool is_found;
    usec now_us;
};

static enum errc find_unit(struct tx *tx, void *ctx, err *e)
{
    struct find *f = ctx;
    struct arena a;
    struct rows rows;
    arena_init(&a, 8192, 1024);
    enum errc rc = tx_query(tx, &a, &find_person_key, PARAMS(v_uuid(f->person)), &rows, e);
    f->is_found = rc == ERR_NONE && rows.n == 1;
    if (f->is_found) {
        str wrapped = val_str(row_at(&rows, 0));
        if (wrapped.len == WRAPPED_LEN)
            memcpy(f->wrapped, wrapped.p, WRAPPED_LEN);
        else
            rc = err_set(e, ERR_CORRUPT, "the key of a person is damaged");
    }
    arena_fini(&a);
    return rc;
}

/* Adds the wrapped key of f unless there is one by now; in both cases f then holds the stored one. */
static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    struct find *f = ctx;
    struct find stored = *f;
    enum errc rc = tx_exec_unaudited(
        tx, &add_person_key,
        PARAMS(v_uuid(f->person), v_blob(str_of((const char *)f->wrapped, WRAPPED_LEN)), v_int(f->now_us)),
        NULL, e);
    if (rc == ERR_NONE) rc = find_unit(tx, &stored, e);
    if (rc == ERR_NONE)
        memcpy(f->wrapped, stored.wrapped, WRAPPED_LEN); /* the same the next time this unit runs */
    return rc;
}

static enum errc unwrap(struct people *p, const uuid *person, const uint8_t wrapped[WRAPPED_LEN],
                        uint8_t key[AEAD_KEY_LEN], err *e)
{
    char bound[32];
    if (aead_open(p->wrap, wrap_bound(person, bound), str_of((const char *)wrapped, WRAPPED_LEN), key,
                  NULL) != ERR_NONE)
        return err_set(
            e, ERR_CORRUPT,
            "the key of a person does not open: it was changed, or wrapped under another master key");
    return ERR_NONE;
}

enum errc people_ensure(struct people *p, const uuid *person, usec now_us, err *e)
{
    struct find f = {.person = person, .now_us = now_us};
    uint8_t key[AEAD_KEY_LEN];
    char bound[32];
    struct db *db = store_db(p->store, DB_PEOPLE);
    if (is_fresh(p, person)) return ERR_NONE;
    enum errc rc = db_read(db, find_unit, &f, e);
    if (rc == ERR_NONE && !f.is_found) {
        random_bytes(key, sizeof key);
        rc = aead_seal(p->wrap, wrap_bound(person, bound), str_of((const char *)key, sizeof key), f.wrapped,
                       e);
        if (rc == ERR_NONE) rc = db_write(db, add_unit, &f, e);
    }
    if (rc == ERR_NONE) rc = unwrap(p, person, f.wrapped, key, e);
    if (rc == ERR_NONE) rc = keep(p, person, key, e);
    explicit_bzero(key, sizeof key);
    return rc;
}

enum errc people_stored_key(struct people *p, const uuid *person, uint8_t key[AEAD_KEY_LEN], bool *is_known,
                            err *e)
{
    struct find f = {.person = person};
    enum errc rc = db_read(store_db(p->store, DB_PEOPLE), find_unit, &f, e);
    *is_known = rc == ERR_NONE && f.is_found;
    return *is_known ? unwrap(p, person, f.wrapped, key, e) : rc;
}

enum errc person_key_ensure(struct store *s, const uuid *person, usec now_us, err *e)
{
    struct events *log = db_noted_ctx(store_db(s, DB_MAIN));
    return log ? people_ensure(&log->people, person, now_us, e)
               : err_set(e, ERR_INTERNAL, "the log is not open");
}

/* --- boxes --- */

static void put_of_shape(struct boxes *boxes, bool is_after, str member, str value, struct json_writer *out)
{
    struct person_box *b = (struct person_box *)((char *)boxes - offsetof(struct person_box, boxes));
    struct buf place;
    buf_init(&place, 1024);
    buf_add(&place, is_after ? S("after.") : S("before."));
    buf_add(&place, member);
    person_box_put(b, buf_str(&place), value, out);
    buf_fini(&place);
}

enum errc person_box_init(struct person_box *b, struct people *p, const uuid *event_id, const uuid *person_id,
                          err *e)
{
    char text[UUID_TEXT_LEN + 1];
    *b = (struct person_box){
        .boxes = {put_of_shape}, .event_id = *event_id, .person_id = *person_id, .is_empty = true};
    buf_init(&b->text, BOX_MAX);
    json_writer_init(&b->w, &b->text);
    if (!people_find(p, person_id, b->key))
        return err_set(e, ERR_INTERNAL,
                       "the key of person %.36s is not at hand: person_key_ensure comes before the unit",
                       uuid_format(person_id, text).p);
    json_object(&b->w);
    return ERR_NONE;
}

void person_box_fini(struct person_box *b)
{
    explicit_bzero(b->key, sizeof b->key);
    if (b->text.p) explicit_bzero(b->text.p, b->text.cap);
    buf_fini(&b->text);
}

static void salt_of(const struct person_box *b, str place, uint8_t salt[SALT_LEN])
{
    struct buf text;
    uint8_t mac[SHA256_LEN];
    buf_init(&text, 2048);
    buf_add(&text, S("salt"));
    buf_add(&text, id_str(&b->event_id));
    buf_add(&text, place);
    hmac_sha256(str_of((const char *)b->key, sizeof b->key), buf_str(&text), mac);
    memcpy(salt, mac, SALT_LEN);
    buf_fini(&text);
}

void person_box_put(struct person_box *b, str place, str value, struct json_writer *out)
{
    uint8_t salt[SALT_LEN], hash[SHA256_LEN];
    char salt_text[2 * SALT_LEN + 1], hash_text[2 * SHA256_LEN + 1];
    struct buf salted;
    salt_of(b, place, salt);
    buf_init(&salted, BOX_MAX);
    buf_add(&salted, str_of((const char *)salt, SALT_LEN));
    buf_add(&salted, value);
    if (salted.failed && !out->out->failed) out->out->failed = salted.failed;
    sha256(buf_str(&salted), hash);
    if (salted.p) explicit_bzero(salted.p, salted.cap);
    buf_fini(&salted);

    json_name(&b->w, place);
    json_object(&b->w);
    json_put_str(&b->w, "salt", hex_encode(salt, SALT_LEN, salt_text));
    json_put_str(&b->w, "json", value);
    json_end(&b->w);
    b->is_empty = false;

    json_object(out);
    json_put_str(out, "commitment", hex_encode(hash, SHA256_LEN, hash_text));
    json_end(out);
}

str box_bound(const uuid *event_id, const uuid *person_id, char out[35])
{
    memcpy(out, "box", 3);
    memcpy(out + 3, event_id->b, sizeof event_id->b);
    memcpy(out + 3 + sizeof event_id->b, person_id->b, sizeof person_id->b);
    return str_of(out, 35);
}

enum errc person_box_store(struct person_box *b, struct tx *tx, err *e)
{
    char bound[35];
    if (b->is_empty) return ERR_NONE;
    json_end(&b->w);
    if (b->text.failed)
        return err_set(e, b->text.failed, "the personal values of an event are more than %u bytes", BOX_MAX);
    uint8_t *box = malloc(b->text.len + AEAD_OVERHEAD);
    if (!box) return err_code(e, ERR_NO_MEMORY);
    /* The nonce is random: a unit that runs again stores another box with the same contents. */
    enum errc rc =
        aead_seal(b->key, box_bound(&b->event_id, &b->person_id, bound), buf_str(&b->text), box, e);
    if (rc == ERR_NONE)
        rc = tx_exec_unaudited(tx, &add_box,
                               PARAMS(v_uuid(&b->event_id), v_uuid(&b->person_id),
                                      v_blob(str_of((const char *)box, b->text.len + AEAD_OVERHEAD))),
                               NULL, e);
    free(box);
    return rc;
}
