import Cryptography
import Daemon
import Keys
import NIOCore
import Network
import TLS

#if canImport(Glibc)
import Glibc
#endif

/// Whether the certificates can be used, are ours, last, and are what servers show.
struct TLSCheck {
    let configuration: Configuration

    /// A certificate with less time than this should have been renewed.
    private static let enoughDays = 21

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() async -> [Finding] {
        var findings: [Finding] = []
        var certificates: [ServedCertificate] = []
        for pair in configuration.tls.pairs {
            do throws(TLSError) {
                let certificate = try read(pair)
                certificates.append(certificate)
                findings.append(age(certificate, pair))
                if let finding = response(certificate, pair) { findings.append(finding) }
                if pair.name == TLSConfiguration.Pair.standardName { findings.append(name(certificate)) }
            } catch {
                let mend = "put a certificate chain and its key there (PEM): martlet tls deploy --name \(pair.name)"
                findings.append(.wrong("tls", "\(error)", mend: mend))
            }
        }
        findings += unreadable()
        return await findings + served(certificates)
    }

    /// As keyd reads it.
    private func read(_ pair: TLSConfiguration.Pair) throws(TLSError) -> ServedCertificate {
        func contents(_ path: String, _ what: String) throws(TLSError) -> [UInt8] {
            guard let octets = WholeFile.octets(path, maximum: CertificateChain.maximumOctets) else {
                throw .configuration("\(what) \(path): \(String(cString: strerror(errno)))")
            }
            return octets
        }
        let octets = try contents(pair.certificate, "certificate")
        let keys = try contents(pair.privateKey, "private key")
        do throws(CertificatePair.Fault) {
            return try CertificatePair(certificate: octets, keys: keys).certificate
        } catch {
            switch error {
            case .certificate(let reason): throw .configuration("certificate \(pair.certificate): \(reason)")
            case .key(let reason): throw .configuration("private key \(pair.privateKey): \(reason)")
            case .strangers:
                throw .configuration("private key \(pair.privateKey): it does not belong to the certificate")
            }
        }
    }

    private func age(_ certificate: ServedCertificate, _ pair: TLSConfiguration.Pair) -> Finding {
        let days = TLSDeployCommand.days(certificate.chain)
        let mend = "renew \(pair.certificate)"
        if certificate.chain.begins > time(nil) {
            return .wrong(
                "tls",
                "the time of \(pair.certificate) has not begun",
                mend: "is the clock right? Else \(mend)"
            )
        }
        if certificate.chain.expires <= time(nil) {
            return .wrong("tls", "\(pair.certificate) has expired", mend: mend)
        }
        if days < Self.enoughDays {
            return .doubtful("tls", "\(pair.certificate) expires in \(days) days", mend: mend)
        }
        return .fine("tls", "\(pair.certificate) is good for \(days) days")
    }

    /// What becomes of the authority's OCSP response; nil where there is none.
    private func response(_ certificate: ServedCertificate, _ pair: TLSConfiguration.Pair) -> Finding? {
        guard access(pair.ocsp, F_OK) == 0 else { return nil }
        let fault: String
        do throws(OCSPResponse.Fault) {
            guard let octets = WholeFile.octets(pair.ocsp, maximum: ServedCertificate.maximumOCSP) else {
                throw OCSPResponse.Fault(description: String(cString: strerror(errno)))
            }
            let response = try OCSPResponse(octets, for: certificate.chain)
            if let fault = response.fault(at: time(nil)) { throw fault }
            return .fine("tls", "\(pair.ocsp) is stapled for \((response.ends - time(nil)) / 3600) hours")
        } catch {
            fault = error.description
        }
        return .wrong("tls", "\(pair.ocsp) isn't stapled: \(fault)", mend: "fetch another response, or remove the file")
    }

    private func name(_ certificate: ServedCertificate) -> Finding {
        let hostname = configuration.hostname
        if certificate.isFor(hostname.lowercased()) { return .fine("tls", "the certificate is for \(hostname)") }
        return .doubtful("tls", "the certificate is not for \(hostname)", mend: "get one that names \(hostname)")
    }

    /// Files that keyd can't read: it may have them from its start, but sees no renewal.
    private func unreadable() -> [Finding] {
        let user = configuration.systemUsers[.keyd]
        guard let reach = FileReach(user: user) else { return [] }
        var findings: [Finding] = []
        for path in configuration.tls.pairs.flatMap({ [$0.certificate, $0.privateKey] }) {
            switch reach.obstacle(to: path) {
            case .directory(let directory)?:
                findings.append(
                    .wrong(
                        "tls",
                        "keyd (\(user)) may not look into \(directory), so it sees no renewal of \(path)",
                        mend: "chgrp \(user) \(directory) && chmod g+x \(directory)"
                    )
                )
            case .file(let file)?:
                findings.append(
                    .wrong(
                        "tls",
                        "keyd (\(user)) may not read \(file), so it sees no renewal",
                        mend: "chgrp \(user) \(file) && chmod 640 \(file)"
                    )
                )
            case .missing?, .other?, nil: continue
            }
        }
        return findings
    }

