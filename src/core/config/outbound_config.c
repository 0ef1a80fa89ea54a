#include "core/outbound_config.h"

#include <unistd.h>

static str joined(const struct json *list, struct arena *a)
{
    size_t len = 0;
    for (const struct json *it = list ? list->child : NULL; it; it = it->next)
        len += it->text.len + 1;
    char *text = arena_bytes(a, len + 1), *to = text;
    for (const struct json *it = list && text ? list->child : NULL; it; it = it->next) {
        memcpy(to, it->text.p, it->text.len);
        to += it->text.len;
        *to++ = ',';
    }
    return text ? str_of(text, (size_t)(to - text)) : (str){NULL, 0};
}

enum errc outbound_settings_of(const struct config *c, struct arena *a, struct outbound_settings *out, err *e)
{
    const struct json *no_proxy = config_tree(c, "outbound.no_proxy");
    str ca_file = config_text(c, "outbound.ca_file");
    *out = (struct outbound_settings){
        .proxy = config_text(c, "outbound.proxy"),
        .has_no_proxy = no_proxy != NULL,
        .no_proxy = joined(no_proxy, a),
        .allow_addresses = joined(config_tree(c, "outbound.allow_addresses"), a),
        .ca_file = config_path(c, a, ca_file),
    };
    if (!out->no_proxy.p || !out->allow_addresses.p || (ca_file.len && !out->ca_file))
        return err_code(e, ERR_NO_MEMORY);
    outbound_environment(out, (const char *const *)environ);
    return ERR_NONE;
}
