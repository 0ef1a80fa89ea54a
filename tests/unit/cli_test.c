/* cli_test.c - the command line as scripts use it: cli_main in this process, its output captured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/keytext.h"
#include "base/version.h"
#include "cli/cli.h"
#include "gateway/journal/journal.h"

static const struct option rows[] = {
    {.key = "listen.address", .type = OPTION_TEXT, .fallback = "127.0.0.1:8080", .meaning = "Where."},
    {.key = "tls.cert", .type = OPTION_TEXT, .meaning = "The certificate."},
    {.key = "limits.head_bytes",
     .type = OPTION_BYTES,
     .fallback = "16KiB",
     .min = 1024,
     .max = 1 << 20,
     .meaning = "H."},
    {.key = "providers[].name", .type = OPTION_TEXT, .is_required = true, .meaning = "Its name."},
    {.key = "providers[].api_key", .type = OPTION_SECRET, .meaning = "The key."},
    {.key = "metrics.token", .type = OPTION_SECRET, .meaning = "Token."},
};
static const struct option_table table = {rows, LENGTH_OF(rows)};
static const struct option_table *const tables[] = {&table};

#define NOW (20000 * USEC_PER_DAY + 43200LL * USEC_PER_S) /* 2024-10-04 12:00 */

static enum errc gateway_check(const struct config *config, struct arena *a, struct buf *problems, err *e)
{
    const struct json *providers = config_tree(config, "providers");
    if (!providers || providers->n < 2) return ERR_NONE;
    str where = config_where(config, a, providers->child->next);
    buf_addf(problems, "%.*s: the hook says no\n", STR(where));
    return err_set(e, ERR_CONFIG, "1 problem with the providers");
}

static const struct cli_app app = {.tables = tables, .n_tables = 1, .check = gateway_check};

struct state {
    char dir[64];
    char *out, *err; /* of the last run */
    struct arena a;
};

static char *slurp(FILE *f)
{
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    rewind(f);
    char *text = calloc((size_t)n + 1, 1);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    fclose(f);
    return text;
}

/* Runs `catalyst WORDS...`; returns the exit code. */
static int run_words(struct state *s, char **words)
{
    int argc = 0;
    while (words[argc])
        argc++;
    free(s->out);
    free(s->err);
    FILE *out = tmpfile(), *errors = tmpfile();
    assert_true(out && errors);
    fflush(NULL);
    int saved_out = dup(1), saved_err = dup(2);
    dup2(fileno(out), 1);
    dup2(fileno(errors), 2);
    int code = cli_main(&app, argc, words);
    fflush(NULL);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    s->out = slurp(out);
    s->err = slurp(errors);
    return code;
}
#define RUN(s, ...) run_words((s), (char *[]){"catalyst", __VA_ARGS__, NULL})

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "/tmp/catalyst_cli_XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    arena_init(&s->a, 16 << 20, 0);
    *state = s;
    return 0;
}

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        char full[512];
        if (entry->d_name[0] == '.') continue;
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        if (unlink(full) != 0) remove_all(full);
    }
    if (d) closedir(d);
    rmdir(path);
}

static int tear_down(void **state)
{
    struct state *s = *state;
    clock_unfreeze();
    unsetenv("CATALYST_LIMITS__HEAD_BYTES");
    unsetenv("CATALYST_METRICS__TOKEN");
    unsetenv("CATALYST_DATA");
    remove_all(s->dir);
    free(s->out);
    free(s->err);
    arena_fini(&s->a);
    free(s);
    return 0;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void assert_has_not(const char *text, const char *part)
{
    if (strstr(text, part)) fail_msg("'%s' stands in:\n%s", part, text);
}

static void write_config(struct state *s, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/catalyst.yaml", s->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

static const struct json *parsed(struct state *s, const char *text)
{
    struct json *tree = NULL;
    err e = {0};
    if (json_parse(&s->a, str_c(text), &tree, &e)) fail_msg("%s in:\n%s", e.msg, text);
    return tree;
}

static void assert_at(const struct json *tree, const char *path, const char *wanted)
{
    const struct json *v = json_at(tree, str_c(path));
    if (!v) fail_msg("no member '%s'", path);
    if (!str_eq(v->text, str_c(wanted))) fail_msg("%s is '%.*s', not '%s'", path, STR(v->text), wanted);
}

static void assert_null_at(const struct json *tree, const char *path)
{
    const struct json *v = json_at(tree, str_c(path));
    assert_non_null(v);
    assert_int_equal(v->type, JSON_NULL);
}

/* --- the parser --- */

static void help_lists_the_commands(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "--help"), EXIT_OK);
    assert_has(s->out, "  config check     reports");
    assert_has(s->out, "  usage ");
    assert_has_not(s->out, "config reference");
    assert_string_equal(s->err, "");
    assert_int_equal(RUN(s, "help"), EXIT_OK);
    assert_has(s->out, "  usage ");
    assert_int_equal(RUN(s, "config", "--help"), EXIT_OK);
    assert_int_equal(run_words(s, (char *[]){"catalyst", NULL}), EXIT_USAGE);
    assert_string_equal(s->out, "");
    assert_has(s->err, "Commands:\n");
}

