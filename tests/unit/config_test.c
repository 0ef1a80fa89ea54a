/* config_test.c - layers, every kind of error, places, masking, and the reference of all keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/config.h"

static const struct option net_rows[] = {
    {.key = "listen.address", .type = OPTION_TEXT, .fallback = "127.0.0.1:8080", .meaning = "Where."},
    {.key = "listen.behind_tls_proxy",
     .type = OPTION_BOOL,
     .fallback = "false",
     .meaning = "TLS ends before."},
    {.key = "tls.cert", .type = OPTION_TEXT, .meaning = "The certificate."},
    {.key = "tls.min_version",
     .type = OPTION_ONE_OF,
     .fallback = "1.3",
     .choices = "1.3|1.2",
     .meaning = "Oldest."},
    {.key = "loops", .type = OPTION_INT, .fallback = "0", .min = 0, .max = 1024, .meaning = "Event loops."},
    {.key = "log.level",
     .type = OPTION_ONE_OF,
     .fallback = "info",
     .choices = "debug|info|warn|error",
     .meaning = "L."},
    {.key = "limits.head_bytes",
     .type = OPTION_BYTES,
     .change = OPTION_SETTABLE,
     .fallback = "16KiB",
     .min = 1024,
     .max = 1 << 20,
     .meaning = "H."},
    {.key = "limits.headers",
     .type = OPTION_INT,
     .change = OPTION_SETTABLE,
     .fallback = "100",
     .min = 1,
     .max = 1000,
     .meaning = "N."},
    {.key = "limits.head_timeout_ms", .type = OPTION_MS, .fallback = "10s", .min = 1, .meaning = "T."},
    {.key = "origins",
     .type = OPTION_TEXT_LIST,
     .change = OPTION_SETTABLE,
     .fallback = "[a, b]",
     .meaning = "A list."},
};
static const struct option gateway_rows[] = {
    {.key = "providers[].name", .type = OPTION_TEXT, .is_required = true, .meaning = "Its name."},
    {.key = "providers[].kind",
     .type = OPTION_ONE_OF,
     .choices = "openai|anthropic|ollama",
     .is_required = true,
     .meaning = "What it is."},
    {.key = "providers[].api_key", .type = OPTION_SECRET, .meaning = "The key."},
    {.key = "providers[].base_url", .type = OPTION_TEXT, .meaning = "The address."},
    {.key = "providers[].models", .type = OPTION_TEXT_LIST, .meaning = "Globs."},
    {.key = "providers[].dialects",
     .type = OPTION_TEXT_LIST,
     .choices = "chat|messages",
     .meaning = "Spoken."},
    {.key = "providers[].prices", .type = OPTION_TREE, .meaning = "Prices | overrides."},
    {.key = "providers[].connect_timeout_ms",
     .type = OPTION_MS,
     .fallback = "10s",
     .min = 1,
     .meaning = "C."},
    {.key = "providers[].is_spare", .type = OPTION_BOOL, .fallback = "false", .meaning = "Spare."},
    {.key = "aliases.*", .type = OPTION_TEXT, .change = OPTION_SETTABLE, .meaning = "Name to model."},
    {.key = "keys[].name", .type = OPTION_TEXT, .is_required = true, .meaning = "Name."},
    {.key = "keys[].key", .type = OPTION_SECRET, .meaning = "Key."},
    {.key = "metrics.token", .type = OPTION_SECRET, .change = OPTION_SETTABLE, .meaning = "Token."},
};
static const struct option_table net = {net_rows, LENGTH_OF(net_rows)};
static const struct option_table gateway = {gateway_rows, LENGTH_OF(gateway_rows)};
static const struct option_table *const tables[] = {&net, &gateway};

struct state {
    struct arena a;
    struct buf problems, out;
    char dir[64], file[96];
    struct config *c;
    const struct config_setting *database;
    unsigned n_database;
    enum errc code;
    err e;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    arena_init(&s->a, 16 << 20, 0);
    buf_init(&s->problems, 1 << 20);
    buf_init(&s->out, 1 << 20);
    snprintf(s->dir, sizeof s->dir, "/tmp/catalyst_config_XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->file, sizeof s->file, "%s/catalyst.yaml", s->dir);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    unlink(s->file);
    rmdir(s->dir);
    buf_fini(&s->problems);
    buf_fini(&s->out);
    arena_fini(&s->a);
    free(s);
    return 0;
}

static void write_file(struct state *s, const char *text, mode_t mode)
{
    FILE *f = fopen(s->file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(s->file, mode), 0);
}

static void load_all(struct state *s, const char *yaml, const char *const *env,
                     const struct config_setting *flags, unsigned n_flags)
{
    if (yaml) write_file(s, yaml, 0600);
    struct config_source source = {.file = yaml ? s->file : NULL,
                                   .environ = env,
                                   .flags = flags,
                                   .n_flags = n_flags,
                                   .database = s->database,
                                   .n_database = s->n_database,
                                   .tables = tables,
                                   .n_tables = LENGTH_OF(tables)};
    buf_clear(&s->problems);
    s->c = NULL;
    s->code = config_load(&s->a, &source, &s->c, &s->problems, &s->e);
    buf_add_char(&s->problems, '\0');
}

static void load(struct state *s, const char *yaml) { load_all(s, yaml, NULL, NULL, 0); }

static void assert_text(str got, const char *wanted)
{
    if (!str_eq(got, str_c(wanted))) fail_msg("'%.*s' is not '%s'", STR(got), wanted);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part)) fail_msg("'%s' stands in:\n%s", part, text);
}

/* Loading fails with exactly these lines; each wanted one stands behind "FILE:LINE: " of its own. */
static void assert_problem(struct state *s, const char *yaml, unsigned line, const char *wanted)
{
    char full[1200];
    load(s, yaml);
    assert_int_equal(s->code, ERR_CONFIG);
    snprintf(full, sizeof full, "%s:%u: %s\n", s->file, line, wanted);
    assert_string_equal(s->problems.p, full);
}

