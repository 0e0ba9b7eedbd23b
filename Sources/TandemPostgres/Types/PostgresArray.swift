/// An array of the server with its dimensions, of which each has a length and a first index.
///
/// Where there is one dimension and its first index does not matter, a Swift array does: `[Int]`, or `[Int?]` where elements may be NULL.
///
/// ```swift
/// let rows = try await branch.query("SELECT grid FROM boards", as: PostgresArray<Int?>.self)
/// let corner = rows[0].element(at: 1, 1)
/// ```
public struct PostgresArray<Element> {
    /// The most dimensions that the server knows.
    public static var maximumDimensions: Int { 6 }

    /// All elements; the last dimension's index runs fastest.
    public let elements: [Element]
    /// The dimensions, the outermost first; none for an empty array.
    public let dimensions: [PostgresArrayDimension]

    /// An array with one dimension that begins at 1.
    ///
    /// - Parameter elements: The elements in order.
    public init(_ elements: [Element]) {
        self.elements = elements
        dimensions = elements.isEmpty ? [] : [PostgresArrayDimension(count: elements.count)]
    }

    /// An array with any dimensions.
    ///
    /// It is nil where the dimensions do not make as many elements, or an index would not fit 32 bits.
    ///
    /// - Parameters:
    ///   - elements: All elements; the last dimension's index runs fastest.
    ///   - dimensions: The dimensions, the outermost first, at most six.
    public init?(_ elements: [Element], dimensions: [PostgresArrayDimension]) {
        guard dimensions.count <= Self.maximumDimensions else { return nil }
        var count = 1
        for dimension in dimensions {
            guard dimension.count > 0, Int32(exactly: dimension.lowerBound) != nil,
                dimension.count <= Int(Int32.max) - dimension.lowerBound
            else { return nil }
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension.count)
            guard !overflow else { return nil }
            count = product
        }
        guard elements.count == (dimensions.isEmpty ? 0 : count) else { return nil }
        self.elements = elements
        self.dimensions = dimensions
    }

    /// The element with an index for each dimension, as in SQL.
    ///
    /// - Parameter indices: The indices, each from its dimension's lower bound on.
    /// - Returns: nil where there is no such element, or where the number of indices is another than that of the dimensions.
    public func element(at indices: Int...) -> Element? {
        guard indices.count == dimensions.count, !indices.isEmpty else { return nil }
        var place = 0
        for (index, dimension) in zip(indices, dimensions) {
            guard index >= dimension.lowerBound, index - dimension.lowerBound < dimension.count else { return nil }
            place = place * dimension.count + index - dimension.lowerBound
        }
        return elements[place]
    }
}

extension PostgresArray: Sendable where Element: Sendable {}
extension PostgresArray: Equatable where Element: Equatable {}
extension PostgresArray: Hashable where Element: Hashable {}

extension PostgresArray: PostgresArrayEncodable where Element: PostgresEncodable {}

extension PostgresArray: PostgresEncodable where Element: PostgresEncodable {
    /// Writes the array.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encoder.encodeArray(elements, dimensions: dimensions) }
}

extension PostgresArray: PostgresArrayDecodable where Element: PostgresDecodable {}

extension PostgresArray: PostgresDecodable where Element: PostgresDecodable {
    /// Reads an array.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The array.
    /// - Throws: An error where it is none, and what reading an element throws.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresArray {
        // An array of a type that a user made has an oid that only the server knows; its elements then have no type that could be checked.
        guard let element = type.element ?? (type == .unspecified || type.isUserDefined ? .unspecified : nil) else {
            throw PostgresDecodingError(PostgresArray.self, type, .typeMismatch)
        }
        let array = try bytes.withUnsafeBytes { bytes in
            switch format {
            case .text: try ArrayText.parse(bytes) { try decodeElement($0, element, .text) }
            case .binary: try ArrayBinary.read(bytes) { try decodeElement($0, $1, .binary) }
            }
        }
        guard let array, let value = PostgresArray(array.elements, dimensions: array.dimensions) else {
            throw PostgresDecodingError(PostgresArray.self, type, .malformed)
        }
        return value
    }

    private static func decodeElement(
        _ bytes: UnsafeRawBufferPointer?, _ type: PostgresType, _ format: PostgresFormat
    ) throws -> Element {
        guard let bytes else { return try Element.decodeNull(type: type) }
        return try Element.decode(bytes.bytes, type: type, format: format)
    }
}

extension Array: PostgresArrayEncodable where Element: PostgresArrayEncodable {}

extension Array: PostgresEncodable where Element: PostgresArrayEncodable {
    /// Writes an array with one dimension, or a `bytea` where the elements are bytes.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { Element.encodeArray(self, into: &encoder) }
}

extension Array: PostgresArrayDecodable where Element: PostgresArrayDecodable {}

extension Array: PostgresDecodable where Element: PostgresArrayDecodable {
    /// Reads an array with one dimension, or a `bytea` where the elements are bytes.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The elements in order, wherever the array's index begins.
    /// - Throws: An error where it is no such array, or where it has several dimensions: read it as ``PostgresArray``.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> [Element] {
        try Element.decodeArray(bytes, type: type, format: format)
    }
}
