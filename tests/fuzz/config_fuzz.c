/* Any bytes as a configuration file, with variables, flags and settings (@) behind a line "%%": it loads or says why, and
 * what loads can be shown in all forms. Shown as JSON it is JSON; shown as YAML and loaded again it has the
 * same values. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/config.h"

#define CHECK(claim) ((claim) ? (void)0 : abort())
#define SETTINGS_MAX 16

static const struct option rows[] = {
    {.key = "listen.address", .type = OPTION_TEXT, .fallback = "127.0.0.1:8080", .meaning = ""},
    {.key = "listen.is_open",
     .type = OPTION_BOOL,
     .fallback = "false",
     .change = OPTION_SETTABLE,
     .meaning = ""},
    {.key = "loops", .type = OPTION_INT, .fallback = "0", .min = -4, .max = 256, .meaning = ""},
    {.key = "level",
     .type = OPTION_ONE_OF,
     .fallback = "info",
     .choices = "debug|info|warn",
     .change = OPTION_SETTABLE,
     .meaning = ""},
    {.key = "limits.bytes",
     .type = OPTION_BYTES,
     .fallback = "16KiB",
     .min = 0,
     .change = OPTION_SETTABLE,
     .meaning = ""},
    {.key = "limits.ms", .type = OPTION_MS, .fallback = "10s", .min = 1, .max = 86400000, .meaning = ""},
    {.key = "texts",
     .type = OPTION_TEXT_LIST,
     .fallback = "[a, b]",
     .change = OPTION_SETTABLE,
     .meaning = ""},
    {.key = "list[].name", .type = OPTION_TEXT, .is_required = true, .meaning = ""},
    {.key = "list[].texts", .type = OPTION_TEXT_LIST, .choices = "a|b", .meaning = ""},
    {.key = "list[].secret", .type = OPTION_SECRET, .meaning = ""},
    {.key = "list[].tree", .type = OPTION_TREE, .meaning = ""},
    {.key = "list[].inner[].ms", .type = OPTION_MS, .fallback = "1s", .min = 1, .meaning = ""},
    {.key = "map.*", .type = OPTION_TEXT, .change = OPTION_SETTABLE, .meaning = ""},
    {.key = "deep.map.*.ms", .type = OPTION_MS, .fallback = "1s", .min = 1, .meaning = ""},
};
static const struct option_table table = {rows, LENGTH_OF(rows)};
static const struct option_table *const tables[] = {&table};

static enum errc load(struct arena *a, str yaml, const char *const *variables,
                      const struct config_setting *flags, unsigned n_flags, unsigned n_settings,
                      struct config **out)
{
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, yaml.len ? yaml.p : "", yaml.len) == (ssize_t)yaml.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct config_source source = {.file = path,
                                   .environ = variables,
                                   .flags = flags,
                                   .n_flags = n_flags,
                                   .database = flags ? flags + SETTINGS_MAX : NULL,
                                   .n_database = n_settings,
                                   .tables = tables,
                                   .n_tables = LENGTH_OF(tables)};
    struct buf problems;
    buf_init(&problems, 4 << 20);
    err e = {0};
    enum errc code = config_load(a, &source, out, &problems, &e);
    CHECK(code == ERR_NONE || (e.code == code && e.msg[0]));
    CHECK(code != ERR_CONFIG || problems.len > 0);
    buf_fini(&problems);
    close(fd);
    return code;
}

static void show(const struct config *c, bool with_origin, bool as_json, struct buf *out)
{
    buf_init(out, 32 << 20);
    config_show(c, with_origin, as_json, out);
    CHECK(buf_err(out) == ERR_NONE);
}

static void check_shown(struct arena *a, const struct config *c)
{
    struct buf yaml, json, text;
    struct json *tree;
    show(c, true, false, &text);
    buf_fini(&text);
    show(c, true, true, &text);
    /* masked names may meet, which a strict reader refuses as duplicates */
    bool is_masked = str_find(buf_str(&text), S("****")) >= 0;
    CHECK(is_masked || json_parse(a, buf_str(&text), &tree, NULL) == ERR_NONE);
    buf_fini(&text);
    show(c, false, false, &yaml);
    show(c, false, true, &json);
    if (!is_masked && yaml.len < 1 << 20) {
        struct config *again = NULL;
        CHECK(load(a, buf_str(&yaml), NULL, NULL, 0, 0, &again) == ERR_NONE);
        show(again, false, true, &text);
        CHECK(str_eq(buf_str(&text), buf_str(&json)));
        buf_fini(&text);
    }
    buf_fini(&yaml);
    buf_fini(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    ptrdiff_t at = str_find(text, S("\n%%\n"));
    str yaml = at < 0 ? text : str_take(text, (size_t)at + 1);
    str rest = at < 0 ? (str){NULL, 0} : str_skip(text, (size_t)at + 4);
    struct arena a;
    arena_init(&a, 32u << 20, 0);
    const char *variables[SETTINGS_MAX + 1] = {NULL};
    struct config_setting flags[2 * SETTINGS_MAX]; /* the second half: of the database */
    unsigned n_variables = 0, n_flags = 0, n_settings = 0;
    for (unsigned i = 0; rest.len && i < SETTINGS_MAX; i++) {
        str line = str_cut(&rest, '\n');
        if (str_starts(line, S("CATALYST"))) {
            variables[n_variables++] = str_to_c(&a, line);
        } else if (str_starts(line, S("@"))) {
            str value = str_skip(line, 1), key = str_cut(&value, '=');
            flags[SETTINGS_MAX + n_settings++] = (struct config_setting){.key = key, .value = value};
        } else {
            str key = str_cut(&line, '=');
            flags[n_flags++] = (struct config_setting){.key = key, .value = line};
        }
    }
    struct config *c = NULL;
    if (load(&a, yaml, variables, flags, n_flags, n_settings, &c) == ERR_NONE) check_shown(&a, c);
    arena_fini(&a);
    return 0;
}
