import Bus
import Daemon
import Logging
import NIOCore
import Network
import SMTP

/// Answers smtpd's questions on `run/recipient.sock` (docs/protocols.md, "recipient.sock"): whether the next hop takes mail
/// for an address. Belongs to one event loop.
final class RecipientCheckService: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let relay: Relay
    private let loop: any EventLoop
    private let logger: Logger
    private var running = 0
    /// Those of each client of smtpd's; nothing for who has none.
    private var runningByClient: [[UInt8]: Int] = [:]

    /// Checks at the same time; for more there is no answer now. Each holds a session with another host.
    private static let maximum = 50
    /// Of them for one client, of IPv6 a /64.
    private static let maximumPerClient = 10

    init(_ relay: Relay, on loop: any EventLoop, logger: Logger) {
        self.relay = relay
        self.loop = loop
        self.logger = logger
    }

    func answer(_ frame: Frame, _ connection: Connection) {
        loop.assertInEventLoop()
        guard frame.verb == "CHECK", let text = frame["recipient"],
            let recipient = try? MailAddress(parsing: text.utf8, options: .envelope)
        else {
            return connection.write(
                Frame.reply(.reject, status: .syntaxError, text: "CHECK wants a recipient", tag: frame["tag"])
            )
        }
        let route: RelayRoute?
        do throws(RelayRoute.Malformed) {
            route = try RelayRoute.read(frame)
        } catch {
            return connection.write(
                Frame.reply(.defer, status: .systemTrouble, text: "malformed \(error.field)", tag: frame["tag"])
            )
        }
        guard running < Self.maximum else {
            return connection.write(
                Frame.reply(.defer, status: .busy, text: "too many checks at once", tag: frame["tag"])
            )
        }
        let client = frame["client"].flatMap { try? SocketAddress(ipAddress: $0, port: 0) }?.clientKey ?? []
        guard runningByClient[client, default: 0] < Self.maximumPerClient else {
            return connection.write(
                Frame.reply(.defer, status: .busy, text: "too many checks at once for this client", tag: frame["tag"])
            )
        }
        running += 1
        runningByClient[client, default: 0] += 1
        Task(executorPreference: LoopExecutor.of(loop)) { [self] in
            let result = await relay.check(recipient, by: route)
            running -= 1
            let others = runningByClient[client, default: 1] - 1
            runningByClient[client] = others > 0 ? others : nil
            let text = result.diagnostic ?? result.text
            logger.info(
                "recipient checked",
                metadata: ["recipient": "\(recipient)", "status": "\(result.status)", "reason": "\(text)"]
            )
            let kind: ReplyKind =
                switch result.action {
                case .delivered, .relayed, .expanded: .ok
                case .delayed: .defer
                case .failed: .reject
                }
            connection.write(Frame.reply(kind, status: result.status, text: text, tag: frame["tag"]))
            try? await connection.flush()
        }
    }
}
