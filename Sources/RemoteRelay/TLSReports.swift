import DNS
import Daemon
import Deliverer
import MailAuth
import NIOCore
import Network
import Reporting
import TLS

/// Has reportd count how TLS went with the hosts that domains name for their mail (RFC 8460), under what a domain has published: the
/// TLSA records of the host, else the domain's MTA-STS policy. Belongs to one event loop.
struct TLSReports {
    private let settings: RelaySettings
    private let report: (ReportedResult) -> Void

    /// nil where TLS isn't used at all.
    init?(_ settings: RelaySettings, report: @escaping (ReportedResult) -> Void) {
        guard settings.usesTLS else { return nil }
        self.settings = settings
        self.report = report
    }

    /// A session has begun.
    func note(_ client: SMTPClient, _ target: Target, _ way: Way) {
        // Nobody has tried.
        guard client.terms.demand != .clearText else { return }
        guard let tls = client.connection.tls else { return note(.notSupported, nil, target, way) }
        // What is only to be tried fails without consequences.
        if let sts = way.sts.policy, sts.mode == .testing, target.associations == .nothing {
            if target.name.flatMap({ try? DomainName($0) }).map(sts.matches) != true {
                return note(.validation, "the policy doesn't name the host", target, way)
            }
            if let fault = tls.certificateFault { return note(Self.failure(fault), nil, target, way) }
        }
        note(nil, nil, target, way)
    }

    /// No session has begun; without an answer of the host, that says nothing of its TLS.
    func note(_ failure: SMTPClient.Failure, _ target: Target, _ way: Way) {
        switch failure {
        case .tls(let reason, let fault): note(fault.map(Self.failure) ?? .validation, reason, target, way)
        case .notEncrypted: note(.notSupported, nil, target, way)
        case .policy(.unknownRecords, let reason): note(.dnssecInvalid, reason, target, way)
        case .policy(.noRecords, let reason): note(.daneRequired, reason, target, way)
        case .policy(.notInPolicy, let reason): note(.validation, reason, target, way)
        case .policy(.noAuthorities, _), .policy(.unknownPolicy, _), .policy(.noClientCertificate, _), .login,
            .connection, .source, .refused, .unreadable, .longLine, .notAssured, .interrupted:
            break
        }
    }

    /// The domain's policy couldn't be fetched.
    func note(_ fault: MTASTSFault, _ way: Way) {
        guard var result = begin(way) else { return }
        result.policyType = .sts
        result.failure = fault.reported
        result.information = fault.description
        report(.tls(result))
    }

    private static func failure(_ fault: CertificateFault) -> TLSSessionResult.Failure {
        switch fault {
        case .hostMismatch: .hostMismatch
        case .expired: .expired
        case .notTrusted: .notTrusted
        case .recordMismatch: .tlsaInvalid
        case .fingerprintMismatch, .other: .validation
        }
    }

    private func begin(_ way: Way) -> TLSSessionResult? {
        // An address has no domain.
        guard let domain = way.domain, domain.utf8.first != UInt8(ascii: "[") else { return nil }
        return TLSSessionResult(domain: domain.lowercased())
    }

    private func note(
        _ failure: TLSSessionResult.Failure?,
        _ information: String?,
        _ target: Target,
        _ way: Way
    ) {
        // Where a route leads is the administrator's choice.
        guard target.route == nil, var result = begin(way) else { return }
        switch target.associations {
        case .records(let records, _):
            result.policyType = .tlsa
            result.policyStrings = records.map(Self.presentation)
        case .unknown: result.policyType = .tlsa
        case .nothing:
            guard let policy = way.sts.policy, policy.mode != .none else { break }
            result.policyType = .sts
            let lines = policy.written().split(separator: UInt8(ascii: "\n"))
            result.policyStrings = lines.map { line in
                String(decoding: line.last == 0x0d ? line.dropLast() : line, as: UTF8.self)
            }
            result.exchangePatterns = policy.patterns.map { String(decoding: $0, as: UTF8.self) }
        }
        if let failure {
            result.failure = failure
            result.receivingHost = target.name
            result.receivingAddress = target.address.ipAddress
            result.information = information
        }
        report(.tls(result))
    }

    /// A TLSA record as master files have it (RFC 6698 §2.2).
    private static func presentation(_ record: DANERecord) -> String {
        let data = record.data.map { octet in
            let digits = String(octet, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        return "\(record.usage) \(record.selector) \(record.matching) \(data.joined())"
    }
}
