/* Edits: what is changed is right, and every other byte stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_random.h"
#include "oracle.h"
#include "json/edit.h"

struct fixture {
    struct arena a;
    struct json_edit ed;
    struct json_query q;
    struct json_path paths[8];
    struct json_value hits[8];
    struct json_value root;
    unsigned n;
};

/* Scans text for the space-separated paths and starts an edit of it. */
static void begin(struct fixture *f, const char *text, const char *paths)
{
    memset(f, 0, sizeof *f);
    arena_init(&f->a, 1 << 20, 0);
    str rest = str_c(paths);
    while (rest.len)
        f->paths[f->n++].path = str_cut(&rest, ' ');
    assert_int_equal(json_query_init(&f->q, f->paths, f->n, NULL), ERR_NONE);
    assert_int_equal(json_find(str_c(text), &f->q, f->hits, &f->root, NULL), ERR_NONE);
    json_edit_init(&f->ed, str_c(text));
}

/* Checks the result, in all three of its forms, and ends the fixture. */
static void assert_result(struct fixture *f, const char *want)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    json_edit_write(&f->ed, &b);
    assert_int_equal(buf_err(&b), ERR_NONE);
    if (!str_eq(buf_str(&b), str_c(want))) fail_msg("%.*s instead of %s", STR(buf_str(&b)), want);
    assert_int_equal(json_edit_len(&f->ed), b.len);
    str parts[2 * JSON_EDITS_MAX + 1];
    size_t at = 0;
    const unsigned n = json_edit_slices(&f->ed, parts);
    assert_true(n <= LENGTH_OF(parts));
    for (unsigned i = 0; i < n; i++) {
        assert_true(parts[i].len > 0);
        assert_true(str_starts(str_skip(buf_str(&b), at), parts[i]));
        at += parts[i].len;
    }
    assert_int_equal(at, b.len);
    buf_fini(&b);
    arena_fini(&f->a);
}

static void add(struct fixture *f, const struct json_value *object, const char *name, const char *raw)
{
    assert_int_equal(json_edit_add(&f->ed, &f->a, object, str_c(name), str_c(raw), NULL), ERR_NONE);
}

static void replace(struct fixture *f, unsigned hit, const char *raw)
{
    assert_int_equal(json_edit_replace(&f->ed, &f->hits[hit], str_c(raw), NULL), ERR_NONE);
}

static void take_out(struct fixture *f, const struct json_value *object, unsigned hit)
{
    err e = {0};
    if (json_edit_remove(&f->ed, object, &f->hits[hit], &e)) fail_msg("%s", e.msg);
}

static void no_edits_give_the_text_itself(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, " {\"a\" : 1} ", "a");
    str parts[2 * JSON_EDITS_MAX + 1];
    assert_int_equal(json_edit_slices(&f.ed, parts), 1);
    assert_ptr_equal(parts[0].p, f.ed.text.p);
    assert_result(&f, " {\"a\" : 1} ");
}

static void a_value_is_replaced_in_place(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "{ \"model\" : \"x\" ,\"n\":[1, 2] }", "model n");
    replace(&f, 1, "{}");
    replace(&f, 0, "\"gpt-4o\"");
    assert_result(&f, "{ \"model\" : \"gpt-4o\" ,\"n\":{} }");
    begin(&f, " [1] ", "a");
    assert_int_equal(json_edit_replace(&f.ed, &f.root, S("2"), NULL), ERR_NONE);
    assert_result(&f, " 2 ");
}

static void a_member_is_added_in_front(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, " { \"a\":1}", "a");
    add(&f, &f.root, "b", "2");
    add(&f, &f.root, "\"c\n", "[3]");
    assert_result(&f, " {\"\\\"c\\n\":[3],\"b\":2, \"a\":1}");
    begin(&f, "{\"o\":{}, \"p\":{ \n}}", "o p");
    add(&f, &f.hits[0], "x", "true");
    add(&f, &f.hits[1], "x", "1");
    add(&f, &f.hits[1], "y", "2");
    assert_result(&f, "{\"o\":{\"x\":true}, \"p\":{\"y\":2,\"x\":1 \n}}");
    begin(&f, "{}", "a");
    add(&f, &f.root, "", "{}");
    assert_result(&f, "{\"\":{}}");
}

