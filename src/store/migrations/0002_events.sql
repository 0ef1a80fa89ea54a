-- database: main
-- The log: exact bytes and their leaf hash as they were written, the numbers as they were sealed.
CREATE TABLE events (
    seq {id},                    -- in the order of the units that wrote them
    id {uuid} NOT NULL,
    workspace_id {uuid},         -- NULL: of the instance
    at_us {int} NOT NULL,
    type {text} NOT NULL,
    actor_id {uuid},
    resource_type {text} NOT NULL,
    resource_id {uuid},
    bytes {blob} NOT NULL,
    leaf {blob} NOT NULL,        -- SHA-256 of 0x00 and the bytes
    number {int},                -- dense, of the instance; NULL: not sealed yet
    workspace_number {int}       -- dense, of its workspace; 0 for the instance's own
);
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE UNIQUE INDEX events_by_number ON events (number) WHERE number IS NOT NULL;
CREATE INDEX events_by_workspace ON events (workspace_id, number) WHERE number IS NOT NULL;
CREATE INDEX events_unsealed ON events (seq) WHERE number IS NULL;

-- Salts and values of an event's commitments, under the key of the person that they are about.
CREATE TABLE event_boxes (
    event_id {uuid} NOT NULL,
    person_id {uuid} NOT NULL,
    box {blob} NOT NULL,
    PRIMARY KEY (event_id, person_id)
);

-- How far each listener has followed the log.
CREATE TABLE event_cursors (
    name {text} NOT NULL PRIMARY KEY,
    number {int} NOT NULL,
    moved_us {int} NOT NULL,
    parked_us {int},             -- since when an event keeps failing
    error {text}
);

-- Background work. state: queued, running, succeeded, failed, cancelled.
CREATE TABLE jobs (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid},
    project_id {uuid},
    user_id {uuid},              -- who wanted it
    kind {text} NOT NULL,
    state {text} NOT NULL,
    unique_key {text},
    input {text} NOT NULL,
    checkpoint {text},           -- what a later try goes on from
    result {text},
    error_code {text},
    error {text},                -- of the last failed try
    done {int} NOT NULL,
    total {int} NOT NULL,        -- 0: unknown
    phase {text} NOT NULL,
    tries {int} NOT NULL,
    stalled {int} NOT NULL,      -- tries since the checkpoint last moved
    run_at_us {int} NOT NULL,    -- queued: not before
    created_us {int} NOT NULL,
    started_us {int},            -- of the first try
    finished_us {int},
    node_id {uuid},              -- running: whose lease it is
    boot_id {uuid},
    lease_us {int},              -- running: until when
    is_cancelled {int} NOT NULL  -- somebody asked for it to stop
);
CREATE INDEX jobs_due ON jobs (run_at_us, id) WHERE state = 'queued';
CREATE INDEX jobs_leased ON jobs (lease_us) WHERE state = 'running';
CREATE INDEX jobs_of_workspace ON jobs (workspace_id, created_us, id);
CREATE INDEX jobs_of_user ON jobs (user_id, created_us, id);
CREATE INDEX jobs_finished ON jobs (finished_us) WHERE finished_us IS NOT NULL;
CREATE UNIQUE INDEX jobs_once ON jobs (unique_key) WHERE unique_key IS NOT NULL AND state IN ('queued', 'running');

-- What a person is told in the page.
CREATE TABLE notifications (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL,
    workspace_id {uuid},         -- NULL: of the instance
    cause_id {uuid} NOT NULL,    -- the event that it is about
    kind {text} NOT NULL,
    title {text} NOT NULL,
    body {text} NOT NULL,
    link {text} NOT NULL,        -- a path of the page; empty: none
    is_read {int} NOT NULL,
    created_us {int} NOT NULL
);
CREATE INDEX notifications_of_user ON notifications (user_id, created_us, id);
CREATE INDEX notifications_unread ON notifications (user_id) WHERE is_read = 0;
CREATE INDEX notifications_by_cause ON notifications (cause_id);
CREATE INDEX notifications_by_age ON notifications (created_us);

CREATE TABLE notification_preferences (
    user_id {uuid} NOT NULL,
    kind {text} NOT NULL,
    is_wanted {int} NOT NULL,
    PRIMARY KEY (user_id, kind)
);

-- database: people
CREATE TABLE person_keys (
    person_id {uuid} NOT NULL PRIMARY KEY,
    wrapped {blob} NOT NULL,     -- under a key derived from the master key
    created_us {int} NOT NULL
);
