import CLibPQ
package import TandemCore

/// An error as the server reported it: the fields that decisions and messages need.
package struct ServerError: Error, Sendable {
    package let severity: String
    package let sqlState: SQLState
    package let message: String
    package let detail: String?
    package let hint: String?
    package let constraint: String?
    /// The schema, table and column that the error is about.
    package let schema: String?, table: String?, column: String?
    package let routine: String?

    /// The session ends with it: whatever was under way may or may not have happened.
    package var isFatal: Bool { severity == "FATAL" || severity == "PANIC" }

    /// A prepared statement does not fit its tables any more, or is gone: the same text, prepared again, works.
    package var isOfStalePlan: Bool {
        (sqlState == .featureNotSupported && routine == "RevalidateCachedQuery") || sqlState.rawValue == "26000"
    }

    init(_ result: OpaquePointer) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        // 'V' is the severity that is never translated (PG_DIAG_SEVERITY_NONLOCALIZED).
        // A pooler's own errors have only the other one.
        severity = field(Self.code("V")) ?? field(Self.code("S")) ?? "ERROR"
        sqlState = field(Self.code("C")).flatMap { SQLState(rawValue: $0) } ?? .connectionException
        message = field(Self.code("M")) ?? String(cString: PQresultErrorMessage(result)).trimmed
        detail = field(Self.code("D"))
        hint = field(Self.code("H"))
        constraint = field(Self.code("n"))
        schema = field(Self.code("s"))
        table = field(Self.code("t"))
        column = field(Self.code("c"))
        routine = field(Self.code("R"))
    }

    private static func code(_ letter: UnicodeScalar) -> Int32 { Int32(letter.value) }
}

extension String {
    /// Without white space at either end, where libpq puts a line feed.
    var trimmed: String {
        var text = self[...]
        while text.last?.isWhitespace == true { text.removeLast() }
        while text.first?.isWhitespace == true { text.removeFirst() }
        return String(text)
    }
}
