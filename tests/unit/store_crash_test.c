/* The store when its process is killed, or its disk is full. */
#include "store_tables.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

SQL(add_thing, DB_MAIN, 0, "uut", "INSERT INTO things (id, workspace_id, name) VALUES ($1, $2, $3)");
SQL(add_part, DB_MAIN, SQL_INSTANCE, "ui", "INSERT INTO parts (thing_id, n) VALUES ($1, $2)");
SQL(count_halves, DB_MAIN, SQL_INSTANCE, "",
    "SELECT COUNT(*) FROM things LEFT JOIN parts ON parts.thing_id = things.id WHERE parts.id IS NULL");
SQL(count_things, DB_MAIN, SQL_INSTANCE, "", "SELECT COUNT(*) FROM things");
SQL(has_thing, DB_MAIN, SQL_INSTANCE, "u", "SELECT COUNT(*) FROM things WHERE id = $1");

#define THREADS 4
#define UNITS_MAX (1u << 20)

/* Two rows that belong together. */
static enum errc add_both(struct tx *tx, void *ctx, err *e)
{
    const unsigned *n = ctx;
    char name[16];
    uuid id = test_uuid(*n), workspace = test_uuid(0);
    snprintf(name, sizeof name, "%u", *n);
    enum errc rc =
        tx_exec(tx, &add_thing, PARAMS(v_uuid(&id), v_uuid(&workspace), v_text(str_c(name))), NULL, e);
    return rc ? rc : tx_exec(tx, &add_part, PARAMS(v_uuid(&id), v_int(*n)), NULL, e);
}

struct count {
    const struct sql *sql;
    const unsigned *id;
    int64_t n;
};

static enum errc count_unit(struct tx *tx, void *ctx, err *e)
{
    struct count *c = ctx;
    struct arena a;
    const struct val *row;
    uuid id = test_uuid(c->id ? *c->id : 0);
    struct val param = v_uuid(&id);
    arena_init(&a, 1 << 16, 0);
    enum errc rc = tx_query_row(tx, &a, c->sql, &param, c->id ? 1 : 0, &row, e);
    if (!rc) c->n = val_int(row);
    arena_fini(&a);
    return rc;
}

static int64_t count(struct store_fixture *f, const struct sql *sql, const unsigned *id)
{
    struct count c = {sql, id, 0};
    if (db_read(store_db(f->store, DB_MAIN), count_unit, &c, &f->e)) fail_msg("%s", f->e.msg);
    return c.n;
}

/* --- killed --- */

struct writer {
    struct store *store;
    int acks;
    unsigned first;
};

static void *write_and_acknowledge(void *arg)
{
    struct writer *w = arg;
    for (unsigned n = w->first; n < UNITS_MAX; n += THREADS) {
        err e;
        enum errc rc = db_write(store_db(w->store, DB_MAIN), add_both, &n, &e);
        if (rc == ERR_BUSY) {
            n -= THREADS;
            continue;
        }
        if (rc) {
            fprintf(stderr, "unit %u: %s\n", n, e.msg);
            _exit(1);
        }
        if (write(w->acks, &n, sizeof n) != sizeof n) _exit(1);
    }
    return NULL;
}