static void help_of_a_command_lists_its_flags_and_the_configuration_keys(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "usage", "--help"), EXIT_OK);
    assert_has(s->out, "--session GLOB");
    assert_has_not(s->out, "limits.head_bytes ");
    assert_int_equal(RUN(s, "help", "config", "show"), EXIT_OK);
    assert_has(s->out, "--origin ");
    assert_has(s->out, "  limits.head_bytes                  H. (default 16KiB)\n");
}

static void unknown_commands_and_flags_are_usage_errors_with_a_guess(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "usgae"), EXIT_USAGE);
    assert_string_equal(s->err, "catalyst: unknown command 'usgae'; did you mean 'usage'?\n"
                                "`catalyst --help` lists the commands.\n");
    assert_int_equal(RUN(s, "config"), EXIT_USAGE);
    assert_string_equal(s->err, "catalyst: 'config' needs one of: check, show\n");
    assert_int_equal(RUN(s, "config", "shwo"), EXIT_USAGE);
    assert_has(s->err, "unknown command 'config shwo'; did you mean 'config show'?");
    assert_int_equal(RUN(s, "usage", "--jsno"), EXIT_USAGE);
    assert_has(s->err, "usage has no flag '--jsno'; did you mean '--json'?");
    assert_int_equal(RUN(s, "--data", "x", "usage"), EXIT_USAGE);
    assert_has(s->err, "flags stand behind the command");
    assert_int_equal(RUN(s, "version", "extra"), EXIT_USAGE);
    assert_has(s->err, "version takes no argument");
    assert_string_equal(s->out, "");
}

static void flags_take_values_in_both_forms(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "usage", "--data", s->dir), EXIT_OK);
    char joined[96];
    snprintf(joined, sizeof joined, "--data=%s", s->dir);
    assert_int_equal(RUN(s, "usage", "--data", "/nonexistent", joined), EXIT_OK); /* the last one counts */
    assert_int_equal(RUN(s, "usage", "--data"), EXIT_USAGE);
    assert_has(s->err, "--data needs a value: --data DIR");
    assert_int_equal(RUN(s, "usage", "--data", "--json"), EXIT_USAGE);
    assert_int_equal(RUN(s, "usage", "--json=yes"), EXIT_USAGE);
    assert_has(s->err, "--json takes no value");
    assert_int_equal(RUN(s, "usage", "--", "--json"),
                     EXIT_USAGE); /* an argument behind "--", and usage takes none */
    assert_has(s->err, "usage takes no argument");
}

static void version_is_printed_in_both_forms(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "version"), EXIT_OK);
    assert_has(s->out, "catalyst " CATALYST_VERSION " (");
    assert_int_equal(RUN(s, "--version"), EXIT_OK);
    assert_has(s->out, "catalyst " CATALYST_VERSION " (");
    assert_int_equal(RUN(s, "version", "--json"), EXIT_OK);
    assert_at(parsed(s, s->out), "version", CATALYST_VERSION);
}

/* --- configuration --- */

