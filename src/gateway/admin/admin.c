#include "gateway/admin/admin.h"

void admin_after(struct api_request *r) { gateway_changed(r->service); }

const struct workspace_view *admin_view(const struct api_request *r, struct snapshot **held)
{
    struct snapshot *s = gateway_snapshot(r->service);
    const struct workspace_view *w = snapshot_workspace(s, &r->workspace_id);
    *held = w ? s : NULL;
    if (!w)
        snapshot_put(s);
    return w;
}

struct event admin_event(const struct api_request *r, str type, str resource_type, const uuid *id, const struct shape *shape, const void *before,
                         const void *after)
{
    struct event ev = event_of(r, type, 0);
    ev.resource_type = resource_type;
    ev.resource_id = *id;
    ev.shape = shape;
    ev.before = before;
    ev.after = after;
    return ev;
}

str admin_origin(bool is_from_file) { return is_from_file ? S("file") : S("database"); }

enum errc admin_texts(struct arena *a, str json, struct texts *out, err *e) { return texts_from_json(a, json, &out->items, &out->n, e); }
