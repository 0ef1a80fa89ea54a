/* message.c - a message as it goes over the wire: headers that are ASCII whatever they say, and bodies in quoted-printable. */
#include "base/random.h"
#include "base/utf8.h"
#include "core/mail/internal.h"

#define MESSAGE_MAX (256u << 10)
#define ADDRESS_MAX 320
#define PHRASE_MAX 400 /* bytes of a name or subject */
#define WORD_BYTES 42  /* of text in an encoded word: 56 letters of Base64 and =?UTF-8?B??= are 68, RFC 2047 allows 75 */
#define QP_LINE 76

static bool is_control(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] == 0x7f) return true;
    return false;
}

static bool is_ascii(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] >= 0x80) return false;
    return true;
}

bool mail_address_is_safe(str address)
{
    static const char refused[] = " \"(),:;<>[\\]";
    ptrdiff_t at = str_chr(address, '@');
    if (at <= 0 || address.len > ADDRESS_MAX || is_control(address) || !utf8_is_valid(address)) return false;
    for (size_t i = 0; i < address.len; i++)
        if (memchr(refused, address.p[i], sizeof refused - 1)) return false;
    str domain = str_skip(address, (size_t)at + 1);
    if (!domain.len || domain.p[0] == '.' || domain.p[0] == '-' || domain.p[domain.len - 1] == '.') return false;
    for (size_t i = 0; i < domain.len; i++) {
        unsigned char c = (unsigned char)domain.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && c != '-' && c != '.' && c < 0x80) return false;
    }
    return true;
}

enum errc mail_mailbox_parse(str text, str *address, str *name, err *e)
{
    text = str_trim(text);
    ptrdiff_t open = str_chr(text, '<');
    *name = (str){"", 0};
    *address = text;
    if (open >= 0 && text.p[text.len - 1] == '>') {
        *address = str_of(text.p + open + 1, text.len - (size_t)open - 2);
        *name = str_trim(str_take(text, (size_t)open));
        if (name->len >= 2 && name->p[0] == '"' && name->p[name->len - 1] == '"')
            *name = str_of(name->p + 1, name->len - 2);
    }
    if (!mail_address_is_safe(*address) || is_control(*name) || !utf8_is_valid(*name) || name->len > PHRASE_MAX)
        return err_set(e, ERR_INVALID, "not an address such as catalyst@example.com or Catalyst <catalyst@example.com>");
    return ERR_NONE;
}

/* --- headers --- */

static void base64(struct buf *b, str s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = s.len - i < 3 ? s.len - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)s.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_add_char(b, k <= n ? letters[v >> (18 - 6 * k) & 63] : '=');
    }
}

/* RFC 2047: words of whole characters, each on a line of its own. */
static void encoded_words(struct buf *b, str s)
{
    for (bool is_first = true; s.len; is_first = false) {
        size_t n = s.len < WORD_BYTES ? s.len : WORD_BYTES;
        while (n > 1 && n < s.len && ((unsigned char)s.p[n] & 0xC0) == 0x80)
            n--;
        if (!is_first) buf_add(b, S("\r\n "));
        buf_add(b, S("=?UTF-8?B?"));
        base64(b, str_take(s, n));
        buf_add(b, S("?="));
        s = str_skip(s, n);
    }
}

/* Text that means nothing to a parser of headers: as it is when it is short ASCII that cannot be taken for an encoded word. */
static void put_phrase(struct buf *b, str s, bool is_quoted)
{
    if (!is_ascii(s) || s.len > 60 || str_find(s, S("=?")) >= 0) {
        encoded_words(b, s);
        return;
    }
    if (is_quoted) buf_add_char(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (is_quoted && (s.p[i] == '"' || s.p[i] == '\\')) buf_add_char(b, '\\');
        buf_add_char(b, s.p[i]);
    }
    if (is_quoted) buf_add_char(b, '"');
}

