import Bus
import Logging
import NIOCore
import Network

/// Follows what authd knows (docs/protocols.md, "auth.sock"): the local domains, and when an address may lead elsewhere than
/// before. Comes back to an authd that was away. Belongs to one event loop; every call must come from its thread.
package final class DirectoryWatch: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// What authd said last.
    package struct State: Equatable, Sendable {
        /// Whose mailboxes are here, in lower case, in the order of the configuration.
        package var domains: [String]
        /// Why what files say is not in use, a line each.
        package var troubles: [String]
        /// Whether everybody who can log in by a password can by SCRAM.
        package var canAllUseScram: Bool

        init?(_ frame: Frame) {
            guard frame.replyKind == .ok else { return nil }
            domains = frame.body.map { String(buffer: $0).split(separator: "\n").map(String.init) } ?? []
            troubles = frame.all("trouble")
            canAllUseScram = frame["scram"] == "yes"
        }
    }

    private let path: String
    private let authority: BusClient
    private let loop: any EventLoop
    private let logger: Logger?
    /// Is told of every change, and of every return of authd, for it may have changed meanwhile.
    private let onChange: (State) -> Void
    private var isClosed = false
    /// Whether the log says that authd is away.
    private var isAway = false

    /// Milliseconds.
    private static let firstWait: Int64 = 20
    private static let longestWait: Int64 = 1000
    private static let request = "WATCH"

    /// - Parameters:
    ///   - path: of authd's socket, as this process sees it.
    ///   - logger: for one who waits for authd's word; others hear of its absence when they ask it.
    package init(path: String, on loop: any EventLoop, logger: Logger? = nil, onChange: @escaping (State) -> Void) {
        self.path = path
        self.loop = loop
        self.logger = logger
        self.onChange = onChange
        authority = BusClient(path: path, on: loop)
    }

    /// Begins, from any thread. Ends by `close`.
    package func start() {
        let (loop, authority) = (loop, authority)
        Task(executorPreference: LoopExecutor.of(loop)) { [weak self] in
            var wait = Self.firstWait
            while true {
                let end = await Self.follow(authority) { self?.heard($0) }
                guard self?.lost(end) ?? false else { break }
                wait = end.wasThere ? Self.firstWait : min(wait * 2, Self.longestWait)
                await loop.pause(.milliseconds(wait))
            }
        }
    }

    package func close() {
        loop.assertInEventLoop()
        isClosed = true
        authority.close()
    }

    /// Asks once, for commands.
    package static func ask(_ path: String) async throws -> State? {
        State(try await BusClient.ask(path, Frame(request)))
    }

    /// How a connection ended.
    private struct End {
        let reason: BusError
        /// Whether authd had answered.
        var wasThere = false
    }

    /// Follows authd over one connection; returns when that has ended.
    private static func follow(_ authority: BusClient, _ heard: @escaping (Frame) -> Void) async -> End {
        do throws(BusError) {
            try await authority.connect()
        } catch {
            return End(reason: error)
        }
        return await withCheckedContinuation { continuation in
            var wasThere = false
            authority.start(Frame(request)) { result in
                switch result {
                case .success(let frame):
                    guard frame.replyKind == .ok else {
                        let reason = BusError.malformed("authd: \(frame["text"] ?? frame.verb)")
                        continuation.resume(returning: End(reason: reason))
                        return true
                    }
                    wasThere = true
                    heard(frame)
                    return false
                case .failure(let error):
                    continuation.resume(returning: End(reason: error, wasThere: wasThere))
                    return true
                }
            }
        }
    }

    private func heard(_ frame: Frame) {
        loop.assertInEventLoop()
        guard !isClosed, let state = State(frame) else { return }
        if isAway { logger?.info("authd is back", metadata: ["socket": "\(path)"]) }
        isAway = false
        onChange(state)
    }

    /// Whether to try again.
    private func lost(_ end: End) -> Bool {
        loop.assertInEventLoop()
        if !isAway, !isClosed {
            logger?.warning("authd is away", metadata: ["reason": "\(end.reason)"])
            isAway = true
        }
        return !isClosed
    }
}
