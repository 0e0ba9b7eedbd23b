/// Reads what `tandem outbox run` writes, one event a line, and checks that the numbers of each key grow.
///
/// Fields are found by their bytes: whoever reads takes as little as possible from the machine that is measured.
package struct EventLines {
    private static let keyMark = Array(#""partitionkey":""#.utf8), numberMark = Array(#""data":{"n":"#.utf8), payloadMark = Array(#"{"n":"#.utf8)

    private var last: [Int: Int] = [:]
    /// Lines so far.
    package private(set) var count = 0
    /// Whether all of them were in order.
    package private(set) var isOrdered = true

    package init() {}

    /// Takes one line.
    package mutating func take(_ line: ArraySlice<UInt8>) {
        count += 1
        guard let key = Self.number(behind: Self.keyMark, in: line), let number = Self.number(behind: Self.numberMark, in: line), number > last[key] ?? -1
        else {
            isOrdered = false
            return
        }
        last[key] = number
    }

    /// Takes an event whose key is known otherwise.
    package mutating func take(key: String, _ payload: ArraySlice<UInt8>) {
        count += 1
        guard let key = Int(key), let number = Self.number(behind: Self.payloadMark, in: payload), number > last[key] ?? -1 else {
            isOrdered = false
            return
        }
        last[key] = number
    }

    /// The whole number behind a mark.
    private static func number(behind mark: [UInt8], in line: ArraySlice<UInt8>) -> Int? {
        guard line.count > mark.count else { return nil }
        var start = line.startIndex
        search: while start + mark.count < line.endIndex {
            for (offset, byte) in mark.enumerated() where line[start + offset] != byte {
                start += 1
                continue search
            }
            var value = 0, index = start + mark.count, digits = 0
            while index < line.endIndex, case let byte = line[index], byte >= 48, byte <= 57 {
                value = value * 10 + Int(byte - 48)
                index += 1
                digits += 1
            }
            return digits > 0 ? value : nil
        }
        return nil
    }
}
