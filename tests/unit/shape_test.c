/* Field tables: what is read, refused, written, compared and documented by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/shape.h"

struct owner {
    str name, mail;
};
struct limits {
    int64_t per_minute, parallel;
};
struct thing {
    uuid id;
    str name, kind, mail, site, note, settings, password;
    int64_t count, price, made_us;
    bool is_on;
    struct texts tags;
    struct limits limits;
    struct owner *owner;
    struct objects rules;
    int64_t used_us;
    str secret;
};

static const struct field owner_fields[] = {
    FIELD(struct owner, name, FIELD_TEXT, .min = 1, .max = 20, .flags = FIELD_REQUIRED | FIELD_PERSONAL),
    FIELD(struct owner, mail, FIELD_TEXT, .format = FORMAT_EMAIL, .flags = FIELD_NULLABLE | FIELD_PERSONAL),
};
static const struct shape owner_shape = SHAPE("Owner", struct owner, owner_fields, "Who it belongs to.");
static const struct field limits_fields[] = {
    FIELD(struct limits, per_minute, FIELD_INT, .min = 1, .max = 1000, .fallback = "60"),
    FIELD(struct limits, parallel, FIELD_INT, .min = 1, .max = 10, .flags = FIELD_NULLABLE),
};
static const struct shape limits_shape = SHAPE("Limits", struct limits, limits_fields, NULL);
static const struct field thing_fields[] = {
    FIELD(struct thing, id, FIELD_UUID, .flags = FIELD_READONLY, .meaning = "Its id."),
    FIELD(struct thing, name, FIELD_TEXT, .min = 1, .max = 8, .format = FORMAT_LINE, .flags = FIELD_REQUIRED,
          .meaning = "Its name."),
    FIELD(struct thing, kind, FIELD_ONE_OF, .choices = "small|medium|large", .fallback = "\"medium\""),
    FIELD(struct thing, mail, FIELD_TEXT, .format = FORMAT_EMAIL, .flags = FIELD_NULLABLE | FIELD_PERSONAL),
    FIELD(struct thing, site, FIELD_TEXT, .format = FORMAT_URL, .flags = FIELD_NULLABLE),
    FIELD(struct thing, note, FIELD_TEXT, .flags = FIELD_NULLABLE),
    FIELD(struct thing, settings, FIELD_JSON, .format = FORMAT_OBJECT, .max = 200, .fallback = "{}"),
    FIELD(struct thing, password, FIELD_TEXT, .flags = FIELD_WRITEONLY),
    FIELD(struct thing, count, FIELD_INT, .min = 0, .max = 100, .flags = FIELD_NULLABLE),
    FIELD(struct thing, price, FIELD_MONEY, .min = 0, .max = 1000000000000, .flags = FIELD_NULLABLE),
    FIELD(struct thing, made_us, FIELD_TIME, .flags = FIELD_NULLABLE),
    FIELD(struct thing, is_on, FIELD_BOOL, .fallback = "true"),
    FIELD(struct thing, tags, FIELD_TEXTS, .format = FORMAT_NAME, .min = 1, .max = 10, .max_items = 3),
    FIELD(struct thing, limits, FIELD_OBJECT, .shape = &limits_shape, .fallback = "{}"),
    FIELD(struct thing, owner, FIELD_OBJECT, .shape = &owner_shape, .flags = FIELD_NULLABLE),
    FIELD(struct thing, rules, FIELD_OBJECTS, .shape = &limits_shape, .max_items = 2),
    FIELD(struct thing, used_us, FIELD_TIME, .flags = FIELD_READONLY | FIELD_UNAUDITED | FIELD_NULLABLE),
    FIELD(struct thing, secret, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_SECRET),
};
static const struct shape thing_shape = SHAPE("Thing", struct thing, thing_fields, "A thing.");

/* Boxes that say which value of which place they were given. */
struct seen_boxes {
    struct boxes boxes;
    struct buf seen;
};
static void put(struct boxes *b, bool is_after, str member, str value, struct json_writer *w)
{
    struct seen_boxes *box = (struct seen_boxes *)b;
    buf_addf(&box->seen, "%s.%.*s=%.*s;", is_after ? "after" : "before", STR(member), STR(value));
    json_object(w);
    json_put_str(w, "commitment", S("c"));
    json_end(w);
}