static void a_member_is_removed_with_one_comma(void **state)
{
    (void)state;
    struct fixture f;
    const char *text = "{ \"a\" : 1 , \"b\":{\"x\":[]}, \"c\" : \"z\" }";
    begin(&f, text, "a b c b.x");
    take_out(&f, &f.root, 0);
    assert_result(&f, "{  \"b\":{\"x\":[]}, \"c\" : \"z\" }");
    begin(&f, text, "a b c b.x");
    take_out(&f, &f.root, 1);
    assert_result(&f, "{ \"a\" : 1 ,  \"c\" : \"z\" }");
    begin(&f, text, "a b c b.x");
    take_out(&f, &f.root, 2);
    assert_result(&f, "{ \"a\" : 1 , \"b\":{\"x\":[]} }");
    begin(&f, text, "a b c b.x");
    take_out(&f, &f.hits[1], 3);
    assert_result(&f, "{ \"a\" : 1 , \"b\":{}, \"c\" : \"z\" }");
    begin(&f, "{\"\\\"{,\\\\\":0,\"a\\\\\":1}", "a\\ b");
    take_out(&f, &f.root, 0);
    assert_result(&f, "{\"\\\"{,\\\\\":0}");
    begin(&f, "{\"x\\\"y\\\\\\\"\":1, \"z\":2}", "x\"y\\\" z");
    take_out(&f, &f.root, 0);
    assert_result(&f, "{ \"z\":2}");
}

static void members_may_go_in_any_order_and_leave_a_sound_object(void **state)
{
    (void)state;
    static const char *const left[16] = {/* by the bits of what was removed: a = 1, b = 2, c = 4, d = 8 */
                                         "{\"a\":0,\"b\":1,\"c\":2,\"d\":3}",
                                         "{\"b\":1,\"c\":2,\"d\":3}",
                                         "{\"a\":0,\"c\":2,\"d\":3}",
                                         "{\"c\":2,\"d\":3}",
                                         "{\"a\":0,\"b\":1,\"d\":3}",
                                         "{\"b\":1,\"d\":3}",
                                         "{\"a\":0,\"d\":3}",
                                         "{\"d\":3}",
                                         "{\"a\":0,\"b\":1,\"c\":2}",
                                         "{\"b\":1,\"c\":2}",
                                         "{\"a\":0,\"c\":2}",
                                         "{\"c\":2}",
                                         "{\"a\":0,\"b\":1}",
                                         "{\"b\":1}",
                                         "{\"a\":0}",
                                         "{}"};
    for (unsigned order = 0; order < 256; order++) { /* two bits a step */
        unsigned gone = 0;
        for (unsigned steps = 0; steps <= 4; steps++) {
            struct fixture f;
            bool is_order = true;
            gone = 0;
            begin(&f, left[0], "a b c d");
            for (unsigned k = 0; k < steps && is_order; k++) {
                const unsigned i = order >> (2 * k) & 3;
                is_order = !(gone & 1u << i);
                if (is_order) take_out(&f, &f.root, i);
                gone |= 1u << i;
            }
            if (!is_order) {
                arena_fini(&f.a);
                break;
            }
            assert_result(&f, left[gone]);
        }
    }
}

