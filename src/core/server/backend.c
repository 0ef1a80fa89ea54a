#include "core/backend.h"

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
    if (rc == ERR_NONE) rc = secrets_attach(out->secrets, out->store, clock_now_us(), e);
    if (rc == ERR_NONE) {
        secrets_derive(out->secrets, "people", people);
        rc = events_new(&out->events, out->store, people, e);
        explicit_bzero(people, sizeof people);
    }
    if (rc == ERR_NONE) rc = secrets_claim(out->secrets, clock_now_us(), e);
    if (rc == ERR_NONE) rc = signing_new(&out->signing, out->store, out->secrets, config, e);
    if (rc != ERR_NONE) backend_close(out);
    return rc;
}

void backend_close(struct backend *b)
{
    signing_free(b->signing);
    events_free(b->events);
    secrets_stop(b->secrets);
    store_close(b->store);
    secrets_free(b->secrets);
    *b = (struct backend){0};
}
