public import TandemCluster

extension SchemaModule {
    /// The inbox of every node: what was received, queues, and dead letters.
    public static let inbox = SchemaModule(
        "inbox", steps: [Step(version: 1, needs: 1, sql: PackageResources.inbox_0001_sql)],
        removal: [
            "DROP FUNCTION IF EXISTS \(callable), tandem.inbox_day(uuid)",
            """
            DROP TABLE tandem.inbox, tandem.inbox_timeless, tandem.inbox_attempt, tandem.inbox_dead, tandem.inbox_position, tandem.inbox_queue
            """,
            "DROP SEQUENCE tandem.inbox_floor",
        ],
        grants: [
            "GRANT EXECUTE ON FUNCTION \(callable) TO ROLE", "GRANT SELECT, INSERT, DELETE ON tandem.inbox_queue TO ROLE",
            "GRANT SELECT ON tandem.inbox_dead TO ROLE",
        ])

    private static let callable = """
        tandem.message_id(text), tandem.receive(text, uuid), tandem.receive(text, text), tandem.receive_many(text, uuid[]), \
        tandem.receive_in_order(text, text, integer, bigint, bigint), \
        tandem.inbox_deliver(text, text, text, bigint[], bigint[], uuid[], text[], text[], text[], text[], timestamptz[], bytea, bigint[]), \
        tandem.inbox_fail(text, uuid, text, integer, text, text, text, json, text, bytea, boolean), tandem.inbox_take_dead(text, uuid), tandem.inbox_queue_fail(text, bigint, text, integer), \
        tandem.inbox_forget(integer), tandem.inbox_sweep(bigint, integer, integer)
        """
}
