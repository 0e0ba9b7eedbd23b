/// The Gregorian calendar carried on into the past, as the server counts: days from 2000-01-01, and years with a year 0 before year 1.
enum ProlepticCalendar {
    /// Days from 0000-03-01 to 2000-01-01; years counted from March put the leap day last.
    private static let epoch: Int64 = 730_425
    private static let daysInFourCenturies: Int64 = 146_097

    static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted.flooredQuotient(400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * daysInFourCenturies + dayOfEra - epoch
    }

    static func components(of days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + epoch
        let era = shifted.flooredQuotient(daysInFourCenturies)
        let dayOfEra = shifted - era * daysInFourCenturies
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// Whether there is such a day.
    static func isValid(year: Int64, month: Int64, day: Int64) -> Bool {
        guard (1...12).contains(month), (1...31).contains(day) else { return false }
        let there = components(of: days(year: year, month: month, day: day))
        return there == (year, month, day)
    }

    /// Appends `2026-01-31`, with the absolute value of a year before year 1; ``appendEra(of:to:)`` ends it.
    static func appendDate(_ days: Int64, to text: inout [UInt8]) {
        let (year, month, day) = components(of: days)
        text.appendDecimal(year > 0 ? year : 1 - year, width: 4)
        text.append(UInt8(ascii: "-"))
        text.appendDecimal(month, width: 2)
        text.append(UInt8(ascii: "-"))
        text.appendDecimal(day, width: 2)
    }

    /// Appends ` BC` where the day is in a year before year 1.
    static func appendEra(of days: Int64, to text: inout [UInt8]) {
        if components(of: days).year <= 0 { text.append(contentsOf: " BC".utf8) }
    }

    /// Appends `12:34:56.789`.
    static func appendTime(_ microseconds: Int64, to text: inout [UInt8]) {
        let seconds = microseconds / 1_000_000
        text.appendDecimal(seconds / 3600, width: 2)
        text.append(UInt8(ascii: ":"))
        text.appendDecimal(seconds / 60 % 60, width: 2)
        text.append(UInt8(ascii: ":"))
        text.appendDecimal(seconds % 60, width: 2)
        let fraction = microseconds % 1_000_000
        guard fraction != 0 else { return }
        text.append(UInt8(ascii: "."))
        text.appendDecimal(fraction, width: 6)
        while text.last == UInt8(ascii: "0") { text.removeLast() }
    }
}

extension TextReader {
    /// Takes a year, month and day as they are written; the era comes at the end of the text, so ``days(of:)`` takes that.
    mutating func date() -> (year: Int64, month: Int64, day: Int64)? {
        guard let year = digits(4...7), year > 0, take("-"), let month = digits(2...2), take("-"), let day = digits(2...2) else {
            return nil
        }
        return (year, month, day)
    }

    /// Takes ` BC` if it comes next, and gives the day, if there is such a day.
    mutating func days(of date: (year: Int64, month: Int64, day: Int64)) -> Int64? {
        let year = take(" BC") ? 1 - date.year : date.year
        guard ProlepticCalendar.isValid(year: year, month: date.month, day: date.day) else { return nil }
        return ProlepticCalendar.days(year: year, month: date.month, day: date.day)
    }

    /// Takes a time of day, in microseconds.
    mutating func timeOfDay() -> Int64? {
        guard let hour = digits(2...2), hour <= 24, take(":"), let minute = digits(2...2), minute < 60, take(":"),
            let second = digits(2...2), second <= 60, let fraction = fraction()
        else { return nil }
        return (hour * 3600 + minute * 60 + second) * 1_000_000 + fraction
    }

    /// Takes an offset from UTC such as `+01`, `-03:30` or `+00:19:32`, in seconds.
    mutating func offset() -> Int64? {
        guard next == UInt8(ascii: "+") || next == UInt8(ascii: "-") else { return nil }
        let sign = sign()
        guard let hours = digits(2...2) else { return nil }
        var seconds = hours * 3600
        if take(":") {
            guard let minutes = digits(2...2), minutes < 60 else { return nil }
            seconds += minutes * 60
            if take(":") {
                guard let rest = digits(2...2), rest < 60 else { return nil }
                seconds += rest
            }
        }
        return sign * seconds
    }
}

extension Int64 {
    /// The quotient rounded down, also for numbers below zero.
    func flooredQuotient(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
