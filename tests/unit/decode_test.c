#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "net/decode.h"

/* Appends one gzip member; window_bits 15 + 16. */
static void add_gzip(struct buf *out, str plain)
{
    z_stream z = {.next_in = NULL};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, plain.len) + 64;
    char *at = buf_reserve(out, room);
    assert_non_null(at);
    z.next_in = (Bytef *)(uintptr_t)plain.p;
    z.avail_in = (uInt)plain.len;
    z.next_out = (Bytef *)at;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_added(out, room - z.avail_out);
    deflateEnd(&z);
}

/* Appends one zstd frame with a checksum. */
static void add_zstd(struct buf *out, str plain, int window_log)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    assert_non_null(z);
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
    if (window_log > 0) {
        ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log);
        ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0);
    }
    char *at = buf_reserve(out, ZSTD_compressBound(plain.len) + 64);
    assert_non_null(at);
    ZSTD_inBuffer from = {plain.p, plain.len, 0};
    ZSTD_outBuffer to = {at, ZSTD_compressBound(plain.len) + 64, 0};
    /* Without the size pledged in advance the window stays as large as asked for. */
    if (window_log > 0) assert_false(ZSTD_isError(ZSTD_compressStream2(z, &to, &from, ZSTD_e_flush)));
    assert_int_equal(ZSTD_compressStream2(z, &to, &from, ZSTD_e_end), 0);
    buf_added(out, to.pos);
    ZSTD_freeCCtx(z);
}

static void add(enum http_coding coding, struct buf *out, str plain)
{
    if (coding == CODING_GZIP) add_gzip(out, plain);
    if (coding == CODING_ZSTD) add_zstd(out, plain, 0);
    if (coding == CODING_IDENTITY) buf_add(out, plain);
}

static void expect(enum http_coding coding, str in, size_t max, enum errc code, str plain)
{
    struct buf out;
    err e = {0};
    char *copy = malloc(in.len > 0 ? in.len : 1);
    assert_non_null(copy);
    if (in.len > 0) memcpy(copy, in.p, in.len);
    buf_init(&out, max);
    assert_int_equal(coding_decode(coding, str_of(copy, in.len), &out, &e), code);
    assert_int_equal(e.code, code);
    assert_true(out.len <= max);
    if (code == ERR_NONE) assert_true(str_eq(buf_str(&out), plain));
    buf_fini(&out);
    free(copy);
}

/* Text that compresses, but not to nothing. */
static str some_text(struct buf *b, size_t n)
{
    uint32_t state = 1;
    buf_init(b, n);
    while (b->len < n) {
        state = state * 1664525 + 1013904223;
        buf_add_char(b, "etaoin shrdlu,\n{"[state >> 28]);
    }
    return buf_str(b);
}

static void codings_are_known_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_coding coding;
    } good[] = {{"", CODING_IDENTITY},   {"identity", CODING_IDENTITY}, {"gzip", CODING_GZIP},
                {"GZip", CODING_GZIP},   {"x-gzip", CODING_GZIP},       {"zstd", CODING_ZSTD},
                {" zstd\t", CODING_ZSTD}};
    static const char *const bad[] = {"br",       "deflate", "gzip, gzip", "gzip,",
                                      "gzip;q=1", "g zip",   "compress",   "identity, gzip"};
    for (size_t i = 0; i < LENGTH_OF(good); i++) {
        enum http_coding coding = CODING_ZSTD;
        assert_int_equal(coding_parse(str_c(good[i].text), &coding, NULL), ERR_NONE);
        assert_int_equal(coding, good[i].coding);
    }
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        enum http_coding coding;
        assert_int_equal(coding_parse(str_c(bad[i]), &coding, NULL), ERR_MEDIA_TYPE);
    }
}

