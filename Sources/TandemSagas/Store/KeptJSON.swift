import TandemCore

/// What is kept of a saga as JSON: its input, signals and outputs.
enum KeptJSON {
    /// The most bytes of one.
    static let most = 256 << 10

    /// Refuses what is too long.
    ///
    /// - Parameters:
    ///   - text: the JSON.
    ///   - what: what errors call it.
    ///   - effect: what became of the transaction that would have kept it.
    /// - Throws: `resultTooLarge`.
    static func checkSize(_ text: String, _ what: String, effect: TandemError.Effect = .none) throws(TandemError) {
        guard text.utf8.count <= most else {
            throw TandemError(
                .resultTooLarge, "\(what) has \(text.utf8.count) bytes; \(most) are the most", effect: effect,
                nextStep: "keep the data in a table, and here its key")
        }
    }

    /// Refuses what is no JSON, or too long.
    ///
    /// - Parameters:
    ///   - text: what a caller gave.
    ///   - what: what errors call it.
    ///   - example: what it may look like.
    /// - Throws: `configurationInvalid`, `resultTooLarge`.
    static func check(_ text: String, _ what: String, example: String) throws(TandemError) {
        do { _ = try JSON(reading: text) } catch {
            throw TandemError(.configurationInvalid, "\(what) is no JSON: \(error)", nextStep: "write a value, as \(example)")
        }
        try checkSize(text, what)
    }
}
