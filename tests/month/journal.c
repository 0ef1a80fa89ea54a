/* month_journal - writes calls into the journal of a data folder that nobody serves, as the loops of a server would have: the next start
 * drains them.
 *
 *   month_journal DIR N FROM_US TO_US OPEN <keys     N calls that began between the two times, and OPEN that never end
 *
 * keys: a line each, fields separated by tabs: key id (32 hex digits), name, workspace, project, its name, user; ids as uuids, - for none. Calls
 * are of every outcome and dialect, with and without costs, with texts of all kinds of letters and of every length that a record holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/crypto.h"
#include "base/utf8.h"
#include "gateway/journal/journal.h"

#define KEYS_MAX 1024
#define WRITERS 2u
#define SEGMENT_BYTES (4u << 20)

struct key {
    uint8_t id[16];
    uuid workspace, project, user;
    char name[256], project_name[256];
};

static struct key keys[KEYS_MAX];
static uint64_t random_state = 0x9e3779b97f4a7c15;

/* splitmix64: the same month every time. */
static uint64_t draw(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static int64_t below(int64_t n) { return (int64_t)(draw() % (uint64_t)n); }

static void fail(const char *what, const err *e)
{
    fprintf(stderr, "month_journal: %s: %s\n", what, e ? e->msg : "");
    exit(1);
}

static uuid id_of(str text)
{
    uuid id = {{0}};
    if (!str_eq(text, S("-")) && !uuid_parse(text, &id)) fail("an id is none", NULL);
    return id;
}

static unsigned read_keys(void)
{
    static char line[4096];
    unsigned n = 0;
    while (n < KEYS_MAX && fgets(line, sizeof line, stdin)) {
        struct key *k = &keys[n++];
        str rest = str_trim(str_c(line));
        if (!hex_decode(str_cut(&rest, '\t'), k->id, sizeof k->id)) fail("a key id is none", NULL);
        str name = str_cut(&rest, '\t');
        snprintf(k->name, sizeof k->name, "%.*s", STR(name));
        k->workspace = id_of(str_cut(&rest, '\t'));
        k->project = id_of(str_cut(&rest, '\t'));
        name = str_cut(&rest, '\t');
        snprintf(k->project_name, sizeof k->project_name, "%.*s", STR(name));
        k->user = id_of(rest);
    }
    return n;
}

/* Letters from all planes, up to `bytes` of them. */
static str letters(char *out, size_t bytes)
{
    size_t n = 0;
    char one[4];
    while (n + 4 <= bytes) {
        uint32_t cp = (uint32_t)below(0x110000);
        unsigned len = cp == 0 ? 0 : utf8_encode(cp, one);
        memcpy(out + n, one, len);
        n += len;
    }
    return str_of(out, n);
}

static void fill(struct usage_record *r, const struct key *k, usec at_us, char texts[2][USAGE_TEXT_MAX])
{
    static const struct {
        str provider, model;
    } models[] = {{STR_LIT("openai"), STR_LIT("gpt-4o-mini")},
                  {STR_LIT("openai"), STR_LIT("gpt-4.1")},
                  {STR_LIT("anthropic"), STR_LIT("claude-sonnet-4-5")},
                  {STR_LIT("anthropic"), STR_LIT("claude-opus-4-1")},
                  {STR_LIT("ollama"), STR_LIT("qwen3:8b")}};
    static const str errors[] = {STR_LIT(""), STR_LIT("cancelled"), STR_LIT("upstream_error"),
                                 STR_LIT("unreachable"), STR_LIT("budget_exceeded")};
    unsigned m = (unsigned)below(LENGTH_OF(models)), outcome = below(20) < 17 ? 0 : 1 + (unsigned)below(4);
    int64_t tokens = 1 + below(20000),
            cost = models[m].provider.p[0] == 'o' && m == 4 ? 0 : tokens * (100 + below(9000));
    bool is_known = below(50) != 0;
    *r = (struct usage_record){.request_id = uuid7_make(at_us),
                               .started_us = at_us,
                               .dialect = (enum dialect)below(DIALECTS),
                               .outcome = (enum call_outcome)outcome,
                               .is_streamed = below(2),
                               .is_estimated = below(10) == 0,
                               .status = (uint16_t)(outcome == 4   ? 402
                                                    : outcome == 3 ? 502
                                                    : outcome == 1 ? 0
                                                                   : 200),
                               .sent_us = outcome == 4 ? -1 : below(3000),
                               .connect_us = below(2000),
                               .head_us = outcome >= 3 ? -1 : below(2000000),
                               .first_us = outcome >= 3 ? -1 : below(3000000),
                               .total_us = below(60000000),
                               .bytes_in = (uint64_t)below(1 << 20),
                               .bytes_out = (uint64_t)below(1 << 20),
                               .tokens = {.input = tokens,
                                          .cache_read = below(5000),
                                          .cache_write = below(500),
                                          .cache_write_1h = below(50),
                                          .output = below(4000),
                                          .reasoning = below(100)},
                               .cost_nanousd = outcome == 4 ? 0
                                               : is_known   ? cost
                                                            : COST_UNKNOWN,
                               .charged_nanousd = outcome == 4 || !is_known ? 0 : cost,
                               .workspace_id = k->workspace,
                               .project_id = k->project,
                               .user_id = k->user,
                               .key = str_c(k->name),
                               .project = str_c(k->project_name),
                               .user = below(3) ? S("") : S("ada"),
                               .task = below(4) ? S("") : S("review"),
                               .session = below(2) ? S("") : letters(texts[0], (size_t)below(60)),
                               .tags = below(20) ? S("") : letters(texts[1], USAGE_TEXT_MAX),
                               .provider = models[m].provider,
                               .model = models[m].model,
                               .model_asked = below(3) ? models[m].model : S("fast"),
                               .error = errors[outcome],
                               .trace_id = below(2) ? S("") : S("0af7651916cd43dd8448eb211c80319c")};
    memcpy(r->key_id, k->id, sizeof r->key_id);
}

static void await_room(struct journal_writer *w)
{
    while (!journal_has_room(w, 128))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

int main(int argc, char **argv)
{
    err e = {0};
    int64_t n = 0, from_us = 0, to_us = 0, n_open = 0;
    struct journal *j;
    struct journal_recovery found;
    struct journal_options options = {.segment_bytes = SEGMENT_BYTES, .n_writers = WRITERS};
    char texts[2][USAGE_TEXT_MAX];
    uint64_t ticket;
    if (argc != 6 || !str_to_i64(str_c(argv[2]), &n) || !str_to_i64(str_c(argv[3]), &from_us) ||
        !str_to_i64(str_c(argv[4]), &to_us) || !str_to_i64(str_c(argv[5]), &n_open))
        fail("month_journal DIR N FROM_US TO_US OPEN <keys", NULL);
    unsigned n_keys = read_keys();
    if (n_keys == 0) fail("there are no keys", NULL);
    if (journal_open(&j, argv[1], &options, &found, &e)) fail("opening the journal", &e);
    random_state += journal_boot(j);
    int64_t step_us = (to_us - from_us) / (n + 1);
    for (int64_t i = 0; i < n + n_open; i++) {
        struct usage_record r;
        struct journal_writer *w = journal_writer(j, (unsigned)(i / 64 % WRITERS));
        fill(&r, &keys[below(n_keys)], from_us + i % (n ? n : 1) * step_us, texts);
        await_room(w);
        if (i < n)
            journal_append(w, &r);
        else
            journal_append_start(w, &r);
        if ((i % 64 == 63 || i + 1 == n + n_open) && journal_flush(w, &ticket, &e)) fail("writing", &e);
    }
    journal_close(j);
    return 0;
}
