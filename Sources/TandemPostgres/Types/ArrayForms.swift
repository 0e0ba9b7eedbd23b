/// Reads the text form of an array: `{1,NULL,"a\"b"}`, `{{1,2},{3,4}}` or `[0:1]={1,2}`.
enum ArrayText {
    /// Reads an array.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - decode: Reads one element's text without its quotes and backslashes, or nil for NULL.
    /// - Returns: The elements and dimensions; nil where the text is no array.
    /// - Throws: What reading an element throws.
    static func parse<Element>(
        _ text: UnsafeRawBufferPointer, _ decode: (UnsafeRawBufferPointer?) throws -> Element
    ) throws -> (elements: [Element], dimensions: [PostgresArrayDimension])? {
        var reader = TextReader(text)
        guard let bounds = reader.arrayBounds() else { return nil }
        var depth = 0
        while reader.take("{") { depth += 1 }
        if depth == 1, reader.take("}") { return reader.isAtEnd && bounds.isEmpty ? ([], []) : nil }
        guard (1...6).contains(depth) else { return nil }

        var elements: [Element] = []
        var scratch: [UInt8] = []
        // How many members each dimension has so far, and in the slices before.
        var counts = [Int](repeating: 0, count: depth)
        var lengths = [Int?](repeating: nil, count: depth)
        var level = depth
        while level > 0 {
            // At an element.
            guard level == depth else { return nil }
            switch reader.arrayElement(into: &scratch) {
            case .malformed: return nil
            case .null: elements.append(try decode(nil))
            case .plain(let bytes): elements.append(try decode(bytes))
            case .unescaped: elements.append(try scratch.withUnsafeBytes { try decode($0) })
            }
            counts[depth - 1] += 1
            // After it: slices that end, then a comma, then slices that begin.
            while level > 0, reader.take("}") {
                level -= 1
                guard lengths[level] == nil || lengths[level] == counts[level] else { return nil }
                lengths[level] = counts[level]
                counts[level] = 0
                if level > 0 { counts[level - 1] += 1 }
            }
            guard level > 0 else { break }
            guard reader.take(",") else { return nil }
            while level < depth {
                guard reader.take("{") else { return nil }
                level += 1
            }
        }
        guard reader.isAtEnd, bounds.isEmpty || bounds.count == depth else { return nil }
        var dimensions: [PostgresArrayDimension] = []
        for (index, length) in lengths.enumerated() {
            guard let length else { return nil }
            guard bounds.isEmpty || bounds[index].count == length else { return nil }
            dimensions.append(bounds.isEmpty ? PostgresArrayDimension(count: length) : bounds[index])
        }
        return (elements, dimensions)
    }
}

/// Reads the binary form of an array: dimensions, element type, then each element with its length.
enum ArrayBinary {
    /// Reads an array.
    ///
    /// - Parameters:
    ///   - bytes: The bytes.
    ///   - decode: Reads one element of a type, or nil for NULL.
    /// - Returns: The elements and dimensions; nil where the bytes are no array.
    /// - Throws: What reading an element throws.
    static func read<Element>(
        _ bytes: UnsafeRawBufferPointer, _ decode: (UnsafeRawBufferPointer?, PostgresType) throws -> Element
    ) throws -> (elements: [Element], dimensions: [PostgresArrayDimension])? {
        var reader = BinaryReader(bytes)
        guard let depth = reader.read(Int32.self), (0...6).contains(depth), let flags = reader.read(Int32.self), (0...1).contains(flags),
            let type = reader.read(UInt32.self)
        else { return nil }
        var dimensions: [PostgresArrayDimension] = []
        var count = depth == 0 ? 0 : 1
        for _ in 0..<depth {
            guard let length = reader.read(Int32.self), length > 0, let lowerBound = reader.read(Int32.self) else { return nil }
            dimensions.append(PostgresArrayDimension(lowerBound: Int(lowerBound), count: Int(length)))
            count *= Int(length)
            // Each element takes at least its length's four bytes, so that a forged count reserves nothing.
            guard count <= reader.remaining / 4 else { return nil }
        }
        var elements: [Element] = []
        elements.reserveCapacity(count)
        for _ in 0..<count {
            guard let length = reader.read(Int32.self), length >= -1 else { return nil }
            if length == -1 {
                elements.append(try decode(nil, PostgresType(rawValue: type)))
            } else {
                guard let element = reader.read(count: Int(length)) else { return nil }
                elements.append(try decode(element, PostgresType(rawValue: type)))
            }
        }
        return reader.remaining == 0 ? (elements, dimensions) : nil
    }
}

/// One element of an array's text.
private enum ArrayElementText {
    case malformed
    case null
    /// It stands in the text as it is.
    case plain(UnsafeRawBufferPointer)
    /// It had backslashes and is in the scratch memory now.
    case unescaped
}

extension TextReader {
    /// Takes `[1:2][0:3]=`, if it comes next; nil where it is malformed.
    fileprivate mutating func arrayBounds() -> [PostgresArrayDimension]? {
        guard next == UInt8(ascii: "[") else { return [] }
        var bounds: [PostgresArrayDimension] = []
        while take("[") {
            let lowerSign = sign()
            guard let lower = digits(1...10), take(":") else { return nil }
            let upperSign = sign()
            guard let upper = digits(1...10), take("]"), upperSign * upper >= lowerSign * lower else { return nil }
            bounds.append(PostgresArrayDimension(lowerBound: Int(lowerSign * lower), count: Int(upperSign * upper - lowerSign * lower) + 1))
        }
        return take("=") ? bounds : nil
    }

    /// Takes an element up to the comma or brace that follows it.
    fileprivate mutating func arrayElement(into scratch: inout [UInt8]) -> ArrayElementText {
        if take("\"") { return quotedArrayElement(into: &scratch) }
        let start = position
        while let byte = next, byte != UInt8(ascii: ","), byte != UInt8(ascii: "}") {
            // The server quotes all elements with these.
            guard byte != UInt8(ascii: "{"), byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") else { return .malformed }
            position += 1
        }
        let element = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        if element.isEmpty { return .malformed }
        return element.elementsEqual("NULL".utf8) ? .null : .plain(element)
    }

    private mutating func quotedArrayElement(into scratch: inout [UInt8]) -> ArrayElementText {
        let start = position
        var hasBackslash = false
        while let byte = next, byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") {
                hasBackslash = true
                position += 1
            }
            position += 1
        }
        guard position < bytes.count else { return .malformed }
        let element = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        position += 1
        guard hasBackslash else { return .plain(element) }
        scratch.removeAll(keepingCapacity: true)
        var isEscaped = false
        for byte in element {
            if byte == UInt8(ascii: "\\"), !isEscaped {
                isEscaped = true
            } else {
                scratch.append(byte)
                isEscaped = false
            }
        }
        return .unescaped
    }
}
