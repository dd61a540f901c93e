import Daemon
import Deliverer
import NIOCore
import Network
import Reporting
import TLS

/// Has reportd count how TLS went with the hosts that domains name for their mail (RFC 8460). What a domain has published isn't
/// looked at yet: all results are of `no-policy-found`. Belongs to one event loop.
struct TLSReports {
    private let settings: RelaySettings
    private let report: (ReportedResult) -> Void

    /// nil where TLS isn't used at all.
    init?(_ settings: RelaySettings, report: @escaping (ReportedResult) -> Void) {
        guard settings.tls != .off else { return nil }
        self.settings = settings
        self.report = report
    }

    /// A session has begun.
    func note(_ client: SMTPClient, _ target: Target, _ job: DeliveryJob) {
        note(client.connection.tls == nil ? .notSupported : nil, nil, target, job)
    }

    /// No session has begun; without an answer of the host, that says nothing of its TLS.
    func note(_ failure: SMTPClient.Failure, _ target: Target, _ job: DeliveryJob) {
        switch failure {
        case .tls(let reason): note(.validation, reason, target, job)
        case .notEncrypted: note(.notSupported, nil, target, job)
        case .connection, .refused, .unreadable, .longLine, .notAssured, .interrupted: break
        }
    }

    private func note(
        _ failure: TLSSessionResult.Failure?,
        _ information: String?,
        _ target: Target,
        _ job: DeliveryJob
    ) {
        // Where a route leads is the administrator's choice, and an address has no domain.
        guard let domain = job.request.destination, domain.utf8.first != UInt8(ascii: "["),
            settings.routes.route(for: domain) == nil
        else { return }
        var result = TLSSessionResult(domain: domain.lowercased())
        if let failure {
            result.failure = failure
            result.receivingHost = target.name
            result.receivingAddress = target.address.ipAddress
            result.information = information
        }
        report(.tls(result))
    }
}
