/* Moving SQLite's databases into PostgreSQL: what arrives, what is refused, and that a move that is killed anywhere goes on. */
#include "store_tables.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "base/crypto.h"
#include "store/files.h"
#include "store/move.h"
#include "store/sqlite.h"

/* What the release's tables do not have: a table that refers to itself, one without a primary key, names that must be quoted, a real as a key. */
static const char odd_text[] =
    "-- database: main\n"
    "CREATE TABLE \"odd \"\"names\" (\"Select\" {int} NOT NULL PRIMARY KEY, \"as\" {text}, \"x,y\" {blob});\n"
    "CREATE TABLE trees (id {int} NOT NULL PRIMARY KEY, above {int} REFERENCES trees (id));\n"
    "CREATE TABLE loose (a {text}, b {real}, c {uuid});\n"
    "CREATE INDEX loose_by_a ON loose (a);\n"
    "CREATE TABLE weights (w {real} NOT NULL, n {int} NOT NULL, PRIMARY KEY (w, n));\n";

static struct migration list[3];

static void use_list(void)
{
    use_tables();
    list[0] = tables_list[0];
    list[1] = tables_list[1];
    list[2] = (struct migration){"9001_odd", odd_text, odd_text + sizeof odd_text - 1, NULL, NULL};
    fixture_list = list;
    fixture_list_n = 3;
}

#define OK(call)                                                                                             \
    do {                                                                                                     \
        if ((call) != ERR_NONE) fail_msg("%s: %s", #call, f->e.msg);                                         \
    } while (0)

struct script {
    const char *text;
};

static enum errc script_unit(struct tx *tx, void *ctx, err *e)
{
    return tx->db->store->engine->script(tx, ((struct script *)ctx)->text, e);
}

static void do_in(struct store_fixture *f, struct store *s, enum db_id id, const char *text)
{
    struct script script = {text};
    OK(db_write(store_db(s, id), script_unit, &script, &f->e));
}

/* 12,000 rows in one table, a handful in the others. */
static void fill(struct store_fixture *f)
{
    do_in(f, f->store, DB_MAIN,
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) "
          "INSERT INTO things (id, workspace_id, name, n, weight, data) SELECT CAST(printf('%016d', i * 7919 "
          "% 65536 * 65536 + i) AS BLOB), zeroblob(16), "
          "'name ' || i || char(233, 128512, 1, 0x2028), i, CASE i % 3 WHEN 0 THEN NULL ELSE i / 7.0 END, "
          "CASE i % 2 WHEN 0 THEN NULL ELSE randomblob(i % 90) END FROM n;"
          "INSERT INTO parts (thing_id, n) SELECT id, -n FROM things WHERE n % 40 = 0;"
          "DELETE FROM parts WHERE id > 200;" /* their numbers are never given again */
          "INSERT INTO \"odd \"\"names\" VALUES (9223372036854775807, 'last', x'00ff'), "
          "(-9223372036854775808, 'first', x''), (0, '', NULL);"
          "INSERT INTO trees VALUES (1, NULL), (2, 3), (3, 1), (4, 4);"
          "INSERT INTO loose VALUES (NULL, NULL, NULL), ('b', 1e308, NULL), ('b', 1e308, NULL), ('', -0.0, "
          "zeroblob(16)), ('a', 5e-324, NULL);"
          "INSERT INTO weights VALUES (-1.5, 2), (0, 1), (1e-300, 7), (2, -9223372036854775808), (2, "
          "9223372036854775807);");
    do_in(f, f->store, DB_USAGE,
          "INSERT INTO calls VALUES (zeroblob(16), -9223372036854775808, '', 9223372036854775807);");
    do_in(f, f->store, DB_PEOPLE, "INSERT INTO keys VALUES (zeroblob(16), zeroblob(0));");
    store_close(f->store);
    f->store = NULL;
}

struct said {
    unsigned n_told, dies_at; /* 0: never */
    unsigned n_differences;
    char difference[256];
};

static void on_progress(void *ctx, enum move_phase phase, const struct move_table *table, int64_t done)
{
    struct said *s = ctx;
    (void)phase;
    (void)table;
    (void)done;
    if (++s->n_told == s->dies_at) kill(getpid(), SIGKILL);
}

