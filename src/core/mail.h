/* mail.h - mail to people: made from templates in their language, sealed while it waits, sent by a job.
 *
 * A mail is rendered in `prepare` (mail_prepare) and added in the unit that wants it (tx_mail): it exists when that unit commits. While
 * it waits it is one sealed value: neither the address nor a link's token stands in plain in the database, the job's input or the log.
 * The job hands it to mail.smtp_url by TLS with a verified certificate, or, without a server, writes it into DIR/mail as an .eml file
 * (0600) for an administrator to look at; such files go after mail.spool_days. Failures that may pass are tried again until the mail
 * expires; a mail that cannot be sent is a job that failed, of which the administrators of the instance are told.
 * Sent at least once, always with the same Message-ID.
 * Messages: multipart/alternative of text and HTML, made from one text; headers with RFC 2047 words where they are not ASCII;
 * Auto-Submitted, so that nothing answers. Control characters in a value, an address or a name are refused (ERR_INVALID), so nothing can
 * become a header; a value whose name is "link" must begin with the public address of this Catalyst (listen.public_url), other values
 * cannot bring links along.
 * Threads: any but loops.
 * Source: RFC 5322, 2045 to 2047, 6532, 3834 (Auto-Submitted), 5321, 3207 (STARTTLS).
 */
#ifndef CORE_MAIL_H
#define CORE_MAIL_H

#include "core/api.h"
#include "core/reload.h"
#include "core/secrets.h"
#include "store/store.h"

extern const struct option_table mail_options;

struct mailer;
struct jobs;
struct mailer_source {
    struct store *store;
    const struct secrets *secrets;
    struct reload *reload; /* the server's configuration, as it is when a mail is sent */
    const char *data_dir;
    str public_url; /* without a slash at its end */
    struct jobs *jobs;
};
/* Registers its kind of job and its forgetting: before jobs_start. */
WARN_UNUSED enum errc mailer_new(struct mailer **out, const struct mailer_source *source, err *e);
void mailer_free(struct mailer *m); /* after jobs_stop; NULL is fine */

struct mail_value {
    str name, value; /* what stands for {name} in the template: one line of text */
};
struct mail {
    str kind; /* a template of mail/templates.def: "invitation" */
    uuid workspace_id, person_id; /* nil: none; whose language it is in, and whose job it is */
    str language;                 /* "de"; empty: the person's, else the workspace's, else mail.language */
    str to, name;                 /* the address, and a name for it or empty */
    const struct mail_value *values;
    unsigned n;
    usec expires_us; /* not sent after that */
};
/* A mail that only has to be added. */
struct mail_ready {
    uuid id, workspace_id, person_id;
    str kind, sealed;
    usec now_us, expires_us;
};
/* For prepare: not in a unit, since it reads the language and takes randomness. Everything is in the arena. ERR_INVALID: an address or a
 * value that cannot stand in a mail; ERR_INTERNAL: no such template, or a value that it needs is missing. */
WARN_UNUSED enum errc mail_prepare(struct mailer *m, struct arena *a, const struct mail *mail, usec now,
                                   struct mail_ready *out, err *e);
/* For apply: the mail and the job that sends it. A unit that runs again adds the same. */
WARN_UNUSED enum errc tx_mail(struct tx *tx, const struct mail_ready *mail, err *e);

/* "de" for "de-AT,de;q=0.9,en;q=0.8": the first language of an Accept-Language for which there are templates; empty: none. */
str mail_language_of(str accept_language);

/* For reloads: the settings of mail fit together. ERR_CONFIG, with a line for each problem. */
WARN_UNUSED enum errc mail_config_check(const struct config *c, struct buf *problems, err *e);

extern const struct api_table mail_api; /* POST /api/mail/test; service: struct mailer * */

#endif
