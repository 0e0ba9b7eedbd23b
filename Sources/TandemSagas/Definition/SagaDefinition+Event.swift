extension SagaDefinition {
    /// An event that a step publishes into the outbox of its node, in the transaction of the step's record: it leaves if and only if the step is done.
    public struct Event: Sendable, Hashable, Codable {
        /// What kind of event it is: a template, as in ``Request/url``.
        public var topic: String
        /// Whose event it is, a template; `nil` for one without an order.
        public var key: String?
        /// A JSON text, in which a string that is one `{name}` stands for that value, and others are templates.
        public var payload: String
        /// What travels beside the payload; values are templates.
        public var headers: [String: String]

        /// An event.
        ///
        /// - Parameters:
        ///   - topic: a template.
        ///   - key: a template; `nil` for an event without an order.
        ///   - payload: a JSON text.
        ///   - headers: their values are templates.
        public init(topic: String, key: String? = nil, payload: String = "{}", headers: [String: String] = [:]) {
            self.topic = topic
            self.key = key
            self.payload = payload
            self.headers = headers
        }

        /// The names of the values that it needs.
        var names: [[String]] { ([topic, payload] + headers.values + (key.map { [$0] } ?? [])).flatMap { SagaTemplate($0).names } }
    }
}
