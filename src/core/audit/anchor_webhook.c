/* anchor_webhook.c - heads as JSON to a URL: {"origin","size","root","signed_at","note"}. X-Catalyst-Signature is t=SECONDS,v1=HEX, the
 * HMAC-SHA-256 of "SECONDS.BODY" under the secret, so that the receiver knows who speaks and refuses what is old. */
#include <stdio.h>
#include <stdlib.h>

#include "core/audit/anchor.h"
#include "net/fetch.h"

#define WEBHOOK_DEADLINE_MS 15000

struct webhook {
    struct arena arena;
    str url, secret;
};

static void close_hook(struct anchor *a)
{
    struct webhook *w = a->state;
    if (w->secret.p) explicit_bzero((char *)(uintptr_t)w->secret.p, w->secret.len);
    arena_fini(&w->arena);
    free(w);
    a->state = NULL;
}

static enum errc open_hook(struct anchor *a, const struct config *c, const struct json *entry, err *e)
{
    struct webhook *w = calloc(1, sizeof *w);
    if (!w) return err_code(e, ERR_NO_MEMORY);
    a->state = w;
    arena_init(&w->arena, 16384, 1024);
    w->url = str_dup(&w->arena, config_entry_text(c, entry, "audit.anchors[].url"));
    w->secret = str_dup(&w->arena, config_entry_text(c, entry, "audit.anchors[].secret"));
    if (!str_starts(w->url, S("https://")) && !str_starts(w->url, S("http://"))) return err_set(e, ERR_CONFIG, "a webhook anchor needs a url");
    return w->secret.len ? ERR_NONE : err_set(e, ERR_CONFIG, "a webhook anchor needs a secret");
}

static enum errc put_head(struct anchor *a, struct arena *arena, const struct audit_head *h, err *e)
{
    struct webhook *w = a->state;
    struct fetch_answer answer;
    struct buf body, signed_text;
    struct json_writer j;
    uint8_t mac[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1], root[2 * SHA256_LEN + 1], time[TIME_TEXT_LEN + 1];
    if (!a->outbound) return err_set(e, ERR_UNAVAILABLE, "nothing is fetched here");
    buf_init(&body, 16384);
    buf_init(&signed_text, 32768);
    json_writer_init(&j, &body);
    json_object(&j);
    json_put_str(&j, "origin", h->origin);
    json_put_int(&j, "size", h->size);
    json_put_str(&j, "root", hex_encode(h->root.b, sizeof h->root.b, root));
    json_put_str(&j, "signed_at", time_format(h->signed_us, time));
    json_put_str(&j, "note", h->note);
    json_end(&j);
    long long now_s = (long long)(clock_now_us() / USEC_PER_S);
    buf_addf(&signed_text, "%lld.", now_s);
    buf_add(&signed_text, buf_str(&body));
    hmac_sha256(w->secret, buf_str(&signed_text), mac);
    str signature = arena_printf(arena, "t=%lld,v1=%s", now_s, hex_encode(mac, sizeof mac, hex).p);
    const struct fetch_field fields[] = {{S("Content-Type"), S("application/json"), false}, {S("X-Catalyst-Signature"), signature, true}};
    enum errc rc = body.failed || signed_text.failed || !signature.p ? err_code(e, ERR_NO_MEMORY) : ERR_NONE;
    if (rc == ERR_NONE)
        rc = fetch(a->outbound, arena,
                   &(struct fetch_request){.method = S("POST"),
                                           .url = w->url,
                                           .fields = fields,
                                           .n_fields = LENGTH_OF(fields),
                                           .body = buf_str(&body),
                                           .answer_max = 64u << 10,
                                           .deadline_ms = WEBHOOK_DEADLINE_MS,
                                           .allows_local = true,
                                           .is_cancelled = a->is_stopping},
                   &answer, e);
    if (rc == ERR_NONE && answer.status / 100 != 2) rc = err_set(e, ERR_UPSTREAM, "the webhook answers %d", answer.status);
    buf_fini(&body);
    buf_fini(&signed_text);
    return rc;
}

const struct anchor_kind anchor_webhook = {"webhook", open_hook, close_hook, put_head, NULL, NULL};