static void put_mailbox(struct buf *b, const char *field, str name, str address)
{
    buf_addf(b, "%s: ", field);
    if (name.len) {
        put_phrase(b, name, true);
        buf_add(b, S("\r\n "));
    }
    buf_addf(b, "<%.*s>\r\n", STR(address));
}

static void put_date(struct buf *b, usec at)
{
    static const char days[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"}; /* 1970-01-01 was a Thursday */
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char text[TIME_TEXT_LEN + 1];
    str t = time_format(at, text); /* 2026-11-25T04:41:33.000000Z */
    uint64_t month = 1;
    if (!str_to_u64(str_of(t.p + 5, 2), &month) || month < 1 || month > 12) month = 1;
    buf_addf(b, "Date: %s, %.2s %s %.4s %.8s +0000\r\n", days[at / USEC_PER_DAY % 7], t.p + 8, months[month - 1], t.p, t.p + 11);
}

/* --- bodies --- */

/* RFC 2045 section 6.7, lines with CRLF. */
static void quoted_printable(struct buf *b, str s)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t column = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n') {
            buf_add(b, S("\r\n"));
            column = 0;
            continue;
        }
        bool is_last = i + 1 == s.len || s.p[i + 1] == '\n';
        bool is_plain = (c > ' ' && c < 0x7f && c != '=') || (c == ' ' && !is_last);
        if (c == '.' && column == 0) is_plain = false; /* some servers forget to double it */
        if (column + (is_plain ? 1 : 3) > QP_LINE - 1) {
            buf_add(b, S("=\r\n"));
            column = 0;
        }
        if (is_plain) {
            buf_add_char(b, (char)c);
            column++;
        } else {
            buf_add_char(b, '=');
            buf_add_char(b, hex[c >> 4]);
            buf_add_char(b, hex[c & 15]);
            column += 3;
        }
    }
    buf_add(b, S("\r\n"));
}

static void put_part(struct buf *b, const char *boundary, const char *type, str body)
{
    buf_addf(b, "--%s\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", boundary, type);
    quoted_printable(b, body);
    buf_add(b, S("\r\n"));
}

enum errc mail_compose(struct arena *a, const struct mail_head *head, const struct mail_text *text, str *out, err *e)
{
    const str lines[] = {head->from_name, head->to_name, text->subject};
    char id[UUID_TEXT_LEN + 1], boundary[8 + UUID_TEXT_LEN + 1] = "=_cat_";
    struct buf b;
    if (!mail_address_is_safe(head->from_address) || !mail_address_is_safe(head->to_address))
        return err_set(e, ERR_INVALID, "this e-mail address cannot be written to");
    for (size_t i = 0; i < LENGTH_OF(lines); i++)
        if (is_control(lines[i]) || !utf8_is_valid(lines[i]) || lines[i].len > PHRASE_MAX)
            return err_set(e, ERR_INVALID, "a name or subject of a mail is one line of text, at most %d bytes", PHRASE_MAX);
    uuid_format(&head->id, id);
    memcpy(boundary + 6, id, sizeof id);
    buf_init(&b, MESSAGE_MAX);
    put_mailbox(&b, "From", head->from_name, head->from_address);
    put_mailbox(&b, "To", head->to_name, head->to_address);
    buf_add(&b, S("Subject: "));
    put_phrase(&b, text->subject, false);
    buf_add(&b, S("\r\n"));
    put_date(&b, head->date_us);
    buf_addf(&b,
             "Message-ID: <%s@%.*s>\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n"
             "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n",
             id, STR(head->host), boundary);
    put_part(&b, boundary, "text/plain", text->text);
    put_part(&b, boundary, "text/html", text->html);
    buf_addf(&b, "--%s--\r\n", boundary);
    enum errc rc = buf_err(&b);
    *out = rc == ERR_NONE ? str_dup(a, buf_str(&b)) : (str){0};
    buf_fini(&b);
    if (rc == ERR_NONE && !out->p) rc = ERR_TOO_LARGE;
    return rc == ERR_NONE ? ERR_NONE : err_code(e, rc);
}
