import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// One client with its connection to the server.
final class ProxyConnection: Sendable {
    typealias Side = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    /// What still arrives.
    private struct Flow {
        var toServer = true, toClient = true
        /// The server's side, once it is there.
        var server: Side?
        var isReset = false
        var conversation = Conversation()
    }

    private let client: Side
    private let proxy: FaultProxy
    private let flow = Mutex(Flow())

    init(_ client: Side, through proxy: FaultProxy) {
        self.client = client
        self.proxy = proxy
    }

    static func wrap(_ channel: any Channel) throws -> Side { try Side(wrappingChannelSynchronously: channel) }

    /// Nothing arrives any more, and nobody is told.
    func silence() { flow.withLock { ($0.toServer, $0.toClient) = (false, false) } }

    var isSilent: Bool { flow.withLock { !$0.toServer && !$0.toClient && !$0.isReset } }

    /// Tells both sides at once that the connection is gone.
    func reset() {
        let server = flow.withLock { flow in
            flow.isReset = true
            (flow.toServer, flow.toClient) = (false, false)
            return flow.server
        }
        for channel in [client.channel, server?.channel].compactMap(\.self) {
            // Zero seconds: the rest is thrown away, and the peer gets a reset instead of an end.
            guard let options = channel as? any SocketOptionProvider else { continue }
            options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    /// Serves the client until one of both sides has ended.
    func run() async {
        do {
            try await client.executeThenClose { requests, toClient in
                if let action = proxy.action(on: nil), await isOver(action) { return }
                let server = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
                    .connect(host: proxy.server.host, port: proxy.server.port) { channel in
                        channel.eventLoop.makeCompletedFuture { try Self.wrap(channel) }
                    }
                flow.withLock { $0.server = server }
                try await server.executeThenClose { replies, toServer in
                    await withTaskGroup(of: Void.self) { group in
                        group.addTask { try? await self.pump(requests, to: toServer, isRequest: true, answering: toClient) }
                        group.addTask { try? await self.pump(replies, to: toClient, isRequest: false, answering: toClient) }
                        // The end of one side is the end of the other.
                        await group.next()
                        group.cancelAll()
                    }
                }
            }
        } catch {
            // A side that is gone is what this is made for.
            reset()
        }
    }

    /// A fault at the start of a connection; whether it ends it.
    private func isOver(_ action: FaultRule.Action) async -> Bool {
        switch action {
        case .reset, .cut:
            reset()
            return true
        case .delay(let time):
            try? await Task.sleep(for: time)
            return false
        case .trickle: return false
        case .dropRequest, .dropReply, .blackHole:
            silence()
            return false
        }
    }

    private func pump(
        _ input: NIOAsyncChannelInboundStream<ByteBuffer>, to output: NIOAsyncChannelOutboundWriter<ByteBuffer>, isRequest: Bool,
        answering: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        var reader = MessageReader(isStarting: isRequest)
        var pause: Duration?
        for try await bytes in input {
            reader.append(bytes.readableBytesView)
            // What was read together goes on together: a write for each message would wake up its reader as often.
            var passing = ByteBuffer()
            while let message = try reader.next() {
                if message.isRequestForEncryption {
                    try await answering.write(ByteBuffer(bytes: [UInt8(ascii: "N")]))
                    continue
                }
                let event = flow.withLock { isRequest ? $0.conversation.hear(request: message) : $0.conversation.hear(reply: message) }
                if event != .other, isOpen(isRequest), let action = proxy.action(on: event) {
                    try await Self.write(&passing, to: output)
                    switch action {
                    case .dropRequest: flow.withLock { $0.toServer = false }
                    case .dropReply: flow.withLock { $0.toClient = false }
                    case .blackHole: silence()
                    case .reset: return reset()
                    case .cut(let count):
                        try await output.write(ByteBuffer(bytes: message.bytes.prefix(count)))
                        return reset()
                    case .delay(let time): try await Task.sleep(for: time)
                    case .trickle(let time): pause = time
                    }
                }
                guard isOpen(isRequest) else { continue }
                if let pause {
                    for byte in message.bytes {
                        try await output.write(ByteBuffer(bytes: [byte]))
                        try await Task.sleep(for: pause)
                    }
                } else {
                    passing.writeBytes(message.bytes)
                }
            }
            try await Self.write(&passing, to: output)
        }
    }

    private static func write(_ bytes: inout ByteBuffer, to output: NIOAsyncChannelOutboundWriter<ByteBuffer>) async throws {
        guard bytes.readableBytes > 0 else { return }
        try await output.write(bytes)
        bytes.clear()
    }

    private func isOpen(_ isRequest: Bool) -> Bool { flow.withLock { isRequest ? $0.toServer : $0.toClient } }
}
