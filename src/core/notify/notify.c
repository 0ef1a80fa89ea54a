/* notify.c - adding notifications, and the listener that makes them from events of the core. */
#include <stdlib.h>

#include "base/log.h"
#include "base/utf8.h"
#include "core/config.h"
#include "core/notify/internal.h"
#include "json/tree.h"

#define TITLE_MAX 200
#define BODY_MAX 1000
#define FRAME_MAX 16384

const struct notification_kind notification_kinds[] = {
    {"budget.alert", "A budget of a workspace that you administer has reached one of its marks."},
    {"job.failed", "A background job that you started has failed."},
    {"invitation.accepted", "Somebody whom you invited has joined."},
    {"member.joined", "Somebody has joined a workspace that you administer."},
    {"member.updated", "Your role in a workspace was changed."},
    {"listener.parked", "A listener of the event log is stuck (instance administrators)."},
};
const unsigned n_notification_kinds = LENGTH_OF(notification_kinds);

SQL(is_unwanted, DB_MAIN, SQL_INSTANCE, "ut",
    "SELECT 1 FROM notification_preferences WHERE user_id = $1 AND kind = $2 AND is_wanted = 0");
SQL(add_notification, DB_MAIN, 0, "uuuuttttii",
    "INSERT INTO notifications (id, user_id, workspace_id, cause_id, kind, title, body, link, is_read, "
    "created_us) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING");
SQL(of_cause, DB_MAIN, SQL_INSTANCE, "u",
    "SELECT " NOTIFICATION_COLUMNS ", user_id FROM notifications WHERE cause_id = $1");
SQL(forget_old, DB_MAIN, SQL_INSTANCE, "i", "DELETE FROM notifications WHERE created_us < $1");

SQL(instance_admins, DB_MAIN, SQL_INSTANCE, "",
    "SELECT id FROM users WHERE is_instance_admin = 1 AND is_disabled = 0 ORDER BY id");
SQL(workspace_admins, DB_MAIN, 0, "u",
    "SELECT user_id FROM memberships WHERE workspace_id = $1 AND role IN ('owner', 'admin') ORDER BY "
    "user_id");
SQL(name_of_user, DB_MAIN, SQL_INSTANCE, "u", "SELECT name FROM users WHERE id = $1");
SQL(name_of_workspace, DB_MAIN, SQL_INSTANCE, "u", "SELECT name FROM workspaces WHERE id = $1");

/* --- rows --- */

static str cut(str s, size_t most)
{
    s = str_take(s, most);
    while (s.len && !utf8_is_valid(s))
        s.len--; /* not in the middle of a character */
    return s;
}

enum errc tx_notify(struct tx *tx, const struct notice *n, err *e)
{
    struct arena a;
    struct rows rows;
    uuid id = n->user_id;
    arena_init(&a, 4096, 512);
    enum errc rc = tx_query(tx, &a, &is_unwanted, PARAMS(v_uuid(&n->user_id), v_text(n->kind)), &rows, e);
    arena_fini(&a);
    if (rc != ERR_NONE || rows.n) return rc;
    /* One id for an event and a user: what is heard twice is added once. */
    for (unsigned i = 0; i < sizeof id.b; i++)
        id.b[i] ^= n->cause_id.b[i];
    id = event_id_of(&id, 0);
    memcpy(id.b, n->cause_id.b, 6);
    return tx_exec(tx, &add_notification,
                   PARAMS(v_uuid(&id), v_uuid(&n->user_id), v_uuid_or_null(&n->workspace_id),
                          v_uuid(&n->cause_id), v_text(n->kind), v_text(cut(n->title, TITLE_MAX)),
                          v_text(n->body.p ? cut(n->body, BODY_MAX) : S("")),
                          v_text(n->link.p ? n->link : S("")), v_int(0), v_int(n->now_us)),
                   NULL, e);
}

void notification_of_row(const struct val *v, struct notification *out)
{
    *out = (struct notification){
        .created_at = val_int(&v[0]),
        .id = val_uuid(&v[1]),
        .workspace_id = val_uuid(&v[2]),
        .kind = val_str(&v[3]),
        .title = val_str(&v[4]),
        .body = val_str(&v[5]),
        .link = val_str(&v[6]).len ? val_str(&v[6]) : (str){0},
        .is_read = val_bool(&v[7]),
    };
}

struct showing {
    struct arena *a;
    const uuid *cause;
    struct rows rows;
};

static enum errc show_unit(struct tx *tx, void *ctx, err *e)
{
    struct showing *s = ctx;
    return tx_query(tx, s->a, &of_cause, PARAMS(v_uuid(s->cause)), &s->rows, e);
}

