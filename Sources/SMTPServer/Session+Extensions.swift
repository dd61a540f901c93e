import Daemon
import Front
import MIME
import Network
import SASL
import SMTP

extension Session {
    /// Whether an extension is offered to this client now: everything that depends on who it is and how it came.
    func offers(_ serviceExtension: ServiceExtension) -> Bool {
        guard extensions.contains(serviceExtension) else { return false }
        switch serviceExtension {
        case .pipelining, .size, .eightBitMIME, .enhancedStatusCodes, .chunking, .binaryMIME, .utf8, .dsn, .limits,
            .deliverBy, .help:
            return true
        case .startTLS: return front.mayStartTLS
        case .auth: return kind != .lmtp && !front.mechanisms.isEmpty
        // Not to be promised where the message has come in the clear (RFC 8689 §2 (1)).
        case .requireTLS: return connection.tls != nil
        // For submission (RFC 4865 §3), and for who is trusted as much.
        case .futureRelease: return settings.limits.hold > 0 && isOurs
        case .priority, .variableSender: return isOurs
        case .verify: return true
        case .expand: return mayLookUp
        case .client: return isTrustedProxy
        }
    }

    /// Whether the client sends for us: a user, or a host whose mail goes through here.
    private var isOurs: Bool { kind.isSubmission || user != nil || mayRelayByAddress }

    /// Whether the client is told which addresses there are.
    var mayLookUp: Bool {
        switch settings.addressLookup {
        case .nobody: false
        case .trusted: user != nil || mayRelayByAddress || kind == .lmtp
        case .anybody: true
        }
    }

    /// The extension's line in the reply to EHLO.
    func announcement(_ serviceExtension: ServiceExtension) -> String {
        let keyword = serviceExtension.rawValue
        switch serviceExtension {
        case .size: return "\(keyword) \(settings.limits.message)"
        case .auth: return "\(keyword) \(front.mechanisms.map(\.rawValue).joined(separator: " "))"
        case .limits: return "\(keyword) RCPTMAX=\(settings.limits.recipients)"
        case .deliverBy: return "\(keyword) \(settings.limits.deliverBy)"
        case .futureRelease:
            return
                "\(keyword) \(settings.limits.hold) \(InternetTimestamp.text(DateTime.secondsNow() + settings.limits.hold))"
        case .client: return "\(keyword) \(ClientAttributes.Name.allCases.map(\.rawValue).joined(separator: " "))"
        case .pipelining, .startTLS, .eightBitMIME, .enhancedStatusCodes, .chunking, .binaryMIME, .utf8, .dsn,
            .requireTLS, .priority, .verify, .expand, .help, .variableSender:
            return keyword
        }
    }

    /// The first parameter that belongs to an extension that is not offered.
    func unoffered(_ used: [(name: String, serviceExtension: ServiceExtension)]) -> String? {
        used.first { parameter in
            // Who submitted a message first may be said by anybody (RFC 4954 §5).
            parameter.serviceExtension == .auth ? !extensions.contains(.auth) : !offers(parameter.serviceExtension)
        }?.name
    }
}
