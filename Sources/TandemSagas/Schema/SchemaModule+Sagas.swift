public import TandemCluster

extension SchemaModule {
    /// The tables of sagas: their home node's, and the records of their steps on every node.
    public static let sagas = SchemaModule(
        "sagas",
        steps: [Step(version: 1, needs: 1, sql: PackageResources.saga_0001_sql)],
        removal: [
            "DROP FUNCTION IF EXISTS tandem.saga_take_lock(text, uuid, text)",
            "DROP TABLE tandem.saga_lock, tandem.saga_step, tandem.saga_signal, tandem.saga_journal, tandem.saga, tandem.saga_definition",
        ],
        grants: [
            """
            GRANT SELECT, INSERT, UPDATE, DELETE ON tandem.saga_lock, tandem.saga_step, tandem.saga_signal, tandem.saga_journal, tandem.saga, \
            tandem.saga_definition TO ROLE
            """
        ])
}
