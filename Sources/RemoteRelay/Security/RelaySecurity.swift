import DNS
import Daemon
import Keys
import NIOCore
import TLS

/// What sessions with other hosts are protected by. Belongs to the relay's event loop.
struct RelaySecurity {
    let context: TLSContext
    /// Whether the context has authorities to verify certificates by.
    let hasAuthorities: Bool
    /// By their names.
    let credentials: [String: RelayCredentials]
    private let policies: MTASTSPolicies?
    private let certificates: ServerKeys?
    private let resumption: TLSResumption

    /// - Parameters:
    ///   - policies: nil where MTA-STS isn't looked at.
    ///   - certificates: what hosts may be shown that ask for it; nil for nothing.
    init(
        _ context: TLSContext,
        hasAuthorities: Bool,
        credentials: [String: RelayCredentials] = [:],
        policies: MTASTSPolicies? = nil,
        certificates: ServerKeys? = nil,
        on loop: any EventLoop
    ) {
        self.context = context
        self.hasAuthorities = hasAuthorities
        self.credentials = credentials
        self.policies = policies
        self.certificates = certificates
        resumption = TLSResumption(on: loop)
    }

    /// TLS for one session.
    ///
    /// - Parameter clientCertificate: the pair that the host is to be shown; nil for none.
    /// - Throws: where keyd hasn't named it: the host may have mail only from who shows it.
    func use(serverName: String?, clientCertificate: String? = nil) throws(SMTPClient.Failure) -> SMTPClient.TLSUse {
        guard let clientCertificate else {
            return SMTPClient.TLSUse(context: context, serverName: serverName, resumption: resumption)
        }
        guard let certificates, let shown = certificates.certificate(ofPair: clientCertificate) else {
            throw .policy(
                .noClientCertificate,
                "the client certificate \(clientCertificate) can't be had from keyd now"
            )
        }
        return SMTPClient.TLSUse(
            context: context,
            serverName: serverName,
            resumption: resumption,
            identity: TLSIdentity(shown, keys: certificates),
            identityName: clientCertificate
        )
    }

    /// What a domain asks for; nothing where it isn't one.
    func mtaSTS(of domain: String) async -> MTASTSPolicies.Finding {
        guard let policies, domain.utf8.first != UInt8(ascii: "["), let name = HostLookup.domainName(domain) else {
            return .init()
        }
        return await policies.finding(for: name.lowercased)
    }
}
