import DNS
import NIOCore

/// The cookies between us and one server (RFC 7873 §5.1, §5.3). They stand against forged answers: whoever doesn't see
/// our queries can't know our cookie.
struct UpstreamCookies {
    /// Ours, for this server alone, so that servers can't tell from it who we are to others.
    private let client: [UInt8]
    /// The server's; empty where it hasn't given any.
    private var server: [UInt8] = []
    /// Until when queries go without, because the server doesn't understand the option.
    private var absentUntil = NIODeadline.uptimeNanoseconds(0)

    private static let absentTime = TimeAmount.minutes(15)

    init() {
        let random = UInt64.random(in: .min ... .max)
        client = (0..<8).map { UInt8(truncatingIfNeeded: random >> UInt64(8 * $0)) }
    }

    /// What goes with a query.
    var option: CookieOption? { absentUntil < .now() ? CookieOption(client: client, server: server) : nil }

    mutating func avoid() {
        absentUntil = .now() + Self.absentTime
        server = []
    }

    /// Learns from an answer that is believed; one without a cookie says that the server has none any more.
    mutating func learn(_ message: DNSMessage) {
        guard case .cookie(let cookie) = message.edns?.cookie, cookie.client == client else {
            server = []
            return
        }
        if !cookie.server.isEmpty { server = cookie.server }
    }
}

extension UpstreamQuery {
    /// What an answer's cookie says of who sent it.
    enum CookieVerdict {
        case good
        /// None where the server gave one before: a forgery, or another server at the same address.
        case missing
        /// Nobody who saw the query has sent it.
        case wrong
    }

    func judgeCookie(_ message: DNSMessage) -> CookieVerdict {
        guard let sent = cookie else { return .good }
        switch message.edns?.cookie ?? .none {
        case .none: return sent.server.isEmpty ? .good : .missing
        case .malformed: return .wrong
        case .cookie(let echoed): return echoed.client == sent.client ? .good : .wrong
        }
    }
}
