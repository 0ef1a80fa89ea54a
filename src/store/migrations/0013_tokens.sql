-- compatible: expand
-- Keys that the instance signs with; tokens of programs.
-- database: main
CREATE TABLE signing_keys (
    id {uuid} NOT NULL PRIMARY KEY,
    purpose {text} NOT NULL,           -- access, log
    generation {int} NOT NULL,         -- 1, 2, 3 … of its purpose: of two nodes that make one at once, one wins
    algorithm {text} NOT NULL,         -- EdDSA, ES256
    kid {text} NOT NULL,               -- its JWK thumbprint
    public_key {blob} NOT NULL,        -- EdDSA: 32 bytes; ES256: x and y
    secret {blob},                     -- the private half, sealed; NULL: erased when the key was retired
    created_us {int} NOT NULL,
    retired_us {int},                  -- NULL: in force
    until_us {int}                     -- what it signed counts until then; NULL: for ever
);
CREATE UNIQUE INDEX signing_keys_in_turn ON signing_keys (purpose, generation);
CREATE UNIQUE INDEX signing_keys_by_kid ON signing_keys (kid);

-- Sessions are of browsers, or of programs that a person has let in.
ALTER TABLE sessions ADD COLUMN kind {text} NOT NULL DEFAULT 'browser'; -- browser; device, program: of tokens, without a cookie
ALTER TABLE sessions ADD COLUMN client {text};                          -- what the program says it is
ALTER TABLE sessions ADD COLUMN workspace_id {uuid};                    -- programs: the only one that they reach
ALTER TABLE sessions ADD COLUMN idle_us {int};                          -- ends after this time without a request; NULL: the instance's

-- What refreshes the access tokens of a program's session. Tokens are derived (HMAC of salt and generation) and not kept.
CREATE TABLE refresh_families (
    id {uuid} NOT NULL PRIMARY KEY,
    session_id {uuid} NOT NULL,
    user_id {uuid} NOT NULL,
    workspace_id {uuid} NOT NULL,
    client {text} NOT NULL,
    scopes {text} NOT NULL,            -- names of permissions, separated by spaces; all: whatever a program can have
    salt {blob} NOT NULL,
    generation {int} NOT NULL,         -- of the token that is good now
    rotated_us {int} NOT NULL,         -- when that one was made
    rotated_address {text} NOT NULL,   -- and for whom
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL
);
CREATE INDEX refresh_families_of_session ON refresh_families (session_id);

-- Programs that wait for a person to let them in (RFC 8628).
CREATE TABLE device_logins (
    id {uuid} NOT NULL PRIMARY KEY,
    device_hash {blob} NOT NULL,       -- SHA-256 of the device's code
    user_code {blob} NOT NULL,         -- HMAC of the code that a person types: short codes are not kept as plain hashes
    client {text} NOT NULL,
    wanted {text} NOT NULL,            -- scopes that the program asks for, as above
    address {text} NOT NULL,
    user_agent {text} NOT NULL,
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL,
    polled_us {int} NOT NULL,
    interval_s {int} NOT NULL,
    state {text} NOT NULL,             -- waiting, approved, denied
    user_id {uuid},                    -- who approved it, for which workspace and scopes, and how they had signed in
    workspace_id {uuid},
    scopes {text},
    authenticated_us {int},
    factor_us {int},
    is_phishing_resistant {int}
);
CREATE UNIQUE INDEX device_logins_by_device ON device_logins (device_hash);
CREATE UNIQUE INDEX device_logins_by_code ON device_logins (user_code);
CREATE INDEX device_logins_by_age ON device_logins (expires_us);