struct fixture {
    struct arena a;
    struct field_errors errors;
    struct thing thing;
    uint64_t present;
    err e;
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    arena_init(&f->a, 1 << 20, 0);
}
static void end(struct fixture *f) { arena_fini(&f->a); }

static enum errc decode(struct fixture *f, const char *text, enum shape_mode mode)
{
    struct json *v;
    f->errors = (struct field_errors){0};
    assert_int_equal(json_parse(&f->a, str_c(text), &v, NULL), ERR_NONE);
    return shape_decode(&f->a, &thing_shape, v, mode, &f->thing, &f->present, &f->errors, &f->e);
}

/* Each problem as "field code", in order. */
static void assert_errors(struct fixture *f, const char *want)
{
    struct buf got;
    buf_init(&got, 1 << 16);
    for (const struct field_error *x = f->errors.first; x; x = x->next)
        buf_addf(&got, "%s%.*s %s", got.len ? ", " : "", STR(x->field), x->code);
    if (!str_eq(buf_str(&got), str_c(want)))
        fail_msg("problems: %.*s\nwanted:   %s", STR(buf_str(&got)), want);
    buf_fini(&got);
}

static void assert_message(struct fixture *f, const char *want)
{
    assert_non_null(f->errors.first);
    if (!str_eq(f->errors.first->message, str_c(want)))
        fail_msg("message: %.*s\nwanted:  %s", STR(f->errors.first->message), want);
}

static void assert_encodes(const struct thing *t, const char *want)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, 1 << 16);
    json_writer_init(&w, &out);
    shape_encode(&thing_shape, t, &w);
    if (!str_eq(buf_str(&out), str_c(want))) fail_msg("encoded: %.*s\nwanted:  %s", STR(buf_str(&out)), want);
    buf_fini(&out);
}

static void a_full_body_is_read_and_written_back(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(decode(&f,
                            "{\"name\":\"n\",\"kind\":\"large\",\"mail\":\"ada@example.com\",\"site\":"
                            "\"https://example.com/x\",\"note\":\"a\\nb\","
                            "\"settings\":{\"a\": [1, "
                            "2.50]},\"password\":\"p\",\"count\":7,\"price_usd\":\"0.25\",\"made_us\":\"2026-"
                            "11-24T06:50:00Z\","
                            "\"is_on\":false,\"tags\":[\"a\",\"b-c\"],\"limits\":{\"per_minute\":5,"
                            "\"parallel\":2},\"owner\":{\"name\":\"Ada\"},"
                            "\"rules\":[{\"per_minute\":1},{}]}",
                            SHAPE_NEW),
                     ERR_NONE);
    assert_true(str_eq(f.thing.password, S("p")));
    assert_int_equal(f.thing.price, 250000000);
    assert_encodes(&f.thing,
                   "{\"id\":null,\"name\":\"n\",\"kind\":\"large\",\"mail\":\"ada@example.com\",\"site\":"
                   "\"https://example.com/x\","
                   "\"note\":\"a\\nb\",\"settings\":{\"a\":[1,2.50]},\"count\":7,\"price_usd\":\"0."
                   "250000000\",\"price_nanousd\":250000000,"
                   "\"made_us\":\"2026-11-24T06:50:00.000000Z\",\"is_on\":false,\"tags\":[\"a\",\"b-c\"],"
                   "\"limits\":{\"per_minute\":5,\"parallel\":2},\"owner\":{\"name\":\"Ada\",\"mail\":null},"
                   "\"rules\":[{\"per_minute\":1,\"parallel\":null},{\"per_minute\":60,\"parallel\":null}],"
                   "\"used_us\":null,\"secret\":\"\"}");
    end(&f);
}

