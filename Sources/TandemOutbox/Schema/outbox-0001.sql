-- The outbox of a node: events that are published in the transaction of their cause, and read by relays in windows between two snapshots.
--
-- Nothing that is written per event or per window is ever updated or deleted, only inserted and emptied by TRUNCATE: a reader that holds a snapshot for
-- hours leaves no dead rows behind.

-- The place of an event. Its upper bits are the lap of the ring: the slot follows from the number alone, and a rotation is a jump of this sequence, which
-- needs no lock and which every writer sees at once, at REPEATABLE READ too. CACHE 1: more would break the order of a key.
CREATE SEQUENCE tandem.outbox_seq AS bigint CACHE 1;

CREATE TABLE tandem.outbox (
    -- Comes first: the transaction has its id before it takes a number. `outbox_open` leans on that.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('tandem.outbox_seq'),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    -- `json`, not `jsonb`, which would forget order, doubles and spaces.
    headers json,
    content_type text NOT NULL,
    payload bytea NOT NULL
) PARTITION BY LIST (((seq >> 36) & 7));

-- No autovacuum: there is nothing to clean, a TRUNCATE renews relfrozenxid, and one against wraparound comes all the same. It would hold the slot against
-- its TRUNCATE, and read what is about to go.
DO $do$
BEGIN
    FOR slot IN 0..7 LOOP
        EXECUTE format('CREATE TABLE tandem.outbox_%s PARTITION OF tandem.outbox FOR VALUES IN (%s) WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)', slot, slot);
    END LOOP;
    -- One number is thrown away: a sequence that was never used shows the same value before and after its first use, and the first event would stay unseen.
    PERFORM nextval('tandem.outbox_seq');
END
$do$;

-- A window in its order, from any place on, without sorting it.
CREATE INDEX outbox_seq_index ON tandem.outbox (seq);

-- What a transaction that was late left, again in order.
CREATE INDEX outbox_xid ON tandem.outbox (xid, seq);

-- One row. What the limits are, and of which server, on which timeline, the snapshots below are.
CREATE TABLE tandem.outbox_settings (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- A publication is held against it from 64,000 bytes on. An event has to fit into one answer of 16 MiB, where a byte is two characters.
    payload_limit integer NOT NULL DEFAULT 1048576 CHECK (payload_limit BETWEEN 64000 AND 4194304),
    -- How long events stay for replays. A slot is left after a sixth of it, or when it is as large as this.
    keep interval NOT NULL DEFAULT '1 day',
    slot_bytes bigint NOT NULL DEFAULT 1073741824,
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    -- Of tandem.outbox_window: a dump does not bring it back, not on this server either.
    relation oid NOT NULL,
    -- Windows of a new sink have higher numbers: those that sinks had which were removed.
    numbers_from bigint NOT NULL DEFAULT 0
);

