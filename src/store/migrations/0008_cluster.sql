-- compatible: expand
-- Several nodes on one PostgreSQL. It only adds: the release before goes on working on it.
-- database: main
CREATE TABLE nodes (
    id {uuid} NOT NULL PRIMARY KEY,    -- of the data folder
    boot_id {uuid} NOT NULL,           -- of this start
    process {text} NOT NULL,           -- machine, process and its start, for the next start of the same id
    beats {int} NOT NULL,              -- grows with every heartbeat: who sees it grow knows that the node is alive
    name {text} NOT NULL,
    address {text} NOT NULL,           -- where it listens
    version {text} NOT NULL,
    schema_number {int} NOT NULL,      -- the last migration that its release knows
    state {text} NOT NULL,             -- starting, serving, draining, stopped; away: written by whoever noticed
    started_us {int} NOT NULL,
    seen_us {int} NOT NULL,            -- its last heartbeat, by its own clock
    log_head {int} NOT NULL,           -- the log's end, as it last saw it
    log_number {int} NOT NULL,         -- how far it has followed the log
    snapshot_version {int} NOT NULL,
    snapshot_number {int} NOT NULL,    -- of the log, up to which changes are in its snapshot
    journal_bytes {int} NOT NULL,      -- not drained yet
    journal_calls {int} NOT NULL,
    journal_oldest_us {int},           -- when the oldest of them ended
    leased_nanousd {int} NOT NULL,
    streams {int} NOT NULL             -- open event streams
);

-- Frames of the live stream on their way to other nodes, some in a row; each node deletes its own after some seconds.
CREATE TABLE live_frames (
    boot_id {uuid} NOT NULL,           -- of the node's start
    n {int} NOT NULL,                  -- grows
    node_id {uuid} NOT NULL,
    at_us {int} NOT NULL,
    frames {blob} NOT NULL,            -- core/live/bus.c
    PRIMARY KEY (boot_id, n)
);
CREATE INDEX live_frames_of_node ON live_frames (node_id, at_us);

-- One node at a time feeds a listener.
ALTER TABLE event_cursors ADD COLUMN holder_id {uuid};
ALTER TABLE event_cursors ADD COLUMN held_us {int};

-- database: usage
-- Slices of hard budgets that nodes hold: they count as spent until the calls under them are drained or the rest is given back.
CREATE TABLE budget_leases (
    scope {int} NOT NULL,              -- as in spend_days
    scope_id {uuid} NOT NULL,
    period {int} NOT NULL,             -- 0 daily, 1 weekly, 2 monthly, 3 total
    start_us {int} NOT NULL,           -- of the period
    node {int} NOT NULL,               -- in usage_nodes
    held_nanousd {int} NOT NULL,
    wanted_nanousd {int} NOT NULL,     -- more than there was to have; others give back what they do not use
    wanted_us {int} NOT NULL,
    PRIMARY KEY (scope, scope_id, period, start_us, node)
);
CREATE INDEX budget_leases_of_node ON budget_leases (node);

-- Limits a minute over all nodes: the time at which the bucket is full again.
CREATE TABLE rate_buckets (
    what {text} NOT NULL,              -- key, project
    id {uuid} NOT NULL,
    kind {text} NOT NULL,              -- requests, tokens; parallel: locked while places are given out
    full_us {int} NOT NULL,
    PRIMARY KEY (what, id, kind)
);

-- Parallel calls that nodes may have under way.
CREATE TABLE parallel_leases (
    what {text} NOT NULL,
    id {uuid} NOT NULL,
    node {int} NOT NULL,
    held {int} NOT NULL,
    wanted {int} NOT NULL,             -- more than there were to have: others give back what they do not use
    beat {int} NOT NULL,               -- of all rows of a node, grows: those of a node that is away do not count
    PRIMARY KEY (what, id, node)
);
