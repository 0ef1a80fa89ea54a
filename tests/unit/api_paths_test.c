/* Paths to endpoints, against a reader that tries every pattern; and rates, whose clock the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/api/api_internal.h"

#define PATTERNS 24

struct fixture {
    struct api api;
    struct api_route routes[PATTERNS];
    char paths[PATTERNS][40];
};

static unsigned pick(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % n;
}

static void random_path(unsigned *seed, const char *const *words, unsigned n_words, char out[40])
{
    unsigned n = 1 + pick(seed, 4);
    size_t len = 0;
    for (unsigned i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, 40 - len, "/%s", words[pick(seed, n_words)]);
}

/* Distinct pairs of method and pattern. */
static void fill(struct fixture *f, unsigned *seed)
{
    static const char *const words[] = {"a", "b", ":x", ":x"};
    static const enum http_method methods[] = {HTTP_GET, HTTP_POST, HTTP_PATCH, HTTP_DELETE};
    memset(f, 0, sizeof *f);
    arena_init(&f->api.arena, 1 << 20, 0);
    f->api.endpoints = calloc(PATTERNS, sizeof *f->api.endpoints);
    for (unsigned i = 0; i < PATTERNS; i++) {
        random_path(seed, words, LENGTH_OF(words), f->paths[i]);
        f->routes[i] =
            (struct api_route){.method = methods[pick(seed, 4)], .path = f->paths[i], .name = f->paths[i]};
        bool is_new = true;
        for (unsigned j = 0; j < i; j++)
            is_new = is_new &&
                     (strcmp(f->paths[i], f->paths[j]) != 0 || f->routes[i].method != f->routes[j].method);
        if (is_new) f->api.endpoints[f->api.n_endpoints++].api = &f->routes[i];
    }
    assert_int_equal(api_compile(&f->api, NULL), ERR_NONE);
}

static void end(struct fixture *f)
{
    free(f->api.endpoints);
    arena_fini(&f->api.arena);
}

static bool fits(str pattern, str path)
{
    while (pattern.len && path.len) {
        str p = str_cut(&pattern, '/'), s = str_cut(&path, '/');
        if (!str_starts(p, S(":")) && !str_eq(p, s)) return false;
    }
    return !pattern.len && !path.len;
}

/* Whether pattern a is more exact than b: fixed where they first differ. Both fit the same path. */
static bool is_better(str a, str b)
{
    while (a.len && b.len) {
        str x = str_cut(&a, '/'), y = str_cut(&b, '/');
        bool x_is_param = str_starts(x, S(":")), y_is_param = str_starts(y, S(":"));
        if (x_is_param != y_is_param) return y_is_param;
    }
    return false;
}

static void the_most_exact_pattern_answers_for_a_path(void **state)
{
    static const char *const words[] = {"a", "b", "c"};
    unsigned seed = 7, n_found = 0, n_known = 0;
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct fixture f;
        fill(&f, &seed);
        for (unsigned i = 0; i < 40; i++) {
            char path[40];
            const char *best = NULL;
            const struct api_route *wanted = NULL;
            str allow = S("");
            enum http_method m = pick(&seed, 2) ? HTTP_POST : HTTP_HEAD;
            random_path(&seed, words, LENGTH_OF(words), path);
            for (unsigned j = 0; j < f.api.n_endpoints; j++) {
                const char *pattern = f.api.endpoints[j].api->path;
                if (fits(str_c(pattern), str_c(path)) && (!best || is_better(str_c(pattern), str_c(best))))
                    best = pattern;
            }
            for (unsigned j = 0; best && j < f.api.n_endpoints; j++) {
                const struct api_route *route = f.api.endpoints[j].api;
                if (!strcmp(route->path, best) &&
                    (route->method == m || (route->method == HTTP_GET && m == HTTP_HEAD)))
                    wanted = route;
            }
            const struct endpoint *found = api_find(&f.api, m, str_c(path), &allow);
            if ((found ? found->api : NULL) != wanted || (allow.len > 0) != (best != NULL))
                fail_msg("%s: %s, not %s", path, found ? found->api->path : "none",
                         wanted ? wanted->path : "none");
            n_found += found != NULL;
            n_known += best != NULL;
        }
        end(&f);
    }
    assert_in_range(n_found, 1000, n_known - 1);
}