static const char *shown(struct state *s, bool with_origin, bool as_json)
{
    buf_clear(&s->out);
    config_show(s->c, with_origin, as_json, &s->out);
    buf_add_char(&s->out, '\0');
    assert_int_equal(buf_err(&s->out), ERR_NONE);
    return s->out.p;
}

static void without_a_file_the_defaults_hold(void **state)
{
    struct state *s = *state;
    load(s, NULL);
    assert_int_equal(s->code, ERR_NONE);
    assert_text(config_text(s->c, "listen.address"), "127.0.0.1:8080");
    assert_int_equal(config_int(s->c, "limits.head_bytes"), 16384);
    assert_int_equal(config_int(s->c, "limits.head_timeout_ms"), 10000);
    assert_false(config_bool(s->c, "listen.behind_tls_proxy"));
    assert_int_equal(config_text(s->c, "tls.cert").len, 0);
    assert_null(config_tree(s->c, "providers"));
    assert_null(config_tree(s->c, "aliases"));
    assert_int_equal(config_tree(s->c, "origins")->n, 2);
    assert_text(config_dir(s->c), ".");
    assert_int_equal(config_origin_of(s->c, "loops"), CONFIG_DEFAULT);
    assert_text(config_where_key(s->c, &s->a, "loops"), "default");
}

static void an_empty_file_and_empty_sections_are_fine(void **state)
{
    struct state *s = *state;
    load(s, "# nothing\n");
    assert_int_equal(s->code, ERR_NONE);
    load(s, "tls:\nlimits:\n  headers:\nproviders:\naliases:\n");
    assert_int_equal(s->code, ERR_NONE);
    assert_int_equal(config_int(s->c, "limits.headers"), 100);
    assert_null(config_tree(s->c, "providers"));
}

static void flags_beat_variables_beat_the_file_beat_defaults(void **state)
{
    struct state *s = *state;
    const char *env[] = {
        "CATALYST_LIMITS__HEADERS=60", "CATALYST_LIMITS__HEAD_BYTES=8KiB", "CATALYST_DATA=/x",
        "CATALYST__LOOPS=3",           "CATALYST_ALIASES__FAST=m1",        "PATH=/bin",
        "CATALYST_ORIGINS=not-this",   "CATALYSTS_LIMITS__NOT=ours",       NULL};
    struct config_setting flags[] = {
        {S("limits.headers"), S("70"), S("")},
        {S("listen.address"), S("127.0.0.1:0"), S("--listen")},
        {S("aliases.gpt-4.1"), S("m2"), S("")},
        {S("origins"), S("x, y,z"), S("")},
    };
    load_all(s, "limits:\n  headers: 50\n  head_bytes: 4KiB\n  head_timeout_ms: 5s\naliases: {slow: m0}\n",
             env, flags, LENGTH_OF(flags));
    assert_string_equal(s->problems.p, "");
    assert_int_equal(s->code, ERR_NONE);
    assert_int_equal(config_int(s->c, "limits.headers"), 70);
    assert_int_equal(config_int(s->c, "limits.head_bytes"), 8192);
    assert_int_equal(config_int(s->c, "limits.head_timeout_ms"), 5000);
    assert_int_equal(config_int(s->c, "loops"), 3);
    assert_text(config_text(s->c, "listen.address"), "127.0.0.1:0");
    assert_text(config_text(s->c, "log.level"), "info");
    const struct json *aliases = config_tree(s->c, "aliases");
    assert_int_equal(aliases->n, 3);
    assert_text(json_get(aliases, S("slow"))->text, "m0");
    assert_text(json_get(aliases, S("fast"))->text, "m1");
    assert_text(json_get(aliases, S("gpt-4.1"))->text, "m2");
    assert_int_equal(config_tree(s->c, "origins")->n, 3);
    assert_text(config_tree(s->c, "origins")->child->next->text, "y");

    assert_int_equal(config_origin_of(s->c, "limits.headers"), CONFIG_FLAG);
    assert_int_equal(config_origin_of(s->c, "limits.head_bytes"), CONFIG_ENV);
    assert_int_equal(config_origin_of(s->c, "limits.head_timeout_ms"), CONFIG_FILE);
    assert_text(config_where_key(s->c, &s->a, "limits.headers"), "--set limits.headers");
    assert_text(config_where_key(s->c, &s->a, "listen.address"), "--listen");
    assert_text(config_where_key(s->c, &s->a, "limits.head_bytes"), "CATALYST_LIMITS__HEAD_BYTES");
    assert_text(config_where(s->c, &s->a, json_get(aliases, S("fast"))), "CATALYST_ALIASES__FAST");
    char place[128];
    snprintf(place, sizeof place, "%s:4", s->file);
    assert_text(config_where_key(s->c, &s->a, "limits.head_timeout_ms"), place);
}