static void config_check_says_ok_or_everything_that_is_wrong(void **state)
{
    struct state *s = *state;
    char wanted[256];
    assert_int_equal(RUN(s, "config", "check", "--data", s->dir), EXIT_OK);
    assert_has(s->out, "catalyst.yaml: not there; the defaults are ok\n");
    write_config(s, "providers:\n  - name: a\n");
    assert_int_equal(RUN(s, "config", "check", "--data", s->dir), EXIT_OK);
    snprintf(wanted, sizeof wanted, "%s/catalyst.yaml: ok\n", s->dir);
    assert_string_equal(s->out, wanted);
    assert_string_equal(s->err, "");

    write_config(s, "limits: {haed_bytes: 1}\nproviders:\n  - nmae: a\n");
    assert_int_equal(RUN(s, "config", "check", "--data", s->dir), EXIT_USAGE);
    assert_string_equal(s->out, "");
    snprintf(wanted, sizeof wanted,
             "%s/catalyst.yaml:1: unknown key 'limits.haed_bytes'; did you mean 'limits.head_bytes'?\n",
             s->dir);
    assert_has(s->err, wanted);
    assert_has(s->err, "catalyst.yaml:3: unknown key 'providers[].nmae'; did you mean 'providers[].name'?\n");
    assert_has(s->err, "catalyst: 3 problems in the configuration of ");

    assert_int_equal(RUN(s, "config", "check", "--config", "/nonexistent.yaml"), EXIT_USAGE);
    assert_has(s->err, "/nonexistent.yaml: cannot be read");
}

static void config_check_asks_the_gateway_too(void **state)
{
    struct state *s = *state;
    write_config(s, "providers:\n  - name: a\n  - name: a\n");
    assert_int_equal(RUN(s, "config", "check", "--data", s->dir), EXIT_USAGE);
    assert_has(s->err, "catalyst.yaml:3: the hook says no\ncatalyst: 1 problem with the providers\n");
    assert_string_equal(s->out, "");
}

static void any_key_can_be_set_by_a_flag(void **state)
{
    struct state *s = *state;
    setenv("CATALYST_LIMITS__HEAD_BYTES", "2KiB", 1);
    setenv("CATALYST_DATA", s->dir, 1);
    assert_int_equal(RUN(s, "config", "show", "--json"), EXIT_OK);
    assert_at(parsed(s, s->out), "limits.head_bytes", "2048");
    assert_int_equal(RUN(s, "config", "show", "--json", "--origin", "--set", "limits.head_bytes=4KiB",
                         "--set=tls.cert=a=b", "--listen", "127.0.0.1:1"),
                     EXIT_OK);
    const struct json *tree = parsed(s, s->out);
    assert_at(tree, "limits.head_bytes.value", "4096");
    assert_at(tree, "limits.head_bytes.where", "--set limits.head_bytes");
    assert_at(tree, "tls.cert.value", "a=b");
    assert_at(tree, "listen.address.where", "--listen");
    assert_int_equal(RUN(s, "config", "show", "--set", "planted"), EXIT_USAGE);
    assert_has(s->err, "--set needs KEY=VALUE");
    assert_has_not(s->err, "planted");
    assert_int_equal(RUN(s, "config", "show", "--set", "limits.haed_bytes=1"), EXIT_USAGE);
    assert_has(s->err,
               "--set limits.haed_bytes: unknown key 'limits.haed_bytes'; did you mean 'limits.head_bytes'?");
}

static void planted_secrets_never_reach_the_output(void **state)
{
    struct state *s = *state;
    setenv("CATALYST_METRICS__TOKEN", "planted-env", 1);
    write_config(s, "metrics: {token: planted-file}\nproviders:\n  - {name: a, api_key: planted-key}\n");
    char *const forms[][2] = {{NULL, NULL}, {"--origin", NULL}, {"--json", NULL}, {"--json", "--origin"}};
    for (size_t i = 0; i < LENGTH_OF(forms); i++) {
        char *words[] = {"catalyst", "config", "show", "--data", s->dir, forms[i][0], forms[i][1], NULL};
        assert_int_equal(run_words(s, words), EXIT_OK);
        assert_has(s->out, "****");
        assert_has_not(s->out, "planted");
        assert_has_not(s->err, "planted");
    }
}

static void the_reference_is_markdown(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "config", "reference"), EXIT_OK);
    assert_has(s->out, "# Configuration\n");
    assert_has(s->out, "| `limits.head_bytes` | size, 1KiB to 1MiB | `16KiB` | at start | H. |\n");
}

