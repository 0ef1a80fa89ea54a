-- Which master keys this database is sealed under, so that a server with another one is refused. It only adds.
-- database: main
CREATE TABLE master_keys (
    fingerprint {blob} NOT NULL PRIMARY KEY, -- derived from the key, which it does not tell
    since_us {int} NOT NULL
);