static void absent_members_get_their_fallback_or_none(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(decode(&f, "{\"name\":\"n\"}", SHAPE_NEW), ERR_NONE);
    assert_int_equal(f.present, 1 << 1);
    assert_encodes(&f.thing, "{\"id\":null,\"name\":\"n\",\"kind\":\"medium\",\"mail\":null,\"site\":null,"
                             "\"note\":null,\"settings\":{},"
                             "\"count\":null,\"price_usd\":null,\"price_nanousd\":null,\"made_us\":null,\"is_"
                             "on\":true,\"tags\":[],"
                             "\"limits\":{\"per_minute\":60,\"parallel\":null},\"owner\":null,\"rules\":[],"
                             "\"used_us\":null,\"secret\":\"\"}");
    end(&f);
}

static void all_wrong_fields_are_told_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(
        decode(
            &f,
            "{\"id\":\"x\",\"name\":\"much too "
            "long\",\"kind\":\"medum\",\"mail\":\"no\",\"site\":\"ftp://x\",\"note\":7,\"settings\":[],"
            "\"count\":101,\"price_usd\":\"1e99\",\"made_us\":\"noon\",\"is_on\":1,\"tags\":[\"a\",\"!\",5],"
            "\"limits\":{\"per_minute\":0,\"paralel\":1},\"owner\":{},\"rules\":[{},{},{}],\"secret\":\"s\","
            "\"colour\":1}",
            SHAPE_NEW),
        ERR_INVALID);
    assert_errors(&f,
                  "id read_only, secret read_only, colour unknown_field, name too_long, kind not_one_of, "
                  "mail bad_format, "
                  "site bad_format, note wrong_type, settings wrong_type, count out_of_range, price_usd "
                  "bad_format, made_us bad_format, "
                  "is_on wrong_type, tags[1] bad_format, tags[2] wrong_type, limits.paralel unknown_field, "
                  "limits.per_minute out_of_range, owner.name required, rules too_long");
    assert_true(str_starts(str_c(f.e.msg), S("19 fields are wrong: id, secret, colour, name")));
    end(&f);
}

static void a_message_says_what_would_be_right(void **state)
{
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"{\"name\":\"n\",\"knd\":\"large\"}", "is no field here; did you mean 'kind'?"},
        {"{\"name\":\"n\",\"price\":1}", "is no field here; did you mean 'price_usd'?"},
        {"{\"name\":\"n\",\"price_nanousd\":-1}", "must be from 0 to 1000000000000 nano-USD"},
        {"{\"name\":\"n\",\"price_usd\":\"-1\"}", "must be from 0.000000000 to 1000.000000000 US dollars"},
        {"{\"name\":\"n\",\"kind\":\"lrge\"}", "must be small, medium or large; did you mean 'large'?"},
        {"{\"name\":\"n\",\"kind\":\"green\"}", "must be small, medium or large"},
        {"{\"name\":\"\"}", "must not be empty"},
        {"{\"name\":\"123456789\"}", "must have at most 8 characters, not 9"},
        {"{\"name\":\"  \"}", "must not be only spaces"},
        {"{\"name\":\"a\\nb\"}", "must not contain control characters"},
        {"{\"name\":\"n\",\"note\":\"a\\u0000b\"}",
         "must not contain control characters other than tab and newline"},
        {"{\"name\":null}", "must not be null"},
        {"{}", "is required: Its name."},
        {"{\"name\":\"n\",\"count\":1.5}", "must be a whole number of at most 63 bits, not '1.5'"},
        {"{\"name\":\"n\",\"count\":\"1\"}", "must be a whole number, not a text"},
        {"{\"name\":\"n\",\"id\":null}", "is set by the server; leave it out"},
        {"{\"name\":\"n\",\"price_usd\":\"1\",\"price_nanousd\":2}",
         "must be the same amount as price_usd; send one of the two"},
        {"{\"name\":\"n\",\"tags\":[\"a\",\"b\",\"c\",\"d\"]}", "must have at most 3 entries, not 4"},
    };
    (void)state;
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        struct fixture f;
        begin(&f);
        assert_int_equal(decode(&f, cases[i].body, SHAPE_NEW), ERR_INVALID);
        assert_int_equal(f.errors.n, 1);
        assert_message(&f, cases[i].message);
        end(&f);
    }
}

