import DNS
import Daemon
import NIOCore

/// EDNS options of an answer that are for one client alone, and what its own say. They are added to an answer that may
/// have been kept ready for all.
struct AnswerOptions {
    /// The cookies to give; nil for a client that sent none.
    private(set) var cookie: CookiePair?
    /// Whether the client's cookie shows that answers reach its address.
    private(set) var isProven = false
    /// Who we are; nil where that wasn't asked.
    private(set) var identity: [UInt8]?

    init() {}

    /// What they are made of. A class, since a question must not cost a copy of it.
    final class Source: Sendable {
        let cookies: ServerCookies?
        let identity: [UInt8]
        let wallClock: @Sendable () -> UInt32

        init(_ settings: ResolverSettings) {
            cookies = settings.cookies
            identity = settings.identity
            wallClock = settings.clock.wallClock
        }
    }

    init(_ query: PlainQueryView, _ client: ClientStanding, _ source: Source) {
        if let cookies = source.cookies, let cookie = query.cookie {
            take(
                cookies.judge(
                    client: cookie.client,
                    server: cookie.server,
                    address: client.octets,
                    now: source.wallClock()
                )
            )
        }
        if query.asksForIdentity, !source.identity.isEmpty { identity = source.identity }
    }

    init(_ query: DNSMessage, _ client: ClientStanding, _ source: Source) {
        guard let edns = query.edns else { return }
        if let cookies = source.cookies, case .cookie(let option) = edns.cookie {
            let verdict = option.client.withUnsafeBytes { own in
                option.server.withUnsafeBytes { server in
                    cookies.judge(client: own, server: server, address: client.octets, now: source.wallClock())
                }
            }
            take(verdict)
        }
        if edns.asksForIdentity, !source.identity.isEmpty { identity = source.identity }
    }

    private mutating func take(_ verdict: ServerCookies.Verdict) {
        cookie = verdict.reply
        isProven = verdict.isValid
    }

    /// How many octets they take.
    var count: Int { (cookie == nil ? 0 : CookiePair.optionOctets) + (identity.map { 4 + $0.count } ?? 0) }

    /// Adds them to a message whose last record is OPT.
    ///
    /// - Parameter place: where that record begins.
    func append(to message: inout ByteBuffer, optAt place: Int) {
        guard count > 0 else { return }
        cookie?.write(to: &message)
        if let identity {
            message.writeInteger(EDNS.identityOptionCode)
            message.writeInteger(UInt16(clamping: identity.count))
            message.writeBytes(identity)
        }
        // Behind name, type, payload size, code, version and flags.
        let lengthAt = message.readerIndex + place + 9
        let length = message.getInteger(at: lengthAt, as: UInt16.self) ?? 0
        message.setInteger(length + UInt16(clamping: count), at: lengthAt)
    }

    /// Adds them to an answer that is still to be encoded.
    func add(to response: inout DNSMessage) {
        if let cookie { response.edns?.options.append(cookie.option) }
        if let identity {
            response.edns?.options.append(EDNS.Option(code: EDNS.identityOptionCode, data: identity))
        }
    }

    /// The octets of an answer with them.
    func added(to octets: [UInt8], of response: DNSMessage) -> ByteBuffer {
        guard count > 0, let edns = response.edns else { return ByteBuffer(bytes: octets) }
        var buffer = ByteBufferAllocator().buffer(capacity: octets.count + count)
        buffer.writeBytes(octets)
        append(to: &buffer, optAt: octets.count - edns.encodedCount)
        return buffer
    }
}
