#include "core/settings.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/waker.h"
#include "core/config/config_internal.h"
#include "core/events.h"

#define SETTINGS_MAX 200
#define VALUE_MAX 3000 /* an event has room for two */
#define FINGERPRINT_BYTES 8
#define MASK "****"
#define RETRY_US (1LL * USEC_PER_S)

struct settings {
    struct store *store;
    const struct secrets *secrets;
    struct reload *reload;
    const struct option_table *const *tables;
    unsigned n_tables;
    uint8_t fingerprint_key[SHA256_LEN];
    const settings_mark *mark;
    pthread_mutex_t taking; /* one at a time: who comes second finds them taken */
    uuid node;
    struct waker waker; /* of the thread that takes what other nodes changed */
    pthread_t thread;
    bool has_thread;
};

/* One row. */
struct setting {
    str key, value; /* value p == NULL: secret */
    str sealed, fingerprint;
};

SQL(settings_all, DB_MAIN, SQL_INSTANCE, "", "SELECT key, value, sealed, fingerprint, updated_us FROM settings ORDER BY key");
SQL(settings_put, DB_MAIN, SQL_INSTANCE, "tutbtiu",
    "INSERT INTO settings (key, id, value, sealed, fingerprint, updated_us, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, sealed = excluded.sealed, fingerprint = excluded.fingerprint, "
    "updated_us = excluded.updated_us, updated_by = excluded.updated_by");
SQL(settings_drop, DB_MAIN, SQL_INSTANCE, "t", "DELETE FROM settings WHERE key = $1");

SEALED_COLUMN(settings_sealed, DB_MAIN, settings, id, NULL, sealed, false, NULL);

enum errc settings_new(struct settings **out, struct store *store, const struct secrets *secrets, struct reload *reload,
                       const settings_mark *mark, const struct option_table *const *tables, unsigned n_tables, err *e)
{
    struct settings *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    *s = (struct settings){
        .store = store, .secrets = secrets, .reload = reload, .tables = tables, .n_tables = n_tables, .mark = mark};
    pthread_mutex_init(&s->taking, NULL);
    enum errc rc = waker_init(&s->waker, e);
    if (rc) {
        free(s);
        return rc;
    }
    secrets_derive(secrets, "settings", s->fingerprint_key);
    *out = s;
    return ERR_NONE;
}

void settings_free(struct settings *s)
{
    if (!s) return;
    settings_stop(s);
    waker_fini(&s->waker);
    pthread_mutex_destroy(&s->taking);
    explicit_bzero(s->fingerprint_key, sizeof s->fingerprint_key);
    free(s);
}

/* The id of a setting's row: of its name, so that events and the sealing find the same one for ever. */
static uuid id_of(str key)
{
    uint8_t hash[SHA256_LEN];
    char text[256] = "setting:";
    size_t n = strlen(text), len = key.len < sizeof text - n ? key.len : sizeof text - n;
    uuid id;
    memcpy(text + n, key.p, len);
    sha256(str_of(text, n + len), hash);
    memcpy(id.b, hash, sizeof id.b);
    return id;
}

/* --- reading --- */

struct reading {
    struct arena *arena;
    struct setting *rows;
    unsigned n;
    usec newest_us;
};

static enum errc read_rows(struct tx *tx, struct reading *r, err *e)
{
    struct rows rows;
    enum errc rc = tx_query(tx, r->arena, &settings_all, NULL, 0, &rows, e);
    if (rc) return rc;
    r->rows = arena_news(r->arena, struct setting, rows.n);
    if (!r->rows) return err_code(e, ERR_TOO_LARGE);
    r->n = rows.n;
    r->newest_us = 0;
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *row = row_at(&rows, i);
        r->rows[i] = (struct setting){val_str(&row[0]), val_str(&row[1]), val_str(&row[2]), val_str(&row[3])};
        if (val_int(&row[4]) > r->newest_us) r->newest_us = val_int(&row[4]);
    }
    return ERR_NONE;
}

static enum errc read_unit(struct tx *tx, void *ctx, err *e) { return read_rows(tx, ctx, e); }

static enum errc plain_value(const struct secrets *secrets, struct arena *a, const struct setting *row, str *out, err *e)
{
    uuid id = id_of(row->key);
    *out = row->value;
    if (row->value.p) return ERR_NONE;
    *out = S(MASK);
    return secrets ? secret_open(secrets, a, "settings", &id, "sealed", row->sealed, out, e) : ERR_NONE;
}