static void bodies_of_every_size_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, 1 << 20};
    for (enum http_coding coding = CODING_IDENTITY; coding <= CODING_ZSTD; coding++) {
        for (size_t i = 0; i < LENGTH_OF(sizes); i++) {
            struct buf text, packed;
            str plain = some_text(&text, sizes[i]);
            buf_init(&packed, 8 << 20);
            add(coding, &packed, plain);
            expect(coding, buf_str(&packed), 8 << 20, ERR_NONE, plain);
            buf_fini(&packed);
            buf_fini(&text);
        }
    }
}

static void the_limit_of_the_output_is_exact(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100, 65536, 200000};
    for (enum http_coding coding = CODING_IDENTITY; coding <= CODING_ZSTD; coding++) {
        for (size_t i = 0; i < LENGTH_OF(sizes); i++) {
            struct buf text, packed;
            str plain = some_text(&text, sizes[i]);
            buf_init(&packed, 8 << 20);
            add(coding, &packed, plain);
            expect(coding, buf_str(&packed), sizes[i] - 1, ERR_TOO_LARGE, plain);
            expect(coding, buf_str(&packed), sizes[i], ERR_NONE, plain);
            expect(coding, buf_str(&packed), 0, ERR_TOO_LARGE, plain);
            buf_fini(&packed);
            buf_fini(&text);
        }
    }
}

static void what_was_in_the_output_stays_and_counts(void **state)
{
    (void)state;
    for (enum http_coding coding = CODING_IDENTITY; coding <= CODING_ZSTD; coding++) {
        struct buf packed, out;
        buf_init(&packed, 1000);
        add(coding, &packed, S("world"));
        buf_init(&out, 10);
        buf_add(&out, S("hello"));
        assert_int_equal(coding_decode(coding, buf_str(&packed), &out, NULL), ERR_NONE);
        assert_true(str_eq(buf_str(&out), S("helloworld")));
        assert_int_equal(coding_decode(coding, buf_str(&packed), &out, NULL), ERR_TOO_LARGE);
        assert_int_equal(buf_err(&out), ERR_TOO_LARGE);
        buf_fini(&out);
        buf_fini(&packed);
    }
}

static void a_bomb_is_stopped_at_the_limit(void **state)
{
    (void)state;
    char *zeros = calloc(1, 4 << 20);
    assert_non_null(zeros);
    for (enum http_coding coding = CODING_GZIP; coding <= CODING_ZSTD; coding++) {
        struct buf packed;
        buf_init(&packed, 8 << 20);
        add(coding, &packed, str_of(zeros, 4 << 20));
        assert_true(packed.len < 8192);
        expect(coding, buf_str(&packed), 100000, ERR_TOO_LARGE, S(""));
        buf_fini(&packed);
    }
    free(zeros);
}

