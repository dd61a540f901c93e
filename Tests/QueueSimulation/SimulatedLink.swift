import Bus
import Deliverer
import NIOCore
import QueueManager

/// A deliverer as the queue sees it: has requests in flight, dies and comes back when the simulation says so.
final class SimulatedLink: DelivererLink, @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    /// A request that has no last answer yet.
    final class Request {
        let frame: Frame
        let request: DeliverRequest
        let handler: BusClient.ReplyHandler
        /// The recipients that have no result yet, as positions in the request.
        var open: [Int]
        /// Octets of a large message that were asked for, and those that came.
        var asked = 0
        var pieces: [PieceRequest] = []
        var received = 0
        /// A piece could not be read.
        var isRefused = false

        init(_ frame: Frame, _ request: DeliverRequest, _ handler: @escaping BusClient.ReplyHandler) {
            self.frame = frame
            self.request = request
            self.handler = handler
            open = Array(request.recipients.indices)
        }

        var tag: String { frame["tag"] ?? "" }
        /// Whether the deliverer has all of the message.
        var isWhole: Bool { request.message != nil || received == request.octets }
    }

    let isLocal: Bool
    private(set) var requests: [Request] = []
    private(set) var isConnected = false
    /// Whether somebody looks for it.
    private(set) var isWanted = false
    private var isClosed = false
    private var tag = 0
    private let onReturn: () -> Void
    /// Told of each request.
    private let onRequest: (Request) -> Void
    /// Told of each piece that came.
    private let onPiece: (Request, PieceRequest, ByteBuffer) -> Void

    init(
        isLocal: Bool,
        onReturn: @escaping () -> Void,
        onRequest: @escaping (Request) -> Void,
        onPiece: @escaping (Request, PieceRequest, ByteBuffer) -> Void
    ) {
        self.isLocal = isLocal
        self.onReturn = onReturn
        self.onRequest = onRequest
        self.onPiece = onPiece
    }

    // MARK: For the queue

    func connect() { isWanted = !isConnected && !isClosed }

    func send(_ frame: Frame, _ handler: @escaping BusClient.ReplyHandler) {
        guard isConnected else {
            _ = handler(.failure(.unavailable("it's away")))
            return
        }
        tag += 1
        var frame = frame
        frame.fields.append(.init("tag", String(tag)))
        guard let request = try? DeliverRequest(frame) else { preconditionFailure("a malformed request: \(frame)") }
        let entry = Request(frame, request, handler)
        requests.append(entry)
        onRequest(entry)
    }

    func answer(_ frame: Frame) {
        guard let request = requests.first(where: { $0.tag == frame["tag"] }),
            let offset = frame.integer("offset"), let index = request.pieces.firstIndex(where: { $0.offset == offset })
        else { return }
        let piece = request.pieces.remove(at: index)
        guard frame.replyKind == .ok, let octets = frame.body else {
            request.isRefused = true
            return
        }
        request.received += octets.readableBytes
        onPiece(request, piece, octets)
    }

    func close() {
        isClosed = true
        isConnected = false
        requests = []
    }

    // MARK: For the simulation

    func comeBack() {
        isWanted = false
        isConnected = true
        onReturn()
    }

    /// It ends with all that it was doing.
    func die() {
        isConnected = false
        let lost = requests
        requests = []
        for request in lost { _ = request.handler(.failure(.unavailable("it went away"))) }
    }

    func askForPiece(_ request: Request, maximum: Int) {
        let length = min(maximum, DeliverRequest.pieceLimit, request.request.octets - request.asked)
        let piece = PieceRequest(tag: request.tag, offset: request.asked, length: length)
        request.asked += length
        request.pieces.append(piece)
        _ = request.handler(.success(piece.frame))
    }

    /// Hands over an answer.
    func reply(_ frame: Frame, to request: Request) {
        var frame = frame
        frame.fields.insert(.init("tag", request.tag), at: 0)
        let isLast = request.handler(.success(frame))
        if isLast { requests.removeAll { $0 === request } }
    }
}
