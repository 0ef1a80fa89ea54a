-- compatible: expand
-- Second factors of people, and what lies between the first and the second step of a sign-in.
-- database: main
CREATE TABLE factors (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL REFERENCES users (id),
    kind {text} NOT NULL,              -- totp, passkey
    name {text} NOT NULL,
    is_confirmed {int} NOT NULL,       -- 0: a TOTP secret that no code has been given of yet; counts for nothing
    created_us {int} NOT NULL,
    last_used_us {int},
    failures {int} NOT NULL DEFAULT 0, -- totp: wrong codes in a row
    locked_until_us {int},             -- totp
    seed {blob},                       -- totp: sealed
    last_step {int},                   -- totp: of the last code that was accepted; only later ones are
    credential_id {blob},              -- passkey, and all below
    public_key {blob},                 -- COSE_Key, as it was registered
    sign_count {int},
    is_backup_eligible {int},
    is_backed_up {int},
    aaguid {blob}
);
CREATE INDEX factors_of_user ON factors (user_id);
CREATE UNIQUE INDEX factors_by_credential ON factors (credential_id) WHERE credential_id IS NOT NULL;

-- For who has lost the others; each works once, and its row goes with it.
CREATE TABLE recovery_codes (
    code_hash {blob} NOT NULL PRIMARY KEY, -- SHA-256
    user_id {uuid} NOT NULL REFERENCES users (id),
    created_us {int} NOT NULL
);
CREATE INDEX recovery_codes_of_user ON recovery_codes (user_id);

-- A password was right and a factor is awaited: neither a session nor a token.
CREATE TABLE sign_ins (
    id {uuid} NOT NULL PRIMARY KEY,
    browser_hash {blob} NOT NULL,      -- SHA-256 of the cookie of the browser that began it
    user_id {uuid} NOT NULL REFERENCES users (id),
    password_hash {blob} NOT NULL,     -- SHA-256 of the PHC string that the password was compared with
    failures {int} NOT NULL,
    expires_us {int} NOT NULL
);
CREATE INDEX sign_ins_by_age ON sign_ins (expires_us);

CREATE TABLE passkey_challenges (
    challenge_hash {blob} NOT NULL PRIMARY KEY, -- SHA-256
    bound_to {blob} NOT NULL,          -- SHA-256 of the purpose and of the session or browser that asked
    expires_us {int} NOT NULL
);
CREATE INDEX passkey_challenges_by_age ON passkey_challenges (expires_us);

ALTER TABLE users ADD COLUMN n_factors {int} NOT NULL DEFAULT 0;         -- confirmed
ALTER TABLE users ADD COLUMN is_password_short {int} NOT NULL DEFAULT 0; -- good enough beside a factor only
ALTER TABLE sessions ADD COLUMN factor_us {int};                         -- when a factor was last given; NULL: never
ALTER TABLE sessions ADD COLUMN is_phishing_resistant {int} NOT NULL DEFAULT 0; -- that factor was a passkey
