import TandemCore

extension LocatedNode {
    /// Reads one JSON text into the tree that YAML files are read into; a YAML parser reads JSON, too, but takes a good part of the time of a transaction where there
    /// is one a line.
    ///
    /// - Parameters:
    ///   - bytes: UTF-8.
    ///   - file: what errors call its file.
    ///   - line: its line there, from 1.
    /// - Returns: the value.
    /// - Throws: `configurationInvalid` with file, line and column.
    static func json(_ bytes: [UInt8], file: String, line: Int) throws(TandemError) -> LocatedNode {
        do {
            return LocatedNode(value: FileValue(try JSON(reading: bytes)), file: file, key: "", line: line)
        } catch {
            throw TandemError(.configurationInvalid, "\(file):\(line): \(error)", nextStep: "write one JSON object a line")
        }
    }
}

extension FileValue {
    fileprivate init(_ value: JSON) {
        line = nil
        content =
            switch value {
            case .null: .null
            case .bool(let value): .plain(value ? "true" : "false")
            case .number(let digits): .number(digits)
            case .string(let text), .raw(let text): .text(text)
            case .array(let values): .list(values.map { FileValue($0) })
            case .object(let entries): .section(entries.map { (FileValue(content: .text($0.0), line: nil), FileValue($0.1)) })
            }
    }
}
