/// The name among `names` that somebody probably meant who wrote `written`; nil where none is near.
package func nearestName(to written: String, among names: some Sequence<String>) -> String? {
    let candidates = names.map { (name: $0, distance: editDistance(written.lowercased(), $0.lowercased())) }
    guard let best = candidates.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
    // Half of a name changed is another name.
    return best.distance <= max(1, min(written.count, best.name.count) / 2) ? best.name : nil
}

/// How many letters have to be inserted, removed, changed or swapped with their neighbour to make one word of the other (the restricted
/// Damerau-Levenshtein distance: no letter is touched twice).
func editDistance(_ one: String, _ other: String) -> Int {
    let one = Array(one), other = Array(other)
    var beforeLast: [Int] = []
    var last = Array(0...other.count)
    for (row, letter) in one.enumerated() {
        var current = [row + 1]
        for (column, otherLetter) in other.enumerated() {
            var best = min(last[column + 1] + 1, current[column] + 1, last[column] + (letter == otherLetter ? 0 : 1))
            if row > 0, column > 0, letter == other[column - 1], one[row - 1] == otherLetter {
                best = min(best, beforeLast[column - 1] + 1)
            }
            current.append(best)
        }
        (beforeLast, last) = (last, current)
    }
    return last[other.count]
}
