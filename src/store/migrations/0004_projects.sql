-- Projects: what a workspace works on.
-- database: main
CREATE TABLE projects (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    name {text} NOT NULL,
    name_key {text} NOT NULL,          -- lower case: names are unique in a workspace whatever their case
    description {text} NOT NULL,
    repository {text},                 -- URL or absolute path; NULL: none yet
    settings {text} NOT NULL,          -- JSON object
    created_by {uuid} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    version {int} NOT NULL
);
CREATE UNIQUE INDEX projects_by_name ON projects (workspace_id, name_key);
