/* trail_routes.c - GET /api/audit/heads, GET /api/audit/proof, GET /api/audit/anchors, POST /api/audit/verify. */
#include "core/audit/anchor.h"
#include "core/audit/trail.h"
#include "core/audit/verify_db.h"
#include "json/write.h"

#define VERIFY_KIND "audit.verify"

static const uuid instance;

/* --- which tree --- */

static enum errc tree_of(const struct api_request *r, str tree, uuid *out, err *e)
{
    bool is_instance = str_eq(tree, S("instance"));
    *out = is_instance ? instance : r->workspace_id;
    return is_instance && !r->who.is_instance_admin
               ? err_set(e, ERR_FORBIDDEN, "the log of the whole instance is for its administrators")
               : ERR_NONE;
}

#define TREE_FIELD(struct_)                                                                                                      \
    FIELD(struct_, tree, FIELD_ONE_OF, .choices = "workspace|instance", .fallback = "\"workspace\"",                             \
          .meaning = "The log of the workspace, or of the whole instance (its administrators only).")

/* --- GET /api/audit/heads --- */

struct heads_query {
    str tree;
};
static const struct field heads_query_fields[] = {TREE_FIELD(struct heads_query)};
static const struct shape heads_query_shape = SHAPE("AuditHeadQuery", struct heads_query, heads_query_fields, "Which tree.");

struct head_view {
    int64_t size;
    str root, note, key;
    usec signed_at;
};
static const struct field head_fields[] = {
    FIELD(struct head_view, size, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Events under it: those with the numbers 1 to this one."),
    FIELD(struct head_view, root, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Root of their Merkle tree (RFC 9162), hexadecimal."),
    FIELD(struct head_view, signed_at, FIELD_TIME, .flags = FIELD_READONLY, .meaning = "When it was signed."),
    FIELD(struct head_view, key, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE,
          .meaning = "The key that verifies it, as name+hash+key (C2SP signed note)."),
    FIELD(struct head_view, note, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "The head itself, signed (C2SP checkpoint): keep it elsewhere."),
};
static const struct shape head_shape = SHAPE("AuditHead", struct head_view, head_fields, "A signed head of the audit log.");

SQL(list_heads, DB_MAIN, SQL_INSTANCE, "u", "SELECT signed_us, size, root, note, kid FROM audit_heads WHERE tree_id = $1");

struct heads_state {
    struct signing_public *publics;
    unsigned n;
};

static enum errc heads_prepare(struct api_request *r, err *e)
{
    const struct audit *a = r->service;
    struct heads_state *s = arena_new(r->arena, struct heads_state);
    r->state = s;
    return s ? signing_publics(a->setup.signing, SIGNING_LOG, r->arena, r->now_us, &s->publics, &s->n, e) : err_code(e, ERR_TOO_LARGE);
}

static str key_text(struct api_request *r, str kid, str note)
{
    const struct heads_state *s = r->state;
    struct head h;
    struct buf text;
    str signed_text, out = {0};
    if (note_text(note, &signed_text, NULL) != ERR_NONE || head_parse(signed_text, &h, NULL) != ERR_NONE) return out;
    for (unsigned i = 0; i < s->n; i++) {
        struct note_key key = {.name = h.origin};
        if (!str_eq(str_c(s->publics[i].kid), kid)) continue;
        memcpy(key.key, s->publics[i].key, sizeof key.key);
        buf_init(&text, 1024);
        vkey_put(&key, &text);
        if (!text.failed) out = str_dup(r->arena, buf_str(&text));
        buf_fini(&text);
    }
    return out;
}

static str hex_of(struct arena *a, str bytes)
{
    char *out = arena_bytes(a, 2 * bytes.len + 1);
    return out ? hex_encode(bytes.p, bytes.len, out) : (str){0};
}

static enum errc heads_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct heads_query *q = r->query;
    const struct keyset key = {"signed_us", 'i', "size", 'i', true, r->cursor, r->limit};
    struct rows rows;
    uuid tree;
    enum errc rc = tree_of(r, q->tree, &tree, e);
    if (rc == ERR_NONE) rc = tx_list(tx, r->arena, &list_heads, PARAMS(v_uuid(&tree)), NULL, 0, &key, &rows, &r->next_cursor, e);
    if (rc != ERR_NONE) return rc;
    struct head_view *views = arena_news(r->arena, struct head_view, rows.n);
    if (!views) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < rows.n; i++) {
        const struct val *v = row_at(&rows, i);
        views[i] = (struct head_view){.signed_at = val_int(&v[0]),
                                      .size = val_int(&v[1]),
                                      .root = hex_of(r->arena, val_str(&v[2])),
                                      .note = val_str(&v[3]),
                                      .key = key_text(r, val_str(&v[4]), val_str(&v[3]))};
    }
    r->items = (struct objects){views, rows.n};
    return ERR_NONE;
}

