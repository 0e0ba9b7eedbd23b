import Foundation
import Testing

@Suite("The fault matrix")
struct FaultMatrixTests {
    @Test("each row that docs/proof.md calls tested is a row of the matrix, and the tests that it names are there; how many there are is printed")
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
        let covered = Set(table.flatMap(\.rows))
        let open = FaultMatrix.rows.filter { !covered.contains($0) }
        print("fault matrix: \(covered.count) of \(FaultMatrix.rows.count) rows are tested; not: \(open.joined(separator: ", "))")
    }
}
