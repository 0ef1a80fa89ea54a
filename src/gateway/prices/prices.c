#include "gateway/prices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/utf8.h"
#include "json/tree.h"

#ifndef PRICES_TSV_PATH
#error "PRICES_TSV_PATH must be the absolute path of prices.tsv as a string"
#endif

/* The list as it stands in the repository. An assembler directive, because a C array of 330 KB costs every
 * build more time than the rest of this file. */
__asm__(".section .rodata\n"
        ".hidden catalyst_prices_tsv\n"
        ".hidden catalyst_prices_tsv_end\n"
        ".globl catalyst_prices_tsv\n"
        ".globl catalyst_prices_tsv_end\n"
        "catalyst_prices_tsv:\n"
        ".incbin \"" PRICES_TSV_PATH "\"\n"
        "catalyst_prices_tsv_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char catalyst_prices_tsv[] __attribute__((visibility("hidden")));
extern const char catalyst_prices_tsv_end[] __attribute__((visibility("hidden")));

#define VERSION_PREFIX S("# version ")
#define KEY_MAX 512                  /* provider, tab and model: no longer name is looked up */
#define DAY_ALWAYS INT32_MIN         /* of rows without a date */
#define FILE_BYTES_MAX (16u << 20)   /* of a user's file */
#define LINE_TREE_BYTES (256u << 10) /* of the tree of one JSON line */
#define INDEX_FIRST 8192u            /* slots; 2,120 models are embedded */
#define INDEX_OVER 16u               /* of a book over another */

static const str unit_names[PRICE_UNITS] = {
    [PRICE_INPUT] = STR_LIT("input"),
    [PRICE_OUTPUT] = STR_LIT("output"),
    [PRICE_CACHE_READ] = STR_LIT("cache_read"),
    [PRICE_CACHE_WRITE] = STR_LIT("cache_write"),
    [PRICE_CACHE_WRITE_1H] = STR_LIT("cache_write_1h"),
    [PRICE_CONTEXT] = STR_LIT("context"),
    [PRICE_MAX_OUTPUT] = STR_LIT("max_output"),
};

/* Where a row comes from. */
enum origin { FROM_LIST, FROM_FILE, FROM_CONFIG, ORIGINS };

/* The rows of one model, origin and date. */
struct period {
    struct period *next; /* later date, or NULL */
    int32_t day;         /* days since 1970, or DAY_ALWAYS */
    struct price price;
};

struct entry {
    str key; /* "provider\tmodel" */
    uint64_t hash;
    struct entry *next; /* in list order */
    struct period *periods[ORIGINS];
};

struct price_book {
    struct arena *arena;
    const struct price_book *below; /* NULL: this is the lowest */
    struct entry **slots; /* open addressing; NULL = free */
    size_t n_slots, n_entries;
    struct entry *first, **last;
};

/* --- the book --- */

static struct entry **slot_of(struct entry **slots, size_t n_slots, str key, uint64_t hash)
{
    size_t i = (size_t)hash & (n_slots - 1);
    while (slots[i] && !(slots[i]->hash == hash && str_eq(slots[i]->key, key)))
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static const struct entry *entry_find(const struct price_book *b, str provider, str model)
{
    char key[KEY_MAX];
    size_t len = provider.len + 1 + model.len;
    if (provider.len == 0 || model.len == 0 || len > sizeof key) return NULL;
    memcpy(key, provider.p, provider.len);
    key[provider.len] = '\t';
    memcpy(key + provider.len + 1, model.p, model.len);
    str k = {key, len};
    return *slot_of(b->slots, b->n_slots, k, hash_bytes(k));
}

static enum errc book_grow(struct price_book *b, err *e)
{
    size_t n = 2 * b->n_slots;
    struct entry **slots = arena_news(b->arena, struct entry *, n);
    if (!slots) return err_set(e, ERR_TOO_LARGE, "the price list does not fit into its memory");
    for (struct entry *x = b->first; x; x = x->next)
        *slot_of(slots, n, x->key, x->hash) = x;
    b->slots = slots;
    b->n_slots = n;
    return ERR_NONE;
}

/* The entry of the key, made when there is none. The key is kept as it is, or copied if it will not last. */
static enum errc entry_make(struct price_book *b, str key, bool will_last, struct entry **out, err *e)
{
    uint64_t hash = hash_bytes(key);
    struct entry **slot = slot_of(b->slots, b->n_slots, key, hash);
    if (!*slot) {
        if (2 * (b->n_entries + 1) > b->n_slots) {
            enum errc rc = book_grow(b, e);
            if (rc) return rc;
            slot = slot_of(b->slots, b->n_slots, key, hash);
        }
        struct entry *x = arena_new(b->arena, struct entry);
        str kept = x && !will_last ? str_dup(b->arena, key) : key;
        if (!x || !kept.p) return err_set(e, ERR_TOO_LARGE, "the price list does not fit into its memory");
        x->key = kept;
        x->hash = hash;
        *slot = x;
        *b->last = x;
        b->last = &x->next;
        b->n_entries++;
    }
    *out = *slot;
    return ERR_NONE;
}

static enum errc entry_add(struct price_book *b, struct entry *x, enum origin origin, int32_t day,
                           enum price_unit unit, int64_t pico, err *e)
{
    struct period **at = &x->periods[origin];
    while (*at && (*at)->day < day)
        at = &(*at)->next;
    if (!*at || (*at)->day != day) {
        struct period *p = arena_new(b->arena, struct period);
        if (!p) return err_set(e, ERR_TOO_LARGE, "the price list does not fit into its memory");
        p->day = day;
        for (unsigned i = 0; i < PRICE_UNITS; i++)
            p->price.pico[i] = -1;
        p->next = *at;
        *at = p;
    }
    if ((*at)->price.pico[unit] >= 0)
        return err_set(e, ERR_CONFIG, "the %.*s price of '%.*s' is given twice for one date",
                       STR(unit_names[unit]), STR(str_skip(x->key, (size_t)str_chr(x->key, '\t') + 1)));
    (*at)->price.pico[unit] = pico;
    return ERR_NONE;
}

static int32_t day_of(usec at)
{
    int64_t day = at / USEC_PER_DAY - (at % USEC_PER_DAY < 0);
    return (int32_t)day;
}

/* --- reading rows --- */

struct reading {
    struct price_book *book;
    enum origin origin;
    const char *name; /* of the file, for messages */
    unsigned line;
    str date; /* the last one parsed, and its day: most rows share theirs with the row before */
    int32_t day;
};

static enum errc bad_row(const struct reading *r, err *e, const char *what, str which)
{
    return err_set(e, ERR_CONFIG, "%s:%u: %s '%.*s'", r->name, r->line, what, STR(utf8_take(which, 80)));
}

static bool date_of(struct reading *r, str date, int32_t *day)
{
    if (date.len == 0) {
        *day = DAY_ALWAYS;
        return true;
    }
    if (!str_eq(date, r->date)) {
        usec at;
        if (date.len != 10 || !time_parse(date, &at)) return false;
        r->date = date;
        r->day = day_of(at);
    }
    *day = r->day;
    return true;
}

static bool unit_of(str name, enum price_unit *out)
{
    for (unsigned i = 0; i < PRICE_UNITS; i++) {
        if (str_eq(name, unit_names[i])) {
            *out = (enum price_unit)i;
            return true;
        }
    }
    return false;
}

/* Of the numbers that people write: USD per million tokens, or tokens. */
static int scale_of(enum price_unit unit) { return unit < PRICE_CONTEXT ? 6 : 0; }

static enum errc key_check(const struct reading *r, str provider, str model, err *e)
{
    if (provider.len == 0) return bad_row(r, e, "the provider is missing before", model);
    if (model.len == 0) return bad_row(r, e, "the model is missing after", provider);
    if (provider.len + 1 + model.len > KEY_MAX) return bad_row(r, e, "too long a name:", model);
    return ERR_NONE;
}

static enum errc read_tsv(struct reading *r, str text, err *e)
{
    struct entry *x = NULL;
    while (text.len > 0) {
        r->line++;
        str rest = str_cut(&text, '\n');
        if (rest.len > 0 && rest.p[rest.len - 1] == '\r') rest.len--;
        if (rest.len == 0 || rest.p[0] == '#') continue;
        str row = rest, provider = str_cut(&rest, '\t'), model = str_cut(&rest, '\t'),
            date = str_cut(&rest, '\t'), unit_name = str_cut(&rest, '\t'), pico_text = rest;
        enum errc rc = key_check(r, provider, model, e);
        if (rc) return rc;
        int32_t day;
        enum price_unit unit;
        int64_t pico;
        if (!date_of(r, date, &day))
            return bad_row(r, e, "valid_from is no date like 2026-08-21 (or empty):", date);
        if (!unit_of(unit_name, &unit))
            return bad_row(
                r, e,
                "the unit is none of input, output, cache_read, cache_write, cache_write_1h, context, max_output:", unit_name);
        if (!str_to_i64(pico_text, &pico) || pico < 0)
            return bad_row(r, e, "the price is no whole number of pico-USD per token:", pico_text);
        /* The rows of a model stand together: one look-up for all of them. */
        str key = str_take(row, provider.len + 1 + model.len);
        if (!x || !str_eq(x->key, key)) rc = entry_make(r->book, key, true, &x, e);
        if (!rc) rc = entry_add(r->book, x, r->origin, day, unit, pico, e);
        if (rc == ERR_CONFIG) return err_prefix(e, "%s:%u", r->name, r->line);
        if (rc) return rc;
    }
    return ERR_NONE;
}

static enum errc read_json_price(struct reading *r, struct entry *x, int32_t day, enum price_unit unit,
                                 const struct json *value, int scale, err *e)
{
    int64_t pico;
    if ((value->type != JSON_NUMBER && value->type != JSON_STRING) ||
        !money_parse(value->text, scale, &pico) || pico < 0)
        return bad_row(r, e, "the price is no decimal number of whole pico-USD per token:", value->text);
    enum errc rc = entry_add(r->book, x, r->origin, day, unit, pico, e);
    return rc == ERR_CONFIG ? err_prefix(e, "%s:%u", r->name, r->line) : rc;
}

static enum errc read_json_line(struct reading *r, const struct json *row, err *e)
{
    const struct json *provider = json_get(row, S("provider")), *model = json_get(row, S("model")),
                      *date = json_get(row, S("valid_from"));
    if (row->type != JSON_OBJECT || !provider || provider->type != JSON_STRING || !model ||
        model->type != JSON_STRING)
        return bad_row(r, e, "needed is an object with texts for", S("provider and model"));
    if (str_chr(provider->text, '\t') >= 0 || str_chr(model->text, '\t') >= 0)
        return bad_row(r, e, "a tab in the name", model->text);
    enum errc rc = key_check(r, provider->text, model->text, e);
    if (rc) return rc;
    int32_t day = DAY_ALWAYS;
    r->date = (str){NULL, 0}; /* its text goes with the line */
    if (date && (date->type != JSON_STRING || !date_of(r, date->text, &day)))
        return bad_row(r, e, "valid_from is no date like 2026-08-21:", date->text);
    char key[KEY_MAX];
    size_t len = provider->text.len;
    memcpy(key, provider->text.p, len);
    key[len++] = '\t';
    memcpy(key + len, model->text.p, model->text.len);
    len += model->text.len;
    struct entry *x;
    if ((rc = entry_make(r->book, (str){key, len}, false, &x, e))) return rc;
    for (const struct json *m = row->child; m && !rc; m = m->next) {
        enum price_unit unit;
        if (m->type != JSON_NULL && unit_of(m->name, &unit))
            rc = read_json_price(r, x, day, unit, m, scale_of(unit), e);
    }
    const struct json *extra = json_at(row, S("other_usd_per_unit.cache_write_1h"));
    if (!rc && extra && extra->type != JSON_NULL)
        rc = read_json_price(r, x, day, PRICE_CACHE_WRITE_1H, extra, 12, e);
    return rc;
}

static enum errc read_jsonl(struct reading *r, str text, err *e)
{
    struct arena tree;
    arena_init(&tree, LINE_TREE_BYTES, 4096);
    enum errc rc = ERR_NONE;
    while (!rc && text.len > 0) {
        r->line++;
        str line = str_trim(str_cut(&text, '\n'));
        if (line.len == 0) continue;
        struct arena_mark mark = arena_mark(&tree);
        struct json *row;
        err why = {0};
        if (json_parse(&tree, line, &row, &why))
            rc = err_set(e, ERR_CONFIG, "%s:%u: %s", r->name, r->line, why.msg);
        else
            rc = read_json_line(r, row, e);
        r->date = (str){NULL, 0};
        arena_reset(&tree, mark);
    }
    arena_fini(&tree);
    return rc;
}

static enum errc load_file(struct arena *a, const char *path, str *out, err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open the price file %s",
                         path);
    enum errc rc = ERR_NONE;
    struct stat st;
    char *bytes = NULL;
    size_t len = 0, have = 0;
    if (fstat(fd, &st) != 0)
        rc = err_errno(e, ERR_IO, errno, "cannot read the price file %s", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_IO, "the price file %s is no regular file", path);
    else if (st.st_size > (off_t)FILE_BYTES_MAX)
        rc = err_set(e, ERR_CONFIG, "%s: a price file may have %u MiB", path, FILE_BYTES_MAX >> 20);
    if (!rc) {
        len = (size_t)st.st_size;
        bytes = arena_bytes(a, len);
        if (!bytes) rc = err_set(e, ERR_TOO_LARGE, "the price file %s does not fit into memory", path);
    }
    while (!rc && have < len) {
        ssize_t n = read(fd, bytes + have, len - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            rc = err_errno(e, ERR_IO, errno, "cannot read the price file %s", path);
        else if (n == 0)
            break;
        else
            have += (size_t)n;
    }
    close(fd);
    *out = (str){bytes, have};
    return rc;
}

static bool is_json(str path, str text)
{
    if (str_ends(path, S(".jsonl")) || str_ends(path, S(".json")) || str_ends(path, S(".ndjson")))
        return true;
    if (str_ends(path, S(".tsv"))) return false;
    text = str_trim(text);
    return text.len > 0 && text.p[0] == '{';
}

static str embedded_list(void)
{
    return (str){catalyst_prices_tsv, (size_t)(catalyst_prices_tsv_end - catalyst_prices_tsv)};
}

enum errc price_book_load(struct arena *a, const char *user_file, struct price_book **out, err *e)
{
    *out = NULL;
    struct price_book *b = arena_new(a, struct price_book);
    struct entry **slots = b ? arena_news(a, struct entry *, INDEX_FIRST) : NULL;
    if (!slots) return err_set(e, ERR_TOO_LARGE, "the price list does not fit into its memory");
    *b = (struct price_book){.arena = a, .slots = slots, .n_slots = INDEX_FIRST, .last = &b->first};
    struct reading r = {.book = b, .origin = FROM_LIST, .name = "prices.tsv"};
    enum errc rc = read_tsv(&r, embedded_list(), e);
    if (!rc && user_file) {
        str text;
        r = (struct reading){.book = b, .origin = FROM_FILE, .name = user_file};
        rc = load_file(a, user_file, &text, e);
        if (!rc) rc = is_json(str_c(user_file), text) ? read_jsonl(&r, text, e) : read_tsv(&r, text, e);
    }
    if (!rc) *out = b;
    return rc;
}

enum errc price_book_add(struct price_book *b, str provider, str model, usec valid_from_us,
                         enum price_unit unit, int64_t pico, err *e)
{
    if (provider.len == 0 || model.len == 0 || provider.len + 1 + model.len > KEY_MAX ||
        str_chr(provider, '\t') >= 0 || str_chr(model, '\t') >= 0)
        return err_set(e, ERR_CONFIG, "'%.*s' cannot have a price under this name",
                       STR(utf8_take(model, 80)));
    if (pico < 0) return err_set(e, ERR_CONFIG, "the price of '%.*s' is negative", STR(model));
    char key[KEY_MAX];
    memcpy(key, provider.p, provider.len);
    key[provider.len] = '\t';
    memcpy(key + provider.len + 1, model.p, model.len);
    struct entry *x;
    enum errc rc = entry_make(b, (str){key, provider.len + 1 + model.len}, false, &x, e);
    if (rc) return rc;
    return entry_add(b, x, FROM_CONFIG, valid_from_us == 0 ? DAY_ALWAYS : day_of(valid_from_us), unit, pico,
                     e);
}

enum errc price_book_over(struct arena *a, const struct price_book *below, struct price_book **out, err *e)
{
    struct price_book *b = arena_new(a, struct price_book);
    struct entry **slots = b ? arena_news(a, struct entry *, INDEX_OVER) : NULL;
    if (!slots) return err_set(e, ERR_TOO_LARGE, "the price list does not fit into its memory");
    *b = (struct price_book){.arena = a, .below = below, .slots = slots, .n_slots = INDEX_OVER, .last = &b->first};
    *out = b;
    return ERR_NONE;
}

static void add_model(struct price_book *b, str provider, const struct json *model,
                      void (*told)(void *ctx, const struct json *where, const char *problem), void *ctx)
{
    char text[400];
    if (model->type != JSON_OBJECT) {
        snprintf(text, sizeof text, "the prices of '%.*s' must be {input: …, output: …}", STR(utf8_take(model->name, 80)));
        told(ctx, model, text);
        return;
    }
    for (const struct json *m = model->child; m; m = m->next) {
        enum price_unit unit;
        int64_t number;
        err e = {0};
        if (!unit_of(m->name, &unit)) {
            snprintf(text, sizeof text,
                     "'%.*s' is not a price; use input, output, cache_read, cache_write, cache_write_1h, context or max_output",
                     STR(utf8_take(m->name, 80)));
            told(ctx, m, text);
        } else if ((m->type != JSON_STRING && m->type != JSON_NUMBER) || !money_parse(m->text, scale_of(unit), &number) ||
                   number < 0) {
            snprintf(text, sizeof text,
                     unit < PRICE_CONTEXT ? "the price '%.*s' must be USD per million tokens with at most six decimal places"
                                          : "'%.*s' must be a whole number of tokens",
                     STR(utf8_take(m->text, 80)));
            told(ctx, m, text);
        } else if (b && price_book_add(b, provider, model->name, 0, unit, number, &e) != ERR_NONE) {
            told(ctx, m, e.msg);
        }
    }
}

void price_book_add_tree(struct price_book *b, str provider, const struct json *models,
                         void (*told)(void *ctx, const struct json *where, const char *problem), void *ctx)
{
    if (models && models->type != JSON_OBJECT) {
        told(ctx, models, "prices must be MODEL: {input: …, output: …}");
        return;
    }
    for (const struct json *model = models ? models->child : NULL; model; model = model->next)
        add_model(b, provider, model, told, ctx);
}

/* --- looking up --- */

/* The period of one origin that holds for a unit on a day: the latest that began, else the earliest. */
static const struct period *period_of(const struct entry *x, enum origin origin, unsigned unit, int32_t day)
{
    const struct period *found = NULL;
    for (const struct period *p = x->periods[origin]; p; p = p->next) {
        if (p->price.pico[unit] < 0) continue;
        if (found && p->day > day) break;
        found = p;
    }
    return found;
}

/* Which of a user's row and the list's holds: the user's word counts from its date on, whatever the list's dates are. */
static const struct period *stronger(const struct period *user, const struct period *list, int32_t day)
{
    if (!user || !list) return user ? user : list;
    return user->day <= day ? user : list;
}

static bool find_exactly(const struct price_book *b, str provider, str source, str model, int32_t day,
                         struct price *out)
{
    const struct entry *own = entry_find(b, provider, model);
    if (b->below) {
        if (!own) own = entry_find(b->below, provider, model);
        b = b->below;
    }
    const struct entry *listed = entry_find(b, source, model);
    bool is_found = false;
    for (unsigned unit = 0; unit < PRICE_UNITS; unit++) {
        const struct period *p = NULL;
        if (own) p = period_of(own, FROM_CONFIG, unit, day);
        if (!p && own && own != listed) p = period_of(own, FROM_FILE, unit, day);
        if (!p && listed)
            p = stronger(period_of(listed, FROM_FILE, unit, day), period_of(listed, FROM_LIST, unit, day),
                         day);
        out->pico[unit] = p ? p->price.pico[unit] : -1;
        is_found |= p != NULL;
    }
    return is_found;
}

/* The name without a trailing -YYYYMMDD or -YYYY-MM-DD; the name itself when it has none. */
static str without_date(str model)
{
    static const char *const shapes[] = {"-dddddddd", "-dddd-dd-dd"};
    for (unsigned i = 0; i < LENGTH_OF(shapes); i++) {
        size_t len = strlen(shapes[i]);
        if (model.len <= len) continue;
        const char *tail = model.p + (model.len - len);
        size_t n = 0;
        while (n < len && (shapes[i][n] == 'd' ? tail[n] >= '0' && tail[n] <= '9' : tail[n] == '-'))
            n++;
        if (n == len) return str_take(model, model.len - len);
    }
    return model;
}

bool price_find(const struct price_book *b, str provider, str source, str model, usec at, struct price *out)
{
    int32_t day = day_of(at);
    str plain = str_starts(model, S("models/")) ? str_skip(model, 7) : model;
    const str names[] = {model, plain, without_date(model), without_date(plain)};
    for (unsigned i = 0; i < LENGTH_OF(names); i++) {
        if ((i == 0 || names[i].len != model.len) && find_exactly(b, provider, source, names[i], day, out))
            return true;
    }
    for (unsigned i = 0; i < PRICE_UNITS; i++)
        out->pico[i] = -1;
    return false;
}

int64_t price_cost_nanousd(const struct price *p, const struct token_usage *t)
{
    const int64_t *pico = p->pico;
    int64_t read = pico[PRICE_CACHE_READ] >= 0 ? pico[PRICE_CACHE_READ] : pico[PRICE_INPUT];
    int64_t write = pico[PRICE_CACHE_WRITE] >= 0 ? pico[PRICE_CACHE_WRITE] : pico[PRICE_INPUT];
    int64_t write_1h = pico[PRICE_CACHE_WRITE_1H] >= 0 ? pico[PRICE_CACHE_WRITE_1H] : write;
    const struct {
        int64_t tokens, price;
    } parts[] = {{t->input, pico[PRICE_INPUT]},
                 {t->output, pico[PRICE_OUTPUT]},
                 {t->cache_read, read},
                 {t->cache_write, write},
                 {t->cache_write_1h, write_1h}};
    picousd sum = 0;
    for (unsigned i = 0; i < LENGTH_OF(parts); i++) {
        if (parts[i].tokens <= 0) continue;
        if (parts[i].price < 0) return COST_UNKNOWN;
        /* One product stays below 2^126; the sum of five might not. */
        if (__builtin_add_overflow(sum, (picousd)parts[i].tokens * parts[i].price, &sum)) return INT64_MAX;
    }
    return money_pico_to_nano(sum);
}

void price_book_models(const struct price_book *b, str source, str glob, price_model_fn fn, void *ctx)
{
    if (b->below) b = b->below;
    for (const struct entry *x = b->first; x; x = x->next) {
        if (x->key.len <= source.len || x->key.p[source.len] != '\t' || !str_starts(x->key, source) ||
            (!x->periods[FROM_LIST] && !x->periods[FROM_FILE]))
            continue;
        str model = str_skip(x->key, source.len + 1);
        if (str_glob(glob, model)) fn(ctx, model);
    }
}

str price_list_version(void)
{
    str list = embedded_list(), line = str_cut(&list, '\n');
    return str_starts(line, VERSION_PREFIX) ? str_skip(line, VERSION_PREFIX.len) : (str){NULL, 0};
}
