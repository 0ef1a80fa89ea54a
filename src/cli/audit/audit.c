#include "cli/audit/audit.h"

#include "base/log.h"
#include "store/files.h"

#define KEYS_MAX (1u << 20)
#define NOTES_MAX (64u << 20)
#define OUT_MAX (16u << 20)

static enum errc open_database(struct audit_cli *c, const struct cli_app *app)
{
    enum errc rc = cli_config(app, c->args, &c->a, &c->config, &c->e);
    if (rc) return rc;
    struct store_source source = backend_store_source(c->config, cli_data_dir(c->args));
    source.migrates = false;
    source.takes_any_schema = true;
    rc = cli_store_exists(&source, &c->e);
    if (!rc) rc = store_open(&c->store, &source, &c->e);
    if (!rc) rc = verify_db_open(&c->db, c->store, &c->tree, false, &c->e);
    if (!rc) c->source = verify_db_source(c->db);
    return rc;
}

/* Whoever can write the database could put a key of their own into it: those that lie elsewhere are the ones to trust. */
static enum errc trust_keys(struct audit_cli *c, const char *dir)
{
    char path[FILE_PATH_MAX];
    const char *given = cli_flag(c->args, "--keys");
    str text;
    unsigned n_lines = 0;
    enum errc rc = given ? file_path(path, &c->e, "%s", given) : file_path(path, &c->e, "%s/audit/keys", cli_data_dir(c->args));
    if (rc || (!given && (dir || !file_exists(path)))) return rc;
    rc = file_read(path, KEYS_MAX, &c->a, &text, &c->e);
    if (rc) return rc;
    for (str rest = text; rest.len; str_cut(&rest, '\n'))
        n_lines++;
    struct note_key *keys = arena_news(&c->a, struct note_key, n_lines);
    if (!keys) return err_code(&c->e, ERR_NO_MEMORY);
    c->source->n_keys = 0;
    for (str rest = text; rest.len;) {
        str line = str_trim(str_cut(&rest, '\n'));
        if (line.len && !vkey_parse(line, &keys[c->source->n_keys++])) return err_set(&c->e, ERR_CORRUPT, "%s holds a line that is no key", path);
    }
    c->source->keys = keys;
    return ERR_NONE;
}

enum errc audit_cli_open(struct audit_cli *c, const struct cli_app *app, const struct cli_args *args, const char *dir)
{
    const char *workspace = cli_flag(args, "--workspace");
    *c = (struct audit_cli){.args = args};
    log_set_level(LOG_WARN);
    arena_init(&c->a, 256u << 20, 0);
    buf_init(&c->out, OUT_MAX);
    if (workspace && !uuid_parse(str_c(workspace), &c->tree)) return err_set(&c->e, ERR_USAGE, "--workspace needs the id of a workspace");
    enum errc rc = dir ? bundle_open(&c->bundle, dir, &c->e) : open_database(c, app);
    if (!rc && dir) c->source = bundle_source(c->bundle);
    if (!rc && dir && workspace && memcmp(&c->tree, &c->source->tree, sizeof c->tree) != 0)
        rc = err_set(&c->e, ERR_CONFLICT, "%s is not the export of this workspace", dir);
    return rc ? rc : trust_keys(c, dir);
}

int audit_cli_end(struct audit_cli *c, enum errc rc, int code)
{
    if (rc)
        code = cli_fail(&c->e);
    else if (cli_print(&c->out) != EXIT_OK)
        code = EXIT_FAILED;
    verify_db_close(c->db);
    bundle_close(c->bundle);
    store_close(c->store);
    buf_fini(&c->out);
    arena_fini(&c->a);
    return code;
}

enum errc audit_cli_notes(struct audit_cli *c, const char *path, str **out, unsigned *n)
{
    str text, note;
    unsigned most = 0;
    enum errc rc = file_read(path, NOTES_MAX, &c->a, &text, &c->e);
    *n = 0;
    if (rc) return rc;
    for (str rest = text; notes_next(&rest, &note);)
        most++;
    *out = arena_news(&c->a, str, most);
    if (!*out) return err_code(&c->e, ERR_NO_MEMORY);
    for (str rest = text; *n < most && notes_next(&rest, &note);)
        (*out)[(*n)++] = note;
    return most ? ERR_NONE : err_set(&c->e, ERR_CORRUPT, "%s holds no signed head", path);
}
