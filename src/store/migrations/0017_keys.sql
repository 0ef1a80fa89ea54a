-- compatible: expand
-- Keys: the master key wraps the instance's key, that one the data keys, those what is sealed.
-- database: main
-- One row: the key that wraps data keys, as the root key in force has wrapped it.
CREATE TABLE instance_keys (
    generation {int} NOT NULL PRIMARY KEY, -- grows with each change of the master key
    root {text} NOT NULL,                  -- id of the root key
    kind {text} NOT NULL,                  -- file, environment, credential, vault, aws_kms
    wrapped {blob} NOT NULL,
    created_us {int} NOT NULL
);

CREATE TABLE data_keys (
    workspace_id {uuid} NOT NULL,          -- zeros: the instance's own
    purpose {text} NOT NULL,               -- seal; derive: what other keys are derived from; master: sealed values of format 1
    version {int} NOT NULL,
    wrapped {blob} NOT NULL,               -- under the instance's key, bound to the three columns before it
    created_us {int} NOT NULL,
    retired_us {int},                      -- since when a later version is used; goes when nothing is sealed under it
    PRIMARY KEY (workspace_id, purpose, version)
);
