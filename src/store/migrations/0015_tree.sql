-- compatible: expand
-- The Merkle trees over the log: one over all of it, one over each workspace's part. It only adds: the release before goes on working on it.
-- database: main
CREATE TABLE audit_trees (
    tree_id {uuid} NOT NULL PRIMARY KEY, -- of the workspace; sixteen zero bytes: of the instance
    origin {text} NOT NULL,              -- first line of its heads
    size {int} NOT NULL,                 -- leaves in its tiles
    head_size {int} NOT NULL,            -- of the newest signed head; 0: none yet
    head_us {int} NOT NULL,              -- when that was signed
    alarm_us {int},                      -- since when it is known to be rewritten: no head is signed any more
    alarm {text}
);

-- C2SP tlog-tiles, height 8: tile (level, number) holds the roots of up to 256 subtrees of 256^level leaves, 32 bytes each.
CREATE TABLE audit_tiles (
    tree_id {uuid} NOT NULL,
    level {int} NOT NULL,
    number {int} NOT NULL,
    hashes {blob} NOT NULL,              -- the last one of a level may hold fewer than 256
    PRIMARY KEY (tree_id, level, number)
);

-- Every head that was ever signed, exactly as it was (C2SP signed note).
CREATE TABLE audit_heads (
    tree_id {uuid} NOT NULL,
    size {int} NOT NULL,
    root {blob} NOT NULL,
    note {text} NOT NULL,
    kid {text} NOT NULL,                 -- of the signing key
    signed_us {int} NOT NULL,
    PRIMARY KEY (tree_id, size, signed_us) -- two of one size: a restore was accepted between them
);
CREATE INDEX audit_heads_by_time ON audit_heads (tree_id, signed_us);

-- How far each place outside the database has got what goes there.
CREATE TABLE audit_anchors (
    name {text} NOT NULL PRIMARY KEY,    -- of the configuration
    kind {text} NOT NULL,
    head_size {int} NOT NULL,            -- the newest head of the instance that is there
    head_us {int},                       -- when that was signed
    segment_number {int} NOT NULL,       -- events that are there, up to this number
    tried_us {int},
    failing_us {int},                    -- since when; NULL: it works
    error {text}
);

-- Restores that an administrator has accepted: the signed record of what was lost.
CREATE TABLE audit_breaks (
    id {uuid} NOT NULL PRIMARY KEY,
    at_us {int} NOT NULL,
    source {text} NOT NULL,              -- where the exported head was found
    lost_size {int} NOT NULL,            -- of that head
    lost_root {blob} NOT NULL,
    size {int} NOT NULL,                 -- of the log that goes on
    root {blob} NOT NULL,
    reason {text} NOT NULL,
    note {text} NOT NULL                 -- signed
);
