/// Rows under their columns' names.
struct TextTable {
    private let columns: [String]
    private var rows: [[String]] = []

    init(_ columns: String...) { self.columns = columns }
    init(columns: [String]) { self.columns = columns }

    mutating func add(_ cells: String...) { add(cells: cells) }
    mutating func add(cells: [String]) { rows.append(cells.map(Self.printable)) }

    var isEmpty: Bool { rows.isEmpty }

    func text(isColoured: Bool = false) -> String {
        let widths = columns.indices.map { column in ([columns] + rows).map { $0[column].count }.max() ?? 0 }
        return ([columns] + rows).enumerated().map { number, row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let painted = number > 0 ? Colour(state: cell)?.paint(cell, isColoured) ?? cell : cell
                line += painted
                // Nothing follows the last cell, not even blanks.
                if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return line + "\n"
        }.joined()
    }

    /// A value of a database may hold what moves a terminal's cursor.
    private static func printable(_ cell: String) -> String {
        String(
            String.UnicodeScalarView(
                cell.unicodeScalars.flatMap { scalar -> [Unicode.Scalar] in
                    switch scalar {
                    case "\n": ["\\", "n"]
                    case "\t": ["\\", "t"]
                    case _ where scalar.properties.generalCategory == .control: ["\u{FFFD}"]
                    default: [scalar]
                    }
                }))
    }
}
