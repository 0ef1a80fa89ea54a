/* Backups: made beside writers, checked, restored elsewhere and compared; migrations undone. */
#include "store_tables.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/crypto.h"

SQL(add_thing, DB_MAIN, 0, "uutirb",
    "INSERT INTO things (id, workspace_id, name, n, weight, data) VALUES ($1, $2, $3, $4, $5, $6)");
SQL(add_part, DB_MAIN, SQL_INSTANCE, "ui", "INSERT INTO parts (thing_id, n) VALUES ($1, $2)");
SQL(all_things, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id, workspace_id, name, n, weight, data FROM things ORDER BY id");
SQL(all_parts, DB_MAIN, SQL_INSTANCE, "", "SELECT id, thing_id, n FROM parts ORDER BY id");
SQL(count_halves, DB_MAIN, SQL_INSTANCE, "",
    "SELECT COUNT(*) FROM things LEFT JOIN parts ON parts.thing_id = things.id WHERE parts.id IS NULL");
SQL(add_call, DB_USAGE, SQL_INSTANCE, "uiti",
    "INSERT INTO calls (node, n, model, cost) VALUES ($1, $2, $3, $4)");
SQL(all_calls, DB_USAGE, SQL_INSTANCE, "", "SELECT node, n, model, cost FROM calls ORDER BY node, n");
SQL(add_key, DB_PEOPLE, SQL_INSTANCE, "ub", "INSERT INTO keys (id, secret) VALUES ($1, $2)");
SQL(all_keys, DB_PEOPLE, SQL_INSTANCE, "", "SELECT id, secret FROM keys ORDER BY id");

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != ERR_NONE) fail_msg("%s: %s", #call, f->e.msg);                                         \
    } while (0)

/* Another place of the same engine: a folder and, with PostgreSQL, a database of its own. */
struct place {
    char dir[64], url[256];
    struct store_source source;
};

static void place_init(struct place *p, bool is_postgres)
{
    *p = (struct place){.source = {.data_dir = p->dir, .migrates = true}};
    fixture_dir(p->dir, sizeof p->dir);
    if (!is_postgres) return;
    postgres_database(p->url, sizeof p->url);
    p->source.url = str_c(p->url);
}

static enum errc add_unit(struct tx *tx, void *ctx, err *e)
{
    unsigned n = *(const unsigned *)ctx;
    char name[16];
    uuid id = test_uuid(n), workspace = test_uuid(0);
    snprintf(name, sizeof name, "%u", n);
    enum errc rc = tx_exec(tx, &add_thing,
                           PARAMS(v_uuid(&id), v_uuid(&workspace), v_text(str_c(name)), v_int(n),
                                  v_real(n / 7.0), n % 3 ? v_blob(S("\0\377\n")) : v_null()),
                           NULL, e);
    return rc ? rc : tx_exec(tx, &add_part, PARAMS(v_uuid(&id), v_int(n)), NULL, e);
}

static enum errc call_unit(struct tx *tx, void *ctx, err *e)
{
    unsigned n = *(const unsigned *)ctx;
    uuid node = test_uuid(3);
    return tx_exec(tx, &add_call, PARAMS(v_uuid(&node), v_int(n), v_text(S("m\xc3\xbc")), v_int(n)), NULL, e);
}

static enum errc key_unit(struct tx *tx, void *ctx, err *e)
{
    uuid id = test_uuid(*(const unsigned *)ctx);
    return tx_exec(tx, &add_key, PARAMS(v_uuid(&id), v_blob(S("secret"))), NULL, e);
}

static void fill(struct store_fixture *f)
{
    for (unsigned n = 1; n <= 40; n++) {
        OK(db_write(store_db(f->store, DB_MAIN), add_unit, &n, &f->e));
        OK(db_write(store_db(f->store, DB_USAGE), call_unit, &n, &f->e));
        OK(db_write(store_db(f->store, DB_PEOPLE), key_unit, &n, &f->e));
    }
}

struct answer {
    const struct sql *sql;
    struct arena *a;
    struct rows rows;
};

static enum errc query_unit(struct tx *tx, void *ctx, err *e)
{
    struct answer *q = ctx;
    return tx_query(tx, q->a, q->sql, NULL, 0, &q->rows, e);
}

static struct rows rows_of(struct store_fixture *f, struct store *s, const struct sql *sql)
{
    struct answer q = {.sql = sql, .a = &f->a};
    OK(db_read(store_db(s, sql->db), query_unit, &q, &f->e));
    return q.rows;
}

