/// One dimension of an array of the server.
public struct PostgresArrayDimension: Hashable, Sendable {
    /// The index of the first element; 1 unless somebody chose another.
    public var lowerBound: Int
    /// How many elements there are in this dimension.
    public var count: Int

    /// A dimension.
    ///
    /// - Parameters:
    ///   - lowerBound: The index of the first element.
    ///   - count: How many elements there are in this dimension.
    public init(lowerBound: Int = 1, count: Int) {
        self.lowerBound = lowerBound
        self.count = count
    }
}
