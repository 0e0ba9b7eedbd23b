import Crypto
import FoundationEssentials
import TandemCore

/// The signature of a request, by which a receiver knows who sent it: the symmetric one of
/// [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
///
/// It is an HMAC with SHA-256 of `ID.TIMESTAMP.BODY`, and stands in the header `webhook-signature` beside `webhook-id` and `webhook-timestamp`. A receiver:
///
/// ```swift
/// let signature = WebhookSignature([try WebhookSignature.Secret(text)])
/// let isGenuine = signature.verify(
///     body, id: headers["webhook-id"], timestamp: headers["webhook-timestamp"], signature: headers["webhook-signature"])
/// guard isGenuine else { return 401 }
/// ```
public struct WebhookSignature: Sendable {
    /// A key that sender and receiver know; it does not show in logs, errors or dumps.
    public struct Secret: Sendable, CustomStringConvertible, CustomReflectable {
        private static let prefix = "whsec_"

        let bytes: [UInt8]

        /// A key of these bytes.
        ///
        /// - Parameter bytes: 24 to 64 random bytes.
        public init(bytes: [UInt8]) { self.bytes = bytes }

        /// A key in its usual form, as `echo "whsec_$(openssl rand -base64 32)"` makes one.
        ///
        /// - Parameter text: base 64, with or without `whsec_` in front.
        /// - Throws: `configurationInvalid` where it is not, or has fewer than 24 bytes.
        public init(_ text: String) throws {
            let base64 = text.hasPrefix(Self.prefix) ? String(text.dropFirst(Self.prefix.count)) : text
            guard let data = Data(base64Encoded: base64), data.count >= 24 else {
                throw TandemError(
                    .configurationInvalid, "a webhook's secret is not base 64 of 24 bytes or more",
                    nextStep: "make one by `echo \"whsec_$(openssl rand -base64 32)\"`")
            }
            bytes = Array(data)
        }

        /// Stars, whatever the key is.
        public var description: String { "***" }

        /// A mirror without the key.
        public var customMirror: Mirror { Mirror(self, children: []) }
    }

    private static let version = "v1,"

    private let secrets: [Secret]

    /// Signatures with these keys.
    ///
    /// - Parameter secrets: a sender signs with each, a receiver takes what is signed with any.
    public init(_ secrets: [Secret]) { self.secrets = secrets }

    /// The seconds since 1970 by this machine's clock.
    static var now: Int64 { Int64(Date().timeIntervalSince1970) }

    /// Signs a request.
    ///
    /// - Parameters:
    ///   - body: the body's bytes.
    ///   - id: what stands in `webhook-id`; the same for each attempt.
    ///   - timestamp: what stands in `webhook-timestamp`: the time of the attempt, in seconds since 1970.
    /// - Returns: what stands in `webhook-signature`: one signature for each secret, with spaces between them.
    public func sign(_ body: [UInt8], id: String, timestamp: Int64) -> String {
        codes(of: body, id, "\(timestamp)").map { Self.version + Data($0).base64EncodedString() }.joined(separator: " ")
    }

    /// Tells whether a request comes from somebody who knows one of the secrets, and was sent just now.
    ///
    /// A request that is sent again is signed again: it is by `id` that one knows what was handled before. The time that this takes does not tell how much of a
    /// signature is right.
    ///
    /// - Parameters:
    ///   - body: the body's bytes, as they came.
    ///   - id: the header `webhook-id`.
    ///   - timestamp: the header `webhook-timestamp`.
    ///   - signature: the header `webhook-signature`.
    ///   - tolerance: how far its time may be from this machine's, before or after.
    /// - Returns: whether it is genuine; not where one of the headers is missing.
    public func verify(_ body: [UInt8], id: String?, timestamp: String?, signature: String?, tolerance: Duration = .seconds(300)) -> Bool {
        verify(body, id: id, timestamp: timestamp, signature: signature, tolerance: tolerance, at: Self.now)
    }

    func verify(_ body: [UInt8], id: String?, timestamp: String?, signature: String?, tolerance: Duration, at now: Int64) -> Bool {
        guard let id, let timestamp, let signature, let sent = Int64(timestamp), sent >= 0, Duration.seconds(abs(now - sent)) <= tolerance else { return false }
        let expected = codes(of: body, id, timestamp)
        return signature.split(separator: " ").contains { text in
            guard text.hasPrefix(Self.version), let code = Data(base64Encoded: String(text.dropFirst(Self.version.count))) else { return false }
            // The comparison of swift-crypto takes the same time wherever they differ.
            return expected.contains { $0 == code }
        }
    }

    private func codes(of body: [UInt8], _ id: String, _ timestamp: String) -> [HMAC<SHA256>.MAC] {
        let content = Array("\(id).\(timestamp).".utf8) + body
        return secrets.map { HMAC<SHA256>.authenticationCode(for: content, using: SymmetricKey(data: $0.bytes)) }
    }
}
