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
