import SMTP
import TLS

/// What a session with a host must be like before mail goes over it, and who says so.
struct SessionPolicy: Hashable, Sendable {
    /// Who decided; in the log under this name.
    enum Source: String, Sendable {
        /// The sender asked for it (RFC 8689).
        case requireTLS = "requiretls"
        /// RFC 7672
        case dane
        /// RFC 8461
        case mtaSTS = "mta-sts"
        /// A line of `[remote-relay.tls-policy]`, or a route's own.
        case configured
        /// `tls` in `[remote-relay]`.
        case standard = "default"
    }

    /// From the loosest to the strictest.
    enum Demand: Hashable, Sendable {
        case clearText
        /// TLS where it goes, else clear text. What the host shows may be looked at for reports.
        case opportunistic(ServerVerification)
        case encrypted
        case verified(ServerVerification)
    }

    let source: Source
    let demand: Demand
    /// The name that is asked for in the handshake; nil for none.
    let serverName: String?

    /// A larger number is stricter.
    var strictness: Int {
        switch demand {
        case .clearText: 0
        case .opportunistic: 1
        case .encrypted: 2
        case .verified(.authorities): 3
        case .verified(.dane): 4
        case .verified: 5
        }
    }

    /// What the host has to show.
    var verification: ServerVerification {
        switch demand {
        case .clearText, .encrypted: .nothing
        case .opportunistic(let verification), .verified(let verification): verification
        }
    }

    /// Whether mail may go in clear text.
    var allowsClearText: Bool {
        switch demand {
        case .clearText, .opportunistic: true
        case .encrypted, .verified: false
        }
    }

    /// For the log.
    func security(_ tls: TLSInfo?) -> SessionSecurity {
        SessionSecurity(policy: source.rawValue, version: tls?.version, proof: tls?.serverProof.map(Self.name))
    }

    /// As RFC 7218 names the usages of TLSA records.
    private static func name(_ proof: ServerProof) -> String {
        switch proof {
        case .authorities: "pkix"
        case .fingerprint: "fingerprint"
        case .daneTrustAnchor: "dane-ta"
        case .daneEndEntity: "dane-ee"
        }
    }
}

/// Why a host can't be used although nobody has talked to it, or because of what it has shown.
enum PolicyFault: Hashable, Sendable {
    /// Whether there are TLSA records can't be known now.
    case unknownRecords
    /// The domain's MTA-STS policy can't be known now.
    case unknownPolicy
    /// There are none, and they are wanted.
    case noRecords
    /// It's none of the hosts that the domain's MTA-STS policy names.
    case notInPolicy
    /// There are no authorities here to verify certificates by.
    case noAuthorities
    /// The certificate that it's to be shown can't be had, or nobody signs with its key.
    case noClientCertificate
}

/// One of those who have a say in how mail goes to a host.
protocol TransportPolicy: Sendable {
    /// What it demands of a session with the host; nil where it doesn't apply.
    ///
    /// - Throws: where the host may not be used at all now.
    func demand(_ target: Target) throws(SMTPClient.Failure) -> SessionPolicy?
}