static void the_database_lies_between_the_file_and_the_defaults(void **state)
{
    struct state *s = *state;
    static const char *const env[] = {"CATALYST_LIMITS__HEADERS=30", NULL};
    static const struct config_setting database[] = {
        {.key = STR_LIT("limits.head_bytes"), .value = STR_LIT("64KiB")},
        {.key = STR_LIT("limits.headers"), .value = STR_LIT("40")},
        {.key = STR_LIT("origins"), .value = STR_LIT("x, y")},
        {.key = STR_LIT("aliases.fast"), .value = STR_LIT("small")},
        {.key = STR_LIT("aliases.big"), .value = STR_LIT("large")},
        {.key = STR_LIT("metrics.token"), .value = STR_LIT("planted")},
    };
    s->database = database;
    s->n_database = LENGTH_OF(database);
    load_all(s, "aliases: {big: huge}\norigins:\n", env, NULL, 0);
    assert_int_equal(s->code, ERR_NONE);
    assert_true(str_find(buf_str(&s->problems), S("warning")) < 0);
    assert_int_equal(config_int(s->c, "limits.head_bytes"), 64 << 10);
    assert_int_equal(config_int(s->c, "limits.headers"), 30);
    assert_int_equal(config_tree(s->c, "origins")->n, 2);
    assert_true(str_eq(json_get(config_tree(s->c, "aliases"), S("fast"))->text, S("small")));
    assert_true(str_eq(json_get(config_tree(s->c, "aliases"), S("big"))->text, S("huge")));
    assert_true(str_eq(config_text(s->c, "metrics.token"), S("planted")));
    assert_int_equal(config_origin_of(s->c, "limits.head_bytes"), CONFIG_DATABASE);
    assert_int_equal(config_origin_of(s->c, "limits.headers"), CONFIG_ENV);
    assert_true(str_eq(config_where_key(s->c, &s->a, "limits.head_bytes"), S("database")));
    config_show(s->c, true, false, &s->out);
    assert_true(str_find(buf_str(&s->out), S("head_bytes: 64KiB  # database\n")) > 0);
    assert_true(str_find(buf_str(&s->out), S("planted")) < 0);
}

static void a_wrong_setting_of_the_database_is_left_out_with_a_warning(void **state)
{
    struct state *s = *state;
    static const struct config_setting database[] = {
        {.key = STR_LIT("limits.head_bytes"), .value = STR_LIT("many")},
        {.key = STR_LIT("limits.headers"), .value = STR_LIT("5000")},
        {.key = STR_LIT("limits.gone"), .value = STR_LIT("1")},
        {.key = STR_LIT("loops"), .value = STR_LIT("3")},
        {.key = STR_LIT("providers[].name"), .value = STR_LIT("x")},
    };
    s->database = database;
    s->n_database = LENGTH_OF(database);
    load_all(s, NULL, NULL, NULL, 0);
    assert_int_equal(s->code, ERR_NONE);
    assert_int_equal(config_int(s->c, "limits.head_bytes"), 16 << 10);
    assert_int_equal(config_int(s->c, "limits.headers"), 100);
    assert_int_equal(config_int(s->c, "loops"), 0);
    static const char *const wanted[] = {
        "database: warning: left out: 'limits.head_bytes' must be a size",
        "database: warning: left out: 'limits.headers' must be between",
        "database: warning: left out: unknown key 'limits.gone'",
        "database: warning: left out: 'loops' is not settable there",
        "database: warning: left out: 'providers[].name' can only be set in"};
    for (size_t i = 0; i < LENGTH_OF(wanted); i++)
        if (str_find(buf_str(&s->problems), str_c(wanted[i])) < 0)
            fail_msg("no '%s' in:\n%.*s", wanted[i], STR(buf_str(&s->problems)));
}

static void one_value_is_checked_as_in_a_file(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *fault;
    } rows[] = {
        {"limits.head_bytes", "32KiB", NULL},
        {"limits.head_bytes", "1", "'limits.head_bytes' must be between 1KiB and 1MiB, not '1'"},
        {"aliases.x", "y", NULL},
        {"origins", "a,b", NULL},
        {"log.level", "inf", "did you mean 'info'?"},
        {"limits", "x", "'limits' is a section"},
        {"limits.haed_bytes", "x", "did you mean 'limits.head_bytes'?"},
        {"metrics.token", "t", NULL},
    };
    for (size_t i = 0; i < LENGTH_OF(rows); i++) {
        err e = {0};
        enum errc code =
            config_check_value(tables, LENGTH_OF(tables), str_c(rows[i].key), str_c(rows[i].value), &e);
        assert_int_equal(code, rows[i].fault ? ERR_INVALID : ERR_NONE);
        if (rows[i].fault && !strstr(e.msg, rows[i].fault)) fail_msg("no '%s' in: %s", rows[i].fault, e.msg);
    }
    assert_int_equal(config_option(tables, LENGTH_OF(tables), S("aliases.fast"))->change, OPTION_SETTABLE);
    assert_null(config_option(tables, LENGTH_OF(tables), S("providers[].name")));
    assert_null(config_option(tables, LENGTH_OF(tables), S("nothing")));
}

