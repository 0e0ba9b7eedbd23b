-- Idempotency: what was done under a key, and the answer to give whoever asks for it again. One row a key; the unique index is the only arbiter.
-- A row is written in the transaction of the effects (`once`), so it waits, commits, rolls back and is prepared with them; or it is a claim that
-- is committed before a foreign call and fenced by its token (`phased`).
CREATE TABLE tandem.idempotency (
    -- Compared byte by byte: no collation of an operating system can ever break the uniqueness.
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    -- The transaction, not the subtransaction, that used the key: by it a transaction knows its own row, whatever savepoints it set.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- From then on the key counts as absent. Not indexed: an index costs every use more than the sweep costs, and updates stay on their page.
    expires_at timestamptz NOT NULL,
    -- A claim: in progress as long as `locked_until` is set, free for the next one once it is over. NULL: done.
    token uuid,
    locked_until timestamptz,
    recovery_point text,
    saga_id uuid,
    -- The answer. `json`, not `jsonb`, which would forget order, doubles and spaces.
    status integer,
    headers json,
    body bytea,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, toast.autovacuum_vacuum_scale_factor = 0.05,
        toast.autovacuum_vacuum_threshold = 1000);

-- A program that writes the table itself, for speed, sees and changes only the rows of its own open transaction: it can neither read nor forge nor
-- erase what others stored. The functions below belong to the owner, whom this does not bind.
ALTER TABLE tandem.idempotency ENABLE ROW LEVEL SECURITY;

-- Inserting is not limited by the row but by the columns that are granted: `xid` is the server's.
CREATE POLICY own_transaction ON tandem.idempotency USING (xid = pg_current_xact_id_if_assigned()) WITH CHECK (true);

-- One hash over several parts, each preceded by its length, so that ('ab', 'c') and ('a', 'bc') differ, and an empty part and none. Of a single
-- part that needs no company, sha256(bytea) is as good.
CREATE FUNCTION tandem.fingerprint(VARIADIC parts bytea[]) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT sha256(coalesce(string_agg(int8send(coalesce(octet_length(p.part), -1)) || coalesce(p.part, ''), '' ORDER BY p.number), ''))
    FROM unnest($1) WITH ORDINALITY p (part, number)
$function$;

-- What may stand in a row, in one place. This function and the other helpers run under the search_path of those that call them, which are all below;
-- nobody else may. Setting it again would cost each call about as much as a look into the index.
CREATE FUNCTION tandem.idempotency_check(scope text, key text, keep interval, headers json, body bytea) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $function$
BEGIN
    -- An empty key is a header that was not sent: it would make all such requests one.
    IF $1 IS NULL OR $2 IS NULL OR $2 = '' OR octet_length($1) + octet_length($2) > 1024 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'scope and key must be given, the key not empty, both together at most 1024 bytes';
    END IF;
    IF $3 IS NULL OR $3 <= '0' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a key must be kept for some time';
    END IF;
    IF octet_length($5) > 1048576 OR octet_length($4::text) > 65536 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD413', MESSAGE = 'the response is too large to be stored',
            DETAIL = format('body %s of 1048576 bytes, headers %s of 65536', octet_length($5), octet_length($4::text)),
            HINT = 'Store a reference to it.';
    END IF;
END
$function$;

-- How long somebody who is told "in progress" should wait. A saga ends when it ends.
CREATE FUNCTION tandem.idempotency_retry(locked_until timestamptz) RETURNS interval
LANGUAGE sql VOLATILE
AS $function$
    SELECT CASE WHEN isfinite($1) THEN greatest($1 - clock_timestamp(), '1 second') ELSE '5 seconds' END
$function$;

-- Takes a key: NULL when it is now this transaction's, else the row that stands in the way. A claim where `token` is given.
--
-- The order of observations, at READ COMMITTED, where each statement sees what was committed before it:
-- 1. The SELECT sees what was committed when the request came. A use that it does not see and that commits later is concurrent with this request,
--    which then never repeats it, even when that use has outlived its own time meanwhile (`concurrent`).
-- 2. No row: the INSERT waits for whoever else is inserting the key, at most lock_timeout (55P03). If that one rolls back, the key is ours. If it
--    commits, nothing is inserted, and the next SELECT sees its row.
-- 3. An expired row: it is taken over in place, by an UPDATE of exactly the row that was judged (`xid` and `expires_at`). It waits for another who
--    takes over, or revives, or sweeps the row. If that one commits, the UPDATE, which looks at the row anew, finds 0 rows, and we look again.
-- So among any number of requests exactly one inserts or updates, and every other one finds its row.
-- The SELECT comes first also because a replay then writes nothing and uses up no transaction id.
-- At REPEATABLE READ and SERIALIZABLE the INSERT and the UPDATE fail with 40001 where they would have found a row that the snapshot does not show:
-- the caller repeats its transaction, as it must at these levels anyway, and then sees it.
CREATE FUNCTION tandem.idempotency_take(
    scope text, key text, fingerprint bytea, keep interval, status integer, headers json, body bytea,
    token uuid DEFAULT NULL, locked_until timestamptz DEFAULT NULL, saga_id uuid DEFAULT NULL) RETURNS tandem.idempotency
