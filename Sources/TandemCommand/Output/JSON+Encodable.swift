import Foundation
import TandemCore

extension JSON {
    /// What a description of the library says of itself; its keys in alphabetical order.
    init(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        self = .raw(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
