/* replay.c - runs a fuzz target without libFuzzer, so that every compiler and every test run exercises the
 * parsers.
 *
 *     fuzz_NAME [--runs N] FILE|FOLDER...
 *
 * Every file is given to the target as it is; then N mutations of them follow (default FUZZ_RUNS, else 20,000).
 * The seed is fixed: the same corpus gives the same inputs on every machine, so that a failure in CI is one at a
 * desk. An input that makes the target die is written to crash-NAME in the working directory: it becomes a corpus
 * file. Coverage-guided search is libFuzzer's work (preset fuzz); this one only keeps found ground.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX 65536 /* the corpus is small by rule; a larger file is a mistake */
#define MUTANT_MAX 4096 /* mutations stay small, so that 20,000 of them take seconds under ASan */
#define FILES_MAX 4096
#define RUNS_DEFAULT 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
/* Present with any sanitizer: called before it ends the process. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input {
    uint8_t *p;
    size_t len;
};

static struct input corpus[FILES_MAX];
static size_t corpus_n;
static const uint8_t *current;
static size_t current_len;
static char crash_path[256];

/* Async-signal-safe: it runs when the target has just died. */
static void save_current(void)
{
    if (!current) return;
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) return;
    size_t done = 0;
    while (done < current_len) {
        ssize_t n = write(fd, current + done, current_len - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    close(fd);
    static const char text[] = "\nthe input that did it is in ";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) return;
    if (write(STDERR_FILENO, crash_path, strlen(crash_path)) < 0) return;
    if (write(STDERR_FILENO, "\n", 1) < 0) return;
}

static void on_abort(int signal_number)
{
    save_current();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* splitmix64: every output is a fixed function of the seed. */
static uint64_t random_state;
static uint64_t random_next(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static size_t random_below(size_t n) { return n == 0 ? 0 : (size_t)(random_next() % n); }

/* The target gets a heap block of exactly the input's size: ASan sees a read one byte past its end. */
static void run_one(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    if (len) memcpy(copy, data, len);
    current = data;
    current_len = len;
    (void)LLVMFuzzerTestOneInput(copy, len);
    current = NULL;
    free(copy);
}

static int load_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    static uint8_t bytes[INPUT_MAX + 1];
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    if (len > INPUT_MAX || corpus_n == FILES_MAX) {
        fprintf(stderr, "%s: corpus files are at most %d bytes, and at most %d of them\n", path, INPUT_MAX,
                FILES_MAX);
        return -1;
    }
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) return -1;
    memcpy(copy, bytes, len);
    corpus[corpus_n++] = (struct input){copy, len};
    return 0;
}

static int not_hidden(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static int load(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) return load_file(path);
    /* Sorted, because the mutations depend on the order. */
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int failed = 0;
    for (int i = 0; i < n; i++) {
        char file[4096];
        int len = snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof(file) || load_file(file) != 0) failed = -1;
        free(entries[i]);
    }
    free(entries);
    return failed;
}

/* Bytes that parsers of this program treat specially, and the integers at the edges. */
static const char *const words[] = {
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "\t",
    "0",
    "-1",
    "18446744073709551615",
    "1e999",
    "null",
    "true",
    "\\ud800",
    "\\u0000",
    "\xef\xbb\xbf",
    "\xff",
    "\xc0\x80",
    "\xed\xa0\x80",
    "data: ",
    "event: ",
    "id: ",
    "[DONE]",
    "%00",
    "%2e",
    "%zz",
    "//",
    "..",
    "@",
    "chunked",
    "Content-Length: ",
    "Transfer-Encoding: ",
    "Host: ",
    "ffffffffffffffff",
    "&a",
    "*a",
    "---",
};

static size_t insert(uint8_t *p, size_t len, size_t at, const uint8_t *what, size_t n)
{
    if (n > MUTANT_MAX - len) n = MUTANT_MAX - len;
    memmove(p + at + n, p + at, len - at);
    memcpy(p + at, what, n);
    return len + n;
}

static size_t mutate(uint8_t *p, size_t len)
{
    uint8_t piece[64];
    size_t at = random_below(len + 1);
    size_t left = len - at;
    switch (random_below(8)) {
    case 0: /* flip a bit */
        if (left) p[at] = (uint8_t)(p[at] ^ (1u << random_below(8)));
        break;
    case 1: /* any byte */
        if (left) p[at] = (uint8_t)random_next();
        break;
    case 2: /* cut some out */
        if (left) {
            size_t n = 1 + random_below(left < 16 ? left : 16);
            memmove(p + at, p + at + n, left - n);
            len -= n;
        }
        break;
    case 3: /* the end is missing */ len = at; break;
    case 4: { /* repeat a piece of itself */
        size_t n = left < sizeof(piece) ? left : sizeof(piece);
        n = n ? 1 + random_below(n) : 0;
        memcpy(piece, p + at, n);
        len = insert(p, len, random_below(len + 1), piece, n);
        break;
    }
    case 5: { /* a special word */
        const char *word = words[random_below(sizeof(words) / sizeof(words[0]))];
        len = insert(p, len, at, (const uint8_t *)word, word[0] ? strlen(word) : 1);
        break;
    }
    case 6: { /* a piece of another file */
        const struct input *other = &corpus[random_below(corpus_n)];
        size_t from = random_below(other->len);
        size_t n = other->len - from;
        len = insert(p, len, at, other->p + from, n < 128 ? n : 128);
        break;
    }
    default: /* one number becomes another */
        for (size_t i = at; i < len; i++) {
            if (p[i] >= '0' && p[i] <= '9') {
                p[i] = (uint8_t)('0' + random_below(10));
                break;
            }
        }
        break;
    }
    return len;
}

int main(int argc, char **argv)
{
    const char *env = getenv("FUZZ_RUNS");
    unsigned long runs = env && *env ? strtoul(env, NULL, 10) : RUNS_DEFAULT;
    const char *name = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof(crash_path), "crash-%s", name ? name + 1 : argv[0]);
    if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(save_current);
    signal(SIGABRT, on_abort);

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoul(argv[++i], NULL, 10);
        } else if (load(argv[i]) != 0) {
            return 1;
        }
    }
    if (corpus_n == 0) {
        fputs("no corpus: a fuzz target is committed with one\n", stderr);
        return 1;
    }

    run_one((const uint8_t *)"", 0);
    for (size_t i = 0; i < corpus_n; i++)
        run_one(corpus[i].p, corpus[i].len);
    random_state = 1;
    static uint8_t mutant[MUTANT_MAX];
    for (unsigned long run = 0; run < runs; run++) {
        const struct input *base = &corpus[random_below(corpus_n)];
        size_t len = base->len < MUTANT_MAX ? base->len : MUTANT_MAX;
        memcpy(mutant, base->p, len);
        for (size_t n = 1 + random_below(4); n > 0; n--)
            len = mutate(mutant, len);
        run_one(mutant, len);
    }
    printf("%zu files and %lu mutations\n", corpus_n, runs);
    for (size_t i = 0; i < corpus_n; i++)
        free(corpus[i].p);
    return 0;
}