static void on_difference(void *ctx, str text)
{
    struct said *s = ctx;
    if (!s->n_differences++) snprintf(s->difference, sizeof s->difference, "%.*s", STR(text));
}

static struct move_setup setup_of(struct store_fixture *f, const char *url, struct said *said)
{
    return (struct move_setup){.data_dir = f->dir,
                               .url = str_c(url),
                               .batch_rows = 3000,
                               .progress = on_progress,
                               .differs = on_difference,
                               .ctx = said};
}

static enum errc move_to(struct store_fixture *f, const char *url, struct said *said,
                         struct move_report *report)
{
    struct move_setup setup = setup_of(f, url, said);
    return store_move_with(&setup, fixture_list, fixture_list_n, &f->a, report, &f->e);
}

static enum errc check_again(struct store_fixture *f, const char *url, struct said *said,
                             struct move_report *report)
{
    struct move_setup setup = setup_of(f, url, said);
    setup.only_compares = true;
    return store_move_with(&setup, fixture_list, fixture_list_n, &f->a, report, &f->e);
}

static enum errc open_target(struct store_fixture *f, const char *url, struct store **out)
{
    struct store_source source = {.data_dir = f->dir, .url = str_c(url), .migrates = true};
    return store_open_with(out, &source, fixture_list, fixture_list_n, &f->e);
}

static const struct move_table *table_of(const struct move_report *r, const char *name)
{
    for (unsigned i = 0; i < r->n_tables; i++)
        if (strcmp(r->tables[i].name, name) == 0) return &r->tables[i];
    return NULL;
}

static void all_rows_arrive_and_the_files_stay_as_they_were(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct said said = {0};
    struct store *s;
    char url[256], path[128], before[2 * SHA256_LEN + 1], after[2 * SHA256_LEN + 1];
    uint8_t hash[SHA256_LEN];
    str text;
    postgres_database(url, sizeof url);
    fill(f);
    snprintf(path, sizeof path, "%s/db/main.db", f->dir);
    OK(file_read(path, 64u << 20, &f->a, &text, &f->e));
    sha256(text, hash);
    hex_encode(hash, sizeof hash, before);
    OK(move_to(f, url, &said, &r));
    OK(file_read(path, 64u << 20, &f->a, &text, &f->e));
    sha256(text, hash);
    hex_encode(hash, sizeof hash, after);
    assert_string_equal(before, after);
    assert_int_equal(table_of(&r, "things")->n_rows, 12000);
    assert_int_equal(table_of(&r, "parts")->n_rows, 200);
    assert_int_equal(table_of(&r, "odd \"names")->n_rows, 3);
    assert_int_equal(table_of(&r, "loose")->n_target, 5);
    assert_int_equal(r.n_differences, 0);
    assert_int_equal(r.n_copied, r.n_rows);
    assert_false(r.went_on);
    /* SQLite is closed from now on, PostgreSQL open, and goes on numbering where SQLite would have. */
    assert_int_equal(store_open_with(&s, &f->source, fixture_list, fixture_list_n, &f->e), ERR_CONFIG);
    assert_non_null(strstr(f->e.msg, "were moved to PostgreSQL"));
    OK(open_target(f, url, &s));
    do_in(f, s, DB_MAIN,
          "INSERT INTO parts (thing_id, n) SELECT id, 1 FROM things WHERE n = 1;"
          "DO $$ BEGIN IF (SELECT MAX(id) FROM parts) <> 301 THEN RAISE 'the number was given before'; END "
          "IF; END $$;"
          "DO $$ BEGIN INSERT INTO trees VALUES (9, 10); RAISE 'no foreign key'; EXCEPTION WHEN "
          "foreign_key_violation THEN NULL; END $$;"
          "DO $$ BEGIN IF to_regclass('main.loose_by_a') IS NULL THEN RAISE 'no index'; END IF; END $$;"
          "DO $$ BEGIN IF to_regnamespace('catalyst_move') IS NOT NULL THEN RAISE 'it is left'; END IF; END "
          "$$;");
    store_close(s);
    assert_int_equal(check_again(f, url, &said, &r), ERR_CORRUPT);
    assert_string_equal(said.difference, "main.parts: the row with id = 301 is only in PostgreSQL");
    assert_int_equal(move_to(f, url, &said, &r), ERR_CONFLICT);
    assert_non_null(strstr(f->e.msg, "already"));
}

