/* Wires the rooms together and nothing else. */
#include "cli/serve/serve.h"
#include "cli/data/store.h"
#include "core/api.h"
#include "core/audit.h"
#include "core/export.h"
#include "core/identity/identity.h"
#include "core/jobs.h"
#include "core/live.h"
#include "core/mail.h"
#include "core/nodes.h"
#include "core/notify.h"
#include "core/ops.h"
#include "core/secrets.h"
#include "core/signing.h"
#include "core/workspaces.h"
#include "gateway/gateway.h"
#include "net/options.h"
#include "store/store.h"

int main(int argc, char **argv)
{
    static const struct option_table *const tables[] = {&net_options, &store_options, &core_options, &secrets_options, &signing_options, &audit_options, &api_options,
                                                        &identity_options, &workspaces_options, &jobs_options, &live_options, &nodes_options, &notify_options, &mail_options, &export_options,
                                                        &gateway_options};
    static const struct cli_app app = {
        .tables = tables,
        .n_tables = LENGTH_OF(tables),
        .check = gateway_config_check,
        .check_server = serve_check,
        .settings = cli_settings,
        .open_store = cli_open_store,
    };
    return cli_main(&app, argc, argv);
}
