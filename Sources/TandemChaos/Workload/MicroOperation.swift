/// One step of a list-append transaction.
package enum MicroOperation: Sendable, Equatable {
    /// A number is appended to the list of a key.
    case append(key: Int, element: Int)
    /// The list of a key is read; nil until it was.
    case read(key: Int, elements: [Int]?)

    var key: Int {
        switch self {
        case .append(let key, _), .read(let key, _): key
        }
    }

    /// As Jepsen writes it, so that its checkers read the same files.
    var json: String {
        switch self {
        case .append(let key, let element): "[\"append\",\(key),\(element)]"
        case .read(let key, nil): "[\"r\",\(key),null]"
        case .read(let key, let elements?): "[\"r\",\(key),[\(elements.map(String.init).joined(separator: ","))]]"
        }
    }
}
