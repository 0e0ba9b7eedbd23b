import Foundation
import TandemCore
import Yams

/// A YAML file whose every value knows its line and key, so that each error can name them.
package struct YAMLDocument {
    /// The top of the file.
    package let root: LocatedNode

    /// Reads a text of one YAML document; JSON is YAML, too. Errors call it `file`.
    package init(_ text: String, file: String) throws {
        do {
            guard let node = try compose(yaml: text) else {
                throw TandemError(.configurationInvalid, "\(file) is empty", nextStep: "fill it in")
            }
            root = LocatedNode(value: FileValue(node), file: file, key: "", line: node.mark?.line ?? 1)
        } catch let error as YamlError {
            throw Self.error(error, file)
        }
    }

    /// Reads a file; `-` is standard input. `next` says what to do where there is no such file.
    package init(path: String, next: String) throws {
        let data: Data
        do {
            if path == "-" {
                data = try FileHandle.standardInput.readToEnd() ?? Data()
            } else {
                data = try Data(contentsOf: URL(fileURLWithPath: path))
            }
        } catch {
            let isThere = FileManager.default.fileExists(atPath: path)
            throw TandemError(
                .configurationInvalid, isThere ? "\(path) cannot be read" : "there is no file \(path)",
                nextStep: isThere ? "see who may read it" : next,
                cause: error)
        }
        let name = path == "-" ? "standard input" : path
        guard let text = String(data: data, encoding: .utf8) else {
            throw TandemError(.configurationInvalid, "\(name) is not a text in UTF-8", nextStep: "save it as UTF-8")
        }
        try self.init(text, file: name)
    }

    private static func error(_ error: YamlError, _ file: String) -> TandemError {
        func at(_ line: Int, _ problem: String) -> TandemError {
            TandemError(
                .configurationInvalid, "\(file):\(line): \(problem)", nextStep: "correct the YAML there: it is indented with spaces")
        }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            return at(mark.line, [context?.text, problem].compactMap(\.self).joined(separator: ": "))
        case .duplicatedKeysInMapping(let duplicates, let context):
            return TandemError(
                .configurationInvalid, "\(file):\(context.mark.line): \(duplicates.joined(separator: ", ")): the key stands there twice",
                nextStep: "leave one of them")
        case .reader(let problem, _, _, _), .writer(let problem), .emitter(let problem), .representer(let problem):
            return TandemError(.configurationInvalid, "\(file) is no YAML: \(problem)", nextStep: "correct the file")
        case .no, .memory, .dataCouldNotBeDecoded:
            return TandemError(.configurationInvalid, "\(file) cannot be read as YAML", nextStep: "correct the file")
        }
    }
}
