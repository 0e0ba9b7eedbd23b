/// A small generator for choosing rows and faults: xorshift64*, by Sebastiano Vigna, "An experimental exploration of Marsaglia's xorshift generators,
/// scrambled" (2016). The same seed gives the same numbers on every machine, and the system's generator would cost a system call a number.
package struct FastRandom: Sendable {
    private var state: UInt64

    /// - Parameter seed: What the numbers follow from.
    package init(seed: UInt64) {
        // Seeds that are near each other, 1 and 2, would give near numbers at first: splitmix64 spreads them.
        var mixed = seed &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        state = (mixed ^ (mixed >> 31)) | 1
    }

    /// A number from 0 to `bound - 1`.
    ///
    /// - Parameter bound: How many numbers there are to choose from, at least 1.
    /// - Returns: One of them.
    package mutating func next(_ bound: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