static void a_new_key_is_sound_and_its_hash_stands_beside_it(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "key", "new", "--name", "al\"ice", "--project", "demo"), EXIT_OK);
    str rest = str_c(s->out), key = str_cut(&rest, '\n');
    bool is_sound = false;
    assert_int_equal(keytext_kind(key, &is_sound), KEYTEXT_VIRTUAL);
    assert_true(is_sound);
    uint8_t hash[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];
    sha256(key, hash);
    assert_has(s->out, hex_encode(hash, sizeof hash, hex).p);
    assert_has(s->out, "  - name: \"al\\\"ice\"\n");
    assert_has(s->out, "    project: \"demo\"\n");
    assert_int_equal(RUN(s, "key", "new", "--json"), EXIT_OK);
    const struct json *tree = parsed(s, s->out);
    assert_at(tree, "name", "default");
    assert_null_at(tree, "project");
}

/* --- the journal --- */

static struct usage_record call(int64_t i)
{
    return (struct usage_record){
        .request_id = {{(uint8_t)i}},
        .started_us = NOW - 60LL * USEC_PER_S * (100 - i),
        .dialect = DIALECT_CHAT,
        .outcome = CALL_COMPLETED,
        .status = 200,
        .sent_us = 100,
        .connect_us = 0,
        .head_us = 200,
        .first_us = 300,
        .total_us = 1500000,
        .bytes_in = 10,
        .bytes_out = 20,
        .tokens = {.input = 1000,
                   .cache_read = 200,
                   .cache_write = 30,
                   .cache_write_1h = 4,
                   .output = 50,
                   .reasoning = 6},
        .cost_nanousd = 1000000 * i,
        .key_id = {0xab},
        .key = S("alice"),
        .project = S("demo"),
        .session = S("run-1"),
        .tags = S("a,b"),
        .provider = S("openai"),
        .model = S("gpt-x"),
        .model_asked = S("fast"),
        .trace_id = S("0123456789abcdef0123456789abcdef"),
    };
}

static struct journal *open_journal(struct state *s)
{
    struct journal *j = NULL;
    struct journal_recovery found;
    struct journal_options o = {.n_writers = 1, .segment_bytes = 64 << 10, .sync_ms = 10};
    err e = {0};
    if (journal_open(&j, s->dir, &o, &found, &e)) fail_msg("%s", e.msg);
    return j;
}

static void append(struct journal *j, struct usage_record *r)
{
    uint64_t ticket;
    err e = {0};
    for (int i = 0; i < 1000 && !journal_has_room(journal_writer(j, 0), 1); i++)
        poll(NULL, 0, 5);
    journal_append(journal_writer(j, 0), r);
    if (journal_flush(journal_writer(j, 0), &ticket, &e)) fail_msg("%s", e.msg);
}

/* Five calls, the fourth of unknown cost, the fifth cut by its client. */
static void fill_journal(struct state *s)
{
    struct journal *j = open_journal(s);
    for (int64_t i = 1; i <= 5; i++) {
        struct usage_record r = call(i);
        if (i == 2) {
            r.provider = S("anthropic");
            r.dialect = DIALECT_MESSAGES;
            r.model = S("claude-x");
            r.session = S("run-2");
            r.tags = S("b, b");
        }
        if (i == 3) {
            r.status = 429;
            r.error = S("rate_limited");
            r.started_us -= 3 * USEC_PER_DAY;
        }
        if (i == 4) {
            r.cost_nanousd = COST_UNKNOWN;
            r.model = S("\x1b[31mnew");
            r.tags = S("");
        }
        if (i == 5) {
            r.outcome = CALL_CANCELLED;
            r.status = 0;
            r.is_estimated = true;
            r.first_us = -1;
        }
        append(j, &r);
    }
    journal_close(j);
    clock_freeze(NOW, 0);
}

static void usage_without_a_journal_is_nothing_and_without_a_folder_an_error(void **state)
{
    struct state *s = *state;
    assert_int_equal(RUN(s, "usage", "--json", "--data", s->dir), EXIT_OK);
    const struct json *tree = parsed(s, s->out);
    assert_at(tree, "calls", "0");
    assert_at(tree, "cost_nanousd", "0");
    assert_at(tree, "cost_usd", "0.000000000");
    assert_int_equal(RUN(s, "usage", "--data", "/nonexistent"), EXIT_FAILED);
    assert_has(s->err, "there is no data folder /nonexistent");
    assert_int_equal(RUN(s, "requests", "--json", "--data", s->dir), EXIT_OK);
    assert_string_equal(s->out, "");
    assert_int_equal(RUN(s, "requests", "--data", s->dir), EXIT_OK);
    assert_has(s->out, "TIME (UTC)");
}

