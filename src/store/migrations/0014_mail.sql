-- compatible: expand
-- Mail that waits to be sent, tokens that went by mail, and the language that people read.
-- database: main
CREATE TABLE mails (
    id {uuid} NOT NULL PRIMARY KEY,
    kind {text} NOT NULL,              -- the template
    message {blob} NOT NULL,           -- sealed: address and text
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL          -- not sent after that, and forgotten
);
CREATE INDEX mails_by_age ON mails (expires_us);

-- What a link of a mail stands for. One of a purpose for each person: a new one takes the place of the one before.
CREATE TABLE mailed_tokens (
    user_id {uuid} NOT NULL REFERENCES users (id),
    purpose {text} NOT NULL,           -- "password_reset", "email_confirm", "email_undo"
    token_hash {blob} NOT NULL,        -- SHA-256 of the token
    email {text},                      -- the address that is to become theirs, as it was written
    email_key {text},                  -- and its form
    created_us {int} NOT NULL,
    expires_us {int} NOT NULL,
    PRIMARY KEY (user_id, purpose)
);
CREATE UNIQUE INDEX mailed_tokens_by_hash ON mailed_tokens (token_hash);
CREATE INDEX mailed_tokens_by_age ON mailed_tokens (expires_us);

-- Of the browser that they used last; NULL: not known.
ALTER TABLE users ADD COLUMN language {text};
