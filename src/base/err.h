/* err.h - the error type and its one table.
 *
 * Functions that can fail return `enum errc` (0 is success) and take `err *e` (may be NULL) when a human will read the reason.
 * Each code maps once, in ERR_TABLE, to an HTTP status, a machine name, a default sentence, whether trying again can help,
 * and the exit code of the command line. A message says what was attempted, on what, and the limit it hit.
 * Threads: an err belongs to its owner; the table is constant.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/str.h"

/* Exit codes of the whole product; scripts rely on them. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,      /* failed, or findings above the threshold */
    EXIT_USAGE = 2,       /* usage or configuration */
    EXIT_UNREACHABLE = 3, /* cannot reach a service */
    EXIT_REFUSED = 4,     /* permission, budget, policy, unsafe */
    EXIT_LIMIT = 5,       /* a limit was reached */
    EXIT_TRY_AGAIN = 75,
    EXIT_INTERRUPTED = 130,
};

/*        code                    http  name                     retry exit              sentence */
#define ERR_TABLE(X)                                                                                                  \
    X(ERR_NONE,                   200, "ok",                     0, EXIT_OK,          "no error")                     \
    X(ERR_INTERNAL,               500, "internal",               1, EXIT_FAILED,      "an internal error happened")   \
    X(ERR_NO_MEMORY,              503, "out_of_memory",          1, EXIT_TRY_AGAIN,   "out of memory")                \
    X(ERR_INVALID,                400, "invalid_request",        0, EXIT_FAILED,      "the request is not valid")     \
    X(ERR_SYNTAX,                 400, "invalid_json",           0, EXIT_FAILED,      "the text is not well-formed")  \
    X(ERR_CONFIG,                 500, "invalid_configuration",  0, EXIT_USAGE,       "the configuration is not valid") \
    X(ERR_USAGE,                  400, "usage",                  0, EXIT_USAGE,       "wrong usage")                  \
    X(ERR_UNAUTHENTICATED,        401, "invalid_api_key",        0, EXIT_REFUSED,     "a valid API key is needed")    \
    X(ERR_CREDENTIALS,            401, "invalid_credentials",    0, EXIT_REFUSED,     "the e-mail address or the password is wrong") \
    X(ERR_REAUTHENTICATE,         403, "reauthentication_required", 0, EXIT_REFUSED,  "give your password again first") \
    X(ERR_FACTOR_REQUIRED,        403, "factor_required",        0, EXIT_REFUSED,     "a second factor is needed")    \
    X(ERR_FORBIDDEN,              403, "permission_denied",      0, EXIT_REFUSED,     "not allowed")                  \
    X(ERR_BUDGET_EXCEEDED,        402, "budget_exceeded",        0, EXIT_REFUSED,     "the budget does not cover this") \
    X(ERR_PLAN_LIMIT,             402, "plan_limit_reached",     0, EXIT_LIMIT,       "the workspace's plan does not cover this") \
    X(ERR_NOT_FOUND,              404, "not_found",              0, EXIT_FAILED,      "not found")                    \
    X(ERR_MODEL_NOT_FOUND,        404, "model_not_found",        0, EXIT_FAILED,      "no provider serves this model") \
    X(ERR_METHOD,                 405, "method_not_allowed",     0, EXIT_FAILED,      "the method is not allowed here") \
    X(ERR_TIMEOUT,                408, "request_timeout",        1, EXIT_TRY_AGAIN,   "the request took too long to arrive") \
    X(ERR_CONFLICT,               409, "conflict",               0, EXIT_FAILED,      "conflicts with the present state") \
    X(ERR_PRECONDITION,           412, "precondition_failed",    0, EXIT_FAILED,      "the resource has changed since it was read") \
    X(ERR_KEY_REUSED,             422, "idempotency_key_reused", 0, EXIT_FAILED,      "the Idempotency-Key belongs to another request") \
    X(ERR_TOO_LARGE,              413, "too_large",              0, EXIT_LIMIT,       "larger than the limit")        \
    X(ERR_MEDIA_TYPE,             415, "unsupported_media_type", 0, EXIT_FAILED,      "the content type or coding is not supported") \
    X(ERR_EXPECTATION,            417, "expectation_failed",     0, EXIT_FAILED,      "the expectation cannot be met") \
    X(ERR_RATE_LIMITED,           429, "rate_limited",           1, EXIT_LIMIT,       "too many requests")            \
    X(ERR_HEAD_TOO_LARGE,         431, "header_too_large",       0, EXIT_LIMIT,       "the request head is larger than the limit") \
    X(ERR_NOT_IMPLEMENTED,        501, "not_implemented",        0, EXIT_FAILED,      "not supported")                \
    X(ERR_CANCELLED,              409, "cancelled",              0, EXIT_FAILED,      "it was cancelled")             \
    X(ERR_UPSTREAM,               502, "upstream_error",         1, EXIT_UNREACHABLE, "the provider failed")          \
    X(ERR_UNAVAILABLE,            503, "unavailable",            1, EXIT_TRY_AGAIN,   "not available right now")      \
    X(ERR_UPSTREAM_TIMEOUT,       504, "upstream_timeout",       1, EXIT_UNREACHABLE, "the provider did not answer in time") \
    X(ERR_HTTP_VERSION,           505, "http_version",           0, EXIT_FAILED,      "only HTTP/1.1 and HTTP/1.0 are spoken here") \
    X(ERR_IO,                     500, "io_error",               1, EXIT_FAILED,      "reading or writing failed")    \
    X(ERR_DISK_FULL,              507, "disk_full",              1, EXIT_LIMIT,       "no space left on the disk")    \
    X(ERR_CORRUPT,                500, "corrupt",                0, EXIT_FAILED,      "stored data is damaged")       \
    X(ERR_BUSY,                   503, "busy",                   1, EXIT_TRY_AGAIN,   "in use by another process")    \
    X(ERR_UNREACHABLE,            502, "unreachable",            1, EXIT_UNREACHABLE, "the service cannot be reached")

enum errc {
#define X(code, http, name, retry, exit, text) code,
    ERR_TABLE(X)
#undef X
        ERR_CODES
};

typedef struct {
    enum errc code;
    uint16_t line;    /* where it was set */
    const char *file; /* a literal */
    char msg[236];    /* always ends in NUL; cut on a UTF-8 boundary */
} err;

/* Sets *e (when not NULL) and returns the code: `return err_set(e, ERR_INVALID, "port %d is ...", port);` */
#define err_set(e, code, ...) err_set_at((e), (code), __FILE__, __LINE__, __VA_ARGS__)
enum errc err_set_at(err *e, enum errc code, const char *file, int line, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* As err_set with the default sentence of the code. */
#define err_code(e, code) err_set((e), (code), "%s", errc_text(code))
/* As err_set, ending in ": " and the text of errno number. ENOSPC and EDQUOT become ERR_DISK_FULL, ENOMEM ERR_NO_MEMORY. */
#define err_errno(e, code, number, ...) err_errno_at((e), (code), (number), __FILE__, __LINE__, __VA_ARGS__)
enum errc err_errno_at(err *e, enum errc code, int number, const char *file, int line, const char *fmt, ...)
    PRINTF_LIKE(6, 7);
/* Puts "prefix: " before the message of an error that is set; returns its code. */
enum errc err_prefix(err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

int errc_http_status(enum errc code);
const char *errc_name(enum errc code);
const char *errc_text(enum errc code);
bool errc_is_retryable(enum errc code);
enum exit_code errc_exit_code(enum errc code);

#endif
