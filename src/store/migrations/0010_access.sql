-- compatible: expand
-- Who may do what: custom roles, further assignments, teams, temporary grants, projects that not everybody sees.
-- database: main

-- Raised by every unit that changes members, roles, assignments, teams, grants or who sees a project: what a node keeps in memory of a
-- workspace is worth something for the version that it was read at.
ALTER TABLE workspaces ADD COLUMN access_version {int} NOT NULL DEFAULT 0;
-- The project that an event is about, if it is: who does not see the project hears nothing of it.
ALTER TABLE events ADD COLUMN project_id {uuid};

CREATE TABLE roles (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    name {text} NOT NULL,
    name_key {text} NOT NULL,          -- lower case: unique in a workspace whatever their case
    description {text} NOT NULL,
    parent {text},                     -- name of a built-in role or id of another one; NULL: none
    permissions {text} NOT NULL,       -- its own, names separated by spaces
    created_by {uuid} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    version {int} NOT NULL
);
CREATE UNIQUE INDEX roles_by_name ON roles (workspace_id, name_key);

CREATE TABLE teams (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    name {text} NOT NULL,
    name_key {text} NOT NULL,
    description {text} NOT NULL,
    created_by {uuid} NOT NULL,
    created_us {int} NOT NULL,
    updated_us {int} NOT NULL,
    version {int} NOT NULL
);
CREATE UNIQUE INDEX teams_by_name ON teams (workspace_id, name_key);

CREATE TABLE team_members (
    workspace_id {uuid} NOT NULL,
    team_id {uuid} NOT NULL REFERENCES teams (id),
    user_id {uuid} NOT NULL,
    added_by {uuid} NOT NULL,
    created_us {int} NOT NULL,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_members_by_user ON team_members (workspace_id, user_id);

-- Beside the role of a membership. One of user_id and team_id is there.
CREATE TABLE assignments (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    project_id {uuid},                 -- NULL: in the workspace
    user_id {uuid},
    team_id {uuid} REFERENCES teams (id),
    role {text} NOT NULL,              -- name of a built-in role, id of a custom one; in a project also 'none'
    starts_us {int},
    ends_us {int},
    reason {text} NOT NULL,
    granted_by {uuid} NOT NULL,
    created_us {int} NOT NULL
);
CREATE INDEX assignments_of_user ON assignments (workspace_id, user_id);
CREATE INDEX assignments_of_team ON assignments (workspace_id, team_id);
CREATE INDEX assignments_of_project ON assignments (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX assignments_of_role ON assignments (workspace_id, role);
CREATE UNIQUE INDEX assignments_of_user_once ON assignments (project_id, user_id) WHERE project_id IS NOT NULL AND user_id IS NOT NULL;
CREATE UNIQUE INDEX assignments_of_team_once ON assignments (project_id, team_id) WHERE project_id IS NOT NULL AND team_id IS NOT NULL;

-- Only its owners and people or teams with an assignment in it see such a project.
CREATE TABLE restricted_projects (
    project_id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    since_us {int} NOT NULL
);
CREATE INDEX restricted_projects_of_workspace ON restricted_projects (workspace_id, project_id);

-- Permissions for a time.
CREATE TABLE grants (
    id {uuid} NOT NULL PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id),
    project_id {uuid},                 -- NULL: in the workspace
    user_id {uuid},
    team_id {uuid} REFERENCES teams (id),
    permissions {text} NOT NULL,       -- names separated by spaces
    state {text} NOT NULL,             -- requested, given, denied, withdrawn, revoked, expired
    starts_us {int},                   -- NULL while requested: when it is decided
    ends_us {int},                     -- NULL while requested: eight hours later
    reason {text} NOT NULL,
    ticket {text},
    requested_by {uuid},               -- NULL: given without having been asked for
    created_us {int} NOT NULL,
    decided_by {uuid},
    decided_us {int},
    note {text},                       -- of who decided
    ended_us {int},                    -- when it was revoked, withdrawn or found expired
    reminded_us {int}
);
CREATE INDEX grants_of_user ON grants (workspace_id, user_id);
CREATE INDEX grants_of_team ON grants (workspace_id, team_id);
CREATE INDEX grants_of_workspace ON grants (workspace_id, created_us, id);
CREATE INDEX grants_ending ON grants (ends_us) WHERE state = 'given';
