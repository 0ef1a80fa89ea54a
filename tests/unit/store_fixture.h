/* store_fixture.h - for tests that run on both engines: every test gets an empty store, once on SQLite in a
 * temporary folder, once on a private PostgreSQL.
 *
 *   static void a_thing_holds(void **state) { struct store_fixture *f = *state; ... store_db(f->store, DB_MAIN) ... }
 *   int main(void) {
 *       const struct CMUnitTest tests[] = {ON_STORE(a_thing_holds)};
 *       return RUN_ON_BOTH(tests);
 *   }
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>

#include "base/log.h"
#include "postgres.h"
#include "store/migrate.h"

struct store_fixture {
    bool is_postgres;
    char dir[64], url[256];
    struct store_source source;
    struct store *store;
    struct arena a;
    err e;
};

static bool fixture_is_postgres;
/* A test program's own list of migrations; NULL: those of the release. */
static const struct migration *fixture_list;
static unsigned fixture_list_n;

static inline int fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void fixture_remove(const char *dir)
{
    nftw(dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_dir(char *out, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(out, size, "%s/catalyst_store_XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(out)) abort();
}

/* The store is not opened: for tests of opening itself. */
static inline int fixture_set_up_closed(void **state)
{
    struct store_fixture *f = calloc(1, sizeof *f);
    f->is_postgres = fixture_is_postgres;
    fixture_dir(f->dir, sizeof f->dir);
    f->source = (struct store_source){.data_dir = f->dir, .migrates = true};
    if (f->is_postgres) {
        postgres_database(f->url, sizeof f->url);
        f->source.url = str_c(f->url);
    }
    arena_init(&f->a, 64u << 20, 0);
    log_set_level(LOG_ERROR);
    *state = f;
    return 0;
}

static inline int fixture_set_up(void **state)
{
    if (fixture_set_up_closed(state)) return -1;
    struct store_fixture *f = *state;
    enum errc rc = fixture_list ? store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e)
                                : store_open(&f->store, &f->source, &f->e);
    if (!rc) return 0;
    fprintf(stderr, "store_open: %s\n", f->e.msg);
    return -1;
}

static inline int fixture_tear_down(void **state)
{
    struct store_fixture *f = *state;
    store_close(f->store);
    arena_fini(&f->a);
    fixture_remove(f->dir);
    free(f);
    return 0;
}

static inline void postgresql_is_installed(void **state)
{
    (void)state;
    skip();
}

#define ON_STORE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
#define ON_CLOSED_STORE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_closed, fixture_tear_down)

/* CATALYST_TEST_ENGINES=sqlite: the same tests on PostgreSQL are left out, as tests/lib/postgres.mjs does. */
static inline bool postgres_is_left_out(void)
{
    const char *engines = getenv("CATALYST_TEST_ENGINES");
    return engines && strcmp(engines, "sqlite") == 0;
}

static inline int fixture_group(const char *name, const struct CMUnitTest *tests, size_t n, bool is_postgres)
{
    static const struct CMUnitTest missing[] = {cmocka_unit_test(postgresql_is_installed)};
    fixture_is_postgres = is_postgres;
    if (is_postgres && postgres_is_left_out()) return 0;
    if (is_postgres && !postgres_url()) return _cmocka_run_group_tests(name, missing, 1, NULL, NULL);
    return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}
/* The exit status. */
#define RUN_ON_SQLITE(tests) fixture_group("sqlite", (tests), LENGTH_OF(tests), false)
#define RUN_ON_POSTGRES(tests) fixture_group("postgresql", (tests), LENGTH_OF(tests), true)
#define RUN_ON_BOTH(tests) (RUN_ON_SQLITE(tests) + RUN_ON_POSTGRES(tests))

#endif
