/// A password that does not show in logs, errors or dumps.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    package let value: String

    /// Wraps a password.
    ///
    /// - Parameter value: the password itself.
    public init(_ value: String) {
        self.value = value
    }

    /// Stars, whatever the value is.
    public var description: String { "***" }

    /// A mirror without the value.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