static void adding_and_removing_in_one_object_fit_together(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "{\"a\":1,\"b\":2}", "a b");
    add(&f, &f.root, "n", "0");
    take_out(&f, &f.root, 0);
    take_out(&f, &f.root, 1);
    assert_result(&f, "{\"n\":0}");
    begin(&f, "{ \"a\":1, \"b\":2 }", "a b");
    take_out(&f, &f.root, 1);
    take_out(&f, &f.root, 0);
    add(&f, &f.root, "n", "0");
    add(&f, &f.root, "m", "1");
    assert_result(&f, "{\"m\":1,\"n\":0  }");
    begin(&f, "{\"a\":1,\"b\":2}", "a b");
    take_out(&f, &f.root, 0);
    add(&f, &f.root, "n", "0");
    replace(&f, 1, "3");
    assert_result(&f, "{\"n\":0,\"b\":3}");
    begin(&f, "{\"a\":1}", "a");
    add(&f, &f.root, "n", "0");
    add(&f, &f.root, "m", "0");
    take_out(&f, &f.root, 0);
    add(&f, &f.root, "l", "0");
    assert_result(&f, "{\"l\":0,\"m\":0,\"n\":0}");
}

static void overlapping_edits_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "{\"o\":{\"a\":1,\"b\":2},\"p\":[3]}", "o o.a o.b p p[]");
    replace(&f, 1, "9");
    take_out(&f, &f.hits[0], 2);
    err e = {0};
    assert_int_equal(json_edit_replace(&f.ed, &f.hits[0], S("1"), &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "overlap"));
    assert_int_equal(json_edit_remove(&f.ed, &f.root, &f.hits[0], NULL), ERR_INVALID);
    assert_int_equal(json_edit_replace(&f.ed, &f.hits[1], S("1"), NULL), ERR_INVALID);
    assert_int_equal(json_edit_replace(&f.ed, &f.hits[2], S("1"), NULL), ERR_INVALID);
    assert_int_equal(json_edit_remove(&f.ed, &f.hits[0], &f.hits[1], NULL), ERR_INVALID);
    assert_int_equal(json_edit_remove(&f.ed, &f.hits[0], &f.hits[2], NULL), ERR_INVALID);
    /* not a member: an element, a grandchild, the object itself, a value of another text, nothing */
    assert_int_equal(json_edit_remove(&f.ed, &f.hits[3], &f.hits[4], NULL), ERR_INVALID);
    assert_int_equal(json_edit_remove(&f.ed, &f.root, &f.hits[4], NULL), ERR_INVALID);
    assert_int_equal(json_edit_remove(&f.ed, &f.root, &f.hits[1], NULL), ERR_INVALID);
    assert_int_equal(json_edit_remove(&f.ed, &f.root, &f.root, NULL), ERR_INVALID);
    const str other = S("{\"o\":{\"a\":1,\"b\":2},\"p\":[3]}  ");
    struct json_value stranger = f.hits[3];
    stranger.raw.p = other.p + stranger.offset;
    assert_int_equal(json_edit_replace(&f.ed, &stranger, S("1"), NULL), ERR_INVALID);
    assert_int_equal(json_edit_replace(&f.ed, &(struct json_value){0}, S("1"), NULL), ERR_INVALID);
    assert_int_equal(json_edit_replace(&f.ed, &f.hits[3], S(""), NULL), ERR_INVALID);
    assert_int_equal(json_edit_add(&f.ed, &f.a, &f.hits[3], S("x"), S("1"), NULL), ERR_INVALID);
    assert_int_equal(json_edit_add(&f.ed, &f.a, &f.root, S("x"), S(""), NULL), ERR_INVALID);
    assert_result(&f, "{\"o\":{\"a\":9},\"p\":[3]}");

    begin(&f, "{\"o\":{}}", "o");
    add(&f, &f.hits[0], "x", "1");
    assert_int_equal(json_edit_remove(&f.ed, &f.root, &f.hits[0], NULL), ERR_INVALID);
    arena_fini(&f.a);
}

