import Logging
import NIOCore
import Network
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// Serves a Unix-domain socket: one task for a connection, requests answered in the order they came unless the
/// service answers later itself.
package struct BusServer: Sendable {
    /// Answers one request. It may write several replies, now or later, as long as the connection is open.
    package typealias Answer = @Sendable (Frame, Connection) async throws -> Void

    private let listener: Listener
    private let logger: Logger
    /// Uids that may connect; nil for anybody.
    private let allowed: Set<UInt32>?
    private let limits: FrameLimits
    private let idleTimeout: TimeAmount?
    private let exempt: Set<UInt32>

    /// - Parameters:
    ///   - allowed: uids that may connect beside root and our own; nil for anybody.
    ///   - connections: at the same time, and `perUser` of one uid.
    ///   - exempt: uids for which neither these limits nor the time hold, beside root and our own.
    ///   - idleTimeout: how long a peer may be silent; nil for no limit.
    package init(
        group: any EventLoopGroup,
        allowed: Set<UInt32>? = nil,
        limits: FrameLimits = FrameLimits(),
        connections: Int = 10_000,
        perUser: Int = .max,
        exempt: Set<UInt32> = [],
        idleTimeout: TimeAmount? = nil,
        logger: Logger
    ) {
        let places = Listener.Limits(connections: connections, perClient: perUser, exempt: exempt)
        listener = Listener(group: group, limits: places)
        self.exempt = places.exempt
        self.idleTimeout = idleTimeout
        self.allowed = allowed.map { $0.union([0, getuid()]) }
        self.limits = limits
        self.logger = logger
    }

    /// Accepts on a listening socket and gives each connection to the session, once the peer's uid was checked.
    package func accept(
        on socket: CInt,
        sessions: Listener.Sessions = .short,
        session: @escaping @Sendable (Connection) async -> Void
    ) async throws {
        let refuse: @Sendable (Connection, Listener.Refusal) async -> Void = { connection, _ in
            connection.write(Frame.reply(.defer, status: .refusedForNow, text: "too many connections"))
            try? await connection.flush()
        }
        try await listener.accept(on: socket, sessions: sessions, refuse: refuse) { connection in
            if !(connection.peerUser.map(exempt.contains) ?? false) { connection.idleTimeout = idleTimeout }
            if let allowed, !(connection.peerUser.map(allowed.contains) ?? false) {
                connection.write(Frame.reply(.reject, status: .notAuthorized, text: "not allowed for this user"))
                try? await connection.flush()
                return
            }
            await session(connection)
        }
    }

    /// Accepts on a listening socket and answers each frame with the closure's reply, tagged as the request was.
    package func answer(on socket: CInt, _ answer: @escaping Answer) async throws {
        let limits = limits
        try await accept(on: socket) { connection in
            await Self.serve(connection, limits: limits, logger: logger, answer)
        }
    }

    /// Reads frames until the stream ends and gives each to the closure; a malformed one is answered and ends it.
    package static func serve(
        _ connection: Connection,
        limits: FrameLimits = FrameLimits(),
        logger: Logger,
        _ answer: Answer
    ) async {
        var parser = FrameParser(limits: limits)
        do {
            while let frame = try await connection.readFrame(&parser) {
                try await answer(frame, connection)
                // Replies to requests that came together leave together.
                if connection.input.readableBytes == 0 { try await connection.flush() }
            }
        } catch let error as FrameError {
            connection.write(Frame.reply(.reject, status: .syntaxError, text: error.text))
            try? await connection.flush()
        } catch let error as ConnectionError {
            logger.debug("bus connection ended", metadata: ["reason": "\(error)"])
        } catch {
            logger.warning("bus connection failed", metadata: ["reason": "\(error)"])
        }
    }

    /// Accepts no more and waits until the open connections are over, but no longer than the grace.
    package func shutDown(grace: TimeAmount) async { await listener.shutDown(grace: grace) }
}
