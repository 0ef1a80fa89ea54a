/* deliver.c - where a mail goes: to the server of the configuration, or into the spool folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/mail/internal.h"
#include "net/smtp.h"
#include "net/url.h"

#define SMTP_DEADLINE_MS 60000
#define NAME_MAX_LEN 96

/* clang-format off */
static const struct option options[] = {
    {.key = "mail.smtp_url", .type = OPTION_TEXT, .change = OPTION_SETTABLE,
     .meaning = "The mail server: smtp://host:587 (STARTTLS) or smtps://host; without one, mails are written into DIR/mail."},
    {.key = "mail.user", .type = OPTION_TEXT, .change = OPTION_SETTABLE, .meaning = "Who the mail server is told is sending; empty: nobody."},
    {.key = "mail.password", .type = OPTION_SECRET, .change = OPTION_SETTABLE, .meaning = "Their password at the mail server."},
    {.key = "mail.from", .type = OPTION_TEXT, .change = OPTION_SETTABLE,
     .meaning = "Sender of mails: catalyst@example.com or Catalyst <catalyst@example.com>; needed with mail.smtp_url."},
    {.key = "mail.tls", .type = OPTION_ONE_OF, .choices = "auto|required|none", .fallback = "auto", .change = OPTION_ON_RELOAD,
     .meaning = "STARTTLS on smtp://: auto requires it unless the server is on this machine; none is possible only there."},
    {.key = "mail.ca_file", .type = OPTION_TEXT, .change = OPTION_ON_RELOAD,
     .meaning = "PEM file of an authority that the mail server's certificate may come from, besides the system's."},
    {.key = "mail.language", .type = OPTION_ONE_OF, .choices = "en|de", .fallback = "en", .change = OPTION_SETTABLE,
     .meaning = "Language of mails to people of whom none is known."},
    {.key = "mail.spool_days", .type = OPTION_INT, .fallback = "7", .min = 1, .max = 365, .change = OPTION_SETTABLE,
     .meaning = "Days that mails stay in DIR/mail."},
};
/* clang-format on */
const struct option_table mail_options = {options, LENGTH_OF(options)};

static bool needs_tls(const struct config *c, str host)
{
    str tls = config_text(c, "mail.tls");
    return str_eq(tls, S("required")) || (str_eq(tls, S("auto")) && !url_host_is_loopback(host));
}

enum errc mail_config_check(const struct config *c, struct buf *problems, err *e)
{
    str url = config_text(c, "mail.smtp_url"), from = config_text(c, "mail.from"), host = {0}, address, name;
    bool is_tls = false;
    err of_url = {0}, of_from = {0};
    size_t before = problems->len;
    if (url.len && smtp_url_parse(url, &host, &is_tls, &of_url) != ERR_NONE)
        buf_addf(problems, "mail.smtp_url: %s\n", of_url.msg);
    else if (url.len && !is_tls && str_eq(config_text(c, "mail.tls"), S("none")) && !url_host_is_loopback(host))
        buf_add(problems, S("mail.tls: none is possible only for a mail server on this machine\n"));
    if (from.len && mail_mailbox_parse(from, &address, &name, &of_from) != ERR_NONE)
        buf_addf(problems, "mail.from: %s\n", of_from.msg);
    else if (url.len && !from.len)
        buf_add(problems, S("mail.from: a mail server needs to know who sends\n"));
    return problems->len == before ? ERR_NONE : err_set(e, ERR_CONFIG, "mail could not be sent with this configuration");
}

/* --- the spool folder --- */

static void spool_name(const struct mail_letter *l, char out[NAME_MAX_LEN])
{
    char time[TIME_TEXT_LEN + 1], id[UUID_TEXT_LEN + 1];
    time_format(l->created_us, time);
    uuid_format(&l->id, id);
    snprintf(out, NAME_MAX_LEN, "%.4s%.2s%.2sT%.2s%.2s%.2sZ-%s.eml", time, time + 5, time + 8, time + 11, time + 14, time + 17, id);
}

/* What is older than it is kept. Failing is no reason not to write the next one. */
static void spool_forget(const char *dir, int64_t days)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    usec oldest = clock_now_us() - days * USEC_PER_DAY;
    while (d && (entry = readdir(d))) {
        struct stat st;
        if (str_ends(str_c(entry->d_name), S(".eml")) && fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode) && st.st_mtime < oldest / USEC_PER_S)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d) closedir(d);
}

static enum errc write_all(int fd, str s)
{
    while (s.len) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_IO;
        s = str_skip(s, (size_t)n);
    }
    return fsync(fd) == 0 ? ERR_NONE : ERR_IO;
}

/* Under another name first: who reads the folder sees whole mails. The same mail has the same name, however often it is written. */
static enum errc spool(const char *dir, const struct mail_letter *l, err *e)
{
    char name[NAME_MAX_LEN], part[NAME_MAX_LEN + 8];
    enum errc rc = ERR_NONE;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST) return err_errno(e, ERR_IO, errno, "making %s", dir);
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) return err_errno(e, ERR_IO, errno, "opening %s", dir);
    spool_name(l, name);
    snprintf(part, sizeof part, "%s.part", name);
    int fd = openat(folder, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || write_all(fd, l->message) != ERR_NONE || renameat(folder, part, folder, name) < 0 || fsync(folder) < 0)
        rc = err_errno(e, ERR_IO, errno, "writing %s/%s", dir, name);
    if (fd >= 0) close(fd);
    if (rc != ERR_NONE) unlinkat(folder, part, 0);
    close(folder);
    return rc;
}

enum errc mail_deliver(struct mailer *m, struct arena *a, const struct config *c, const struct mail_letter *letter,
                       bool (*is_cancelled)(void *ctx), void *ctx, err *e)
{
    str host, ca = config_text(c, "mail.ca_file");
    bool is_tls;
    struct smtp_server server = {
        .url = config_text(c, "mail.smtp_url"),
        .user = config_text(c, "mail.user"),
        .password = config_text(c, "mail.password"),
        .ca_file = config_path(c, a, ca),
        .deadline_ms = SMTP_DEADLINE_MS,
    };
    if (!server.url.len) {
        spool_forget(m->dir, config_int(c, "mail.spool_days"));
        return spool(m->dir, letter, e);
    }
    enum errc rc = smtp_url_parse(server.url, &host, &is_tls, e);
    if (rc != ERR_NONE) return rc;
    if (ca.len && !server.ca_file) return err_code(e, ERR_NO_MEMORY);
    server.needs_tls = is_tls || needs_tls(c, host);
    return smtp_send(&server, &(struct smtp_letter){letter->from, letter->to, letter->message}, is_cancelled, ctx, a, e);
}
