import Testing

@testable import TandemCore

@Suite("The id of a transaction")
struct TransactionIDTests {
    /// Numbers that look random and are the same in every run.
    struct Sequence64: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    static func bytes(_ id: TransactionID) -> [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? id.high : id.low) >> UInt64((7 - $0 % 8) * 8)) }
    }

    @Test("text and id are one-to-one, and the text is that of the bytes")
    func text() throws {
        var random = Sequence64(state: 1)
        for _ in 0..<2000 {
            let id = TransactionID(high: random.next(), low: random.next())
            let text = id.description
            #expect(text.utf8.count == 36)
            #expect(TransactionID(text) == id)
            #expect(TransactionID(text.uppercased()) == id)
            let digits = Self.bytes(id).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(text.filter { $0 != "-" } == digits)
            #expect(text.indices.filter { text[$0] == "-" }.map { text.utf8.distance(from: text.startIndex, to: $0) } == [8, 13, 18, 23])
        }
        #expect(TransactionID(high: 0, low: 0).description == "00000000-0000-0000-0000-000000000000")
        #expect(TransactionID(high: .max, low: .max).description == "ffffffff-ffff-ffff-ffff-ffffffffffff")
    }

    static let notIDs = [
        "", "018f3e2a7c4b7d119a520123456789ab", "{018f3e2a-7c4b-7d11-9a52-0123456789ab}", "018f3e2a-7c4b-7d11-9a52-0123456789a",
        "018f3e2a-7c4b-7d11-9a52-0123456789abc", "018f3e2a-7c4b-7d11-9a52-0123456789ag", "018f3e2a_7c4b-7d11-9a52-0123456789ab",
        "018f3e2-a7c4b-7d11-9a52-0123456789ab", "018f3e2a-7c4b-7d11-9a52-0123456789a\0", "018f3e2a-7c4b-7d11-9a52-0123456789a\n",
        " 18f3e2a-7c4b-7d11-9a52-0123456789ab", "018f3e2a-7c4b-7d11-9a52-01234567890'", "018f3e2a-7c4b-7d11-9a52-0123456789é",
        "------------------------------------", String(repeating: "a", count: 200),
    ]

    @Test("nothing but the form of 36 bytes is an id", arguments: notIDs)
    func refuses(_ text: String) {
        #expect(TransactionID(text) == nil)
    }

    @Test("a made id is a UUID of version 7 and keeps its time")
    func version7() {
        var random = Sequence64(state: 7)
        for milliseconds in [0, 1, 1_700_000_000_000, 0xFFFF_FFFF_FFFF] as [UInt64] {
            for bits in [(0, 0), (.max, .max), (random.next(), random.next())] as [(UInt64, UInt64)] {
                let id = TransactionID.make(milliseconds: milliseconds, random: bits)
                let bytes = Self.bytes(id)
                #expect(bytes[6] >> 4 == 7)
                #expect(bytes[8] >> 6 == 0b10)
                #expect(id.milliseconds == milliseconds)
            }
        }
        let known = TransactionID.make(milliseconds: 0x017F_22E2_79B0, random: (0x0CC3, 0x18C4_DC0C_0C07_398F))
        #expect(known.description == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")  // the example of RFC 9562, A.6
    }

    @Test("all 74 random bits reach the id")
    func randomBits() {
        let plain = TransactionID.make(milliseconds: 5, random: (0, 0))
        var ids: Set<TransactionID> = [plain]
        for bit in 0..<12 { ids.insert(.make(milliseconds: 5, random: (1 << UInt64(bit), 0))) }
        for bit in 0..<62 { ids.insert(.make(milliseconds: 5, random: (0, 1 << UInt64(bit)))) }
        #expect(ids.count == 75)
    }

    @Test("the order is that of the bytes, and of the texts")
    func order() {
        var random = Sequence64(state: 3)
        var ids = [
            TransactionID(high: 0, low: .max), TransactionID(high: 1, low: 0), TransactionID(high: .max, low: 0),
            TransactionID(high: 1 << 63, low: 1),
        ]
        for _ in 0..<60 {
            let high = random.next()
            ids += [TransactionID(high: high, low: random.next()), TransactionID(high: high, low: random.next())]
        }
        for one in ids {
            for other in ids {
                #expect((one < other) == Self.bytes(one).lexicographicallyPrecedes(Self.bytes(other)))
                #expect((one < other) == (one.description < other.description))
            }
        }
    }
}