void notify_show(struct notify *n, const uuid *cause_id)
{
    struct arena a;
    struct showing s = {.a = &a, .cause = cause_id};
    err e = {0};
    if (!n->live) return;
    arena_init(&a, 4u << 20, 4096);
    if (db_read(store_db(n->store, DB_MAIN), show_unit, &s, &e) != ERR_NONE)
        log_error(LOG_WARN, "notification_not_shown", &e);
    for (unsigned i = 0; e.code == ERR_NONE && i < s.rows.n; i++) {
        static const uuid everywhere;
        const struct val *row = row_at(&s.rows, i);
        struct notification one;
        uuid user = val_uuid(&row[8]);
        struct buf text;
        struct json_writer w;
        notification_of_row(row, &one);
        buf_init(&text, FRAME_MAX);
        json_writer_init(&w, &text);
        shape_encode(&notification_shape, &one, &w);
        if (!text.failed)
            live_publish(n->live, &everywhere, &user, PERMISSION_NONE, S("notification"), buf_str(&text));
        buf_fini(&text);
    }
    arena_fini(&a);
}

/* --- from events --- */

struct telling {
    struct tx *tx;
    struct arena *a;
    const struct sealed_event *ev;
    const struct json *root;
    uuid actor;
    err *e;
};

static uuid uuid_at(const struct json *root, str dotted)
{
    const struct json *v = json_at(root, dotted);
    uuid id = {0};
    if (!v || v->type != JSON_STRING || !uuid_parse(v->text, &id)) return (uuid){0};
    return id;
}

static str text_at(const struct json *root, str dotted)
{
    const struct json *v = json_at(root, dotted);
    return v && v->type == JSON_STRING ? v->text : S("");
}

/* A name, or what stands for it when there is none any more. */
static enum errc name_of(struct telling *t, const struct sql *s, const uuid *id, str otherwise, str *out)
{
    struct rows rows;
    enum errc rc = tx_query(t->tx, t->a, s, PARAMS(v_uuid(id)), &rows, t->e);
    *out = rc == ERR_NONE && rows.n ? val_str(row_at(&rows, 0)) : otherwise;
    return rc;
}

static enum errc tell(struct telling *t, const uuid *user, const char *kind, str title, str body, str link)
{
    if (!title.p || !body.p) return err_code(t->e, ERR_TOO_LARGE);
    return tx_notify(t->tx,
                     &(struct notice){
                         .cause_id = t->ev->id,
                         .user_id = *user,
                         .workspace_id = t->ev->workspace_id,
                         .kind = str_c(kind),
                         .title = title,
                         .body = body,
                         .link = link,
                         .now_us = t->ev->at_us,
                     },
                     t->e);
}

/* Everybody of a list but two. */
static enum errc tell_all(struct telling *t, const struct rows *users, const uuid *not_one,
                          const uuid *not_other, const char *kind, str title, str body, str link)
{
    enum errc rc = ERR_NONE;
    for (unsigned i = 0; i < users->n && rc == ERR_NONE; i++) {
        uuid user = val_uuid(row_at(users, i));
        if (memcmp(&user, not_one, sizeof user) != 0 && memcmp(&user, not_other, sizeof user) != 0)
            rc = tell(t, &user, kind, title, body, link);
    }
    return rc;
}

/* "4.210000000" is "4.21", "5.000000000" is "5.00". */
static str short_money(str text)
{
    ptrdiff_t point = str_chr(text, '.');
    while (point >= 0 && text.len > (size_t)point + 3 && text.p[text.len - 1] == '0')
        text.len--;
    return text;
}

static enum errc on_budget_threshold(struct telling *t)
{
    static const uuid nobody;
    struct rows users;
    int64_t percent = 0;
    const struct json *p = json_at(t->root, S("metadata.percent"));
    if (!p || !json_i64(p, &percent)) percent = 0;
    enum errc rc =
        tx_query(t->tx, t->a, &workspace_admins, PARAMS(v_uuid(&t->ev->workspace_id)), &users, t->e);
    if (rc != ERR_NONE) return rc;
    str title = arena_printf(t->a, "A %.*s %.*s budget has reached %lld %%",
                             STR(text_at(t->root, S("metadata.period"))),
                             STR(text_at(t->root, S("metadata.scope"))), (long long)percent);
    str body = arena_printf(t->a, "%.*s of %.*s USD are spent.",
                            STR(short_money(text_at(t->root, S("metadata.spent_usd")))),
                            STR(short_money(text_at(t->root, S("metadata.limit_usd")))));
    return tell_all(t, &users, &nobody, &nobody, "budget.alert", title, body, S("/settings/budgets"));
}

static enum errc on_job_failed(struct telling *t)
{
    uuid user = uuid_at(t->root, S("metadata.user"));
    if (uuid_is_nil(&user)) return ERR_NONE;
    return tell(t, &user, "job.failed",
                arena_printf(t->a, "The job %.*s has failed", STR(text_at(t->root, S("metadata.kind")))),
                text_at(t->root, S("metadata.reason")), S("/jobs"));
}

