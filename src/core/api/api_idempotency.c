/* Idempotency-Key: a POST that is sent again gets the answer of the first time.
 *
 * The answer is stored in the unit of work that made the change, so that either both exist or neither does.
 * A request that comes while the first one is still at work meets it in the database: with SQLite it waits
 * for the writer, with PostgreSQL the unit runs again or conflicts and is tried again. Only successes are
 * kept: what was refused or failed may be tried again with the same key. An answer that shows a secret is
 * kept without it.
 * Source: draft-ietf-httpapi-idempotency-key-header.
 */
#include "base/crypto.h"
#include "base/log.h"
#include "core/api/api_internal.h"

#define KEPT_US USEC_PER_DAY

SQL(idempotency_find, DB_MAIN, SQL_INSTANCE, "bi",
    "SELECT request, status, location, etag, media_type, body FROM api_idempotency WHERE id = $1 AND at_us > "
    "$2");
SQL(idempotency_forget, DB_MAIN, SQL_INSTANCE, "b", "DELETE FROM api_idempotency WHERE id = $1");
SQL(idempotency_keep, DB_MAIN, SQL_INSTANCE, "bibitttt",
    "INSERT INTO api_idempotency (id, at_us, request, status, location, etag, media_type, body) VALUES ($1, "
    "$2, $3, $4, $5, $6, $7, $8)");
SQL(idempotency_tidy, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM api_idempotency WHERE at_us <= $1");

static void add_part(struct buf *b, str part)
{
    buf_addf(b, "%zu:", part.len);
    buf_add(b, part);
}

/* Whose key it is, of which route, in which workspace. */
static bool row_id(const struct api_call *k, uint8_t out[SHA256_LEN])
{
    const struct api_request *r = &k->r;
    struct buf b;
    buf_init(&b, 4096);
    add_part(&b, str_of((const char *)r->who.user_id.b, sizeof r->who.user_id.b));
    add_part(&b, principal_is_program(&r->who)
                     ? str_of((const char *)r->who.credential_id.b, sizeof r->who.credential_id.b)
                     : S(""));
    add_part(&b, str_of((const char *)r->workspace_id.b, sizeof r->workspace_id.b));
    add_part(&b, str_c(r->route->name));
    add_part(&b, k->idempotency_key);
    sha256(buf_str(&b), out);
    bool is_whole = buf_err(&b) == ERR_NONE;
    buf_fini(&b);
    return is_whole;
}

/* What was asked for: another path, query or body under the same key is a mistake. */
static bool fingerprint(const struct api_call *k, uint8_t out[SHA256_LEN])
{
    struct buf b;
    buf_init(&b, k->body.len + (1u << 17));
    add_part(&b, k->head.path);
    add_part(&b, k->head.query);
    add_part(&b, buf_str(&k->body));
    sha256(buf_str(&b), out);
    bool is_whole = buf_err(&b) == ERR_NONE;
    buf_fini(&b);
    return is_whole;
}

enum errc api_idempotency_find(struct api_call *k, struct tx *tx, bool *found, err *e)
{
    struct api_request *r = &k->r;
    uint8_t id[SHA256_LEN], asked[SHA256_LEN];
    struct rows rows;
    *found = false;
    if (!row_id(k, id) || !fingerprint(k, asked)) return err_code(e, ERR_NO_MEMORY);
    enum errc rc =
        tx_query(tx, &k->arena, &idempotency_find,
                 PARAMS(v_blob(str_of((const char *)id, sizeof id)), v_int(r->now_us - KEPT_US)), &rows, e);
    if (rc != ERR_NONE || rows.n == 0) return rc;
    const struct val *row = rows.vals;
    if (!str_eq(val_str(&row[0]), str_of((const char *)asked, sizeof asked)))
        return err_set(
            e, ERR_KEY_REUSED,
            "this Idempotency-Key was used for another request within the last 24 hours; use a new one");
    *found = true;
    k->is_replay = true;
    r->status = (int)val_int(&row[1]);
    r->location = val_str(&row[2]);
    r->etag = val_str(&row[3]);
    r->raw_type = val_str(&row[4]);
    r->raw = val_str(&row[5]);
    return ERR_NONE;
}

enum errc api_idempotency_keep(struct api_call *k, struct tx *tx, err *e)
{
    struct api_request *r = &k->r;
    uint8_t id[SHA256_LEN], asked[SHA256_LEN];
    struct buf body;
    /* A secret in an answer that no shape describes cannot be taken out: nothing of that answer is kept but
     * its status. */
    bool has_body = !r->has_secret || (!r->raw.p && r->route->answer && shape_has_secrets(r->route->answer));
    if (!row_id(k, id) || !fingerprint(k, asked)) return err_code(e, ERR_NO_MEMORY);
    buf_init(&body, API_ANSWER_MAX);
    if (has_body) api_encode(k, true, &body);
    enum errc rc = buf_err(&body);
    if (rc != ERR_NONE) {
        err_set(e, rc, "the answer does not fit into memory");
    } else {
        str key = str_of((const char *)id, sizeof id);
        rc = tx_exec_unaudited(tx, &idempotency_forget, PARAMS(v_blob(key)), NULL,
                               e); /* one that has expired */
        if (rc == ERR_NONE)
            rc = tx_exec_unaudited(
                tx, &idempotency_keep,
                PARAMS(v_blob(key), v_int(r->now_us), v_blob(str_of((const char *)asked, sizeof asked)),
                       v_int(api_success_status(r)), v_text_or_null(r->location), v_text_or_null(r->etag),
                       v_text_or_null(r->raw.p ? r->raw_type : (str){NULL, 0}),
                       body.len ? v_text(buf_str(&body)) : v_null()),
                NULL, e);
    }
    buf_fini(&body);
    return rc;
}

static enum errc tidy(struct tx *tx, void *ctx, err *e)
{
    const usec *now = ctx;
    return tx_exec_unaudited(tx, &idempotency_tidy, PARAMS(v_int(*now - KEPT_US)), NULL, e);
}

void api_idempotency_tidy(struct store *s, usec now_us)
{
    err e = {0};
    if (db_write(store_db(s, DB_MAIN), tidy, &now_us, &e) != ERR_NONE)
        log_error(LOG_WARN, "idempotency_tidy_failed", &e);
}