/* Tells what was read from what is read later. */
static uint64_t mark_of(const struct reading *r)
{
    uint8_t hash[SHA256_LEN], all[2 * SHA256_LEN] = {0};
    uint64_t mark;
    for (unsigned i = 0; i < r->n; i++) {
        const str parts[] = {r->rows[i].key, r->rows[i].value.p ? r->rows[i].value : r->rows[i].sealed};
        for (size_t k = 0; k < LENGTH_OF(parts); k++) {
            sha256(parts[k], all + SHA256_LEN);
            sha256(str_of((const char *)all, sizeof all), hash);
            memcpy(all, hash, sizeof hash);
        }
    }
    memcpy(&mark, all, sizeof mark);
    return mark;
}

enum errc settings_read(struct store *store, const struct secrets *secrets, struct arena *a, struct config_setting **out, unsigned *n,
                        settings_mark *mark, err *e)
{
    struct reading r = {.arena = a};
    enum errc rc = db_read(store_db(store, DB_MAIN), read_unit, &r, e);
    if (rc) return rc;
    if (mark) *mark = mark_of(&r);
    *out = arena_news(a, struct config_setting, r.n);
    if (!*out) return err_code(e, ERR_NO_MEMORY);
    for (*n = 0; *n < r.n; ++*n) {
        (*out)[*n].key = r.rows[*n].key;
        rc = plain_value(secrets, a, &r.rows[*n], &(*out)[*n].value, e);
        if (rc) return err_prefix(e, "the setting '%.*s'", STR(r.rows[*n].key));
    }
    return ERR_NONE;
}

/* --- what other nodes changed --- */

struct refusal {
    uuid id, node;
    usec now_us;
    const err *why;
};

static enum errc refuse_unit(struct tx *tx, void *ctx, err *e)
{
    const struct refusal *x = ctx;
    char node[UUID_TEXT_LEN + 1];
    struct buf text;
    struct json_writer w;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_str(&w, "node", uuid_format(&x->node, node));
    json_put_str(&w, "reason", str_c(x->why->msg));
    json_end(&w);
    enum errc rc = text.failed ? err_code(e, text.failed)
                               : tx_event(tx,
                                          &(struct event){.id = x->id,
                                                          .at_us = x->now_us,
                                                          .type = S("setting.refused"),
                                                          .resource_type = S("node"),
                                                          .resource_id = x->node,
                                                          .status = S("failure"),
                                                          .error = str_c(errc_name(x->why->code)),
                                                          .metadata = buf_str(&text)},
                                          e);
    buf_fini(&text);
    return rc;
}

static enum errc tell_refusal(struct settings *s, const err *why, err *e)
{
    struct refusal x = {.node = s->node, .now_us = clock_now_us(), .why = why};
    x.id = uuid7_make(x.now_us);
    return db_write(store_db(s->store, DB_MAIN), refuse_unit, &x, e);
}

/* Takes the settings unless the configuration was read with them already. An error: they could not be read. */
static enum errc take(struct settings *s, str why, err *e)
{
    struct arena a;
    struct reading r = {.arena = &a};
    uint64_t mark = 0;
    err refused = {0};
    arena_init(&a, 8u << 20, 0);
    pthread_mutex_lock(&s->taking);
    enum errc rc = db_read(store_db(s->store, DB_MAIN), read_unit, &r, e);
    if (!rc) mark = mark_of(&r);
    arena_fini(&a);
    if (!rc && mark != *s->mark && reload_now(s->reload, why, &refused)) {
        if (mark == *s->mark)
            rc = tell_refusal(s, &refused, e);
        else if ((rc = refused.code) != ERR_NONE && e)
            *e = refused;
    }
    pthread_mutex_unlock(&s->taking);
    return rc;
}

static void *taker_main(void *arg)
{
    struct settings *s = arg;
    bool was_well = true;
    enum errc rc;
    do {
        err e = {0};
        rc = take(s, S("another node"), &e);
        if (rc && was_well) log_error(LOG_WARN, "settings_wait_for_the_database", &e);
        was_well = !rc;
    } while (waker_wait(&s->waker, rc ? RETRY_US : -1));
    return NULL;
}

static void see(void *ctx, const struct sealed_event *ev)
{
    struct settings *s = ctx;
    (void)ev;
    waker_wake(&s->waker);
}

