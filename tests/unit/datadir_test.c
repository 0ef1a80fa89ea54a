/* The data folder: made, locked, versioned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/datadir.h"

struct state {
    char base[40], dir[80], version[100], lock[100];
    err e;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    snprintf(s->base, sizeof s->base, "/tmp/catalyst_datadir_XXXXXX");
    assert_non_null(mkdtemp(s->base));
    snprintf(s->dir, sizeof s->dir, "%s/a/b", s->base);
    snprintf(s->version, sizeof s->version, "%s/VERSION", s->dir);
    snprintf(s->lock, sizeof s->lock, "%s/lock", s->dir);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    char path[100];
    unlink(s->version);
    unlink(s->lock);
    rmdir(s->dir);
    snprintf(path, sizeof path, "%s/a", s->base);
    rmdir(path);
    assert_int_equal(rmdir(s->base), 0); /* nothing else was left behind */
    free(s);
    return 0;
}

static void write_version(struct state *s, const char *text)
{
    FILE *f = fopen(s->version, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void the_folder_is_made_with_its_parents_for_its_owner_only(void **state)
{
    struct state *s = *state;
    struct stat st;
    char text[16] = "";
    int fd = -1;
    assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_NONE);
    assert_int_equal(stat(s->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(s->version, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FILE *f = fopen(s->version, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "1\n");
    close(fd);
    assert_int_equal(datadir_make(s->dir, &s->e), ERR_NONE);
}

static void only_one_server_at_a_time_has_the_folder(void **state)
{
    struct state *s = *state;
    int first = -1, second = -1;
    assert_int_equal(datadir_open(s->dir, &first, &s->e), ERR_NONE);
    assert_int_equal(datadir_open(s->dir, &second, &s->e), ERR_BUSY);
    assert_non_null(strstr(s->e.msg, "in use by another server"));
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(datadir_open(s->dir, &second, &s->e), ERR_NONE);
    assert_true(fcntl(second, F_GETFD) & FD_CLOEXEC);
    close(second);
}

static void a_folder_of_a_newer_release_is_left_alone(void **state)
{
    struct state *s = *state;
    int fd = -1;
    assert_int_equal(datadir_make(s->dir, &s->e), ERR_NONE);
    write_version(s, "2\n");
    assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_CONFIG);
    assert_non_null(strstr(s->e.msg, "newer release (format 2, this one knows 1)"));
    write_version(s, "1\n"); /* the refusal has let the lock go */
    assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_NONE);
    close(fd);
}

static void a_version_that_is_no_number_is_damage(void **state)
{
    static const char *const wrong[] = {"", "\n", "one\n", "-1\n", "1 2\n"};
    struct state *s = *state;
    int fd = -1;
    assert_int_equal(datadir_make(s->dir, &s->e), ERR_NONE);
    for (unsigned i = 0; i < LENGTH_OF(wrong); i++) {
        write_version(s, wrong[i]);
        assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_CORRUPT);
        assert_non_null(strstr(s->e.msg, s->version));
    }
}

static void what_cannot_be_a_folder_is_an_error_that_names_it(void **state)
{
    struct state *s = *state;
    char path[5000];
    int fd = -1;
    assert_int_equal(datadir_open("", &fd, &s->e), ERR_CONFIG);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(datadir_open(path, &fd, &s->e), ERR_CONFIG);
    /* a file stands in the way, at the end of the path and in its middle */
    assert_int_equal(datadir_make(s->dir, &s->e), ERR_NONE);
    write_version(s, "1\n");
    assert_int_equal(datadir_open(s->version, &fd, &s->e), ERR_IO);
    snprintf(path, sizeof path, "%s/below", s->version);
    assert_int_equal(datadir_open(path, &fd, &s->e), ERR_IO);
    assert_non_null(strstr(s->e.msg, s->version));
    /* folders stand where files belong */
    assert_int_equal(mkdir(s->lock, 0700), 0);
    assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_IO);
    assert_non_null(strstr(s->e.msg, s->lock));
    rmdir(s->lock);
    unlink(s->version);
    assert_int_equal(mkdir(s->version, 0700), 0);
    assert_int_equal(datadir_open(s->dir, &fd, &s->e), ERR_CORRUPT);
    rmdir(s->version);
    assert_int_equal(fd, -1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_folder_is_made_with_its_parents_for_its_owner_only),
        T(only_one_server_at_a_time_has_the_folder),
        T(a_folder_of_a_newer_release_is_left_alone),
        T(a_version_that_is_no_number_is_damage),
        T(what_cannot_be_a_folder_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