static void assert_same_rows(struct store_fixture *f, struct store *a, struct store *b, const struct sql *sql)
{
    struct rows x = rows_of(f, a, sql), y = rows_of(f, b, sql);
    assert_int_equal(x.n, y.n);
    assert_true(x.n > 0);
    for (unsigned i = 0; i < x.n * x.n_cols; i++) {
        assert_true(x.vals[i].type == y.vals[i].type);
        if (x.vals[i].type == VAL_TEXT || x.vals[i].type == VAL_BLOB)
            assert_true(str_eq(x.vals[i].s, y.vals[i].s));
        else if (x.vals[i].type != VAL_NULL)
            assert_int_equal(x.vals[i].i, y.vals[i].i);
    }
}

static void backup_path(const struct store_fixture *f, char *out, size_t size)
{
    snprintf(out, size, "%s/backup", f->dir);
}

static enum errc copy_journal(void *ctx, const char *to, err *e)
{
    char path[160];
    (void)ctx;
    snprintf(path, sizeof path, "%s/journal", to);
    if (mkdir(path, 0700) < 0) return err_set(e, ERR_IO, "mkdir");
    snprintf(path, sizeof path, "%s/journal/0001.seg", to);
    FILE *file = fopen(path, "w");
    fputs("a segment", file);
    fclose(file);
    return ERR_NONE;
}

static void what_is_restored_elsewhere_is_the_same(void **state)
{
    struct store_fixture *f = *state;
    struct place p;
    struct store *restored;
    char to[128], path[200], text[32] = "";
    place_init(&p, f->is_postgres);
    backup_path(f, to, sizeof to);
    fill(f);
    OK(store_backup(f->store, to, &(struct backup_more){.copy = copy_journal}, &f->e));
    OK(store_restore(to, &p.source, &f->e));
    OK(store_open_with(&restored, &p.source, fixture_list, fixture_list_n, &f->e));
    assert_same_rows(f, f->store, restored, &all_things);
    assert_same_rows(f, f->store, restored, &all_parts);
    assert_same_rows(f, f->store, restored, &all_calls);
    assert_same_rows(f, f->store, restored, &all_keys);
    unsigned n = 1000; /* and it can be written to; the numbers of {id} go on */
    OK(db_write(store_db(restored, DB_MAIN), add_unit, &n, &f->e));
    store_close(restored);
    snprintf(path, sizeof path, "%s/journal/0001.seg", p.dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "a segment");
    /* not over what is there, and not into a folder that is not empty */
    assert_int_equal(store_restore(to, &p.source, &f->e), ERR_CONFLICT);
    assert_int_equal(store_backup(f->store, to, NULL, &f->e), ERR_CONFLICT);
    fixture_remove(p.dir);
}

struct load {
    struct store_fixture *f;
    atomic_bool is_over;
    atomic_uint next;
};

static void *write_on(void *arg)
{
    struct load *l = arg;
    err e = {0};
    while (!l->is_over) {
        unsigned n = l->next++;
        enum errc rc = db_write(store_db(l->f->store, DB_MAIN), add_unit, &n, &e);
        if (rc && rc != ERR_BUSY) abort();
    }
    return NULL;
}

static void a_backup_under_load_is_one_moment(void **state)
{
    enum { WRITERS = 4 };
    struct store_fixture *f = *state;
    struct place p;
    struct store *restored;
    struct load l = {.f = f, .next = 1000};
    pthread_t threads[WRITERS];
    char to[128];
    place_init(&p, f->is_postgres);
    backup_path(f, to, sizeof to);
    fill(f);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_on, &l);
    while (l.next < 1100)
        sched_yield();
    /* Nobody waits for it; a busy machine may let no writer run while one of them is made. */
    unsigned before, after, tries = 0;
    enum errc rc;
    do {
        fixture_remove(to);
        before = l.next;
        rc = store_backup(f->store, to, NULL, &f->e);
        after = l.next;
    } while (!rc && after == before && ++tries < 100);
    l.is_over = true;
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    if (rc) fail_msg("%s", f->e.msg);
    assert_true(after > before);
    OK(store_restore(to, &p.source, &f->e));
    OK(store_open_with(&restored, &p.source, fixture_list, fixture_list_n, &f->e));
    assert_int_equal(val_int(rows_of(f, restored, &count_halves).vals), 0);
    assert_true(rows_of(f, restored, &all_things).n >= before - 1000 - WRITERS);
    store_close(restored);
    fixture_remove(p.dir);
}