static void a_move_that_is_killed_anywhere_goes_on(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct store *s;
    struct said said = {0};
    char url[256];
    unsigned n_killed = 0;
    postgres_database(url, sizeof url);
    fill(f);
    for (unsigned at = 1;; at++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            struct said dying = {.dies_at = at};
            _exit(move_to(f, url, &dying, &r) == ERR_NONE ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
        n_killed++;
        /* Neither side is open meanwhile. */
        assert_int_equal(open_target(f, url, &s), ERR_CONFIG);
        assert_non_null(strstr(f->e.msg, "migrate to-postgres"));
        assert_int_equal(store_open_with(&s, &f->source, fixture_list, fixture_list_n, &f->e), ERR_CONFIG);
        assert_non_null(strstr(f->e.msg, "being moved"));
        assert_int_equal(check_again(f, url, &said, &r), ERR_CONFLICT);
    }
    assert_true(n_killed > 10);
    OK(check_again(f, url, &said, &r));
    assert_int_equal(r.n_differences, 0);
    assert_int_equal(table_of(&r, "things")->n_target, 12000);
    OK(open_target(f, url, &s));
    store_close(s);
}

static void each_kind_of_difference_is_named(void **state)
{
    struct store_fixture *f = *state;
    static const struct {
        const char *change, *back, *says;
    } cases[] = {
        {"UPDATE main.things SET name = name || 'x' WHERE n = 77",
         "UPDATE main.things SET name = left(name, -1) WHERE n = 77", "differs in name"},
        {"UPDATE main.trees SET above = NULL WHERE id = 4", "UPDATE main.trees SET above = 4 WHERE id = 4",
         "main.trees: the row with id = 4 differs in above"},
        {"DELETE FROM main.weights WHERE n = 7", "INSERT INTO main.weights VALUES (1e-300, 7)",
         "main.weights: the row with w = 1e-300, n = 7 is not in PostgreSQL"},
        {"INSERT INTO main.loose VALUES ('b', 1e308, NULL)",
         "DELETE FROM main.loose WHERE ctid = (SELECT max(ctid) FROM main.loose)",
         "main.loose: the row with a = 'b'"},
        {"UPDATE people.keys SET secret = '\\x00'", "UPDATE people.keys SET secret = ''",
         "differs in secret"},
        {"SELECT setval('main.parts_id_seq', 299)", "SELECT setval('main.parts_id_seq', 300)",
         "given already (up to 300)"},
    };
    struct move_report r;
    struct said said = {0};
    char url[256];
    postgres_database(url, sizeof url);
    fill(f);
    OK(move_to(f, url, &said, &r));
    for (unsigned i = 0; i < LENGTH_OF(cases); i++) {
        said = (struct said){0};
        postgres_do(url, cases[i].change);
        assert_int_equal(check_again(f, url, &said, &r), ERR_CORRUPT);
        assert_int_equal(r.n_differences, 1);
        if (!strstr(said.difference, cases[i].says)) fail_msg("said: %s", said.difference);
        postgres_do(url, cases[i].back);
        OK(check_again(f, url, &said, &r));
    }
}

static void a_wrong_target_is_refused_and_nothing_is_begun(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct said said = {0};
    struct store *s;
    char url[256], other[256];
    fill(f);
    postgres_database(url, sizeof url);
    postgres_do(url, "CREATE TABLE public.mine (n int)");
    assert_int_equal(move_to(f, url, &said, &r), ERR_CONFLICT);
    assert_non_null(strstr(f->e.msg, "is not empty: it has public.mine"));
    postgres_do(url, "DROP TABLE public.mine");
    OK(open_target(f, url, &s)); /* an installation of its own */
    store_close(s);
    assert_int_equal(move_to(f, url, &said, &r), ERR_CONFLICT);
    assert_non_null(strstr(f->e.msg, "it has main."));
    postgres_do(postgres_url(), "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    snprintf(other, sizeof other, "postgresql://catalyst@/latin%s", strchr(url, '?'));
    assert_int_equal(move_to(f, other, &said, &r), ERR_CONFIG);
    assert_non_null(strstr(f->e.msg, "LATIN1"));
    assert_int_equal(move_to(f, "postgresql://u:hunter2@/x?host=/nowhere", &said, &r), ERR_UNAVAILABLE);
    assert_null(strstr(f->e.msg, "hunter2"));
    assert_int_equal(move_to(f, "postgresql://u:hunter2@[x", &said, &r), ERR_CONFIG);
    assert_null(strstr(f->e.msg, "hunter2"));
    /* SQLite is served as before. */
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
}

static void another_schema_is_refused(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct said said = {0};
    char url[256];
    struct move_setup setup;
    postgres_database(url, sizeof url);
    fill(f);
    setup = setup_of(f, url, &said);
    assert_int_equal(store_move_with(&setup, list, 2, &f->a, &r, &f->e), ERR_CONFIG);
    assert_non_null(strstr(f->e.msg, "newer release"));
    struct migration more[4] = {
        list[0], list[1], list[2], {"9002_more", odd_text, odd_text + sizeof odd_text - 1, NULL, NULL}};
    assert_int_equal(store_move_with(&setup, more, 4, &f->a, &r, &f->e), ERR_CONFIG);
    assert_non_null(strstr(f->e.msg, "catalyst migrate up"));
}

static void a_value_that_does_not_fit_is_named(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct said said = {0};
    char url[256];
    postgres_database(url, sizeof url);
    do_in(f, f->store, DB_MAIN, "INSERT INTO \"odd \"\"names\" VALUES (5, CAST(x'6100' AS TEXT), NULL)");
    store_close(f->store);
    f->store = NULL;
    if (move_to(f, url, &said, &r) != ERR_CORRUPT) fail_msg("%s", f->e.msg);
    assert_non_null(strstr(f->e.msg, "Select = 5"));
    assert_non_null(strstr(f->e.msg, "holds in as"));
}

static void who_went_back_to_sqlite_begins_anew(void **state)
{
    struct store_fixture *f = *state;
    struct move_report r;
    struct said said = {0};
    char url[256], path[128];
    int status;
    postgres_database(url, sizeof url);
    fill(f);
    pid_t pid = fork();
    if (pid == 0) {
        struct said dying = {.dies_at = 4};
        _exit(move_to(f, url, &dying, &r) == ERR_NONE ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    snprintf(path, sizeof path, "%s/MOVED", f->dir);
    assert_int_equal(unlink(path), 0);
    OK(store_open_with(&f->store, &f->source, fixture_list, fixture_list_n, &f->e));
    do_in(f, f->store, DB_MAIN, "DELETE FROM parts; DELETE FROM things WHERE n < 100");
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(move_to(f, url, &said, &r), ERR_CONFLICT);
    assert_non_null(strstr(f->e.msg, "--again"));
    struct move_setup setup = setup_of(f, url, &said);
    setup.begins_again = true;
    OK(store_move_with(&setup, fixture_list, fixture_list_n, &f->a, &r, &f->e));
    assert_int_equal(table_of(&r, "things")->n_target, 12000 - 99);
    assert_false(r.went_on);
}

int main(void)
{
    use_list();
    if (postgres_is_left_out() || !postgres_url()) return fixture_group("postgresql", NULL, 0, true);
    const struct CMUnitTest tests[] = {
        ON_STORE(all_rows_arrive_and_the_files_stay_as_they_were),
        ON_STORE(a_move_that_is_killed_anywhere_goes_on),
        ON_STORE(each_kind_of_difference_is_named),
        ON_STORE(a_wrong_target_is_refused_and_nothing_is_begun),
        ON_STORE(another_schema_is_refused),
        ON_STORE(a_value_that_does_not_fit_is_named),
        ON_STORE(who_went_back_to_sqlite_begins_anew),
    };
    return RUN_ON_SQLITE(tests);
}
