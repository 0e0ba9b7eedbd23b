import Testing

@testable import TandemCore

@Suite("Waiting before another attempt")
struct BackoffTests {
    let backoff = Backoff(base: .milliseconds(20), cap: .seconds(2))

    @Test("a wait is at least zero and below its bound", arguments: [0, 0.25, 0.5, 1.0.nextDown])
    func bounds(_ random: Double) {
        for attempt in 0..<80 {
            let bound = attempt < 7 ? Duration.milliseconds(20) * (1 << attempt) : .seconds(2)
            let delay = backoff.delay(attempt: attempt, random: random)
            #expect(delay >= .zero)
            #expect(delay <= min(bound, .seconds(2)))
            #expect(delay >= min(bound, .seconds(2)) * random * 0.999)
        }
    }

    @Test("extreme numbers neither trap nor leave the bounds")
    func extremes() {
        for attempt in [Int.min, -1, 0, 63, 64, 1000, Int.max] {
            for random in [-1, 0, 1, 2, .infinity, -.infinity, .nan] as [Double] {
                let delay = backoff.delay(attempt: attempt, random: random)
                #expect(delay >= .zero && delay <= .seconds(2))
            }
        }
        let long = Duration.seconds(Int64.max / 4)
        #expect(Backoff(base: .nanoseconds(1), cap: long).delay(attempt: .max, random: 0.5) <= long)
        #expect(Backoff(base: .seconds(5), cap: .seconds(2)).delay(attempt: 3, random: 0.999) <= .seconds(2))
        #expect(Backoff(base: .zero, cap: .seconds(2)).delay(attempt: .max, random: 0.9) == .zero)
        #expect(Backoff(base: .seconds(-1), cap: .seconds(2)).delay(attempt: 5, random: 0.9) == .zero)
        #expect(Backoff(base: .seconds(1), cap: .seconds(-2)).delay(attempt: 5, random: 0.9) == .zero)
    }
}
