package import TandemCore
package import TandemTransactions

/// A transaction in a line of JSON: what a transaction file holds, and a `ref` of the sender's, by which he knows its result.
package struct TransactionLine: Sendable {
    /// The sender's reference as JSON; `nil` where there is none.
    package let reference: String?
    /// The transaction, or why the line is none.
    package let request: Result<TransactionRequest, TandemError>

    /// Reads a line.
    ///
    /// - Parameters:
    ///   - bytes: the line, without its end.
    ///   - file: what errors call its file.
    ///   - line: its number there, from 1.
    package init(_ bytes: [UInt8], file: String, line: Int) {
        var reference: String?
        var request: Result<TransactionRequest, TandemError>
        do {
            let root = try LocatedNode.json(bytes, file: file, line: line)
            let section = try root.section(TransactionFile.keys + ["ref"])
            reference = try section["ref"]?.json()
            request = .success(try TransactionFile.read(section))
        } catch let error as TandemError {
            request = .failure(error)
        } catch {
            request = .failure(TandemError(.configurationInvalid, "\(file):\(line): \(error)"))
        }
        self.reference = reference
        self.request = request
    }
}
