import Daemon
import MailAuth
import TLS

/// Whether mail of our domains is signed, and the DNS has the keys.
struct DKIMCheck {
    private let configuration: Configuration
    /// Those of `[tls]`, SubjectPublicKeyInfo in DER.
    private let keysOfTLS: Set<[UInt8]>

    init(_ configuration: Configuration) {
        self.configuration = configuration
        keysOfTLS = Set(
            configuration.tls.pairs.compactMap { pair in
                WholeFile.octets(pair.certificate, maximum: CertificateChain.maximumOctets)
                    .flatMap { try? CertificateChain(pem: $0) }?.subjectPublicKeyInfo
            }
        )
    }

    func findings() async -> [Finding] {
        guard configuration.remoteRelay.signs else { return [] }
        let domains = DKIMKeyring.domains()
        var findings: [Finding] = []
        // Reports are from the host's own name, where `domains` doesn't have it.
        let host = configuration.hostname.lowercased()
        let own = configuration.domains.contains(host) ? [] : [host]
        for domain in configuration.domains + own
        where !domains.contains(where: { domain == $0 || domain.hasSuffix(".\($0)") }) {
            findings.append(
                .doubtful("dkim", "\(domain) has no keys", mend: "martlet dkim keygen --domain \(domain)")
            )
        }
        for domain in domains { findings += await self.findings(of: domain) }
        return findings
    }

    private func findings(of domain: String) async -> [Finding] {
        var keys: [(SelectorList.Entry, SigningKey)] = []
        var findings: [Finding] = []
        do {
            let keyring = try DKIMKeyring(domain)
            let list = try keyring.list()
            if !list.entries.contains(where: { $0.state == .active }) {
                findings.append(
                    .doubtful("dkim", "\(domain) has no key that signs", mend: "martlet dkim rotate --domain \(domain)")
                )
            }
            for entry in list.entries where entry.state != .retired {
                do {
                    let key = try keyring.key(entry)
                    keys.append((entry, key))
                    guard keysOfTLS.contains(key.subjectPublicKeyInfo) else { continue }
                    findings.append(
                        .wrong(
                            "dkim",
                            "\(entry.keyFile) of \(domain) is a key of TLS as well: keyd signs no mail with it",
                            mend: "martlet dkim keygen --domain \(domain), and rotate"
                        )
                    )
                } catch {
                    // A key that doesn't sign may be missing.
                    guard entry.state == .active else { continue }
                    findings.append(
                        .wrong(
                            "dkim",
                            "\(error): mail of \(domain) waits",
                            mend: "restore the file, or martlet dkim keygen"
                        )
                    )
                }
            }
        } catch {
            return [.wrong("dkim", "\(error)", mend: "mend the file; see docs/mail-authentication.md")]
        }
        for ((entry, key), finding) in zip(keys, await DKIMPublication.look(keys.map(\.1))) {
            findings.append(Self.finding(entry, key, finding))
        }
        return findings
    }

    private static func finding(
        _ entry: SelectorList.Entry,
        _ key: SigningKey,
        _ finding: DKIMPublication.Finding
    ) -> Finding {
        let name = "\(entry.selector)._domainkey.\(String(decoding: key.name.domain, as: UTF8.self))"
        let publish = "publish \(String(decoding: key.masterFileLine, as: UTF8.self))"
        let fault: String
        switch finding {
        case .right: return .fine("dkim", "\(name) is in the DNS (\(entry.state.rawValue))")
        case .unknown:
            return .doubtful(
                "dkim",
                "\(name) could not be looked up",
                mend: "see whether resolverd and the domain answer"
            )
        case .testing:
            return .doubtful("dkim", "\(name) says that DKIM is being tried out (t=y)", mend: "publish it without t=y")
        case .missing: fault = "\(name) is not in the DNS"
        case .differs: fault = "\(name) is another key in the DNS"
        }
        // Only what signs now is refused by others.
        return entry.state == .active ? .wrong("dkim", fault, mend: publish) : .doubtful("dkim", fault, mend: publish)
    }
}