static void note_difference(void *ctx, str key, enum option_change change)
{
    buf_addf(ctx, "%.*s:%d ", STR(key), (int)change);
}

static const char *differences(struct state *s, const char *before, const char *after)
{
    load_all(s, before, NULL, NULL, 0);
    assert_int_equal(s->code, ERR_NONE);
    struct config *first = s->c;
    load_all(s, after, NULL, NULL, 0);
    assert_int_equal(s->code, ERR_NONE);
    buf_clear(&s->out);
    config_diff(first, s->c, note_difference, &s->out);
    buf_add_char(&s->out, '\0');
    return s->out.p;
}

static void differences_are_told_by_key_and_whole_list(void **state)
{
    struct state *s = *state;
    assert_string_equal(differences(s, "loops: 1", "loops: '1'\nlimits: {head_bytes: 16384, headers: 100}\n"),
                        "");
    assert_string_equal(differences(s, "loops: 1", "loops: 2\nlimits: {head_bytes: 32KiB}\n"),
                        "loops:0 limits.head_bytes:2 ");
    assert_string_equal(differences(s, "origins: [a, b]", "origins: [a]\ntls: {cert: x}"),
                        "tls.cert:0 origins:2 ");
    static const char one[] = "providers:\n- {name: x, kind: openai}\naliases: {a: b}\nmetrics: {token: x}\n";
    static const char two[] = "providers:\n- {name: x, kind: ollama}\naliases: {a: c}\nmetrics: {token: y}\n";
    assert_string_equal(differences(s, one, one), "");
    assert_string_equal(differences(s, one, two), "providers:0 aliases:2 metrics.token:2 ");
    assert_string_equal(differences(s, one, "loops: 0"), "providers:0 aliases:2 metrics.token:2 ");
}

static void listen_may_be_one_value(void **state)
{
    struct state *s = *state;
    load(s, "listen: 0.0.0.0:90\n");
    assert_int_equal(s->code, ERR_NONE);
    assert_text(config_text(s->c, "listen.address"), "0.0.0.0:90");
    assert_false(config_bool(s->c, "listen.behind_tls_proxy"));
    struct config_setting flags[] = {{S("listen"), S("[::1]:1"), S("")}};
    load_all(s, "listen: {behind_tls_proxy: true}\n", NULL, flags, 1);
    assert_int_equal(s->code, ERR_NONE);
    assert_text(config_text(s->c, "listen.address"), "[::1]:1");
    assert_true(config_bool(s->c, "listen.behind_tls_proxy"));
}

static void entries_of_lists_are_read_with_their_defaults(void **state)
{
    struct state *s = *state;
    load(s, "providers:\n"
            "  - name: one\n    kind: openai\n    api_key: abc\n    prices: {m: {input: \"2.50\"}}\n"
            "  - {name: 2024, kind: ollama, connect_timeout_ms: 250ms, is_spare: true, models: [a*, 7]}\n");
    assert_string_equal(s->problems.p, "");
    const struct json *first = config_tree(s->c, "providers")->child, *second = first->next;
    assert_text(config_entry_text(s->c, first, "providers[].name"), "one");
    assert_text(config_entry_text(s->c, second, "providers[].name"), "2024");
    assert_int_equal(config_entry_int(s->c, first, "providers[].connect_timeout_ms"), 10000);
    assert_int_equal(config_entry_int(s->c, second, "providers[].connect_timeout_ms"), 250);
    assert_false(config_entry_has(s->c, first, "providers[].connect_timeout_ms"));
    assert_true(config_entry_has(s->c, second, "providers[].connect_timeout_ms"));
    assert_false(config_entry_bool(s->c, first, "providers[].is_spare"));
    assert_true(config_entry_bool(s->c, second, "providers[].is_spare"));
    assert_int_equal(config_entry_text(s->c, first, "providers[].base_url").len, 0);
    char place[128];
    snprintf(place, sizeof place, "%s:6", s->file);
    assert_text(config_where(s->c, &s->a, second), place);
}

static void unknown_keys_are_errors_with_line_and_guess(void **state)
{
    struct state *s = *state;
    assert_problem(s, "\nlimits:\n  haed_bytes: 1\n", 3,
                   "unknown key 'limits.haed_bytes'; did you mean 'limits.head_bytes'?");
    assert_problem(s, "limts:\n  head_bytes: 1\n", 1, "unknown key 'limts'; did you mean 'limits'?");
    assert_problem(s, "limits:\n  head-bytes: 4KiB\n", 2,
                   "unknown key 'limits.head-bytes'; did you mean 'limits.head_bytes'?");
    assert_problem(s, "head_bytes: 4KiB\n", 1, "unknown key 'head_bytes'; did you mean 'limits.head_bytes'?");
    assert_problem(s, "tls: {zzzzzz: 1}\n", 1, "unknown key 'tls.zzzzzz'; known here: cert, min_version");
    assert_problem(s, "providers:\n  - name: a\n    kind: openai\n    apikey: x\n", 4,
                   "unknown key 'providers[].apikey'; did you mean 'providers[].api_key'?");
    assert_problem(s, "limits.headers: 5\n", 1,
                   "'limits.headers' must be written as nested keys, without a dot in the name");
    assert_problem(
        s, "\"*\": 5\n", 1,
        "unknown key '*'; known here: listen, tls, loops, log, limits, origins, providers, aliases, keys, "
        "metrics");
}