LANGUAGE plpgsql VOLATILE
AS $function$
#variable_conflict use_column
DECLARE
    there tandem.idempotency;
    concurrent boolean := false;
    expiry timestamptz;
    taken boolean := false;
    is_unbounded boolean := current_setting('lock_timeout') = '0';
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $4, $6, $7);
    IF $3 IS NULL OR octet_length($3) <> 32 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the fingerprint must be a SHA-256 hash, 32 bytes',
            HINT = 'Use sha256(...) or tandem.fingerprint(...) over the bytes of the request.';
    END IF;
    -- No wait without an end: a prepared branch may hold the key for days. The session's own limit, where it has one.
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '10s', true);
    END IF;
    -- Never kept for a shorter time than it is locked; with a saga, whose end nobody knows, until that has ended.
    expiry := greatest(clock_timestamp(), $9) + $4;
    FOR attempt IN 1..8 LOOP
        SELECT * INTO there FROM tandem.idempotency i WHERE i.scope = $1 AND i.key = $2;
        IF NOT FOUND THEN
            INSERT INTO tandem.idempotency (scope, key, fingerprint, expires_at, token, locked_until, saga_id, status, headers, body)
            VALUES ($1, $2, $3, expiry, $8, $9, $10, $5, $6, $7)
            ON CONFLICT DO NOTHING;
        ELSIF there.expires_at <= clock_timestamp() AND NOT concurrent THEN
            UPDATE tandem.idempotency i
            SET fingerprint = $3, xid = pg_current_xact_id(), expires_at = expiry, token = $8, locked_until = $9, recovery_point = NULL,
                saga_id = $10, status = $5, headers = $6, body = $7
            WHERE i.scope = $1 AND i.key = $2 AND i.xid = there.xid AND i.expires_at = there.expires_at;
        ELSE
            EXIT;
        END IF;
        -- Kept in a variable: PERFORM sets FOUND as well.
        taken := FOUND;
        there := NULL;
        EXIT WHEN taken;
        concurrent := true;
    END LOOP;
    -- The effects have the caller's own limit.
    IF is_unbounded THEN
        PERFORM set_config('lock_timeout', '0', true);
    END IF;
    IF taken THEN
        RETURN NULL;
    END IF;
    IF there.key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the key changed hands too often while it was looked at', HINT = 'Try again.';
    ELSIF there.fingerprint <> $3 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD422', MESSAGE = 'the key was used for another request';
    ELSIF there.xid = pg_current_xact_id_if_assigned() AND there.status IS NULL AND there.locked_until IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'TD409', MESSAGE = 'this very transaction has begun the key and not finished it';
    END IF;
    RETURN there;
END
$function$;

-- Begins a use in the caller's transaction. 'first': do it, then once_finish, then COMMIT or PREPARE TRANSACTION. 'replay': give the stored answer
-- and do nothing; a status of NULL is a use that committed without an answer. 'in_progress': a phased use, ask again after `retry_after`.
-- 55P03: another use is not decided yet, and the wait for it is over.
CREATE FUNCTION tandem.once_begin(
    scope text, key text, fingerprint bytea, keep interval DEFAULT '1 day',
    OUT outcome text, OUT status integer, OUT headers json, OUT body bytea, OUT retry_after interval)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    there tandem.idempotency;
BEGIN
    there := tandem.idempotency_take($1, $2, $3, $4, NULL, NULL, NULL);
    IF there.key IS NULL THEN
        outcome := 'first';
    ELSIF there.locked_until IS NULL THEN
        outcome := 'replay';
        status := there.status;
        headers := there.headers;
        body := there.body;
    ELSE
        outcome := 'in_progress';
        retry_after := tandem.idempotency_retry(there.locked_until);
    END IF;
