import DNS
import NIOCore
import Network

/// One query to another server, and how its answer is recognised: by ID, by the question with its random case and by the
/// cookie (beside the address and the port, which the connected socket checks).
struct UpstreamQuery: Sendable {
    /// What is asked, in random case.
    let question: Question
    let id: UInt16
    /// The message.
    let octets: [UInt8]
    /// Ours, and the server's as far as it's known.
    let cookie: CookieOption?

    /// - Parameters:
    ///   - form: what it has beside the question.
    ///   - isPadded: whether its length is to tell little (RFC 8467 §4.1); only with EDNS.
    ///   - random: gives the ID and the case.
    init(
        _ key: Outcome.Key,
        _ form: QueryForm,
        recursionDesired: Bool = true,
        isPadded: Bool = false,
        random: RandomReserve
    ) {
        var random = random
        let (withEDNS, cookie): (Bool, CookieOption?) =
            switch form {
            case .cookie(let cookie): (true, cookie)
            case .edns: (true, nil)
            case .plain: (false, nil)
            }
        let bits = random.next()
        id = UInt16(truncatingIfNeeded: bits)
        question = Question(name: Self.randomCase(key.name, bits: bits >> 16, random: &random), type: key.type)
        self.cookie = cookie
        var message = DNSMessage.query(id: id, question: question, dnssecOK: true)
        message.flags.recursionDesired = recursionDesired
        message.flags.checkingDisabled = key.checkingDisabled
        if let cookie { message.edns?.options.append(cookie.option) }
        if !withEDNS { message.edns = nil }
        if isPadded, withEDNS, let padding = EDNS.Option.padding(message.encode().count, block: .query) {
            message.edns?.options.append(padding)
        }
        octets = message.encode()
    }

    private static func randomCase(
        _ name: DomainName,
        bits: UInt64,
        random: inout some RandomNumberGenerator
    ) -> DomainName {
        var bits = bits
        var left = 48
        var wire = name.wire
        for index in wire.indices where (0x61...0x7A).contains(wire[index] | 0x20) {
            if left == 0 {
                bits = random.next()
                left = 64
            }
            // Lengths of labels are at most 63, so a letter's octet is a letter.
            wire[index] = wire[index] & 0xDF | (bits & 1 == 1 ? 0x20 : 0)
            bits >>= 1
            left -= 1
        }
        return (try? DomainName(wire: wire)) ?? name
    }

    /// What a message that came back is.
    enum Verdict {
        case answer(DNSMessage)
        /// The question came back in another case, or without the cookie that the server used to give: a forgery, or a
        /// server that spoils them.
        case doubtful
        /// Not an answer to this query; whoever sent it.
        case foreign
        /// Ours, and not to be understood.
        case malformed
    }

    func judge(_ reply: ByteBuffer) -> Verdict {
        guard reply.readableBytes >= DNSMessage.headerOctets,
            reply.getInteger(at: reply.readerIndex, as: UInt16.self) == id
        else { return .foreign }
        guard let message = try? DNSMessage(decoding: reply) else { return .malformed }
        guard message.flags.isResponse, message.flags.opcode == .query else { return .foreign }
        guard let echoed = message.questions.first, message.questions.count == 1 else {
            // Servers that don't understand EDNS may leave the question out.
            let isRefusal = message.responseCode == .formatError || message.responseCode == .notImplemented
            guard isRefusal, message.questions.isEmpty else { return .foreign }
            return judgeCookie(message) == .good ? .answer(message) : .doubtful
        }
        guard echoed == question else { return .foreign }
        switch judgeCookie(message) {
        case .good: return echoed.name.wire == question.name.wire ? .answer(message) : .doubtful
        case .missing: return .doubtful
        case .wrong: return .foreign
        }
    }
}
