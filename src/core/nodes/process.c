/* process.c - whether the process that last used a node's id is still there.
 *
 * A process id says nothing without the time it was started and the namespace that it counts in; the kernel's boot id
 * tells machines and their starts apart.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/nodes/internal.h"

static str read_small(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, out, size);
    if (fd >= 0) close(fd);
    str s = str_of(out, len > 0 ? (size_t)len : 0);
    while (s.len && s.p[s.len - 1] == '\n')
        s.len--;
    return s;
}

/* proc(5), /proc/pid/stat: the name in parentheses may hold anything; the state is field 3, the start field 22. */
static bool process_start(int64_t pid, char *state, str *start, char *text, size_t size)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    str all = read_small(path, text, size), word;
    size_t at = all.len;
    while (at && all.p[at - 1] != ')')
        at--;
    if (at == 0 || at + 1 >= all.len) return false;
    str rest = str_skip(all, at + 1);
    for (int field = 3; field <= 22 && rest.len; field++) {
        word = str_cut(&rest, ' ');
        if (field == 3) *state = word.len ? word.p[0] : '?';
        *start = word;
    }
    return start->len > 0;
}

/* "BOOT/NAMESPACE/" of where this process runs. */
static str place(char out[NODE_PROCESS_MAX])
{
    char boot[64], space[64];
    str id = read_small("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    ssize_t len = readlink("/proc/self/ns/pid", space, sizeof space);
    int n = snprintf(out, NODE_PROCESS_MAX, "%.*s/%.*s/", STR(id), len > 0 ? (int)len : 0, space);
    return str_of(out, (size_t)n);
}

void process_name(char out[NODE_PROCESS_MAX])
{
    char state = '?', text[1024];
    str start = S("0"), at = place(out);
    if (!process_start(getpid(), &state, &start, text, sizeof text)) start = S("0");
    snprintf(out + at.len, NODE_PROCESS_MAX - at.len, "%lld/%.*s", (long long)getpid(), STR(start));
}

/* What stands behind the place. */
static bool split(str name, str *where, int64_t *pid, str *start)
{
    size_t at = name.len;
    while (at && name.p[at - 1] != '/')
        at--;
    if (at < 2) return false;
    *start = str_skip(name, at);
    size_t end = --at;
    while (at && name.p[at - 1] != '/')
        at--;
    *where = str_take(name, at);
    return str_to_i64(str_of(name.p + at, end - at), pid);
}

int64_t process_id_of(str name)
{
    str where, start;
    int64_t pid = 0;
    return split(name, &where, &pid, &start) ? pid : 0;
}

enum process_state process_state_of(str name)
{
    char here[NODE_PROCESS_MAX], text[1024], state = '?';
    str where, start, now;
    int64_t pid = 0;
    if (!split(name, &where, &pid, &start) || !str_eq(where, place(here))) return PROCESS_UNKNOWN;
    if (!process_start(pid, &state, &now, text, sizeof text) || !str_eq(now, start)) return PROCESS_DEAD;
    return state == 'Z' || state == 'X' ? PROCESS_DEAD : PROCESS_ALIVE;
}
