/// The text forms that both timestamps have in common.
enum TimestampForm {
    private static let microsecondsInDay: Int64 = 86_400_000_000

    static func append(_ microseconds: Int64, zone: StaticString, to text: inout [UInt8]) {
        switch microseconds {
        case .max: return text.append(contentsOf: "infinity".utf8)
        case .min: return text.append(contentsOf: "-infinity".utf8)
        default: break
        }
        let days = microseconds.flooredQuotient(microsecondsInDay)
        ProlepticCalendar.appendDate(days, to: &text)
        text.append(UInt8(ascii: " "))
        // The first day may begin before the least number, so the time is not reckoned from its beginning.
        let remainder = microseconds % microsecondsInDay
        ProlepticCalendar.appendTime(remainder < 0 ? remainder + microsecondsInDay : remainder, to: &text)
        zone.withUTF8Buffer { text.append(contentsOf: $0) }
        ProlepticCalendar.appendEra(of: days, to: &text)
    }

    /// Reads `2026-01-31 12:34:56.789+01 BC`, in which the zone is there if it should be, and the fraction and the era may be missing.
    static func parse(_ text: UnsafeRawBufferPointer, hasZone: Bool) -> Int64? {
        var reader = TextReader(text)
        if reader.take("infinity") { return reader.isAtEnd ? .max : nil }
        if reader.take("-infinity") { return reader.isAtEnd ? .min : nil }
        guard let date = reader.date(), reader.take(" "), let time = reader.timeOfDay() else { return nil }
        var offset: Int64 = 0
        if hasZone {
            guard let written = reader.offset() else { return nil }
            offset = written
        }
        guard let days = reader.days(of: date), reader.isAtEnd else { return nil }
        // Wider than the result: a local time east of Greenwich may lie beyond the last instant.
        let wide = Int128(days) * Int128(microsecondsInDay) + Int128(time) - Int128(offset) * 1_000_000
        guard let microseconds = Int64(exactly: wide), microseconds != .max, microseconds != .min else { return nil }
        return microseconds
    }
}