static _Noreturn void write_until_killed(struct store_fixture *f, int acks, unsigned first)
{
    struct writer writers[THREADS];
    pthread_t threads[THREADS];
    struct store *s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (store_open_with(&s, &f->source, fixture_list, fixture_list_n, &f->e)) {
        fprintf(stderr, "store_open: %s\n", f->e.msg);
        _exit(1);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){s, acks, first + i};
        pthread_create(&threads[i], NULL, write_and_acknowledge, &writers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(1); /* it should have been killed */
}

static void what_was_acknowledged_outlives_kill_9(void **state)
{
    enum { KILLS = 12, MOST = 20000 };
    struct store_fixture *f = *state;
    static unsigned acknowledged[MOST];
    unsigned n_acknowledged = 0, next = 1, random = 12345;
    store_close(f->store);
    f->store = NULL;
    for (unsigned kill_n = 0; kill_n < KILLS; kill_n++) {
        int pipes[2], status;
        random = random * 1103515245u + 12345u;
        unsigned n_wanted = 1 + (random >> 16) % 300, n = 0;
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(pipes[0]);
            write_until_killed(f, pipes[1], next);
        }
        close(pipes[1]);
        unsigned unit;
        while (read(pipes[0], &unit, sizeof unit) == sizeof unit) {
            if (++n == n_wanted) kill(pid, SIGKILL); /* what else was acknowledged meanwhile counts, too */
            assert_true(n_acknowledged < MOST);
            acknowledged[n_acknowledged++] = unit;
            if (unit >= next) next = unit + 1;
        }
        close(pipes[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        next += 2 * THREADS; /* units that were under way may have been committed */
    }
    if (store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e)) fail_msg("%s", f->e.msg);
    for (unsigned i = 0; i < n_acknowledged; i++)
        if (count(f, &has_thing, &acknowledged[i]) != 1)
            fail_msg("unit %u was acknowledged and is not there", acknowledged[i]);
    assert_int_equal(count(f, &count_halves, NULL), 0);
    int64_t n_things = count(f, &count_things, NULL);
    assert_true(n_things >= n_acknowledged && n_things <= n_acknowledged + KILLS * THREADS);
}

/* --- a full disk --- */

static bool mount_small(const char *dir)
{
    /* A mount of our own, gone with the process. In a chroot / is no mount (EINVAL): there the test's end takes it
     * down. */
    return unshare(CLONE_NEWNS) == 0 &&
           (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 || errno == EINVAL) &&
           mount("tmpfs", dir, "tmpfs", 0, "size=2m") == 0;
}

static void a_full_disk_refuses_units_whole_and_the_rest_goes_on(void **state)
{
    struct store_fixture *f = *state;
    char filler[128], bytes[4096] = {0};
    if (!mount_small(f->dir)) {
        print_message("SKIP: mounting a small tmpfs needs root\n");
        skip();
    }
    snprintf(filler, sizeof filler, "%s/filler", f->dir);
    if (store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e)) fail_msg("%s", f->e.msg);
    struct db *db = store_db(f->store, DB_MAIN);
    unsigned n = 1;
    for (; n <= 20; n++)
        assert_int_equal(db_write(db, add_both, &n, &f->e), ERR_NONE);
    int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof bytes) == sizeof bytes)
        ;
    close(fd);
    enum errc rc;
    unsigned n_written = 20, n_refused = 0;
    for (; n_refused < 50; n++) { /* the log and the database have some room inside */
        assert_true(n < 20000);
        rc = db_write(db, add_both, &n, &f->e);
        assert_true(rc == ERR_NONE || rc == ERR_DISK_FULL);
        n_written += rc == ERR_NONE;
        n_refused += rc != ERR_NONE;
        if (rc) assert_int_equal(count(f, &has_thing, &n), 0);
    }
    assert_int_equal(count(f, &count_things, NULL), n_written);
    assert_int_equal(count(f, &count_halves, NULL), 0);
    assert_int_equal(unlink(filler), 0);
    for (unsigned end = n + 20; n < end; n++, n_written++)
        assert_int_equal(db_write(db, add_both, &n, &f->e), ERR_NONE);
    store_close(f->store);
    if (store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(count(f, &count_things, NULL), n_written);
    assert_int_equal(count(f, &count_halves, NULL), 0);
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(umount2(f->dir, MNT_DETACH), 0);
}

int main(void)
{
    use_tables();
    const struct CMUnitTest tests[] = {ON_STORE(what_was_acknowledged_outlives_kill_9)};
    const struct CMUnitTest of_sqlite[] = {
        ON_CLOSED_STORE(a_full_disk_refuses_units_whole_and_the_rest_goes_on)};
    return RUN_ON_BOTH(tests) + RUN_ON_SQLITE(of_sqlite);
}
