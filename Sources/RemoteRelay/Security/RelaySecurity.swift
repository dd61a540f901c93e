import DNS
import Daemon
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
    private let resumption: TLSResumption

    /// - Parameter policies: nil where MTA-STS isn't looked at.
    init(
        _ context: TLSContext,
        hasAuthorities: Bool,
        credentials: [String: RelayCredentials] = [:],
        policies: MTASTSPolicies? = nil,
        on loop: any EventLoop
    ) {
        self.context = context
        self.hasAuthorities = hasAuthorities
        self.credentials = credentials
        self.policies = policies
        resumption = TLSResumption(on: loop)
    }

    /// TLS for one session.
    func use(serverName: String?) -> SMTPClient.TLSUse {
        SMTPClient.TLSUse(context: context, serverName: serverName, resumption: resumption)
    }

    /// What a domain asks for; nothing where it isn't one.
    ///
    /// - Parameter cause: whose mail goes there.
    func mtaSTS(of domain: String, cause: KeptPolicy.Cause) async -> MTASTSPolicies.Finding {
        guard let policies, domain.utf8.first != UInt8(ascii: "["), let name = HostLookup.domainName(domain) else {
            return .init()
        }
        return await policies.finding(for: name.lowercased, cause: cause)
    }
}
