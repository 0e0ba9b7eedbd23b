package import Logging
package import TandemPostgres

/// Keeps what is logged.
package struct KeptLog: LogHandler {
    private let said: Locked<[String]>
    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level

    package init(_ said: Locked<[String]>, _ level: Logger.Level = .warning) {
        self.said = said
        logLevel = level
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let text = "\(event.message) \(event.metadata ?? [:])"
        said.withLock { $0.append(text) }
    }
}
