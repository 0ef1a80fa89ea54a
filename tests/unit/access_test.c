/* The compiled decision against a slow one that follows the rules sentence by sentence, on random models; and what changes with the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the ones above */
#include <cmocka.h>

#include "core/permissions/model.h"

#define ROLES_N 6
#define PROJECTS_N 5
#define SOURCES_MAX 14
#define MODELS 1500

static uint64_t seed = 88172645463325252ull;
static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 32) % n;
}

static uuid id_of(unsigned kind, unsigned n)
{
    uuid id = {.b = {1, (uint8_t)kind, (uint8_t)n}};
    return id;
}

struct world {
    struct access_role roles[ROLES_N];
    char ids[ROLES_N][UUID_TEXT_LEN + 1];
    uuid restricted[PROJECTS_N];
    struct access_source sources[SOURCES_MAX];
    struct access_model m;
};

static str role_text(struct world *w, bool may_be_none)
{
    unsigned pick = below(ROLES_N + ROLES + 2);
    if (pick < ROLES_N) return str_of(w->ids[pick], UUID_TEXT_LEN);
    if (pick < ROLES_N + ROLES) return str_c(role_name((enum role)(pick - ROLES_N)));
    return may_be_none && pick == ROLES_N + ROLES ? S(ROLE_NONE) : S("01a20fb3-5ea1-7cb6-9d45-a2067c97f0ed"); /* deleted */
}

static struct permission_set some_permissions(void)
{
    struct permission_set s = {{0, 0}};
    for (unsigned i = below(4); i > 0; i--)
        permission_set_add(&s, (enum permission)(1 + below(PERMISSIONS - 1)));
    return s;
}

static void make_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < ROLES_N; i++) {
        uuid id = id_of(1, i);
        uuid_format(&id, w->ids[i]);
    }
    for (unsigned i = 0; i < ROLES_N; i++)
        w->roles[i] = (struct access_role){.id = id_of(1, i), .name = S("a role"), .own = some_permissions(), .parent = below(3) ? role_text(w, false) : S("")};
    access_resolve_roles(w->roles, ROLES_N);
    unsigned n_restricted = 0;
    for (unsigned i = 0; i < PROJECTS_N; i++)
        if (below(2)) w->restricted[n_restricted++] = id_of(2, i);
    unsigned n = 1 + below(SOURCES_MAX - 1);
    w->sources[0] = (struct access_source){.kind = ACCESS_MEMBERSHIP, .role = role_text(w, false), .starts_us = NO_VALUE, .ends_us = NO_VALUE};
    for (unsigned i = 1; i < n; i++) {
        struct access_source *s = &w->sources[i];
        *s = (struct access_source){.kind = below(3) ? ACCESS_ASSIGNMENT : ACCESS_GRANT, .id = id_of(3, i), .starts_us = NO_VALUE, .ends_us = NO_VALUE};
        if (below(3)) s->project_id = id_of(2, below(PROJECTS_N));
        if (below(2)) s->starts_us = below(20);
        if (below(2)) s->ends_us = below(20);
        if (s->kind == ACCESS_GRANT)
            s->set = some_permissions();
        else
            s->role = role_text(w, !uuid_is_nil(&s->project_id));
    }
    w->m = (struct access_model){.roles = w->roles, .n_roles = ROLES_N, .restricted = w->restricted, .n_restricted = n_restricted, .sources = w->sources, .n_sources = n};
}

/* --- the slow one --- */

static bool role_gives(const struct world *w, str role, enum permission p, unsigned parents_above)
{
    for (enum role r = 0; r < ROLES; r++)
        if (str_eq(role, str_c(role_name(r)))) return permission_set_has(role_permissions(r), p);
    for (unsigned i = 0; i < ROLES_N; i++) {
        if (!str_eq(role, str_of(w->ids[i], UUID_TEXT_LEN))) continue;
        if (permission_set_has(&w->roles[i].own, p)) return true;
        return parents_above > 0 && w->roles[i].parent.len && role_gives(w, w->roles[i].parent, p, parents_above - 1);
    }
    return false;
}

