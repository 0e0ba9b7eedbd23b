-- The inbox of a node: which messages a consumer has taken, written in the transaction of their effects.

-- By the day of a UUIDv7, in a ring of 32 days that is emptied by TRUNCATE: an id has one day, so it is unique in all of them if it is in its own.
CREATE TABLE tandem.inbox (
    consumer text COLLATE "C" NOT NULL,
    message_id uuid NOT NULL,
    slot smallint NOT NULL,
    PRIMARY KEY (consumer, message_id, slot)
) PARTITION BY LIST (slot);

DO $do$
BEGIN
    FOR slot IN 0..31 LOOP
        EXECUTE format('CREATE TABLE tandem.inbox_%s PARTITION OF tandem.inbox FOR VALUES IN (%s) WITH (autovacuum_enabled = false)', slot, slot);
    END LOOP;
END
$do$;

-- Ids that do not tell their time: UUIDs of other versions, and hashes of foreign ids. Swept page by page.
CREATE TABLE tandem.inbox_timeless (
    consumer text COLLATE "C" NOT NULL,
    message_id uuid NOT NULL,
    -- Days since 1970.
    day integer NOT NULL,
    PRIMARY KEY (consumer, message_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- The first day that is remembered, in days since 1970: its last_value. A sequence, since all transactions see it at once, whatever snapshot they have.
CREATE SEQUENCE tandem.inbox_floor AS integer;

DO $do$
BEGIN
    PERFORM setval('tandem.inbox_floor', date_part('epoch', clock_timestamp())::bigint / 86400 - 14);
END
$do$;

-- Failures, counted in transactions of their own, for the handler's is rolled back.
CREATE TABLE tandem.inbox_attempt (
    consumer text COLLATE "C" NOT NULL,
    message_id uuid NOT NULL,
    attempts integer NOT NULL,
    error text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Where it is in a queue. One that was handled after all and comes again, by a replay, has another place, and begins anew.
    place bigint,
    PRIMARY KEY (consumer, message_id)
) WITH (fillfactor = 80);

-- Messages that were given up, with all that is needed to handle them again. They count as taken.
CREATE TABLE tandem.inbox_dead (
    consumer text COLLATE "C" NOT NULL,
    message_id uuid NOT NULL,
    -- 'failed', or 'too_old': perhaps handled before, nobody knows any more.
    reason text NOT NULL,
    attempts integer NOT NULL,
    error text,
    source text,
    topic text,
    key text,
    headers json,
    content_type text,
    payload bytea,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id)
);

-- For sources that send in order and never skip: one row a lane, whatever the number of messages.
CREATE TABLE tandem.inbox_position (
    consumer text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    lane integer NOT NULL,
    number bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (consumer, source, lane)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- The day of a UUIDv7; NULL for other ids. Helper: runs under the path of its callers.
CREATE FUNCTION tandem.inbox_day(message_id uuid) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT CASE WHEN substr($1::text, 15, 1) = '7'
        THEN ((('x' || substr($1::text, 1, 8) || substr($1::text, 10, 4))::bit(48)::bigint) / 86400000)::integer END
$function$;

-- An id of any text as a UUID: itself where it is one, else a hash in the form of a UUIDv8.
CREATE FUNCTION tandem.message_id(id text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE WHEN $1 ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN $1::uuid
        ELSE overlay(overlay(substr(encode(sha256(convert_to($1, 'UTF8')), 'hex'), 1, 32) PLACING '8' FROM 13 FOR 1) PLACING '8' FROM 17 FOR 1)::uuid END
$function$;

-- Takes a message in the caller's transaction: true, the effects are to be done, in this transaction; false, it was taken before. Waits for another who is
-- taking it, at most lock_timeout (55P03). TD610: so old that nobody knows. At REPEATABLE READ and above, 40001 where false would need a later snapshot.
--
-- The order of observations. The row is inserted first, which holds the slot against its TRUNCATE; then the floor is read, which whoever empties a slot raises
-- before he locks it. If we read the old floor, he waits for us, and the slot was whole when we looked for the row. If we read the new one, we refuse.
CREATE FUNCTION tandem.receive(consumer text, message_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    day integer := tandem.inbox_day($2);
    today integer := date_part('epoch', clock_timestamp())::bigint / 86400;
    is_taken boolean;
    is_unbounded boolean := current_setting('lock_timeout') = '0';
BEGIN
    IF $1 IS NULL OR $2 IS NULL OR $1 = '' OR octet_length($1) > 256 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'consumer and message must be given, the consumer at most 256 bytes';
    ELSIF day > today + 14 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the message is from a distant future', DETAIL = format('day %s, today is %s', day, today);
    END IF;
    IF day < (SELECT f.last_value FROM tandem.inbox_floor f) THEN
        RAISE EXCEPTION USING ERRCODE = 'TD610', MESSAGE = 'the message is older than what is remembered', HINT = 'It may have been handled: look before it is again.';
    END IF;
    -- No wait without an end: a prepared branch may hold the message for days. The session's own limit, where it has one.
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '10s', true);
    END IF;
    IF day IS NULL THEN
        INSERT INTO tandem.inbox_timeless (consumer, message_id, day) VALUES ($1, $2, today) ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO tandem.inbox (consumer, message_id, slot) VALUES ($1, $2, day & 31) ON CONFLICT DO NOTHING;
    END IF;
    is_taken := FOUND;
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '0', true);
    END IF;
    IF is_taken AND day < (SELECT f.last_value FROM tandem.inbox_floor f) THEN
        RAISE EXCEPTION USING ERRCODE = 'TD610', MESSAGE = 'the message is older than what is remembered', HINT = 'It may have been handled: look before it is again.';
    END IF;
    RETURN is_taken;
END
$function$;

-- The same for a foreign id, and for a UUID without a type.
CREATE FUNCTION tandem.receive(consumer text, message_id text) RETURNS boolean
LANGUAGE sql VOLATILE
RETURN tandem.receive($1, tandem.message_id($2));

-- Takes a batch: 'new', 'duplicate' or 'too_old' for each, doubles within the batch included. In the order of the ids, so that two batches wait for each other in
-- one order only.
CREATE FUNCTION tandem.receive_many(consumer text, message_ids uuid[]) RETURNS TABLE (message_id uuid, outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    today integer := date_part('epoch', clock_timestamp())::bigint / 86400;
    taken uuid[];
    timeless uuid[] := '{}';
    floor integer;
    is_unbounded boolean := current_setting('lock_timeout') = '0';
BEGIN
    IF $1 IS NULL OR $1 = '' OR octet_length($1) > 256 OR cardinality($2) > 10000 OR array_position($2, NULL) IS NOT NULL
        OR EXISTS (SELECT FROM unnest($2) m (id) WHERE tandem.inbox_day(m.id) > today + 14) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a consumer, and at most 10000 messages, none of a distant future';
    END IF;
    SELECT f.last_value INTO floor FROM tandem.inbox_floor f;
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '10s', true);
    END IF;
    WITH put AS (
        INSERT INTO tandem.inbox (consumer, message_id, slot)
        SELECT $1, m.id, m.day & 31 FROM (SELECT DISTINCT u.id, tandem.inbox_day(u.id) AS day FROM unnest($2) u (id)) m
        WHERE m.day >= floor ORDER BY m.id
        ON CONFLICT DO NOTHING RETURNING message_id)
    SELECT coalesce(array_agg(p.message_id), '{}') INTO taken FROM put p;
    IF EXISTS (SELECT FROM unnest($2) m (id) WHERE tandem.inbox_day(m.id) IS NULL) THEN
        WITH put AS (
            INSERT INTO tandem.inbox_timeless (consumer, message_id, day)
            SELECT DISTINCT $1, m.id, today FROM unnest($2) m (id) WHERE tandem.inbox_day(m.id) IS NULL ORDER BY m.id
            ON CONFLICT DO NOTHING RETURNING message_id)
        SELECT coalesce(array_agg(p.message_id), '{}') INTO timeless FROM put p;
    END IF;
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '0', true);
    END IF;
    -- As in `receive`: the floor was raised while we waited. Rare, so all of it again.
    IF floor <> (SELECT f.last_value FROM tandem.inbox_floor f) THEN
        RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the inbox forgot a day meanwhile', HINT = 'Try again.';
    END IF;
    RETURN QUERY
    SELECT m.id, CASE WHEN tandem.inbox_day(m.id) < floor THEN 'too_old'
        WHEN n.id IS NOT NULL AND m.ordinal = min(m.ordinal) OVER (PARTITION BY m.id) THEN 'new' ELSE 'duplicate' END
    FROM unnest($2) WITH ORDINALITY m (id, ordinal) LEFT JOIN unnest(taken || timeless) n (id) ON n.id = m.id
    ORDER BY m.ordinal;
END
$function$;

-- In the caller's transaction: true where (number, seq) is beyond what the lane has had. The row stays locked, so that the lane's messages are one after another. Waits as `receive` does.
-- Only for sources that never skip an event (the policy `pause`): one that is skipped and sent later counts as a duplicate.
CREATE FUNCTION tandem.receive_in_order(consumer text, source text, lane integer, number bigint, seq bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    is_beyond boolean;
    is_unbounded boolean := current_setting('lock_timeout') = '0';
BEGIN
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '10s', true);
    END IF;
    INSERT INTO tandem.inbox_position AS p (consumer, source, lane, number, seq) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT ON CONSTRAINT inbox_position_pkey DO UPDATE SET number = EXCLUDED.number, seq = EXCLUDED.seq
    WHERE (p.number, p.seq) < (EXCLUDED.number, EXCLUDED.seq);
    is_beyond := FOUND;
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '0', true);
    END IF;
    RETURN is_beyond;
