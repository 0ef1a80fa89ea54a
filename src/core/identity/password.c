#include "core/identity/password.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/random.h"
#include "base/utf8.h"

enum errc password_normalize(struct arena *a, str given, str *out, err *e)
{
    utf8proc_uint8_t *nfc = NULL;
    if (!utf8_is_valid(given)) return err_set(e, ERR_INVALID, "a password must be UTF-8 text");
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)given.p, (utf8proc_ssize_t)given.len, &nfc,
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0)
        return n == UTF8PROC_ERROR_NOMEM ? err_code(e, ERR_NO_MEMORY)
                                         : err_set(e, ERR_INVALID, "a password must be UTF-8 text");
    *out = str_dup(a, str_of((const char *)nfc, (size_t)n));
    explicit_bzero(nfc, (size_t)n);
    free(nfc);
    return out->p ? ERR_NONE : err_code(e, ERR_TOO_LARGE);
}

/* --- what is guessed first --- */

#define SIGNS_MAX 256 /* a longer password is not in any list: its first signs are judged */
#define WORDS_MAX 24  /* of the person and the workspace */

static const char *const common_words[] = {
#define W(word) word,
#include "core/identity/password_words.def"
#undef W
};

/* Neighbours on keyboards, rows and columns, and the alphabet; they are followed in both directions. */
static const char *const walks[] = {
    "1234567890-=",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklm",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "!@#$%^&*()_+",
    "147258369",
    "741852963",
    "789456123",
    "123123123123",
    "1a2b3c4d5e6f7g8h9i",
    "zaq1xsw2cde3vfr4bgt5nhy6mju7",
    "a1b2c3d4e5f6g7h8i9",
};

/* The letter that a sign is read as: lower case, with the usual replacements undone; digits that stand for
 * a letter count as both. */
static char plain_of(char c)
{
    static const char replaced[] = "0o1l3e4a5s7t8b@a$s!i|l+t";
    for (const char *p = replaced; *p; p += 2)
        if (*p == c) return p[1];
    return (char)tolower((unsigned char)c);
}

static bool sign_is(char c, char letter)
{
    return tolower((unsigned char)c) == letter || plain_of(c) == letter || (letter == 'i' && c == '1');
}

static size_t word_at(str s, const char *word)
{
    size_t n = strlen(word);
    if (n > s.len) return 0;
    for (size_t i = 0; i < n; i++)
        if (!sign_is(s.p[i], word[i])) return 0;
    return n;
}

/* Longest run along a walk, either way. */
static size_t walk_at(str s)
{
    size_t best = 0;
    for (size_t w = 0; w < LENGTH_OF(walks); w++) {
        size_t len = strlen(walks[w]);
        for (size_t from = 0; from < len; from++) {
            size_t n = 0;
            while (n < s.len && from + n < len && tolower((unsigned char)s.p[n]) == walks[w][from + n])
                n++;
            best = n > best ? n : best;
            for (n = 0; n < s.len && n <= from && tolower((unsigned char)s.p[n]) == walks[w][from - n];)
                n++;
            best = n > best ? n : best;
        }
    }
    return best >= 4 ? best : 0;
}

/* "aaaa", "123123": a piece of up to four signs that stands there three times or more. */
static size_t repeat_at(str s)
{
    size_t best = 0;
    for (size_t period = 1; period <= 4; period++) {
        size_t n = period;
        while (n < s.len && s.p[n] == s.p[n - period])
            n++;
        if (n >= 3 * period && n > best) best = n;
    }
    return best;
}

/* Whether what stands right before `at`, five signs or more, stands there again: its length. */
static size_t again_at(str s, size_t at)
{
    for (size_t n = at < s.len - at ? at : s.len - at; n >= 5; n--)
        if (str_eq(str_of(s.p + at - n, n), str_of(s.p + at, n))) return n;
    return 0;
}

static unsigned number_of(str s)
{
    unsigned v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v * 10 + (unsigned)(s.p[i] - '0');
    return v;
}

