import Bus
import Logging
import NIOCore
import Network

/// Serves `DELIVER` on a deliverer's socket (docs/protocols.md, "deliver.sock and relay.sock"): everything about the
/// requests, their pieces and their answers but what is done with the message.
package final class DeliveryServer: Sendable {
    /// Works on one request, on the connection's event loop, and reports a result for each recipient. When it returns,
    /// recipients without one are told to wait. Several requests are worked on at a time.
    package typealias Work = @Sendable (DeliveryJob) async -> Void

    /// What differs between deliverers.
    package struct Settings: Sendable {
        /// The log's word for a result.
        package var event: Logger.Message
        /// The counter of recipients that are done.
        package var successCounter: String
        /// Requests of one connection that are worked on at a time.
        package var maximumRequests: Int

        package init(event: Logger.Message, successCounter: String, maximumRequests: Int = 10_000) {
            self.event = event
            self.successCounter = successCounter
            self.maximumRequests = maximumRequests
        }
    }

    private let server: BusServer
    private let settings: Settings
    private let counters: DeliveryCounters
    private let logger: Logger
    private let work: Work

    /// - Parameter allowed: uids that may connect beside root and our own; nil for anybody.
    package init(
        group: any EventLoopGroup,
        allowed: Set<UInt32>? = nil,
        settings: Settings,
        logger: Logger,
        work: @escaping Work
    ) {
        server = BusServer(group: group, allowed: allowed, logger: logger)
        self.settings = settings
        counters = DeliveryCounters(success: settings.successCounter)
        self.logger = logger
        self.work = work
    }

    /// Starts to accept on a listening socket.
    package func accept(on socket: CInt) async throws {
        try await server.accept(on: socket) { [settings, counters, logger, work] connection in
            await DeliverySession(connection, settings: settings, counters: counters, logger: logger, work: work).run()
        }
    }

    /// Accepts no more, breaks off what can be, and waits for the rest, but no longer than the grace.
    package func shutDown(grace: TimeAmount) async { await server.shutDown(grace: grace) }
}
