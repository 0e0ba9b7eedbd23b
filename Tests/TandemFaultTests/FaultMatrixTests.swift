import Foundation
import Testing

@Suite("The fault matrix")
struct FaultMatrixTests {
    @Test("each row has tests that are there, or a reason, in docs/proof.md; how many there are is printed")
    func table() throws {
        let table = try FaultMatrix.table()
        #expect(table.count > 20)
        let files =
            FileManager.default.enumerator(at: FaultMatrix.root.appending(path: "Tests"), includingPropertiesForKeys: nil)?.compactMap { $0 as? URL } ?? []
        let names = Set(files.map { $0.deletingPathExtension().lastPathComponent })
        for entry in table {
            #expect(entry.rows.allSatisfy { FaultMatrix.rows.contains($0) }, "\(entry.rows)")
            #expect(entry.files.allSatisfy { names.contains($0) }, "\(entry.files)")
        }
        let covered = Set(table.flatMap(\.rows)), reasons = try FaultMatrix.reasons()
        // Each row has a test or a reason, and none has both.
        #expect(FaultMatrix.rows.filter { !covered.contains($0) }.sorted() == reasons.flatMap(\.rows).sorted())
        let why = reasons.map { "\($0.rows.joined(separator: ", ")): \($0.reason)" }.joined(separator: "; ")
        print("fault matrix: covered \(covered.count), without a test \(FaultMatrix.rows.count - covered.count) (\(why))")
    }
}
