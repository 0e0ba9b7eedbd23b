import Tandem
import TandemCore

extension OperationResult {
    /// The result as data.
    var json: JSON {
        .object([
            ("node", .string(node.rawValue)), ("rows", .number(rows)), ("columns", .array(columns.map { .string($0.name) })),
            ("values", .array(values.map { row in .array(zip(row, columns).map { JSON(value: $0, type: $1.type) }) })),
        ])
    }
}

extension JSON {
    /// A value of the server. What many readers of JSON would round comes as a string: `numeric`, and integers beyond 2^53.
    init(value: String?, type: PostgresType) {
        guard let value else {
            self = .null
            return
        }
        switch type {
        case .bool: self = .bool(value == "t")
        case .int2, .int4, .oid: self = .number(value)
        case .int8: self = Int64(value).map { $0.magnitude <= 1 << 53 } == true ? .number(value) : .string(value)
        // JSON has no form for NaN and the infinities.
        case .float4, .float8: self = Double(value)?.isFinite == true ? .number(value) : .string(value)
        case .json, .jsonb: self = .raw(value)
        default: self = .string(value)
        }
    }
}
