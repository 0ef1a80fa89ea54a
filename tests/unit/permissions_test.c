/* The tables made from rbac.json agree with a separate reading of it, and with themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the ones above */
#include <cmocka.h>
#include <jansson.h>

#include "core/permissions.h"

static json_t *source;

static int read_source(void **state)
{
    (void)state;
    source = json_load_file(SOURCE_DIR "/src/core/rbac.json", 0, NULL);
    return source ? 0 : -1;
}

static int drop_source(void **state)
{
    (void)state;
    json_decref(source);
    return 0;
}

static bool in_list(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (!strcmp(*list, name)) return true;
    return false;
}

static void each_role_holds_exactly_what_the_file_says(void **state)
{
    (void)state;
    json_t *list = json_object_get(source, "permissions");
    assert_int_equal(json_array_size(list), PERMISSIONS - 1);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        enum permission p;
        assert_true(permission_parse(str_c(name), &p));
        assert_string_equal(permission_name(p), name);
        assert_string_equal(permission_meaning(p), json_string_value(json_object_get(entry, "description")));
        for (enum role r = 0; r < ROLES; r++) {
            bool expected = json_object_get(json_object_get(entry, "roles"), role_name(r)) != NULL;
            if (permission_set_has(role_permissions(r), p) != expected)
                fail_msg("%s of %s", name, role_name(r));
        }
        assert_int_equal(permission_set_has(permission_set_for_keys(), p),
                         json_is_true(json_object_get(entry, "keys")));
    }
}

static void each_endpoint_has_its_row(void **state)
{
    (void)state;
    json_t *list = json_object_get(source, "endpoints");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        const struct rbac_row *row = rbac_find(json_string_value(json_object_get(entry, "method")),
                                               json_string_value(json_object_get(entry, "path")));
        assert_non_null(row);
        assert_string_equal(row->permission, json_string_value(json_object_get(entry, "permission")));
        assert_string_equal(row->scope, json_string_value(json_object_get(entry, "scope")));
        assert_int_equal(row->takes_keys, json_is_true(json_object_get(entry, "keys")));
    }
    assert_null(rbac_find("GET", "/api/nothing"));
    assert_null(rbac_find("TRACE", "/api/projects"));
}

static void what_a_row_allows_is_what_its_permission_gives(void **state)
{
    (void)state;
    json_t *list = json_object_get(source, "endpoints");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        enum permission p;
        const char *name = json_string_value(json_object_get(entry, "permission"));
        if (!permission_parse(str_c(name), &p)) {
            assert_int_equal(name[0], '(');
            continue;
        }
        for (enum role r = 0; r < ROLES; r++)
            if (permission_set_has(role_permissions(r), p) !=
                json_is_true(json_object_get(json_object_get(entry, "allow"), role_name(r))))
                fail_msg("%s %s for %s", json_string_value(json_object_get(entry, "method")),
                         json_string_value(json_object_get(entry, "path")), role_name(r));
        if (!permission_set_has(permission_set_for_keys(), p))
            assert_false(json_is_true(json_object_get(entry, "keys")));
    }
}

static void an_owner_holds_everything_and_each_other_role_less_than_it(void **state)
{
    (void)state;
    struct permission_set all = permission_set_all();
    assert_true(permission_set_holds_all(role_permissions(ROLE_OWNER), &all));
    for (enum role r = ROLE_ADMIN; r < ROLES; r++) {
        assert_true(permission_set_holds_all(role_permissions(ROLE_OWNER), role_permissions(r)));
        assert_false(permission_set_holds_all(role_permissions(r), role_permissions(ROLE_OWNER)));
    }
}

static void keys_can_never_hold_what_is_for_people(void **state)
{
    (void)state;
    static const char *const never[] = {
        "apikeys.own", "apikeys.manage", "roles.manage",    "members.update",   "grants.create",
        "sso.manage",  "billing.manage", "sessions.manage", "workspace.delete", NULL};
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (in_list(never, permission_name(p)))
            assert_false(permission_set_has(permission_set_for_keys(), p));
}

static void names_parse_back_and_others_do_not(void **state)
{
    (void)state;
    enum role r;
    enum permission p;
    for (enum role i = 0; i < ROLES; i++) {
        assert_true(role_parse(str_c(role_name(i)), &r));
        assert_int_equal(r, i);
    }
    assert_false(role_parse(S("Owner"), &r));
    assert_false(role_parse(S(""), &r));
    assert_false(permission_parse(S(""), &p));
    assert_false(permission_parse(S("*"), &p));
    assert_false(permission_parse(S("projects.*"), &p));
    assert_false(permission_set_has(role_permissions(ROLE_OWNER), PERMISSION_NONE));
}

static void sets_meet_and_compare(void **state)
{
    (void)state;
    struct permission_set a = {{0, 0}}, b = {{0, 0}};
    permission_set_add(&a, PERMISSION_PROJECTS_READ);
    permission_set_add(&a, PERMISSION_CHAT_WRITE);
    permission_set_add(&b, PERMISSION_CHAT_WRITE);
    struct permission_set both = permission_set_and(&a, &b);
    assert_true(permission_set_has(&both, PERMISSION_CHAT_WRITE));
    assert_false(permission_set_has(&both, PERMISSION_PROJECTS_READ));
    assert_true(permission_set_holds_all(&a, &b));
    assert_false(permission_set_holds_all(&b, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_holds_exactly_what_the_file_says),
        cmocka_unit_test(each_endpoint_has_its_row),
        cmocka_unit_test(what_a_row_allows_is_what_its_permission_gives),
        cmocka_unit_test(an_owner_holds_everything_and_each_other_role_less_than_it),
        cmocka_unit_test(keys_can_never_hold_what_is_for_people),
        cmocka_unit_test(names_parse_back_and_others_do_not),
        cmocka_unit_test(sets_meet_and_compare),
    };
    return cmocka_run_group_tests(tests, read_source, drop_source);
}
