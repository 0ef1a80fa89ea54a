/* routes.c - POST /api/mail/test. */
#include "core/events.h"
#include "core/mail/internal.h"

#define TEST_US (3600LL * USEC_PER_S)

static enum errc test_prepare(struct api_request *r, err *e)
{
    struct mail_ready *ready = arena_new(r->arena, struct mail_ready);
    const struct mail_value values[] = {{S("name"), r->who.name}};
    const struct mail mail = {.kind = S("test"),
                              .person_id = r->who.user_id,
                              .to = r->who.email,
                              .name = r->who.name,
                              .values = values,
                              .n = LENGTH_OF(values),
                              .expires_us = r->now_us + TEST_US};
    if (!ready) return err_code(e, ERR_TOO_LARGE);
    r->state = ready;
    return mail_prepare(r->service, r->arena, &mail, r->now_us, ready, e);
}

static enum errc test_apply(struct api_request *r, struct tx *tx, err *e)
{
    struct event ev = event_of(r, S("mail.tested"), 1);
    ev.resource_type = S("user");
    ev.resource_id = r->who.user_id;
    enum errc rc = tx_mail(tx, r->state, e);
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

static const struct api_route routes[] = {
    {.method = HTTP_POST,
     .path = "/api/mail/test",
     .name = "mail_test",
     .access = ACCESS_INSTANCE_ADMIN,
     .scope = SCOPE_INSTANCE,
     .effect = EFFECT_STATE,
     .status = 204,
     .summary = "Sends the caller a mail, to see whether it arrives",
     .text = "The answer comes before the mail is sent. Without `mail.smtp_url` it is written into the data folder (`mail/`); when a "
             "server does not take it, the administrators of the instance are notified.",
     .prepare = test_prepare,
     .apply = test_apply},
};
const struct api_table mail_api = {"mail", routes, LENGTH_OF(routes)};
