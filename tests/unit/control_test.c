/* The control socket: commands, errors, who may ask, what is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the ones above */
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "core/control.h"

static enum errc echo(void *ctx, struct arena *a, const struct json *request, struct json_writer *result,
                      err *e)
{
    (void)a;
    (void)e;
    json_object(result);
    json_put_str(result, "said", json_get(request, S("word"))->text);
    json_put_str(result, "by", str_c(ctx));
    json_end(result);
    return ERR_NONE;
}

static enum errc refuse(void *ctx, struct arena *a, const struct json *request, struct json_writer *result,
                        err *e)
{
    (void)ctx;
    (void)a;
    (void)request;
    json_object(result); /* what was written before the failure is not shown */
    return err_set(e, ERR_CONFLICT, "it has been done already");
}

static const struct control_command commands[] = {{"echo", echo, "server"}, {"refuse", refuse, NULL}};

struct place {
    char dir[200], socket[256];
    struct arena arena;
    struct control *control;
};

/* A folder whose path is too long for a socket address. */
static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    char base[] = "/tmp/catalyst_control_XXXXXX";
    err e = {0};
    if (!p || !mkdtemp(base)) return -1;
    snprintf(p->dir, sizeof p->dir, "%s/%0120d", base, 0);
    snprintf(p->socket, sizeof p->socket, "%s/control.sock", p->dir);
    arena_init(&p->arena, 1 << 20, 0);
    *state = p;
    return mkdir(p->dir, 0755) != 0 ||
           control_start(&p->control, p->dir, commands, LENGTH_OF(commands), &e) != ERR_NONE;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    control_stop(p->control);
    rmdir(p->dir);
    *strrchr(p->dir, '/') = '\0';
    rmdir(p->dir);
    arena_fini(&p->arena);
    free(p);
    return 0;
}

static void a_command_answers_with_its_result(void **state)
{
    struct place *p = *state;
    const struct json *result = NULL;
    bool is_running = false;
    err e = {0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(control_call(&p->arena, p->dir, S("{\"command\":\"echo\",\"word\":\"h\\u00e9\"}"),
                                      &is_running, &result, &e),
                         ERR_NONE);
        assert_true(is_running);
        assert_true(str_eq(json_get(result, S("said"))->text, S("h\xc3\xa9")));
        assert_true(str_eq(json_get(result, S("by"))->text, S("server")));
    }
}

static void errors_arrive_as_they_happened(void **state)
{
    struct place *p = *state;
    const struct json *result = NULL;
    bool is_running = false;
    err e = {0};
    assert_int_equal(control_call(&p->arena, p->dir, S("{\"command\":\"refuse\"}"), &is_running, &result, &e),
                     ERR_CONFLICT);
    assert_string_equal(e.msg, "it has been done already");
    assert_int_equal(control_call(&p->arena, p->dir, S("{\"command\":\"other\"}"), &is_running, &result, &e),
                     ERR_INVALID);
    assert_int_equal(control_call(&p->arena, p->dir, S("{"), &is_running, &result, &e), ERR_SYNTAX);
    assert_int_equal(control_call(&p->arena, p->dir, S(""), &is_running, &result, &e), ERR_SYNTAX);
}

static void the_socket_is_for_its_owner_only(void **state)
{
    struct place *p = *state;
    struct stat st;
    assert_int_equal(stat(p->socket, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void without_a_server_nobody_answers(void **state)
{
    struct place *p = *state;
    const struct json *result = NULL;
    bool is_running = true;
    err e = {0};
    control_stop(p->control);
    p->control = NULL;
    assert_int_equal(access(p->socket, F_OK), -1);
    assert_int_equal(control_call(&p->arena, p->dir, S("{}"), &is_running, &result, &e), ERR_NONE);
    assert_false(is_running);
    assert_int_equal(
        control_call(&p->arena, "/tmp/there/is/no/such/folder", S("{}"), &is_running, &result, &e), ERR_NONE);
    assert_false(is_running);
}

static void a_socket_left_by_a_crash_is_replaced(void **state)
{
    struct place *p = *state;
    struct control *second = NULL;
    const struct json *result = NULL;
    bool is_running = false;
    err e = {0};
    assert_int_equal(control_start(&second, p->dir, commands, LENGTH_OF(commands), &e), ERR_NONE);
    assert_int_equal(
        control_call(&p->arena, p->dir, S("{\"command\":\"echo\",\"word\":\"x\"}"), &is_running, &result, &e),
        ERR_NONE);
    assert_true(is_running);
    control_stop(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_answers_with_its_result, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_arrive_as_they_happened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_socket_is_for_its_owner_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_server_nobody_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_socket_left_by_a_crash_is_replaced, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
