extension UInt8 {
    /// Whether this is one of `[A-Za-z0-9]`.
    var isNameLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }

    /// Whether this is one of `[A-Za-z0-9_.-]`, the alphabet of names.
    ///
    /// Names are judged by bytes and never by characters: "K" and the Kelvin sign are equal strings, and different gids.
    var isNameByte: Bool {
        isNameLetterOrDigit || self == UInt8(ascii: "_") || self == UInt8(ascii: ".") || self == UInt8(ascii: "-")
    }
}

extension String {
    /// This text on one line, without control characters: what a server or a user wrote must not forge a second line of a log.
    var onOneLine: String {
        guard unicodeScalars.contains(where: \.breaksLine) else { return self }
        var line = ""
        for scalar in unicodeScalars {
            if scalar.breaksLine {
                line += scalar.escaped(asASCII: true)
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    /// This text in quotes, escaped, and cut after 40 scalars: for a message that says which text was refused.
    var quotedForDiagnosis: String {
        let scalars = unicodeScalars
        let start = scalars.prefix(40).map { $0.escaped(asASCII: true) }.joined()
        return "\"\(start)\"" + (scalars.count > 40 ? "..." : "")
    }
}

extension Unicode.Scalar {
    /// Whether this scalar is a control character, or one that ends a line or turns the direction of writing.
    fileprivate var breaksLine: Bool {
        switch properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .format: true
        default: false
        }
    }
}