static void usage_sums_calls_tokens_and_known_costs(void **state)
{
    struct state *s = *state;
    fill_journal(s);
    assert_int_equal(RUN(s, "usage", "--json", "--data", s->dir), EXIT_OK);
    const struct json *tree = parsed(s, s->out);
    assert_at(tree, "calls", "5");
    assert_at(tree, "failed_calls", "1");
    assert_at(tree, "cancelled_calls", "1");
    assert_at(tree, "estimated_calls", "1");
    assert_at(tree, "unknown_cost_calls", "1");
    assert_at(tree, "tokens.input", "5000");
    assert_at(tree, "tokens.cache_read", "1000");
    assert_at(tree, "tokens.cache_write", "150");
    assert_at(tree, "tokens.cache_write_1h", "20");
    assert_at(tree, "tokens.output", "250");
    assert_at(tree, "tokens.reasoning", "30");
    assert_at(tree, "tokens.total", "6420");
    assert_at(tree, "cost_nanousd", "11000000"); /* 1 + 2 + 3 + 5 */
    assert_at(tree, "cost_usd", "0.011000000");
    assert_null(json_at(tree, S("groups")));

    assert_int_equal(RUN(s, "usage", "--data", s->dir), EXIT_OK);
    assert_has(
        s->out,
        "\nTOTAL      5       1  5,000       1,000          170     250         30  6,420  0.011000000\n");
    assert_has(s->out, "\n+ 1 call of unknown cost\n1 call with estimated tokens");
}

static void usage_groups_by_every_property(void **state)
{
    struct state *s = *state;
    fill_journal(s);
    assert_int_equal(RUN(s, "usage", "--by", "model", "--json", "--data", s->dir), EXIT_OK);
    const struct json *tree = parsed(s, s->out), *g = json_at(tree, S("groups"))->child;
    assert_at(tree, "by", "model");
    assert_at(g, "model", "gpt-x"); /* the dearest first */
    assert_at(g, "calls", "3");
    assert_at(g, "cost_usd", "0.009000000");
    assert_at(g->next, "model", "claude-x");
    assert_null_at(g->next->next, "cost_nanousd"); /* unknown is not 0 */
    assert_null_at(g->next->next, "cost_usd");
    assert_at(g->next->next, "unknown_cost_calls", "1");
    assert_int_equal(RUN(s, "usage", "--by", "model", "--data", s->dir), EXIT_OK);
    assert_has(s->out, "MODEL ");
    assert_has(s->out, "?[31mnew "); /* no escape sequence of a client reaches a terminal */
    assert_has(s->out, "      unknown\n");

    static const struct {
        const char *by;
        unsigned n;
        const char *first;
    } cases[] = {
        {"provider", 2, "openai"}, {"key", 1, "alice"},     {"project", 1, "demo"},   {"user", 1, ""},
        {"task", 1, ""},           {"session", 2, "run-1"}, {"day", 2, "2024-10-04"}, {"dialect", 2, "chat"},
        {"status", 3, "0"},        {"tags", 3, "b"},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        assert_int_equal(RUN(s, "usage", "--by", (char *)(uintptr_t)cases[i].by, "--json", "--data", s->dir),
                         EXIT_OK);
        const struct json *groups = json_at(parsed(s, s->out), S("groups"));
        assert_int_equal(groups->n, cases[i].n);
        assert_at(groups->child, cases[i].by, cases[i].first);
    }
    assert_int_equal(RUN(s, "usage", "--by", "tags", "--json", "--data", s->dir), EXIT_OK);
    assert_at(json_at(parsed(s, s->out), S("groups"))->child, "calls", "4"); /* "b, b" counts once */
    assert_int_equal(RUN(s, "usage", "--by", "colour", "--data", s->dir), EXIT_USAGE);
    assert_has(s->err, "--by takes model, provider, ");
}

static void assert_calls(struct state *s, char *flag, char *value, const char *wanted)
{
    assert_int_equal(RUN(s, "usage", "--json", "--data", s->dir, flag, value), EXIT_OK);
    const struct json *v = json_at(parsed(s, s->out), S("calls"));
    if (!str_eq(v->text, str_c(wanted)))
        fail_msg("%s %s: %.*s calls, not %s", flag, value, STR(v->text), wanted);
}

