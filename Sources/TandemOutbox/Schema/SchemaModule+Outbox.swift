public import TandemCluster

extension SchemaModule {
    /// The outbox of every node: events, their windows, and what is set aside.
    public static let outbox = SchemaModule(
        "outbox", steps: [Step(version: 1, needs: 1, sql: PackageResources.outbox_0001_sql)],
        removal: [
            "DROP FUNCTION IF EXISTS \(publishing), \(reading), \(inner)",
            """
            DROP TABLE tandem.outbox, tandem.outbox_settings, tandem.outbox_slot, tandem.outbox_delayed, tandem.outbox_sink, tandem.outbox_window, \
            tandem.outbox_ack, tandem.outbox_history, tandem.outbox_parked
            """,
            "DROP SEQUENCE tandem.outbox_seq",
        ],
        grants: [
            "GRANT EXECUTE ON FUNCTION \(publishing), \(reading) TO ROLE",
            "GRANT SELECT ON tandem.outbox, tandem.outbox_sink TO ROLE", "GRANT UPDATE (until) ON tandem.outbox_sink TO ROLE",
            "GRANT SELECT, UPDATE, DELETE ON tandem.outbox_parked TO ROLE",
        ])

    private static let publishing = """
        tandem.publish_bytes(text, text, bytea, text, json, uuid, timestamptz), tandem.publish(text, text, json, json, uuid, timestamptz), \
        tandem.publish(text, text, jsonb, json, uuid, timestamptz), tandem.publish(text, text, text, json, uuid, timestamptz)
        """
    private static let reading = """
        tandem.outbox_publish_due(integer), tandem.outbox_check(), tandem.outbox_add_sink(text, smallint, boolean), tandem.outbox_position(text, smallint), \
        tandem.outbox_claim(text, smallint, text, interval, smallint), tandem.outbox_claim_all(text, text, interval, smallint), \
        tandem.outbox_release(text, text, interval, smallint), tandem.outbox_divide(text, text, smallint), tandem.outbox_open(text, smallint, bigint, bigint, bigint, boolean), \
        tandem.outbox_read(text, smallint, bigint, bigint, integer, bigint), tandem.outbox_acknowledge(text, smallint, bigint, bigint, bigint), \
        tandem.outbox_park(text, smallint, bigint, bigint, bigint[], text, timestamptz, text), tandem.outbox_due(text, smallint, integer, bigint), \
        tandem.outbox_blockers(integer, boolean), tandem.outbox_rotate(), \
        tandem.outbox_trim(), tandem.outbox_remove_sink(text), tandem.outbox_replay(text, smallint, timestamptz), tandem.outbox_renumber(boolean), \
        tandem.outbox_rebase(bigint), tandem.outbox_lag()
        """
    private static let inner = """
        tandem.event_id(), tandem.outbox_put_aside(text, text, bytea, text, json, uuid, timestamptz), tandem.outbox_origin(), \
        tandem.outbox_require_read_committed(), tandem.outbox_snapshot(), tandem.outbox_size(text, text, json, text, bytea), tandem.outbox_share(text, bigint, smallint), tandem.outbox_require_origin(), tandem.outbox_require_timeline(), \
        tandem.outbox_is_rich(text, smallint, text), tandem.outbox_lock(text)
        """
}
