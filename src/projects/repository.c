/* What may stand as a project's repository. Nothing is opened here: importing checks the address itself. */
#include "projects/projects.h"

static bool has_space(str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] == ' ' || s.p[i] == '\t') return true;
    return false;
}

/* [user[:password]@]host[:port][/path] */
static const char *authority_problem(str rest)
{
    ptrdiff_t slash = str_chr(rest, '/');
    str authority = slash < 0 ? rest : str_take(rest, (size_t)slash);
    ptrdiff_t at = -1;
    for (size_t i = 0; i < authority.len; i++)
        if (authority.p[i] == '@') at = (ptrdiff_t)i;
    str user = at < 0 ? (str){NULL, 0} : str_take(authority, (size_t)at);
    str host = str_skip(authority, (size_t)(at + 1));
    if (str_chr(user, ':') >= 0) return "must not hold a password; everybody in the workspace can read it";
    if (!host.len || host.p[0] == '-' || host.p[0] == ':') return "names no host";
    return NULL;
}

const char *repository_problem(str s)
{
    static const str schemes[] = {STR_LIT("https://"), STR_LIT("http://"), STR_LIT("ssh://")};
    if (has_space(s)) return "must not hold spaces (write %20 in a URL)";
    if (s.len && s.p[0] == '/') return NULL;
    for (size_t i = 0; i < LENGTH_OF(schemes); i++)
        if (str_starts(s, schemes[i])) return authority_problem(str_skip(s, schemes[i].len));
    /* git@host:path, as git writes it for ssh; what starts with a dash could be taken for an option */
    ptrdiff_t at = str_chr(s, '@'), colon = str_chr(s, ':');
    if (at > 0 && s.p[0] != '-' && colon > at + 1 && s.p[at + 1] != '-' && (size_t)colon + 1 < s.len &&
        str_find(s, S("://")) < 0)
        return NULL;
    return "must be a URL (https://, http://, ssh://), git@host:path, or an absolute path on the server";
}
