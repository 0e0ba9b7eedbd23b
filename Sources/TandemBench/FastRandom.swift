/// A small generator for choosing rows: xorshift64*, by Sebastiano Vigna, "An experimental exploration of Marsaglia's xorshift generators,
/// scrambled" (2016). The system's generator would cost a system call a number.
struct FastRandom {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed | 1
    }

    /// A number from 0 to `bound - 1`.
    mutating func next(_ bound: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
