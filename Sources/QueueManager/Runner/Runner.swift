import Bus
import Daemon
import Deliverer
import DequeModule
import NIOCore
import SMTP
import Spool

/// Why a delivery is over.
enum DeliveryEnd {
    /// Every recipient has a result.
    case answered
    /// The deliverer went away: the reason. Some recipients may have a result.
    case lost(BusError)
}

/// Brings messages to the deliverers and gives them the pieces that they ask for. Belongs to the queue's event loop.
final class Runner: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Is told what comes of deliveries.
    struct Listener {
        /// The message can't be read now, or is not where it should be.
        var unreadable: (DeliveryJob, SpoolError) -> Void
        /// The message is being read, and where its file was found.
        var read: (DeliveryJob, Spool.Content) -> Bool
        /// Recipients have results.
        var answered: (Delivery, [Int]) -> Void
        var ended: (Delivery, DeliveryEnd) -> Void
    }

    private let spool: Spool
    private let loop: any EventLoop
    private let local: any DelivererLink
    private let remote: any DelivererLink
    /// nil where no route leads to a program.
    private let pipe: (any DelivererLink)?
    /// nil where there are no routes.
    private let routes: RouteDirectory?
    private let listener: Listener
    /// Of messages that are with deliverers. Octets.
    private var octets = 0
    private var isClosed = false

    /// What deliveries may hold in memory before new ones wait. Octets.
    private static let memory = 32 << 20
    /// Pieces that a deliverer may ask for ahead.
    private static let maximumPieces = 64

    init(
        spool: Spool,
        loop: any EventLoop,
        local: any DelivererLink,
        remote: any DelivererLink,
        pipe: (any DelivererLink)? = nil,
        routes: RouteDirectory? = nil,
        listener: Listener
    ) {
        self.spool = spool
        self.loop = loop
        self.local = local
        self.remote = remote
        self.pipe = pipe
        self.routes = routes
        self.listener = listener
    }

    /// Whether one more delivery may begin.
    var hasRoom: Bool { octets < Self.memory && !isClosed }

    /// Whether the deliverer for a destination takes requests. Where it's away, it's looked for.
    func isReachable(_ destination: Destination) -> Bool {
        let link = link(isLocal: destination.isLocal)
        if !link.isConnected { link.connect() }
        return link.isConnected
    }

    private func link(isLocal: Bool) -> any DelivererLink { isLocal ? local : remote }

    func close() {
        loop.assertInEventLoop()
        isClosed = true
        local.close()
        remote.close()
        pipe?.close()
        routes?.close()
    }

    // MARK: A delivery

    /// Begins a delivery; the listener hears what comes of it.
    func begin(_ job: DeliveryJob) {
        loop.assertInEventLoop()
        let message = job.message
        if let content = message.content, content.message != nil || message.octets > DeliverRequest.inlineLimit {
            return send(Delivery(job, content))
        }
        let id = message.id
        spool.perform { (spool) throws(SpoolError) in
            try spool.content(of: id, verified: true, messageLimit: DeliverRequest.inlineLimit)
        } done: { [self] result in
            if isClosed { return }
            switch result {
            case .failure(let error): listener.unreadable(job, error)
            case .success(let content):
                if listener.read(job, content) { send(Delivery(job, content)) }
            }
        }
    }

    /// Sends it where it goes now.
    private func send(_ delivery: Delivery) {
        octets += delivery.octets
        guard let routes, let question = delivery.routeQuestion else { return send(delivery, by: nil) }
        routes.route(for: question) { [self] result in
            if isClosed { return }
            switch result {
            case .success(let route): send(delivery, by: route)
            case .failure(let failure):
                listener.answered(delivery, delivery.fail(failure))
                end(delivery, .answered)
            }
        }
    }

    private func send(_ delivery: Delivery, by route: RelayRoute?) {
        var link = link(isLocal: delivery.job.destination.isEmpty)
        if case .pipe = route, let pipe {
            guard pipe.isConnected else {
                pipe.connect()
                listener.answered(delivery, delivery.fail(.away))
                return end(delivery, .answered)
            }
            link = pipe
        }
        var request = delivery.request
        request.route = route
        link.send(request.frame) { [self] result in
            if isClosed { return true }
            switch result {
            case .failure(let error):
                end(delivery, .lost(error))
                return true
            case .success(let frame):
                if frame.verb == PieceRequest.verb {
                    serve(frame, delivery, link)
                    return false
                }
                let positions = delivery.answer(frame)
                if !positions.isEmpty { listener.answered(delivery, positions) }
                guard delivery.missing == 0 else { return false }
                end(delivery, .answered)
                return true
            }
        }
    }

    private func end(_ delivery: Delivery, _ end: DeliveryEnd) {
        octets -= delivery.octets
        delivery.pieces = []
        listener.ended(delivery, end)
    }

    // MARK: Pieces

    /// A deliverer wants a piece of a message. Pieces of one delivery are given in the order they were asked for.
    private func serve(_ frame: Frame, _ delivery: Delivery, _ link: any DelivererLink) {
        let refusal = Frame.reply(.reject, status: .invalidArguments, text: "no such piece", tag: frame["tag"])
        guard delivery.pieces.count < Self.maximumPieces else { return link.answer(refusal) }
        let piece = PieceRequest(frame).flatMap { piece in
            piece.offset <= delivery.content.head.octets - piece.length ? piece : nil
        }
        delivery.pieces.append(piece.map { .read($0) } ?? .refuse(refusal))
        if delivery.pieces.count == 1 { givePiece(delivery, link) }
    }

    private func givePiece(_ delivery: Delivery, _ link: any DelivererLink) {
        switch delivery.pieces.first {
        case .read(let piece): read(piece, delivery, link)
        case .refuse(let refusal):
            delivery.pieces.removeFirst()
            link.answer(refusal)
            givePiece(delivery, link)
        case nil: return
        }
    }

    private func read(_ piece: PieceRequest, _ delivery: Delivery, _ link: any DelivererLink) {
        let head = delivery.content.head
        let id = head.envelope.id
        spool.perform { (spool) throws(SpoolError) in
            try spool.piece(of: id, (head.offset, head.octets), at: piece.offset, maximum: piece.length)
        } done: { [self] result in
            guard !isClosed, delivery.pieces.popFirst() != nil else { return }
            switch result {
            case .success(let octets): link.answer(piece.answer(octets))
            case .failure(let error): link.answer(piece.refusal("\(error)"))
            }
            givePiece(delivery, link)
        }
    }
}