static void wrong_types_say_what_would_be_right(void **state)
{
    struct state *s = *state;
    assert_problem(s, "loops: many\n", 1, "'loops' must be a whole number, not 'many'");
    assert_problem(s, "loops: 1.5\n", 1, "'loops' must be a whole number, not '1.5'");
    assert_problem(s, "loops: [1]\n", 1, "'loops' must be a whole number, not a list");
    assert_problem(s, "loops: {a: 1}\n", 1, "'loops' must be a whole number, not a section");
    assert_problem(s, "loops: ''\n", 1, "'loops' must be a whole number, not an empty text");
    assert_problem(s, "listen: {behind_tls_proxy: yes}\n", 1,
                   "'listen.behind_tls_proxy' must be true or false, not 'yes'");
    assert_problem(
        s, "limits: {head_bytes: 16KB}\n", 1,
        "'limits.head_bytes' must be a size such as 16KiB, 1MiB or a plain number of bytes, not '16KB'");
    assert_problem(
        s, "limits: {head_timeout_ms: 10sec}\n", 1,
        "'limits.head_timeout_ms' must be a duration such as 500ms, 10s, 5m, 1h or a plain number of "
        "milliseconds, not '10sec'");
    assert_problem(
        s, "limits: {head_timeout_ms: 9223372036854775807h}\n", 1,
        "'limits.head_timeout_ms' must be a duration such as 500ms, 10s, 5m, 1h or a plain number of "
        "milliseconds, not '9223372036854775807h'");
    assert_problem(s, "tls: {cert: [a]}\n", 1, "'tls.cert' must be a text, not a list");
    assert_problem(s, "tls: {cert: true}\n", 1,
                   "'tls.cert' must be a text, not the value true; put it in quotes if it is one");
    assert_problem(s, "tls: {cert: \"a\\0b\"}\n", 1, "'tls.cert' must not contain a NUL character");
    assert_problem(s, "log: {level: inof}\n", 1,
                   "'log.level' must be one of debug, info, warn, error, not 'inof'; did you mean 'info'?");
    assert_problem(s, "log: {level: loud}\n", 1,
                   "'log.level' must be one of debug, info, warn, error, not 'loud'");
    assert_problem(s, "limits: 5\n", 1, "'limits' must be a section of keys with values, not '5'");
    assert_problem(s, "limits: [5]\n", 1, "'limits' must be a section of keys with values, not a list");
    assert_problem(s, "providers: {name: a}\n", 1,
                   "'providers' must be a list (entries that start with '- '), not a section");
    assert_problem(s, "providers:\n  - a\n", 2,
                   "each entry of 'providers' must be a section of keys with values, not 'a'");
    assert_problem(s, "origins: a\n", 1, "'origins' must be a list of texts such as [a, b], not 'a'");
    assert_problem(s, "origins:\n  - a\n  - {b: c}\n", 3,
                   "each entry of 'origins' must be a text, not a section");
    assert_problem(s, "providers:\n  - name: a\n    kind: openai\n    dialects:\n      - chta\n", 5,
                   "'providers[].dialects' must be one of chat, messages, not 'chta'; did you mean 'chat'?");
    assert_problem(s, "providers: [{name: a, kind: openai, prices: [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}]\n", 1,
                   "'providers[].prices' is nested more than 16 levels deep");
    assert_problem(s, "aliases: {a: [b]}\n", 1, "'aliases.a' must be a text, not a list");
}

static void values_out_of_range_say_the_range(void **state)
{
    struct state *s = *state;
    assert_problem(s, "limits: {headers: 0}\n", 1, "'limits.headers' must be between 1 and 1000, not '0'");
    assert_problem(s, "limits: {head_bytes: 2MiB}\n", 1,
                   "'limits.head_bytes' must be between 1KiB and 1MiB, not '2MiB'");
    assert_problem(s, "limits: {head_timeout_ms: 0}\n", 1,
                   "'limits.head_timeout_ms' must be at least 1ms, not '0'");
    assert_problem(s, "loops: -1\n", 1, "'loops' must be between 0 and 1024, not '-1'");
}

static void missing_members_are_named_at_their_entry(void **state)
{
    struct state *s = *state;
    assert_problem(s, "providers:\n  - name: a\n    kind: openai\n  - name: b\n", 4,
                   "'providers[].kind' is missing; every entry must have it");
    assert_problem(s, "providers:\n  - {name: , kind: openai}\n", 2,
                   "'providers[].name' is missing; every entry must have it");
}

