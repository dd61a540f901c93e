import Bus
import Daemon
import Logging
import NIOCore

/// Follows what authd knows (docs/protocols.md, "auth.sock"): the local domains, and when an address may lead elsewhere than
/// before. Comes back to an authd that was away. Belongs to one event loop; every call must come from its thread.
package final class DirectoryWatch: Sendable {
    /// What authd said last.
    package struct State: Equatable, Sendable {
        /// Whose mailboxes are here, in lower case, in the order of the configuration.
        package var domains: [String]
        /// Why what files say is not in use, a line each.
        package var troubles: [String]
        /// Whether everybody who can log in by a password can by SCRAM.
        package var canAllUseScram: Bool
        /// What routes can be found by; empty where there are none.
        package var routes: Set<RouteTable.Kind>

        init?(_ frame: Frame) {
            guard frame.replyKind == .ok else { return nil }
            domains = frame.body.map { String(buffer: $0).split(separator: "\n").map(String.init) } ?? []
            troubles = frame.all("trouble")
            canAllUseScram = frame["scram"] == "yes"
            routes = Set(frame.all("routes-by").compactMap { RouteTable.Kind(rawValue: $0) })
        }
    }

    private let follower: BusFollower
    private static let request = "WATCH"

    /// - Parameters:
    ///   - path: of authd's socket, as this process sees it.
    ///   - logger: for one who waits for authd's word; others hear of its absence when they ask it.
    ///   - onChange: is told of every change, and of every return of authd, for it may have changed meanwhile.
    package init(path: String, on loop: any EventLoop, logger: Logger? = nil, onChange: @escaping (State) -> Void) {
        follower = BusFollower(Frame(Self.request), of: "authd", path: path, on: loop, logger: logger) { frame in
            if let state = State(frame) { onChange(state) }
        }
    }

    /// Begins, from any thread. Ends by `close`.
    package func start() { follower.start() }

    package func close() { follower.close() }

    /// Asks once, for commands.
    package static func ask(_ path: String) async throws -> State? {
        State(try await BusClient.ask(path, Frame(request)))
    }
}
