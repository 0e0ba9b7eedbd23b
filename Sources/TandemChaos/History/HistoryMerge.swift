import Foundation
import TandemCore

/// The histories of several processes as one, in the order of time.
struct HistoryMerge {
    /// An event, as far as merging and counting need it.
    private struct Event: Decodable {
        let type: String
        let f: String
        let time: UInt64
        let transaction: TransactionID?
        let final: Bool?
    }

    private var lines: [(time: UInt64, text: Substring)] = []
    private(set) var sent = 0, acknowledged = 0, rolledBack = 0
    /// Transactions that were sent and of which nobody was told that they are committed or rolled back.
    private(set) var unknown: [TransactionID] = []
    /// What callers were told: whether it is committed.
    private(set) var told: [TransactionID: Bool] = [:]

    /// - Parameter paths: the files; one that is not there is empty.
    /// - Throws: `configurationInvalid` where a line is none.
    init(_ paths: [String]) throws {
        let decoder = JSONDecoder()
        var open: Set<TransactionID> = []
        for path in paths {
            guard let data = FileManager.default.contents(atPath: path) else { continue }
            let text = String(decoding: data, as: UTF8.self)
            // The last line of a process that was killed may be cut.
            let whole = text.lastIndex(of: "\n").map { text[..<$0] } ?? ""
            for line in whole.split(separator: "\n") {
                let event: Event
                do { event = try decoder.decode(Event.self, from: Data(line.utf8)) } catch {
                    throw TandemError(.configurationInvalid, "\(path) has a line that is no event", cause: error)
                }
                lines.append((event.time, line))
                guard event.f == "txn" || event.f == "transfer" || event.f == "saga", event.final != true, let transaction = event.transaction else { continue }
                switch event.type {
                case "invoke":
                    sent += 1
                    open.insert(transaction)
                case "ok":
                    acknowledged += 1
                    told[transaction] = true
                    open.remove(transaction)
                case "fail":
                    rolledBack += 1
                    told[transaction] = false
                    open.remove(transaction)
                default: break
                }
            }
        }
        unknown = open.sorted()
        lines.sort { $0.time < $1.time }
    }

    /// Writes one file, each line with its number.
    ///
    /// - Parameters:
    ///   - path: where.
    ///   - run: the first line, which says what the run was made of.
    /// - Throws: `localNodeFailed`.
    func write(to path: String, run: String) throws {
        var text = "\(run)\n"
        text.reserveCapacity(lines.reduce(0) { $0 + $1.text.utf8.count + 24 })
        for (index, line) in lines.enumerated() { text += "{\"index\":\(index),\(line.text.dropFirst())\n" }
        do { try text.write(toFile: path, atomically: true, encoding: .utf8) } catch {
            throw TandemError(.localNodeFailed, "\(path) cannot be written", nextStep: "name another file", cause: error)
        }
    }
}