static void all_problems_come_at_once(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_LIMITS__HEADRES=1", "CATALYST_NO__SUCH=1", "CATALYST_LIMITS__HEAD_BYTES=x",
                         NULL};
    struct config_setting flags[] = {{S("lopps"), S("1"), S("")},
                                     {S("listen.behind_tls_proxy"), S("maybe"), S("")}};
    load_all(s, "loops: many\nlimits:\n  headers: 0\n  nope_nope: 1\n", env, flags, 2);
    assert_int_equal(s->code, ERR_CONFIG);
    assert_has(s->problems.p, "catalyst.yaml:1: 'loops'");
    assert_has(s->problems.p, "catalyst.yaml:3: 'limits.headers'");
    assert_has(s->problems.p,
               "catalyst.yaml:4: unknown key 'limits.nope_nope'; known here: head_bytes, headers, "
               "head_timeout_ms");
    assert_has(s->problems.p, "\nCATALYST_LIMITS__HEADRES: unknown key 'limits.headres'; did you mean "
                              "'limits.headers'?\n");
    assert_has(s->problems.p, "\nCATALYST_NO__SUCH: unknown key 'no.such'; known here: listen, ");
    assert_has(s->problems.p, "\nCATALYST_LIMITS__HEAD_BYTES: 'limits.head_bytes' must be a size");
    assert_has(s->problems.p, "\n--set lopps: unknown key 'lopps'; did you mean 'loops'?\n");
    assert_has(s->problems.p,
               "\n--set listen.behind_tls_proxy: 'listen.behind_tls_proxy' must be true or false");
    assert_has(s->e.msg, "8 problems in the configuration of ");
}

static void lists_and_sections_are_not_set_from_outside(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_PROVIDERS__NAME=a", NULL};
    struct config_setting flags[] = {
        {S("providers"), S("a"), S("")},         {S("providers[].name"), S("a"), S("")},
        {S("providers[0].name"), S("a"), S("")}, {S("limits"), S("a"), S("")},
        {S("aliases"), S("a"), S("")},           {S("aliases."), S("a"), S("")},
        {S("aliases.*"), S("a"), S("")}};
    load_all(s, NULL, env, flags, LENGTH_OF(flags));
    assert_has(s->problems.p,
               "CATALYST_PROVIDERS__NAME: 'providers.name' can only be set in the configuration file\n");
    assert_has(s->problems.p, "--set providers: 'providers' can only be set in the configuration file\n");
    assert_has(s->problems.p, "--set providers[].name: 'providers[].name' can only be");
    assert_has(s->problems.p, "--set providers[0].name: 'providers[0].name' can only be");
    assert_has(s->problems.p, "--set limits: 'limits' is a section; name one of its keys\n");
    assert_has(s->problems.p, "--set aliases: 'aliases' is a section; name one of its keys\n");
    assert_has(s->problems.p, "--set aliases.: unknown key 'aliases.'");
}

static void files_that_cannot_be_read_or_parsed_are_problems(void **state)
{
    struct state *s = *state;
    assert_problem(s, "a: [1\nb: 2\n", 2, "did not find expected ',' or ']' (column 2)");
    assert_problem(s, "loops: 1\nloops: 2\n", 2, "duplicate key 'loops' (column 1)");
    load(s, "- a\n");
    assert_has(s->problems.p, "the file must be a section of keys with values, not a list");
    struct config_source source = {
        .file = "/nonexistent/catalyst.yaml", .tables = tables, .n_tables = LENGTH_OF(tables)};
    buf_clear(&s->problems);
    assert_int_equal(config_load(&s->a, &source, &s->c, &s->problems, &s->e), ERR_CONFIG);
    buf_add_char(&s->problems, '\0');
    assert_has(s->problems.p, "/nonexistent/catalyst.yaml: cannot be read: No such file");
    source.file = "/tmp";
    buf_clear(&s->problems);
    assert_int_equal(config_load(&s->a, &source, &s->c, &s->problems, &s->e), ERR_CONFIG);
    buf_add_char(&s->problems, '\0');
    assert_has(s->problems.p, "/tmp: cannot be read: Is a directory");
}

static void a_file_larger_than_the_limit_is_refused(void **state)
{
    struct state *s = *state;
    size_t n = (1 << 20) + 5;
    char *text = malloc(n + 1);
    memset(text, '#', n);
    text[n] = '\0';
    load(s, text);
    free(text);
    assert_int_equal(s->code, ERR_TOO_LARGE);
}

static void an_arena_that_is_too_small_is_an_error(void **state)
{
    struct state *s = *state;
    write_file(s, "limits: {headers: 5}\naliases: {a: b, c: d, e: f}\nproviders: [{name: a, kind: openai}]\n",
               0600);
    const char *env[] = {"CATALYST_LIMITS__HEADERS=60", "CATALYST_ALIASES__X=y", NULL};
    struct config_source source = {
        .file = s->file, .environ = env, .tables = tables, .n_tables = LENGTH_OF(tables)};
    bool has_loaded = false;
    for (size_t limit = 64; limit < 64 << 10; limit += 64) {
        struct arena a;
        struct config *c = NULL;
        arena_init(&a, limit, 64);
        enum errc code = config_load(&a, &source, &c, &s->problems, &s->e);
        assert_true(code == ERR_NONE || code == ERR_NO_MEMORY || code == ERR_TOO_LARGE);
        has_loaded = code == ERR_NONE;
        arena_fini(&a);
    }
    assert_true(has_loaded);
}

