/* engines.h - a store of its own for each test, on each engine that this machine has: SQLite, and a PostgreSQL that the test program starts. */
#ifndef TESTS_ENGINES_H
#define TESTS_ENGINES_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store.h"

enum engine { ENGINE_SQLITE };

struct engine_store {
    const char *engine;
    struct store *store;
    char dir[40];
};

static inline void engine_pause(void) { usleep(2000); }

static inline int engine_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void engine_store_open(struct engine_store *s, const char *engine)
{
    err e = {0};
    s->engine = engine;
    snprintf(s->dir, sizeof s->dir, "/tmp/catalyst_store_XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    struct store_source source = {.data_dir = s->dir, .migrates = true};
    if (store_open(&s->store, &source, &e) != ERR_NONE)
        fail_msg("%s", e.msg);
}

static inline void engine_store_close(struct engine_store *s)
{
    store_close(s->store);
    nftw(s->dir, engine_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs the tests on each engine; their set-up finds the engine's name in *state. */
#define engines_run(tests, n) cmocka_run_group_tests(tests, NULL, NULL)

#endif
