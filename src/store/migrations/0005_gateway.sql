-- database: main
-- Providers that were added beside those of the configuration file.
CREATE TABLE gateway_providers (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    name {text} NOT NULL,
    kind {text} NOT NULL,
    base_url {text},             -- NULL: the kind's
    api_key {blob},              -- sealed; NULL: none
    key_hint {text},             -- the last four characters of the key
    models {text},               -- JSON list; NULL: what the kind is known to serve
    dialects {text},             -- JSON list; NULL: what the kind speaks
    prices {text},               -- JSON, as providers[].prices of the file
    is_enabled {int} NOT NULL,
    version {int} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    UNIQUE (workspace_id, name)
);

CREATE TABLE gateway_aliases (
    workspace_id {uuid} NOT NULL,
    name {text} NOT NULL,
    model {text} NOT NULL,
    updated_us {int} NOT NULL,
    PRIMARY KEY (workspace_id, name)
);

-- Virtual keys. The texts that open them are in gateway_key_secrets, as hashes only.
CREATE TABLE gateway_keys (
    id {uuid} NOT NULL PRIMARY KEY, -- first 16 bytes of the SHA-256 of its first text
    workspace_id {uuid} NOT NULL,
    name {text} NOT NULL,
    prefix {text} NOT NULL,      -- of its present text: what people know it by
    project_id {uuid},
    user_id {uuid},
    models {text} NOT NULL,      -- JSON list of globs; empty: all
    providers {text} NOT NULL,   -- JSON list of names; empty: all
    is_enabled {int} NOT NULL,
    expires_us {int},
    requests_per_minute {int} NOT NULL, -- 0: no limit
    tokens_per_minute {int} NOT NULL,
    parallel_calls {int} NOT NULL,
    created_by {uuid},
    version {int} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    UNIQUE (workspace_id, name)
);

CREATE TABLE gateway_key_secrets (
    sha256 {blob} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    key_id {uuid} NOT NULL,
    created_us {int} NOT NULL,
    expires_us {int}             -- of a text that was rotated away
);
CREATE INDEX gateway_key_secrets_by_key ON gateway_key_secrets (key_id);

-- Spending limits; what was spent is in the usage database.
CREATE TABLE gateway_budgets (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    scope {text} NOT NULL,       -- workspace, project, user, key
    scope_id {uuid} NOT NULL,
    period {text} NOT NULL,      -- daily, weekly, monthly, total
    limit_nanousd {int} NOT NULL,
    is_hard {int} NOT NULL,
    alerts {text} NOT NULL,      -- percents: "50,80,100"
    cap_nanousd {int},           -- per million tokens, for models of unknown price; NULL: such calls are refused
    version {int} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL
);
CREATE INDEX gateway_budgets_of_workspace ON gateway_budgets (workspace_id, created_us, id);
CREATE INDEX gateway_budgets_of_scope ON gateway_budgets (scope_id);

-- Alerts that were told, each once a period.
CREATE TABLE gateway_budget_alerts (
    budget_id {uuid} NOT NULL,
    period_start_us {int} NOT NULL,
    percent {int} NOT NULL,
    told_us {int} NOT NULL,
    PRIMARY KEY (budget_id, period_start_us, percent)
);

CREATE TABLE gateway_project_limits (
    project_id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL,
    requests_per_minute {int} NOT NULL,
    tokens_per_minute {int} NOT NULL,
    parallel_calls {int} NOT NULL,
    version {int} NOT NULL,
    updated_us {int} NOT NULL
);

-- database: usage
-- Data folders that calls came from: their numbers in the tables below.
CREATE TABLE usage_nodes (
    no {id},
    node {uuid} NOT NULL UNIQUE
);

-- How far each segment of a journal has been drained. Rows stay when their segment has gone: a restored copy of it must not count twice.
CREATE TABLE usage_places (
    node {int} NOT NULL,
    boot {int} NOT NULL,
    number {int} NOT NULL,
    loop {int} NOT NULL,
    position {int} NOT NULL,     -- offset in the file
    PRIMARY KEY (node, boot, number, loop)
);

CREATE TABLE calls (
    id {id},
    node {int} NOT NULL,
    boot {int} NOT NULL,
    n {int} NOT NULL,
    workspace_id {uuid},         -- NULL: of a key of the file, before there was a workspace
    request_id {uuid} NOT NULL,
    started_us {int} NOT NULL,
    dialect {int} NOT NULL,      -- as in the journal
    outcome {int} NOT NULL,
    is_streamed {int} NOT NULL,
    is_estimated {int} NOT NULL,
    status {int} NOT NULL,
    sent_us {int} NOT NULL,      -- phases: -1 when not reached
    connect_us {int} NOT NULL,
    head_us {int} NOT NULL,
    first_us {int} NOT NULL,
    total_us {int} NOT NULL,
    bytes_in {int} NOT NULL,
    bytes_out {int} NOT NULL,
    input {int} NOT NULL,
    cache_read {int} NOT NULL,
    cache_write {int} NOT NULL,
    cache_write_1h {int} NOT NULL,
    output {int} NOT NULL,
    reasoning {int} NOT NULL,
    cost_nanousd {int},          -- NULL: unknown
    charged_nanousd {int} NOT NULL,
    key_id {uuid} NOT NULL,
    key_name {text} NOT NULL,
    project_id {uuid},
    project {text} NOT NULL,
    user_id {uuid},
    user_label {text} NOT NULL,
    task {text} NOT NULL,
    session {text} NOT NULL,
    tags {text} NOT NULL,
    provider {text} NOT NULL,
    model {text} NOT NULL,
    model_asked {text} NOT NULL,
    error {text} NOT NULL,
    trace_id {text} NOT NULL
);
CREATE UNIQUE INDEX calls_once ON calls (node, boot, n);
CREATE INDEX calls_of_workspace ON calls (workspace_id, request_id);

-- Calls under a hard budget that are under way: what is charged if their process dies.
CREATE TABLE calls_open (
    node {int} NOT NULL,
    boot {int} NOT NULL,
    n {int} NOT NULL,
    frame {blob} NOT NULL,
    PRIMARY KEY (node, boot, n)
);

-- What was charged a day (UTC), by what budgets can be on.
CREATE TABLE spend_days (
    scope {int} NOT NULL,        -- 0 workspace, 1 project, 2 user, 3 key
    scope_id {uuid} NOT NULL,
    day {int} NOT NULL,          -- since 1970
    charged_nanousd {int} NOT NULL,
    calls {int} NOT NULL,
    PRIMARY KEY (scope, scope_id, day)
);

CREATE TABLE key_uses (
    key_id {uuid} NOT NULL PRIMARY KEY,
    used_us {int} NOT NULL
);
