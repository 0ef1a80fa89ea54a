-- People, how they sign in, and the workspaces that they belong to.
-- database: main
CREATE TABLE users (
    id {uuid} NOT NULL PRIMARY KEY,
    email {text} NOT NULL,             -- as it was written
    email_key {text} NOT NULL,         -- NFC, case folded: one account per address
    name {text} NOT NULL,
    password {text},                   -- PHC string; NULL: none
    is_instance_admin {int} NOT NULL,
    is_disabled {int} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    last_active_us {int}
);
CREATE UNIQUE INDEX users_by_email ON users (email_key);

CREATE TABLE sessions (
    id {uuid} NOT NULL PRIMARY KEY,
    token_hash {blob} NOT NULL,        -- SHA-256 of the cookie's value
    user_id {uuid} NOT NULL REFERENCES users (id),
    created_us {int} NOT NULL,
    last_seen_us {int} NOT NULL,
    expires_us {int} NOT NULL,         -- whatever happens
    authenticated_us {int} NOT NULL,   -- when the password was last given
    address {text} NOT NULL,
    user_agent {text} NOT NULL
);
CREATE UNIQUE INDEX sessions_by_token ON sessions (token_hash);
CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE workspaces (
    id {uuid} NOT NULL PRIMARY KEY,
    name {text} NOT NULL,
    settings {text} NOT NULL,          -- JSON object
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    version {int} NOT NULL
);

CREATE TABLE memberships (
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    user_id {uuid} NOT NULL REFERENCES users (id),
    role {text} NOT NULL,
    created_us {int} NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

CREATE TABLE invitations (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    token_hash {blob} NOT NULL,
    email {text} NOT NULL,
    email_key {text} NOT NULL,
    role {text} NOT NULL,
    invited_by {uuid} NOT NULL REFERENCES users (id),
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL
);
CREATE UNIQUE INDEX invitations_by_token ON invitations (token_hash);
CREATE UNIQUE INDEX invitations_by_email ON invitations (workspace_id, email_key);

CREATE TABLE api_keys (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    user_id {uuid} NOT NULL REFERENCES users (id),
    name {text} NOT NULL,
    prefix {text} NOT NULL,            -- "cat_" and the eight letters after it
    secret_hash {blob} NOT NULL,       -- SHA-256 of the whole key
    previous_hash {blob},              -- of the one before the last rotation, valid until previous_until_us
    previous_until_us {int},
    scopes {text} NOT NULL,            -- names of permissions, separated by spaces
    project_ids {text} NOT NULL,       -- uuids, separated by spaces; empty: all
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL,
    last_used_us {int},
    last_used_address {text}
);
CREATE UNIQUE INDEX api_keys_by_secret ON api_keys (secret_hash);
CREATE UNIQUE INDEX api_keys_by_previous ON api_keys (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, user_id);

-- The one-time link of the first start; one row while nobody owns the instance.
CREATE TABLE setup_links (
    id {int} NOT NULL PRIMARY KEY,
    token_hash {blob} NOT NULL,
    expires_us {int} NOT NULL
);

-- Tries and failures of signing in, by account and by address.
CREATE TABLE sign_in_counters (
    subject {text} NOT NULL PRIMARY KEY,
    started_us {int} NOT NULL,         -- of the window
    last_us {int} NOT NULL,
    n {int} NOT NULL
);
CREATE INDEX sign_in_counters_by_age ON sign_in_counters (last_us);
