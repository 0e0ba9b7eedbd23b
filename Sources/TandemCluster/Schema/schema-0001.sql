CREATE SCHEMA IF NOT EXISTS tandem;

CREATE TABLE tandem.schema_version (
    version integer PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL DEFAULT session_user
);

-- Which node this database is: exactly one row (R3).
CREATE TABLE tandem.node (
    is_self boolean PRIMARY KEY DEFAULT true CHECK (is_self),
    cluster text NOT NULL,
    node_id smallint NOT NULL CHECK (node_id > 0),
    name text NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    -- The horizon (R17): no row at or below it is ever written again, so rows below it can go.
    forgotten uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);

-- Every node that the cluster ever had, on each of its nodes: an id is never given twice.
CREATE TABLE tandem.member (
    node_id smallint PRIMARY KEY,
    name text NOT NULL,
    removed_at timestamptz
);

-- The decision register (R2): 'W' says that this database's branch committed, 'A' that it never can. The first writer wins.
-- A row that another node's replication brought here says nothing about this node, hence the node in the key.
-- No CHECK on kind: every insert would parse and prepare it anew, and nobody but Tandem's own statements writes here.
CREATE TABLE tandem.branch (
    transaction_id uuid NOT NULL,
    node smallint NOT NULL,
    kind "char" NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    members smallint[],
    coordinator text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (transaction_id, node)
);

-- What an operator did to a transaction, and why; and what recovery found that nobody may overlook.
CREATE TABLE tandem.operation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL DEFAULT session_user,
    what text NOT NULL,
    transaction_id uuid,
    reason text NOT NULL
);