/* A run of digits that is short or a date. */
static size_t digits_at(str s)
{
    size_t n = 0;
    while (n < s.len && isdigit((unsigned char)s.p[n]))
        n++;
    if (n <= 4) return n;
    str run = str_take(s, n);
    if (n == 6 || n == 8) {
        unsigned first = number_of(str_take(run, 2)), second = number_of(str_take(str_skip(run, 2), 2)),
                 last = number_of(str_skip(run, n - 2)),
                 middle = number_of(str_take(str_skip(run, n - 4), 2)),
                 year_first = number_of(str_take(run, n - 4));
        bool is_day_first = first >= 1 && first <= 31 && second >= 1 && second <= 31;
        bool is_year_first = middle >= 1 && middle <= 12 && last >= 1 && last <= 31 &&
                             (n == 6 || (year_first >= 1900 && year_first < 2100));
        if (is_day_first || is_year_first) return n;
    }
    return 0;
}

/* Signs left uncovered by the best way to cut a text into at most so many pieces, from each place to its
 * end. */
struct cover {
    uint16_t left[SIGNS_MAX + 1][PASSWORD_PIECES_MAX + 1];
};

static void piece(struct cover *c, size_t at, size_t n)
{
    for (unsigned k = 1; n && k <= PASSWORD_PIECES_MAX; k++)
        if (c->left[at + n][k - 1] < c->left[at][k]) c->left[at][k] = c->left[at + n][k - 1];
}

static unsigned uncovered(str s, const str *words, unsigned n_words)
{
    struct cover c = {0};
    char word[64];
    s = str_take(s, SIGNS_MAX);
    for (size_t at = s.len; at-- > 0;) {
        str rest = str_skip(s, at);
        bool is_mark = !isalnum((unsigned char)rest.p[0]) && (unsigned char)rest.p[0] < 0x80;
        size_t again = again_at(s, at), runs[] = {walk_at(rest), repeat_at(rest), digits_at(rest)};
        for (unsigned k = 0; k <= PASSWORD_PIECES_MAX; k++) {
            c.left[at][k] = (uint16_t)(c.left[at + 1][k] + (is_mark ? 0 : 1));
            if (again && c.left[at + again][k] < c.left[at][k]) c.left[at][k] = c.left[at + again][k];
        }
        for (size_t i = 0; i < LENGTH_OF(runs); i++)
            piece(&c, at, runs[i]);
        for (size_t i = 0; i < LENGTH_OF(common_words); i++)
            piece(&c, at, word_at(rest, common_words[i]));
        for (unsigned i = 0; i < n_words; i++) {
            if (words[i].len >= sizeof word) continue;
            for (size_t k = 0; k < words[i].len; k++)
                word[k] = (char)tolower((unsigned char)words[i].p[k]);
            word[words[i].len] = '\0';
            piece(&c, at, word_at(rest, word));
        }
    }
    return c.left[0][PASSWORD_PIECES_MAX];
}

static unsigned split_words(const str *given, unsigned n_given, str out[WORDS_MAX])
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_given; i++) {
        str s = given[i];
        while (s.len && n < WORDS_MAX) {
            size_t len = 0;
            while (len < s.len && (isalnum((unsigned char)s.p[len]) || (unsigned char)s.p[len] >= 0x80))
                len++;
            if (len >= 3) out[n++] = str_take(s, len);
            s = str_skip(s, len + 1);
        }
    }
    return n;
}