static void a_merge_changes_only_what_is_there(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(decode(&f,
                            "{\"name\":\"n\",\"note\":\"x\",\"count\":3,\"settings\":{\"a\":1,\"b\":{\"c\":1}"
                            "},\"owner\":{\"name\":\"Ada\"},"
                            "\"limits\":{\"per_minute\":5,\"parallel\":2}}",
                            SHAPE_NEW),
                     ERR_NONE);
    struct owner *before = f.thing.owner;
    assert_int_equal(decode(&f,
                            "{\"note\":null,\"count\":4,\"settings\":{\"a\":null,\"b\":{\"d\":2}},\"owner\":{"
                            "\"mail\":\"a@example.com\"},"
                            "\"limits\":{\"parallel\":null}}",
                            SHAPE_MERGE),
                     ERR_NONE);
    assert_encodes(
        &f.thing, "{\"id\":null,\"name\":\"n\",\"kind\":\"medium\",\"mail\":null,\"site\":null,\"note\":null,"
                  "\"settings\":{\"b\":{\"c\":1,\"d\":2}},\"count\":4,\"price_usd\":null,\"price_nanousd\":"
                  "null,\"made_us\":null,"
                  "\"is_on\":true,\"tags\":[],\"limits\":{\"per_minute\":5,\"parallel\":null},"
                  "\"owner\":{\"name\":\"Ada\",\"mail\":\"a@example.com\"},\"rules\":[],\"used_us\":null,"
                  "\"secret\":\"\"}");
    assert_null(before->mail.p);
    assert_int_equal(decode(&f, "{\"owner\":null}", SHAPE_MERGE), ERR_NONE);
    assert_null(f.thing.owner);
    assert_int_equal(decode(&f, "{\"owner\":{}}", SHAPE_MERGE), ERR_INVALID);
    assert_errors(&f, "owner.name required");
    assert_int_equal(decode(&f, "{\"name\":null}", SHAPE_MERGE), ERR_INVALID);
    end(&f);
}

struct question {
    str text;
    int64_t limit, since_us, least;
    bool is_open;
    struct texts kinds;
    uuid id;
};
static const struct field question_fields[] = {
    FIELD(struct question, text, FIELD_TEXT, .flags = FIELD_NULLABLE),
    FIELD(struct question, limit, FIELD_INT, .min = 1, .max = 200, .fallback = "50"),
    FIELD(struct question, since_us, FIELD_TIME),
    FIELD(struct question, least, FIELD_MONEY),
    FIELD(struct question, is_open, FIELD_BOOL),
    FIELD(struct question, kinds, FIELD_TEXTS, .choices = "a|b"),
    FIELD(struct question, id, FIELD_UUID),
};
static const struct shape question_shape = SHAPE("Question", struct question, question_fields, NULL);

static void a_query_string_is_read_by_the_same_table(void **state)
{
    (void)state;
    struct fixture f;
    struct question q = {0};
    begin(&f);
    assert_int_equal(
        shape_decode_query(&f.a, &question_shape,
                           S("text=a+b%2Bc%C3%A9&&since_us=2026-11-24&least_usd=0.5&is_open=true&kinds=a,b"
                             "&id=0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55"),
                           &q, &f.errors, &f.e),
        ERR_NONE);
    assert_true(str_eq(q.text, S("a b+c\xC3\xA9")));
    assert_int_equal(q.limit, 50);
    assert_int_equal(q.least, 500000000);
    assert_true(q.is_open);
    assert_int_equal(q.kinds.n, 2);
    assert_int_equal(shape_decode_query(&f.a, &question_shape, S(""), &q, &f.errors, &f.e), ERR_NONE);
    assert_true(q.since_us == NO_VALUE && !q.text.p && uuid_is_nil(&q.id) && !q.is_open);
    assert_int_equal(shape_decode_query(&f.a, &question_shape,
                                        S("limit=0&limit=5&tex=1&kinds=a,c&is_open=yes&text=%zz&since_us=+1"),
                                        &q, &f.errors, &f.e),
                     ERR_INVALID);
    assert_errors(&f, "text bad_format, limit duplicate, tex unknown_field, limit out_of_range, since_us "
                      "bad_format, is_open wrong_type, "
                      "kinds[1] not_one_of");
    end(&f);
}

