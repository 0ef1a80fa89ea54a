/* What other nodes are told of people by the log: streams whose session, key, membership or role is not what it was close, and what is
 * remembered of programs' sessions is looked at anew. */
#include "core/events.h"
#include "core/identity/internal.h"

/* Who is concerned, by what the event is about. */
enum concerned { OF_CREDENTIAL, OF_USER, OF_MEMBER };

static const struct {
    const char *type;
    enum concerned whose;
} kinds[] = {
    {"auth.session_ended", OF_CREDENTIAL}, {"auth.signed_out", OF_CREDENTIAL}, {"auth.sessions_ended", OF_USER},
    {"user.disabled", OF_USER},            {"api_key.revoked", OF_CREDENTIAL}, {"api_key.rotated", OF_CREDENTIAL},
    {"member.updated", OF_MEMBER},         {"member.removed", OF_MEMBER},
};
#define TYPES                                                                                                           \
    "auth.session_ended|auth.signed_out|auth.sessions_ended|user.disabled|api_key.revoked|api_key.rotated|"             \
    "member.updated|member.removed"

static void see(void *ctx, const struct sealed_event *ev)
{
    struct identity *id = ctx;
    bearer_forget(id->memory);
    for (size_t i = 0; id->live && i < LENGTH_OF(kinds); i++) {
        if (!str_eq(ev->type, str_c(kinds[i].type))) continue;
        bool is_credential = kinds[i].whose == OF_CREDENTIAL;
        live_revoke(id->live, is_credential ? &ev->resource_id : NULL, is_credential ? NULL : &ev->resource_id,
                    kinds[i].whose == OF_MEMBER ? &ev->workspace_id : NULL);
    }
}

void identity_watch(struct identity *id, struct events *log)
{
    events_watch(log, &(struct watcher){.types = TYPES, .see = see, .ctx = id});
}
