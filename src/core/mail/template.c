/* template.c - texts of mails: one text for each kind and language, made into plain text and HTML. */
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "core/mail/internal.h"

#define TEXT_MAX (64u << 10)
#define VALUE_MAX 2048

static const struct mail_template templates[] = {
#define MAIL(kind, en_subject, en_text, de_subject, de_text) {kind, {{en_subject, en_text}, {de_subject, de_text}}},
#include "core/mail/templates.def"
#undef MAIL
};

static const char *const tags[MAIL_LANGUAGES] = {[MAIL_EN] = "en", [MAIL_DE] = "de"};

bool mail_language_parse(str tag, enum mail_language *out)
{
    for (unsigned i = 0; i < MAIL_LANGUAGES; i++)
        if (str_ieq(tag, str_c(tags[i]))) {
            *out = i;
            return true;
        }
    return false;
}

/* RFC 9110 section 12.5.4, but for weights: browsers send the list in the order of preference. */
str mail_language_of(str accept_language)
{
    enum mail_language language;
    for (unsigned i = 0; accept_language.len && i < 16; i++) {
        str range = str_cut(&accept_language, ','), tag = str_cut(&range, ';');
        tag = str_trim(tag);
        if (mail_language_parse(str_cut(&tag, '-'), &language)) return str_c(tags[language]);
    }
    return (str){"", 0};
}

const struct mail_template *mail_template_of(str kind)
{
    for (size_t i = 0; i < LENGTH_OF(templates); i++)
        if (str_eq(str_c(templates[i].kind), kind)) return &templates[i];
    return NULL;
}

/* --- values --- */

static bool is_link(str name) { return str_eq(name, S("link")); }

/* Only to this Catalyst, and nothing in it that HTML or a mail program could read as the end of the address. */
static bool link_is_ours(str link, str public_url)
{
    if (!str_starts(link, public_url) || link.len <= public_url.len || link.p[public_url.len] != '/') return false;
    for (size_t i = 0; i < link.len; i++)
        if ((unsigned char)link.p[i] <= ' ' || (unsigned char)link.p[i] >= 0x7f || memchr("\"'<>\\^`{|}", link.p[i], 10)) return false;
    return true;
}

static enum errc check_values(const struct mail_value *values, unsigned n, str public_url, err *e)
{
    for (unsigned i = 0; i < n; i++) {
        str v = values[i].value;
        for (size_t k = 0; k < v.len; k++)
            if ((unsigned char)v.p[k] < ' ' || v.p[k] == 0x7f)
                return err_set(e, ERR_INVALID, "'%.*s' of a mail must be one line without control characters", STR(values[i].name));
        if (!utf8_is_valid(v) || v.len > VALUE_MAX)
            return err_set(e, ERR_INVALID, "'%.*s' of a mail must be UTF-8 text of at most %d bytes", STR(values[i].name), VALUE_MAX);
        if (is_link(values[i].name) && !link_is_ours(v, public_url))
            return err_set(e, ERR_INVALID, "a link of a mail must lead to listen.public_url");
    }
    return ERR_NONE;
}

static enum errc value_of(const struct mail_value *values, unsigned n, str name, str *out, err *e)
{
    for (unsigned i = 0; i < n; i++)
        if (str_eq(values[i].name, name)) {
            *out = values[i].value;
            return ERR_NONE;
        }
    return err_set(e, ERR_INTERNAL, "a mail lacks its value '%.*s'", STR(name));
}

/* What people call themselves must not become a link in the mail of a stranger: "https://" and "www." are taken apart. */
static void put_plain(struct buf *b, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        str rest = str_skip(s, i);
        buf_add_char(b, s.p[i]);
        if (str_starts(rest, S("://")) || (rest.len > 4 && str_ieq(str_take(rest, 4), S("www.")))) buf_add_char(b, ' ');
    }
}