static void is_refused(struct store_fixture *f, const char *from, const struct place *p, enum errc code,
                       const char *words)
{
    assert_int_equal(store_restore(from, &p->source, &f->e), code);
    if (!strstr(f->e.msg, words)) fail_msg("%s", f->e.msg);
}

static void flip_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(c ^ 1, file);
    fclose(file);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_backup_that_was_changed_is_refused_whole(void **state)
{
    struct store_fixture *f = *state;
    char to[128], main_db[200], people[200], manifest[200], aside[200];
    const char *ending = f->is_postgres ? "dump" : "db";
    struct place p;
    struct store *restored;
    place_init(&p, f->is_postgres);
    backup_path(f, to, sizeof to);
    snprintf(main_db, sizeof main_db, "%s/db/main.%s", to, ending);
    snprintf(people, sizeof people, "%s/people/people.%s", to, ending);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", to);
    snprintf(aside, sizeof aside, "%s/aside", f->dir);
    fill(f);
    OK(store_backup(f->store, to, NULL, &f->e));
    flip_byte(main_db, 3000);
    is_refused(f, to, &p, ERR_CORRUPT, "SHA-256 differs");
    flip_byte(main_db, 3000);
    flip_byte(people, 3000);
    is_refused(f, to, &p, ERR_CORRUPT, "people.");
    flip_byte(people, 3000);
    assert_int_equal(rename(main_db, aside), 0);
    is_refused(f, to, &p, ERR_CORRUPT, "is missing");
    assert_int_equal(rename(aside, main_db), 0);
    assert_int_equal(rename(manifest, aside), 0);
    is_refused(f, to, &p, ERR_NOT_FOUND, "not a backup");
    write_text(manifest, "{\"format\":1,");
    is_refused(f, to, &p, ERR_CORRUPT, "not JSON");
    write_text(manifest, "{\"format\":1}");
    is_refused(f, to, &p, ERR_CORRUPT, "not a manifest");
    write_text(manifest, "{\"format\":2,\"engine\":\"sqlite\",\"files\":[]}");
    is_refused(f, to, &p, ERR_CONFIG, "newer release");
    write_text(manifest, f->is_postgres ? "{\"format\":1,\"engine\":\"sqlite\",\"files\":[]}"
                                        : "{\"format\":1,\"engine\":\"postgresql\",\"files\":[]}");
    is_refused(f, to, &p, ERR_CONFIG, "the configuration names");
    static const char *const paths[] = {"../x", "/etc/passwd", "db/../../x", "", "db//x", "./x"};
    for (unsigned i = 0; i < LENGTH_OF(paths); i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "{\"format\":1,\"engine\":\"%s\",\"files\":[{\"path\":\"%s\",\"size\":0,"
                 "\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}]}",
                 f->is_postgres ? "postgresql" : "sqlite", paths[i]);
        write_text(manifest, text);
        is_refused(f, to, &p, ERR_CORRUPT, "not a manifest");
    }
    /* nothing was put in */
    OK(store_open_with(&restored, &p.source, fixture_list, fixture_list_n, &f->e));
    assert_int_equal(rows_of(f, restored, &all_calls).n, 0);
    assert_int_equal(rows_of(f, restored, &all_things).n, 0);
    store_close(restored);
    fixture_remove(p.dir);
}

static void a_backup_without_the_people_restores_without_them(void **state)
{
    struct store_fixture *f = *state;
    struct place p;
    struct store *restored;
    char to[128], people[200];
    place_init(&p, f->is_postgres);
    backup_path(f, to, sizeof to);
    fill(f);
    OK(store_backup(f->store, to, NULL, &f->e));
    snprintf(people, sizeof people, "%s/people", to);
    fixture_remove(people);
    OK(store_restore(to, &p.source, &f->e));
    p.source.skips_backup = true;
    OK(store_open_with(&restored, &p.source, fixture_list, fixture_list_n, &f->e));
    assert_same_rows(f, f->store, restored, &all_things);
    assert_int_equal(rows_of(f, restored, &all_keys).n, 0);
    store_close(restored);
    fixture_remove(p.dir);
}

static const char dropping[] =
    "-- database: main\nDROP TABLE parts;\n-- database: people\nDROP TABLE keys;\n";

