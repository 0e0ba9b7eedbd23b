import TandemCore
import TandemSagas
import Testing

@testable import TandemConfiguration

@Suite("A saga in a file")
struct SagaFileTests {
    private func steps(_ text: String) throws -> [SagaDefinition.Step] {
        let indented = text.split(separator: "\n", omittingEmptySubsequences: false).map { "  \($0)" }.joined(separator: "\n")
        return try SagaFile.parse("saga: s\nversion: 1\nsteps:\n\(indented)\n", name: "s.yaml").steps
    }

    @Test("an event has its topic, key, payload and headers, and is undone by another event, by SQL or by nothing")
    func event() throws {
        let read = try steps(
            """
            first:
              node: n1
              outbox: {topic: order.created, key: "{input.customer}", payload: {id: "{input.id}", lines: [1.50]}, headers: {by: "{saga_id}"}}
              undo: {outbox: {topic: order.cancelled}}
            second:
              node: n2
              outbox: {topic: order.noted}
              undo: DELETE FROM noted
            third: {node: n2, outbox: {topic: order.noted}, undo: none}
            fourth:
              node: n1
              do: DELETE FROM cart
              undo: {outbox: {topic: cart.lost}}
            """)
        let event = SagaDefinition.Event(
            topic: "order.created", key: "{input.customer}", payload: #"{"id":"{input.id}","lines":[1.50]}"#, headers: ["by": "{saga_id}"])
        #expect(read[0].action == .outbox("n1", event) && read[0].undo == .outbox(.init(topic: "order.cancelled")))
        #expect(read[1].undo == .sql([.init("DELETE FROM noted")]) && read[2].undo == SagaDefinition.Undo.none)
        #expect(read[3].undo == .outbox(.init(topic: "cart.lost")))
    }

    @Test(
        "an event without a node, without a topic, with a value that is not there, and one that nothing undoes, are refused with their line",
        arguments: [
            ("a: {outbox: {topic: t}, undo: none}", "node"), ("a: {node: n1, outbox: {key: k}, undo: none}", "topic"),
            ("a: {node: n1, outbox: {topic: \"{other.id}\"}, undo: none}", "other.id"), ("a: {node: n1, outbox: {topic: t}}", "undoes"),
            ("a: {node: n1, outbox: {topic: t}, undo: {http: {post: \"http://a\"}}}", "http"),
        ])
    func refused(_ text: String, _ part: String) {
        let error = #expect(throws: TandemError.self) { try steps(text) }
        #expect(error?.code == .configurationInvalid)
        #expect(error?.message.contains("s.yaml:4") == true && "\(String(describing: error))".contains(part), "\(String(describing: error))")
    }
}