enum errc settings_watch(struct settings *s, struct events *log, const uuid *node, err *e)
{
    s->node = *node;
    events_watch(log, &(struct watcher){.types = "setting.changed|setting.removed", .see = see, .ctx = s});
    int number = pthread_create(&s->thread, NULL, taker_main, s);
    s->has_thread = number == 0;
    return number ? err_errno(e, ERR_INTERNAL, number, "starting the thread that takes settings") : ERR_NONE;
}

void settings_stop(struct settings *s)
{
    if (!s) return;
    waker_stop(&s->waker);
    if (s->has_thread) pthread_join(s->thread, NULL);
    s->has_thread = false;
}

/* --- what the API shows --- */

struct shown {
    str key, type, value, origin, where, fallback, choices, meaning;
    bool is_secret, is_in_database;
};
static const struct field shown_fields[] = {
    FIELD(struct shown, key, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Key as in the file, limits.head_bytes."),
    FIELD(struct shown, type, FIELD_ONE_OF, .choices = "text|secret|boolean|integer|size|duration|texts|one_of", .flags = FIELD_READONLY,
          .meaning = "What its value is."),
    FIELD(struct shown, value, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The value in force, as the file would say it; **** for a secret that is set."),
    FIELD(struct shown, origin, FIELD_ONE_OF, .choices = "default|database|file|environment|flag", .flags = FIELD_READONLY,
          .meaning = "The layer that it comes from."),
    FIELD(struct shown, where, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "File and line, variable or flag that says it."),
    FIELD(struct shown, is_in_database, FIELD_BOOL, .flags = FIELD_READONLY,
          .meaning = "Whether the database has a value too, which a higher layer may cover."),
    FIELD(struct shown, is_secret, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether its value is never shown."),
    {.name = "default", .type = FIELD_TEXT, .offset = offsetof(struct shown, fallback), .flags = FIELD_READONLY | FIELD_NULLABLE,
     .meaning = "The value without any layer."},
    FIELD(struct shown, choices, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "What it must be one of, separated by |."),
    FIELD(struct shown, meaning, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "What it is for."),
};
static const struct shape shown_shape = SHAPE("Setting", struct shown, shown_fields, "A key of the configuration that can be set while the server runs.");

struct shown_all {
    struct objects settings;
};
static const struct field all_fields[] = {
    FIELD(struct shown_all, settings, FIELD_OBJECTS, .shape = &shown_shape, .max_items = 1000, .flags = FIELD_READONLY,
          .meaning = "Every key that can be set."),
};
static const struct shape all_shape = SHAPE("Settings", struct shown_all, all_fields, "The part of the configuration that can be set while the server runs.");

struct wanted {
    str values;
};
static const struct field wanted_fields[] = {
    FIELD(struct wanted, values, FIELD_JSON, .format = FORMAT_OBJECT, .max = 64 << 10, .flags = FIELD_REQUIRED,
          .meaning = "Keys with their values: texts, numbers, true or false, lists of texts; null takes one out of the database."),
};
static const struct shape wanted_shape = SHAPE("SettingsChange", struct wanted, wanted_fields, "Values for the database.");

static str type_name(enum option_type type)
{
    static const char *const names[] = {
        [OPTION_TEXT] = "text",     [OPTION_SECRET] = "secret", [OPTION_BOOL] = "boolean",     [OPTION_INT] = "integer", [OPTION_BYTES] = "size",
        [OPTION_MS] = "duration",   [OPTION_TEXT_LIST] = "texts", [OPTION_ONE_OF] = "one_of", [OPTION_TREE] = "text",
    };
    return str_c(names[type]);
}

static str joined(struct arena *a, const struct json *list)
{
    str out = S("");
    for (const struct json *it = list ? list->child : NULL; it && out.p; it = it->next)
        out = arena_printf(a, "%.*s%s%.*s", STR(out), out.len ? "," : "", STR(it->text));
    return out;
}

static bool is_secret_value(const struct option *o, str value) { return o->type == OPTION_SECRET || config_looks_secret(value); }

static enum errc show_one(struct api_request *r, const struct config *c, const struct option *o, const struct reading *rows,
                          struct shown *out, err *e)
{
    static const char *const origins[] = {[CONFIG_DEFAULT] = "default",
                                          [CONFIG_DATABASE] = "database",
                                          [CONFIG_FILE] = "file",
                                          [CONFIG_ENV] = "environment",
                                          [CONFIG_FLAG] = "flag"};
    enum config_origin origin = config_origin_of(c, o->key);
    str value = o->type == OPTION_TEXT_LIST ? joined(r->arena, config_tree(c, o->key)) : config_text(c, o->key);
    *out = (struct shown){
        .key = str_c(o->key),
        .type = type_name(o->type),
        .value = is_secret_value(o, value) && value.len ? S(MASK) : value,
        .origin = str_c(origins[origin]),
        .where = origin == CONFIG_DEFAULT ? (str){NULL, 0} : config_where_key(c, r->arena, o->key),
        .fallback = str_c(o->fallback),
        .choices = str_c(o->choices),
        .meaning = str_c(o->meaning),
        .is_secret = is_secret_value(o, value),
    };
    for (unsigned i = 0; i < rows->n; i++)
        out->is_in_database = out->is_in_database || str_eq(rows->rows[i].key, out->key);
    return out->value.p || !value.p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

static str etag_of(struct api_request *r, const struct reading *rows)
{
    return arena_printf(r->arena, "%llx-%u", (unsigned long long)rows->newest_us, rows->n);
}

/* All settable keys as they are in force, with the rows of the database. */
static enum errc show(struct api_request *r, const struct reading *rows, err *e)
{
    struct settings *s = r->service;
    struct shown_all *all = arena_new(r->arena, struct shown_all);
    struct shown *list = arena_news(r->arena, struct shown, 1000);
    struct generation *g = reload_current(s->reload);
    enum errc rc = all && list ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
    unsigned n = 0;
    for (unsigned t = 0; t < s->n_tables && !rc; t++)
        for (unsigned i = 0; i < s->tables[t]->n && n < 1000 && !rc; i++) {
            const struct option *o = &s->tables[t]->options[i];
            if (o->change == OPTION_SETTABLE && str_chr(str_c(o->key), '*') < 0 && str_chr(str_c(o->key), '[') < 0)
                rc = show_one(r, generation_config(g), o, rows, &list[n++], e);
        }
    if (!rc) { /* the texts outlive the generation */
        for (unsigned i = 0; i < n; i++)
            list[i].value = list[i].value.p ? str_dup(r->arena, list[i].value) : list[i].value;
        all->settings = (struct objects){list, n};
        r->answer = all;
        r->etag = etag_of(r, rows);
    }
    generation_let_go(g);
    return rc;
}

static enum errc get(struct api_request *r, struct tx *tx, err *e)
{
    struct reading rows = {.arena = r->arena};
    enum errc rc = read_rows(tx, &rows, e);
    return rc ? rc : show(r, &rows, e);
}

/* --- changing --- */

/* What stands in the log: the value itself, or the fingerprint of a secret. */
struct audited {
    str key, value, secret_fingerprint;
};
static const struct field audited_fields[] = {
    FIELD(struct audited, key, FIELD_TEXT, .meaning = "Key of the configuration."),
    FIELD(struct audited, value, FIELD_TEXT, .flags = FIELD_NULLABLE, .meaning = "Its value; null for a secret."),
    FIELD(struct audited, secret_fingerprint, FIELD_TEXT, .flags = FIELD_NULLABLE, .meaning = "Tells secrets apart without telling them."),
};
static const struct shape audited_shape = SHAPE("SettingChange", struct audited, audited_fields, "A setting as the log has it.");

/* A change that has been checked; row.value and row.sealed without pointer: taken out. */
struct change {
    struct setting row;
    str plain;
    bool is_removal;
};
struct changes {
    struct change items[SETTINGS_MAX];
    unsigned n;
    bool replaces; /* PUT: what is not named goes */
};

/* A JSON value as a setting's text. */
static bool text_of(struct arena *a, const struct option *o, const struct json *v, str *out)
{
    switch (v->type) {
    case JSON_STRING:
    case JSON_NUMBER: *out = v->text; return true;
    case JSON_TRUE: *out = S("true"); return true;
    case JSON_FALSE: *out = S("false"); return true;
    case JSON_ARRAY:
        if (o->type != OPTION_TEXT_LIST) return false;
        for (const struct json *it = v->child; it; it = it->next)
            if (it->type != JSON_STRING || str_chr(it->text, ',') >= 0) return false;
        *out = joined(a, v);
        return out->p != NULL;
    case JSON_OBJECT:
    case JSON_NULL:
    case JSON_NONE: break;
    }
    return false;
}

static void wrong(struct api_request *r, str key, const char *code, const char *message)
{
    str field = arena_printf(r->arena, "values.%.*s", STR(key));
    field_error_add(r->arena, &r->errors, field.p ? field : key, code, "%s", message);
}

static enum errc seal(struct settings *s, struct arena *a, struct change *c, err *e)
{
    uint8_t mac[SHA256_LEN];
    char hex[2 * FINGERPRINT_BYTES + 1];
    uuid id = id_of(c->row.key);
    hmac_sha256(str_of((const char *)s->fingerprint_key, sizeof s->fingerprint_key), c->plain, mac);
    c->row.fingerprint = str_dup(a, hex_encode(mac, FINGERPRINT_BYTES, hex));
    c->row.value = (str){NULL, 0};
    if (!c->row.fingerprint.p) return err_code(e, ERR_TOO_LARGE);
    return secret_seal(s->secrets, a, "settings", &id, "sealed", c->plain, &c->row.sealed, e);
}

static enum errc read_change(struct api_request *r, const struct json *v, struct changes *all, err *e)
{
    struct settings *s = r->service;
    const struct option *o = config_option(s->tables, s->n_tables, v->name);
    struct change c = {.row.key = v->name, .is_removal = v->type == JSON_NULL};
    err why = {0};
    if (!o) {
        (void)!config_check_value(s->tables, s->n_tables, v->name, S(""), &why);
        wrong(r, v->name, "unknown_field", why.msg);
    } else if (o->change != OPTION_SETTABLE) {
        wrong(r, v->name, "read_only", "only the file, the environment or a flag can set it");
    } else if (!c.is_removal && (!text_of(r->arena, o, v, &c.plain) || c.plain.len > VALUE_MAX)) {
        wrong(r, v->name, "wrong_type", "the value must be a text, a number, true or false, or, where a list is meant, a list of texts without commas");
    } else if (!c.is_removal && config_check_value(s->tables, s->n_tables, v->name, c.plain, &why)) {
        wrong(r, v->name, "out_of_range", why.msg);
    } else if (all->n == SETTINGS_MAX) {
        return err_set(e, ERR_TOO_LARGE, "more than %d settings at once", SETTINGS_MAX);
    } else {
        c.row.value = c.is_removal ? (str){NULL, 0} : c.plain;
        enum errc rc = !c.is_removal && is_secret_value(o, c.plain) ? seal(s, r->arena, &c, e) : ERR_NONE;
        if (rc) return rc;
        all->items[all->n++] = c;
    }
    return ERR_NONE;
}

static struct change *change_of(struct changes *all, str key)
{
    for (unsigned i = 0; i < all->n; i++)
        if (str_eq(all->items[i].row.key, key)) return &all->items[i];
    return NULL;
}

/* The layer as it would be, tried on every room. */
static enum errc try_it(struct api_request *r, struct changes *all, err *e)
{
    struct settings *s = r->service;
    struct config_setting *now = NULL, *then;
    unsigned n_now = 0, n = 0;
    enum errc rc = settings_read(s->store, s->secrets, r->arena, &now, &n_now, NULL, e);
    if (rc) return rc;
    then = arena_news(r->arena, struct config_setting, n_now + all->n);
    if (!then) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < n_now; i++)
        if (!all->replaces && !change_of(all, now[i].key)) then[n++] = now[i];
    for (unsigned i = 0; i < all->n; i++)
        if (!all->items[i].is_removal) then[n++] = (struct config_setting){.key = all->items[i].row.key, .value = all->items[i].plain};
    rc = reload_try(s->reload, then, n, e);
    if (rc == ERR_INVALID) {
        err why = *e;
        return api_field_error(r, e, "values", "out_of_range", "%s", why.msg);
    }
    return rc;
}

static enum errc prepare(struct api_request *r, err *e)
{
    const struct wanted *wanted = r->body;
    struct changes *all = arena_new(r->arena, struct changes);
    struct json *values = NULL;
    if (!all) return err_code(e, ERR_TOO_LARGE);
    enum errc rc = json_parse(r->arena, wanted->values, &values, e);
    all->replaces = r->method == HTTP_PUT;
    for (const struct json *v = rc ? NULL : values->child; v && !rc; v = v->next)
        rc = read_change(r, v, all, e);
    if (!rc && r->errors.n) rc = field_errors_sum(&r->errors, e);
    if (!rc) rc = try_it(r, all, e);
    r->state = all;
    return rc;
}

static bool is_same(const struct setting *a, const struct setting *b)
{
    return str_eq(a->value, b->value) && (a->value.p == NULL) == (b->value.p == NULL) && str_eq(a->fingerprint, b->fingerprint);
}

static struct audited audited(const struct setting *row)
{
    return (struct audited){row->key, row->value, row->fingerprint.len ? row->fingerprint : (str){NULL, 0}};
}

static enum errc put_one(struct api_request *r, struct tx *tx, const struct setting *before, const struct setting *after, unsigned n, err *e)
{
    struct event ev = event_of(r, after ? S("setting.changed") : S("setting.removed"), n);
    struct audited was = before ? audited(before) : (struct audited){0}, is = after ? audited(after) : (struct audited){0};
    uuid id = id_of(after ? after->key : before->key);
    ev.resource_type = S("setting");
    ev.resource_id = id;
    ev.shape = &audited_shape;
    ev.before = before ? &was : NULL;
    ev.after = after ? &is : NULL;
    enum errc rc = after ? tx_exec(tx, &settings_put,
                                   PARAMS(v_text(after->key), v_uuid(&id), v_text_or_null(after->value),
                                          after->value.p ? v_null() : v_blob(after->sealed), v_text_or_null(is.secret_fingerprint),
                                          v_int(r->now_us), v_uuid(&r->who.user_id)),
                                   NULL, e)
                         : tx_exec(tx, &settings_drop, PARAMS(v_text(before->key)), NULL, e);
    return rc ? rc : tx_event(tx, &ev, e);
}

static enum errc apply(struct api_request *r, struct tx *tx, err *e)
{
    struct changes *all = r->state;
    struct reading rows = {.arena = r->arena};
    unsigned n = 0;
    enum errc rc = read_rows(tx, &rows, e);
    if (!rc) rc = api_if_match(r, etag_of(r, &rows), e);
    for (unsigned i = 0; i < rows.n && !rc; i++) {
        const struct setting *before = &rows.rows[i];
        struct change *c = change_of(all, before->key);
        if (c ? c->is_removal : all->replaces)
            rc = put_one(r, tx, before, NULL, n++, e);
        else if (c && !is_same(before, &c->row))
            rc = put_one(r, tx, before, &c->row, n++, e);
    }
    for (unsigned i = 0; i < all->n && !rc; i++) {
        bool is_new = !all->items[i].is_removal;
        for (unsigned k = 0; k < rows.n; k++)
            is_new = is_new && !str_eq(rows.rows[k].key, all->items[i].row.key);
        if (is_new) rc = put_one(r, tx, NULL, &all->items[i].row, n++, e);
    }
    return rc;
}

/* The answer shows what is in force now. */
static void after(struct api_request *r)
{
    struct settings *s = r->service;
    struct reading rows = {.arena = r->arena};
    err e = {0};
    if (take(s, S("settings"), &e)) log_error(LOG_ERROR, "settings_not_taken", &e);
    if (db_read(store_db(s->store, DB_MAIN), read_unit, &rows, &e) || show(r, &rows, &e)) r->status = 204;
}

static const struct api_route routes[] = {
    {.method = HTTP_GET, .path = "/api/settings", .name = "settings_show", .access = ACCESS_INSTANCE_ADMIN, .scope = SCOPE_INSTANCE,
     .answer = &all_shape, .summary = "The configuration that can be set while the server runs", .apply = get},
    {.method = HTTP_PUT, .path = "/api/settings", .name = "settings_replace", .access = ACCESS_INSTANCE_ADMIN, .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE, .body = &wanted_shape, .answer = &all_shape, .summary = "Replaces the settings of the database",
     .text = "What is not named is taken out. The new configuration is in force when the answer comes.", .prepare = prepare,
     .apply = apply, .after = after},
    {.method = HTTP_PATCH, .path = "/api/settings", .name = "settings_change", .access = ACCESS_INSTANCE_ADMIN, .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE, .body = &wanted_shape, .answer = &all_shape, .summary = "Changes settings of the database",
     .text = "Only what is named changes; null takes a setting out.", .prepare = prepare, .apply = apply, .after = after},
};
const struct api_table settings_api = {"settings", routes, LENGTH_OF(routes)};