static void a_file_with_secrets_that_others_can_read_gives_a_warning(void **state)
{
    struct state *s = *state;
    const char *yaml = "metrics: {token: planted}\n";
    write_file(s, yaml, 0644);
    struct config_source source = {.file = s->file, .tables = tables, .n_tables = LENGTH_OF(tables)};
    assert_int_equal(config_load(&s->a, &source, &s->c, &s->problems, &s->e), ERR_NONE);
    buf_add_char(&s->problems, '\0');
    assert_has(s->problems.p,
               "catalyst.yaml: warning: the file holds secrets and others than its owner may open it "
               "(mode 0644); run: chmod 600 ");
    load(s, yaml); /* 0600 */
    assert_string_equal(s->problems.p, "");
    write_file(s, "loops: 1\n", 0644);
    buf_clear(&s->problems);
    assert_int_equal(config_load(&s->a, &source, &s->c, &s->problems, &s->e), ERR_NONE);
    assert_int_equal(s->problems.len, 0);
}

static void show_prints_every_key_with_its_value(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_LIMITS__HEADERS=60", NULL};
    load_all(s,
             "listen: 127.0.0.1:1\nproviders:\n  - name: \"a: b\"\n    kind: ollama\n    models: [x*]\n"
             "    prices: {m: {input: \"2.50\", output: 10}}\naliases: {fast: m}\n",
             env, NULL, 0);
    const char *yaml = shown(s, false, false);
    assert_string_equal(yaml, "listen:\n"
                              "  address: \"127.0.0.1:1\"\n"
                              "  behind_tls_proxy: false\n"
                              "tls:\n"
                              "  cert:\n"
                              "  min_version: \"1.3\"\n"
                              "loops: 0\n"
                              "log:\n"
                              "  level: info\n"
                              "limits:\n"
                              "  head_bytes: 16KiB\n"
                              "  headers: 60\n"
                              "  head_timeout_ms: 10s\n"
                              "origins: [\"a\",\"b\"]\n"
                              "providers:\n"
                              "  - name: \"a: b\"\n"
                              "    kind: ollama\n"
                              "    models: [\"x*\"]\n"
                              "    prices: {\"m\":{\"input\":\"2.50\",\"output\":10}}\n"
                              "    connect_timeout_ms: 10s\n"
                              "    is_spare: false\n"
                              "aliases:\n"
                              "  fast: m\n"
                              "keys: []\n"
                              "metrics:\n"
                              "  token:\n");
    /* what show prints is a configuration with the same values */
    char *again = strdup(yaml);
    load(s, again);
    free(again);
    assert_string_equal(s->problems.p, "");
    assert_int_equal(config_int(s->c, "limits.headers"), 60);
}

static void show_with_origin_names_the_place(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_LIMITS__HEADERS=60", NULL};
    struct config_setting flags[] = {{S("loops"), S("2"), S("")}};
    load_all(s, "listen: 127.0.0.1:1\naliases: {fast: m}\n", env, flags, 1);
    const char *text = shown(s, true, false);
    assert_has(text, "catalyst.yaml:1\n");
    assert_has(text, "  headers: 60  # CATALYST_LIMITS__HEADERS\n");
    assert_has(text, "loops: 2  # --set loops\n");
    assert_has(text, "  level: info  # default\n");
    assert_has(text, "  cert:  # not set\n");
    assert_has(text, "providers: []\n");

    text = shown(s, true, true);
    struct json *tree = NULL;
    assert_int_equal(json_parse(&s->a, str_c(text), &tree, &s->e), ERR_NONE);
    assert_text(json_at(tree, S("limits.headers.value"))->text, "60");
    assert_text(json_at(tree, S("limits.headers.origin"))->text, "environment");
    assert_text(json_at(tree, S("limits.headers.where"))->text, "CATALYST_LIMITS__HEADERS");
    assert_text(json_at(tree, S("loops.origin"))->text, "flag");
    assert_text(json_at(tree, S("listen.address.origin"))->text, "file");
    assert_text(json_at(tree, S("log.level.origin"))->text, "default");
    assert_null(json_at(tree, S("log.level.where")));

    text = shown(s, false, true);
    assert_int_equal(json_parse(&s->a, str_c(text), &tree, &s->e), ERR_NONE);
    assert_text(json_at(tree, S("limits.head_bytes"))->text, "16384");
    assert_int_equal(json_at(tree, S("tls.cert"))->type, JSON_NULL);
    assert_int_equal(json_at(tree, S("listen.behind_tls_proxy"))->type, JSON_FALSE);
    assert_int_equal(json_at(tree, S("providers"))->n, 0);
}

static void secrets_of_file_and_environment_are_never_shown(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_METRICS__TOKEN=planted-in-env", NULL};
    load_all(s,
             "metrics: {token: planted-in-file}\n"
             "providers:\n"
             "  - {name: a, kind: openai, api_key: planted-plain}\n"
             "  - {name: b, kind: openai, api_key: 123454321, base_url: \"https://u:planted-url@h/v1\"}\n"
             "  - {name: sk-planted-where-a-name-belongs, kind: openai, models: [sk-planted-in-a-list]}\n"
             "  - {name: d, kind: openai, prices: {x: sk-planted-in-a-tree-000}}\n"
             "keys:\n  - {name: k, key: cvk_planted}\n"
             "aliases: {cvk_planted: m}\n",
             env, NULL, 0);
    assert_string_equal(s->problems.p, "");
    for (int form = 0; form < 4; form++) {
        const char *text = shown(s, form & 1, form & 2);
        assert_has(text, "****");
        assert_has_not(text, "planted");
        assert_has_not(text, "123454321");
    }
    assert_text(config_text(s->c, "metrics.token"), "planted-in-env");
}

