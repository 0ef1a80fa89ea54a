/* catalyst audit head, proof: what was signed, and that an event is in it. */
#include "cli/audit/audit.h"
#include "core/audit/anchor.h"
#include "json/write.h"

/* --- head --- */

struct looking {
    struct audit_cli *c;
    struct audit_head head;
    struct anchor_view *anchors;
    unsigned n_anchors;
};

static enum errc head_unit(struct tx *tx, void *ctx, err *e)
{
    struct looking *l = ctx;
    enum errc rc = audit_head(tx, &l->c->a, &l->c->tree, &l->head, e);
    return rc ? rc : anchors_view(tx, &l->c->a, NULL, &l->anchors, &l->n_anchors, e);
}

static void print_anchors(struct buf *out, const struct looking *l)
{
    char time[TIME_TEXT_LEN + 1];
    for (unsigned i = 0; i < l->n_anchors; i++) {
        const struct anchor_view *v = &l->anchors[i];
        buf_addf(out, "# anchor %.*s (%.*s): has the head over %lld events", STR(v->name), STR(v->kind), (long long)v->head_size);
        if (v->failing_since != NO_VALUE) buf_addf(out, "; failing since %s: %.*s", time_format(v->failing_since, time).p, STR(v->error));
        buf_add_char(out, '\n');
    }
    if (!l->n_anchors) buf_add(out, S("# no anchor has got a head: outside the database it lies in DIR/audit/head alone\n"));
}

static int run_head(const struct cli_app *app, const struct cli_args *args)
{
    struct audit_cli c;
    struct looking l = {.c = &c};
    enum errc rc = audit_cli_open(&c, app, args, NULL);
    if (!rc) rc = db_read(store_db(c.store, DB_MAIN), head_unit, &l, &c.e);
    if (!rc) buf_add(&c.out, l.head.note);
    if (!rc && cli_flag(args, "--anchors")) print_anchors(&c.out, &l);
    return audit_cli_end(&c, rc, EXIT_OK);
}

static const struct flag head_flags[] = {
    CLI_CONFIG_FLAGS,
    AUDIT_WORKSPACE_FLAG,
    {"--anchors", NULL, NULL, "also says which places outside have got which head"},
};

const struct command cmd_audit_head = {
    .name = "audit head",
    .arguments = "",
    .meaning = "prints the newest signed head of the audit log; kept elsewhere, it tells a rolled-back log",
    .flags = head_flags,
    .n_flags = LENGTH_OF(head_flags),
    .run = run_head,
};

/* --- proof --- */

struct proving {
    struct audit_cli *c;
    int64_t number, from, to;
    struct audit_head head;
    struct audit_proof proof;
};

static enum errc proof_unit(struct tx *tx, void *ctx, err *e)
{
    struct proving *p = ctx;
    enum errc rc = audit_head(tx, &p->c->a, &p->c->tree, &p->head, e);
    if (rc) return rc;
    int64_t to = p->to ? p->to : p->head.size;
    return p->from ? audit_consistency(tx, &p->c->tree, p->from, to, &p->proof, e) : audit_inclusion(tx, &p->c->tree, p->number, to, &p->proof, e);
}

static void put_hash(struct json_writer *w, const char *name, const struct tree_hash *h)
{
    char hex[2 * SHA256_LEN + 1];
    json_put_str(w, name, hex_encode(h->b, sizeof h->b, hex));
}

static void print_proof(const struct proving *p, struct buf *out)
{
    struct json_writer w;
    char hex[2 * SHA256_LEN + 1];
    json_writer_init(&w, out);
    json_object(&w);
    json_put_str(&w, "origin", p->head.origin);
    if (p->from) {
        json_put_int(&w, "from", p->proof.from);
        json_put_int(&w, "to", p->proof.to);
        put_hash(&w, "from_root", &p->proof.from_root);
    } else {
        json_put_int(&w, "number", p->number);
        json_put_int(&w, "index", p->proof.from);
        json_put_int(&w, "size", p->proof.to);
        put_hash(&w, "leaf", &p->proof.leaf);
    }
    put_hash(&w, "root", &p->proof.root);
    json_name(&w, S("hashes"));
    json_array(&w);
    for (unsigned i = 0; i < p->proof.proof.n; i++)
        json_str(&w, hex_encode(p->proof.proof.nodes[i].b, SHA256_LEN, hex));
    json_end(&w);
    if (p->proof.to == p->head.size) json_put_str(&w, "note", p->head.note);
    json_end(&w);
    buf_add_char(out, '\n');
}

static bool number_of(const struct cli_args *args, const char *flag, int64_t *out)
{
    const char *text = cli_flag(args, flag);
    return !text || (str_to_i64(str_c(text), out) && *out > 0);
}

static int run_proof(const struct cli_app *app, const struct cli_args *args)
{
    struct audit_cli c;
    struct proving p = {.c = &c};
    const char *number = cli_positional(args, 0);
    enum errc rc = audit_cli_open(&c, app, args, NULL);
    if (!rc && (!number_of(args, "--from", &p.from) || !number_of(args, "--to", &p.to) || (number && !str_to_i64(str_c(number), &p.number)) ||
                (number != NULL) == (p.from != 0)))
        rc = err_set(&c.e, ERR_USAGE, "name an event, or two sizes: catalyst audit proof NUMBER, catalyst audit proof --from SIZE [--to SIZE]");
    if (!rc) rc = db_read(store_db(c.store, DB_MAIN), proof_unit, &p, &c.e);
    if (!rc) print_proof(&p, &c.out);
    return audit_cli_end(&c, rc, EXIT_OK);
}

static const struct flag proof_flags[] = {
    CLI_CONFIG_FLAGS,
    AUDIT_WORKSPACE_FLAG,
    {"--from", "SIZE", NULL, "instead: that a head of so many events is the beginning of a later one"},
    {"--to", "SIZE", NULL, "the size of the head that it is proved under (default: the newest)"},
};

const struct command cmd_audit_proof = {
    .name = "audit proof",
    .arguments = "[NUMBER]",
    .meaning = "proves, as JSON, that an event is in the signed log, or that one head goes on from another",
    .flags = proof_flags,
    .n_flags = LENGTH_OF(proof_flags),
    .run = run_proof,
};
