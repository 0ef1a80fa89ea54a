/* internal.h - what the files of core/mail share: texts from templates (template.c), messages of them (message.c), where they go
 * (deliver.c), and the mails that wait (mail.c). */
#ifndef CORE_MAIL_INTERNAL_H
#define CORE_MAIL_INTERNAL_H

#include "core/jobs.h"
#include "core/mail.h"

struct mailer {
    struct store *store;
    struct db *db;
    const struct secrets *secrets;
    struct reload *reload;
    str public_url, host; /* host: of public_url, for Message-ID */
    char *dir;            /* DIR/mail */
    struct job_kind kind;
    struct arena arena;
};

/* --- template.c --- */

enum mail_language { MAIL_EN, MAIL_DE, MAIL_LANGUAGES };
/* By its tag of two letters ("de"). */
WARN_UNUSED bool mail_language_parse(str tag, enum mail_language *out);

/* What a template says in a language. A text is paragraphs with an empty line between them; {name} stands for a value, and a paragraph
 * that is {link} alone for a link. */
struct mail_template {
    const char *kind;
    struct {
        const char *subject, *text;
    } in[MAIL_LANGUAGES];
};
const struct mail_template *mail_template_of(str kind); /* NULL: there is none */

struct mail_text {
    str subject, text, html;
};
/* ERR_INVALID: a value with control characters, or a link that leads elsewhere than to public_url; ERR_INTERNAL: a value is missing. */
WARN_UNUSED enum errc mail_render(struct arena *a, const struct mail_template *t, enum mail_language language,
                                  const struct mail_value *values, unsigned n, str public_url,
                                  struct mail_text *out, err *e);

/* --- message.c --- */

struct mail_head {
    uuid id;
    str host; /* behind the @ of Message-ID */
    usec date_us;
    str from_address, from_name, to_address, to_name;
};
/* An address as it may stand in a header and in a command of SMTP: one @, no spaces, control characters, quotes or brackets, at most 320
 * bytes, and a domain of letters, digits, hyphens, dots or what is not ASCII. */
bool mail_address_is_safe(str address);
/* Address and name of "Catalyst <catalyst@example.com>" or "catalyst@example.com". ERR_INVALID. */
WARN_UNUSED enum errc mail_mailbox_parse(str text, str *address, str *name, err *e);
/* The whole message with CRLF line ends. ERR_INVALID: an address, name or subject that cannot stand in a header. */
WARN_UNUSED enum errc mail_compose(struct arena *a, const struct mail_head *head, const struct mail_text *text,
                                   str *out, err *e);

/* --- deliver.c --- */

struct mail_letter {
    uuid id;
    usec created_us;
    str from, to, message;
};
/* By SMTP or into the spool folder, as the configuration says. is_cancelled may be NULL. Errors that may pass are retryable ones; no
 * message of an error holds an address or what the server said, since servers repeat addresses. */
WARN_UNUSED enum errc mail_deliver(struct mailer *m, struct arena *a, const struct config *c,
                                   const struct mail_letter *letter, bool (*is_cancelled)(void *ctx), void *ctx,
                                   err *e);

#endif