static bool role_is_there(const struct world *w, str role)
{
    for (enum role r = 0; r < ROLES; r++)
        if (str_eq(role, str_c(role_name(r)))) return true;
    for (unsigned i = 0; i < ROLES_N; i++)
        if (str_eq(role, str_of(w->ids[i], UUID_TEXT_LEN))) return true;
    return false;
}

static bool is_live(const struct access_source *s, usec now)
{
    return (s->starts_us == NO_VALUE || s->starts_us <= now) && (s->ends_us == NO_VALUE || now < s->ends_us);
}

static bool slow_exists(const struct world *w, const uuid *project, usec now)
{
    bool is_restricted = false, is_assigned = false, is_none = false;
    if (uuid_is_nil(project) || str_eq(w->sources[0].role, S("owner"))) return true;
    for (unsigned i = 0; i < w->m.n_restricted; i++)
        is_restricted |= memcmp(&w->restricted[i], project, sizeof *project) == 0;
    for (unsigned i = 1; i < w->m.n_sources; i++) {
        const struct access_source *s = &w->sources[i];
        if (s->kind != ACCESS_ASSIGNMENT || memcmp(&s->project_id, project, sizeof *project) != 0 || !is_live(s, now)) continue;
        is_none |= str_eq(s->role, S(ROLE_NONE));
        is_assigned |= role_is_there(w, s->role);
    }
    return !is_none && (is_assigned || !is_restricted);
}

static bool slow_may(const struct world *w, const uuid *project, enum permission p, usec now, bool only_lasting)
{
    if (!slow_exists(w, project, now)) return false;
    for (unsigned i = 0; i < w->m.n_sources; i++) {
        const struct access_source *s = &w->sources[i];
        bool is_here = uuid_is_nil(&s->project_id) || memcmp(&s->project_id, project, sizeof *project) == 0;
        if (!is_here || !is_live(s, now)) continue;
        if (only_lasting && (s->kind == ACCESS_GRANT || s->ends_us != NO_VALUE)) continue;
        if (s->kind == ACCESS_GRANT ? permission_set_has(&s->set, p) : role_gives(w, s->role, p, ROLE_DEPTH_MAX)) return true;
    }
    return false;
}

/* --- tests --- */

static void compare(const struct world *w, const struct access *a, usec now)
{
    for (unsigned i = 0; i <= PROJECTS_N + 1; i++) { /* none, each, and one that nobody names */
        uuid project = i ? id_of(2, i - 1) : (uuid){0};
        struct permission_set set, lasting;
        bool exists = access_in(a, &project, &set);
        assert_int_equal(exists, slow_exists(w, &project, now));
        assert_int_equal(access_lasting_in(a, &project, &lasting), exists);
        assert_true(permission_set_holds_all(&set, &lasting));
        for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++) {
            if (permission_set_has(&set, p) != slow_may(w, &project, p, now, false)) fail_msg("project %u: %s", i, permission_name(p));
            if (permission_set_has(&lasting, p) != slow_may(w, &project, p, now, true)) fail_msg("project %u, lasting: %s", i, permission_name(p));
        }
    }
}

static void compare_hidden_and_somewhere(const struct world *w, const struct access *a, usec now)
{
    struct arena arena;
    err e = {0};
    uuid *hidden;
    unsigned n, expected = 0;
    arena_init(&arena, 1u << 16, 0);
    assert_int_equal(access_hidden(a, &arena, &hidden, &n, &e), ERR_NONE);
    for (unsigned i = 0; i < PROJECTS_N; i++) {
        uuid project = id_of(2, i);
        bool is_listed = false;
        for (unsigned k = 0; k < n; k++)
            is_listed |= memcmp(&hidden[k], &project, sizeof project) == 0;
        assert_int_equal(is_listed, !slow_exists(w, &project, now));
        expected += is_listed;
    }
    assert_int_equal(n, expected);
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++) {
        bool somewhere = false;
        for (unsigned i = 0; i <= PROJECTS_N; i++) {
            uuid project = i ? id_of(2, i - 1) : (uuid){0};
            somewhere |= slow_may(w, &project, p, now, false);
        }
        assert_int_equal(access_has_somewhere(a, p), somewhere);
    }
    arena_fini(&arena);
}

