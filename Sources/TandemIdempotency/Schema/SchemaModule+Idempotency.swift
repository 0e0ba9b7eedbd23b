public import TandemCluster

extension SchemaModule {
    /// The table of idempotency keys and its functions, for callers in any language.
    public static let idempotency = SchemaModule(
        "idempotency", steps: [Step(version: 1, needs: 1, sql: PackageResources.idempotency_0001_sql)],
        removal: ["DROP FUNCTION IF EXISTS \(callable), \(inner)", "DROP TABLE tandem.idempotency"],
        grants: [
            "GRANT EXECUTE ON FUNCTION \(callable) TO ROLE",
            // Row security lets it see and change only what its own open transaction has inserted.
            "GRANT INSERT (scope, key, fingerprint, expires_at, status, headers, body) ON tandem.idempotency TO ROLE",
            "GRANT SELECT, UPDATE (expires_at, status, headers, body) ON tandem.idempotency TO ROLE",
        ])

    private static let callable = """
        tandem.fingerprint(bytea[]), tandem.once_begin(text, text, bytea, interval), \
        tandem.once_finish(text, text, integer, json, bytea, interval), tandem.once(text, text, bytea, integer, json, bytea, interval), \
        tandem.idempotency_look_up(text, text, bytea), tandem.phased_claim(text, text, bytea, interval, interval, uuid), \
        tandem.phased_advance(text, text, uuid, text, interval, interval, uuid), \
        tandem.phased_complete(text, text, uuid, integer, json, bytea, interval), tandem.phased_settle(text, text, uuid, integer, json, bytea, interval), \
        tandem.phased_release(text, text, uuid, boolean, interval), tandem.idempotency_sweep(bigint, integer), \
        tandem.idempotency_sample(float8, integer)
        """
    private static let inner = """
        tandem.phased_settings(), tandem.idempotency_retry(timestamptz), tandem.idempotency_check(text, text, interval, json, bytea), \
        tandem.idempotency_take(text, text, bytea, interval, integer, json, bytea, uuid, timestamptz, uuid)
        """
}