END
$function$;

-- Stores the answer of the use that this transaction has begun, and counts its time anew: that of a long transaction must not be over at its end.
CREATE FUNCTION tandem.once_finish(
    scope text, key text, status integer, headers json DEFAULT NULL, body bytea DEFAULT NULL, keep interval DEFAULT '1 day') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $6, $4, $5);
    -- Only the transaction that wrote the row can see it with its own xid.
    UPDATE tandem.idempotency i SET expires_at = clock_timestamp() + $6, status = $3, headers = $4, body = $5
    WHERE i.scope = $1 AND i.key = $2 AND i.xid = pg_current_xact_id_if_assigned() AND i.locked_until IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TD412', MESSAGE = 'this transaction has not begun the key',
            HINT = 'tandem.once_begin must have answered first in the same transaction.';
    END IF;
END
$function$;

-- A whole use in one statement, for an answer that is known before; or, without one, a beginning that fails where the key was used, so that the
-- effects can travel in the same message: TD208, which rolls them back. Then tandem.idempotency_look_up has the answer.
CREATE FUNCTION tandem.once(
    scope text, key text, fingerprint bytea, status integer DEFAULT NULL, headers json DEFAULT NULL, body bytea DEFAULT NULL,
    keep interval DEFAULT '1 day') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    there tandem.idempotency;
BEGIN
    there := tandem.idempotency_take($1, $2, $3, $7, $4, $5, $6);
    IF there.key IS NULL THEN
        RETURN;
    ELSIF there.locked_until IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'TD208', MESSAGE = 'the key was used before', HINT = 'tandem.idempotency_look_up has the answer.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'TD409', MESSAGE = 'the key is in use', HINT = 'Try again later.';
END
$function$;

-- What is known of a key: 'absent', 'replay' or 'in_progress'. It waits for nobody: a use that is not committed is absent. So it answers, and
-- never permits: only taking the key does that.
CREATE FUNCTION tandem.idempotency_look_up(
    scope text, key text, fingerprint bytea,
    OUT outcome text, OUT status integer, OUT headers json, OUT body bytea, OUT retry_after interval, OUT saga_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    there tandem.idempotency;
BEGIN
    SELECT * INTO there FROM tandem.idempotency i WHERE i.scope = $1 AND i.key = $2 AND i.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        outcome := 'absent';
    ELSIF there.fingerprint IS DISTINCT FROM $3 THEN
        RAISE EXCEPTION USING ERRCODE = 'TD422', MESSAGE = 'the key was used for another request';
    ELSIF there.locked_until IS NULL THEN
        outcome := 'replay';
        status := there.status;
        headers := there.headers;
        body := there.body;
        saga_id := there.saga_id;
    ELSE
        outcome := 'in_progress';
        retry_after := tandem.idempotency_retry(there.locked_until);
        saga_id := there.saga_id;
    END IF;
END
$function$;

-- What the transaction of a claim needs: to be durable before the foreign call that follows it, since a claim that a crash can take back would let
-- two make the call; and no wait without an end, where the session sets none.
CREATE FUNCTION tandem.phased_settings() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $function$
BEGIN
    PERFORM set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
        set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '10s' ELSE current_setting('lock_timeout') END, true);
END
$function$;

-- Claims a key for work with foreign calls, in a transaction of its own that is committed before the first call. 'claimed': go on after
-- `recovery_point`, from the start where it is NULL, until `locked_until`; the token fences whoever had the claim before. 'replay': done before.
-- 'in_progress': somebody else has it. With a saga, which has its own fencing, the lock does not end by itself.
CREATE FUNCTION tandem.phased_claim(
    scope text, key text, fingerprint bytea, hold interval DEFAULT '1 minute', keep interval DEFAULT '1 day', saga uuid DEFAULT NULL,
    OUT outcome text, OUT token uuid, OUT locked_until timestamptz, OUT recovery_point text, OUT saga_id uuid,
    OUT status integer, OUT headers json, OUT body bytea, OUT retry_after interval)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    there tandem.idempotency;
    own uuid := gen_random_uuid();
    until timestamptz;
