/* What C code asks of feature flags: the snapshot over the rows, its age, and what a broken row means. On both engines. */
#include "store_fixture.h"

#include "core/flags.h"

SQL(test_workspace, DB_MAIN, SQL_INSTANCE, "u",
    "INSERT INTO workspaces (id, name, settings, created_us, updated_us, version) VALUES ($1, 'x', '{}', 0, "
    "0, 1)");
SQL(test_flag, DB_MAIN, 0, "utut",
    "INSERT INTO flags (workspace_id, name, id, definition, created_us, updated_us, version) VALUES ($1, $2, "
    "$3, $4, 0, 0, 1)");
SQL(test_change, DB_MAIN, 0, "tut", "UPDATE flags SET definition = $1 WHERE workspace_id = $2 AND name = $3");

#define ON "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"on\"}"
#define OFF "{\"state\":\"ENABLED\",\"variants\":{\"on\":true,\"off\":false},\"defaultVariant\":\"off\"}"

static const uuid one = {{1}}, two = {{2}};

struct put {
    const uuid *workspace;
    const char *name, *definition;
    bool is_change;
};

static enum errc put_unit(struct tx *tx, void *ctx, err *e)
{
    const struct put *p = ctx;
    uuid id = *p->workspace;
    id.b[15] = (uint8_t)p->name[0];
    if (p->is_change)
        return tx_exec(tx, &test_change,
                       PARAMS(v_text(str_c(p->definition)), v_uuid(p->workspace), v_text(str_c(p->name))),
                       NULL, e);
    return tx_exec(
        tx, &test_flag,
        PARAMS(v_uuid(p->workspace), v_text(str_c(p->name)), v_uuid(&id), v_text(str_c(p->definition))), NULL,
        e);
}

static void put(struct store_fixture *f, const uuid *workspace, const char *name, const char *definition,
                bool is_change)
{
    struct put p = {workspace, name, definition, is_change};
    if (db_write(store_db(f->store, DB_MAIN), put_unit, &p, &f->e)) fail_msg("%s", f->e.msg);
}

static enum errc workspaces_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    enum errc rc = tx_exec(tx, &test_workspace, PARAMS(v_uuid(&one)), NULL, e);
    return rc ? rc : tx_exec(tx, &test_workspace, PARAMS(v_uuid(&two)), NULL, e);
}

static struct flags *flags_of(struct store_fixture *f)
{
    struct flags *flags = NULL;
    if (db_write(store_db(f->store, DB_MAIN), workspaces_unit, NULL, &f->e)) fail_msg("%s", f->e.msg);
    put(f, &one, "a", ON, false);
    put(f, &two, "a", OFF, false);
    put(f, &one, "n", "{\"state\":\"ENABLED\",\"variants\":{\"x\":1},\"defaultVariant\":\"x\"}", false);
    put(f, &one, "d", "{\"state\":\"DISABLED\",\"variants\":{\"x\":true},\"defaultVariant\":\"x\"}", false);
    put(f, &one, "z",
        "{\"state\":\"ENABLED\",\"variants\":{\"x\":true},\"targeting\":{\"from_tomorrow\":[1]}}", false);
    put(f, &one, "r",
        "{\"state\":\"ENABLED\",\"variants\":{\"y\":true,\"n\":false},\"targeting\":"
        "{\"if\":[{\"==\":[{\"var\":\"role\"},\"owner\"]},\"y\",\"n\"]}}",
        false);
    if (flags_new(&flags, f->store, &f->e)) fail_msg("%s", f->e.msg);
    return flags;
}

static bool ask(struct flags *flags, const uuid *workspace, const char *name, const char *role, bool fallback)
{
    struct flag_context c = {.workspace_id = *workspace, .role = str_c(role)};
    return flag_bool(flags, name, &c, fallback);
}

static void a_boolean_flag_is_what_its_workspace_says(void **state)
{
    struct store_fixture *f = *state;
    struct flags *flags = flags_of(f);
    assert_true(ask(flags, &one, "a", "viewer", false));
    assert_false(ask(flags, &two, "a", "viewer", true));
    assert_true(ask(flags, &one, "r", "owner", false));
    assert_false(ask(flags, &one, "r", "viewer", true));
    flags_free(flags);
}

static void without_a_boolean_the_caller_s_own_value_holds(void **state)
{
    static const char *const names[] = {"n", "d", "z", "missing"};
    struct store_fixture *f = *state;
    struct flags *flags = flags_of(f);
    for (size_t i = 0; i < LENGTH_OF(names); i++) {
        assert_true(ask(flags, &one, names[i], "owner", true));
        assert_false(ask(flags, &one, names[i], "owner", false));
    }
    const uuid nobody = {{9}};
    assert_true(ask(flags, &nobody, "a", "owner", true));
    flags_free(flags);
}

static void a_change_is_seen_after_a_refresh_or_when_the_snapshot_is_old(void **state)
{
    struct store_fixture *f = *state;
    struct flags *flags = flags_of(f);
    put(f, &one, "a", OFF, true);
    assert_true(ask(flags, &one, "a", "owner", false));
    assert_int_equal(flags_refresh(flags, &f->e), ERR_NONE);
    assert_false(ask(flags, &one, "a", "owner", true));
    put(f, &one, "a", ON, true);
    clock_freeze(clock_now_us(), clock_mono_us() + (FLAGS_AGE_S + 1) * (usec)USEC_PER_S);
    bool is_on = ask(flags, &one, "a", "owner", false);
    clock_unfreeze();
    assert_true(is_on);
    flags_free(flags);
}

static void values_are_written_by_name(void **state)
{
    struct store_fixture *f = *state;
    struct flags *flags = flags_of(f);
    struct buf out;
    struct json_writer w;
    struct flag_context c = {.workspace_id = one, .role = S("owner")};
    buf_init(&out, 4096);
    json_writer_init(&w, &out);
    flags_write_values(flags, &f->a, &c, &w);
    assert_true(str_eq(buf_str(&out), S("{\"a\":true,\"d\":null,\"n\":1,\"r\":true,\"z\":null}")));
    buf_fini(&out);
    flags_free(flags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_STORE(a_boolean_flag_is_what_its_workspace_says),
        ON_STORE(without_a_boolean_the_caller_s_own_value_holds),
        ON_STORE(a_change_is_seen_after_a_refresh_or_when_the_snapshot_is_old),
        ON_STORE(values_are_written_by_name),
    };
    return RUN_ON_BOTH(tests);
}
