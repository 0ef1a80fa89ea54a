-- compatible: expand
-- What a workspace may use, who owns it and how it ends; service accounts; from where API keys may be used.
-- database: main
-- Bundles of limits as the configuration says them, written when a server starts; 0: no limit.
CREATE TABLE plans (
    name {text} NOT NULL PRIMARY KEY,
    place {int} NOT NULL,              -- in the list of plans; 0: what workspaces have that were given none
    members {int} NOT NULL,
    projects {int} NOT NULL,
    service_accounts {int} NOT NULL,
    api_keys {int} NOT NULL,
    retention_days {int} NOT NULL
);

ALTER TABLE workspaces ADD COLUMN owner_id {uuid};             -- NULL: the owner who has been one the longest
ALTER TABLE workspaces ADD COLUMN plan {text};                 -- NULL: the configuration's
ALTER TABLE workspaces ADD COLUMN usage_limit_nanousd {int};   -- a calendar month; NULL: none
ALTER TABLE workspaces ADD COLUMN deleted_us {int};            -- since when it is gone for all but its owners
ALTER TABLE workspaces ADD COLUMN purge_us {int};              -- when it goes for good

-- What one person has asked for and another one decides: deletion, transfer.
CREATE TABLE workspace_requests (
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    kind {text} NOT NULL,
    requested_by {uuid} NOT NULL,
    target_id {uuid},                  -- who is to own it
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL,
    PRIMARY KEY (workspace_id, kind)
);

ALTER TABLE users ADD COLUMN service_workspace_id {uuid};      -- a service account of this workspace; NULL: a person
CREATE INDEX users_of_service ON users (service_workspace_id);

ALTER TABLE memberships ADD COLUMN invited_us {int};
ALTER TABLE memberships ADD COLUMN last_active_us {int};       -- in this workspace

ALTER TABLE invitations ADD COLUMN project_ids {text};         -- uuids, separated by spaces; NULL or empty: the whole workspace
ALTER TABLE invitations ADD COLUMN sent_us {int};
ALTER TABLE invitations ADD COLUMN sent {int};                 -- how often

ALTER TABLE api_keys ADD COLUMN addresses {text};              -- ranges, separated by spaces; NULL or empty: anywhere
ALTER TABLE api_keys ADD COLUMN created_by {uuid};             -- NULL: its user
ALTER TABLE api_keys ADD COLUMN refused_us {int};              -- when a use was refused last, to the minute
