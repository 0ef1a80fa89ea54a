/* A reload takes all or nothing, and a generation lives as long as somebody holds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "core/reload.h"

static const struct option rows[] = {
    {.key = "a",
     .type = OPTION_INT,
     .change = OPTION_SETTABLE,
     .fallback = "1",
     .min = 0,
     .max = 9,
     .meaning = "A."},
    {.key = "b", .type = OPTION_TEXT, .fallback = "x", .meaning = "B."},
};
static const struct option_table table = {rows, LENGTH_OF(rows)};
static const struct option_table *const tables[] = {&table};

struct room {
    char name;
    bool refuses;
    int64_t value;
};

struct state {
    char file[64];
    struct reload *reload;
    struct room rooms[2];
    char story[256]; /* what was called, in order */
    const struct config_setting *settings;
    unsigned n_settings;
    struct buf problems;
    err e;
};

static struct state *now;

static void note(const char *what, char room)
{
    size_t n = strlen(now->story);
    snprintf(now->story + n, sizeof now->story - n, "%s%c ", what, room);
}

static enum errc prepare(void *ctx, struct generation *next, void **prepared, struct buf *problems, err *e)
{
    struct room *room = ctx;
    note("prepare-", room->name);
    if (room->refuses) {
        buf_add(problems, S("it does not suit me\n"));
        return err_set(e, ERR_CONFIG, "room %c refuses", room->name);
    }
    *prepared = generation_hold(next);
    return ERR_NONE;
}

static void commit(void *ctx, void *prepared)
{
    struct room *room = ctx;
    note("commit-", room->name);
    room->value = config_int(generation_config(prepared), "a");
    generation_let_go(prepared);
}

static void discard(void *ctx, void *prepared)
{
    note("discard-", ((struct room *)ctx)->name);
    generation_let_go(prepared);
}

static enum errc settings(void *ctx, struct arena *a, struct config_setting **out, unsigned *n, err *e)
{
    const struct state *s = ctx;
    *n = s->n_settings;
    *out = arena_news(a, struct config_setting, s->n_settings);
    for (unsigned i = 0; *out && i < *n; i++)
        (*out)[i] = s->settings[i];
    return *out ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

static void write_file(struct state *s, const char *text)
{
    FILE *f = fopen(s->file, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    now = s;
    snprintf(s->file, sizeof s->file, "/tmp/catalyst_reload_XXXXXX");
    close(mkstemp(s->file));
    buf_init(&s->problems, 1 << 16);
    log_set_level(LOG_OFF);
    struct config_source layers = {.file = s->file, .tables = tables, .n_tables = 1};
    assert_int_equal(reload_new(&s->reload, &layers, &s->problems, &s->e), ERR_NONE);
    for (unsigned i = 0; i < 2; i++) {
        s->rooms[i].name = (char)('0' + i);
        reload_follow(s->reload, &(struct config_follower){"room", prepare, commit, discard, &s->rooms[i]});
    }
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    reload_free(s->reload);
    buf_fini(&s->problems);
    unlink(s->file);
    free(s);
    return 0;
}

static int64_t current(struct state *s)
{
    struct generation *g = reload_current(s->reload);
    int64_t v = config_int(generation_config(g), "a");
    generation_let_go(g);
    return v;
}

static void all_prepare_before_any_commits(void **state)
{
    struct state *s = *state;
    write_file(s, "a: 5\nb: y\n");
    assert_int_equal(current(s), 1);
    assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_NONE);
    assert_string_equal(s->story, "prepare-0 prepare-1 commit-0 commit-1 ");
    assert_int_equal(s->rooms[0].value, 5);
    assert_int_equal(s->rooms[1].value, 5);
    assert_int_equal(current(s), 5);
}

static void one_refusal_takes_everything_back(void **state)
{
    struct state *s = *state;
    write_file(s, "a: 5\n");
    s->rooms[1].refuses = true;
    assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_CONFIG);
    assert_string_equal(s->story, "prepare-0 prepare-1 discard-0 ");
    assert_int_equal(s->rooms[0].value, 0);
    assert_int_equal(current(s), 1);
}

static void a_file_that_is_wrong_reaches_no_room(void **state)
{
    struct state *s = *state;
    write_file(s, "a: 50\n");
    assert_int_equal(reload_now(s->reload, S("test"), NULL), ERR_CONFIG);
    assert_string_equal(s->story, "");
    assert_int_equal(current(s), 1);
}

static void settings_are_tried_without_being_taken(void **state)
{
    struct state *s = *state;
    static const struct config_setting wanted[] = {{.key = STR_LIT("a"), .value = STR_LIT("7")}};
    assert_int_equal(reload_try(s->reload, wanted, 1, &s->e), ERR_NONE);
    assert_string_equal(s->story, "prepare-0 prepare-1 discard-0 discard-1 ");
    assert_int_equal(current(s), 1);
    s->rooms[0].refuses = true;
    assert_int_equal(reload_try(s->reload, wanted, 1, &s->e), ERR_INVALID);
    assert_string_equal(s->e.msg, "it does not suit me");
}

static void the_database_is_a_layer_from_when_it_is_open(void **state)
{
    struct state *s = *state;
    static const struct config_setting in_database[] = {{.key = STR_LIT("a"), .value = STR_LIT("3")}};
    s->settings = in_database;
    s->n_settings = 1;
    assert_int_equal(reload_database(s->reload, settings, s, &s->problems, &s->e), ERR_NONE);
    assert_int_equal(current(s), 3);
    write_file(s, "a: 4\n");
    assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_NONE);
    assert_int_equal(current(s), 4);
    write_file(s, "");
    assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_NONE);
    assert_int_equal(s->rooms[0].value, 3);
}

static void a_generation_that_is_held_outlives_reloads(void **state)
{
    struct state *s = *state;
    struct generation *first = reload_current(s->reload);
    for (int i = 2; i < 6; i++) {
        char text[16];
        snprintf(text, sizeof text, "a: %d\n", i);
        write_file(s, text);
        struct generation *held = reload_current(s->reload);
        assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_NONE);
        assert_int_equal(config_int(generation_config(held), "a"), i - 1);
        generation_let_go(held);
    }
    assert_int_equal(config_int(generation_config(first), "a"), 1);
    generation_let_go(first);
}

static void a_closed_reload_does_nothing_more(void **state)
{
    struct state *s = *state;
    write_file(s, "a: 5\n");
    reload_close(s->reload);
    assert_int_equal(reload_now(s->reload, S("test"), &s->e), ERR_UNAVAILABLE);
    assert_string_equal(s->story, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(all_prepare_before_any_commits),
        T(one_refusal_takes_everything_back),
        T(a_file_that_is_wrong_reaches_no_room),
        T(settings_are_tried_without_being_taken),
        T(the_database_is_a_layer_from_when_it_is_open),
        T(a_generation_that_is_held_outlives_reloads),
        T(a_closed_reload_does_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