    /// What a server shows.
    private enum Shown {
        case certificate([UInt8])
        /// It's there, but there is no TLS with it.
        case nothing(String)
        /// Nobody is there, which is another finding.
        case nobody
    }

    /// What clients are shown who ask for the host of each certificate. All at the same time: a server without keyd takes a while.
    private func served(_ certificates: [ServedCertificate]) async -> [Finding] {
        let places = [
            (DaemonName.smtpd, TLSUpgrade.smtp, configuration.smtpd.smtp),
            (.smtpd, .smtp, configuration.smtpd.submission), (.smtpd, .none, configuration.smtpd.submissions),
            (.pop3d, .pop3, configuration.pop3d.pop3), (.pop3d, .none, configuration.pop3d.pop3s),
            (.imapd, .imap, configuration.imapd.imap), (.imapd, .none, configuration.imapd.imaps),
            (.resolverd, .none, configuration.resolverd.listenTLS),
            (.resolverd, .none, configuration.resolverd.listenHTTPS),
        ].flatMap { daemon, upgrade, addresses in
            addresses.map { Place(daemon: daemon, address: $0, upgrade: upgrade) }
        }
        let looks = Self.hosts(certificates).flatMap { host in
            ServedCertificate.shown(to: host, of: certificates, hostname: configuration.hostname).map { (host, $0) }
        }
        return await withTaskGroup(of: (Int, Finding?).self) { group in
            for (number, (host, expected)) in looks.enumerated() {
                for (index, place) in places.enumerated() {
                    group.addTask { (number * places.count + index, await Self.finding(place, host, expected)) }
                }
            }
            var findings: [(Int, Finding)] = []
            for await (number, finding) in group { if let finding { findings.append((number, finding)) } }
            return findings.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    /// Where a server shows certificates.
    private struct Place: Sendable {
        let daemon: DaemonName
        let address: SocketAddress
        let upgrade: TLSUpgrade
    }

    /// One name of each certificate, and one that a wildcard of it is for.
    private static func hosts(_ certificates: [ServedCertificate]) -> [String] {
        var hosts: Set<String> = []
        for names in certificates.map(\.chain.names) {
            if let name = names.first(where: { !$0.hasPrefix("*") }) { hosts.insert(name) }
            if let name = names.first(where: { $0.hasPrefix("*.") }) { hosts.insert("any" + name.dropFirst()) }
        }
        return hosts.sorted()
    }

    /// What a server signs by with a kind of key: a client that takes nothing else is shown that certificate.
    private static func signatures(_ kind: KeyKind) -> String {
        switch kind {
        case .rsa: "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
        case .ecdsaP256, .ecdsaP384: "ECDSA+SHA256:ECDSA+SHA384"
        case .ed25519: "ed25519"
        case .ed448: "ed448"
        }
    }

    private static func finding(_ one: Place, _ host: String, _ expected: ServedCertificate) async -> Finding? {
        let (daemon, address) = (one.daemon, one.address)
        let place = "\(address.ipAddress ?? ""):\(address.port ?? 0)"
        switch await shown(at: one, host, expected.kind) {
        case .nobody: return nil
        case .certificate(let fingerprint) where fingerprint == expected.chain.fingerprint: return nil
        case .certificate:
            return .wrong(
                "tls",
                "\(daemon.rawValue) shows another certificate for \(host) on \(place) than is on disk",
                mend: "martlet status: is keyd up? Its log says why it doesn't take the file"
            )
        case .nothing(let reason):
            return .wrong(
                "tls",
                "\(daemon.rawValue) on \(place) has no TLS: \(reason)",
                mend: "martlet status: is keyd up? The log of \(daemon.rawValue) says more"
            )
        }
    }

    private static func shown(at place: Place, _ host: String, _ kind: KeyKind) async -> Shown {
        guard let context = try? TLSContext(clientVerifying: false, signatures: signatures(kind)) else {
            return .nobody
        }
        let shown = try? await ProbeConnection.run(to: place.address, timeout: .seconds(2)) { connection -> Shown in
            connection.idleTimeout = .seconds(5)
            do {
                try await place.upgrade.ask(connection)
                try await connection.startTLS(client: context, serverName: host)
            } catch let refusal as TLSUpgrade.Refusal {
                return .nothing(refusal.reason)
            } catch {
                return .nothing("\(error)")
            }
            return .certificate(connection.tls?.serverFingerprint ?? [])
        }
        return shown ?? .nobody
    }
}