/* --- GET /api/audit/proof --- */

struct proof_query {
    str tree;
    int64_t number, from, to;
};
static const struct field proof_query_fields[] = {
    TREE_FIELD(struct proof_query),
    FIELD(struct proof_query, number, FIELD_INT, .min = 1, .max = INT64_MAX,
          .meaning = "Of an event: workspace_number in the workspace's log, number in the instance's. A proof that it is in the log; without it the newest event that is under a head."),
    FIELD(struct proof_query, from, FIELD_INT, .min = 1, .max = INT64_MAX, .meaning = "Instead: size of a head. A proof that the later one goes on from it."),
    FIELD(struct proof_query, to, FIELD_INT, .min = 1, .max = INT64_MAX, .meaning = "Size of the head that it is proved under; without it the newest."),
};
static const struct shape proof_query_shape = SHAPE("AuditProofQuery", struct proof_query, proof_query_fields, "What to prove.");

struct proof_view {
    str kind, origin, leaf, from_root, root, note;
    int64_t number, from, size;
    struct texts hashes;
};
static const struct field proof_fields[] = {
    FIELD(struct proof_view, kind, FIELD_ONE_OF, .choices = "inclusion|consistency", .flags = FIELD_READONLY, .meaning = "What it proves."),
    FIELD(struct proof_view, origin, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Of which log: the first line of its heads."),
    FIELD(struct proof_view, number, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "inclusion: the event; its leaf has the index number - 1."),
    FIELD(struct proof_view, leaf, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "inclusion: its leaf hash, hexadecimal."),
    FIELD(struct proof_view, from, FIELD_INT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "consistency: size of the earlier head."),
    FIELD(struct proof_view, from_root, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "consistency: its root."),
    FIELD(struct proof_view, size, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Size of the tree that it is proved under."),
    FIELD(struct proof_view, root, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its root."),
    FIELD(struct proof_view, hashes, FIELD_TEXTS, .max_items = 2 * TREE_LEVELS, .flags = FIELD_READONLY,
          .meaning = "The proof (RFC 9162 sections 2.1.3.1 and 2.1.4.1), hexadecimal."),
    FIELD(struct proof_view, note, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "The signed head of that size, when it is the newest."),
};
static const struct shape proof_shape =
    SHAPE("AuditProof", struct proof_view, proof_fields, "That an event is in the log, or that the log has only grown.");

static enum errc proof_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct proof_query *q = r->query;
    struct proof_view *v = arena_new(r->arena, struct proof_view);
    struct audit_head head;
    struct audit_proof p;
    uuid tree;
    if (!v) return err_code(e, ERR_TOO_LARGE);
    bool is_consistency = q->from != NO_VALUE;
    if (is_consistency && q->number != NO_VALUE) return api_field_error(r, e, "number", "unknown_field", "either number or from, not both");
    enum errc rc = tree_of(r, q->tree, &tree, e);
    if (rc == ERR_NONE) rc = audit_head(tx, r->arena, &tree, &head, e);
    if (rc != ERR_NONE) return rc;
    int64_t to = q->to != NO_VALUE ? q->to : head.size, number = q->number != NO_VALUE ? q->number : to;
    rc = is_consistency ? audit_consistency(tx, &tree, q->from, to, &p, e) : audit_inclusion(tx, &tree, number, to, &p, e);
    if (rc != ERR_NONE) return rc;
    str *hashes = arena_news(r->arena, str, p.proof.n);
    if (!hashes) return err_code(e, ERR_TOO_LARGE);
    for (unsigned i = 0; i < p.proof.n; i++)
        hashes[i] = hex_of(r->arena, str_of((const char *)p.proof.nodes[i].b, SHA256_LEN));
    *v = (struct proof_view){.kind = is_consistency ? S("consistency") : S("inclusion"),
                             .origin = head.origin,
                             .number = is_consistency ? NO_VALUE : number,
                             .from = is_consistency ? q->from : NO_VALUE,
                             .size = to,
                             .root = hex_of(r->arena, str_of((const char *)p.root.b, SHA256_LEN)),
                             .hashes = {hashes, p.proof.n},
                             .note = to == head.size ? head.note : (str){0}};
    if (is_consistency)
        v->from_root = hex_of(r->arena, str_of((const char *)p.from_root.b, SHA256_LEN));
    else
        v->leaf = hex_of(r->arena, str_of((const char *)p.leaf.b, SHA256_LEN));
    r->answer = v;
    return ERR_NONE;
}

/* --- GET /api/audit/anchors --- */

static const struct field anchor_fields[] = {
    FIELD(struct anchor_view, name, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "Its name in the configuration."),
    FIELD(struct anchor_view, kind, FIELD_TEXT, .flags = FIELD_READONLY, .meaning = "file, s3, syslog or webhook."),
    FIELD(struct anchor_view, is_configured, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether heads go there now; false: they did once."),
    FIELD(struct anchor_view, head_size, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Events of the instance under the newest head that is there; 0: none."),
    FIELD(struct anchor_view, head_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When that head was signed."),
    FIELD(struct anchor_view, behind, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Events that no head there covers."),
    FIELD(struct anchor_view, has_segments, FIELD_BOOL, .flags = FIELD_READONLY, .meaning = "Whether the events themselves go there too."),
    FIELD(struct anchor_view, segment_number, FIELD_INT, .flags = FIELD_READONLY, .meaning = "Events that are there, up to this number."),
    FIELD(struct anchor_view, tried_at, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "When something was last sent, or tried to be."),
    FIELD(struct anchor_view, failing_since, FIELD_TIME, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Since when it fails; null: it works."),
    FIELD(struct anchor_view, error, FIELD_TEXT, .flags = FIELD_READONLY | FIELD_NULLABLE, .meaning = "Why it fails."),
};
static const struct shape anchor_shape =
    SHAPE("AuditAnchor", struct anchor_view, anchor_fields, "A place outside the database that heads of the log go to.");

static enum errc anchors_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct audit *a = r->service;
    struct anchor_view *views = NULL;
    unsigned n = 0;
    enum errc rc = anchors_view(tx, r->arena, a->anchors, &views, &n, e);
    r->items = (struct objects){views, n};
    return rc;
}

/* --- POST /api/audit/verify --- */

static const struct shape verify_shape = SHAPE("AuditVerification", struct heads_query, heads_query_fields, "Which log to verify.");

static enum errc verify_apply(struct api_request *r, struct tx *tx, err *e)
{
    const struct heads_query *q = r->body;
    char id[UUID_TEXT_LEN + 1];
    uuid tree;
    enum errc rc = tree_of(r, q->tree, &tree, e);
    if (rc != ERR_NONE) return rc;
    struct event ev = event_of(r, S("audit.verification_started"), 0);
    struct job job = {.id = event_id_of(&r->request_id, 1),
                      .kind = S(VERIFY_KIND),
                      .workspace_id = r->workspace_id,
                      .user_id = r->who.user_id,
                      .now_us = r->now_us,
                      .input = uuid_is_nil(&tree) ? S("{\"tree\":\"instance\"}") : S("{\"tree\":\"workspace\"}"),
                      .unique_key = arena_printf(r->arena, VERIFY_KIND ":%.*s", STR(uuid_format(&tree, id)))};
    ev.resource_type = S("audit_tree");
    ev.resource_id = tree;
    ev.metadata = arena_printf(r->arena, "{\"job\":\"%.*s\"}", STR(uuid_format(&job.id, id)));
    if (!job.unique_key.p || !ev.metadata.p) return err_code(e, ERR_TOO_LARGE);
    rc = tx_job(tx, &job, e);
    r->job_id = job.id;
    return rc == ERR_NONE ? tx_event(tx, &ev, e) : rc;
}

struct verified {
    const struct job *job;
    uuid id, tree;
    usec now_us;
    const struct verify_report *report;
};

static enum errc verified_unit(struct tx *tx, void *ctx, err *e)
{
    const struct verified *v = ctx;
    const struct verify_finding *f = &v->report->first;
    struct buf text;
    struct json_writer w;
    buf_init(&text, EVENT_BYTES_MAX);
    json_writer_init(&w, &text);
    json_object(&w);
    json_put_int(&w, "events", v->report->events);
    json_put_int(&w, "heads", v->report->n_heads);
    json_put_str(&w, "found", str_c(verify_name(f->what)));
    json_put_int(&w, "number", f->number);
    json_end(&w);
    enum errc rc = text.failed ? err_code(e, text.failed)
                               : tx_event(tx,
                                          &(struct event){.id = v->id,
                                                          .at_us = v->now_us,
                                                          .type = S("audit.verified"),
                                                          .workspace_id = v->job->workspace_id,
                                                          .resource_type = S("audit_tree"),
                                                          .resource_id = v->tree,
                                                          .status = f->what == VERIFY_OK ? S("success") : S("failure"),
                                                          .error = f->what == VERIFY_OK ? (str){0} : S("not_as_signed"),
                                                          .metadata = buf_str(&text)},
                                          e);
    buf_fini(&text);
    return rc;
}

struct showing {
    struct job_run *run;
    bool is_cancelled;
};

static void progress(void *ctx, int64_t done, int64_t total)
{
    struct showing *p = ctx;
    p->is_cancelled = job_progress(p->run, done, total, S("comparing"), NULL) == ERR_CANCELLED;
}

static enum errc run_verify(void *ctx, struct job_run *run, err *e)
{
    struct audit *a = ctx;
    const struct job *job = job_of(run);
    struct showing p = {run, false};
    struct verified v = {.job = job, .now_us = clock_now_us()};
    struct verify_options options = {.threads = 1, .progress = progress, .ctx = &p, .is_cancelled = &p.is_cancelled};
    struct verify_report report;
    struct outside_head *outside = NULL;
    struct verify_db *db = NULL;
    struct buf text;
    struct json_writer w;
    unsigned n_outside = 0;
    v.tree = str_find(job->input, S("\"instance\"")) >= 0 ? instance : job->workspace_id;
    v.id = event_id_of(&job->id, 0);
    v.report = &report;
    buf_init(&text, 16384);
    json_writer_init(&w, &text);
    enum errc rc = verify_db_open(&db, a->setup.store, &v.tree, true, e);
    if (rc == ERR_NONE && uuid_is_nil(&v.tree)) rc = outside_heads(a, job_arena(run), &outside, &n_outside, e);
    str *notes = arena_news(job_arena(run), str, n_outside);
    if (rc == ERR_NONE && !notes) rc = err_code(e, ERR_NO_MEMORY);
    for (unsigned i = 0; rc == ERR_NONE && i < n_outside; i++)
        notes[options.n_exported++] = outside[i].note;
    options.exported = notes;
    if (rc == ERR_NONE) rc = verify_run(verify_db_source(db), &options, &report, e);
    if (rc == ERR_NONE) {
        verify_report_put(&report, verify_db_source(db), &w);
        job_result(run, buf_str(&text));
        rc = db_write(a->db, verified_unit, &v, e);
    }
    if (rc == ERR_CONFLICT) rc = ERR_NONE; /* an earlier try has told of it */
    verify_db_close(db);
    buf_fini(&text);
    return rc;
}

void audit_add_jobs(struct audit *a, struct jobs *jobs)
{
    a->verify = (struct job_kind){.name = VERIFY_KIND, .max_tries = 2, .run = run_verify, .ctx = a};
    jobs_add_kind(jobs, &a->verify);
}

static const struct api_route routes[] = {
    {.method = HTTP_GET,
     .path = "/api/audit/heads",
     .name = "audit_heads",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &heads_query_shape,
     .answer = &head_shape,
     .is_list = true,
     .summary = "Signed heads of the audit log, the newest first",
     .text = "A head that was kept elsewhere is what the log can be held to, whoever holds the database. One is signed at least every "
             "minute while there is something new.",
     .prepare = heads_prepare,
     .apply = heads_apply},
    {.method = HTTP_GET,
     .path = "/api/audit/proof",
     .name = "audit_proof",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .query = &proof_query_shape,
     .answer = &proof_shape,
     .summary = "A proof that an event is in the log, or that one head goes on from another",
     .text = "With `number` an inclusion proof, with `from` a consistency proof (RFC 9162). What is under no signed head yet answers 404.",
     .apply = proof_apply},
    {.method = HTTP_GET,
     .path = "/api/audit/anchors",
     .name = "audit_anchors",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .answer = &anchor_shape,
     .is_list = true,
     .summary = "Where heads of the log go outside the database, and how far each place is",
     .apply = anchors_apply},
    {.method = HTTP_POST,
     .path = "/api/audit/verify",
     .name = "audit_verify",
     .access = ACCESS_PERMISSION,
     .permission = PERMISSION_AUDIT_READ,
     .scope = SCOPE_WORKSPACE,
     .effect = EFFECT_STATE,
     .body = &verify_shape,
     .answer = &job_shape,
     .is_delayed = true,
     .summary = "Verifies the log against everything that was signed of it",
     .text = "A job: every event's hash, the numbers, the tiles, the heads and their signatures, and the personal values that can be opened. "
             "Its result names the first event that is not as it was. `409` while one is under way. `catalyst audit verify` does the same without the server.",
     .apply = verify_apply},
};
const struct api_table audit_trail_api = {"audit", routes, LENGTH_OF(routes)};
