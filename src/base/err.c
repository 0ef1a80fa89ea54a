#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

struct err_row {
    int http;
    const char *name, *text;
    bool is_retryable;
    enum exit_code exit;
};

static const struct err_row table[ERR_CODES] = {
#define X(code, http, name, retry, exit, text) [code] = {http, name, text, retry, exit},
    ERR_TABLE(X)
#undef X
};

static const struct err_row *row(enum errc code)
{
    return &table[(unsigned)code < ERR_CODES ? code : ERR_INTERNAL];
}

int errc_http_status(enum errc code) { return row(code)->http; }
const char *errc_name(enum errc code) { return row(code)->name; }
const char *errc_text(enum errc code) { return row(code)->text; }
bool errc_is_retryable(enum errc code) { return row(code)->is_retryable; }
enum exit_code errc_exit_code(enum errc code) { return row(code)->exit; }

/* A message can quote input: a cut must not leave half a UTF-8 sequence behind. */
static void cut_cleanly(err *e, size_t wanted_len)
{
    if (wanted_len < sizeof e->msg)
        return;
    size_t len = utf8_take(str_of(e->msg, sizeof e->msg - 1), sizeof e->msg - 4).len;
    memcpy(e->msg + len, "...", 4);
}

static enum errc set_message(err *e, enum errc code, const char *file, int line, const char *fmt, va_list args)
{
    if (!e)
        return code;
    e->code = code;
    e->file = file;
    e->line = (uint16_t)line;
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, args);
    cut_cleanly(e, n < 0 ? 0 : (size_t)n);
    return code;
}

enum errc err_set_at(err *e, enum errc code, const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_message(e, code, file, line, fmt, args);
    va_end(args);
    return code;
}

enum errc err_errno_at(err *e, enum errc code, int number, const char *file, int line, const char *fmt, ...)
{
    if (number == ENOSPC || number == EDQUOT)
        code = ERR_DISK_FULL;
    else if (number == ENOMEM)
        code = ERR_NO_MEMORY;
    if (!e)
        return code;
    va_list args;
    va_start(args, fmt);
    set_message(e, code, file, line, fmt, args);
    va_end(args);
    char reason[96];
    const char *text = strerror_r(number, reason, sizeof reason);
    size_t len = strlen(e->msg);
    int n = snprintf(e->msg + len, sizeof e->msg - len, ": %s", text);
    cut_cleanly(e, len + (n < 0 ? 0 : (size_t)n));
    return code;
}

enum errc err_prefix(err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INTERNAL;
    char old[sizeof e->msg];
    memcpy(old, e->msg, sizeof old);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, args);
    va_end(args);
    size_t len = strnlen(e->msg, sizeof e->msg - 1);
    int m = snprintf(e->msg + len, sizeof e->msg - len, ": %s", old);
    cut_cleanly(e, (n < 0 ? 0 : (size_t)n) + (m < 0 ? 0 : (size_t)m));
    return e->code;
}