static void a_list_in_a_query_has_its_limit_too(void **state)
{
    (void)state;
    struct fixture f;
    struct question q = {0};
    struct buf query;
    begin(&f);
    buf_init(&query, 1000);
    buf_add(&query, S("kinds=a"));
    for (unsigned i = 1; i < 100; i++)
        buf_add(&query, S(",a"));
    assert_int_equal(shape_decode_query(&f.a, &question_shape, buf_str(&query), &q, &f.errors, &f.e), ERR_NONE);
    assert_int_equal(q.kinds.n, 100);
    buf_add(&query, S(",a"));
    assert_int_equal(shape_decode_query(&f.a, &question_shape, buf_str(&query), &q, &f.errors, &f.e), ERR_INVALID);
    assert_errors(&f, "kinds too_long");
    buf_fini(&query);
    end(&f);
}

static void diff(const struct thing *a, const struct thing *b, const char *want)
{
    struct buf before, after, all;
    struct json_writer x, y;
    struct seen_boxes box = {.boxes.put = put};
    buf_init(&before, 1 << 16);
    buf_init(&after, 1 << 16);
    buf_init(&all, 1 << 16);
    buf_init(&box.seen, 1 << 16);
    json_writer_init(&x, &before);
    json_writer_init(&y, &after);
    bool differs = shape_diff(&thing_shape, a, b, &box.boxes, &x, &y);
    assert_int_equal(differs, before.len > 2 || after.len > 2);
    buf_addf(&all, "%.*s > %.*s | %.*s", STR(buf_str(&before)), STR(buf_str(&after)),
             STR(buf_str(&box.seen)));
    if (!str_eq(buf_str(&all), str_c(want))) fail_msg("differs: %.*s\nwanted:  %s", STR(buf_str(&all)), want);
    buf_fini(&before);
    buf_fini(&after);
    buf_fini(&all);
    buf_fini(&box.seen);
}

static void an_event_names_every_changed_member_and_no_personal_value(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(decode(&f,
                            "{\"name\":\"n\",\"mail\":\"a@example.com\",\"price_usd\":1,\"tags\":[\"a\"],"
                            "\"owner\":{\"name\":\"Ada\"}}",
                            SHAPE_NEW),
                     ERR_NONE);
    struct thing a = f.thing, b = f.thing;
    b.used_us = 5;
    b.password = S("other");
    b.secret = S("other");
    diff(&a, &b, "{} > {} | ");
    b.name = S("m");
    b.mail = S("b@example.com");
    b.price = NO_VALUE;
    b.tags = (struct texts){NULL, 0};
    b.owner = &(struct owner){.name = S("Bob")};
    diff(&a, &b,
         "{\"name\":\"n\",\"mail\":{\"commitment\":\"c\"},\"price_usd\":\"1.000000000\",\"price_nanousd\":"
         "1000000000,\"tags\":[\"a\"],"
         "\"owner\":{\"name\":{\"commitment\":\"c\"},\"mail\":null}} > "
         "{\"name\":\"m\",\"mail\":{\"commitment\":\"c\"},\"price_usd\":null,\"price_nanousd\":null,\"tags\":"
         "[],"
         "\"owner\":{\"name\":{\"commitment\":\"c\"},\"mail\":null}} | "
         "before.mail=\"a@example.com\";before.owner.name=\"Ada\";after.mail=\"b@example.com\";after.owner."
         "name=\"Bob\";");
    struct thing small = {
        .name = S("n"), .count = NO_VALUE, .price = NO_VALUE, .made_us = NO_VALUE, .limits = {1, NO_VALUE}};
    const char *whole =
        "{\"id\":null,\"name\":\"n\",\"kind\":\"\",\"mail\":null,\"site\":null,\"note\":null,\"settings\":"
        "null,\"count\":null,"
        "\"price_usd\":null,\"price_nanousd\":null,\"made_us\":null,\"is_on\":false,\"tags\":[],"
        "\"limits\":{\"per_minute\":1,\"parallel\":null},\"owner\":null,\"rules\":[]}";
    char want[600];
    snprintf(want, sizeof want, "null > %s | ", whole);
    diff(NULL, &small, want);
    snprintf(want, sizeof want, "%s > null | ", whole);
    diff(&small, NULL, want);
    end(&f);
}