static void secrets_never_stand_in_a_problem(void **state)
{
    struct state *s = *state;
    const char *env[] = {"CATALYST_LIMITS__HEADERS=sk-planted-000000", NULL};
    load_all(s,
             "metrics: {token: [planted]}\nloops: cvk_planted\nlog: {level: sk-planted-1234567}\n"
             "providers:\n  - {name: a, kind: openai, api_key: {planted: 1}}\n  - sk-planted-as-an-entry\n",
             env, NULL, 0);
    assert_int_equal(s->code, ERR_CONFIG);
    assert_has(s->problems.p, "'metrics.token' must be a text, not a list");
    assert_has(s->problems.p, "'loops' must be a whole number, not this text");
    assert_has_not(s->problems.p, "planted");
}

static void numbers_are_written_in_the_largest_unit_that_loses_nothing(void **state)
{
    (void)state;
    char out[CONFIG_NUMBER_LEN];
    int64_t v = 0;
    assert_text(config_number_format(OPTION_BYTES, 32 << 20, out), "32MiB");
    assert_text(config_number_format(OPTION_BYTES, 1025, out), "1025");
    assert_text(config_number_format(OPTION_MS, 90000, out), "90s");
    assert_text(config_number_format(OPTION_MS, 3600000, out), "1h");
    assert_text(config_number_format(OPTION_MS, 1500, out), "1500ms");
    assert_text(config_number_format(OPTION_MS, 0, out), "0");
    assert_text(config_number_format(OPTION_INT, INT64_MIN, out), "-9223372036854775808");
    assert_true(config_number_parse(OPTION_BYTES, S("2 GiB"), &v));
    assert_int_equal(v, 2147483648);
    assert_true(config_number_parse(OPTION_MS, S("5m"), &v));
    assert_int_equal(v, 300000);
    assert_false(config_number_parse(OPTION_INT, S("5m"), &v));
    assert_false(config_number_parse(OPTION_BYTES, S("KiB"), &v));
    assert_false(config_number_parse(OPTION_BYTES, S(""), &v));
    assert_false(config_number_parse(OPTION_BYTES, S("9000000000GiB"), &v));
}

static void paths_are_relative_to_the_folder_of_the_file(void **state)
{
    struct state *s = *state;
    load(s, "tls: {cert: c.pem}\n");
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s/c.pem", s->dir);
    assert_string_equal(config_path(s->c, &s->a, config_text(s->c, "tls.cert")), wanted);
    assert_string_equal(config_path(s->c, &s->a, S("/etc/c.pem")), "/etc/c.pem");
    assert_null(config_path(s->c, &s->a, S("")));
}

static void the_reference_lists_every_key(void **state)
{
    struct state *s = *state;
    config_reference(tables, LENGTH_OF(tables), &s->out);
    buf_add_char(&s->out, '\0');
    for (size_t i = 0; i < LENGTH_OF(net_rows); i++)
        assert_has(s->out.p, net_rows[i].key);
    for (size_t i = 0; i < LENGTH_OF(gateway_rows); i++)
        assert_has(s->out.p, gateway_rows[i].key);
    assert_has(s->out.p,
               "| `limits.head_bytes` | size, 1KiB to 1MiB | `16KiB` | on reload, settable | H. |\n");
    assert_has(s->out.p,
               "| `log.level` | one of `debug`, `info`, `warn`, `error` | `info` | at start | L. |\n");
    assert_has(s->out.p, "| `providers[].name` | text | must be given | at start | Its name. |\n");
    assert_has(s->out.p, "Prices \\| overrides.");
    assert_has(s->out.p, "\n## providers\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_a_file_the_defaults_hold),
        TEST(an_empty_file_and_empty_sections_are_fine),
        TEST(flags_beat_variables_beat_the_file_beat_defaults),
        TEST(the_database_lies_between_the_file_and_the_defaults),
        TEST(a_wrong_setting_of_the_database_is_left_out_with_a_warning),
        TEST(one_value_is_checked_as_in_a_file),
        TEST(differences_are_told_by_key_and_whole_list),
        TEST(listen_may_be_one_value),
        TEST(entries_of_lists_are_read_with_their_defaults),
        TEST(unknown_keys_are_errors_with_line_and_guess),
        TEST(wrong_types_say_what_would_be_right),
        TEST(values_out_of_range_say_the_range),
        TEST(missing_members_are_named_at_their_entry),
        TEST(all_problems_come_at_once),
        TEST(lists_and_sections_are_not_set_from_outside),
        TEST(files_that_cannot_be_read_or_parsed_are_problems),
        TEST(a_file_larger_than_the_limit_is_refused),
        TEST(an_arena_that_is_too_small_is_an_error),
        TEST(a_file_with_secrets_that_others_can_read_gives_a_warning),
        TEST(show_prints_every_key_with_its_value),
        TEST(show_with_origin_names_the_place),
        TEST(secrets_of_file_and_environment_are_never_shown),
        TEST(secrets_never_stand_in_a_problem),
        TEST(numbers_are_written_in_the_largest_unit_that_loses_nothing),
        TEST(paths_are_relative_to_the_folder_of_the_file),
        TEST(the_reference_lists_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
