/* Lists by filter and keyset, against what plain C makes of the same rows. */
#include "store_tables.h"

SQL(add_thing, DB_MAIN, 0, "uutir",
    "INSERT INTO things (id, workspace_id, name, n, weight) VALUES ($1, $2, $3, $4, $5)");
SQL(things_by_n, DB_MAIN, 0, "u", "SELECT n, id, name FROM things WHERE workspace_id = $1");
SQL(things_by_name, DB_MAIN, 0, "u", "SELECT name, id FROM things WHERE workspace_id = $1");
SQL(things_by_weight, DB_MAIN, 0, "u", "SELECT weight, id FROM things WHERE workspace_id = $1");
SQL(things_by_id, DB_MAIN, 0, "u", "SELECT id FROM things WHERE workspace_id = $1");

enum { N = 300 };

static struct thing {
    uuid id;
    char name[24];
    int64_t n;
    double weight;
} things[N];

static const uuid workspace = {{1}}, other = {{2}};

/* A small generator of our own, so that both engines get the same rows. */
static unsigned next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 20);
}

static void make_things(void)
{
    static const char *const starts[] = {
        "alpha", "Alpha", "al_pha", "al%", "\xc3\xa9t\xc3\xa9", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf",
        "z",     "",      "a\\b"};
    for (unsigned i = 0; i < N; i++) {
        things[i].id = test_uuid(next_random());
        things[i].n = next_random() % 7;
        things[i].weight = next_random() % 5 / 4.0;
        snprintf(things[i].name, sizeof things[i].name, "%s%u", starts[next_random() % LENGTH_OF(starts)], i);
    }
}

static enum errc fill(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < N && !rc; i++)
        rc = tx_exec(tx, &add_thing,
                     PARAMS(v_uuid(&things[i].id), v_uuid(i % 10 == 9 ? &other : &workspace),
                            v_text(str_c(things[i].name)), v_int(things[i].n), v_real(things[i].weight)),
                     NULL, e);
    return rc;
}

struct list_test {
    const struct sql *base;
    struct keyset key;
    struct filter filters[4];
    unsigned n_filters;
    bool (*fits)(const struct thing *t);
    int (*order)(const void *a, const void *b);
};

struct run {
    struct store_fixture *f;
    const struct list_test *test;
    unsigned limit;
    uuid ids[N];
    unsigned n;
};

static enum errc run_unit(struct tx *tx, void *ctx, err *e)
{
    struct run *r = ctx;
    const struct list_test *t = r->test;
    struct keyset key = t->key;
    unsigned id_column = key.id_column ? 1 : 0;
    key.limit = r->limit;
    r->n = 0;
    do {
        struct rows rows;
        enum errc rc = tx_list(tx, &r->f->a, t->base, PARAMS(v_uuid(&workspace)), t->filters, t->n_filters,
                               &key, &rows, &key.cursor, e);
        if (rc) return rc;
        assert_true(rows.n <= r->limit);
        assert_true(rows.n == r->limit || !key.cursor.len);
        for (unsigned i = 0; i < rows.n; i++)
            r->ids[r->n++] = val_uuid(&row_at(&rows, i)[id_column]);
    } while (key.cursor.len);
    return ERR_NONE;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(&((const struct thing *)a)->id, &((const struct thing *)b)->id, 16);
}

static int by_n(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n ? -1 : 1) : by_id(a, b);
}

static int by_name(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    int order = str_cmp(str_c(x->name), str_c(y->name));
    return order ? order : by_id(a, b);
}

static int by_weight(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    return x->weight < y->weight ? -1 : x->weight > y->weight ? 1 : by_id(a, b);
}

static bool any(const struct thing *t) { return t != NULL; }
static bool n_is_3(const struct thing *t) { return t->n == 3; }
static bool n_from_2_to_5(const struct thing *t) { return t->n >= 2 && t->n < 5; }
static bool has_alpha(const struct thing *t)
{
    return str_starts(str_c(t->name), S("alpha")) || str_starts(str_c(t->name), S("Alpha"));
}
static bool has_percent(const struct thing *t) { return strchr(t->name, '%') != NULL; }
static bool has_underscore(const struct thing *t) { return strchr(t->name, '_') != NULL; }
static bool has_backslash(const struct thing *t) { return strchr(t->name, '\\') != NULL; }
static bool starts_al(const struct thing *t) { return str_starts(str_c(t->name), S("al")); }
static bool starts_ete(const struct thing *t) { return str_starts(str_c(t->name), S("\xc3\xa9t\xc3\xa9")); }
static bool starts_before_surrogates(const struct thing *t)
{
    return str_starts(str_c(t->name), S("\xed\x9f\xbf"));
}
static bool starts_last(const struct thing *t) { return str_starts(str_c(t->name), S("\xf4\x8f\xbf\xbf")); }

