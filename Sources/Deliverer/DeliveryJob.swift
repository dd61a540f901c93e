import NIOCore
import SMTP

/// A request that is being worked on: the message, and a result for each recipient as soon as it's known. Belongs to one
/// event loop.
package final class DeliveryJob: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    package let request: DeliverRequest
    package let message: MessageSource

    private let loop: any EventLoop
    private let tell: (_ place: Int, DeliveryResult) -> Void
    private var isOpen: [Bool]
    /// Where the message is by now, for the log: names of files, by the recipient's place in the request.
    private(set) var files: [Int: String] = [:]
    /// queue-manager cancelled it: nothing new is begun.
    private(set) var isCancelled = false
    /// queue-manager's connection has ended, or the daemon ends: nobody waits for the results.
    private(set) var isOrphaned = false

    /// - Parameter tell: takes each recipient's result, by its place in the request.
    package init(
        _ request: DeliverRequest,
        _ message: MessageSource,
        on loop: any EventLoop,
        tell: @escaping (_ place: Int, DeliveryResult) -> Void
    ) {
        self.request = request
        self.message = message
        self.loop = loop
        self.tell = tell
        isOpen = [Bool](repeating: true, count: request.recipients.count)
    }

    /// Whether nothing more should be begun for it. Recipients that are left without a result are answered by the server.
    package var isAbandoned: Bool { isCancelled || isOrphaned }

    /// The places of the recipients without a result.
    package var open: [Int] { isOpen.indices.filter { isOpen[$0] } }

    /// Reports what became of a recipient. Only the first result of each counts.
    ///
    /// - Parameter file: the name of the file that the message is in, for the log.
    package func report(_ result: DeliveryResult, at place: Int, file: String? = nil) {
        loop.assertInEventLoop()
        guard isOpen.indices.contains(place), isOpen[place] else { return }
        isOpen[place] = false
        files[place] = file
        tell(place, result)
    }

    /// Reports what became of all recipients that have no result yet.
    package func report(_ result: DeliveryResult) {
        for place in open { report(result, at: place) }
    }

    package func cancel() {
        loop.assertInEventLoop()
        isCancelled = true
    }

    /// Nobody waits for a result, and no piece comes any more.
    package func abandon() {
        loop.assertInEventLoop()
        isOrphaned = true
        message.end()
    }
}
