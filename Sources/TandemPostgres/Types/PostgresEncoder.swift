package import TandemCore

/// Where a value that is bound to a placeholder writes itself, exactly once, in one of these forms.
///
/// The bytes of all parameters go into one buffer, so that a value costs no allocation of its own.
public struct PostgresEncoder: Sendable {
    /// The parameters so far.
    package private(set) var buffer = ParameterBuffer()
    /// The first thing that cannot be sent, if there was one.
    package private(set) var defect: TandemError?
    /// The value being written is an element of an array: it goes into the array's text.
    private var isInArray = false
    /// How many values were written, to notice an `encode(into:)` that writes none or two.
    private var writtenCount = 0

    /// No parameters yet.
    package init() {}

    /// Writes NULL.
    public mutating func encodeNull() {
        writtenCount += 1
        if isInArray {
            buffer.bytes.append(contentsOf: "NULL".utf8)
        } else {
            buffer.appendNull()
        }
    }

    /// Writes a value in its text form, which the server reads as the type that the statement wants.
    ///
    /// - Parameter text: The value as it would stand in a literal, without quotes or escapes.
    public mutating func encode(text: String) {
        encode(isPlain: false) { $0.append(contentsOf: text.utf8) }
    }

    /// Writes a `bytea`.
    ///
    /// - Parameter bytes: The bytes.
    public mutating func encode(bytes: [UInt8]) {
        bytes.withUnsafeBytes { encode(bytes: $0) }
    }

    /// Says that the value cannot be sent: the statement then fails with `encodingFailed` before anything is sent.
    ///
    /// - Parameter reason: Why, in words, without the value.
    public mutating func fail(_ reason: String) {
        writtenCount += 1
        if !isInArray { buffer.appendNull() }
        reject(reason)
    }
}

extension PostgresEncoder {
    /// Writes one value as the next parameter.
    ///
    /// - Parameter value: The value.
    package mutating func append<Value: PostgresEncodable>(_ value: Value) {
        let before = writtenCount
        let countBefore = buffer.count
        value.encode(into: &self)
        if writtenCount != before + 1 {
            reject("\(Value.self) wrote \(writtenCount - before) values where it must write one")
        }
        // What follows keeps its number even after a value that wrote none or two.
        if buffer.count == countBefore { buffer.appendNull() }
        buffer.truncate(to: countBefore + 1)
        if buffer.count == ParameterBuffer.maximumCount + 1 { reject("a statement has at most \(ParameterBuffer.maximumCount) parameters") }
    }

    /// Writes all parameters of another statement after those that are there.
    ///
    /// - Parameters:
    ///   - other: The other statement's parameters.
    ///   - otherDefect: What cannot be sent of it.
    mutating func append(_ other: ParameterBuffer, defect otherDefect: TandemError?) {
        let wasWithinLimit = buffer.count <= ParameterBuffer.maximumCount
        buffer.append(other)
        if defect == nil { defect = otherDefect }
        if wasWithinLimit, buffer.count > ParameterBuffer.maximumCount {
            reject("a statement has at most \(ParameterBuffer.maximumCount) parameters")
        }
    }

    /// Keeps the first reason why the statement cannot be sent.
    mutating func reject(_ reason: String) {
        if defect == nil { defect = TandemError(.encodingFailed, reason) }
    }

    /// Writes a value in its text form.
    ///
    /// - Parameters:
    ///   - isPlain: The text holds only ASCII letters, digits and signs that need no quotes inside an array, and is not the word NULL.
    ///   - body: Appends the text.
    mutating func encode(isPlain: Bool, _ body: (inout [UInt8]) -> Void) {
        writtenCount += 1
        if isInArray {
            if !isPlain { buffer.bytes.append(UInt8(ascii: "\"")) }
            let start = buffer.bytes.count
            body(&buffer.bytes)
            if !isPlain {
                refuseNUL(from: start)
                buffer.bytes.escapeArrayElement(from: start)
                buffer.bytes.append(UInt8(ascii: "\""))
            }
        } else {
            let start = buffer.bytes.count
            body(&buffer.bytes)
            if !isPlain { refuseNUL(from: start) }
            finish(from: start, type: .unspecified, format: .text)
        }
    }

    /// Writes a `bytea`.
    mutating func encode(bytes: UnsafeRawBufferPointer) {
        writtenCount += 1
        if isInArray {
            // Quoted, the backslash of the hex form is doubled.
            buffer.bytes.append(contentsOf: "\"\\\\x".utf8)
            buffer.bytes.appendHex(bytes)
            buffer.bytes.append(UInt8(ascii: "\""))
        } else {
            let start = buffer.bytes.count
            buffer.bytes.append(contentsOf: bytes)
            finish(from: start, type: .bytea, format: .binary)
        }
    }

    /// Writes an array.
    ///
    /// - Parameters:
    ///   - elements: The elements, the last dimension's index running fastest.
    ///   - dimensions: The dimensions; the product of their counts is the number of elements.
    mutating func encodeArray<Element: PostgresEncodable>(_ elements: [Element], dimensions: [PostgresArrayDimension]) {
        guard !isInArray else {
            fail("an array inside an array: bind a PostgresArray with several dimensions")
            return
        }
        writtenCount += 1
        let start = buffer.bytes.count
        let written = writtenCount
        isInArray = true
        appendArray(elements, dimensions)
        isInArray = false
        writtenCount = written
        finish(from: start, type: .unspecified, format: .text)
    }

    private mutating func appendArray<Element: PostgresEncodable>(_ elements: [Element], _ dimensions: [PostgresArrayDimension]) {
        guard !elements.isEmpty else {
            buffer.bytes.append(contentsOf: "{}".utf8)
            return
        }
        if dimensions.contains(where: { $0.lowerBound != 1 }) {
            for dimension in dimensions {
                let bounds = "[\(dimension.lowerBound):\(dimension.lowerBound + dimension.count - 1)]"
                buffer.bytes.append(contentsOf: bounds.utf8)
            }
            buffer.bytes.append(UInt8(ascii: "="))
        }
        for (index, element) in elements.enumerated() {
            if index > 0 { buffer.bytes.append(UInt8(ascii: ",")) }
            // At the first element of a dimension's slice that slice opens, after its last one it closes.
            openOrClose(index, dimensions, UInt8(ascii: "{"))
            let before = writtenCount
            element.encode(into: &self)
            if writtenCount != before + 1 { reject("\(Element.self) wrote \(writtenCount - before) values where it must write one") }
            openOrClose(index + 1, dimensions, UInt8(ascii: "}"))
        }
    }

    private mutating func openOrClose(_ index: Int, _ dimensions: [PostgresArrayDimension], _ brace: UInt8) {
        var size = 1
        for dimension in dimensions.reversed() {
            size *= dimension.count
            guard index % size == 0 else { return }
            buffer.bytes.append(brace)
        }
    }

    private mutating func refuseNUL(from start: Int) {
        let hasNUL = buffer.bytes.withUnsafeBufferPointer { $0[start...].contains(0) }
        if hasNUL { reject("a text value cannot hold the character U+0000") }
    }

    private mutating func finish(from start: Int, type: PostgresType, format: PostgresFormat) {
        if !buffer.close(from: start, type: type, format: format) { reject("a value is larger than 1 GiB") }
    }
}
