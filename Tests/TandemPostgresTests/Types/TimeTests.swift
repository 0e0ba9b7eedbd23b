import FoundationEssentials
import TandemPostgres
import Testing

@Suite("date, timestamp, timestamptz, interval")
struct TimeTests {
    @Test(
        "dates are read in both forms",
        arguments: [
            ("4714-11-24 BC", "ffda97a7"), ("5874897-12-31", "7fda970c"), ("infinity", "7fffffff"), ("-infinity", "80000000"),
            ("2026-01-01", "00002519"), ("2000-01-01", "00000000"), ("1999-12-31", "ffffffff"),
        ])
    func dates(text: String, hex: String) throws {
        let date: PostgresDate = try decode(text, .date)
        #expect(try decode(hex: hex, .date, as: PostgresDate.self) == date)
        #expect(date.description == text)
        #expect(encoded(date) == text)
    }

    @Test("days that do not exist are refused, and components count years as make_date does")
    func calendar() throws {
        for text in [
            "2026-02-29", "2026-13-01", "2026-00-10", "0000-01-01", "2026-1-01", "2026-01-32", "26-01-01", "2026-01-01 AD", "", "today",
        ] {
            #expect(reason(PostgresDate.self, text, .date) == .malformed, "\(text)")
        }
        #expect(PostgresDate(year: 2000, month: 2, day: 29)?.days == 59)
        #expect(PostgresDate(year: 1900, month: 2, day: 29) == nil)
        #expect(PostgresDate(year: 0, month: 1, day: 1) == nil)
        let ides = try #require(PostgresDate(year: -44, month: 3, day: 15))
        #expect(ides.description == "0044-03-15 BC")
        #expect(ides.components?.year == -44)
        #expect(PostgresDate(year: -1, month: 2, day: 29)?.description == "0001-02-29 BC")
        #expect(PostgresDate(year: .min, month: 1, day: 1) == nil)
        #expect(PostgresDate.infinity.components == nil)
        #expect(PostgresDate.negativeInfinity < ides && ides < .infinity)
        #expect(reason(PostgresDate.self, "2026-01-01", .timestamp) == .typeMismatch)
    }

    @Test(
        "timestamps are read in both forms",
        arguments: [
            ("4714-11-24 00:00:00 BC", "fd0f7cc1411fa000"), ("294276-12-31 23:59:59.999999", "7fffff5bb3b29fff"),
            ("infinity", "7fffffffffffffff"), ("-infinity", "8000000000000000"), ("2000-01-01 00:00:00.000001", "0000000000000001"),
            ("1999-12-31 23:59:59.9", "fffffffffffe7960"),
        ])
    func timestamps(text: String, hex: String) throws {
        let timestamp: PostgresTimestamp = try decode(text, .timestamp)
        #expect(try decode(hex: hex, .timestamp, as: PostgresTimestamp.self) == timestamp)
        #expect(timestamp.description == text)
        #expect(encoded(timestamp) == text)
        #expect(try decode(hex: hex, .timestamptz, as: PostgresTimestampTZ.self).microseconds == timestamp.microseconds)
    }

    @Test("an instant is the same whatever offset it is written with")
    func offsets() throws {
        func instant(_ text: String) throws -> Int64 { try decode(text, .timestamptz, as: PostgresTimestampTZ.self).microseconds }
        #expect(try instant("2026-06-01 12:00:00+00") == instant("2026-06-01 14:00:00+02"))
        #expect(try instant("2026-06-01 12:00:00+00") == instant("2026-06-01 08:30:00-03:30"))
        #expect(try instant("1900-01-01 00:00:00+00:19:32") == instant("1899-12-31 23:40:28+00"))
        #expect(try instant("0044-03-15 12:00:00+00:19:32 BC") == instant("0044-03-15 11:40:28+00 BC"))
        #expect(try instant("4714-11-24 00:19:32+00:19:32 BC") == Int64(bitPattern: 0xfd0f_7cc1_411f_a000))
        // The local time lies beyond what 64 bits hold, the instant does not.
        #expect(try instant("294277-01-01 00:59:59.999999+01") == 0x7fff_ff5b_b3b2_9fff)
        #expect(try instant("infinity") == .max)
        for text in [
            "2026-06-01 12:00:00", "2026-06-01 12:00:00+1", "2026-06-01T12:00:00+00", "2026-06-01 12:00+00",
            "2026-06-01 12:00:00.1234567+00",
        ] {
            #expect(reason(PostgresTimestampTZ.self, text, .timestamptz) == .malformed, "\(text)")
        }
        #expect(reason(PostgresTimestamp.self, "2026-06-01 12:00:00+00", .timestamp) == .malformed)
        #expect(reason(PostgresTimestampTZ.self, "2026-06-01 12:00:00", .timestamp) == .typeMismatch)
    }