static enum errc on_invitation_accepted(struct telling *t)
{
    struct rows users;
    str name, workspace;
    uuid inviter = uuid_at(t->root, S("before.invited_by"));
    enum errc rc = name_of(t, &name_of_user, &t->actor, S("Somebody"), &name);
    if (rc == ERR_NONE)
        rc = name_of(t, &name_of_workspace, &t->ev->workspace_id, S("a workspace"), &workspace);
    if (rc == ERR_NONE)
        rc = tx_query(t->tx, t->a, &workspace_admins, PARAMS(v_uuid(&t->ev->workspace_id)), &users, t->e);
    if (rc != ERR_NONE) return rc;
    str title = arena_printf(t->a, "%.*s has joined %.*s", STR(name), STR(workspace));
    str body = arena_printf(t->a, "Role: %.*s", STR(text_at(t->root, S("before.role"))));
    if (!uuid_is_nil(&inviter)) rc = tell(t, &inviter, "invitation.accepted", title, body, S("/workspace"));
    return rc == ERR_NONE
               ? tell_all(t, &users, &inviter, &t->actor, "member.joined", title, body, S("/workspace"))
               : rc;
}

static enum errc on_member_updated(struct telling *t)
{
    str workspace;
    if (memcmp(&t->ev->resource_id, &t->actor, sizeof t->actor) == 0) return ERR_NONE;
    enum errc rc = name_of(t, &name_of_workspace, &t->ev->workspace_id, S("a workspace"), &workspace);
    str role = text_at(t->root, S("after.role"));
    if (rc != ERR_NONE || !role.len) return rc;
    return tell(t, &t->ev->resource_id, "member.updated",
                arena_printf(t->a, "Your role in %.*s is now %.*s", STR(workspace), STR(role)), S(""),
                S("/workspace"));
}

static enum errc on_listener_parked(struct telling *t)
{
    static const uuid nobody;
    struct rows users;
    enum errc rc = tx_query(t->tx, t->a, &instance_admins, NULL, 0, &users, t->e);
    if (rc != ERR_NONE) return rc;
    return tell_all(t, &users, &nobody, &nobody, "listener.parked",
                    arena_printf(t->a, "The listener %.*s of the event log is stuck",
                                 STR(text_at(t->root, S("metadata.listener")))),
                    text_at(t->root, S("metadata.reason")), S(""));
}

static enum errc hear(void *ctx, struct tx *tx, const struct sealed_event *ev, err *e)
{
    static const struct {
        str type;
        enum errc (*tell)(struct telling *t);
    } rules[] = {
        {STR_LIT("budget.threshold"), on_budget_threshold},
        {STR_LIT("job.failed"), on_job_failed},
        {STR_LIT("invitation.accepted"), on_invitation_accepted},
        {STR_LIT("member.updated"), on_member_updated},
        {STR_LIT("listener.parked"), on_listener_parked},
    };
    struct arena a;
    struct json *root;
    (void)ctx;
    arena_init(&a, 4u << 20, 16384);
    enum errc rc = json_parse(&a, ev->bytes, &root, e);
    struct telling t = {.tx = tx, .a = &a, .ev = ev, .root = root, .e = e};
    if (rc == ERR_NONE) t.actor = uuid_at(root, S("actor.id"));
    for (unsigned i = 0; i < LENGTH_OF(rules) && rc == ERR_NONE; i++)
        if (str_eq(rules[i].type, ev->type)) rc = rules[i].tell(&t);
    arena_fini(&a);
    return rc;
}

static void heard(void *ctx, const struct sealed_event *ev) { notify_show(ctx, &ev->id); }

/* --- life --- */

static enum errc forget_unit(struct tx *tx, void *ctx, err *e)
{
    const struct notify *n = ctx;
    return tx_exec(tx, &forget_old, PARAMS(v_int(clock_now_us() - n->keep_us)), NULL, e);
}

enum errc notify_new(struct notify **out, struct store *s, struct events *log, struct live *live,
                     struct jobs *jobs, const struct config *config, err *e)
{
    struct notify *n = calloc(1, sizeof *n);
    *out = n;
    if (!n) return err_code(e, ERR_NO_MEMORY);
    n->store = s;
    n->live = live;
    n->keep_us = config_int(config, "notifications.keep_days") * USEC_PER_DAY;
    events_listen(
        log, &(struct listener){
                 .name = "notifications",
                 .types = "budget.threshold|job.failed|invitation.accepted|member.updated|listener.parked",
                 .hear = hear,
                 .heard = heard,
                 .ctx = n,
             });
    if (jobs) jobs_add_chore(jobs, forget_unit, n);
    return ERR_NONE;
}

void notify_free(struct notify *n) { free(n); }

static const struct option options[] = {
    {.key = "notifications.keep_days",
     .type = OPTION_INT,
     .fallback = "90",
     .min = 1,
     .max = 3650,
     .meaning = "Days that notifications are kept."},
};

const struct option_table notify_options = {options, LENGTH_OF(options)};
