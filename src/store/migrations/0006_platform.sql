-- What administrators set beside the file, and feature flags.
-- database: main
CREATE TABLE settings (
    key {text} NOT NULL PRIMARY KEY,   -- as in the option tables: "limits.head_bytes"
    id {uuid} NOT NULL,                -- derived from the key
    value {text},                      -- as the file would say it, lists a,b,c; NULL: it is a secret
    sealed {blob},                     -- the secret, bound to this row
    fingerprint {text},                -- of the secret: tells whether it changed
    updated_us {int} NOT NULL,
    updated_by {uuid} NOT NULL
);

CREATE TABLE flags (
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    name {text} NOT NULL,
    id {uuid} NOT NULL,
    definition {text} NOT NULL,        -- flagd's JSON form
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    version {int} NOT NULL,
    PRIMARY KEY (workspace_id, name)
);
