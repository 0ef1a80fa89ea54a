#include "core/backend.h"

#include "base/crypto.h"

#define FINGERPRINT_LEN 32

/* --- the master key is the one that the database knows --- */

SQL(list_master_keys, DB_MAIN, SQL_INSTANCE, "", "SELECT fingerprint FROM master_keys");
SQL(add_master_key, DB_MAIN, SQL_INSTANCE, "bi",
    "INSERT INTO master_keys (fingerprint, since_us) VALUES ($1, $2)");

struct key_check {
    uint8_t fingerprint[FINGERPRINT_LEN];
    usec now_us;
    bool adds; /* when none is known yet */
};

static enum errc key_check_unit(struct tx *tx, void *ctx, err *e)
{
    const struct key_check *c = ctx;
    struct arena a;
    struct rows rows;
    bool is_known = false;
    str own = str_of((const char *)c->fingerprint, sizeof c->fingerprint);
    arena_init(&a, 64u << 10, 1024);
    enum errc rc = tx_query(tx, &a, &list_master_keys, NULL, 0, &rows, e);
    for (unsigned i = 0; rc == ERR_NONE && i < rows.n; i++)
        is_known = is_known || str_eq(val_str(&row_at(&rows, i)[0]), own);
    if (rc == ERR_NONE && rows.n && !is_known)
        rc = err_set(e, ERR_CONFIG,
                     "this master key is not the one that the database is sealed under: copy DIR/master.key of the server "
                     "that made it, or name its file with security.master_key_file");
    if (rc == ERR_NONE && !rows.n && c->adds)
        rc = tx_exec_unaudited(tx, &add_master_key, PARAMS(v_blob(own), v_int(c->now_us)), NULL, e);
    arena_fini(&a);
    return rc;
}

/* Two servers with different keys on one database would seal what the other cannot open. A database of a release that kept
 * no fingerprint takes that of the first key which opens what is sealed in it: events_new has tried it then. */
static enum errc check_master_key(struct store *store, const struct secrets *secrets, bool adds, err *e)
{
    struct key_check c = {.now_us = clock_now_us(), .adds = adds};
    secrets_derive(secrets, "fingerprint", c.fingerprint);
    return adds ? db_write(store_db(store, DB_MAIN), key_check_unit, &c, e)
                : db_read(store_db(store, DB_MAIN), key_check_unit, &c, e);
}

/* --- opening --- */

struct store_source backend_store_source(const struct config *config, const char *data_dir)
{
    return (struct store_source){
        .data_dir = data_dir,
        .url = config_text(config, "database.url"),
        .migrates = true,
        .connections = (unsigned)config_int(config, "store.connections"),
        .read_deadline_ms = (unsigned)config_int(config, "store.read_deadline_ms"),
        .write_deadline_ms = (unsigned)config_int(config, "store.write_deadline_ms"),
        .queue = (unsigned)config_int(config, "store.queue"),
    };
}

enum errc backend_open(struct backend *out, const struct config *config, const char *data_dir, err *e)
{
    struct store_source source = backend_store_source(config, data_dir);
    uint8_t people[MASTER_KEY_LEN];
    *out = (struct backend){0};
    enum errc rc = store_open(&out->store, &source, e);
    if (rc == ERR_NONE) rc = secrets_open(&out->secrets, config, data_dir, e);
    if (rc == ERR_NONE) rc = check_master_key(out->store, out->secrets, false, e);
    if (rc == ERR_NONE) {
        secrets_derive(out->secrets, "people", people);
        rc = events_new(&out->events, out->store, people, e);
        explicit_bzero(people, sizeof people);
    }
    if (rc == ERR_NONE) rc = check_master_key(out->store, out->secrets, true, e);
    if (rc == ERR_NONE) rc = signing_new(&out->signing, out->store, out->secrets, config, e);
    if (rc != ERR_NONE) backend_close(out);
    return rc;
}

void backend_close(struct backend *b)
{
    signing_free(b->signing);
    events_free(b->events);
    store_close(b->store);
    secrets_free(b->secrets);
    *b = (struct backend){0};
}
