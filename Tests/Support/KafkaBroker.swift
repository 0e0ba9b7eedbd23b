import CRDKafka
import Foundation

/// Kafka for one test: librdkafka's own mock cluster of three brokers, in this process, or the one that `TANDEM_TEST_KAFKA` names.
package final class KafkaBroker: Sendable {
    /// What a broker is told to answer.
    package enum Failure {
        case tooLarge
        case notAllowed
        /// After it the producer is of no more use.
        case outOfOrder

        fileprivate var error: rd_kafka_resp_err_t {
            switch self {
            case .tooLarge: RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
            case .notAllowed: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            case .outOfOrder: RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
            }
        }
    }

    private static let count: Int32 = 3
    /// Addresses of what librdkafka lets any thread use.
    private let clientAddress: UInt
    private let clusterAddress: UInt
    private var client: OpaquePointer? { OpaquePointer(bitPattern: clientAddress) }
    private var cluster: OpaquePointer? { OpaquePointer(bitPattern: clusterAddress) }

    /// A broker behind TLS, as localhost, and the file of the certificate that it shows; `scripts/kafka` starts it.
    package static var encrypted: (address: String, certificate: String)? {
        let environment = ProcessInfo.processInfo.environment
        guard let address = environment["TANDEM_TEST_KAFKA_TLS"], let certificate = environment["TANDEM_TEST_KAFKA_CERTIFICATE"] else { return nil }
        return (address, certificate)
    }

    /// A broker that wants a user, and knows none; `scripts/kafka` starts it.
    package static var authenticating: String? { ProcessInfo.processInfo.environment["TANDEM_TEST_KAFKA_SASL"] }

    /// Where it listens.
    package let address: String

    /// Whether it can be disturbed.
    package var isMock: Bool { cluster != nil }

    package init() throws {
        if let address = ProcessInfo.processInfo.environment["TANDEM_TEST_KAFKA"] {
            self.address = address
            (clientAddress, clusterAddress) = (0, 0)
            return
        }
        var text = [CChar](repeating: 0, count: 512)
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), &text, text.count), let cluster = rd_kafka_mock_cluster_new(client, Self.count)
        else {
            throw TestFailure("there is no mock of Kafka")
        }
        (clientAddress, clusterAddress) = (UInt(bitPattern: client), UInt(bitPattern: cluster))
        address = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    }

    deinit {
        if let cluster { rd_kafka_mock_cluster_destroy(cluster) }
        if let client { rd_kafka_destroy(client) }
    }

    /// Lets the next requests to produce fail.
    package func refuse(_ count: Int, with failure: Failure) {
        if let cluster { tandem_kafka_mock_fail(cluster, 0, count, failure.error) }
    }

    /// Lets all that concerns a topic fail.
    package func refuse(topic: String, with failure: Failure) {
        if let cluster { rd_kafka_mock_topic_set_error(cluster, topic, failure.error) }
    }

    /// Lets all brokers be gone, or come back.
    package func setDown(_ isDown: Bool) {
        guard let cluster else { return }
        for broker in 1...Self.count {
            if isDown { rd_kafka_mock_broker_set_down(cluster, broker) } else { rd_kafka_mock_broker_set_up(cluster, broker) }
        }
    }
}
