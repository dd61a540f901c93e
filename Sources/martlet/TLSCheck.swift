import Daemon
import NIOCore
import Network
import TLS

/// Whether the certificate can be used, is ours, and lasts.
struct TLSCheck {
    let configuration: Configuration

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() async -> [Finding] {
        let settings = configuration.tls
        do {
            _ = try TLSContext(serverCertificate: settings.certificate, privateKey: settings.privateKey)
            let certificate = try CertificateInspection(file: settings.certificate)
            return await [age(certificate), name(certificate)] + served(certificate)
        } catch {
            return [.wrong("tls", "\(error)", mend: "put a certificate chain and its key there (PEM)")]
        }
    }

    private func age(_ certificate: CertificateInspection) -> Finding {
        let days = certificate.daysLeft
        let mend = "renew \(configuration.tls.certificate), then restart what uses it"
        if days < 0 { return .wrong("tls", "the certificate has expired", mend: mend) }
        if days < 21 { return .doubtful("tls", "the certificate expires in \(days) days", mend: mend) }
        return .fine("tls", "the certificate is good for \(days) days")
    }

    /// What clients are shown, which is another certificate where a daemon has not been restarted since.
    private func served(_ certificate: CertificateInspection) async -> [Finding] {
        let places = [
            (DaemonName.smtpd, configuration.smtpd.submissions), (.pop3d, configuration.pop3d.pop3s),
            (.imapd, configuration.imapd.imaps),
        ]
        var findings: [Finding] = []
        for (daemon, addresses) in places {
            for address in addresses {
                guard let fingerprint = await Self.fingerprint(at: address), fingerprint != certificate.fingerprint
                else { continue }
                findings.append(
                    .wrong(
                        "tls",
                        "\(daemon.rawValue) shows another certificate on \(address.ipAddress ?? ""):\(address.port ?? 0)"
                            + " than \(configuration.tls.certificate)",
                        mend: "restart \(daemon.rawValue)"
                    )
                )
            }
        }
        return findings
    }

    private static func fingerprint(at address: SocketAddress) async -> [UInt8]? {
        guard let context = try? TLSContext(clientVerifying: false) else { return nil }
        return try? await ProbeConnection.run(to: address, timeout: .seconds(2)) { connection in
            connection.idleTimeout = .seconds(5)
            try await connection.startTLS(client: context, serverName: nil)
            return connection.tls?.serverFingerprint
        }
    }

    private func name(_ certificate: CertificateInspection) -> Finding {
        let hostname = configuration.hostname
        if certificate.isFor(hostname) { return .fine("tls", "the certificate is for \(hostname)") }
        return .doubtful("tls", "the certificate is not for \(hostname)", mend: "get one that names \(hostname)")
    }
}