static void filters_select_calls(void **state)
{
    struct state *s = *state;
    fill_journal(s);
    assert_calls(s, "--session", "run-2", "1"); /* the cost of one run of an agent */
    assert_at(parsed(s, s->out), "cost_usd", "0.002000000");
    assert_calls(s, "--model", "gpt-*", "3");
    assert_calls(s, "--model", "fast", "5"); /* as asked for */
    assert_calls(s, "--provider", "anthropic", "1");
    assert_calls(s, "--key", "alice", "5");
    assert_calls(s, "--key", "AB000000000000000000000000000000", "5");
    assert_calls(s, "--key", "bob", "0");
    assert_calls(s, "--project", "d?mo", "5");
    assert_calls(s, "--user", "u", "0");
    assert_calls(s, "--task", "", "5");
    assert_calls(s, "--tag", "a", "3");
    assert_calls(s, "--tag", "b", "4");
    assert_calls(s, "--status", "429", "1");
    assert_calls(s, "--status", "4xx", "1");
    assert_calls(s, "--status", "2xx", "3");
    assert_calls(s, "--status", "failed", "1");
    assert_calls(s, "--status", "cancelled", "1");
    assert_calls(s, "--dialect", "messages", "1");
    assert_calls(s, "--since", "24h", "4");
    assert_calls(s, "--since", "7d", "5");
    assert_calls(s, "--since", "2024-10-04", "4");
    assert_calls(s, "--until", "2024-10-04", "1");
    assert_calls(s, "--until", "2024-10-04T10:21:30Z", "2");
    static const char *const bad[][2] = {{"--since", "yesterday"},
                                         {"--until", "7y"},
                                         {"--status", "teapot"},
                                         {"--dialect", "latin"},
                                         {"--since", "99999999999999d"}};
    for (size_t i = 0; i < LENGTH_OF(bad); i++)
        assert_int_equal(
            RUN(s, "usage", "--data", s->dir, (char *)(uintptr_t)bad[i][0], (char *)(uintptr_t)bad[i][1]),
            EXIT_USAGE);
}

static void requests_are_listed_newest_last(void **state)
{
    struct state *s = *state;
    fill_journal(s);
    assert_int_equal(RUN(s, "requests", "--json", "--data", s->dir), EXIT_OK);
    str rest = str_c(s->out);
    static const char *const costs[] = {"0.003000000", "0.001000000", "0.002000000", "", "0.005000000"};
    const struct json *lines[5];
    for (size_t i = 0; i < 5; i++) {
        str line = str_cut(&rest, '\n');
        lines[i] = parsed(s, str_to_c(&s->a, line));
        if (*costs[i]) assert_at(lines[i], "cost_usd", costs[i]);
    }
    assert_int_equal(rest.len, 0);
    const struct json *first = lines[1], *last = lines[4];
    assert_at(first, "request_id", "01000000-0000-0000-0000-000000000000");
    assert_at(first, "started_at", "2024-10-04T10:21:00.000000Z");
    assert_at(first, "key", "alice");
    assert_at(first, "key_id", "ab000000000000000000000000000000");
    assert_at(first, "project", "demo");
    assert_null_at(first, "user");
    assert_null_at(first, "task");
    assert_at(first, "session", "run-1");
    assert_int_equal(json_at(first, S("tags"))->n, 2);
    assert_at(first, "provider", "openai");
    assert_at(first, "model", "gpt-x");
    assert_at(first, "model_asked", "fast");
    assert_at(first, "dialect", "chat");
    assert_int_equal(json_at(first, S("streamed"))->type, JSON_FALSE);
    assert_at(first, "outcome", "completed");
    assert_at(first, "status", "200");
    assert_null_at(first, "error");
    assert_at(first, "tokens.cache_write_1h", "4");
    assert_at(first, "total_tokens", "1284");
    assert_at(first, "cost_nanousd", "1000000");
    assert_at(first, "connect_us", "0");
    assert_at(first, "total_us", "1500000");
    assert_at(first, "bytes_out", "20");
    assert_at(first, "trace_id", "0123456789abcdef0123456789abcdef");
    assert_int_equal(json_at(first, S("node"))->text.len, 32);
    assert_non_null(json_at(first, S("boot")));
    assert_int_equal(json_at(first, S("n"))->type, JSON_STRING);
    assert_null_at(lines[3], "cost_nanousd");
    assert_null_at(lines[3], "cost_usd");
    assert_null_at(last, "status");
    assert_null_at(last, "first_us");
    assert_at(last, "outcome", "cancelled");
    assert_int_equal(json_at(last, S("estimated"))->type, JSON_TRUE);

    assert_int_equal(RUN(s, "requests", "--data", s->dir), EXIT_OK);
    assert_has(s->out, "unknown");
    assert_has(s->out, "cancelled, estimated\n");
    assert_has(s->out, "rate_limited\n");
    assert_has_not(s->out, "\x1b");
}

