extension Duration {
    /// The units of ``init(text:)``, in milliseconds; the longest names first.
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Reads a time as people write it: `500ms`, `5s`, `2m`, `24h`, `7d`. A number without a unit says nothing, except 0.
    package init?(text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard !digits.isEmpty, let number = Int64(digits) else { return nil }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        if unit.isEmpty, number == 0 {
            self = .zero
            return
        }
        guard let found = Self.units.first(where: { $0.name == unit }) else { return nil }
        let (milliseconds, isTooLong) = number.multipliedReportingOverflow(by: found.milliseconds)
        // A century: nothing that adds such times to a clock overflows.
        guard !isTooLong, milliseconds <= 36_525 * 86_400_000 else { return nil }
        self = .milliseconds(milliseconds)
    }

    /// The time as ``init(text:)`` reads it, in the largest unit that leaves nothing over.
    package var text: String {
        let (seconds, attoseconds) = components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        guard milliseconds != 0 else { return "0s" }
        let unit = Self.units.last { milliseconds % $0.milliseconds == 0 } ?? Self.units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}