static void a_path_that_is_odd_is_no_path(void **state)
{
    static const char *const odd[] = {"",       "a",     "/",     "//",
                                      "/a/",    "/a//b", "//a",   "/a/b/",
                                      "/a/b/c", "/A/b",  "/a/b ", "/1/2/3/4/5/6/7/8/9/10/11/12/13"};
    struct fixture f = {.routes = {{.method = HTTP_GET, .path = "/a/b", .name = "ab"}}};
    str allow = S("");
    (void)state;
    arena_init(&f.api.arena, 1 << 16, 0);
    f.api.endpoints = calloc(1, sizeof *f.api.endpoints);
    f.api.endpoints[f.api.n_endpoints++].api = &f.routes[0];
    assert_int_equal(api_compile(&f.api, NULL), ERR_NONE);
    assert_non_null(api_find(&f.api, HTTP_GET, S("/a/b"), &allow));
    assert_true(str_eq(allow, S("GET, HEAD")));
    for (size_t i = 0; i < LENGTH_OF(odd); i++)
        if (api_find(&f.api, HTTP_GET, str_c(odd[i]), &allow)) fail_msg("'%s' is found", odd[i]);
    end(&f);
}

static void parameters_are_decoded_one_by_one(void **state)
{
    struct fixture f = {.routes = {{.method = HTTP_GET, .path = "/a/:x/b/:y", .name = "n"}}};
    struct api_request r = {0};
    struct arena a;
    (void)state;
    arena_init(&f.api.arena, 1 << 16, 0);
    arena_init(&a, 1 << 16, 0);
    f.api.endpoints = calloc(1, sizeof *f.api.endpoints);
    f.api.endpoints[f.api.n_endpoints++].api = &f.routes[0];
    assert_int_equal(api_compile(&f.api, NULL), ERR_NONE);
    const struct endpoint *ep = &f.api.endpoints[0];
    assert_true(api_path_params(&a, ep, S("/a/x%2Fy%20+/b/0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55"), &r));
    assert_true(str_eq(r.path_text[0], S("x/y +")));
    assert_true(uuid_is_nil(&r.path_id[0]));
    assert_false(uuid_is_nil(&r.path_id[1]));
    assert_false(api_path_params(&a, ep, S("/a/%zz/b/c"), &r));
    assert_false(api_path_params(&a, ep, S("/a/%ff/b/c"), &r));
    assert_false(api_path_params(&a, ep, S("/a/%00/b/c"), &r));
    arena_fini(&a);
    end(&f);
}

/* --- rates --- */

static void a_minutes_allowance_may_be_used_at_once_and_comes_back_evenly(void **state)
{
    struct rate_table *t;
    struct rate_answer answer;
    usec now = 1000LL * USEC_PER_S;
    (void)state;
    assert_int_equal(rate_new(&t, 60, NULL), ERR_NONE);
    for (unsigned i = 0; i < 60; i++) {
        answer = rate_take(t, S("k"), now);
        assert_true(answer.is_allowed);
        assert_int_equal(answer.left, 59 - i);
    }
    assert_int_equal(answer.wait_s, 60);
    answer = rate_take(t, S("k"), now);
    assert_false(answer.is_allowed);
    assert_int_equal(answer.left, 0);
    assert_int_equal(answer.wait_s, 1);
    assert_true(rate_take(t, S("another"), now).is_allowed);
    assert_false(rate_take(t, S("k"), now + USEC_PER_S - 1).is_allowed);
    assert_true(rate_take(t, S("k"), now + USEC_PER_S).is_allowed);
    assert_false(rate_take(t, S("k"), now + USEC_PER_S).is_allowed);
    answer = rate_take(t, S("k"), now + 3600LL * USEC_PER_S);
    assert_int_equal(answer.left, 59);
    rate_free(t);
}

static void no_rate_allows_everything(void **state)
{
    struct rate_table *t;
    (void)state;
    assert_int_equal(rate_new(&t, 0, NULL), ERR_NONE);
    for (unsigned i = 0; i < 1000; i++)
        assert_true(rate_take(t, S("k"), 1).is_allowed);
    rate_free(t);
}

static void many_keys_fit_into_fixed_memory_and_who_is_limited_stays_so(void **state)
{
    struct rate_table *t;
    char key[32];
    usec now = 1000LL * USEC_PER_S;
    (void)state;
    assert_int_equal(rate_new(&t, 10, NULL), ERR_NONE);
    for (unsigned i = 0; i < 10; i++)
        assert_true(rate_take(t, S("greedy"), now).is_allowed);
    for (unsigned i = 0; i < 200000; i++) {
        int n = snprintf(key, sizeof key, "key %u", i);
        assert_true(rate_take(t, str_of(key, (size_t)n), now).is_allowed);
    }
    assert_false(rate_take(t, S("greedy"), now).is_allowed);
    rate_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_exact_pattern_answers_for_a_path),
        cmocka_unit_test(a_path_that_is_odd_is_no_path),
        cmocka_unit_test(parameters_are_decoded_one_by_one),
        cmocka_unit_test(a_minutes_allowance_may_be_used_at_once_and_comes_back_evenly),
        cmocka_unit_test(no_rate_allows_everything),
        cmocka_unit_test(many_keys_fit_into_fixed_memory_and_who_is_limited_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