static void check(struct store_fixture *f, const struct list_test *t, unsigned limit)
{
    struct run *r = calloc(1, sizeof *r);
    struct thing want[N];
    unsigned n = 0;
    *r = (struct run){.f = f, .test = t, .limit = limit};
    if (db_read(store_db(f->store, DB_MAIN), run_unit, r, &f->e)) fail_msg("%s", f->e.msg);
    for (unsigned i = 0; i < N; i++)
        if (i % 10 != 9 && t->fits(&things[i])) want[n++] = things[i];
    qsort(want, n, sizeof *want, t->order);
    assert_int_equal(r->n, n);
    for (unsigned i = 0; i < n; i++)
        assert_memory_equal(&r->ids[i], &want[t->key.is_descending ? n - 1 - i : i].id, sizeof(uuid));
    free(r);
}

static void pages_give_every_row_once_and_in_order(void **state)
{
    static const struct list_test tests[] = {
        {&things_by_id, {.column = "id", .param = 'u'}, {{0}}, 0, any, by_id},
        {&things_by_id, {.column = "id", .param = 'u', .is_descending = true}, {{0}}, 0, any, by_id},
        {&things_by_n,
         {.column = "n", .param = 'i', .id_column = "id", .id_param = 'u'},
         {{0}},
         0,
         any,
         by_n},
        {&things_by_n,
         {.column = "n", .param = 'i', .id_column = "id", .id_param = 'u', .is_descending = true},
         {{0}},
         0,
         any,
         by_n},
        {&things_by_name,
         {.column = "name", .param = 't', .id_column = "id", .id_param = 'u'},
         {{0}},
         0,
         any,
         by_name},
        {&things_by_weight,
         {.column = "weight", .param = 'r', .id_column = "id", .id_param = 'u'},
         {{0}},
         0,
         any,
         by_weight},
    };
    struct store_fixture *f = *state;
    if (db_write(store_db(f->store, DB_MAIN), fill, NULL, &f->e)) fail_msg("%s", f->e.msg);
    for (unsigned i = 0; i < LENGTH_OF(tests); i++) {
        check(f, &tests[i], 1);
        check(f, &tests[i], 7);
        check(f, &tests[i], 270); /* exactly all */
        check(f, &tests[i], 1000);
    }
}

static void filters_leave_only_what_fits(void **state)
{
#define BY_NAME                                                                                              \
    {                                                                                                        \
        .column = "name", .param = 't', .id_column = "id", .id_param = 'u'                                   \
    }
#define TEXT(op_, s_) {{"name", (op_), 't', {.type = VAL_TEXT, .s = STR_LIT(s_)}}}, 1
    static const struct list_test tests[] = {
        {&things_by_name, BY_NAME, {{"n", FILTER_EQ, 'i', {.type = VAL_INT, .i = 3}}}, 1, n_is_3, by_name},
        {&things_by_name, BY_NAME, {{"n", FILTER_EQ, 'i', {.type = VAL_NULL}}}, 1, any, by_name},
        {&things_by_name,
         BY_NAME,
         {{"n", FILTER_GE, 'i', {.type = VAL_INT, .i = 2}}, {"n", FILTER_LT, 'i', {.type = VAL_INT, .i = 5}}},
         2,
         n_from_2_to_5,
         by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_LIKE, "ALPHA"), has_alpha, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_LIKE, "%"), has_percent, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_LIKE, "_"), has_underscore, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_LIKE, "\\"), has_backslash, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_LIKE, ""), any, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_PREFIX, "al"), starts_al, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_PREFIX, ""), any, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_PREFIX, "\xc3\xa9t\xc3\xa9"), starts_ete, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_PREFIX, "\xed\x9f\xbf"), starts_before_surrogates, by_name},
        {&things_by_name, BY_NAME, TEXT(FILTER_PREFIX, "\xf4\x8f\xbf\xbf"), starts_last, by_name},
    };
    struct store_fixture *f = *state;
    if (db_write(store_db(f->store, DB_MAIN), fill, NULL, &f->e)) fail_msg("%s", f->e.msg);
    for (unsigned i = 0; i < LENGTH_OF(tests); i++) {
        check(f, &tests[i], 4);
        check(f, &tests[i], 1000);
    }
}