static void a_migration_makes_a_backup_that_undoes_it(void **state)
{
    struct store_fixture *f = *state;
    const struct migration list[] = {tables_list[0],
                                     tables_list[1],
                                     {"9001_dropping", dropping, dropping + sizeof dropping - 1, NULL, NULL}};
    const char *from = NULL, *saved = NULL;
    struct place p;
    struct store *restored;
    fill(f);
    assert_int_equal(store_migration_backup(f->dir, &f->a, &from, &f->e),
                     ERR_NOT_FOUND); /* the first start makes none */
    store_close(f->store);
    f->store = NULL;
    OK(store_open_with(&f->store, &f->source, list, 3, &f->e));
    unsigned late = 500;
    OK(db_write(store_db(f->store, DB_USAGE), call_unit, &late, &f->e));
    OK(store_migration_backup(f->dir, &f->a, &from, &f->e));
    assert_non_null(strstr(from, "before-9001_dropping"));
    store_close(f->store);
    f->store = NULL;
    OK(store_rollback(from, &f->source, &f->a, &saved, &f->e));
    OK(store_open_with(&f->store, &f->source, tables_list, 2, &f->e));
    assert_int_equal(rows_of(f, f->store, &all_parts).n, 40);
    assert_int_equal(rows_of(f, f->store, &all_keys).n, 40);
    assert_int_equal(rows_of(f, f->store, &all_calls).n, 40); /* what came after it is gone, */
    place_init(&p, f->is_postgres);
    OK(store_restore(saved, &p.source, &f->e)); /* and kept elsewhere */
    OK(store_open_with(&restored, &p.source, list, 3, &f->e));
    assert_int_equal(rows_of(f, restored, &all_calls).n, 41);
    store_close(restored);
    fixture_remove(p.dir);
    const char *again;
    OK(store_migration_backup(f->dir, &f->a, &again,
                              &f->e)); /* the one that was made before the rollback is none of a migration */
    assert_string_equal(from, again);
}

static void a_rollback_that_fails_leaves_what_was_there(void **state)
{
    struct store_fixture *f = *state;
    char to[128], file[200];
    const char *saved = NULL;
    backup_path(f, to, sizeof to);
    fill(f);
    OK(store_backup(f->store, to, NULL, &f->e));
    unsigned late = 500;
    OK(db_write(store_db(f->store, DB_USAGE), call_unit, &late, &f->e));
    snprintf(file, sizeof file, "%s/db/usage.%s", to, f->is_postgres ? "dump" : "db");
    store_close(f->store);
    f->store = NULL;
    flip_byte(file, 2000);
    assert_int_equal(store_rollback(to, &f->source, &f->a, &saved, &f->e), ERR_CORRUPT);
    if (f->is_postgres) { /* a dump that the manifest fits and pg_restore refuses, after another was put in */
        char manifest[200], text[1200], hex[65], hex_good[65];
        uint8_t hash[SHA256_LEN];
        write_text(file, "no dump");
        sha256(S("no dump"), hash);
        hex_encode(hash, sizeof hash, hex);
        snprintf(file, sizeof file, "%s/db/main.dump", to);
        static char bytes[1 << 20];
        FILE *in = fopen(file, "r");
        size_t n = fread(bytes, 1, sizeof bytes, in);
        fclose(in);
        sha256(str_of(bytes, n), hash);
        hex_encode(hash, sizeof hash, hex_good);
        snprintf(manifest, sizeof manifest, "%s/manifest.json", to);
        snprintf(text, sizeof text,
                 "{\"format\":1,\"engine\":\"postgresql\",\"files\":[{\"path\":\"db/"
                 "main.dump\",\"size\":%zu,\"sha256\":\"%s\"},"
                 "{\"path\":\"db/usage.dump\",\"size\":7,\"sha256\":\"%s\"}]}",
                 n, hex_good, hex);
        write_text(manifest, text);
        assert_int_equal(store_rollback(to, &f->source, &f->a, &saved, &f->e), ERR_IO);
        assert_non_null(strstr(f->e.msg, "pg_restore"));
    }
    OK(store_open_with(&f->store, &f->source, tables_list, 2, &f->e));
    assert_int_equal(rows_of(f, f->store, &all_calls).n, 41);
    assert_int_equal(rows_of(f, f->store, &all_things).n, 40);
}

static void without_pg_dump_a_backup_says_what_to_install(void **state)
{
    struct store_fixture *f = *state;
    char to[128], *path = strdup(getenv("PATH"));
    backup_path(f, to, sizeof to);
    setenv("PATH", f->dir, 1);
    assert_int_equal(store_backup(f->store, to, NULL, &f->e), ERR_CONFIG);
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(f->e.msg, "pg_dump is not on PATH"));
}