static void the_number_of_edits_and_the_arena_are_limited(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, "{}", "a");
    for (int i = 0; i < JSON_EDITS_MAX; i++)
        add(&f, &f.root, "x", "1");
    assert_int_equal(json_edit_add(&f.ed, &f.a, &f.root, S("x"), S("1"), NULL), ERR_TOO_LARGE);
    assert_int_equal(f.ed.n, JSON_EDITS_MAX);
    arena_fini(&f.a);

    begin(&f, "{}", "a");
    struct arena small;
    arena_init(&small, 64, 64);
    char raw[200];
    memset(raw, '1', sizeof raw);
    assert_int_equal(json_edit_add(&f.ed, &small, &f.root, S("x"), str_of(raw, sizeof raw), NULL),
                     ERR_TOO_LARGE);
    arena_fini(&small);
    assert_result(&f, "{}");
}

/* --- random edits of random documents, done to a jansson document as well --- */

#define TARGETS 30

struct target {
    struct json_value *parent, *value;
    char outer, inner; /* names on the way; inner 0 for members of the root */
    bool is_gone;
};

/* Bytes that an edit of the value may touch: from its name (or itself) to its end. */
static void mark_range(bool *may_go, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        may_go[i] = true;
}

static size_t member_start(str text, size_t value_at)
{
    size_t at = value_at;
    unsigned quotes = 0;
    while (quotes < 2)
        quotes += text.p[--at] == '"'; /* the names here contain no quotes */
    return at;
}

static bool ranges_meet(const struct json_value *a, const struct json_value *b)
{
    return a->offset < b->offset + b->raw.len && b->offset < a->offset + a->raw.len;
}

static void check_kept_bytes(const struct json_edit *ed, const bool *may_go, unsigned n_removed)
{
    str parts[2 * JSON_EDITS_MAX + 1];
    const unsigned n = json_edit_slices(ed, parts);
    size_t at = 0;
    unsigned n_commas = 0;
    for (unsigned i = 0; i <= n; i++) {
        size_t next = ed->text.len;
        if (i < n) {
            if (parts[i].p < ed->text.p || parts[i].p >= ed->text.p + ed->text.len) continue;
            next = (size_t)(parts[i].p - ed->text.p);
        }
        assert_true(next >= at);
        for (; at < next; at++) {
            if (may_go[at]) continue;
            n_commas += ed->text.p[at] == ',';
            assert_true(n_removed > 0 && strchr(", \t\r\n", ed->text.p[at]));
        }
        if (i < n) at += parts[i].len;
    }
    assert_true(n_commas <= n_removed);
}

