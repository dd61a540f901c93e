import Daemon
import NIOCore
import Network

/// Whether something answers where the configuration says that it should.
struct PortCheck {
    private let places: [(daemon: DaemonName, port: String, addresses: [SocketAddress])]

    private let reports: [DaemonName: StatusCommand.Report]

    init(_ configuration: Configuration, _ reports: [DaemonName: StatusCommand.Report]) {
        self.reports = reports
        places = [
            (.smtpd, "smtp", configuration.smtpd.smtp),
            (.smtpd, "submission", configuration.smtpd.submission),
            (.smtpd, "submissions", configuration.smtpd.submissions),
            (.smtpd, "lmtp", configuration.smtpd.lmtp),
            (.pop3d, "pop3", configuration.pop3d.pop3),
            (.pop3d, "pop3s", configuration.pop3d.pop3s),
            (.imapd, "imap", configuration.imapd.imap),
            (.imapd, "imaps", configuration.imapd.imaps),
            (.resolverd, "dns", configuration.resolverd.listen),
            (.resolverd, "dns over tls", configuration.resolverd.listenTLS),
            (.resolverd, "dns over https", configuration.resolverd.listenHTTPS),
        ]
    }

    func findings() async -> [Finding] {
        var findings: [Finding] = []
        for place in places {
            for address in place.addresses {
                if let finding = await finding(place.daemon, place.port, address) { findings.append(finding) }
            }
        }
        return findings
    }

    private func finding(_ daemon: DaemonName, _ port: String, _ address: SocketAddress) async -> Finding? {
        let subject = "port \(port)"
        let place = "\(address.ipAddress ?? ""):\(address.port ?? 0)"
        let isUp = reports[daemon]?.up ?? false
        let answers = await Self.answers(address)
        switch (isUp, answers) {
        case (true, true): return .fine(subject, "\(daemon.rawValue) listens on \(place)")
        case (true, false):
            return .wrong(
                subject,
                "\(daemon.rawValue) is up, but nothing answers on \(place)",
                mend: "restart \(daemon.rawValue); it may run with another configuration"
            )
        case (false, true):
            return .wrong(
                subject,
                "another program has \(place)",
                mend: "stop it (ss -ltnp) or choose another port in the configuration"
            )
        case (false, false):
            // That the daemon is down was said.
            return nil
        }
    }

    private static func answers(_ address: SocketAddress) async -> Bool {
        (try? await ProbeConnection.run(to: address, timeout: .seconds(2)) { _ in }) != nil
    }
}
