-- compatible: expand
-- Searching the log, keeping it for so long, and forgetting persons. It only adds.
-- database: main
-- Beside the bytes, for finding them; none of it is hashed. Rows that a release before writes get theirs later.
ALTER TABLE events ADD COLUMN kind {int};          -- derived from type, resource_type and error; NULL: not looked at yet
ALTER TABLE events ADD COLUMN error {text};        -- machine name of a failure; NULL: it succeeded
ALTER TABLE events ADD COLUMN credential_id {uuid};
ALTER TABLE events ADD COLUMN address_token {int}; -- keyed hash of the client's address
ALTER TABLE events ADD COLUMN dropped_us {int};    -- when the bytes were let go of; the leaf hash stays
CREATE INDEX events_by_kind ON events (workspace_id, kind, number) WHERE number IS NOT NULL;
CREATE INDEX events_by_actor ON events (workspace_id, actor_id, number) WHERE number IS NOT NULL;
CREATE INDEX events_by_resource ON events (workspace_id, resource_id, number) WHERE number IS NOT NULL AND resource_id IS NOT NULL;
CREATE INDEX events_by_address ON events (workspace_id, address_token, number) WHERE number IS NOT NULL AND address_token IS NOT NULL;
CREATE INDEX events_without_kind ON events (number) WHERE number IS NOT NULL AND kind IS NULL;

-- Which times the events of a stretch of 1,024 numbers have: from a range of time to a range of numbers.
CREATE TABLE event_spans (
    first_number {int} NOT NULL PRIMARY KEY,
    from_us {int} NOT NULL,
    until_us {int} NOT NULL              -- the latest
);

-- How long a log is kept. scope_id: the workspace, or the instance as all zeros.
CREATE TABLE audit_settings (
    scope_id {uuid} NOT NULL PRIMARY KEY,
    access_days {int} NOT NULL,          -- 0: for ever
    reads_days {int} NOT NULL,
    changes_days {int} NOT NULL,
    version {int} NOT NULL,
    updated_us {int} NOT NULL,
    wanted_access_days {int},            -- shorter ones that somebody has asked for; NULL: nobody has
    wanted_reads_days {int},
    wanted_changes_days {int},
    wanted_by {uuid},
    wanted_us {int}
);
-- How far the log of a scope has been looked through for what may go.
CREATE TABLE audit_drops (
    scope_id {uuid} NOT NULL,
    class {text} NOT NULL,
    number {int} NOT NULL,
    PRIMARY KEY (scope_id, class)
);
-- What must be kept, whatever the settings say. Members that are NULL leave it open.
CREATE TABLE audit_holds (
    id {uuid} NOT NULL PRIMARY KEY,
    scope_id {uuid} NOT NULL,
    reason {text} NOT NULL,
    person_id {uuid},
    resource_type {text},
    resource_id {uuid},
    from_us {int},
    until_us {int},
    created_by {uuid} NOT NULL,
    created_us {int} NOT NULL
);
CREATE INDEX audit_holds_by_scope ON audit_holds (scope_id, id);
CREATE INDEX audit_holds_by_person ON audit_holds (person_id) WHERE person_id IS NOT NULL;

-- Persons who are to be forgotten, and who have been. state: requested, running, done, refused.
CREATE TABLE erasures (
    id {uuid} NOT NULL PRIMARY KEY,
    person_id {uuid} NOT NULL,
    workspace_id {uuid},                 -- whose owners decide; NULL: the person's own wish
    state {text} NOT NULL,
    reason {text} NOT NULL,
    requested_by {uuid} NOT NULL,
    requested_us {int} NOT NULL,
    decided_by {uuid},
    decided_us {int},
    finished_us {int},
    report {text}                        -- JSON: what was changed, what was kept and why
);
CREATE INDEX erasures_of_workspace ON erasures (workspace_id, id);
CREATE INDEX erasures_of_person ON erasures (person_id, id);
CREATE UNIQUE INDEX erasures_under_way ON erasures (person_id) WHERE state IN ('requested', 'running');
