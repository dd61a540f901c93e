import DNS
import Logging
import MailAuth
import NIOCore
import NIOHTTP1
import Network
import SMTP
import TLS

/// Fetches the policy of a domain from `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461 §3.3): no redirections, from the host that
/// has a certificate of that name alone.
struct PolicyFetch: Sendable {
    /// The addresses of the policy's host, or why there are none.
    typealias Lookup = @Sendable (DomainName) async -> Result<[SocketAddress], HostLookup.Failure>

    let lookup: Lookup
    /// With the authorities that certificates are verified by.
    let context: TLSContext
    let loop: any EventLoop
    /// How long all of it may take (RFC 8461 §3.3 suggests a minute).
    var time = TimeAmount.seconds(30)

    private static let path = "/.well-known/mta-sts.txt"
    /// Addresses that are tried.
    private static let maximumAddresses = 3

    func policy(of domain: DomainName) async throws(MTASTSFault) -> [UInt8] {
        guard let host = try? domain.prepending(label: "mta-sts".utf8) else {
            throw .notFetched("the name of the policy's host is too long")
        }
        let addresses: [SocketAddress]
        switch await lookup(host) {
        case .success(let found): addresses = found
        case .failure(let failure): throw .notFetched(failure.result.text)
        }
        let end = NIODeadline.now() + time
        var fault = MTASTSFault.notFetched("\(HostLookup.text(host)) has no address")
        let tried = addresses.prefix(Self.maximumAddresses)
        for (index, address) in tried.enumerated() {
            // One that doesn't answer leaves the others their share.
            let left = end - .now()
            let share = TimeAmount.nanoseconds(left.nanoseconds / Int64(tried.count - index))
            do throws(MTASTSFault) {
                return try await get(HostLookup.text(host), address, until: .now() + share)
            } catch {
                fault = error
            }
            guard .now() < end else { break }
        }
        throw fault
    }

    private func get(_ host: String, _ address: SocketAddress, until end: NIODeadline) async throws(MTASTSFault)
        -> [UInt8]
    {
        let connection: Connection
        do {
            connection = try await Connection.connect(to: address, on: loop, timeout: end - .now())
        } catch {
            throw .notFetched("\(host): \(error.reason)")
        }
        defer { connection.abort() }
        connection.idleTimeout = end - .now()
        do {
            try await connection.startTLS(
                client: context,
                serverName: host,
                verification: .authorities(names: [host])
            )
        } catch {
            let reason = "\(host): \(error.reason)"
            throw connection.certificateFault == nil ? .notFetched(reason) : .notVerified(reason)
        }
        let answer = PolicyAnswer(host: host, path: Self.path, limit: MTASTSPolicy.maximumOctets)
        do {
            return try await answer.octets(over: connection, until: end)
        } catch let fault as MTASTSFault {
            throw fault
        } catch {
            throw .notFetched("\(host): \(error)")
        }
    }
}

/// One question over HTTP/1.1 and its answer.
private final class PolicyAnswer: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let host: String
    private let path: String
    private let limit: Int
    private var body: [UInt8] = []
    private var promise: EventLoopPromise<[UInt8]>?

    /// - Parameter limit: octets of the answer's body.
    init(host: String, path: String, limit: Int) {
        self.host = host
        self.path = path
        self.limit = limit
    }

    func octets(over connection: Connection, until end: NIODeadline) async throws -> [UInt8] {
        let loop = connection.eventLoop
        let promise = loop.makePromise(of: [UInt8].self)
        self.promise = promise
        let timer = loop.scheduleTask(deadline: end) { promise.fail(MTASTSFault.notFetched("no answer in time")) }
        defer { timer.cancel() }
        do {
            try connection.handOver(to: [HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder()), self])
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let headers: HTTPHeaders = ["host": host, "accept": "text/plain", "connection": "close"]
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            // Redirections must not be followed (RFC 8461 §3.3).
            guard head.status == .ok else { return fail("the answer is \(head.status.code)") }
            let type = head.headers.first(name: "content-type")?.split(separator: ";").first?.lowercased()
            guard type == nil || type == "text/plain" else { return fail("the answer is no text") }
        case .body(let piece):
            guard body.count + piece.readableBytes <= limit else { return fail("the policy is too long") }
            body += piece.readableBytesView
        case .end: promise?.succeed(body)
        }
    }

    private func fail(_ reason: String) { promise?.fail(MTASTSFault.notFetched(reason)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail("what is answered is no HTTP") }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The decoder is told first, and may have found the answer's end in it.
        if let event = event as? ChannelEvent, event == .inputClosed { fail("the host closed") }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail("the host closed")
        context.fireChannelInactive()
    }
}