static void put_html(struct buf *b, str s)
{
    for (size_t i = 0; i < s.len; i++)
        switch (s.p[i]) {
        case '&': buf_add(b, S("&amp;")); break;
        case '<': buf_add(b, S("&lt;")); break;
        case '>': buf_add(b, S("&gt;")); break;
        case '"': buf_add(b, S("&quot;")); break;
        case '\'': buf_add(b, S("&#39;")); break;
        case '\n': buf_add(b, S("<br>\n")); break;
        default: buf_add_char(b, s.p[i]);
        }
}

/* --- texts --- */

static enum errc fill(struct buf *b, str pattern, const struct mail_value *values, unsigned n, err *e)
{
    while (pattern.len) {
        ptrdiff_t open = str_chr(pattern, '{');
        buf_add(b, str_take(pattern, open < 0 ? pattern.len : (size_t)open));
        if (open < 0) break;
        pattern = str_skip(pattern, (size_t)open + 1);
        str name = str_cut(&pattern, '}'), value;
        enum errc rc = value_of(values, n, name, &value, e);
        if (rc != ERR_NONE) return rc;
        if (is_link(name))
            buf_add(b, value);
        else
            put_plain(b, value);
    }
    return ERR_NONE;
}

static enum errc filled(struct arena *a, str pattern, const struct mail_value *values, unsigned n, str *out, err *e)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    enum errc rc = fill(&b, pattern, values, n, e);
    if (rc == ERR_NONE) {
        *out = b.failed ? (str){0} : str_dup(a, buf_str(&b));
        if (!out->p) rc = err_code(e, ERR_TOO_LARGE);
    }
    if (b.p) explicit_bzero(b.p, b.len);
    buf_fini(&b);
    return rc;
}

static void put_paragraph(struct buf *b, str text, bool is_link_alone)
{
    if (!is_link_alone) {
        buf_add(b, S("<p>"));
        put_html(b, text);
        buf_add(b, S("</p>\n"));
        return;
    }
    buf_add(b, S("<p><a href=\""));
    put_html(b, text);
    buf_add(b, S("\">"));
    put_html(b, text);
    buf_add(b, S("</a></p>\n"));
}

enum errc mail_render(struct arena *a, const struct mail_template *t, enum mail_language language,
                      const struct mail_value *values, unsigned n, str public_url, struct mail_text *out, err *e)
{
    str rest = str_c(t->in[language].text), separator = S("\n\n");
    struct buf html;
    enum errc rc = check_values(values, n, public_url, e);
    if (rc != ERR_NONE) return rc;
    if ((rc = filled(a, str_c(t->in[language].subject), values, n, &out->subject, e)) != ERR_NONE ||
        (rc = filled(a, rest, values, n, &out->text, e)) != ERR_NONE)
        return rc;
    buf_init(&html, TEXT_MAX);
    buf_addf(&html, "<!DOCTYPE html>\n<html lang=\"%s\"><head><meta charset=\"utf-8\"><title>", tags[language]);
    put_html(&html, out->subject);
    buf_add(&html, S("</title></head>\n<body style=\"font-family:sans-serif;max-width:40em;line-height:1.5\">\n"));
    while (rest.len && rc == ERR_NONE) {
        ptrdiff_t end = str_find(rest, separator);
        str paragraph = str_take(rest, end < 0 ? rest.len : (size_t)end), text;
        rc = filled(a, paragraph, values, n, &text, e);
        if (rc == ERR_NONE) put_paragraph(&html, text, str_eq(paragraph, S("{link}")));
        rest = end < 0 ? (str){0} : str_skip(rest, (size_t)end + separator.len);
    }
    buf_add(&html, S("</body></html>\n"));
    if (rc == ERR_NONE) {
        out->html = html.failed ? (str){0} : str_dup(a, buf_str(&html));
        if (!out->html.p) rc = err_code(e, ERR_TOO_LARGE);
    }
    if (html.p) explicit_bzero(html.p, html.len);
    buf_fini(&html);
    return rc;
}