static void random_edits_give_what_jansson_gives_and_keep_all_other_bytes(void **state)
{
    (void)state;
    char names[TARGETS][4];
    struct json_path paths[TARGETS];
    unsigned n_paths = 0;
    for (char outer = 'a'; outer < 'f'; outer++) {
        for (char inner = 'a' - 1; inner < 'f'; inner++) {
            const int len = inner < 'a' ? snprintf(names[n_paths], 4, "%c", outer)
                                        : snprintf(names[n_paths], 4, "%c.%c", outer, inner);
            paths[n_paths] = (struct json_path){str_of(names[n_paths], (size_t)len), false};
            n_paths++;
        }
    }
    assert_int_equal(n_paths, TARGETS);
    struct json_query q;
    assert_int_equal(json_query_init(&q, paths, n_paths, NULL), ERR_NONE);

    struct rng r = {4711};
    struct buf made, out;
    buf_init(&made, 1 << 20);
    buf_init(&out, 1 << 20);
    struct arena a;
    arena_init(&a, 16 << 20, 0);
    unsigned n_done = 0;
    for (int round = 0; round < 12000; round++) {
        const struct arena_mark mark = arena_mark(&a);
        const str text = random_document(&r, &made, true);
        struct json_value hits[TARGETS], root;
        assert_int_equal(json_find(text, &q, hits, &root, NULL), ERR_NONE);
        if (root.type != JSON_OBJECT) continue;
        json_t *doc = oracle_load(text, JSON_REJECT_DUPLICATES, NULL);
        if (!doc) continue; /* a number too large for jansson */
        struct target targets[TARGETS];
        for (unsigned i = 0; i < TARGETS; i++)
            targets[i] = (struct target){i % 6 ? &hits[i - i % 6] : &root, &hits[i], names[i][0],
                                         i % 6 ? names[i][2] : 0, false};
        struct json_edit ed;
        json_edit_init(&ed, text);
        bool *may_go = arena_array(&a, text.len, sizeof *may_go);
        assert_non_null(may_go);
        const struct json_value *touched[64];
        unsigned n_touched = 0, n_removed = 0, n_new = 0;
        for (unsigned k = 0; k < 40 && ed.n < 8; k++) {
            const unsigned i = rng_below(&r, TARGETS);
            struct target *t = &targets[i];
            if (t->value->type == JSON_NONE) continue;
            const char outer[2] = {t->outer, 0}, inner[2] = {t->inner, 0};
            json_t *parent = t->inner ? json_object_get(doc, outer) : doc;
            const char *name = t->inner ? inner : outer;
            bool meets = false;
            for (unsigned j = 0; j < n_touched; j++)
                meets |= ranges_meet(touched[j], t->value);
            const unsigned kind = rng_below(&r, 3);
            err e = {0};
            enum errc code;
            if (kind == 0) {
                code = json_edit_replace(&ed, t->value, S("{\"new\": 1}"), &e);
                if (!code) {
                    assert_int_equal(json_object_set_new(parent, name, json_pack("{s:i}", "new", 1)), 0);
                    mark_range(may_go, t->value->offset, t->value->offset + t->value->raw.len);
                }
            } else if (kind == 1) {
                code = json_edit_remove(&ed, t->parent, t->value, &e);
                if (!code) {
                    assert_int_equal(json_object_del(parent, name), 0);
                    mark_range(may_go, member_start(text, t->value->offset),
                               t->value->offset + t->value->raw.len);
                    n_removed++;
                }
            } else {
                const struct json_value *object =
                    t->value->type == JSON_OBJECT && rng_one_in(&r, 2) ? t->value : &root;
                if (object != &root && meets) continue;
                char fresh[16];
                snprintf(fresh, sizeof fresh, "new%u", n_new++);
                code = json_edit_add(&ed, &a, object, str_c(fresh), S("[null]"), &e);
                if (code) fail_msg("%s: %.*s", e.msg, STR(text));
                json_t *into = object == &root ? doc : json_object_get(parent, name);
                assert_int_equal(json_object_set_new(into, fresh, json_pack("[n]")), 0);
                if (object != &root) touched[n_touched++] = object; /* it can be replaced no more */
                n_done++;
                continue;
            }
            if (code && !meets) fail_msg("%s: %.*s", e.msg, STR(text));
            if (!code) {
                touched[n_touched++] = t->value;
                n_done++;
            }
        }
        buf_clear(&out);
        json_edit_write(&ed, &out);
        assert_int_equal(out.len, json_edit_len(&ed));
        json_t *changed = oracle_load(buf_str(&out), JSON_REJECT_DUPLICATES, NULL);
        if (!changed || !json_equal(changed, doc))
            fail_msg("%.*s became %.*s", STR(text), STR(buf_str(&out)));
        check_kept_bytes(&ed, may_go, n_removed);
        json_decref(changed);
        json_decref(doc);
        arena_reset(&a, mark);
    }
    assert_true(n_done > 5000);
    arena_fini(&a);
    buf_fini(&made);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_edits_give_the_text_itself),
        cmocka_unit_test(a_value_is_replaced_in_place),
        cmocka_unit_test(a_member_is_added_in_front),
        cmocka_unit_test(a_member_is_removed_with_one_comma),
        cmocka_unit_test(members_may_go_in_any_order_and_leave_a_sound_object),
        cmocka_unit_test(adding_and_removing_in_one_object_fit_together),
        cmocka_unit_test(overlapping_edits_are_refused_and_change_nothing),
        cmocka_unit_test(the_number_of_edits_and_the_arena_are_limited),
        cmocka_unit_test(random_edits_give_what_jansson_gives_and_keep_all_other_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