BEGIN
    IF $4 IS NULL OR $4 <= '0' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a claim must hold for some time';
    END IF;
    PERFORM tandem.phased_settings();
    FOR attempt IN 1..8 LOOP
        until := CASE WHEN $6 IS NULL THEN clock_timestamp() + $4 ELSE 'infinity' END;
        there := tandem.idempotency_take($1, $2, $3, $5, NULL, NULL, NULL, own, until, $6);
        IF there.key IS NULL THEN
            outcome := 'claimed';
            token := own;
            locked_until := until;
            saga_id := $6;
            RETURN;
        END IF;
        saga_id := there.saga_id;
        IF there.locked_until IS NULL THEN
            outcome := 'replay';
            status := there.status;
            headers := there.headers;
            body := there.body;
            RETURN;
        ELSIF there.locked_until > clock_timestamp() THEN
            outcome := 'in_progress';
            retry_after := tandem.idempotency_retry(there.locked_until);
            RETURN;
        END IF;
        -- Its lock is over. Taken over only as it was judged: a claimer who renews, ends or loses it meanwhile has changed one of the two. Waits for
        -- a phase of the old claimer that is being committed, at most lock_timeout.
        UPDATE tandem.idempotency i SET token = own, locked_until = until, expires_at = until + $5, saga_id = $6
        WHERE i.scope = $1 AND i.key = $2 AND i.token = there.token AND i.locked_until = there.locked_until;
        IF FOUND THEN
            outcome := 'claimed';
            token := own;
            locked_until := until;
            recovery_point := there.recovery_point;
            saga_id := $6;
            RETURN;
        END IF;
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the key changed hands too often while it was looked at', HINT = 'Try again.';
END
$function$;

-- Passes a recovery point, in the transaction of the phase's own effects, and renews the lock; without one it only renews. With a saga it binds
-- the claim to it. TD412: another has taken the claim over, and the phase must roll back.
CREATE FUNCTION tandem.phased_advance(
    scope text, key text, token uuid, recovery_point text DEFAULT NULL, hold interval DEFAULT '1 minute', keep interval DEFAULT '1 day',
    saga uuid DEFAULT NULL) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    until timestamptz;
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $6, NULL, NULL);
    IF $5 IS NULL OR $5 <= '0' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a claim must hold for some time';
    END IF;
    PERFORM tandem.phased_settings();
    -- A lock that is over and that nobody took over still belongs to its claimer. The row stays locked until this phase has ended, so that no other
    -- can take over in its middle.
    UPDATE tandem.idempotency i
    SET recovery_point = coalesce($4, i.recovery_point), saga_id = coalesce($7, i.saga_id),
        locked_until = CASE WHEN coalesce($7, i.saga_id) IS NULL THEN clock_timestamp() + $5 ELSE 'infinity' END,
        expires_at = CASE WHEN coalesce($7, i.saga_id) IS NULL THEN clock_timestamp() + $5 + $6 ELSE 'infinity' END
    WHERE i.scope = $1 AND i.key = $2 AND i.token = $3 AND i.locked_until IS NOT NULL
    RETURNING i.locked_until INTO until;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TD412', MESSAGE = 'the claim is not held under this token any more';
    END IF;
    RETURN until;
END
$function$;

-- Ends a claim with its answer. Twice under the same token, as after a lost reply, is once: the first answer stays. TD412: fenced.
CREATE FUNCTION tandem.phased_complete(
    scope text, key text, token uuid, status integer, headers json DEFAULT NULL, body bytea DEFAULT NULL, keep interval DEFAULT '1 day') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $7, $5, $6);
    PERFORM tandem.phased_settings();
    UPDATE tandem.idempotency i SET locked_until = NULL, expires_at = clock_timestamp() + $7, status = $4, headers = $5, body = $6
    WHERE i.scope = $1 AND i.key = $2 AND i.token = $3 AND i.locked_until IS NOT NULL;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM tandem.idempotency i WHERE i.scope = $1 AND i.key = $2 AND i.token = $3) THEN
        RAISE EXCEPTION USING ERRCODE = 'TD412', MESSAGE = 'the claim is not held under this token any more';
    END IF;
END
$function$;

-- Ends a claim that is bound to a saga with the answer that follows from the saga's end: whoever asks may, since the saga decides, and its claimer may be gone.
-- Another saga, or none: TD412. Twice is once.
CREATE FUNCTION tandem.phased_settle(
    scope text, key text, saga uuid, status integer, headers json DEFAULT NULL, body bytea DEFAULT NULL, keep interval DEFAULT '1 day') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $7, $5, $6);
    PERFORM tandem.phased_settings();
    UPDATE tandem.idempotency i SET locked_until = NULL, expires_at = clock_timestamp() + $7, status = $4, headers = $5, body = $6
    WHERE i.scope = $1 AND i.key = $2 AND i.saga_id = $3 AND i.locked_until IS NOT NULL;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM tandem.idempotency i WHERE i.scope = $1 AND i.key = $2 AND i.saga_id = $3) THEN
        RAISE EXCEPTION USING ERRCODE = 'TD412', MESSAGE = 'the claim is not bound to this saga';
    END IF;
