/* What the gateway stores of a workspace, for its export: never what opens anything. */
#include "core/export.h"
#include "gateway/gateway.h"

SQL(provider_page, DB_MAIN, 0, "uui",
    "SELECT id, name, kind, base_url, key_hint, models, dialects, prices, is_enabled, created_us, updated_us "
    "FROM gateway_providers "
    "WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3");
SQL(provider_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM gateway_providers WHERE workspace_id = $1");
SQL(alias_page, DB_MAIN, 0, "uti",
    "SELECT name, model, updated_us FROM gateway_aliases WHERE workspace_id = $1 AND name > $2 ORDER BY name "
    "LIMIT $3");
SQL(alias_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM gateway_aliases WHERE workspace_id = $1");
SQL(key_page, DB_MAIN, 0, "uui",
    "SELECT id, name, prefix, project_id, user_id, models, providers, is_enabled, expires_us, "
    "requests_per_minute, tokens_per_minute, parallel_calls, "
    "created_by, created_us, updated_us FROM gateway_keys WHERE workspace_id = $1 AND id > $2 ORDER BY id "
    "LIMIT $3");
SQL(key_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM gateway_keys WHERE workspace_id = $1");
SQL(budget_page, DB_MAIN, 0, "uui",
    "SELECT id, scope, scope_id, period, limit_nanousd, is_hard, alerts, cap_nanousd, created_us, updated_us "
    "FROM gateway_budgets "
    "WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3");
SQL(budget_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM gateway_budgets WHERE workspace_id = $1");
SQL(limits_page, DB_MAIN, 0, "uui",
    "SELECT project_id, requests_per_minute, tokens_per_minute, parallel_calls, updated_us FROM "
    "gateway_project_limits "
    "WHERE workspace_id = $1 AND project_id > $2 ORDER BY project_id LIMIT $3");
SQL(limits_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM gateway_project_limits WHERE workspace_id = $1");
SQL(call_page, DB_USAGE, 0, "uui",
    "SELECT request_id, started_us, status, total_us, bytes_in, bytes_out, input, cache_read, cache_write, "
    "cache_write_1h, output, reasoning, cost_nanousd, "
    "key_id, key_name, project_id, project, user_id, user_label, task, session, tags, provider, model, "
    "model_asked, is_streamed, is_estimated, error, "
    "trace_id FROM calls WHERE workspace_id = $1 AND request_id > $2 ORDER BY request_id LIMIT $3");
SQL(call_count, DB_USAGE, 0, "u", "SELECT COUNT(*) FROM calls WHERE workspace_id = $1");

static const struct export_source sources[] = {
    {"provider", &provider_page, &provider_count,
     "id:u name:t kind:t base_url:t key_hint:t models:j dialects:j prices:j is_enabled:b created_at:T "
     "updated_at:T"},
    {"alias", &alias_page, &alias_count, "name:t model:t updated_at:T"},
    {"gateway_key", &key_page, &key_count,
     "id:u name:t prefix:t project_id:u user_id:u allowed_models:j allowed_providers:j is_enabled:b "
     "expires_at:T requests_per_minute:i tokens_per_minute:i "
     "parallel_calls:i created_by:u created_at:T updated_at:T"},
    {"budget", &budget_page, &budget_count,
     "id:u scope:t scope_id:u period:t limit_nanousd:i is_hard:b alerts_at:t unknown_price_cap_nanousd:i "
     "created_at:T updated_at:T"},
    {"limits", &limits_page, &limits_count,
     "project_id:u requests_per_minute:i tokens_per_minute:i parallel_calls:i updated_at:T"},
    {"call", &call_page, &call_count,
     "id:u started_at:T status:i total_us:i bytes_in:i bytes_out:i input:i cache_read:i cache_write:i "
     "cache_write_1h:i output:i reasoning:i cost_nanousd:i "
     "key_id:u key_name:t project_id:u project:t user_id:u user:t task:t session:t tags:t provider:t model:t "
     "model_asked:t is_streamed:b is_estimated:b "
     "error:t trace_id:t"},
};

const struct export_table gateway_export = {sources, LENGTH_OF(sources)};
