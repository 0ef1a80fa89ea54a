/* The store: units, statements, lists, migrations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

#include "store/store.h"

SQL(add_row, DB_MAIN, SQL_INSTANCE | SQL_ANYWHERE, "itbi",
    "INSERT INTO schema_migrations (number, name, checksum, applied_us) VALUES ($1, $2, $3, $4)");
SQL(list_rows, DB_MAIN, SQL_INSTANCE | SQL_ANYWHERE, "", "SELECT number, name FROM schema_migrations WHERE 1 = 1");

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    int64_t *n = ctx;
    return tx_exec(tx, &add_row, PARAMS(v_int(*n), v_text(S("x")), v_blob(S("y")), v_int(0)), NULL, e);
}

static enum errc list_unit(struct tx *tx, void *ctx, err *e)
{
    struct arena *a = ctx;
    struct rows rows;
    struct keyset key = {.column = "number", .param = 'i', .limit = 3};
    int64_t expected = 1;
    do {
        enum errc rc = tx_list(tx, a, &list_rows, NULL, 0, NULL, 0, &key, &rows, &key.cursor, e);
        if (rc) return rc;
        for (unsigned i = 0; i < rows.n; i++) {
            int64_t number = val_int(row_at(&rows, i));
            if (number < expected) return ERR_INTERNAL;
            expected = number + 1;
        }
    } while (key.cursor.len);
    return expected == 1010 ? ERR_NONE : ERR_INTERNAL;
}

static void smoke(void **state)
{
    (void)state;
    char dir[] = "/tmp/catalyst_store_XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct store *s;
    err e = {0};
    struct store_source source = {.data_dir = dir, .migrates = true};
    if (store_open(&s, &source, &e)) fail_msg("%s", e.msg);
    struct db *db = store_db(s, DB_MAIN);
    for (int64_t i = 1000; i < 1010; i++)
        if (db_write(db, add_unit, &i, &e)) fail_msg("%s", e.msg);
    int64_t again = 1000;
    assert_int_equal(db_write(db, add_unit, &again, &e), ERR_CONFLICT);
    printf("%s\n", e.msg);
    struct arena a;
    arena_init(&a, 1 << 20, 0);
    if (db_read(db, list_unit, &a, &e)) fail_msg("%s", e.msg);
    arena_fini(&a);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(smoke)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
