/* Every statement of the program, on both engines: it parses, and it keeps the rules of store/db.h. The program is
 * linked with all of the library, so that no statement is left out. */
#include "store_fixture.h"

#include <ctype.h>

#include "store/engine.h"

static unsigned n_wrong;

static void wrong(const struct sql *s, const char *what)
{
    fprintf(stderr, "%s statement %s: %s\n    %s\n", db_names[s->db], s->name, what, s->text);
    n_wrong++;
}

/* The text behind a quoted piece or a comment that begins at p; p itself when none does. */
static const char *skip_quoted(const char *p)
{
    const char *end = NULL;
    if (*p == '\'' || *p == '"') {
        end = strchr(p + 1, *p);
        return end ? end + 1 : p + strlen(p);
    }
    if (strncmp(p, "/*", 2) == 0) {
        end = strstr(p, "*/");
        return end ? end + 2 : p + strlen(p);
    }
    return p;
}

static void check_parameters(const struct sql *s, const char *text)
{
    unsigned n_seen = 0;
    for (const char *p = text; *p;) {
        const char *behind = skip_quoted(p);
        if (behind != p || *p != '$') {
            p = behind == p ? p + 1 : behind;
            continue;
        }
        char *end;
        unsigned long number = strtoul(p + 1, &end, 10);
        if (end == p + 1) wrong(s, "a $ without a number");
        if (number > n_seen + 1 || number == 0) wrong(s, "parameters are not numbered in order of first use");
        if (number == n_seen + 1) n_seen++;
        p = end;
    }
    if (n_seen != strlen(s->params)) wrong(s, "it has not as many parameters as types");
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += len)
        if (!isalnum((unsigned char)p[len]) && p[len] != '_' &&
            (p == text || (!isalnum((unsigned char)p[-1]) && p[-1] != '_')))
            return true;
    return false;
}

static void statements_keep_the_rules(void **state)
{
    (void)state;
    size_t n;
    const struct sql *const *all = sql_registry(&n);
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        const struct sql *s = all[i];
        check_parameters(s, s->text);
        if (s->postgres) check_parameters(s, s->postgres);
        if (strspn(s->params, "uirtb") != strlen(s->params)) wrong(s, "an unknown type letter");
        if (strstr(s->text, "--"))
            wrong(s, "a comment to the end of the line would swallow the filters of a list");
        if (!(s->flags & SQL_INSTANCE) &&
            (!has_word(s->text, "workspace_id") || (s->postgres && !has_word(s->postgres, "workspace_id"))))
            wrong(s, "it does not name workspace_id and is not tagged SQL_INSTANCE");
    }
    assert_int_equal(n_wrong, 0);
}

static enum errc prepare_unit(struct tx *tx, void *ctx, err *e)
{
    return tx->db->store->engine->prepare(tx, ctx, e);
}

static void every_statement_is_understood(void **state)
{
    struct store_fixture *f = *state;
    size_t n;
    const struct sql *const *all = sql_registry(&n);
    for (size_t i = 0; i < n; i++)
        for (int id = 0; id < DB_IDS; id++) {
            if (all[i]->db != (enum db_id)id && !(all[i]->flags & SQL_ANYWHERE)) continue;
            if (db_read(store_db(f->store, (enum db_id)id), prepare_unit, (void *)all[i], &f->e))
                wrong(all[i], f->e.msg);
        }
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest rules[] = {cmocka_unit_test(statements_keep_the_rules)};
    const struct CMUnitTest tests[] = {ON_STORE(every_statement_is_understood)};
    return cmocka_run_group_tests(rules, NULL, NULL) + RUN_ON_BOTH(tests);
}
