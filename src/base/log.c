#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 8192

static atomic_int log_level_in_force = LOG_INFO;
static atomic_int log_fd = 2;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

bool log_enabled(enum log_level level) { return (int)level >= log_level_in_force && log_fd >= 0; }
void log_set_level(enum log_level level) { log_level_in_force = (int)level; }
void log_set_fd(int fd) { log_fd = fd; }

bool log_level_parse(str name, enum log_level *out)
{
    for (unsigned i = 0; i < LENGTH_OF(level_names); i++)
        if (str_eq(name, str_c(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool is_cut;
};

static const char closing[] = ",\"truncated\":true}\n";

static bool put(struct line *l, str s)
{
    if (l->is_cut || s.len > sizeof l->text - sizeof closing - l->len) {
        l->is_cut = true;
        return false;
    }
    memcpy(l->text + l->len, s.p, s.len);
    l->len += s.len;
    return true;
}

/* Escapes for JSON; bytes that are not UTF-8 become U+FFFD. json/ stands above base, hence the few lines here. */
static void put_quoted(struct line *l, str s)
{
    put(l, S("\""));
    while (s.len && !l->is_cut) {
        unsigned char c = (unsigned char)s.p[0];
        if (c == '"' || c == '\\') {
            char two[2] = {'\\', (char)c};
            put(l, str_of(two, 2));
            s = str_skip(s, 1);
        } else if (c < 0x20) {
            char six[7];
            snprintf(six, sizeof six, "\\u%04x", c);
            put(l, str_of(six, 6));
            s = str_skip(s, 1);
        } else {
            size_t plain = 1;
            while (plain < s.len && (unsigned char)s.p[plain] >= 0x20 && s.p[plain] != '"' && s.p[plain] != '\\')
                plain++;
            size_t valid = utf8_valid_prefix(str_take(s, plain));
            if (valid == 0) {
                put(l, S("\xEF\xBF\xBD"));
                valid = 1;
            } else {
                put(l, str_take(s, valid));
            }
            s = str_skip(s, valid);
        }
    }
    put(l, S("\""));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line l;
    l.len = 0;
    l.is_cut = false;
    char number[24], time[TIME_TEXT_LEN + 1];
    put(&l, S("{\"time\":\""));
    put(&l, time_format(clock_now_us(), time));
    put(&l, S("\",\"level\":\""));
    put(&l, str_c(level_names[level]));
    put(&l, S("\",\"event\":"));
    put_quoted(&l, str_c(event));
    for (const struct log_field *f = fields; f->name && !l.is_cut; f++) {
        size_t before = l.len;
        put(&l, S(","));
        put_quoted(&l, str_c(f->name));
        put(&l, S(":"));
        switch (f->kind) {
        case LOG_FIELD_STR:
            put_quoted(&l, f->s);
            break;
        case LOG_FIELD_INT:
            put(&l, str_of(number, (size_t)snprintf(number, sizeof number, "%lld", (long long)f->i)));
            break;
        case LOG_FIELD_BOOL:
            put(&l, f->i ? S("true") : S("false"));
            break;
        }
        if (l.is_cut)
            l.len = before; /* a whole field or none keeps the line JSON */
    }
    str end = l.is_cut ? str_c(closing) : S("}\n");
    memcpy(l.text + l.len, end.p, end.len);
    l.len += end.len;
    /* A log that cannot be written has nowhere to complain. */
    ssize_t ignored = write(log_fd, l.text, l.len);
    (void)ignored;
}

void log_error(enum log_level level, const char *event, const err *e)
{
    log_event(level, event, LOG_S("error", str_c(errc_name(e->code))), LOG_S("reason", str_c(e->msg)));
}
