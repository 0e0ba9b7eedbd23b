-- On the home node: what the sagas of the cluster are, and where they stand. Every node has these tables, since any may be the home node.

-- Definitions as data by their hash, so that a saga keeps the one that it began with, and every worker can run it. Of definitions in code there is the name only.
CREATE TABLE tandem.saga_definition (
    hash bytea PRIMARY KEY,
    name text NOT NULL,
    version integer NOT NULL,
    is_code boolean NOT NULL,
    body text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A saga is run by the worker that has raised its epoch last; until due_at it is that worker's, then anybody's. Where due_at is NULL nobody is to run it.
CREATE TABLE tandem.saga (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    definition bytea NOT NULL,
    is_code boolean NOT NULL,
    key text,
    -- running, compensating, completed, compensated, stuck_forward, stuck_compensation
    state text NOT NULL DEFAULT 'running',
    input json,
    output json,
    error json,
    epoch bigint NOT NULL,
    owner text,
    due_at timestamptz,
    deadline_at timestamptz,
    -- What it waits for while nobody runs it.
    waits_for text,
    -- Something was sent to it since it was claimed last: it is due again when it is given back.
    is_woken boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    -- How its steps went, written with its end.
    course json
);

CREATE UNIQUE INDEX saga_key ON tandem.saga (name, key) WHERE key IS NOT NULL;

CREATE INDEX saga_due ON tandem.saga (due_at) WHERE due_at IS NOT NULL;

-- Those that an operator has to look at: few.
CREATE INDEX saga_stuck ON tandem.saga (state) WHERE state IN ('stuck_forward', 'stuck_compensation');

CREATE INDEX saga_ended ON tandem.saga (ended_at) WHERE ended_at IS NOT NULL;

-- What happened to a saga that its steps' own records do not tell: attempts that failed, steps outside of databases, its turning back, what operators did.
CREATE TABLE tandem.saga_journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga_id uuid NOT NULL,
    step text,
    what text NOT NULL,
    attempt integer,
    output json,
    error json,
    who text,
    epoch bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX saga_journal_saga ON tandem.saga_journal (saga_id, id);

CREATE TABLE tandem.saga_signal (
    saga_id uuid NOT NULL,
    name text NOT NULL,
    data json,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (saga_id, name)
);

-- On the node of each step, written in the transaction of its effect: 'd' the step itself, 'u' what undoes it. Status 'b' bars a step that has not happened: it
-- never will. No CHECK, as in tandem.branch.
CREATE TABLE tandem.saga_step (
    saga_id uuid NOT NULL,
    step text NOT NULL,
    op "char" NOT NULL,
    status "char" NOT NULL DEFAULT 'd',
    output json,
    epoch bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (saga_id, step, op)
) WITH (fillfactor = 80);

-- Semantic locks: taken in the transaction of a step, kept until its saga ends.
CREATE TABLE tandem.saga_lock (
    resource text PRIMARY KEY,
    saga_id uuid NOT NULL,
    step text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX saga_lock_saga ON tandem.saga_lock (saga_id);

-- In the transaction of a step: the resource is this saga's until its end, or the step fails.
CREATE FUNCTION tandem.saga_take_lock(resource text, saga_id uuid, step text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    holder uuid;
BEGIN
    INSERT INTO tandem.saga_lock (resource, saga_id, step) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT l.saga_id INTO holder FROM tandem.saga_lock l WHERE l.resource = $1;
    IF holder IS DISTINCT FROM $2 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD423', MESSAGE = format('the saga %s has locked %s', coalesce(holder::text, 'that has just ended'), $1),
            HINT = 'It keeps the lock until it ends.';
    END IF;
END
$function$;
