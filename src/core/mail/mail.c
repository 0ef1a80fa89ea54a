/* mail.c - mails that wait: rendered and sealed before a unit, added by it, sent by a job. */
#include "core/mail.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/events.h"
#include "core/jobs.h"
#include "core/mail/internal.h"
#include "json/tree.h"
#include "net/url.h"

#define JOB_KIND "mail.send"
#define TRIES_MAX 200 /* ten minutes apart at the most: the mail's own end comes first */
#define TIMEOUT_S 120
#define ARENA_LIMIT (64u << 10)

SQL(mail_add, DB_MAIN, SQL_INSTANCE, "utbii",
    "INSERT INTO mails (id, kind, message, created_us, expires_us) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING");
SQL(mail_get, DB_MAIN, SQL_INSTANCE, "u", "SELECT message, created_us, expires_us FROM mails WHERE id = $1");
SQL(mail_drop, DB_MAIN, SQL_INSTANCE, "u", "DELETE FROM mails WHERE id = $1");
SQL(mails_forget, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM mails WHERE expires_us < $1");
SQL(language_of_person, DB_MAIN, SQL_INSTANCE, "u", "SELECT language FROM users WHERE id = $1");
SQL(settings_of_workspace, DB_MAIN, SQL_INSTANCE, "u", "SELECT settings FROM workspaces WHERE id = $1");

/* --- making one --- */

struct finding {
    struct arena *a;
    const struct mail *mail;
    bool is_found;
    enum mail_language language;
};

static enum errc language_unit(struct tx *tx, void *ctx, err *e)
{
    struct finding *f = ctx;
    struct rows rows;
    enum errc rc = tx_query(tx, f->a, &language_of_person, PARAMS(v_uuid(&f->mail->person_id)), &rows, e);
    f->is_found = rc == ERR_NONE && rows.n && mail_language_parse(val_str(&row_at(&rows, 0)[0]), &f->language);
    if (rc != ERR_NONE || f->is_found) return rc;
    rc = tx_query(tx, f->a, &settings_of_workspace, PARAMS(v_uuid(&f->mail->workspace_id)), &rows, e);
    if (rc != ERR_NONE || rows.n == 0) return rc;
    struct json *settings;
    if (json_parse(f->a, val_str(&row_at(&rows, 0)[0]), &settings, NULL) != ERR_NONE) return ERR_NONE;
    const struct json *v = json_get(settings, S("language"));
    f->is_found = v && v->type == JSON_STRING && mail_language_parse(str_take(v->text, 2), &f->language);
    return ERR_NONE;
}

static enum errc find_language(struct mailer *m, struct arena *a, const struct mail *mail, const struct config *c,
                               enum mail_language *out, err *e)
{
    struct finding f = {.a = a, .mail = mail};
    if (mail_language_parse(mail->language, out)) return ERR_NONE;
    if (!uuid_is_nil(&mail->person_id) || !uuid_is_nil(&mail->workspace_id)) {
        enum errc rc = db_read(m->db, language_unit, &f, e);
        if (rc != ERR_NONE) return rc;
    }
    *out = f.language;
    if (!f.is_found && !mail_language_parse(config_text(c, "mail.language"), out)) *out = MAIL_EN;
    return ERR_NONE;
}

static enum errc sender_of(struct mailer *m, struct arena *a, const struct config *c, str *address, str *name, err *e)
{
    str from = config_text(c, "mail.from");
    if (from.len) return mail_mailbox_parse(from, address, name, e);
    *name = S("Catalyst");
    *address = arena_printf(a, "catalyst@%.*s", STR(m->host));
    return address->p ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

SEALED_COLUMN(mail_messages, DB_MAIN, mails, id, NULL, message, false, NULL);

/* What is sealed: sender, recipient and the message, each behind a line. */
static enum errc make(struct mailer *m, struct arena *a, const struct mail *mail, usec now, const struct config *c,
                      struct mail_ready *out, err *e)
{
    const struct mail_template *t = mail_template_of(mail->kind);
    struct mail_head head = {.id = uuid7_make(now), .host = m->host, .date_us = now, .to_address = mail->to, .to_name = mail->name};
    struct mail_text text;
    enum mail_language language;
    str message;
    if (!t) return err_set(e, ERR_INTERNAL, "there is no mail '%.*s'", STR(mail->kind));
    enum errc rc = find_language(m, a, mail, c, &language, e);
    if (rc == ERR_NONE) rc = sender_of(m, a, c, &head.from_address, &head.from_name, e);
    if (rc == ERR_NONE) rc = mail_render(a, t, language, mail->values, mail->n, m->public_url, &text, e);
    if (rc == ERR_NONE) rc = mail_compose(a, &head, &text, &message, e);
    if (rc != ERR_NONE) return rc;
    str plain = arena_printf(a, "%.*s\n%.*s\n%.*s", STR(head.from_address), STR(mail->to), STR(message));
    if (!plain.p) return err_code(e, ERR_TOO_LARGE);
    *out = (struct mail_ready){.id = head.id,
                               .workspace_id = mail->workspace_id,
                               .person_id = mail->person_id,
                               .kind = mail->kind,
                               .now_us = now,
                               .expires_us = mail->expires_us};
    return secret_seal(m->secrets, a, "mails", &out->id, "message", plain, &out->sealed, e);
}

enum errc mail_prepare(struct mailer *m, struct arena *a, const struct mail *mail, usec now, struct mail_ready *out, err *e)
{
    struct generation *g = reload_current(m->reload);
    enum errc rc = make(m, a, mail, now, generation_config(g), out, e);
    generation_let_go(g);
    return rc;
}

enum errc tx_mail(struct tx *tx, const struct mail_ready *mail, err *e)
{
    char id[UUID_TEXT_LEN + 1], input[80];
    int64_t added = 0;
    enum errc rc = tx_exec_unaudited(tx, &mail_add,
                                     PARAMS(v_uuid(&mail->id), v_text(mail->kind), v_blob(mail->sealed), v_int(mail->now_us),
                                            v_int(mail->expires_us)),
                                     &added, e);
    if (rc != ERR_NONE || added == 0) return rc;
    uuid_format(&mail->id, id);
    snprintf(input, sizeof input, "{\"mail\":\"%s\"}", id);
    return tx_job(tx,
                  &(struct job){.id = event_id_of(&mail->id, 1),
                                .kind = S(JOB_KIND),
                                .input = str_c(input),
                                .now_us = mail->now_us},
                  e);
}

/* --- sending it --- */

struct waiting {
    struct job_run *run;
    uuid id;
    struct rows rows;
};

static enum errc read_unit(struct tx *tx, void *ctx, err *e)
{
    struct waiting *w = ctx;
    return tx_query(tx, job_arena(w->run), &mail_get, PARAMS(v_uuid(&w->id)), &w->rows, e);
}

static enum errc drop_unit(struct tx *tx, void *ctx, err *e)
{
    struct waiting *w = ctx;
    enum errc rc = tx_job_holds(tx, w->run, e);
    return rc == ERR_NONE ? tx_exec_unaudited(tx, &mail_drop, PARAMS(v_uuid(&w->id)), NULL, e) : rc;
}

static bool is_stopped(void *ctx) { return job_progress(ctx, 0, 0, S("sending"), NULL) != ERR_NONE; }

static enum errc deliver(struct mailer *m, struct waiting *w, err *e)
{
    struct arena *a = job_arena(w->run);
    const struct val *row = row_at(&w->rows, 0);
    struct mail_letter letter = {.id = w->id, .created_us = val_int(&row[1])};
    str plain;
    enum errc rc = secret_open(m->secrets, a, "mails", &w->id, "message", val_str(&row[0]), &plain, e);
    if (rc != ERR_NONE) return rc;
    letter.message = plain;
    letter.from = str_cut(&letter.message, '\n');
    letter.to = str_cut(&letter.message, '\n');
    struct generation *g = reload_current(m->reload);
    rc = mail_deliver(m, a, generation_config(g), &letter, is_stopped, w->run, e);
    generation_let_go(g);
    explicit_bzero((char *)plain.p, plain.len);
    return rc;
}

static enum errc run_mail(void *ctx, struct job_run *run, err *e)
{
    struct mailer *m = ctx;
    struct waiting w = {.run = run};
    struct json *input;
    err of_drop = {0};
    enum errc rc = json_parse(job_arena(run), job_of(run)->input, &input, e);
    const struct json *id = rc == ERR_NONE ? json_get(input, S("mail")) : NULL;
    if (rc == ERR_NONE && (!id || id->type != JSON_STRING || !uuid_parse(id->text, &w.id)))
        rc = err_set(e, ERR_CORRUPT, "the input of a job that sends mail is damaged");
    if (rc == ERR_NONE) rc = db_read(m->db, read_unit, &w, e);
    if (rc != ERR_NONE || w.rows.n == 0) return rc; /* sent already */
    bool is_late = val_int(&row_at(&w.rows, 0)[2]) <= clock_now_us();
    rc = is_late ? err_set(e, ERR_INVALID, "the mail has expired before a mail server took it") : deliver(m, &w, e);
    if (rc != ERR_NONE && errc_is_retryable(rc)) return rc;
    if (rc == ERR_CANCELLED) return rc;
    enum errc dropped = db_write(m->db, drop_unit, &w, &of_drop);
    if (rc == ERR_NONE && dropped != ERR_NONE) *e = of_drop;
    return rc != ERR_NONE ? rc : dropped;
}

static enum errc forget_unit(struct tx *tx, void *ctx, err *e)
{
    (void)ctx;
    return tx_exec_unaudited(tx, &mails_forget, PARAMS(v_int(clock_now_us() - USEC_PER_DAY)), NULL, e);
}

/* --- life --- */

static str host_of(str public_url)
{
    struct url url;
    if (url_parse(public_url, &url, NULL) != ERR_NONE || url.is_ipv6) return S("localhost");
    return url.host;
}

enum errc mailer_new(struct mailer **out, const struct mailer_source *source, err *e)
{
    struct mailer *m = calloc(1, sizeof *m);
    *out = m;
    if (!m) return err_code(e, ERR_NO_MEMORY);
    arena_init(&m->arena, ARENA_LIMIT, 0);
    m->store = source->store;
    m->db = store_db(source->store, DB_MAIN);
    m->secrets = source->secrets;
    m->reload = source->reload;
    m->public_url = str_dup(&m->arena, source->public_url);
    m->host = host_of(m->public_url);
    str dir = arena_printf(&m->arena, "%s/mail", source->data_dir);
    m->dir = dir.p ? str_to_c(&m->arena, dir) : NULL;
    if (!m->public_url.p || !m->dir) return err_code(e, ERR_NO_MEMORY);
    m->kind = (struct job_kind){.name = JOB_KIND, .max_tries = TRIES_MAX, .timeout_s = TIMEOUT_S, .run = run_mail, .ctx = m};
    jobs_add_kind(source->jobs, &m->kind);
    jobs_add_chore(source->jobs, forget_unit, m);
    return ERR_NONE;
}

void mailer_free(struct mailer *m)
{
    if (!m) return;
    arena_fini(&m->arena);
    free(m);
}