static void a_schema_follows_the_use(void **state)
{
    (void)state;
    static const struct {
        enum shape_use use;
        const char *want;
    } cases[] = {
        {SHAPE_ANSWER, "{\"type\":\"object\",\"description\":\"Who it belongs "
                       "to.\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
                       "\"maxLength\":20},\"mail\":{\"type\":[\"string\",\"null\"],\"maxLength\":10000,"
                       "\"format\":\"email\"}},"
                       "\"required\":[\"name\",\"mail\"]}"},
        {SHAPE_INPUT, "{\"type\":\"object\",\"description\":\"Who it belongs "
                      "to.\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
                      "\"maxLength\":20},\"mail\":{\"type\":[\"string\",\"null\"],\"maxLength\":10000,"
                      "\"format\":\"email\"}},"
                      "\"required\":[\"name\"],\"additionalProperties\":false}"},
        {SHAPE_PATCH, "{\"type\":\"object\",\"description\":\"Who it belongs "
                      "to.\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
                      "\"maxLength\":20},\"mail\":{\"type\":[\"string\",\"null\"],\"maxLength\":10000,"
                      "\"format\":\"email\"}},"
                      "\"additionalProperties\":false}"},
    };
    for (size_t i = 0; i < LENGTH_OF(cases); i++) {
        struct buf out;
        struct json_writer w;
        buf_init(&out, 1 << 16);
        json_writer_init(&w, &out);
        shape_schema(&owner_shape, cases[i].use, &w);
        if (!str_eq(buf_str(&out), str_c(cases[i].want)))
            fail_msg("schema: %.*s\nwanted: %s", STR(buf_str(&out)), cases[i].want);
        buf_clear(&out);
        json_writer_init(&w, &out);
        shape_schema(&thing_shape, cases[i].use, &w);
        struct arena a;
        struct json *v;
        arena_init(&a, 1 << 20, 0);
        assert_int_equal(json_parse(&a, buf_str(&out), &v, NULL), ERR_NONE);
        const struct json *properties = json_get(v, S("properties"));
        assert_int_equal(json_get(properties, S("password")) == NULL, cases[i].use == SHAPE_ANSWER);
        assert_int_equal(json_get(properties, S("secret")) != NULL, cases[i].use == SHAPE_ANSWER);
        assert_non_null(json_get(properties, S("price_nanousd")));
        arena_fini(&a);
        buf_fini(&out);
    }
}

static void csv_quotes_and_disarms_formulas(void **state)
{
    (void)state;
    struct thing t = {.name = S("=1+1"),
                      .kind = S("a,\"b\""),
                      .settings = S("{\"a\":1}"),
                      .count = -3,
                      .price = 1,
                      .made_us = 0,
                      .tags = {(str[]){S("a"), S("b")}, 2},
                      .limits = {1, NO_VALUE},
                      .used_us = NO_VALUE,
                      .password = S("p"),
                      .secret = S("s")};
    struct buf out;
    buf_init(&out, 1 << 16);
    shape_csv_header(&thing_shape, &out);
    shape_csv_row(&thing_shape, &t, &out);
    const char *want = "id,name,kind,mail,site,note,settings,count,price_usd,price_nanousd,made_us,is_on,"
                       "tags,limits.per_minute,limits.parallel,"
                       "owner.name,owner.mail,rules,used_us\r\n"
                       ",'=1+1,\"a,\"\"b\"\"\",,,,\"{\"\"a\"\":1}\",-3,0.000000001,1,1970-01-01T00:00:00."
                       "000000Z,false,a; b,1,,,,[],\r\n";
    if (!str_eq(buf_str(&out), str_c(want))) fail_msg("csv: %.*s\nnot: %s", STR(buf_str(&out)), want);
    buf_fini(&out);
}

