/// An event in the form of [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md).
public enum CloudEvent {
    /// The content type of the structured form.
    public static let contentType = "application/cloudevents+json"

    /// The attributes of an event but `datacontenttype`, which each binding has a place of its own for.
    ///
    /// - Parameter delivery: the event.
    /// - Returns: name and value of each: `specversion`, `id`, `source`, `type` (the topic), `time`, `partitionkey` where it has a key, and `sequence`, which grows within a key.
    public static func attributes(of delivery: Delivery) -> [(name: String, value: String)] {
        let event = delivery.event
        var all = [
            (name: "specversion", value: "1.0"), (name: "id", value: event.id), (name: "source", value: delivery.source), (name: "type", value: event.topic),
            (name: "time", value: event.time),
        ]
        if let key = event.key { all.append((name: "partitionkey", value: key)) }
        all.append((name: "sequence", value: sequence(delivery.place)))
        return all
    }

    /// A place as a text that sorts as the place does.
    private static func sequence(_ place: Delivery.Place) -> String {
        func padded(_ number: Int64) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 19 - digits.count)) + digits
        }
        return "\(padded(place.window))-\(padded(place.sequence))"
    }

    /// Appends an event in structured form, JSON on one line.
    ///
    /// JSON stands as `data`, anything else in base 64 as `data_base64`; headers are the extension `headers`, an object.
    ///
    /// - Parameters:
    ///   - delivery: the event.
    ///   - bytes: where it is appended.
    public static func append(_ delivery: Delivery, to bytes: inout [UInt8]) {
        let event = delivery.event
        var isFirst = true
        func name(_ name: StaticString) {
            bytes.append(isFirst ? UInt8(ascii: "{") : UInt8(ascii: ","))
            isFirst = false
            bytes.append(UInt8(ascii: "\""))
            name.withUTF8Buffer { bytes.append(contentsOf: $0) }
            bytes.append(UInt8(ascii: "\""))
            bytes.append(UInt8(ascii: ":"))
        }
        name("specversion")
        bytes.append(contentsOf: "\"1.0\"".utf8)
        name("id")
        appendText(event.id, to: &bytes)
        name("source")
        appendText(delivery.source, to: &bytes)
        name("type")
        appendText(event.topic, to: &bytes)
        name("time")
        appendText(event.time, to: &bytes)
        if let key = event.key {
            name("partitionkey")
            appendText(key, to: &bytes)
        }
        name("sequence")
        appendText(sequence(delivery.place), to: &bytes)
        if !event.headers.isEmpty {
            name("headers")
            bytes.append(UInt8(ascii: "{"))
            for (index, header) in event.headers.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                appendText(header.name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                appendText(header.value, to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
        name("datacontenttype")
        appendText(event.contentType, to: &bytes)
        if event.isJSON {
            name("data")
            // Inside a string a line break is escaped; one outside is as good as a space.
            let start = bytes.count
            bytes.append(contentsOf: event.payload)
            for index in start..<bytes.count where bytes[index] == 0x0A || bytes[index] == 0x0D { bytes[index] = 0x20 }
        } else {
            name("data_base64")
            bytes.append(UInt8(ascii: "\""))
            appendBase64(event.payload, to: &bytes)
            bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)

    private static func appendText(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(hexadecimal[Int(byte >> 4)])
                bytes.append(hexadecimal[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func appendBase64(_ data: [UInt8], to bytes: inout [UInt8]) {
        var index = 0
        while index < data.count {
            let count = min(3, data.count - index)
            var group: UInt32 = 0
            for offset in 0..<3 { group = group << 8 | (offset < count ? UInt32(data[index + offset]) : 0) }
            for place in 0..<4 {
                bytes.append(place <= count ? digits[Int(group >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
            }
            index += count
        }
    }
}
