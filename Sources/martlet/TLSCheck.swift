import Daemon
import TLS

/// Whether the certificate can be used, is ours, and lasts.
struct TLSCheck {
    let configuration: Configuration

    init(_ configuration: Configuration) { self.configuration = configuration }

    func findings() -> [Finding] {
        let settings = configuration.tls
        do {
            _ = try TLSContext(serverCertificate: settings.certificate, privateKey: settings.privateKey)
            let certificate = try CertificateInspection(file: settings.certificate)
            return [age(certificate), name(certificate)]
        } catch {
            return [.wrong("tls", "\(error)", mend: "put a certificate chain and its key there (PEM)")]
        }
    }

    private func age(_ certificate: CertificateInspection) -> Finding {
        let days = certificate.daysLeft
        let mend = "renew \(configuration.tls.certificate), then restart smtpd, pop3d and imapd"
        if days < 0 { return .wrong("tls", "the certificate has expired", mend: mend) }
        if days < 14 { return .doubtful("tls", "the certificate expires in \(days) days", mend: mend) }
        return .fine("tls", "the certificate is good for \(days) days")
    }

    private func name(_ certificate: CertificateInspection) -> Finding {
        let hostname = configuration.hostname
        if certificate.isFor(hostname) { return .fine("tls", "the certificate is for \(hostname)") }
        return .doubtful("tls", "the certificate is not for \(hostname)", mend: "get one that names \(hostname)")
    }
}
