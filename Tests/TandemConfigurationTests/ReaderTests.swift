import Testing

@testable import TandemConfiguration

@Suite("Times and names in files")
struct ReaderTests {
    @Test(
        "a time has a whole number and a unit",
        arguments: [
            ("500ms", Duration.milliseconds(500)), ("5s", .seconds(5)), ("2m", .seconds(120)), ("24h", .seconds(86_400)),
            ("7d", .seconds(604_800)),
            ("0", .zero), ("0s", .zero), ("5 s", .seconds(5)),
        ])
    func times(text: String, duration: Duration) {
        #expect(Duration(text: text) == duration)
    }

    @Test(
        "anything else is no time",
        arguments: [
            "", "5", "s", "-5s", "+5s", "1.5s", "5S", "5 sec", "5s ", "٥s", "99999999999999999999s", "9223372036854775807d", "36526d",
        ])
    func noTimes(text: String) {
        #expect(Duration(text: text) == nil)
    }

    @Test("a time is written as it is read", arguments: ["500ms", "5s", "2m", "24h", "7d", "90s", "0s", "1500ms"])
    func roundTrip(text: String) throws {
        let duration = try #require(Duration(text: text))
        #expect(Duration(text: duration.text) == duration)
        #expect(Duration.seconds(120).text == "2m")
    }

    @Test("the nearest name is the one with the fewest changes, and none where all are far")
    func nearest() {
        let names = ["conninfo", "password", "passwordEnv", "pool", "role"]
        #expect(nearestName(to: "coninfo", among: names) == "conninfo")
        #expect(nearestName(to: "pasword", among: names) == "password")
        #expect(nearestName(to: "passwordenv", among: names) == "passwordEnv")
        #expect(nearestName(to: "rloe", among: names) == "role")
        #expect(nearestName(to: "sslmode", among: names) == nil)
        #expect(nearestName(to: "", among: names) == nil)
        #expect(editDistance("ab", "ba") == 1)
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(editDistance("", "abc") == 3)
    }
}