static void an_older_pg_dump_is_told_with_both_versions(void **state)
{
    struct store_fixture *f = *state;
    char to[128], file[128], path[4096], *before = strdup(getenv("PATH"));
    backup_path(f, to, sizeof to);
    snprintf(file, sizeof file, "%s/pg_dump", f->dir);
    write_text(file, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24 (Debian)'\n");
    chmod(file, 0700);
    snprintf(path, sizeof path, "%s:%s", f->dir, before);
    setenv("PATH", path, 1);
    assert_int_equal(store_backup(f->store, to, NULL, &f->e), ERR_CONFIG);
    setenv("PATH", before, 1);
    free(before);
    assert_non_null(strstr(f->e.msg, "pg_dump on PATH is of PostgreSQL 9, the server of "));
    assert_non_null(strstr(f->e.msg, "install"));
}

/* A key of a person, then a call, then a thing: whoever has one has those before it. */
static void *write_in_all(void *arg)
{
    struct load *l = arg;
    err e = {0};
    while (!l->is_over) {
        unsigned n = l->next++;
        enum errc rc = db_write(store_db(l->f->store, DB_PEOPLE), key_unit, &n, &e);
        if (!rc) rc = db_write(store_db(l->f->store, DB_USAGE), call_unit, &n, &e);
        if (!rc) rc = db_write(store_db(l->f->store, DB_MAIN), add_unit, &n, &e);
        if (rc) abort();
    }
    return NULL;
}

static void a_backup_is_one_moment_of_all_databases(void **state)
{
    struct store_fixture *f = *state;
    struct place p;
    struct store *restored;
    struct load l = {.f = f, .next = 1000};
    pthread_t thread;
    char to[128];
    place_init(&p, true);
    backup_path(f, to, sizeof to);
    pthread_create(&thread, NULL, write_in_all, &l);
    while (l.next < 1050)
        sched_yield();
    enum errc rc = store_backup(f->store, to, NULL, &f->e);
    l.is_over = true;
    pthread_join(thread, NULL);
    if (rc) fail_msg("%s", f->e.msg);
    OK(store_restore(to, &p.source, &f->e));
    OK(store_open_with(&restored, &p.source, fixture_list, fixture_list_n, &f->e));
    unsigned n_things = rows_of(f, restored, &all_things).n, n_calls = rows_of(f, restored, &all_calls).n,
             n_keys = rows_of(f, restored, &all_keys).n;
    assert_true(n_things >= 48);
    assert_in_range(n_calls, n_things, n_things + 1);
    assert_in_range(n_keys, n_calls, n_calls + 1);
    store_close(restored);
    fixture_remove(p.dir);
}

static void nothing_is_put_in_beside_a_server(void **state)
{
    struct store_fixture *f = *state;
    struct place p;
    struct store *other;
    char to[128];
    place_init(&p, true);
    backup_path(f, to, sizeof to);
    fill(f);
    OK(store_backup(f->store, to, NULL, &f->e));
    OK(store_open_with(&other, &p.source, fixture_list, fixture_list_n, &f->e));
    postgres_do(p.url, "DROP SCHEMA main CASCADE");
    postgres_do(p.url, "DROP SCHEMA usage CASCADE");
    postgres_do(p.url, "DROP SCHEMA people CASCADE");
    is_refused(f, to, &p, ERR_CONFLICT, "stop every server first");
    store_close(other);
    OK(store_restore(to, &p.source, &f->e));
    fixture_remove(p.dir);
}

int main(void)
{
    use_tables();
    const struct CMUnitTest tests[] = {
        ON_STORE(what_is_restored_elsewhere_is_the_same),
        ON_STORE(a_backup_under_load_is_one_moment),
        ON_STORE(a_backup_that_was_changed_is_refused_whole),
        ON_STORE(a_backup_without_the_people_restores_without_them),
        ON_STORE(a_migration_makes_a_backup_that_undoes_it),
        ON_STORE(a_rollback_that_fails_leaves_what_was_there),
    };
    const struct CMUnitTest of_postgres[] = {
        ON_STORE(without_pg_dump_a_backup_says_what_to_install),
        ON_STORE(an_older_pg_dump_is_told_with_both_versions),
        ON_STORE(a_backup_is_one_moment_of_all_databases),
        ON_STORE(nothing_is_put_in_beside_a_server),
    };
    return RUN_ON_BOTH(tests) + RUN_ON_POSTGRES(of_postgres);
}
