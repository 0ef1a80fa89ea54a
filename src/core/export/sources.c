/* sources.c - what the core stores of a workspace. */
#include "core/export/internal.h"

SQL(workspace_page, DB_MAIN, SQL_INSTANCE, "uui",
    "SELECT id, name, settings, created_us, updated_us FROM workspaces WHERE id = $1 AND id > $2 ORDER BY id "
    "LIMIT $3");
SQL(workspace_count, DB_MAIN, SQL_INSTANCE, "u", "SELECT COUNT(*) FROM workspaces WHERE id = $1");
SQL(member_page, DB_MAIN, 0, "uui",
    "SELECT m.user_id, u.email, u.name, m.role, m.created_us FROM memberships m JOIN users u ON u.id = "
    "m.user_id "
    "WHERE m.workspace_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3");
SQL(member_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM memberships WHERE workspace_id = $1");
SQL(invitation_page, DB_MAIN, 0, "uui",
    "SELECT id, email, role, invited_by, created_us, expires_us FROM invitations WHERE workspace_id = $1 AND "
    "id > $2 ORDER BY id LIMIT $3");
SQL(invitation_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM invitations WHERE workspace_id = $1");
SQL(key_page, DB_MAIN, 0, "uui",
    "SELECT id, name, prefix, user_id, scopes, project_ids, created_us, expires_us, last_used_us FROM "
    "api_keys "
    "WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3");
SQL(key_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM api_keys WHERE workspace_id = $1");
SQL(job_page, DB_MAIN, 0, "uui",
    "SELECT id, kind, state, project_id, user_id, tries, error, created_us, started_us, finished_us FROM "
    "jobs "
    "WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3");
SQL(job_count, DB_MAIN, 0, "u", "SELECT COUNT(*) FROM jobs WHERE workspace_id = $1");
SQL(event_page, DB_MAIN, 0, "uii",
    "SELECT number, bytes FROM events WHERE workspace_id = $1 AND number > $2 ORDER BY number LIMIT $3");
SQL(event_count, DB_MAIN, 0, "u",
    "SELECT COUNT(*) FROM events WHERE workspace_id = $1 AND number IS NOT NULL");

static const struct export_source sources[] = {
    {"workspace", &workspace_page, &workspace_count, "id:u name:t settings:j created_at:T updated_at:T"},
    {"member", &member_page, &member_count, "user_id:u email:t name:t role:t created_at:T"},
    {"invitation", &invitation_page, &invitation_count,
     "id:u email:t role:t invited_by:u created_at:T expires_at:T"},
    {"api_key", &key_page, &key_count,
     "id:u name:t prefix:t user_id:u scopes:w project_ids:w created_at:T expires_at:T last_used_at:T"},
    {"job", &job_page, &job_count,
     "id:u kind:t state:t project_id:u user_id:u tries:i error:t created_at:T started_at:T finished_at:T"},
    {"event", &event_page, &event_count, "number:i event:r"},
};

const struct export_table core_export = {sources, LENGTH_OF(sources)};