static void a_secret_is_left_out_of_the_copy_that_is_kept(void **state)
{
    (void)state;
    struct thing t = {.secret = S("planted")};
    struct buf out;
    struct json_writer w;
    buf_init(&out, 1 << 16);
    json_writer_init(&w, &out);
    shape_encode(&thing_shape, &t, &w);
    assert_true(str_find(buf_str(&out), S("planted")) > 0);
    buf_clear(&out);
    json_writer_init(&w, &out);
    shape_encode_without_secrets(&thing_shape, &t, &w);
    assert_true(str_find(buf_str(&out), S("secret")) < 0);
    assert_true(shape_has_secrets(&thing_shape));
    assert_false(shape_has_secrets(&owner_shape));
    buf_fini(&out);
}

static void e_mail_addresses_are_told_from_others(void **state)
{
    static const char *const good[] = {"a@b", "ada.l+x@mail.example.com", "j\xC3\xBCrgen@example.com",
                                       "a@xn--e1afmkfd.example"};
    static const char *const bad[] = {"",     "a",    "@b",     "a@",   "a@b@c", "a b@c", "a..b@c",
                                      ".a@b", "a@-b", "a@b..c", "a@b.", "a@b c", "a\\@b"};
    (void)state;
    struct fixture f;
    char body[200];
    begin(&f);
    for (size_t i = 0; i < LENGTH_OF(good); i++) {
        snprintf(body, sizeof body, "{\"name\":\"n\",\"mail\":\"%s\"}", good[i]);
        if (decode(&f, body, SHAPE_NEW) != ERR_NONE) fail_msg("%s is refused", good[i]);
    }
    for (size_t i = 0; i < LENGTH_OF(bad); i++) {
        snprintf(body, sizeof body, "{\"name\":\"n\",\"mail\":\"%s\"}",
                 strcmp(bad[i], "a\\@b") ? bad[i] : "a\\\\@b");
        if (decode(&f, body, SHAPE_NEW) != ERR_INVALID) fail_msg("%s is taken", bad[i]);
    }
    end(&f);
}

static void a_full_arena_is_an_error_of_its_own(void **state)
{
    (void)state;
    struct fixture f;
    struct arena small;
    struct json *v;
    begin(&f);
    arena_init(&small, 64, 64);
    assert_int_equal(
        json_parse(&f.a, S("{\"name\":\"n\",\"tags\":[\"a\",\"b\",\"c\"],\"rules\":[{},{}]}"), &v, NULL),
        ERR_NONE);
    assert_int_equal(shape_decode(&small, &thing_shape, v, SHAPE_NEW, &f.thing, NULL, &f.errors, &f.e),
                     ERR_TOO_LARGE);
    arena_fini(&small);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_body_is_read_and_written_back),
        cmocka_unit_test(absent_members_get_their_fallback_or_none),
        cmocka_unit_test(all_wrong_fields_are_told_at_once),
        cmocka_unit_test(a_message_says_what_would_be_right),
        cmocka_unit_test(a_merge_changes_only_what_is_there),
        cmocka_unit_test(a_query_string_is_read_by_the_same_table),
        cmocka_unit_test(a_list_in_a_query_has_its_limit_too),
        cmocka_unit_test(an_event_names_every_changed_member_and_no_personal_value),
        cmocka_unit_test(a_schema_follows_the_use),
        cmocka_unit_test(csv_quotes_and_disarms_formulas),
        cmocka_unit_test(a_secret_is_left_out_of_the_copy_that_is_kept),
        cmocka_unit_test(e_mail_addresses_are_told_from_others),
        cmocka_unit_test(a_full_arena_is_an_error_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
