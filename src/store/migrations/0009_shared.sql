-- compatible: expand
-- What several nodes need in common: the key that all seal under, and exports that any of them can read and go on with.
-- database: main
-- A server with another master key is refused.
CREATE TABLE master_keys (
    fingerprint {blob} NOT NULL PRIMARY KEY, -- derived from the key, which it does not tell
    since_us {int} NOT NULL
);

-- Parts of exports, page by page (PostgreSQL; with SQLite they are files).
CREATE TABLE export_pages (
    job_id {uuid} NOT NULL,
    part {int} NOT NULL,
    at_byte {int} NOT NULL, -- of the part
    lines {blob} NOT NULL,
    PRIMARY KEY (job_id, part, at_byte)
);
