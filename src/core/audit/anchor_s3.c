/* anchor_s3.c - a bucket of S3 or of what speaks like it. PREFIX/checkpoint is the newest head, PREFIX/heads/SIZE-ROOT each of them,
 * PREFIX/segments/ the events. With retain_days each object is locked (object lock in compliance mode, which needs a bucket with versions):
 * whoever holds the key cannot take it back. Object lock wants an MD5 or a checksum of the body: x-amz-checksum-sha256 is sent with all. */
#include <stdio.h>
#include <stdlib.h>

#include "core/audit/anchor.h"
#include "net/sigv4.h"

#define S3_DEADLINE_MS 30000

struct s3 {
    struct arena arena;
    str base; /* "https://HOST/BUCKET/PREFIX/" */
    str region;
    struct sigv4_credentials credentials;
    int64_t retain_days;
};

static void close_bucket(struct anchor *a)
{
    struct s3 *s = a->state;
    if (s->credentials.secret_key.p) explicit_bzero((char *)(uintptr_t)s->credentials.secret_key.p, s->credentials.secret_key.len);
    arena_fini(&s->arena);
    free(s);
    a->state = NULL;
}

static enum errc open_bucket(struct anchor *a, const struct config *c, const struct json *entry, err *e)
{
    struct s3 *s = calloc(1, sizeof *s);
    if (!s) return err_code(e, ERR_NO_MEMORY);
    a->state = s;
    arena_init(&s->arena, 64u << 10, 1024);
    str url = config_entry_text(c, entry, "audit.anchors[].url"), prefix = config_entry_text(c, entry, "audit.anchors[].prefix");
    while (url.len && url.p[url.len - 1] == '/')
        url.len--;
    s->base = arena_printf(&s->arena, "%.*s/%.*s%s", STR(url), STR(prefix), prefix.len ? "/" : "");
    s->region = str_dup(&s->arena, config_entry_text(c, entry, "audit.anchors[].region"));
    s->credentials.access_key = str_dup(&s->arena, config_entry_text(c, entry, "audit.anchors[].access_key"));
    s->credentials.secret_key = str_dup(&s->arena, config_entry_text(c, entry, "audit.anchors[].secret_key"));
    s->retain_days = config_entry_int(c, entry, "audit.anchors[].retain_days");
    if (!str_starts(url, S("https://")) && !str_starts(url, S("http://")))
        return err_set(e, ERR_CONFIG, "an S3 anchor needs the url of its bucket");
    if (!s->credentials.access_key.len || !s->credentials.secret_key.len)
        return err_set(e, ERR_CONFIG, "an S3 anchor needs access_key and secret_key");
    return s->base.p ? ERR_NONE : err_code(e, ERR_NO_MEMORY);
}

static enum errc ask(struct anchor *a, struct arena *arena, const char *method, const char *name, str body, struct fetch_answer *answer, err *e)
{
    struct s3 *s = a->state;
    usec now = clock_now_us();
    uint8_t hash[SHA256_LEN];
    char checksum[BASE64_SIZE(SHA256_LEN)], until[TIME_TEXT_LEN + 1];
    struct fetch_field extra[4], *fields;
    unsigned n = 0, n_fields;
    if (!a->outbound) return err_set(e, ERR_UNAVAILABLE, "nothing is fetched here");
    str url = arena_printf(arena, "%.*s%s", STR(s->base), name);
    if (!url.p) return err_code(e, ERR_NO_MEMORY);
    if (strcmp(method, "PUT") == 0) {
        sha256(body, hash);
        extra[n++] = (struct fetch_field){S("x-amz-checksum-sha256"), base64_encode(hash, sizeof hash, checksum), false};
        if (s->retain_days) {
            extra[n++] = (struct fetch_field){S("x-amz-object-lock-mode"), S("COMPLIANCE"), false};
            extra[n++] = (struct fetch_field){S("x-amz-object-lock-retain-until-date"), time_format(now + s->retain_days * USEC_PER_DAY, until), false};
        }
    }
    struct sigv4_request request = {.region = s->region,
                                    .service = S("s3"),
                                    .method = str_c(method),
                                    .url = url,
                                    .fields = extra,
                                    .n_fields = n,
                                    .body = body,
                                    .is_s3 = true};
    enum errc rc = sigv4_sign(arena, &s->credentials, &request, now, &fields, &n_fields, e);
    if (rc != ERR_NONE) return rc;
    return fetch(a->outbound, arena,
                 &(struct fetch_request){.method = str_c(method),
                                         .url = url,
                                         .fields = fields,
                                         .n_fields = n_fields,
                                         .body = body,
                                         .answer_max = 64u << 10,
                                         .deadline_ms = S3_DEADLINE_MS,
                                         .allows_local = true,
                                         .is_cancelled = a->is_stopping},
                 answer, e);
}

/* The code of S3's error document, for people. */
static enum errc refused(const char *what, const struct fetch_answer *answer, err *e)
{
    str body = answer->body;
    ptrdiff_t at = str_find(body, S("<Code>"));
    body = str_skip(body, at < 0 ? body.len : (size_t)at + 6);
    body = str_cut(&body, '<');
    return err_set(e, ERR_UPSTREAM, "the bucket answers %d %.*s to %s", answer->status, STR(str_take(body, 60)), what);
}

static enum errc put(struct anchor *a, struct arena *arena, const char *name, str body, err *e)
{
    struct fetch_answer answer;
    enum errc rc = ask(a, arena, "PUT", name, body, &answer, e);
    if (rc == ERR_NONE && answer.status / 100 != 2) rc = refused(name, &answer, e);
    return rc;
}

static enum errc put_head(struct anchor *a, struct arena *arena, const struct audit_head *h, err *e)
{
    char name[96], root[2 * SHA256_LEN + 1];
    snprintf(name, sizeof name, "heads/%020lld-%.16s", (long long)h->size, hex_encode(h->root.b, sizeof h->root.b, root).p);
    enum errc rc = put(a, arena, name, h->note, e);
    return rc == ERR_NONE ? put(a, arena, "checkpoint", h->note, e) : rc;
}

static enum errc put_segment(struct anchor *a, struct arena *arena, str name, str bytes, err *e)
{
    char path[96];
    snprintf(path, sizeof path, "segments/%.*s", STR(name));
    return put(a, arena, path, bytes, e);
}

static enum errc newest(struct anchor *a, struct arena *arena, str *note, err *e)
{
    struct fetch_answer answer;
    enum errc rc = ask(a, arena, "GET", "checkpoint", (str){0}, &answer, e);
    if (rc == ERR_NONE && answer.status == 404) return err_set(e, ERR_NOT_FOUND, "there is no head in the bucket yet");
    if (rc == ERR_NONE && answer.status != 200) rc = refused("reading the newest head", &answer, e);
    if (rc == ERR_NONE) *note = answer.body;
    return rc;
}

const struct anchor_kind anchor_s3 = {"s3", open_bucket, close_bucket, put_head, put_segment, newest};
