package import TandemPostgres

/// A message that finishes prepared branches: one COMMIT PREPARED or ROLLBACK PREPARED a segment, each outside a block, and around them what
/// their node needs.
package struct FinishingMessage: Sendable {
    /// What is sent.
    package let segments: [[Statement]]
    private let isFramed: Bool

    init(_ inner: [[Statement]], before: [Statement], after: [Statement]) {
        isFramed = !before.isEmpty
        segments = isFramed ? [before] + inner + [after] : inner
    }

    /// The answers to the segments that finish branches, in their order.
    package func answers(in reply: BatchReply) -> ArraySlice<SegmentReply> {
        isFramed ? reply.segments.dropFirst().dropLast() : reply.segments[...]
    }
}
