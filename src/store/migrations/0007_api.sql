-- database: main
-- Answers to requests with an Idempotency-Key, for a day. Secrets that were shown once are not in them.
CREATE TABLE api_idempotency (
    id {blob} NOT NULL PRIMARY KEY, -- SHA-256 of who, workspace, route and key
    at_us {int} NOT NULL,
    request {blob} NOT NULL,        -- SHA-256 of path, query and body
    status {int} NOT NULL,
    location {text},
    etag {text},
    media_type {text},              -- NULL: JSON
    body {text}
);
CREATE INDEX api_idempotency_by_age ON api_idempotency (at_us);