static void limit_keeps_the_last_ones(void **state)
{
    struct state *s = *state;
    struct journal *j = open_journal(s);
    /* started in an order other than that of the journal: the heap must keep the newest all the same */
    for (unsigned i = 0; i < 200; i++) {
        struct usage_record r = call((int64_t)(i * 73 % 200));
        append(j, &r);
    }
    journal_close(j);
    for (unsigned limit = 1; limit <= 200; limit += 37) {
        char number[16];
        snprintf(number, sizeof number, "%u", limit);
        assert_int_equal(RUN(s, "requests", "--json", "--limit", number, "--data", s->dir), EXIT_OK);
        str rest = str_c(s->out);
        for (unsigned i = 200 - limit; i < 200; i++) {
            char wanted[32];
            str line = str_cut(&rest, '\n');
            snprintf(wanted, sizeof wanted, "%u", i * 1000000);
            assert_at(parsed(s, str_to_c(&s->a, line)), "cost_nanousd", wanted);
        }
        assert_int_equal(rest.len, 0);
    }
    assert_int_equal(RUN(s, "requests", "--json", "--data", s->dir), EXIT_OK);
    unsigned n = 0;
    for (const char *p = s->out; *p; p++)
        n += *p == '\n';
    assert_int_equal(n, 50);
    assert_int_equal(RUN(s, "requests", "--limit", "0", "--data", s->dir), EXIT_USAGE);
    assert_int_equal(RUN(s, "requests", "--limit", "many", "--data", s->dir), EXIT_USAGE);
}

/* --- following --- */

static pid_t start_following(struct state *s, int *from)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        close(fds[1]);
        _exit(cli_main(&app, 6,
                       (char *[]){"catalyst", "requests", "--json", "--follow", "--data", s->dir, NULL}));
    }
    close(fds[1]);
    *from = fds[0];
    return pid;
}

/* One line, waiting for at most 20 s. */
static void read_line(int fd, char *line, size_t size)
{
    size_t n = 0;
    while (n + 1 < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        assert_int_equal(read(fd, line + n, 1), 1);
        if (line[n] == '\n') break;
        n++;
    }
    line[n] = '\0';
}

