import Bus
import DNS
import MailAuth
import NIOCore

/// A domain's MTA-STS policy as it was fetched.
struct KeptPolicy: Sendable, Equatable {
    /// Whose mail a domain's policy is kept for.
    enum Cause: Hashable, Sendable {
        case account(String)
        /// A report went there: strangers choose where.
        case report
        case other

        /// As it's written down.
        fileprivate var text: String {
            switch self {
            case .account(let name): "account \(name)"
            case .report: "report"
            case .other: "other"
            }
        }

        fileprivate init(_ text: String) {
            switch text {
            case "report": self = .report
            case let text where text.hasPrefix("account "): self = .account(String(text.dropFirst(8)))
            default: self = .other
            }
        }
    }

    let domain: DomainName
    /// What the record said when it was fetched.
    var id: [UInt8]
    /// Seconds since 1970.
    var fetched: Int64
    let policy: MTASTSPolicy
    private(set) var cause: Cause

    /// Somebody else's mail goes there, too. What strangers have caused, an account takes over; not the other way round.
    mutating func use(by cause: Cause) {
        guard case .account = cause else { return }
        self.cause = cause
    }

    /// Until when it counts (RFC 8461 §3.2). Seconds since 1970.
    var end: Int64 { fetched + Int64(policy.maximumAge) }

    /// From when on it's fetched again, lest somebody who keeps us from it for a while has it forgotten (RFC 8461 §10.2).
    var renewal: Int64 { fetched + min(Int64(policy.maximumAge) / 2, Self.renewalTime) }

    private static let renewalTime: Int64 = 24 * 3600
    private static let verb = "MTA-STS"

    /// As it's written down.
    var encoded: ByteBuffer {
        var octets = ByteBuffer()
        let fields = [
            "domain": HostLookup.text(domain), "id": String(decoding: id, as: UTF8.self), "fetched": String(fetched),
            "cause": cause.text,
        ]
        octets.writeFrame(
            Frame(
                Self.verb,
                fields.sorted { $0.key < $1.key }.map { .init($0.key, $0.value) },
                body: ByteBuffer(bytes: policy.written())
            )
        )
        return octets
    }

    init(domain: DomainName, id: [UInt8], fetched: Int64, policy: MTASTSPolicy, cause: Cause = .other) {
        self.domain = domain
        self.id = id
        self.fetched = fetched
        self.policy = policy
        self.cause = cause
    }

    /// Reads what was written down; nil for anything else.
    init?(_ frame: Frame) {
        guard frame.verb == Self.verb, let domain = frame["domain"].flatMap({ try? DomainName($0) }),
            let id = frame["id"], let fetched = frame.integer("fetched"), fetched >= 0, let body = frame.body,
            let policy = try? MTASTSPolicy(reading: Array(body.readableBytesView))
        else { return nil }
        self.init(
            domain: domain,
            id: Array(id.utf8),
            fetched: Int64(fetched),
            policy: policy,
            cause: Cause(frame["cause"] ?? "")
        )
    }
}