static void members_and_frames_in_a_row_are_one_body(void **state)
{
    (void)state;
    for (enum http_coding coding = CODING_GZIP; coding <= CODING_ZSTD; coding++) {
        struct buf packed;
        buf_init(&packed, 4096);
        add(coding, &packed, S("one "));
        add(coding, &packed, S(""));
        add(coding, &packed, S("two"));
        expect(coding, buf_str(&packed), 7, ERR_NONE, S("one two"));
        expect(coding, buf_str(&packed), 6, ERR_TOO_LARGE, S(""));
        buf_fini(&packed);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (enum http_coding coding = CODING_GZIP; coding <= CODING_ZSTD; coding++) {
        struct buf packed;
        buf_init(&packed, 4096);
        add(coding, &packed, S("hello, hello, hello, world"));
        for (size_t n = 0; n < packed.len; n++)
            expect(coding, str_take(buf_str(&packed), n), 100, ERR_INVALID, S(""));
        /* of a second member as well */
        size_t first = packed.len;
        add(coding, &packed, S("and more"));
        for (size_t n = first + 1; n < packed.len; n++) {
            expect(coding, str_take(buf_str(&packed), n), 100, ERR_INVALID, S(""));
        }
        buf_fini(&packed);
    }
}

static void trailing_junk_is_refused(void **state)
{
    (void)state;
    static const str junk[] = {STR_LIT("\0"), STR_LIT("\0\0\0\0\0\0\0\0"), STR_LIT("x"), STR_LIT("\r\n"),
                               STR_LIT("hello, this is more than a header")};
    for (enum http_coding coding = CODING_GZIP; coding <= CODING_ZSTD; coding++) {
        for (size_t i = 0; i < LENGTH_OF(junk); i++) {
            struct buf packed;
            buf_init(&packed, 4096);
            add(coding, &packed, S("hello"));
            buf_add(&packed, junk[i]);
            expect(coding, buf_str(&packed), 100, ERR_INVALID, S(""));
            expect(coding, buf_str(&packed), 5, ERR_INVALID, S(""));
            buf_fini(&packed);
        }
    }
}

static void damage_is_found_by_the_checksum(void **state)
{
    (void)state;
    for (enum http_coding coding = CODING_GZIP; coding <= CODING_ZSTD; coding++) {
        struct buf packed;
        buf_init(&packed, 4096);
        add(coding, &packed, S("hello"));
        /* gzip: CRC-32 and length end the member; zstd: the checksum ends the frame */
        size_t n = coding == CODING_GZIP ? 8 : 4;
        for (size_t i = packed.len - n; i < packed.len; i++) {
            packed.p[i] ^= 1;
            expect(coding, buf_str(&packed), 100, ERR_INVALID, S(""));
            packed.p[i] ^= 1;
        }
        expect(coding, buf_str(&packed), 100, ERR_NONE, S("hello"));
        buf_fini(&packed);
    }
}

static void one_coding_is_not_taken_for_another(void **state)
{
    (void)state;
    struct buf packed;
    buf_init(&packed, 4096);
    add_gzip(&packed, S("hello"));
    expect(CODING_ZSTD, buf_str(&packed), 100, ERR_INVALID, S(""));
    buf_clear(&packed);
    add_zstd(&packed, S("hello"), 0);
    expect(CODING_GZIP, buf_str(&packed), 100, ERR_INVALID, S(""));
    expect(CODING_GZIP, S("{\"plain\":1}"), 100, ERR_INVALID, S(""));
    expect(CODING_ZSTD, S("{\"plain\":1}"), 100, ERR_INVALID, S(""));
    /* zlib's own wrapper (RFC 1950) around "hello" */
    expect(CODING_GZIP, S("\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"), 100, ERR_INVALID, S(""));
    buf_fini(&packed);
}

static void zstd_windows_over_8_mib_are_refused(void **state)
{
    (void)state;
    struct buf packed;
    buf_init(&packed, 4096);
    add_zstd(&packed, S("hello"), 23);
    expect(CODING_ZSTD, buf_str(&packed), 100, ERR_NONE, S("hello"));
    buf_clear(&packed);
    add_zstd(&packed, S("hello"), 24);
    expect(CODING_ZSTD, buf_str(&packed), 100, ERR_INVALID, S(""));
    /* A single-segment frame of 9 MiB has its content for a window: magic, descriptor 0xa0, size, one RLE
     * block. */
    expect(CODING_ZSTD, S("\x28\xb5\x2f\xfd\xa0\x00\x00\x90\x00\x03\x00\x10\x00"), 16 << 20, ERR_INVALID,
           S(""));
    buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codings_are_known_by_name),
        cmocka_unit_test(bodies_of_every_size_come_back),
        cmocka_unit_test(the_limit_of_the_output_is_exact),
        cmocka_unit_test(what_was_in_the_output_stays_and_counts),
        cmocka_unit_test(a_bomb_is_stopped_at_the_limit),
        cmocka_unit_test(members_and_frames_in_a_row_are_one_body),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(trailing_junk_is_refused),
        cmocka_unit_test(damage_is_found_by_the_checksum),
        cmocka_unit_test(one_coding_is_not_taken_for_another),
        cmocka_unit_test(zstd_windows_over_8_mib_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
