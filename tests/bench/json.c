/* json.c - speed of the JSON code on the files given as arguments.
 *
 *     build/release/bench/json FILE...
 *
 * For each file: GB/s of CPU time for a scan with the query of a gateway request, a scan without one, and a
 * tree. Each number is the best of several rounds, so that other work on the machine does not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "json/tree.h"

#define ROUNDS 15
#define ROUND_BYTES (32u << 20)

/* What admission, routing and usage want of a chat request. */
static const struct json_path gateway_paths[] = {
    {STR_LIT("model"), true},
    {STR_LIT("stream"), true},
    {STR_LIT("stream_options"), true},
    {STR_LIT("stream_options.include_usage"), true},
    {STR_LIT("max_tokens"), true},
    {STR_LIT("max_completion_tokens"), true},
    {STR_LIT("n"), true},
    {STR_LIT("user"), false},
    {STR_LIT("messages"), false},
    {STR_LIT("messages[].role"), false},
    {STR_LIT("messages[].content"), false},
    {STR_LIT("tools"), false},
};

struct input {
    str text;
    struct json_query q;
    struct arena arena;
    uint64_t sum; /* of what was found, so that no work can be left out */
};

static void count_match(void *ctx, unsigned path, const struct json_value *value)
{
    struct input *in = ctx;
    in->sum += value->raw.len + path;
}

static bool run_scan_query(struct input *in)
{
    return json_scan(in->text, &in->q, count_match, in, NULL, NULL, NULL) == ERR_NONE;
}

static bool run_scan(struct input *in)
{
    return json_scan(in->text, NULL, NULL, NULL, NULL, NULL, NULL) == ERR_NONE;
}

static bool run_tree(struct input *in)
{
    struct json *root;
    const struct arena_mark mark = arena_mark(&in->arena);
    const bool is_ok = json_parse(&in->arena, in->text, &root, NULL) == ERR_NONE;
    in->sum += is_ok ? root->n : 0;
    arena_reset(&in->arena, mark);
    return is_ok;
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double best_gb_per_s(bool (*run)(struct input *), struct input *in)
{
    const size_t n = 1 + ROUND_BYTES / (in->text.len + 1);
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = cpu_seconds();
        for (size_t i = 0; i < n; i++)
            if (!run(in)) return 0;
        const double rate = (double)n * (double)in->text.len / (cpu_seconds() - start) / 1e9;
        if (rate > best) best = rate;
    }
    return best;
}

static bool read_file(const char *path, str *out)
{
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    char *p = NULL;
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 &&
        (p = malloc((size_t)size + 1)) != NULL && fread(p, 1, (size_t)size, f) == (size_t)size)
        *out = str_of(p, (size_t)size);
    else
        free(p), p = NULL;
    fclose(f);
    return p != NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return EXIT_USAGE;
    }
    printf("%-24s %10s %12s %12s %12s   GB/s of CPU time\n", "file", "bytes", "scan+query", "scan", "tree");
    for (int i = 1; i < argc; i++) {
        struct input in = {.sum = 0};
        err e = {0};
        if (!read_file(argv[i], &in.text) ||
            json_query_init(&in.q, gateway_paths, LENGTH_OF(gateway_paths), &e)) {
            fprintf(stderr, "%s: cannot be read%s\n", argv[i], e.msg);
            return EXIT_FAILED;
        }
        if (json_scan(in.text, &in.q, count_match, &in, NULL, NULL, &e)) {
            fprintf(stderr, "%s: %s\n", argv[i], e.msg);
            return EXIT_FAILED;
        }
        /* The first block stays for all rounds, as the arena of a kept-alive connection does; trees that
         * outgrow it pay for more blocks every time. */
        arena_init(&in.arena, in.text.len * 64 + (1u << 20), 256u << 10);
        if (!arena_alloc(&in.arena, 1)) return EXIT_FAILED;
        const double query = best_gb_per_s(run_scan_query, &in), plain = best_gb_per_s(run_scan, &in),
                     tree = best_gb_per_s(run_tree, &in);
        const char *slash = strrchr(argv[i], '/');
        printf("%-24s %10zu %12.2f %12.2f %12.2f\n", slash ? slash + 1 : argv[i], in.text.len, query, plain,
               tree);
        arena_fini(&in.arena);
        free((char *)(uintptr_t)in.text.p);
    }
    return EXIT_OK;
}
