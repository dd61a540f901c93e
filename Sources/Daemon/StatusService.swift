import Bus
import Logging
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// Answers `STATUS` on `run/status/NAME.sock`.
struct StatusService: Sendable {
    private let name: DaemonName
    private let counters: CounterRegistry
    private let since = time(nil)

    init(name: DaemonName, counters: CounterRegistry) {
        self.name = name
        self.counters = counters
    }

    func serve(on socket: CInt, group: any EventLoopGroup, logger: Logger) async throws {
        let server = BusServer(
            group: group,
            connections: 20,
            perUser: 5,
            idleTimeout: .seconds(30),
            logger: logger
        )
        try await server.answer(on: socket) { frame, connection in
            guard frame.verb == "STATUS" else {
                connection.write(Frame.reply(.reject, status: .invalidCommand, text: "unknown verb", tag: frame["tag"]))
                return
            }
            connection.write(status(tag: frame["tag"]))
        }
    }

    private func status(tag: String?) -> Frame {
        var fields: [Frame.Field] = [
            .init("daemon", name.rawValue),
            .init("pid", String(getpid())),
            .init("version", MartletVersion.current),
            .init("since", String(since)),
        ]
        for counter in counters.counts { fields.append(.init("count", "\(counter.name) \(counter.value)")) }
        return .ok(tag: tag, fields)
    }
}

/// Which Martlet this is.
package enum MartletVersion {
    package static let current = "0.1.0"
}