END
$function$;

-- In a transaction of its own, after the handler's was rolled back, or before it where a crash is to count as well. At `most` attempts, or at once as 'too_old',
-- the message becomes a dead letter, and counts as taken. Says how many attempts there were, and whether it is dead.
CREATE FUNCTION tandem.inbox_fail(
    consumer text, message_id uuid, error text, most integer, source text DEFAULT NULL, topic text DEFAULT NULL, key text DEFAULT NULL,
    headers json DEFAULT NULL, content_type text DEFAULT NULL, payload bytea DEFAULT NULL, too_old boolean DEFAULT false,
    OUT attempts integer, OUT is_dead boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO tandem.inbox_attempt AS a (consumer, message_id, attempts, error) VALUES ($1, $2, 1, $3)
    ON CONFLICT ON CONSTRAINT inbox_attempt_pkey DO UPDATE SET attempts = a.attempts + 1, error = EXCLUDED.error, at = clock_timestamp()
    RETURNING a.attempts INTO attempts;
    is_dead := attempts >= $4 OR $11;
    IF is_dead THEN
        -- One that is too old by now, or of a distant future, cannot be received. Taken by somebody meanwhile: it has been handled after all.
        IF NOT $11 AND coalesce(tandem.inbox_day($2) BETWEEN (SELECT f.last_value FROM tandem.inbox_floor f)
                AND date_part('epoch', clock_timestamp())::bigint / 86400 + 14, true) AND NOT tandem.receive($1, $2) AND NOT EXISTS (SELECT FROM tandem.inbox_dead d WHERE d.consumer = $1 AND d.message_id = $2) THEN
            is_dead := false;
        ELSE
            INSERT INTO tandem.inbox_dead (consumer, message_id, reason, attempts, error, source, topic, key, headers, content_type, payload)
            VALUES ($1, $2, CASE WHEN $11 THEN 'too_old' ELSE 'failed' END, attempts, $3, $5, $6, $7, $8, $9, $10)
            ON CONFLICT DO NOTHING;
        END IF;
        DELETE FROM tandem.inbox_attempt a WHERE a.consumer = $1 AND a.message_id = $2;
    END IF;
END
$function$;

-- Takes a dead letter out, in the transaction that handles it again, or for nothing: to drop it. No row: it is not there, or somebody has it.
CREATE FUNCTION tandem.inbox_take_dead(consumer text, message_id uuid) RETURNS SETOF tandem.inbox_dead
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    DELETE FROM tandem.inbox_dead d
    WHERE (d.consumer, d.message_id) IN (SELECT n.consumer, n.message_id FROM tandem.inbox_dead n WHERE n.consumer = $1 AND n.message_id = $2 FOR UPDATE SKIP LOCKED)
    RETURNING d.*
$function$;

-- Forgets days: raises the floor to `keep` days ago, at most 14, and empties at most one slot below it. `blocked` names a slot that somebody uses.
-- Neither: there was nothing to do, or somebody else is at it.
CREATE FUNCTION tandem.inbox_forget(keep integer DEFAULT 14, OUT emptied integer, OUT blocked integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $function$
DECLARE
    today integer := date_part('epoch', clock_timestamp())::bigint / 86400;
    floor integer;
BEGIN
    IF $1 NOT BETWEEN 1 AND 14 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'from 1 to 14 days are kept';
    END IF;
    -- Of messages that came through in the end.
    DELETE FROM tandem.inbox_attempt a WHERE a.at < clock_timestamp() - interval '14 days';
    -- One at a time: the floor must never fall.
    IF NOT pg_try_advisory_xact_lock('tandem.inbox_floor'::regclass::oid::integer, 1) THEN
        RETURN;
    END IF;
    SELECT f.last_value INTO floor FROM tandem.inbox_floor f;
    IF today - $1 > floor THEN
        floor := today - $1;
        PERFORM setval('tandem.inbox_floor', floor);
    END IF;
    FOR candidate IN today + 15 .. floor + 31 LOOP
        IF pg_relation_size(format('tandem.inbox_%s', candidate & 31)::regclass) > 0 THEN
            BEGIN
                EXECUTE format('LOCK TABLE tandem.inbox_%s IN ACCESS EXCLUSIVE MODE', candidate & 31);
                -- Ids of up to 14 days ahead are taken, and it may be past midnight now.
                CONTINUE WHEN date_part('epoch', clock_timestamp())::bigint / 86400 + 14 >= candidate;
                EXECUTE format('TRUNCATE tandem.inbox_%s', candidate & 31);
                emptied := candidate & 31;
                EXIT;
            EXCEPTION
                WHEN lock_not_available THEN
                    blocked := candidate & 31;
            END;
        END IF;
    END LOOP;
END
$function$;

-- Removes timeless ids of before `keep` days ago from some pages, and says where to go on; NULL: the end.
CREATE FUNCTION tandem.inbox_sweep(from_page bigint, pages integer DEFAULT 256, keep integer DEFAULT 30, OUT removed integer, OUT next_page bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
BEGIN
    IF $1 < 0 OR $2 NOT BETWEEN 1 AND 65536 OR $1 + $2 > 4294967295 OR $3 < 1 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'no such pages';
    END IF;
    DELETE FROM tandem.inbox_timeless i WHERE i.ctid = ANY (ARRAY(
        SELECT e.ctid FROM tandem.inbox_timeless e
        WHERE e.ctid >= format('(%s,0)', $1)::tid AND e.ctid < format('(%s,0)', $1 + $2)::tid
            AND e.day < date_part('epoch', clock_timestamp())::bigint / 86400 - $3
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF $1 + $2 < pg_relation_size('tandem.inbox_timeless') / current_setting('block_size')::bigint THEN
        next_page := $1 + $2;
    END IF;
END
$function$;

-- What PostgreSQL sinks have brought and nobody has handled yet, in the order in which it came. A row goes in the transaction of its effects.
CREATE TABLE tandem.inbox_queue (
    queue text COLLATE "C" NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL,
    source text NOT NULL,
    topic text NOT NULL,
    key text COLLATE "C",
    headers json,
    content_type text NOT NULL,
    payload bytea NOT NULL,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (queue, place)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_scale_factor = 0.02);

-- Brings events of a source into a queue, those that are beyond what it has had from the sink of this name; says how many. Payloads come as one, with the end of each, since arrays of bytes are
-- slow to read. The row of the position is locked first: whoever sends at the same time, an owner who was fenced perhaps, comes before or behind all of it.
CREATE FUNCTION tandem.inbox_deliver(
    queue text, source text, sink text, numbers bigint[], seqs bigint[], ids uuid[], topics text[], keys text[], headers text[], content_types text[], times timestamptz[],
    payloads bytea, ends bigint[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    before tandem.inbox_position;
    brought integer;
BEGIN
    INSERT INTO tandem.inbox_position AS p (consumer, source, lane, number, seq) VALUES ($1, $2 || ' ' || $3, -1, 0, 0)
    ON CONFLICT ON CONSTRAINT inbox_position_pkey DO UPDATE SET seq = p.seq
    RETURNING p.* INTO before;
    INSERT INTO tandem.inbox_queue (queue, id, source, topic, key, headers, content_type, published_at, payload)
    SELECT $1, e.id, $2, e.topic, e.key, e.headers::json, e.content_type, e.at,
        substring($12 FROM (coalesce(e.begin, 0) + 1)::integer FOR (e.ending - coalesce(e.begin, 0))::integer)
    FROM (
        SELECT u.*, lag(u.ending) OVER (ORDER BY u.ordinal) AS begin
        FROM unnest($4, $5, $6, $7, $8, $9, $10, $11, $13) WITH ORDINALITY
            u (number, seq, id, topic, key, headers, content_type, at, ending, ordinal)) e
    WHERE (e.number, e.seq) > (before.number, before.seq)
    ORDER BY e.ordinal;
    GET DIAGNOSTICS brought = ROW_COUNT;
    IF brought > 0 THEN
        UPDATE tandem.inbox_position p SET number = l.number, seq = l.seq
        FROM (SELECT u.number, u.seq FROM unnest($4, $5) u (number, seq) ORDER BY u.number DESC, u.seq DESC LIMIT 1) l
        WHERE p.consumer = $1 AND p.source = $2 || ' ' || $3 AND p.lane = -1;
    END IF;
    RETURN brought;
END
$function$;

-- A message of a queue could not be handled: counts that, and at `most` attempts makes it a dead letter. No row: somebody has handled it meanwhile. To be called under the
-- lock of the queue's consumers.
CREATE FUNCTION tandem.inbox_queue_fail(queue text, place bigint, error text, most integer) RETURNS TABLE (attempts integer, is_dead boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    message tandem.inbox_queue;
BEGIN
    SELECT * INTO message FROM tandem.inbox_queue q WHERE q.queue = $1 AND q.place = $2;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO tandem.inbox_attempt AS a (consumer, message_id, attempts, error, place) VALUES ($1, message.id, 1, $3, $2)
    ON CONFLICT ON CONSTRAINT inbox_attempt_pkey DO UPDATE SET attempts = CASE WHEN a.place = EXCLUDED.place THEN a.attempts + 1 ELSE 1 END,
        error = EXCLUDED.error, at = clock_timestamp(), place = EXCLUDED.place
    RETURNING a.attempts INTO attempts;
    is_dead := attempts >= $4;
    IF is_dead THEN
        INSERT INTO tandem.inbox_dead AS d (consumer, message_id, reason, attempts, error, source, topic, key, headers, content_type, payload)
        VALUES ($1, message.id, 'failed', attempts, $3, message.source, message.topic, message.key, message.headers, message.content_type, message.payload)
        ON CONFLICT ON CONSTRAINT inbox_dead_pkey DO UPDATE SET attempts = EXCLUDED.attempts, error = EXCLUDED.error, at = clock_timestamp();
        DELETE FROM tandem.inbox_attempt a WHERE a.consumer = $1 AND a.message_id = message.id;
        DELETE FROM tandem.inbox_queue q WHERE q.queue = $1 AND q.place = $2;
    END IF;
    RETURN NEXT;
END
$function$;

REVOKE EXECUTE ON FUNCTION tandem.inbox_day(uuid), tandem.message_id(text), tandem.receive(text, uuid), tandem.receive(text, text),
    tandem.receive_many(text, uuid[]), tandem.receive_in_order(text, text, integer, bigint, bigint),
    tandem.inbox_deliver(text, text, text, bigint[], bigint[], uuid[], text[], text[], text[], text[], timestamptz[], bytea, bigint[]),
    tandem.inbox_fail(text, uuid, text, integer, text, text, text, json, text, bytea, boolean), tandem.inbox_take_dead(text, uuid),
    tandem.inbox_queue_fail(text, bigint, text, integer), tandem.inbox_forget(integer), tandem.inbox_sweep(bigint, integer, integer) FROM PUBLIC;