static void the_compiled_decision_is_what_the_rules_say(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MODELS; i++) {
        struct world w;
        usec now = below(20);
        make_world(&w);
        struct access *a = access_compile(&w.m, now);
        assert_non_null(a);
        assert_int_equal(access_is_owner(a), str_eq(w.sources[0].role, S("owner")));
        compare(&w, a, now);
        compare_hidden_and_somewhere(&w, a, now);
        access_let_go(a);
    }
}

static void it_holds_until_it_says_and_is_asked_anew_then(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct world w;
        usec now = below(20);
        make_world(&w);
        struct access *a = access_compile(&w.m, now);
        assert_true(access_until(a) > now);
        for (usec t = 0; t < 22; t++)
            if (access_is_current(a, 0, w.sources[0].role, t)) compare(&w, a, t); /* the same at any time that it answers for */
        assert_true(access_is_current(a, 0, w.sources[0].role, now));
        assert_false(access_is_current(a, 0, w.sources[0].role, access_until(a)));
        assert_false(access_is_current(a, 1, w.sources[0].role, now));
        assert_false(access_is_current(a, 0, S("nobody"), now));
        access_let_go(a);
    }
}

static void a_role_inherits_five_deep_and_a_circle_ends(void **state)
{
    (void)state;
    struct access_role roles[8];
    char ids[8][UUID_TEXT_LEN + 1];
    for (unsigned i = 0; i < 8; i++) {
        roles[i] = (struct access_role){.id = id_of(1, i)};
        uuid_format(&roles[i].id, ids[i]);
        permission_set_add(&roles[i].own, (enum permission)(i + 1));
        if (i) roles[i].parent = str_of(ids[i - 1], UUID_TEXT_LEN);
    }
    access_resolve_roles(roles, 8);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 8; k++)
            assert_int_equal(permission_set_has(&roles[i].all, (enum permission)(k + 1)), k <= i && i - k <= ROLE_DEPTH_MAX);
    roles[0].parent = str_of(ids[1], UUID_TEXT_LEN);
    access_resolve_roles(roles, 2);
    assert_true(permission_set_has(&roles[0].all, 2) && permission_set_has(&roles[1].all, 1));
}

static void none_takes_a_project_from_everybody_but_owners(void **state)
{
    (void)state;
    uuid project = id_of(2, 0);
    struct access_source sources[] = {
        {.kind = ACCESS_MEMBERSHIP, .role = S("admin"), .starts_us = NO_VALUE, .ends_us = NO_VALUE},
        {.kind = ACCESS_ASSIGNMENT, .project_id = project, .team_id = id_of(4, 1), .role = S("none"), .starts_us = NO_VALUE, .ends_us = NO_VALUE},
        {.kind = ACCESS_ASSIGNMENT, .project_id = project, .role = S("developer"), .starts_us = NO_VALUE, .ends_us = NO_VALUE},
        {.kind = ACCESS_GRANT, .project_id = project, .set = permission_set_all(), .starts_us = NO_VALUE, .ends_us = NO_VALUE},
    };
    struct access_model m = {.sources = sources, .n_sources = LENGTH_OF(sources)};
    struct permission_set set;
    struct access *a = access_compile(&m, 1);
    assert_false(access_in(a, &project, &set));
    assert_true(permission_set_is_empty(&set));
    access_let_go(a);
    sources[0].role = S("owner");
    a = access_compile(&m, 1);
    assert_true(access_in(a, &project, &set));
    assert_true(permission_set_has(&set, PERMISSION_WORKSPACE_DELETE));
    access_let_go(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_compiled_decision_is_what_the_rules_say),
        cmocka_unit_test(it_holds_until_it_says_and_is_asked_anew_then),
        cmocka_unit_test(a_role_inherits_five_deep_and_a_circle_ends),
        cmocka_unit_test(none_takes_a_project_from_everybody_but_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