-- The laps that the slots are in: `events_before` counts what all earlier laps had, so that lag in events is a subtraction.
CREATE TABLE tandem.outbox_slot (
    slot smallint PRIMARY KEY,
    lap bigint NOT NULL,
    events_before bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO tandem.outbox_slot (slot, lap, events_before) VALUES (0, 0, 0);

-- Events that are not due yet; published when they are.
CREATE TABLE tandem.outbox_delayed (
    due_at timestamptz NOT NULL,
    id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    headers json,
    content_type text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (due_at, id)
);

-- Who reads: each share of a sink has one owner at a time, who raises the epoch when he takes over. A sink has as many shares as rows here, numbered from 0 on.
-- Updated a few times a minute.
CREATE TABLE tandem.outbox_sink (
    sink text COLLATE "C" NOT NULL,
    share smallint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    holder text,
    until timestamptz NOT NULL DEFAULT '-infinity',
    -- Another relay, with fewer shares, that the owner is to leave this one to; and how long it may be taken by nobody else.
    asked_by text,
    asked_until timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (sink, share)
) WITH (fillfactor = 50);

-- The windows that were opened, insert-only: the row of the highest number is where the share stands. A window is what is visible in `upto` and not in
-- `since`, and is the share's of so many. It is durable before anything of it is sent, so (number, seq) is the same for an event whoever sends it, and how often.
CREATE TABLE tandem.outbox_window (
    sink text COLLATE "C" NOT NULL,
    share smallint NOT NULL,
    shares smallint NOT NULL,
    number bigint NOT NULL,
    epoch bigint NOT NULL,
    since pg_snapshot NOT NULL,
    -- Read before `since` was taken: what began after it has higher numbers.
    since_seq bigint NOT NULL,
    upto pg_snapshot NOT NULL,
    -- Read before and after `upto` was taken.
    upto_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    -- The transactions that were open in `since` and have left events since.
    late xid8[] NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (sink, share, number)
) WITH (autovacuum_enabled = false);

-- How far a sink has confirmed the window: the highest counts. `last_seq` of the window, or more: all of it.
CREATE TABLE tandem.outbox_ack (
    sink text COLLATE "C" NOT NULL,
    share smallint NOT NULL,
    number bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (sink, share, number, seq)
) WITH (autovacuum_enabled = false);

-- A snapshot about every ten seconds: where a replay can begin, and what may be forgotten.
CREATE TABLE tandem.outbox_history (
    at timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    snapshot pg_snapshot NOT NULL,
    -- Read before the snapshot was taken.
    seq bigint NOT NULL
);

-- Events that a sink has not taken, with all that is needed to send them. 'parked': they, and all later ones of their key, wait in order. 'dead': given up,
-- and the key flows on.
CREATE TABLE tandem.outbox_parked (
    sink text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    share smallint NOT NULL,
    number bigint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    topic text NOT NULL,
    key text COLLATE "C",
    headers json,
    content_type text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (sink, seq)
);

CREATE INDEX outbox_parked_key ON tandem.outbox_parked (sink, share, key, seq) WHERE state = 'parked';

CREATE INDEX outbox_parked_seq ON tandem.outbox_parked (sink, share, seq) WHERE state = 'parked';

-- A UUIDv7, which PostgreSQL makes itself from 18 on only: 48 bits of milliseconds, the version, random bits. Inlined; its names are bound here and now.
CREATE FUNCTION tandem.event_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((date_part('epoch', clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid;

-- Which of a sink's shares an event belongs to: by its key, or by its number where it has none. Inlined.
-- Of `hashtextextended` nobody promises that it is the same on every machine and in every version. But partitions by hash rest on it, which standbys and pg_upgrade take over as
-- they are; and what comes from elsewhere comes by a dump, into another system identifier: `outbox_check` finds that, and `outbox_rebase` puts all shares to one place. With a
-- hash that is the same everywhere, a share needs 1.5 us (md5) or 1.9 us (sha256) for an event that is not its own, with this one 0.6.
CREATE FUNCTION tandem.outbox_share(key text, seq bigint, shares smallint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((coalesce(hashtextextended($1 COLLATE "C", 0), $2) & 9223372036854775807) % $3)::smallint;

-- What is rare in publishing: large events are held against the limit, headers that are no object are refused, and events that are not due are put aside. True: that is all.
CREATE FUNCTION tandem.outbox_put_aside(
    topic text, key text, payload bytea, content_type text, headers json, id uuid, not_before timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    largest integer;
BEGIN
    SELECT s.payload_limit INTO largest FROM tandem.outbox_settings s;
    IF octet_length($3) > largest OR octet_length($5::text) > 65536 OR octet_length($1) > 1024 OR octet_length($2) > 1024 OR octet_length($4) > 255 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD513', MESSAGE = 'the event is too large',
            DETAIL = format('payload %s of %s bytes, headers %s of 65536, topic %s and key %s of 1024 each, content type %s of 255', octet_length($3), largest,
                coalesce(octet_length($5::text), 0), octet_length($1), coalesce(octet_length($2), 0), octet_length($4)),
            HINT = 'Store the data in a table or an object store, and publish a reference to it.';
    ELSIF json_typeof($5) NOT IN ('object', 'null') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('headers are an object of JSON, not %s', json_typeof($5));
    END IF;
    IF $7 > clock_timestamp() THEN
        INSERT INTO tandem.outbox_delayed (due_at, id, topic, key, headers, content_type, payload) VALUES ($7, $6, $1, $2, $5, $4, $3);
        RETURN true;
    END IF;
    RETURN false;
END
$function$;

-- Publishes bytes in the caller's transaction, whatever becomes of it; PREPARE TRANSACTION too. Returns the event's id. In plpgsql, since a function in SQL
-- plans its INSERT anew for each call before PostgreSQL 18: 100 us instead of 30.
-- It runs under the path of its caller, with the rights of its owner, because to set a path costs a third of the call. So every name here bears its schema,
-- types and operators too: one that does not would be the caller's to define.
CREATE FUNCTION tandem.publish_bytes(
    topic text, key text, payload bytea, content_type text DEFAULT 'application/octet-stream', headers json DEFAULT NULL, id uuid DEFAULT NULL,
    not_before timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
AS $function$
DECLARE
    event pg_catalog.uuid := coalesce($6, tandem.event_id());
BEGIN
    IF pg_catalog.octet_length($3) OPERATOR(pg_catalog.+) pg_catalog.octet_length($1) OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length($2), 0)
        OPERATOR(pg_catalog.+) coalesce(pg_catalog.octet_length($5::pg_catalog.text), 0) OPERATOR(pg_catalog.>) 64000 OR $7 IS NOT NULL
        OR pg_catalog.octet_length($1) OPERATOR(pg_catalog.>) 1024 OR pg_catalog.octet_length($2) OPERATOR(pg_catalog.>) 1024
        OR pg_catalog.octet_length($4) OPERATOR(pg_catalog.>) 255 OR pg_catalog.json_typeof($5) OPERATOR(pg_catalog.<>) 'object' THEN
        IF tandem.outbox_put_aside($1, $2, $3, $4, $5, event, $7) THEN
            RETURN event;
        END IF;
    END IF;
    -- `xid` stands before `seq` in the table, so the transaction has its id before its number: see `outbox_open`.
    INSERT INTO tandem.outbox (xid, id, topic, key, headers, content_type, payload) VALUES (pg_catalog.pg_current_xact_id(), event, $1, $2, $5, $4, $3);
    RETURN event;
END
$function$;

-- Publishes JSON. Three functions, so that json, jsonb, and a literal or a parameter without a type, which is text, all find one; the text is checked. Their
-- bodies are bound here and now, no search_path changes them, and they are inlined: they cost nothing.
CREATE FUNCTION tandem.publish(
    topic text, key text, payload json, headers json DEFAULT NULL, id uuid DEFAULT NULL, not_before timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE
RETURN tandem.publish_bytes($1, $2, convert_to($3::text, 'UTF8'), 'application/json', $4, $5, $6);

CREATE FUNCTION tandem.publish(
    topic text, key text, payload jsonb, headers json DEFAULT NULL, id uuid DEFAULT NULL, not_before timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE
RETURN tandem.publish_bytes($1, $2, convert_to($3::text, 'UTF8'), 'application/json', $4, $5, $6);

CREATE FUNCTION tandem.publish(
    topic text, key text, payload text, headers json DEFAULT NULL, id uuid DEFAULT NULL, not_before timestamptz DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE
RETURN tandem.publish_bytes($1, $2, convert_to($3::json::text, 'UTF8'), 'application/json', $4, $5, $6);

-- Publishes what has become due, at most `most`, and 16 MiB but for one that has more alone; says how many. Each takes a new place, and its order begins there.
CREATE FUNCTION tandem.outbox_publish_due(most integer DEFAULT 1000) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    own xid8;
    published integer := 0;
BEGIN
    -- A look that finds nothing takes no transaction id.
    IF EXISTS (SELECT FROM tandem.outbox_delayed d WHERE d.due_at <= clock_timestamp()) THEN
        own := pg_current_xact_id();
        -- Chosen once: a subquery would be asked again for each row, and pass over what it has locked.
        WITH chosen AS MATERIALIZED (
            SELECT n.due_at, n.id, octet_length(n.payload) AS bytes FROM tandem.outbox_delayed n WHERE n.due_at <= clock_timestamp()
            ORDER BY n.due_at, n.id LIMIT $1 FOR UPDATE SKIP LOCKED
        ), fitting AS (
            SELECT c.due_at, c.id, row_number() OVER by_time AS rank, sum(c.bytes) OVER by_time AS bytes FROM chosen c
            WINDOW by_time AS (ORDER BY c.due_at, c.id)
        ), due AS (
            DELETE FROM tandem.outbox_delayed d USING fitting f WHERE d.due_at = f.due_at AND d.id = f.id AND (f.rank = 1 OR f.bytes <= 16777216)
            RETURNING d.*
        )
        INSERT INTO tandem.outbox (xid, id, topic, key, headers, content_type, payload)
        SELECT own, d.id, d.topic, d.key, d.headers, d.content_type, d.payload FROM due d ORDER BY d.due_at, d.id;
        GET DIAGNOSTICS published = ROW_COUNT;
    END IF;
    RETURN published;
END
$function$;

-- Which server this is, its timeline, from the name of the WAL file (the control file has the old one for a while after a promotion), and which table.
CREATE FUNCTION tandem.outbox_origin(OUT system_identifier bigint, OUT timeline integer, OUT relation oid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT (SELECT c.system_identifier FROM pg_control_system() c), ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer,
        'tandem.outbox_window'::regclass::oid
$function$;

INSERT INTO tandem.outbox_settings (system_identifier, timeline, relation) SELECT o.system_identifier, o.timeline, o.relation FROM tandem.outbox_origin() o;

-- TD508: promoted since the outbox was last read. Windows that were opened and not replicated are not there: their numbers must not be given again.
CREATE FUNCTION tandem.outbox_require_timeline() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF (SELECT s.timeline FROM tandem.outbox_settings s) <> ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer THEN
        RAISE EXCEPTION USING ERRCODE = 'TD508', MESSAGE = 'the outbox was promoted since it was last read', HINT = 'tandem.outbox_renumber() goes on with it.';
    END IF;
END
$function$;

-- 'same'; 'promoted': another timeline of the same server, its snapshots still hold; 'restored': they do not, and nothing may be read before a rebase. On the same server a dump's
-- snapshots would hold, but the numbers of its windows were used by what came after it.
CREATE FUNCTION tandem.outbox_check() RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off
AS $function$
    SELECT CASE
        WHEN s.system_identifier <> o.system_identifier OR s.relation <> o.relation
            OR pg_snapshot_xmax(pg_current_snapshot()) < ANY (SELECT pg_snapshot_xmax(l.upto) FROM tandem.outbox_sink k, LATERAL (
                SELECT w.upto FROM tandem.outbox_window w WHERE w.sink = k.sink AND w.share = k.share ORDER BY w.number DESC LIMIT 1) l) THEN 'restored'
        WHEN s.timeline <> o.timeline THEN 'promoted'
        ELSE 'same' END
    FROM tandem.outbox_settings s, tandem.outbox_origin() o
$function$;

-- Makes a sink known, from now on or from the first event that is still there, with so many shares. Numbers begin with the time in milliseconds, so that they
-- grow over any restore, as long as fewer than a thousand windows a second are opened, and above those of sinks that were removed. Again: nothing happens, whatever the number of shares.
CREATE FUNCTION tandem.outbox_add_sink(sink text, shares smallint DEFAULT 1, from_start boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    seq bigint := 0;
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    IF $2 NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a sink has 1 to 64 shares';
    END IF;
    IF NOT $3 THEN
        SELECT s.last_value INTO seq FROM tandem.outbox_seq s;
    END IF;
    -- Two who add it at the same time, with other numbers, are decided by the first row.
    INSERT INTO tandem.outbox_sink (sink, share) VALUES ($1, 0) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO tandem.outbox_sink (sink, share) SELECT $1, n FROM generate_series(1, $2 - 1) n;
        INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
        SELECT $1, n, $2, greatest(date_part('epoch', clock_timestamp())::bigint * 1000, r.numbers_from), 0, p.snapshot, seq, p.snapshot, seq, seq, '{}'
        FROM (SELECT CASE WHEN $3 THEN '3:3:' ELSE tandem.outbox_snapshot() END AS snapshot) p, tandem.outbox_settings r, generate_series(0, $2 - 1) n;
        INSERT INTO tandem.outbox_ack (sink, share, number, seq) SELECT w.sink, w.share, w.number, w.last_seq FROM tandem.outbox_window w WHERE w.sink = $1;
    END IF;
END
$function$;

-- Statement after statement must see more than the one before; and a snapshot counts its own transaction as finished, which must therefore have no events.
CREATE FUNCTION tandem.outbox_require_read_committed() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' OR pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '25001', MESSAGE = 'the outbox is read at READ COMMITTED, in a transaction that has written nothing';
    END IF;
END
$function$;

-- A snapshot whose xmax is above every transaction that had its id when this function was called.
-- The xmax of a snapshot is not the next id but the one after the last that has *ended*: whoever took a later id and is still at work is not listed in it. To
-- have them listed, one with a later id has to end: a subtransaction here, whose row lock gives it an id, and which is rolled back.
CREATE FUNCTION tandem.outbox_snapshot() RETURNS pg_snapshot
LANGUAGE plpgsql VOLATILE
AS $function$
DECLARE
    own xid8 := pg_current_xact_id();
    taken pg_snapshot;
BEGIN
    BEGIN
        PERFORM FROM tandem.outbox_slot LIMIT 1 FOR KEY SHARE;
        RAISE EXCEPTION USING ERRCODE = 'TD500';
    EXCEPTION
        WHEN SQLSTATE 'TD500' THEN
            NULL;
    END;
    SELECT pg_current_snapshot() INTO taken;
    IF pg_snapshot_xmax(taken) <= own THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = 'this server does not advance a snapshot by a subtransaction that has ended';
    END IF;
    RETURN taken;
END
$function$;

-- Where a share stands: its latest window, and how far that is confirmed (0: not begun).
CREATE FUNCTION tandem.outbox_position(
    sink text, share smallint DEFAULT 0, OUT shares smallint, OUT number bigint, OUT epoch bigint, OUT since pg_snapshot, OUT since_seq bigint, OUT upto pg_snapshot,
    OUT upto_seq bigint, OUT last_seq bigint, OUT late xid8[], OUT at timestamptz, OUT acked bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET jit = off
AS $function$
BEGIN
    -- First the lock, then the snapshot: one from before a TRUNCATE sees nothing at all afterwards.
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    SELECT w.shares, w.number, w.epoch, w.since, w.since_seq, w.upto, w.upto_seq, w.last_seq, w.late, w.at,
        coalesce((SELECT a.seq FROM tandem.outbox_ack a WHERE a.sink = $1 AND a.share = $2 AND a.number = w.number ORDER BY a.seq DESC LIMIT 1), 0)
    INTO shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late, at, acked
    FROM tandem.outbox_window w WHERE w.sink = $1 AND w.share = $2 ORDER BY w.number DESC LIMIT 1;
END
$function$;

-- TD508: promoted since; TD509: this is not the server that the sinks' positions are of.
CREATE FUNCTION tandem.outbox_require_origin() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    origin text := tandem.outbox_check();
BEGIN
    IF origin <> 'same' THEN
        RAISE EXCEPTION USING ERRCODE = CASE origin WHEN 'promoted' THEN 'TD508' ELSE 'TD509' END,
            MESSAGE = format('the outbox was %s since it was last read', origin),
            HINT = CASE origin WHEN 'promoted' THEN 'tandem.outbox_renumber() goes on with it.' ELSE 'tandem outbox rebase decides from where on events are sent.' END;
    END IF;
END
$function$;

-- Whether the owner of a share has two more than `holder`: then one moves, and neither is the poorer for it. Who was asked for one counts as not having it any more.
CREATE FUNCTION tandem.outbox_is_rich(sink text, share smallint, holder text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT count(*) FILTER (WHERE all_of.owner = one.holder) - count(*) FILTER (WHERE all_of.owner = $3) >= 2
    FROM tandem.outbox_sink one,
        (SELECT CASE WHEN s.asked_until > clock_timestamp() THEN s.asked_by WHEN s.until > clock_timestamp() THEN s.holder END AS owner
        FROM tandem.outbox_sink s WHERE s.sink = $1) all_of
    WHERE one.sink = $1 AND one.share = $2 AND one.holder <> $3 AND one.until > clock_timestamp() AND one.asked_until <= clock_timestamp()
$function$;

-- Locks all shares of a sink against whoever takes a lease, opens a window or sets events aside. False: there is no such sink. First the table, then the rows: everybody does
-- it in this order. And the first row before the others: with it whoever divides the sink has made or removed these.
CREATE FUNCTION tandem.outbox_lock(sink text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 ORDER BY s.share FOR UPDATE;
    RETURN true;
END
$function$;

-- Takes or renews the lease of a share: the epoch when it is the holder's now, else NULL, and who has it and for how long. A holder that comes again keeps
-- its epoch: a name is for one life of one relay. `recorded` is how many shares the sink has: with another number nobody gets a lease, and `held_by` names all that have
-- one. `is_asked`: a relay with fewer shares waits for this one. TD503: unknown; TD508, TD509: see `outbox_require_origin`.
CREATE FUNCTION tandem.outbox_claim(
    sink text, share smallint, holder text, ttl interval, shares smallint DEFAULT 1,
    OUT epoch bigint, OUT held_by text, OUT left_for interval, OUT recorded smallint, OUT is_asked boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.outbox_require_origin();
    SELECT count(*) INTO recorded FROM tandem.outbox_sink s WHERE s.sink = $1;
    IF recorded = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD503', MESSAGE = 'the outbox has no such sink', HINT = 'tandem.outbox_add_sink makes it known.';
    ELSIF recorded <> $5 THEN
        SELECT string_agg(DISTINCT s.holder, ', '), coalesce(max(s.until) - clock_timestamp(), '0') INTO held_by, left_for
        FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.until > clock_timestamp();
        RETURN;
    END IF;
    UPDATE tandem.outbox_sink s
    SET epoch = CASE WHEN s.holder = $3 THEN s.epoch ELSE s.epoch + 1 END, holder = $3, until = clock_timestamp() + $4,
        asked_until = CASE WHEN s.asked_by = $3 THEN '-infinity' ELSE s.asked_until END
    WHERE s.sink = $1 AND s.share = $2
        AND CASE WHEN s.until > clock_timestamp() THEN s.holder = $3 ELSE s.asked_until <= clock_timestamp() OR s.asked_by = $3 END
    RETURNING s.epoch, s.holder, $4, s.asked_until > clock_timestamp() INTO epoch, held_by, left_for, is_asked;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Where it has become free meanwhile, there is nothing to wait for.
    SELECT CASE WHEN s.until > clock_timestamp() THEN s.holder ELSE s.asked_by END, greatest(s.until, s.asked_until, clock_timestamp()) - clock_timestamp()
    INTO held_by, left_for FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2;
    IF recorded > 1 AND tandem.outbox_is_rich($1, $2, $3) THEN
        -- Several ask at the same time, each for another share: one after the other, or they would ask for too many. Nobody waits for it: the attempt above may have left
        -- a lock, and the first row comes before the others.
        PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = 0 FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND THEN
            PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2 FOR NO KEY UPDATE SKIP LOCKED;
            IF FOUND AND tandem.outbox_is_rich($1, $2, $3) THEN
                UPDATE tandem.outbox_sink s SET asked_by = $3, asked_until = clock_timestamp() + $4 WHERE s.sink = $1 AND s.share = $2;
            END IF;
        END IF;
    END IF;
END
$function$;

-- Gives back the leases that a holder has, of one share or of all (NULL), so that nobody need wait for their end. One that another relay has asked for is kept for that one a while; with
-- all of them the holder wants none any more that it has asked for itself.
CREATE FUNCTION tandem.outbox_release(sink text, holder text, keep interval, share smallint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    -- In their order, as `outbox_lock` does it.
    PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = coalesce($4, s.share) AND $2 IN (s.holder, s.asked_by) ORDER BY s.share FOR NO KEY UPDATE;
    UPDATE tandem.outbox_sink s SET until = '-infinity', asked_until = least(s.asked_until, clock_timestamp() + $3)
    WHERE s.sink = $1 AND s.share = coalesce($4, s.share) AND s.holder = $2;
    UPDATE tandem.outbox_sink s SET asked_until = '-infinity' WHERE $4 IS NULL AND s.sink = $1 AND s.asked_by = $2;
END
$function$;

-- Takes or renews the leases of all shares at once, in order to divide the sink into another number of them, which `shares` is: no rows where somebody has one, or where
-- they are so many already.
CREATE FUNCTION tandem.outbox_claim_all(sink text, holder text, ttl interval, shares smallint) RETURNS TABLE (share smallint, epoch bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.outbox_require_origin();
    PERFORM tandem.outbox_lock($1);
    RETURN QUERY
    UPDATE tandem.outbox_sink s
    SET epoch = CASE WHEN s.holder = $2 THEN s.epoch ELSE s.epoch + 1 END, holder = $2, until = clock_timestamp() + $3, asked_until = '-infinity'
    WHERE s.sink = $1 AND (SELECT count(*) FROM tandem.outbox_sink o WHERE o.sink = $1) <> $4
        AND NOT EXISTS (SELECT FROM tandem.outbox_sink o WHERE o.sink = $1 AND o.holder <> $2 AND o.until > clock_timestamp())
    RETURNING s.share, s.epoch;
END
$function$;

-- Ends the window `number`, all of which the sink has confirmed, and opens the next one, durable when the statement's transaction is. Outcome 'opened', and the
-- window; 'quiet': nothing new; 'fenced': another has the lease; 'moved': the share stands elsewhere, look at its position. Where `acked` is given, that is written
-- first, in the same commit; else only 'opened' writes. With `joining` the next one ends where the share of the sink stands that is furthest ahead; 'quiet': this one
-- stands there. So all shares come to one place, see `outbox_divide`.
--
-- The order of observations. Let v be the last number that was taken, read in one statement, and S the snapshot that `outbox_snapshot` takes after that.
-- 1. A transaction takes its id before its first number. One whose number is <= v therefore had its id before S, and is below S's xmax: it has ended in S, or is
--    listed. So all events that S does not show belong to transactions that it lists, or have numbers > v.
-- 2. There is something new if the number has moved since v, or if a listed transaction has left events: if neither holds there cannot be anything.
--    To look at the number alone loses one who inserted before S and committed after it, until somebody else publishes. To read the number after S loses one
--    who took it in between; and a snapshot as it comes does not list who has a later id than all that have ended.
-- 3. An event is in exactly one window: visible in its end and not in its beginning. The next beginning is this end, word for word. Two who open the same number
--    at the same time are decided by the primary key, and a fenced owner can only ever open what follows from a window that was confirmed.
-- 4. Under another number of shares a window is no window any more. Who opens one holds the sink's row, which `outbox_divide` locks, and looks at the epoch again: either it
--    sees the window, or the window is not opened.
CREATE FUNCTION tandem.outbox_open(
    sink text, share smallint, epoch bigint, number bigint, acked bigint DEFAULT NULL, joining boolean DEFAULT false,
    OUT outcome text, OUT window_number bigint, OUT since pg_snapshot, OUT since_seq bigint, OUT upto pg_snapshot, OUT last_seq bigint, OUT late xid8[])
-- Whatever the statistics say of tables that are empty now and then: by the index.
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
    before tandem.outbox_window;
    taken bigint;
    is_new boolean;
    noted timestamptz;
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    -- First the lock, then the snapshot: one from before a TRUNCATE sees nothing at all afterwards.
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    SELECT w.* INTO before FROM tandem.outbox_window w WHERE w.sink = $1 AND w.share = $2 ORDER BY w.number DESC LIMIT 1;
    IF NOT EXISTS (SELECT FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2 AND s.epoch = $3) THEN
        outcome := 'fenced';
        RETURN;
    ELSIF before.number IS DISTINCT FROM $4 THEN
        outcome := 'moved';
        RETURN;
    END IF;
    -- A relay that is at work sees nothing of a promotion else: its leases are there.
    PERFORM tandem.outbox_require_timeline();
    IF acked IS NOT NULL THEN
        INSERT INTO tandem.outbox_ack (sink, share, number, seq) VALUES ($1, $2, $4, acked) ON CONFLICT DO NOTHING;
    END IF;
    IF joining THEN
        -- Snapshots of one server follow each other: a later one has a higher xmax, or fewer that are open below the same.
        SELECT p.upto, p.upto_seq INTO upto, taken FROM tandem.outbox_sink s, LATERAL tandem.outbox_position(s.sink, s.share) p
        WHERE s.sink = $1 ORDER BY pg_snapshot_xmax(p.upto) DESC, (SELECT count(*) FROM pg_snapshot_xip(p.upto)), p.upto_seq DESC LIMIT 1;
        is_new := upto::text <> before.upto::text;
    ELSE
        SELECT s.last_value INTO taken FROM tandem.outbox_seq s;
        is_new := taken <> before.upto_seq OR EXISTS (
            SELECT FROM pg_snapshot_xip(before.upto) x (xid)
            WHERE pg_visible_in_snapshot(x.xid, pg_current_snapshot()) AND EXISTS (SELECT FROM tandem.outbox o WHERE o.xid = x.xid));
    END IF;
    IF NOT is_new THEN
        outcome := 'quiet';
        RETURN;
    END IF;
    IF NOT joining THEN
        upto := tandem.outbox_snapshot();
    END IF;
    late := ARRAY(
        SELECT x.xid FROM pg_snapshot_xip(before.upto) x (xid)
        WHERE pg_visible_in_snapshot(x.xid, upto) AND EXISTS (SELECT FROM tandem.outbox o WHERE o.xid = x.xid));
    since := before.upto;
    since_seq := before.upto_seq;
    window_number := before.number + 1;
    -- No number of this window is higher: its transactions were finished before this statement.
    SELECT s.last_value INTO last_seq FROM tandem.outbox_seq s;
    PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2 AND s.epoch = $3 FOR KEY SHARE;
    IF NOT FOUND THEN
        outcome := 'fenced';
        RETURN;
    END IF;
    -- Nothing is sent that a crash could take back, whatever those who published wanted: this commit's flush covers theirs.
    PERFORM set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true);
    INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
    VALUES ($1, $2, before.shares, window_number, $3, since, since_seq, upto, taken, last_seq, late)
    ON CONFLICT DO NOTHING;
    outcome := CASE WHEN FOUND THEN 'opened' ELSE 'moved' END;
    IF joining THEN
        RETURN;
    END IF;
    SELECT h.at INTO noted FROM tandem.outbox_history h ORDER BY h.at DESC LIMIT 1;
    IF noted IS NULL OR noted < clock_timestamp() - interval '10 seconds' THEN
        INSERT INTO tandem.outbox_history (snapshot, seq) VALUES (upto, taken) ON CONFLICT DO NOTHING;
    END IF;
END
$function$;

-- How many bytes of an event are the publisher's.
CREATE FUNCTION tandem.outbox_size(topic text, key text, headers json, content_type text, payload bytea) RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN octet_length($5) + octet_length($1) + coalesce(octet_length($2), 0) + coalesce(octet_length($3::text), 0) + octet_length($4);

-- Events of a window that are the share's, in their order, behind the number `after` (0: from its first one on), at most `most`, and of so many bytes, but for one that has more
-- alone. At most 200,000 numbers are looked at, since all of them may be other shares', or of transactions that are still under way. Where the bytes or these are the reason to end, the last
-- row is one of a number alone, up to which there is nothing more. Two indexes give the order, whatever the statistics of tables say that are empty now and then.
CREATE FUNCTION tandem.outbox_read(sink text, share smallint, number bigint, after bigint, most integer, bytes bigint)
    RETURNS SETOF tandem.outbox
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET jit = off
AS $function$
DECLARE
    w tandem.outbox_window;
    event tandem.outbox;
    place bigint := $4;
    number_read integer := 0;
    bytes_read bigint := 0;
    size bigint;
    is_full boolean := false;
    is_whole boolean;
    -- What is looked at.
    upto bigint;
BEGIN
    -- First the lock, then the snapshot: one from before a TRUNCATE sees nothing at all afterwards, and a window without events would pass for one that is done.
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    SELECT o.* INTO w FROM tandem.outbox_window o WHERE o.sink = $1 AND o.share = $2 AND o.number = $3;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TD511', MESSAGE = format('the window %s of the sink %s is not there', $3, $1), HINT = 'The sink was moved: look where it stands.';
    END IF;
    is_whole := w.shares = 1;
    -- First what transactions that were late have left: their numbers are lower than all others.
    IF w.late <> '{}' AND place < w.since_seq THEN
        upto := w.since_seq;
        IF upto - place > 200000 THEN
            SELECT least(upto, l.seq + 199999) INTO upto FROM (
                SELECT min(f.seq) AS seq FROM unnest(w.late) t (xid) CROSS JOIN LATERAL (
                    SELECT o.seq FROM tandem.outbox o WHERE o.xid = t.xid AND o.seq > place AND o.seq <= w.since_seq ORDER BY o.xid, o.seq LIMIT 1) f) l;
        END IF;
        FOR event IN
            SELECT l.* FROM unnest(w.late) t (xid) CROSS JOIN LATERAL (
                SELECT o.* FROM tandem.outbox o
                WHERE o.xid = t.xid AND o.seq > place AND o.seq <= upto AND (is_whole OR tandem.outbox_share(o.key, o.seq, w.shares) = $2)
                ORDER BY o.xid, o.seq LIMIT $5) l
            ORDER BY l.seq LIMIT $5
        LOOP
            size := tandem.outbox_size(event.topic, event.key, event.headers, event.content_type, event.payload);
            is_full := number_read > 0 AND bytes_read + size > $6;
            EXIT WHEN is_full;
            number_read := number_read + 1;
            bytes_read := bytes_read + size;
            place := event.seq;
            RETURN NEXT event;
        END LOOP;
        IF is_full OR upto < w.since_seq AND number_read < $5 THEN
            event := NULL;
            event.seq := CASE WHEN is_full THEN place ELSE upto END;
            RETURN NEXT event;
            RETURN;
        ELSIF number_read >= $5 THEN
            RETURN;
        END IF;
    END IF;
    place := greatest(place, w.since_seq);
    upto := w.last_seq;
    IF upto - place > 200000 THEN
        -- From the first one on that is there: between two laps of the ring there are many numbers.
        SELECT least(upto, o.seq + 199999) INTO upto FROM (SELECT min(o.seq) AS seq FROM tandem.outbox o WHERE o.seq > place) o;
    END IF;
    FOR event IN
        SELECT o.* FROM tandem.outbox o
        WHERE o.seq > place AND o.seq <= upto AND (is_whole OR tandem.outbox_share(o.key, o.seq, w.shares) = $2)
            AND pg_visible_in_snapshot(o.xid, w.upto) AND NOT pg_visible_in_snapshot(o.xid, w.since)
        ORDER BY o.seq LIMIT $5 - number_read
    LOOP
        size := tandem.outbox_size(event.topic, event.key, event.headers, event.content_type, event.payload);
        is_full := number_read > 0 AND bytes_read + size > $6;
        EXIT WHEN is_full;
        number_read := number_read + 1;
        bytes_read := bytes_read + size;
        place := event.seq;
        RETURN NEXT event;
    END LOOP;
    IF is_full OR upto < w.last_seq AND number_read < $5 THEN
        event := NULL;
        event.seq := CASE WHEN is_full THEN place ELSE upto END;
        RETURN NEXT event;
    END IF;
END
$function$;

-- The sink has confirmed the window up to `seq`. False: another has the lease now. What a fenced owner writes all the same, between this look and his commit, is
-- true: the sink did confirm it.
CREATE FUNCTION tandem.outbox_acknowledge(sink text, share smallint, epoch bigint, number bigint, seq bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2 AND s.epoch = $3) THEN
        RETURN false;
    END IF;
    PERFORM tandem.outbox_require_timeline();
    INSERT INTO tandem.outbox_ack (sink, share, number, seq) VALUES ($1, $2, $4, $5) ON CONFLICT DO NOTHING;
    RETURN true;
END
$function$;

-- Sets events of a window aside, so that the window can go on: 'parked' or 'dead'. Again: nothing happens, but to a dead letter that was sent again by a
-- replay. False: another has the lease. The row stays locked, so that
-- `outbox_divide` sees what is set aside: no share looks for an event of one that is gone.
CREATE FUNCTION tandem.outbox_park(sink text, share smallint, epoch bigint, number bigint, seqs bigint[], state text, due_at timestamptz, error text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
BEGIN
    -- The table before the row, as `outbox_rebase` does it.
    LOCK TABLE tandem.outbox IN ACCESS SHARE MODE;
    PERFORM FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share = $2 AND s.epoch = $3 FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- One that the sink has refused was tried once; those behind it were not.
    INSERT INTO tandem.outbox_parked AS p (sink, seq, share, number, state, attempts, due_at, error, at, id, topic, key, headers, content_type, payload)
    SELECT $1, o.seq, $2, $4, $6, ($8 IS NOT NULL)::integer, $7, $8, o.at, o.id, o.topic, o.key, o.headers, o.content_type, o.payload
    FROM tandem.outbox o WHERE o.seq = ANY ($5)
    ON CONFLICT ON CONSTRAINT outbox_parked_pkey DO UPDATE SET share = EXCLUDED.share, number = EXCLUDED.number, state = EXCLUDED.state, attempts = EXCLUDED.attempts,
        due_at = EXCLUDED.due_at, error = EXCLUDED.error WHERE p.state = 'dead';
    RETURN true;
END
$function$;

-- Events that were set aside and are due, in order, with nothing of their key before them that waits. One that was tried goes without those behind it: a sink may take these and refuse it
-- again. At most `most`, and of so many bytes, but for one that has more alone. By the indexes, whatever the statistics say: a plan for a few rows would take hours with many.
CREATE FUNCTION tandem.outbox_due(sink text, share smallint, most integer, bytes bigint) RETURNS SETOF tandem.outbox_parked
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET jit = off
AS $function$
DECLARE
    event tandem.outbox_parked;
    moment timestamptz := clock_timestamp();
    number_read integer := 0;
    bytes_read bigint := 0;
    size bigint;
    -- A key that waits, and one of which so much is on the list: those of the next event too, perhaps.
    waiting text;
    listed text;
    listed_upto bigint;
BEGIN
    FOR event IN
        SELECT p.* FROM tandem.outbox_parked p WHERE p.sink = $1 AND p.share = $2 AND p.state = 'parked' AND p.due_at <= moment ORDER BY p.seq
    LOOP
        CONTINUE WHEN event.key = waiting;
        IF event.key IS NOT NULL AND EXISTS (
            SELECT FROM tandem.outbox_parked b
            WHERE b.sink = $1 AND b.share = $2 AND b.key = event.key AND b.state = 'parked' AND b.seq < event.seq
                AND b.seq > CASE WHEN event.key = listed THEN listed_upto ELSE 0 END AND (b.due_at > moment OR b.attempts > 0)) THEN
            waiting := event.key;
            CONTINUE;
        END IF;
        size := tandem.outbox_size(event.topic, event.key, event.headers, event.content_type, event.payload);
        EXIT WHEN number_read >= $3 OR number_read > 0 AND bytes_read + size > $4;
        number_read := number_read + 1;
        bytes_read := bytes_read + size;
        listed := event.key;
        listed_upto := event.seq;
        IF event.attempts > 0 THEN
            waiting := event.key;
        END IF;
        RETURN NEXT event;
    END LOOP;
END
$function$;

-- Divides a sink into another number of shares. `holder` has the leases of all (`outbox_claim_all`), and has brought all to one place (`outbox_open` with `joining`), all of it
-- confirmed; else false, and nothing is changed.
--
-- Why nothing is lost, and no key loses its order. Every share has confirmed, or set aside, what is visible in this one snapshot, so all of that is over, whichever share a
-- key was in; what is not visible in it is in windows that begin there, of whichever share the key is in now. Their numbers are higher than any that a share had, so the places
-- of a key grow. Epochs are higher than those of all shares that there were, so whoever woke up with a lease of the old number is fenced, in a share that comes back too.
-- The rows are locked against those that open a window or set events aside under an epoch that they have looked at before: what they have written is seen here.
CREATE FUNCTION tandem.outbox_divide(sink text, holder text, shares smallint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    place record;
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    IF $3 NOT BETWEEN 1 AND 64 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a sink has 1 to 64 shares';
    END IF;
    PERFORM tandem.outbox_lock($1);
    IF EXISTS (SELECT FROM tandem.outbox_sink s WHERE s.sink = $1 AND (s.holder IS DISTINCT FROM $2 OR s.until <= clock_timestamp())) THEN
        RETURN false;
    END IF;
    SELECT count(DISTINCT p.upto::text) AS places, bool_and(p.acked >= p.last_seq) AS is_done, min(p.upto::text)::pg_snapshot AS upto, max(p.upto_seq) AS seq,
        max(p.number) + 1 AS number, max(s.epoch) + 1 AS epoch, min(s.until) AS until
    INTO place FROM tandem.outbox_sink s, LATERAL tandem.outbox_position(s.sink, s.share) p WHERE s.sink = $1;
    IF place.places <> 1 OR NOT place.is_done THEN
        RETURN false;
    END IF;
    DELETE FROM tandem.outbox_sink s WHERE s.sink = $1 AND s.share >= $3;
    -- The leases stay with whoever divides: without them one with the old number could come in between, and divide it back.
    INSERT INTO tandem.outbox_sink AS s (sink, share, epoch, holder, until) SELECT $1, n, place.epoch, $2, place.until FROM generate_series(0, $3 - 1) n
    ON CONFLICT ON CONSTRAINT outbox_sink_pkey DO UPDATE SET epoch = EXCLUDED.epoch, until = EXCLUDED.until, asked_until = '-infinity';
    INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
    SELECT $1, n, $3, place.number, place.epoch, place.upto, place.seq, place.upto, place.seq, place.seq, '{}' FROM generate_series(0, $3 - 1) n;
    INSERT INTO tandem.outbox_ack (sink, share, number, seq) SELECT $1, n, place.number, place.seq FROM generate_series(0, $3 - 1) n;
    UPDATE tandem.outbox_parked p SET share = tandem.outbox_share(p.key, p.seq, $3) WHERE p.sink = $1 AND p.share <> tandem.outbox_share(p.key, p.seq, $3);
    RETURN true;
END
$function$;

-- Who stands in the way of emptying a slot by a lock: sessions by pid, prepared transactions by gid. `certain`: without those of whom the role may not see for how long.
CREATE FUNCTION tandem.outbox_blockers(slot integer, certain boolean DEFAULT false) RETURNS text[]
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
    -- A prepared transaction has no pid and keeps the virtual id of its session; the lock on its own id tells which it is.
    SELECT coalesce(array_agg(DISTINCT coalesce('pid ' || l.pid, 'gid ' || p.gid, 'transaction ' || l.virtualtransaction)), '{}')
    FROM pg_locks l
        LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = l.virtualtransaction
        LEFT JOIN pg_prepared_xacts p ON p.transaction = t.transactionid
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    -- Whoever came later than the request that has just been given up has waited behind it.
    WHERE coalesce(a.xact_start < clock_timestamp() - interval '100 ms', l.pid IS NULL OR NOT $2)
        AND l.locktype = 'relation' AND l.granted AND l.relation = to_regclass(format('tandem.outbox_%s', $1))
        AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND l.pid IS DISTINCT FROM pg_backend_pid()
$function$;

-- Empties at most one slot whose events everybody has and nobody may want again, and leaves the current one when it is old or large: to be called every few
-- seconds, outside of a transaction, by whoever wants. `blocked_by` names who keeps a slot that should be empty: 'sink NAME', 'pid N', 'gid G'; all of
-- them only where nothing was emptied.
-- Writers never wait but for the lock of a slot that nobody has written to for a while, and at most 100 ms; they are never told to stop: with no slot
-- empty, the current one grows.
CREATE FUNCTION tandem.outbox_rotate(OUT emptied integer, OUT entered integer, OUT free integer, OUT blocked_by text[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET enable_seqscan = off SET enable_bitmapscan = off
    SET jit = off
AS $function$
DECLARE
    rules tandem.outbox_settings;
    taken bigint;
    turn bigint;
    opened timestamptz;
    noted timestamptz;
    passed record;
    candidate integer;
    is_empty boolean[] := '{}';
    is_unread boolean;
    who text[] := '{}';
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    free := 0;
    blocked_by := '{}';
    -- One at a time; the row lock goes with the transaction.
    SELECT * INTO rules FROM tandem.outbox_settings FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        free := NULL;
        RETURN;
    END IF;
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    SELECT s.last_value INTO taken FROM tandem.outbox_seq s;
    SELECT h.at INTO noted FROM tandem.outbox_history h ORDER BY h.at DESC LIMIT 1;
    IF noted IS NULL OR noted < clock_timestamp() - interval '10 seconds' THEN
        INSERT INTO tandem.outbox_history (snapshot, seq) VALUES (tandem.outbox_snapshot(), taken) ON CONFLICT DO NOTHING;
    END IF;
    DELETE FROM tandem.outbox_history h
    WHERE h.at < (SELECT max(o.at) FROM tandem.outbox_history o WHERE o.at <= clock_timestamp() - rules.keep);
    turn := taken >> 36;
    -- A rotation that was rolled back has entered the lap all the same, and left no row.
    IF NOT EXISTS (SELECT FROM tandem.outbox_slot s WHERE s.lap = turn) THEN
        INSERT INTO tandem.outbox_slot (slot, lap, events_before)
        SELECT turn & 7, turn, s.events_before + coalesce((
            SELECT o.seq & 68719476735 FROM tandem.outbox o WHERE o.seq >= s.lap << 36 AND o.seq < (s.lap + 1) << 36 ORDER BY o.seq DESC LIMIT 1), 0)
        FROM tandem.outbox_slot s WHERE s.lap < turn ORDER BY s.lap DESC LIMIT 1
        ON CONFLICT ON CONSTRAINT outbox_slot_pkey DO UPDATE SET lap = EXCLUDED.lap, events_before = EXCLUDED.events_before, opened_at = EXCLUDED.opened_at;
    END IF;
    FOR distance IN 1..7 LOOP
        candidate := (turn + distance) & 7;
        is_empty[distance] := pg_relation_size(format('tandem.outbox_%s', candidate)::regclass) = 0;
        IF NOT is_empty[distance] AND emptied IS NULL THEN
            -- Whoever has used it for a while is not gone in a moment: a request for the lock would only let relays queue up behind it, slot by slot.
            IF tandem.outbox_blockers(candidate, true) <> '{}' THEN
                blocked_by := blocked_by || tandem.outbox_blockers(candidate);
                CONTINUE;
            END IF;
            BEGIN
                -- Then nobody is writing there, no prepared branch either, and what the next statement sees is all there is. What was rolled back does not count.
                EXECUTE format('LOCK TABLE tandem.outbox_%s IN ACCESS EXCLUSIVE MODE', candidate);
                who := '{}';
                -- Passed: what a sink has confirmed, and what was there before the time that replays may go back to.
                FOR passed IN
                    SELECT 'sink ' || s.sink AS who, coalesce((
                        SELECT CASE WHEN a.seq >= w.last_seq THEN w.upto ELSE w.since END
                        FROM (SELECT * FROM tandem.outbox_window w WHERE w.sink = s.sink AND w.share = s.share ORDER BY w.number DESC LIMIT 1) w
                        LEFT JOIN LATERAL (SELECT a.seq FROM tandem.outbox_ack a WHERE a.sink = w.sink AND a.share = w.share AND a.number = w.number
                            ORDER BY a.seq DESC LIMIT 1) a ON true), '3:3:'::pg_snapshot) AS snapshot
                    FROM tandem.outbox_sink s
                    UNION ALL
                    SELECT 'no sink', '3:3:' WHERE NOT EXISTS (SELECT FROM tandem.outbox_sink)
                    UNION ALL
                    SELECT 'keep', coalesce((SELECT h.snapshot FROM tandem.outbox_history h WHERE h.at <= clock_timestamp() - rules.keep ORDER BY h.at DESC LIMIT 1), '3:3:')
                LOOP
                    EXECUTE format('SELECT EXISTS (SELECT FROM tandem.outbox_%s o WHERE o.xid >= pg_snapshot_xmax($1)) OR EXISTS (SELECT FROM tandem.outbox_%s o
                        WHERE o.xid = ANY (ARRAY(SELECT pg_snapshot_xip($1))))', candidate, candidate) INTO is_unread USING passed.snapshot;
                    IF is_unread THEN
                        who := who || passed.who;
                    END IF;
                END LOOP;
                IF who = '{}' THEN
                    EXECUTE format('TRUNCATE tandem.outbox_%s', candidate);
                    emptied := candidate;
                    is_empty[distance] := true;
                ELSE
                    -- Gives the lock back.
                    RAISE EXCEPTION USING ERRCODE = 'TD500';
                END IF;
            EXCEPTION
                WHEN lock_not_available THEN
                    blocked_by := blocked_by || tandem.outbox_blockers(candidate);
                WHEN SQLSTATE 'TD500' THEN
                    -- What is merely young is in nobody's way.
                    blocked_by := blocked_by || array_remove(who, 'keep');
            END;
        END IF;
        free := free + is_empty[distance]::integer;
    END LOOP;
    SELECT s.opened_at INTO opened FROM tandem.outbox_slot s WHERE s.slot = (turn & 7);
    IF taken & 68719476735 > 0 AND (opened < clock_timestamp() - rules.keep / 6
        OR pg_total_relation_size(format('tandem.outbox_%s', turn & 7)::regclass) > rules.slot_bytes) THEN
        FOR distance IN 1..7 LOOP
            IF is_empty[distance] THEN
                INSERT INTO tandem.outbox_slot (slot, lap, events_before)
                SELECT (turn + distance) & 7, turn + distance, s.events_before + (taken & 68719476735) FROM tandem.outbox_slot s WHERE s.slot = (turn & 7)
                ON CONFLICT ON CONSTRAINT outbox_slot_pkey DO UPDATE SET lap = EXCLUDED.lap, events_before = EXCLUDED.events_before, opened_at = EXCLUDED.opened_at;
                -- Those who take a number between our look and this have one of the old lap; all later ones are higher.
                PERFORM setval('tandem.outbox_seq', (turn + distance) << 36);
                entered := (turn + distance) & 7;
                EXIT;
            END IF;
        END LOOP;
    END IF;
    SELECT coalesce(array_agg(DISTINCT b), '{}') INTO blocked_by FROM unnest(blocked_by) b;
END
$function$;

-- Keeps of the windows and confirmations only where each share stands. False: somebody has them locked, a dump perhaps; later again.
CREATE FUNCTION tandem.outbox_trim() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET enable_seqscan = off SET jit = off
AS $function$
DECLARE
    kept tandem.outbox_window[];
    confirmed tandem.outbox_ack[];
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    -- Small tables are no burden.
    IF pg_relation_size('tandem.outbox_window') + pg_relation_size('tandem.outbox_ack') < 4194304 THEN
        RETURN true;
    END IF;
    LOCK TABLE tandem.outbox_window, tandem.outbox_ack IN ACCESS EXCLUSIVE MODE;
    kept := ARRAY(SELECT w FROM tandem.outbox_sink s, LATERAL (
        SELECT w FROM tandem.outbox_window w WHERE w.sink = s.sink AND w.share = s.share ORDER BY w.number DESC LIMIT 1) l (w));
    confirmed := ARRAY(SELECT a FROM unnest(kept) k, LATERAL (
        SELECT a FROM tandem.outbox_ack a WHERE a.sink = k.sink AND a.share = k.share AND a.number = k.number ORDER BY a.seq DESC LIMIT 1) l (a));
    TRUNCATE tandem.outbox_window, tandem.outbox_ack;
    INSERT INTO tandem.outbox_window SELECT (k).* FROM unnest(kept) k;
    INSERT INTO tandem.outbox_ack SELECT (k).* FROM unnest(confirmed) k;
    RETURN true;
EXCEPTION
    WHEN lock_not_available THEN
        RETURN false;
END
$function$;

-- Sends everything again that was committed since about then, or a few seconds before: duplicates, with new numbers. All shares, or one. NULL: there is no such sink.
-- TD510: no longer there.
CREATE FUNCTION tandem.outbox_replay(sink text, share smallint, since timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    start tandem.outbox_history;
BEGIN
    SELECT * INTO start FROM tandem.outbox_history h WHERE h.at <= $3 ORDER BY h.at DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TD510', MESSAGE = format('nothing is kept of that time; the earliest possible start is %s',
            coalesce((SELECT min(h.at) FROM tandem.outbox_history h)::text, 'now'));
    END IF;
    -- Nobody opens the window of that number meanwhile, and nobody divides the sink.
    IF NOT tandem.outbox_lock($1) THEN
        RETURN NULL;
    END IF;
    WITH moved AS (
        INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
        SELECT s.sink, s.share, p.shares, p.number + 1, p.epoch, start.snapshot, start.seq, start.snapshot, start.seq, start.seq, '{}'
        FROM tandem.outbox_sink s, LATERAL tandem.outbox_position(s.sink, s.share) p
        WHERE s.sink = $1 AND s.share = coalesce($2, s.share)
            -- One that is not that far yet gets all of it anyway, and what is before it, too. Numbers do not tell, which late transactions took long ago: it is that far if what is
            -- open there was open at the start, too.
            AND pg_snapshot_xmax(start.snapshot) <= pg_snapshot_xmax(CASE WHEN p.acked >= p.last_seq THEN p.upto ELSE p.since END)
            AND NOT EXISTS (SELECT FROM pg_snapshot_xip(CASE WHEN p.acked >= p.last_seq THEN p.upto ELSE p.since END) x (xid)
                WHERE pg_visible_in_snapshot(x.xid, start.snapshot))
        RETURNING *
    )
    INSERT INTO tandem.outbox_ack (sink, share, number, seq) SELECT m.sink, m.share, m.number, m.last_seq FROM moved m;
    RETURN start.at;
END
$function$;

-- After a promotion: windows that were opened and not replicated may have been sent under the next numbers, so they are left out, and the window that each share
-- stands in is sent again under a new number: duplicates, no loss. `if_promoted`: only where nobody has done it since the promotion; many relays notice it at the same time.
CREATE FUNCTION tandem.outbox_renumber(if_promoted boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    PERFORM FROM tandem.outbox_settings FOR NO KEY UPDATE;
    IF tandem.outbox_check() = 'restored' THEN
        RAISE EXCEPTION USING ERRCODE = 'TD509', MESSAGE = 'the snapshots are not of this server', HINT = 'tandem.outbox_rebase decides from where on events are sent.';
    ELSIF if_promoted AND tandem.outbox_check() = 'same' THEN
        RETURN;
    END IF;
    PERFORM tandem.outbox_lock(s.sink) FROM (SELECT o.sink FROM tandem.outbox_sink o WHERE o.share = 0 ORDER BY o.sink) s;
    UPDATE tandem.outbox_settings s SET system_identifier = o.system_identifier, timeline = o.timeline, relation = o.relation FROM tandem.outbox_origin() o;
    UPDATE tandem.outbox_sink s SET epoch = s.epoch + 1, holder = NULL, until = '-infinity';
    WITH moved AS (
        INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
        -- Beyond what a server that is gone may have sent, even where this one's clock is behind.
        SELECT s.sink, s.share, p.shares, greatest(p.number + 1000000, date_part('epoch', clock_timestamp())::bigint * 1000), s.epoch,
            -- To a window without an end, of which nothing is confirmed, the next one is joined.
            p.begin, p.begin_seq, p.begin, p.begin_seq, p.begin_seq, '{}'
        FROM tandem.outbox_sink s, LATERAL (
            SELECT p.shares, p.number, CASE WHEN p.acked >= p.last_seq THEN p.upto ELSE p.since END AS begin,
                CASE WHEN p.acked >= p.last_seq THEN p.upto_seq ELSE p.since_seq END AS begin_seq
            FROM tandem.outbox_position(s.sink, s.share) p) p
        RETURNING *
    )
    INSERT INTO tandem.outbox_ack (sink, share, number, seq) SELECT m.sink, m.share, m.number, m.last_seq FROM moved m;
END
$function$;

-- After a restore of a dump, into another server whose transaction ids began anew, or into the same: events after `from_seq` become this transaction's, in their order, and are sent; the
-- others are removed, for ids that come again would bring them back. Nobody may publish meanwhile. Says how many will be sent.
CREATE FUNCTION tandem.outbox_rebase(from_seq bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    sent bigint;
    own xid8;
    -- This transaction is open in it.
    start pg_snapshot;
BEGIN
    PERFORM tandem.outbox_require_read_committed();
    -- The row before the tables, as `outbox_renumber` does it.
    PERFORM FROM tandem.outbox_settings FOR NO KEY UPDATE;
    LOCK TABLE tandem.outbox_window, tandem.outbox_ack, tandem.outbox IN ACCESS EXCLUSIVE MODE;
    own := pg_current_xact_id();
    -- A snapshot counts its own transaction as finished, once one with a later id has ended.
    start := pg_current_snapshot();
    IF own < pg_snapshot_xmax(start) THEN
        SELECT format('%s:%s:%s', least(own, pg_snapshot_xmin(start)), pg_snapshot_xmax(start), string_agg(x.xid::text, ',' ORDER BY x.xid))
        INTO start FROM (SELECT pg_snapshot_xip(start) AS xid UNION SELECT own) x;
    END IF;
    DELETE FROM tandem.outbox o WHERE o.seq <= $1;
    UPDATE tandem.outbox o SET xid = pg_current_xact_id();
    GET DIAGNOSTICS sent = ROW_COUNT;
    DELETE FROM tandem.outbox_history;
    CREATE TEMP TABLE outbox_rebase_numbers ON COMMIT DROP AS
        SELECT w.sink, max(w.number) AS number FROM tandem.outbox_window w GROUP BY w.sink;
    TRUNCATE tandem.outbox_window, tandem.outbox_ack;
    PERFORM tandem.outbox_lock(s.sink) FROM (SELECT o.sink FROM tandem.outbox_sink o WHERE o.share = 0 ORDER BY o.sink) s;
    UPDATE tandem.outbox_settings s SET system_identifier = o.system_identifier, timeline = o.timeline, relation = o.relation FROM tandem.outbox_origin() o;
    UPDATE tandem.outbox_sink s SET epoch = s.epoch + 1, holder = NULL, until = '-infinity';
    WITH moved AS (
        INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late)
        SELECT s.sink, s.share, count(*) OVER (PARTITION BY s.sink), greatest(coalesce(n.number, 0) + 1000000, date_part('epoch', clock_timestamp())::bigint * 1000), s.epoch,
            start, 0, start, 0, 0, '{}'
        FROM tandem.outbox_sink s LEFT JOIN pg_temp.outbox_rebase_numbers n ON n.sink = s.sink
        RETURNING *
    )
    INSERT INTO tandem.outbox_ack (sink, share, number, seq) SELECT m.sink, m.share, m.number, m.last_seq FROM moved m;
    -- The hash of a key may be another one here.
    UPDATE tandem.outbox_parked p SET share = tandem.outbox_share(p.key, p.seq, n.shares)
    FROM (SELECT s.sink, count(*)::smallint AS shares FROM tandem.outbox_sink s GROUP BY s.sink) n WHERE n.sink = p.sink;
    RETURN sent;
END
$function$;

-- Forgets a sink, with what it has refused: it would keep all events. False: there is none of the name. A relay that still runs loses its lease.
CREATE FUNCTION tandem.outbox_remove_sink(sink text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    -- The row before the tables, as `outbox_renumber` does it.
    PERFORM FROM tandem.outbox_settings FOR NO KEY UPDATE;
    -- Nobody else removes or adds it meanwhile.
    IF NOT tandem.outbox_lock($1) THEN
        RETURN false;
    END IF;
    -- An inbox remembers how far the sink was: one of the same name goes on behind it.
    UPDATE tandem.outbox_settings s SET numbers_from = greatest(s.numbers_from, (SELECT max(w.number) + 1 FROM tandem.outbox_window w WHERE w.sink = $1));
    DELETE FROM tandem.outbox_sink s WHERE s.sink = $1;
    DELETE FROM tandem.outbox_parked p WHERE p.sink = $1;
    DELETE FROM tandem.outbox_ack a WHERE a.sink = $1;
    DELETE FROM tandem.outbox_window w WHERE w.sink = $1;
    RETURN true;
END
$function$;

-- How far the sinks are: without counting anything but what transactions have left that were late, at most 100,001. `events` are numbers taken, those of rolled-back transactions included, and those of other shares; the share that is furthest
-- behind counts. `led`: how many of the shares have a relay; `holder` names these.
CREATE FUNCTION tandem.outbox_lag(
    OUT sink text, OUT shares smallint, OUT led smallint, OUT events bigint, OUT behind interval, OUT parked boolean, OUT holder text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off
AS $function$
#variable_conflict use_column
BEGIN
    -- Before the events' table, as everybody does it.
    LOCK TABLE tandem.outbox_window IN ACCESS SHARE MODE;
    RETURN QUERY
    SELECT s.sink, count(*)::smallint, count(*) FILTER (WHERE s.until > clock_timestamp())::smallint,
        max(greatest(current.events_before + (q.last_value & 68719476735)
            - coalesce(past.events_before + (greatest(p.acked, p.since_seq) & 68719476735), 0), 0) + late.events),
        -- The first event that is not confirmed; what is open elsewhere does not count. By one look into the index.
        max(coalesce(clock_timestamp() - late.first, clock_timestamp() - CASE WHEN p.acked >= p.last_seq THEN
            (SELECT o.at FROM tandem.outbox o WHERE o.seq > p.upto_seq ORDER BY o.seq LIMIT 1)
            ELSE (SELECT o.at FROM tandem.outbox o WHERE o.seq > greatest(p.acked, p.since_seq) ORDER BY o.seq LIMIT 1) END, '0')),
        EXISTS (SELECT FROM tandem.outbox_parked k WHERE k.sink = s.sink),
        string_agg(DISTINCT CASE WHEN s.until > clock_timestamp() THEN s.holder END, ', ')
    FROM tandem.outbox_seq q, tandem.outbox_sink s CROSS JOIN LATERAL tandem.outbox_position(s.sink, s.share) p
        -- Their numbers are lower than where the window begins, or the next one will.
        CROSS JOIN LATERAL (SELECT count(*) AS events, min(l.at) AS first FROM (
            SELECT o.at FROM (
                SELECT u.xid, p.acked AS above FROM unnest(p.late) u (xid) WHERE p.acked < p.last_seq
                UNION ALL
                SELECT x.xid, 0 FROM pg_snapshot_xip(p.upto) x (xid)) t
            JOIN tandem.outbox o ON o.xid = t.xid AND o.seq > t.above AND o.seq <= greatest(p.acked, p.since_seq) LIMIT 100001) l) late
        LEFT JOIN tandem.outbox_slot past ON past.lap = greatest(p.acked, p.since_seq) >> 36
        -- That of the lap is not there for the moment of a rotation.
        CROSS JOIN LATERAL (SELECT c.events_before FROM tandem.outbox_slot c WHERE c.lap <= q.last_value >> 36 ORDER BY c.lap DESC LIMIT 1) current
    GROUP BY s.sink;
END
$function$;

REVOKE EXECUTE ON FUNCTION tandem.publish_bytes(text, text, bytea, text, json, uuid, timestamptz), tandem.publish(text, text, json, json, uuid, timestamptz),
    tandem.publish(text, text, jsonb, json, uuid, timestamptz), tandem.publish(text, text, text, json, uuid, timestamptz), tandem.event_id(),
    tandem.outbox_put_aside(text, text, bytea, text, json, uuid, timestamptz),
    tandem.outbox_publish_due(integer), tandem.outbox_origin(), tandem.outbox_check(), tandem.outbox_add_sink(text, smallint, boolean),
    tandem.outbox_require_read_committed(), tandem.outbox_snapshot(), tandem.outbox_position(text, smallint), tandem.outbox_share(text, bigint, smallint),
    tandem.outbox_size(text, text, json, text, bytea), tandem.outbox_require_origin(), tandem.outbox_require_timeline(), tandem.outbox_is_rich(text, smallint, text), tandem.outbox_lock(text), tandem.outbox_claim(text, smallint, text, interval, smallint),
    tandem.outbox_release(text, text, interval, smallint), tandem.outbox_claim_all(text, text, interval, smallint), tandem.outbox_divide(text, text, smallint),
    tandem.outbox_open(text, smallint, bigint, bigint, bigint, boolean), tandem.outbox_read(text, smallint, bigint, bigint, integer, bigint),
    tandem.outbox_acknowledge(text, smallint, bigint, bigint, bigint), tandem.outbox_park(text, smallint, bigint, bigint, bigint[], text, timestamptz, text),
    tandem.outbox_due(text, smallint, integer, bigint),
    tandem.outbox_blockers(integer, boolean), tandem.outbox_rotate(), tandem.outbox_trim(), tandem.outbox_remove_sink(text), tandem.outbox_replay(text, smallint, timestamptz),
    tandem.outbox_renumber(boolean), tandem.outbox_rebase(bigint), tandem.outbox_lag()
    FROM PUBLIC;
