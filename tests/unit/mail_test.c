/* Messages of mails: headers that nobody can get into, folding, quoted-printable, templates in both languages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/mail/internal.h"

#define URL "https://catalyst.example.com/base"

struct state {
    struct arena a;
    err e;
    str message;
};

static int set_up(void **state)
{
    struct state *s = calloc(1, sizeof *s);
    arena_init(&s->a, 4u << 20, 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct state *s = *state;
    arena_fini(&s->a);
    free(s);
    return 0;
}

static enum errc compose(struct state *s, const char *to, const char *name, const char *subject, const char *body)
{
    struct mail_head head = {.id = {{1}}, .host = S("catalyst.example.com"), .date_us = 1764045693LL * USEC_PER_S,
                             .from_address = S("catalyst@example.com"), .from_name = S("Catalyst"), .to_address = str_c(to), .to_name = str_c(name)};
    struct mail_text text = {str_c(subject), str_c(body), S("<p>x</p>")};
    s->e = (err){0};
    return mail_compose(&s->a, &head, &text, &s->message, &s->e);
}

static bool has(const struct state *s, const char *what) { return str_find(s->message, str_c(what)) >= 0; }

static void a_message_is_plain_ascii_with_short_lines(void **state)
{
    struct state *s = *state;
    char body[3000];
    for (size_t i = 0; i + 1 < sizeof body; i++)
        body[i] = "Grüße = \t.\n"[i % 12] ? "Grüße = \t.\n"[i % 12] : ' ';
    body[sizeof body - 1] = '\0';
    assert_int_equal(compose(s, "ada@example.com", "Ada Läufer \"the\" \\ First", "Grüße aus dem Norden, und zwar sehr viele und sehr herzliche Grüße", body), ERR_NONE);
    size_t column = 0;
    for (size_t i = 0; i < s->message.len; i++) {
        assert_true((unsigned char)s->message.p[i] < 0x80);
        column = s->message.p[i] == '\n' ? 0 : column + 1;
        assert_true(column <= 78);
        if (s->message.p[i] == '\n') assert_int_equal(s->message.p[i - 1], '\r');
        if (s->message.p[i] == '\r') assert_int_equal(s->message.p[i + 1], '\n');
    }
    assert_true(has(s, "Date: Tue, 25 Nov 2025 04:41:33 +0000\r\n"));
    assert_true(has(s, "Auto-Submitted: auto-generated\r\n"));
    assert_true(has(s, "Message-ID: <01000000-0000-0000-0000-000000000000@catalyst.example.com>\r\n"));
    assert_true(has(s, " <ada@example.com>\r\n"));
}

static void names_are_quoted_and_look_alike_words_are_encoded(void **state)
{
    struct state *s = *state;
    assert_int_equal(compose(s, "ada@example.com", "Ada \"x\" \\ <eve@evil.example>", "Hello", "x"), ERR_NONE);
    assert_true(has(s, "To: \"Ada \\\"x\\\" \\\\ <eve@evil.example>\"\r\n <ada@example.com>\r\n"));
    assert_int_equal(compose(s, "ada@example.com", "=?UTF-8?Q?=0AX?=", "=?UTF-8?Q?=0AX?=", "x"), ERR_NONE);
    assert_false(has(s, "=?UTF-8?Q?"));
}

static void nothing_gets_into_the_head(void **state)
{
    static const char *const addresses[] = {"", "a", "@b", "a@", "a b@c.de", "a@b\r\nBcc: x@y.de", "a@b\n", "a@b>", "<a@b", "a@b,c@d", "\"a\"@b", "a@b;c", "a@b@c", "a@.b", "a@b.", "a@-b", "a@b_c", "a\x7f@b", "a\xff@b"};
    static const char *const phrases[] = {"a\r\nBcc: eve@evil.example", "a\nb", "a\rb", "a\tb", "\x01", "a\x7f", "\xff"};
    struct state *s = *state;
    for (size_t i = 0; i < LENGTH_OF(addresses); i++) {
        assert_false(mail_address_is_safe(str_c(addresses[i])));
        assert_int_equal(compose(s, addresses[i], "Ada", "Hello", "x"), ERR_INVALID);
    }
    for (size_t i = 0; i < LENGTH_OF(phrases); i++) {
        assert_int_equal(compose(s, "a@b.de", phrases[i], "Hello", "x"), ERR_INVALID);
        assert_int_equal(compose(s, "a@b.de", "Ada", phrases[i], "x"), ERR_INVALID);
    }
    assert_true(mail_address_is_safe(S("jörg+x'y@bücher.example")));
}

static enum errc render(struct state *s, const char *kind, enum mail_language language, const struct mail_value *values, unsigned n, struct mail_text *out)
{
    s->e = (err){0};
    return mail_render(&s->a, mail_template_of(str_c(kind)), language, values, n, S(URL), out, &s->e);
}

static void a_text_is_filled_and_html_escaped(void **state)
{
    struct state *s = *state;
    const struct mail_value values[] = {{S("inviter"), S("<b>Eve</b> & \"co\"")}, {S("workspace"), S("see https://evil.example or WWW.evil.example")},
                                        {S("role"), S("viewer")}, {S("link"), S(URL "/invite#abc")}};
    struct mail_text text;
    assert_int_equal(render(s, "invitation", MAIL_DE, values, LENGTH_OF(values), &text), ERR_NONE);
    assert_true(str_find(text.text, S("\n\n" URL "/invite#abc\n\n")) >= 0);
    assert_true(str_find(text.html, S("<p><a href=\"" URL "/invite#abc\">" URL "/invite#abc</a></p>")) >= 0);
    assert_true(str_find(text.html, S("&lt;b&gt;Eve&lt;/b&gt; &amp; &quot;co&quot;")) >= 0);
    assert_true(str_find(text.html, S("<b>")) < 0);
    assert_true(str_find(text.html, S("lang=\"de\"")) >= 0);
    assert_true(str_find(text.text, S("https://evil")) < 0 && str_find(text.text, S("WWW.evil")) < 0);
}

static void values_that_cannot_stand_in_a_mail_are_refused(void **state)
{
    static const char *const links[] = {"", "https://evil.example/invite#abc", URL, URL ".evil.example/x", "javascript:alert(1)", URL "/x y", URL "/\"onclick=", URL "/<", "http://catalyst.example.com/base/x"};
    struct state *s = *state;
    struct mail_text text;
    struct mail_value values[] = {{S("minutes"), S("30")}, {S("link"), S(URL "/reset#abc")}};
    assert_int_equal(render(s, "password_reset", MAIL_EN, values, 2, &text), ERR_NONE);
    assert_int_equal(render(s, "password_reset", MAIL_EN, values, 1, &text), ERR_INTERNAL);
    for (size_t i = 0; i < LENGTH_OF(links); i++) {
        values[1].value = str_c(links[i]);
        assert_int_equal(render(s, "password_reset", MAIL_EN, values, 2, &text), ERR_INVALID);
    }
    values[1].value = S(URL "/reset#abc");
    values[0].value = S("3\r\n0");
    assert_int_equal(render(s, "password_reset", MAIL_EN, values, 2, &text), ERR_INVALID);
}

static void the_language_is_the_first_that_there_is(void **state)
{
    (void)state;
    assert_true(str_eq(mail_language_of(S("de-AT,de;q=0.9,en;q=0.8")), S("de")));
    assert_true(str_eq(mail_language_of(S("fr-FR, fr;q=0.9, en-GB;q=0.8, de;q=0.1")), S("en")));
    assert_true(str_eq(mail_language_of(S("DE")), S("de")));
    assert_int_equal(mail_language_of(S("fr, *")).len, 0);
    assert_int_equal(mail_language_of(S("")).len, 0);
    assert_int_equal(mail_language_of(S("deutsch,-,;,")).len, 0);
}

static void a_sender_is_an_address_with_or_without_a_name(void **state)
{
    str address, name;
    (void)state;
    assert_int_equal(mail_mailbox_parse(S(" Catalyst of ACME <c@acme.example> "), &address, &name, NULL), ERR_NONE);
    assert_true(str_eq(address, S("c@acme.example")) && str_eq(name, S("Catalyst of ACME")));
    assert_int_equal(mail_mailbox_parse(S("\"A, B\" <c@acme.example>"), &address, &name, NULL), ERR_NONE);
    assert_true(str_eq(name, S("A, B")));
    assert_int_equal(mail_mailbox_parse(S("c@acme.example"), &address, &name, NULL), ERR_NONE);
    assert_int_equal(name.len, 0);
    assert_int_equal(mail_mailbox_parse(S("A\r\nBcc: x <c@acme.example>"), &address, &name, NULL), ERR_INVALID);
    assert_int_equal(mail_mailbox_parse(S("nobody"), &address, &name, NULL), ERR_INVALID);
    assert_int_equal(mail_mailbox_parse(S(""), &address, &name, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_is_plain_ascii_with_short_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_quoted_and_look_alike_words_are_encoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_gets_into_the_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_text_is_filled_and_html_escaped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_that_cannot_stand_in_a_mail_are_refused, set_up, tear_down),
        cmocka_unit_test(the_language_is_the_first_that_there_is),
        cmocka_unit_test(a_sender_is_an_address_with_or_without_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