    @Test("Foundation's Date is an instant, exact to the microsecond")
    func foundation() throws {
        let date = try decode("2026-01-31 12:34:56.789012+00", .timestamptz, as: Date.self)
        #expect(date.timeIntervalSinceReferenceDate == 791_555_696.789012)
        #expect(encoded(date) == "2026-01-31 12:34:56.789012+00")
        #expect(encoded(Date(timeIntervalSince1970: 0)) == "1970-01-01 00:00:00+00")
        #expect(throws: PostgresDecodingError.self) { try decode("infinity", .timestamptz, as: Date.self) }
        #expect(reason(Date.self, "2026-01-01 00:00:00", .timestamp) == .typeMismatch)
        #expect(encoded(Date(timeIntervalSinceReferenceDate: .nan)) == nil)
        #expect(encoded(Date(timeIntervalSinceReferenceDate: 1e300)) == nil)
        #expect(encoded(Date.distantPast) != nil)
        #expect(encoded(Date.distantFuture) != nil)
    }

    @Test(
        "intervals are read in both styles",
        arguments: [
            ("00:00:00", "PT0S", PostgresInterval()),
            (
                "1 year 2 mons 3 days -04:05:06.5", "P1Y2M3DT-4H-5M-6.5S",
                PostgresInterval(months: 14, days: 3, microseconds: -14_706_500_000)
            ),
            ("-1 years -2 mons +3 days -04:05:06.5", "P-1Y-2M3DT-4H-5M-6.5S", .init(months: -14, days: 3, microseconds: -14_706_500_000)),
            ("1 mon -1 days +00:05:00", "P1M-1DT5M", PostgresInterval(months: 1, days: -1, microseconds: 300_000_000)),
            ("-00:00:00.5", "PT-0.5S", PostgresInterval(microseconds: -500_000)),
            ("1 day", "P1D", PostgresInterval(days: 1)),
            (
                "178956970 years 7 mons 2147483647 days 2562047788:00:54.775806", "P178956970Y7M2147483647DT2562047788H54.775806S",
                PostgresInterval(months: .max, days: .max, microseconds: .max - 1)
            ),
            (
                "-178956970 years -8 mons -2562047788:00:54.775808", "P-178956970Y-8MT-2562047788H-54.775808S",
                PostgresInterval(months: .min, microseconds: .min)
            ),
        ])
    func intervals(postgres: String, iso: String, value: PostgresInterval) throws {
        #expect(try decode(postgres, .interval, as: PostgresInterval.self) == value)
        #expect(try decode(iso, .interval, as: PostgresInterval.self) == value)
        #expect(value.description == postgres)
        #expect(try roundTrip(value, .interval) == value)
    }

    @Test("the binary form of an interval is microseconds, days, months")
    func intervalBinary() throws {
        let value = PostgresInterval(months: 14, days: 3, microseconds: -14_706_500_000)
        #expect(try decode(hex: "fffffffc936c9e60000000030000000e", .interval, as: PostgresInterval.self) == value)
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "fffffffc936c9e6000000003", .interval, as: PostgresInterval.self) }
        #expect(try decode(hex: "7fffffffffffffff7fffffff7fffffff", .interval, as: PostgresInterval.self) == .infinity)
        #expect(try decode("-infinity", .interval, as: PostgresInterval.self) == .negativeInfinity)
        #expect(encoded(PostgresInterval(months: -1, days: 2, microseconds: 3)) == "-1 mons 2 days 3 us")
        for text in ["", "1", "1 week", "P", "PT", "P1", "P1H", "1 day ", "00:60:00", "999999999999 days", "99999999999999999999999999 us"] {
            #expect(reason(PostgresInterval.self, text, .interval) == .malformed, "\(text)")
        }
    }

    @Test("10,000 random intervals come back from their description, and instants from a Date")
    func property() throws {
        var random = Seeded(2)
        for _ in 0..<10_000 {
            let interval = RandomValues.interval(&random)
            #expect(PostgresInterval(interval.description) == interval)
            let instant = try RandomValues.instant(&random)
            #expect(PostgresTimestampTZ(instant)?.date == instant)
        }
    }
}
