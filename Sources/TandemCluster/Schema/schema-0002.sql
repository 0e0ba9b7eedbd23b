-- The lowest version of the program that works with the schema: a newer schema may be fine for an older program.
ALTER TABLE tandem.schema_version ADD COLUMN needs integer NOT NULL DEFAULT 2;

-- A program inserts its row without naming the kind, so that its right to insert is none to write a tombstone. The proof that the row
-- needs stands in `node`, which must not be NULL either.
ALTER TABLE tandem.branch ALTER COLUMN kind SET DEFAULT 'W';

-- R13, A8: the one statement that decides. 'W': committed. 'A': rolled back, for ever. NULL: too old, nobody can say. The answer counts only once
-- its own transaction has committed without a warning of replication.
CREATE FUNCTION tandem.tombstone(transaction_id uuid, coordinator text DEFAULT NULL) RETURNS "char"
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    answer "char";
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = '25001', MESSAGE = 'tandem.tombstone must run at READ COMMITTED',
            HINT = 'Under any other level a row that it waited for is not visible.';
    END IF;
    PERFORM set_config('lock_timeout', '500', true), set_config('client_min_messages', 'warning', true),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true);
    -- Waits for a row that is being committed, writes the tombstone where there is none, and by DO UPDATE makes this transaction write.
    INSERT INTO tandem.branch AS b (transaction_id, node, kind, coordinator)
    SELECT $1, n.node_id, 'A', coalesce($2, session_user) FROM tandem.node n WHERE n.forgotten < $1
    ON CONFLICT (transaction_id, node) DO UPDATE SET kind = b.kind RETURNING b.kind INTO answer;
    IF FOUND THEN
        RETURN answer;
    END IF;
    -- Behind the horizon nothing is written, and a row that is still needed stands. Its lock is the barrier.
    SELECT b.kind INTO answer FROM tandem.branch b
    WHERE b.transaction_id = $1 AND b.node = (SELECT n.node_id FROM tandem.node n) FOR UPDATE;
    RETURN answer;
END
$function$;

-- R17: no row at or below the horizon is ever written again.
CREATE FUNCTION tandem.raise_horizon(horizon uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF ('x' || substr(replace($1::text, '-', ''), 1, 12))::bit(48)::bigint > extract(epoch FROM clock_timestamp()) * 1000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'the horizon lies in the future', HINT = 'Compare the clocks of the machines.';
    END IF;
    UPDATE tandem.node SET forgotten = $1 WHERE forgotten < $1;
END
$function$;

-- Removes rows behind the horizon, the oldest first, at most so many, and none of the transactions that are kept.
CREATE FUNCTION tandem.forget(horizon uuid, kept uuid[], most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    removed integer;
BEGIN
    DELETE FROM tandem.branch WHERE (transaction_id, node) IN (
        SELECT b.transaction_id, b.node FROM tandem.branch b
        WHERE b.transaction_id <= least($1, (SELECT n.forgotten FROM tandem.node n)) AND b.transaction_id <> ALL ($2)
            -- Whatever the caller believes: what is prepared here still needs its row.
            AND NOT EXISTS (SELECT FROM pg_prepared_xacts p WHERE split_part(p.gid, ':', 3) = b.transaction_id::text)
        ORDER BY b.transaction_id LIMIT $3);
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$function$;

REVOKE EXECUTE ON FUNCTION tandem.tombstone(uuid, text), tandem.raise_horizon(uuid), tandem.forget(uuid, uuid[], integer) FROM PUBLIC;

-- What is prepared in this database for global transactions of its cluster, with the SQL that would finish it. Ask the commit point first: see
-- the runbook.
CREATE VIEW tandem.in_doubt AS
SELECT p.transaction_id, n.name AS node, coalesce(c.name, 'number ' || p.commit_point) AS commit_point, clock_timestamp() - x.prepared AS age,
    x.owner, x.gid, format('COMMIT PREPARED %L', x.gid) AS to_commit, format('ROLLBACK PREPARED %L', x.gid) AS to_roll_back
FROM pg_catalog.pg_prepared_xacts x
CROSS JOIN tandem.node n
CROSS JOIN LATERAL (SELECT string_to_array(x.gid, ':') AS field) f
-- The numbers of nodes are written in base 32. What is no gid of ours, letter for letter, is left out before anything is read as a number.
CROSS JOIN LATERAL (
    SELECT CASE WHEN cardinality(f.field) = 5 AND f.field[1] = 'tandem1' AND f.field[2] = n.cluster
        AND f.field[3] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' AND f.field[4] ~ '^[1-9a-v][0-9a-v]{0,2}$'
        AND f.field[5] ~ '^c[1-9a-v][0-9a-v]{0,2}$' THEN f.field END AS field) g
CROSS JOIN LATERAL (
    SELECT g.field[3]::uuid AS transaction_id,
        (SELECT sum((strpos('0123456789abcdefghijklmnopqrstuv', substr(g.field[4], i, 1)) - 1) * 32 ^ (length(g.field[4]) - i))::integer
         FROM generate_series(1, length(g.field[4])) i) AS branch_node,
        (SELECT sum((strpos('0123456789abcdefghijklmnopqrstuv', substr(g.field[5], i + 1, 1)) - 1) * 32 ^ (length(g.field[5]) - 1 - i))::integer
         FROM generate_series(1, length(g.field[5]) - 1) i) AS commit_point) p
LEFT JOIN tandem.member c ON c.node_id = p.commit_point
WHERE x.database = current_database() AND g.field IS NOT NULL AND p.branch_node = n.node_id
ORDER BY x.prepared;
