-- The tables of capabilities (sagas, idempotency keys, ...), each with versions of its own: a program without a capability needs none of its tables.
CREATE TABLE tandem.module (
    name text NOT NULL,
    version integer NOT NULL,
    -- The lowest version of the program's module that works with the tables.
    needs integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL DEFAULT session_user,
    PRIMARY KEY (name, version)
);
