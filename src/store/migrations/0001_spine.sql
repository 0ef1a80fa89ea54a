-- What has been applied to a database; the runner (store/migrate.c) keeps it.
-- database: main
CREATE TABLE schema_migrations (
    number {int} PRIMARY KEY,
    name {text} NOT NULL,
    checksum {blob} NOT NULL, -- SHA-256 of the file
    applied_us {int} NOT NULL
);

-- database: usage
CREATE TABLE schema_migrations (
    number {int} PRIMARY KEY,
    name {text} NOT NULL,
    checksum {blob} NOT NULL,
    applied_us {int} NOT NULL
);

-- database: people
CREATE TABLE schema_migrations (
    number {int} PRIMARY KEY,
    name {text} NOT NULL,
    checksum {blob} NOT NULL,
    applied_us {int} NOT NULL
);
