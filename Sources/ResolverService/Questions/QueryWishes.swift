import DNS
import NIOCore

/// What a query asks for by EDNS options that concern its own answer's OPT record and nothing else: the same answer, kept
/// without them, serves those who ask otherwise.
struct QueryWishes: OptionSet {
    let rawValue: UInt8

    /// How long the connection may be silent (RFC 7828).
    static let keepalive = QueryWishes(rawValue: 1)
    /// A length that tells less (RFC 7830).
    static let padding = QueryWishes(rawValue: 2)

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ edns: EDNS) {
        self = []
        for option in edns.options { add(option.code) }
    }

    /// Adds what an option asks for.
    mutating func add(_ code: UInt16) {
        switch code {
        case EDNS.Option.keepaliveCode: insert(.keepalive)
        case EDNS.Option.paddingCode: insert(.padding)
        default: break
        }
    }

    /// Puts the options into an answer: the time on streams only (RFC 7828 §3.2.1), padding where it's encrypted (RFC 7830
    /// §4), and that last, for it counts the others.
    ///
    /// - Parameters:
    ///   - place: where the answer's OPT record begins.
    ///   - maximum: octets that the answer may have.
    /// - Returns: false where they don't fit; the answer is as it was then.
    func fulfil(in answer: inout ByteBuffer, optAt place: Int, _ client: QueryEngine.Client, maximum: Int) -> Bool {
        if contains(.keepalive), let timeout = client.idleTimeout {
            let option = EDNS.Option.keepalive(timeout)
            guard answer.readableBytes + option.encodedCount <= maximum else { return false }
            DNSMessage.append(option, to: &answer, optAt: place)
        }
        if contains(.padding), client.transport.isEncrypted,
            let option = EDNS.Option.padding(answer.readableBytes, block: .response)
        {
            DNSMessage.append(option, to: &answer, optAt: place)
        }
        return true
    }
}
