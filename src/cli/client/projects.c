/* projects.c - `catalyst project …` and `catalyst user …`: what a workspace works on, and who. */
#include "cli/client/client.h"

#define PATH "/api/projects"

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT},
    {"REPOSITORY", "repository", COLUMN_TEXT},
    {"CREATED", "created_at", COLUMN_TIME},
    {"ID", "id", COLUMN_TEXT},
};
static const struct column details[] = {
    {"name", "name", COLUMN_TEXT},
    {"description", "description", COLUMN_TEXT},
    {"repository", "repository", COLUMN_TEXT},
    {"created", "created_at", COLUMN_TIME},
    {"updated", "updated_at", COLUMN_TIME},
    {"id", "id", COLUMN_TEXT},
};
static const struct column members[] = {
    {"NAME", "name", COLUMN_TEXT},  {"EMAIL", "email", COLUMN_TEXT},
    {"ROLE", "role", COLUMN_TEXT},  {"LAST ACTIVE", "last_active_at", COLUMN_TIME},
    {"ID", "user_id", COLUMN_TEXT},
};
static const struct column invitation[] = {
    {"email", "email", COLUMN_TEXT},
    {"role", "role", COLUMN_TEXT},
    {"expires", "expires_at", COLUMN_TIME},
    {"link", "link", COLUMN_TEXT},
};

/* --- projects --- */

static int create(struct client *c)
{
    static const struct body_flag flags[] = {
        {"--repository", "repository", MEMBER_TEXT},
        {"--description", "description", MEMBER_TEXT},
    };
    const struct json *answer;
    int code = client_needs(c, 1);
    if (code) return code;
    struct json_writer *w = client_body(c);
    json_put_str(w, "name", str_c(cli_positional(c->args, 0)));
    code = client_put_flags(c, w, flags, LENGTH_OF(flags));
    if (!code) code = client_call(c, "POST", S(PATH), &answer);
    return code ? code : client_object(c, answer, details, LENGTH_OF(details));
}

static int list(struct client *c) { return client_list(c, PATH, S(""), columns, LENGTH_OF(columns)); }

static int with_id(struct client *c, str *path)
{
    str id;
    int code = client_needs(c, 1);
    if (!code) code = client_find(c, PATH, "project", cli_positional(c->args, 0), &id);
    if (!code) *path = arena_printf(c->arena, PATH "/%.*s", STR(id));
    return code;
}

static int show(struct client *c)
{
    str path;
    const struct json *answer;
    int code = with_id(c, &path);
    if (!code) code = client_call(c, "GET", path, &answer);
    return code ? code : client_object(c, answer, details, LENGTH_OF(details));
}

static int drop(struct client *c)
{
    str path;
    int code = with_id(c, &path);
    if (!code) code = client_call(c, "DELETE", path, NULL);
    return code ? code : client_done(c, NULL, "removed the project '%s'", cli_positional(c->args, 0));
}

/* --- users --- */

static int users(struct client *c)
{
    str workspace;
    int code = client_workspace(c, &workspace);
    if (code) return code;
    str path = arena_printf(c->arena, "/api/workspaces/%.*s/members", STR(workspace));
    return path.p ? client_list(c, path.p, S(""), members, LENGTH_OF(members))
                  : client_fail(ERR_NO_MEMORY, "out of memory");
}

static int invite(struct client *c)
{
    const char *role = cli_flag(c->args, "--role");
    const struct json *answer;
    str workspace;
    int code = client_needs(c, 1);
    if (!code) code = client_workspace(c, &workspace);
    if (code) return code;
    struct json_writer *w = client_body(c);
    json_put_str(w, "email", str_c(cli_positional(c->args, 0)));
    json_put_str(w, "role", str_c(role ? role : "developer"));
    code = client_call(c, "POST", arena_printf(c->arena, "/api/workspaces/%.*s/invite", STR(workspace)),
                       &answer);
    return code ? code : client_object(c, answer, invitation, LENGTH_OF(invitation));
}

static const struct flag plain_flags[] = {CLI_CLIENT_FLAGS};
static const struct flag create_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--repository", "URL", NULL, "URL or path of its repository"},
    {"--description", "TEXT", NULL, "what it is"},
};
static const struct flag invite_flags[] = {
    CLI_CLIENT_FLAGS,
    {"--role", "ROLE", NULL, "owner, admin, developer, reviewer or viewer (default: developer)"},
};

const struct command cmd_project_create = {.name = "project create",
                                           .arguments = "NAME",
                                           .meaning = "makes a project",
                                           .flags = create_flags,
                                           .n_flags = LENGTH_OF(create_flags),
                                           .ask = create};
const struct command cmd_project_list = {.name = "project list",
                                         .arguments = "",
                                         .meaning = "lists the projects",
                                         .flags = plain_flags,
                                         .n_flags = LENGTH_OF(plain_flags),
                                         .ask = list};
const struct command cmd_project_show = {.name = "project show",
                                         .arguments = "NAME",
                                         .meaning = "shows a project, by name or id",
                                         .flags = plain_flags,
                                         .n_flags = LENGTH_OF(plain_flags),
                                         .ask = show};
const struct command cmd_project_remove = {.name = "project remove",
                                           .arguments = "NAME",
                                           .meaning = "removes a project, by name or id",
                                           .flags = plain_flags,
                                           .n_flags = LENGTH_OF(plain_flags),
                                           .ask = drop};
const struct command cmd_user_list = {.name = "user list",
                                      .arguments = "",
                                      .meaning = "lists the members of the workspace",
                                      .flags = plain_flags,
                                      .n_flags = LENGTH_OF(plain_flags),
                                      .ask = users};
const struct command cmd_user_invite = {.name = "user invite",
                                        .arguments = "EMAIL",
                                        .meaning = "makes a link by which somebody joins the workspace",
                                        .flags = invite_flags,
                                        .n_flags = LENGTH_OF(invite_flags),
                                        .ask = invite};
