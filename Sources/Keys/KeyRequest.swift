import Bus
import Cryptography
import NIOCore

/// What keyd is asked (docs/protocols.md, "key.sock").
package enum KeyRequest: Equatable, Sendable {
    /// The certificate for a server's name and these schemes.
    case certificate(serverName: String?, schemes: [SigningAlgorithm])
    /// All certificates.
    case certificates
    /// A signature: with a key of TLS of what a handshake signs, with one of DKIM of a digest.
    case sign(key: KeyName, algorithm: SigningAlgorithm, octets: [UInt8])
    /// The keys that mail of a domain is signed with now.
    case dkim(domain: String)
    /// The keys for tickets of a service.
    case tickets(service: String)
    /// To be told of every change.
    case watch

    private enum Verb: String {
        case certificate = "CERTIFICATE"
        case certificates = "CERTIFICATES"
        case sign = "SIGN"
        case dkim = "DKIM"
        case tickets = "TICKETS"
        case watch = "WATCH"
    }

    /// Of what is signed: the messages of a handshake of TLS 1.2 up to a client's signature are the longest.
    package static let maximumOctets = 32 * 1024

    /// What is wrong with a frame.
    package enum Fault: Error, Equatable {
        case unknownVerb
        case malformed(String)
    }

    package init(_ frame: Frame) throws(Fault) {
        guard let verb = Verb(rawValue: frame.verb) else { throw .unknownVerb }
        switch verb {
        case .certificate:
            // Schemes that nobody here knows don't matter.
            let schemes = frame.all("scheme")
            let known = schemes.compactMap(SigningAlgorithm.init).filter { $0.purpose == .tls }
            // But none at all is not the same as every one.
            guard schemes.isEmpty || !known.isEmpty else { throw .malformed("scheme") }
            self = .certificate(
                serverName: frame["server-name"]?.lowercased(),
                schemes: schemes.isEmpty ? SigningAlgorithm.allCases.filter { $0.purpose == .tls } : known
            )
        case .certificates: self = .certificates
        case .sign:
            guard let key = frame["key"].flatMap(KeyName.init) else { throw .malformed("key") }
            guard let algorithm = frame["algorithm"].flatMap(SigningAlgorithm.init), algorithm.purpose == key.purpose
            else {
                throw .malformed("algorithm")
            }
            let octets = frame.body.map { Array($0.readableBytesView) } ?? []
            switch algorithm.purpose {
            case .tls:
                guard octets.count <= Self.maximumOctets, HandshakeRole(signing: octets, by: algorithm) != nil else {
                    throw .malformed("octets")
                }
            // RFC 8463 §3 has Ed25519 sign a digest, too.
            case .dkim: guard octets.count == HashFunction.sha256.digestLength else { throw .malformed("size") }
            }
            self = .sign(key: key, algorithm: algorithm, octets: octets)
        case .dkim:
            guard let domain = frame["domain"]?.lowercased(), Self.isDomain(domain) else { throw .malformed("domain") }
            self = .dkim(domain: domain)
        case .tickets:
            guard let service = frame["service"] else { throw .malformed("service") }
            self = .tickets(service: service)
        case .watch: self = .watch
        }
    }

    package var frame: Frame {
        switch self {
        case .certificate(let serverName, let schemes):
            Frame(
                Verb.certificate.rawValue,
                [serverName.map { Frame.Field("server-name", $0) }].compactMap(\.self)
                    + schemes.map { .init("scheme", $0.rawValue) }
            )
        case .certificates: Frame(Verb.certificates.rawValue)
        case .sign(let key, let algorithm, let octets):
            Frame(
                Verb.sign.rawValue,
                ["key": key.description, "algorithm": algorithm.rawValue],
                body: ByteBuffer(bytes: octets)
            )
        case .dkim(let domain): Frame(Verb.dkim.rawValue, ["domain": domain])
        case .tickets(let service): Frame(Verb.tickets.rawValue, ["service": service])
        case .watch: Frame(Verb.watch.rawValue)
        }
    }

    /// Whether a name may be that of a directory of keys: a domain name in ASCII.
    package static func isDomain(_ name: String) -> Bool {
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return name.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.count)
                    && label.allSatisfy {
                        $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || (0x30...0x39).contains($0)
                            || (0x61...0x7a).contains($0)
                    }
            }
    }
}