struct cursor_test {
    struct store_fixture *f;
    str cursor;
    struct keyset key;
    const struct sql *base;
};

static enum errc one_page(struct tx *tx, void *ctx, err *e)
{
    struct cursor_test *t = ctx;
    struct rows rows;
    return tx_list(tx, &t->f->a, t->base, PARAMS(v_uuid(&workspace)), NULL, 0, &t->key, &rows, &t->cursor, e);
}

static void a_cursor_that_is_not_of_the_list_is_refused(void **state)
{
    struct store_fixture *f = *state;
    struct db *db = store_db(f->store, DB_MAIN);
    struct cursor_test t = {
        .f = f,
        .base = &things_by_n,
        .key = {.column = "n", .param = 'i', .id_column = "id", .id_param = 'u', .limit = 5}};
    if (db_write(db, fill, NULL, &f->e)) fail_msg("%s", f->e.msg);
    assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_NONE);
    assert_true(t.cursor.len > 0);
    const str good = t.cursor;
    char changed[256];
    t.key.is_descending = true;
    t.key.cursor = good;
    assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_INVALID);
    t.key.is_descending = false;
    t.key.column = "weight";
    t.key.param = 'r';
    assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_INVALID);
    t.key.column = "n";
    t.key.param = 'i';
    t.base = &things_by_name;
    assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_INVALID);
    t.base = &things_by_n;
    for (size_t len = 0; len < good.len; len++) { /* cut short, or a character changed */
        t.key.cursor = str_take(good, len);
        if (len) assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_INVALID);
        memcpy(changed, good.p, good.len);
        changed[len] = changed[len] == '0' ? 'x' : '0';
        t.key.cursor = str_of(changed, good.len);
        enum errc rc = db_read(db, one_page, &t, &f->e);
        assert_true(rc == ERR_INVALID || rc == ERR_NONE); /* another value of the key is a place, too */
    }
    static const char *const wrong[] = {"x", "00", "zzzzzzzz", "\xff\xff",
                                        "0000000000000000000000000000000000000000"};
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++) {
        t.key.cursor = str_c(wrong[i]);
        assert_int_equal(db_read(db, one_page, &t, &f->e), ERR_INVALID);
    }
}

static enum errc all_combinations(struct tx *tx, void *ctx, err *e)
{
    struct store_fixture *f = ctx;
    static const char *const columns[] = {"n", "weight", "name", "id"};
    enum errc rc = ERR_NONE;
    /* More different lists than a connection keeps prepared. */
    for (unsigned i = 0; i < 4 * 4 * 4 * 4 && !rc; i++) {
        static const struct val values[] = {{.type = VAL_INT, .i = 1},
                                            {.type = VAL_REAL, .r = 0.5},
                                            {.type = VAL_TEXT, .s = STR_LIT("a")},
                                            {.type = VAL_BLOB, .s = STR_LIT("0123456789abcdef")}};
        struct filter filters[4];
        struct rows rows;
        str cursor;
        struct keyset key = {.column = "id", .param = 'u', .limit = 3};
        for (unsigned k = 0, rest = i; k < 4; k++, rest /= 4)
            filters[k] = (struct filter){columns[rest % 4], (enum filter_op)(k % 3), "irtu"[rest % 4],
                                         values[rest % 4]};
        rc = tx_list(tx, &f->a, &things_by_id, PARAMS(v_uuid(&workspace)), filters, 4, &key, &rows, &cursor,
                     e);
    }
    return rc;
}

static void many_different_lists_are_prepared_and_forgotten(void **state)
{
    struct store_fixture *f = *state;
    for (unsigned i = 0; i < 3; i++)
        if (db_read(store_db(f->store, DB_MAIN), all_combinations, f, &f->e)) fail_msg("%s", f->e.msg);
}

int main(void)
{
    use_tables();
    make_things();
    const struct CMUnitTest tests[] = {
        ON_STORE(pages_give_every_row_once_and_in_order),
        ON_STORE(filters_leave_only_what_fits),
        ON_STORE(a_cursor_that_is_not_of_the_list_is_refused),
        ON_STORE(many_different_lists_are_prepared_and_forgotten),
    };
    return RUN_ON_BOTH(tests);
}
