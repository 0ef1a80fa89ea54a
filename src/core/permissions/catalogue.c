/* What the build made of rbac.json: names, built-in roles, endpoints. */
#include "base/buf.h"
#include "core/permissions.h"

#define R(method, path, permission, scope, takes_keys) {method, path, permission, scope, takes_keys},
static const struct rbac_row rows[] = {
#include "core/rbac.def"
};
#undef R

#define BIT(word, p) ((p) / 64 == (word) ? 1ull << ((p) % 64) : 0ull)
#define WORD0(p) | BIT(0, p)
#define WORD1(p) | BIT(1, p)
#define SET(list)                                                                                            \
    {                                                                                                        \
        {                                                                                                    \
            0 list(WORD0), 0 list(WORD1)                                                                     \
        }                                                                                                    \
    }

static const struct permission_set sets[ROLES] = {
    [ROLE_OWNER] = SET(ROLE_OWNER_PERMISSIONS),         [ROLE_ADMIN] = SET(ROLE_ADMIN_PERMISSIONS),
    [ROLE_DEVELOPER] = SET(ROLE_DEVELOPER_PERMISSIONS), [ROLE_REVIEWER] = SET(ROLE_REVIEWER_PERMISSIONS),
    [ROLE_VIEWER] = SET(ROLE_VIEWER_PERMISSIONS),
};
static const struct permission_set key_set = SET(KEY_PERMISSIONS);

static const char *const role_names[ROLES] = {"owner", "admin", "developer", "reviewer", "viewer"};

static const struct {
    const char *name, *meaning;
} catalogue[PERMISSIONS] = {
    {"", ""},
#define X(id, name, meaning) {name, meaning},
#include "core/permissions.def"
#undef X
};

struct permission_set permission_set_all(void)
{
    struct permission_set all = {{0, 0}};
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        permission_set_add(&all, p);
    return all;
}

const struct permission_set *permission_set_for_keys(void) { return &key_set; }

const char *permission_name(enum permission p) { return catalogue[p].name; }

const char *permission_meaning(enum permission p) { return catalogue[p].meaning; }

bool permission_parse(str name, enum permission *out)
{
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (str_eq(name, str_c(catalogue[p].name))) {
            *out = p;
            return true;
        }
    return false;
}

struct permission_set permission_set_of_names(str names)
{
    struct permission_set set = {{0, 0}};
    while (names.len) {
        enum permission p;
        if (permission_parse(str_cut(&names, ' '), &p)) permission_set_add(&set, p);
    }
    return set;
}

str permission_set_names(struct arena *a, const struct permission_set *set)
{
    struct buf text;
    buf_init(&text, PERMISSIONS * 64);
    for (enum permission p = PERMISSION_NONE + 1; p < PERMISSIONS; p++)
        if (permission_set_has(set, p)) buf_addf(&text, "%s%s", text.len ? " " : "", permission_name(p));
    str out = buf_err(&text) ? (str){NULL, 0} : str_dup(a, buf_str(&text));
    buf_fini(&text);
    return out;
}

const char *role_name(enum role r) { return role_names[r]; }

bool role_parse(str name, enum role *out)
{
    for (enum role r = 0; r < ROLES; r++)
        if (str_eq(name, str_c(role_names[r]))) {
            *out = r;
            return true;
        }
    return false;
}

const struct permission_set *role_permissions(enum role r) { return &sets[r]; }

const struct rbac_row *rbac_find(const char *method, const char *path)
{
    for (size_t i = 0; i < LENGTH_OF(rows); i++)
        if (!strcmp(rows[i].method, method) && !strcmp(rows[i].path, path)) return &rows[i];
    return NULL;
}