static int wait_exit(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void follow_prints_calls_as_they_end_until_interrupted(void **state)
{
    struct state *s = *state;
    int from;
    pid_t pid = start_following(s, &from); /* before there is a journal */
    struct journal *j = open_journal(s);
    char line[8192];
    for (int64_t i = 1; i <= 3; i++) {
        struct usage_record r = call(i);
        append(j, &r);
        read_line(from, line, sizeof line);
        char wanted[32];
        snprintf(wanted, sizeof wanted, "%d", (int)i * 1000000);
        assert_at(parsed(s, line), "cost_nanousd", wanted);
    }
    assert_int_equal(kill(pid, SIGINT), 0);
    assert_int_equal(wait_exit(pid), EXIT_INTERRUPTED);
    close(from);
    journal_close(j);
}

static void follow_ends_when_its_reader_goes_away(void **state)
{
    struct state *s = *state;
    int from;
    pid_t pid = start_following(s, &from);
    close(from);
    assert_int_equal(wait_exit(pid), EXIT_OK);
}

/* --- health --- */

/* A child that accepts one connection and answers with the text; NULL never answers. */
static pid_t start_server(const char *answer, uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char request[2048];
        int c = accept(fd, NULL, NULL);
        ssize_t n = recv(c, request, sizeof request - 1, 0);
        bool is_right = n > 0 && strncmp(request, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:", 39) == 0;
        /* byte by byte: the status line may come in any number of pieces */
        for (const char *p = answer; *p; p++)
            if (send(c, p, 1, MSG_NOSIGNAL) != 1) break;
        close(c);
        _exit(is_right ? 0 : 1);
    }
    close(fd);
    return pid;
}

static int health(struct state *s, const char *answer)
{
    uint16_t port;
    char url[64];
    pid_t pid = start_server(answer, &port);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    int code = RUN(s, "health", "--url", url);
    assert_int_equal(wait_exit(pid), 0);
    return code;
}

static void health_tells_well_from_unwell_from_unreachable(void **state)
{
    struct state *s = *state;
    assert_int_equal(health(s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), EXIT_OK);
    assert_has(s->out, "/healthz: ok\n");
    assert_int_equal(health(s, "HTTP/1.1 503 Service Unavailable\r\n\r\n"), EXIT_FAILED);
    assert_has(s->err, "not well, it answered 503");
    assert_int_equal(health(s, ""), EXIT_UNREACHABLE);
    assert_has(s->err, "the connection was closed");
    assert_int_equal(health(s, "SSH-2.0-OpenSSH_9.2\r\n"), EXIT_UNREACHABLE);
    assert_has(s->err, "the answer is not HTTP");
    assert_int_equal(RUN(s, "health", "--url", "http://127.0.0.1:1"), EXIT_UNREACHABLE);
    assert_has(s->err, "cannot connect");
}

static void health_asks_the_configured_address(void **state)
{
    struct state *s = *state;
    uint16_t port;
    char text[64];
    pid_t pid = start_server("HTTP/1.1 200 OK\r\n\r\n", &port);
    snprintf(text, sizeof text, "listen: 0.0.0.0:%u\n", port);
    write_config(s, text);
    assert_int_equal(RUN(s, "health", "--data", s->dir), EXIT_OK);
    assert_int_equal(wait_exit(pid), 0);
    assert_int_equal(RUN(s, "health", "--data", s->dir, "--listen", "127.0.0.1:0"), EXIT_USAGE);
    assert_has(s->err, "name the server with --url");
    assert_int_equal(RUN(s, "health", "--data", s->dir, "--set", "tls.cert=c.pem"), EXIT_USAGE);
    assert_has(s->err, "plain http only");
    assert_int_equal(RUN(s, "health", "--url", "https://localhost"), EXIT_USAGE);
    assert_has(s->err, "plain http only");
    assert_int_equal(RUN(s, "health", "--url", "localhost:80"), EXIT_USAGE);
}

static void a_full_disk_under_standard_output_is_an_error(void **state)
{
    struct state *s = *state;
    (void)s;
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) skip();
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(full, 1);
        int none = open("/dev/null", O_WRONLY);
        dup2(none, 2);
        _exit(cli_main(&app, 2, (char *[]){"catalyst", "version", NULL}));
    }
    close(full);
    assert_int_equal(wait_exit(pid), EXIT_LIMIT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(help_lists_the_commands),
        TEST(help_of_a_command_lists_its_flags_and_the_configuration_keys),
        TEST(unknown_commands_and_flags_are_usage_errors_with_a_guess),
        TEST(flags_take_values_in_both_forms),
        TEST(version_is_printed_in_both_forms),
        TEST(config_check_says_ok_or_everything_that_is_wrong),
        TEST(config_check_asks_the_gateway_too),
        TEST(any_key_can_be_set_by_a_flag),
        TEST(planted_secrets_never_reach_the_output),
        TEST(the_reference_is_markdown),
        TEST(a_new_key_is_sound_and_its_hash_stands_beside_it),
        TEST(usage_without_a_journal_is_nothing_and_without_a_folder_an_error),
        TEST(usage_sums_calls_tokens_and_known_costs),
        TEST(usage_groups_by_every_property),
        TEST(filters_select_calls),
        TEST(requests_are_listed_newest_last),
        TEST(limit_keeps_the_last_ones),
        TEST(follow_prints_calls_as_they_end_until_interrupted),
        TEST(follow_ends_when_its_reader_goes_away),
        TEST(health_tells_well_from_unwell_from_unreachable),
        TEST(health_asks_the_configured_address),
        TEST(a_full_disk_under_standard_output_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