END
$function$;

-- Gives a claim back before its time, that of a saga too: the next one goes on at the recovery point at once. To forget it leaves the key free, for
-- another request too: only where nothing was done, or all is undone. TD412: fenced.
CREATE FUNCTION tandem.phased_release(scope text, key text, token uuid, forget boolean DEFAULT false, keep interval DEFAULT '1 day') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM tandem.idempotency_check($1, $2, $5, NULL, NULL);
    PERFORM tandem.phased_settings();
    IF $4 THEN
        DELETE FROM tandem.idempotency i WHERE i.scope = $1 AND i.key = $2 AND i.token = $3 AND i.locked_until IS NOT NULL;
    ELSE
        -- Another token, so that who gave it back cannot go on with it.
        UPDATE tandem.idempotency i SET token = gen_random_uuid(), locked_until = clock_timestamp(), expires_at = clock_timestamp() + $5,
            saga_id = NULL
        WHERE i.scope = $1 AND i.key = $2 AND i.token = $3 AND i.locked_until IS NOT NULL;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TD412', MESSAGE = 'the claim is not held under this token any more';
    END IF;
END
$function$;

-- Removes what has expired from some pages of the table and says where to go on; NULL: the end, begin again at 0 when the next round is due. A round
-- reads every page once, whatever is dead and cannot go yet, and no batch is longer than its pages.
CREATE FUNCTION tandem.idempotency_sweep(from_page bigint, pages integer DEFAULT 256, OUT removed integer, OUT next_page bigint)
-- A plan made while the table was small would read all of it for each batch.
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $function$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    IF $1 < 0 OR $2 NOT BETWEEN 1 AND 65536 OR $1 + $2 > 4294967295 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'no such pages';
    END IF;
    -- A row that somebody is changing is skipped: he may be reusing its key, and may be a prepared branch that is in doubt for days. What was
    -- changed since this statement began is judged anew as it is locked.
    DELETE FROM tandem.idempotency i WHERE i.ctid = ANY (ARRAY(
        SELECT e.ctid FROM tandem.idempotency e
        WHERE e.ctid >= format('(%s,0)', $1)::tid AND e.ctid < format('(%s,0)', $1 + $2)::tid AND e.expires_at <= now
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF $1 + $2 < pg_relation_size('tandem.idempotency') / current_setting('block_size')::bigint THEN
        next_page := $1 + $2;
    END IF;
END
$function$;

-- For whoever examines the node: of a sample of pages, how many keys there are, and how many of them have expired so many seconds ago or earlier.
CREATE FUNCTION tandem.idempotency_sample(sample float8, late integer, OUT seen bigint, OUT overdue bigint, OUT pages bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    pages := pg_relation_size('tandem.idempotency') / current_setting('block_size')::bigint;
    SELECT count(*), count(*) FILTER (WHERE i.expires_at < clock_timestamp() - $2 * interval '1 second') INTO seen, overdue
    FROM tandem.idempotency i TABLESAMPLE SYSTEM (least(100, 100 * $1 / greatest(pages, 1)));
END
$function$;

REVOKE EXECUTE ON FUNCTION tandem.fingerprint(bytea[]), tandem.idempotency_check(text, text, interval, json, bytea),
    tandem.idempotency_retry(timestamptz),
    tandem.idempotency_take(text, text, bytea, interval, integer, json, bytea, uuid, timestamptz, uuid),
    tandem.once_begin(text, text, bytea, interval), tandem.once_finish(text, text, integer, json, bytea, interval),
    tandem.once(text, text, bytea, integer, json, bytea, interval), tandem.idempotency_look_up(text, text, bytea),
    tandem.phased_claim(text, text, bytea, interval, interval, uuid),
    tandem.phased_advance(text, text, uuid, text, interval, interval, uuid),
    tandem.phased_complete(text, text, uuid, integer, json, bytea, interval), tandem.phased_release(text, text, uuid, boolean, interval), tandem.phased_settings(),
    tandem.phased_settle(text, text, uuid, integer, json, bytea, interval),
    tandem.idempotency_sweep(bigint, integer), tandem.idempotency_sample(float8, integer) FROM PUBLIC;