size_t password_length(str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

const char *password_problem(str nfc, size_t min, const str *words, unsigned n_words, const char **message)
{
    str own[WORDS_MAX];
    size_t n = password_length(nfc);
    if (n < min) {
        *message = min < PASSWORD_MIN
                       ? "a password needs at least 8 characters beside a second factor; a few unrelated "
                         "words make a good one"
                       : "a password needs at least 15 characters; a few unrelated words make a good one";
        return "too_short";
    }
    if (n > PASSWORD_MAX) {
        *message = "a password has at most 1,024 characters";
        return "too_long";
    }
    if (uncovered(nfc, own, split_words(words, n_words, own)) <= PASSWORD_UNCOVERED_MAX) {
        *message = "this password is made of what is guessed first: common words, names, rows of the "
                   "keyboard, numbers; a few "
                   "unrelated words make a good one";
        return "too_common";
    }
    return NULL;
}

/* --- Argon2id --- */

#define WAIT_MAX_S 10

enum errc password_gate_init(struct password_gate *g, unsigned running_max, unsigned waiting_max,
                             size_t memory_bytes, unsigned passes, err *e)
{
    char nobody[32];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *g = (struct password_gate){.running_max = running_max,
                                .waiting_max = waiting_max,
                                .memory_bytes = memory_bytes,
                                .passes = passes};
    if (running_max == 0) g->running_max = cores > 0 ? (unsigned)cores : 1;
    if (sodium_init() < 0) return err_set(e, ERR_INTERNAL, "libsodium could not be initialised");
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->freed, NULL);
    random_bytes(nobody, sizeof nobody);
    enum errc rc = password_hash(g, str_of(nobody, sizeof nobody), g->dummy, e);
    if (rc != ERR_NONE) password_gate_fini(g);
    return rc;
}

void password_gate_fini(struct password_gate *g)
{
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->freed);
}

static enum errc enter(struct password_gate *g, err *e)
{
    struct timespec until;
    bool is_in;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MAX_S;
    pthread_mutex_lock(&g->lock);
    is_in = g->running < g->running_max;
    if (!is_in && g->waiting < g->waiting_max) {
        g->waiting++;
        while (g->running >= g->running_max &&
               pthread_cond_timedwait(&g->freed, &g->lock, &until) != ETIMEDOUT)
            ;
        g->waiting--;
        is_in = g->running < g->running_max;
    }
    if (is_in) g->running++;
    pthread_mutex_unlock(&g->lock);
    return is_in ? ERR_NONE
                 : err_set(e, ERR_UNAVAILABLE,
                           "too many passwords are being checked right now; try again in a moment");
}

static void leave(struct password_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->running--;
    pthread_cond_signal(&g->freed);
    pthread_mutex_unlock(&g->lock);
}

_Static_assert(PASSWORD_HASH_LEN >= crypto_pwhash_STRBYTES, "a PHC string fits");

enum errc password_hash(struct password_gate *g, str nfc, char out[PASSWORD_HASH_LEN], err *e)
{
    enum errc rc = enter(g, e);
    if (rc != ERR_NONE) return rc;
    memset(out, 0, PASSWORD_HASH_LEN);
    int failed = crypto_pwhash_str_alg(out, nfc.p ? nfc.p : "", nfc.len, g->passes, g->memory_bytes,
                                       crypto_pwhash_ALG_ARGON2ID13);
    leave(g);
    return failed
               ? err_set(e, ERR_NO_MEMORY,
                         "hashing a password needs %zu bytes of memory, which are not there", g->memory_bytes)
               : ERR_NONE;
}

enum errc password_verify(struct password_gate *g, str phc, str nfc, bool *is_right, bool *is_outdated,
                          err *e)
{
    char stored[PASSWORD_HASH_LEN] = {0};
    bool is_known = phc.len > 0 && phc.len < sizeof stored;
    memcpy(stored, is_known ? phc.p : g->dummy, is_known ? phc.len : sizeof stored);
    *is_right = false;
    if (is_outdated) *is_outdated = false;
    enum errc rc = enter(g, e);
    if (rc != ERR_NONE) return rc;
    bool is_match = crypto_pwhash_str_verify(stored, nfc.p ? nfc.p : "", nfc.len) == 0;
    leave(g);
    *is_right = is_match && is_known;
    if (*is_right && is_outdated)
        *is_outdated = crypto_pwhash_str_needs_rehash(stored, g->passes, g->memory_bytes) != 0;
    explicit_bzero(stored, sizeof stored);
    return ERR_NONE;
}
