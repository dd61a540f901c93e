import AuthReports
import DNS
import MailAuth

/// A DMARC aggregate report, packed or not, or in a mail. What was read and written once reads the same again.
let dmarcReportTarget = FuzzTarget("dmarc-report", maximum: 16_384) { input in
    _ = try? DMARCAggregateReport(arrived: Array(input))
    guard let first = try? DMARCAggregateReport(reading: Array(input)),
        let second = try? DMARCAggregateReport(reading: first.xml())
    else { return }
    let third = try? DMARCAggregateReport(reading: second.xml())
    demand(third == second, "a report changes when it is written again")
}

/// A TLS report, packed or not, or in a mail. What is written reads the same.
let tlsReportTarget = FuzzTarget("tls-report", maximum: 16_384) { input in
    _ = try? TLSReport(arrived: Array(input))
    guard let report = try? TLSReport(reading: Array(input)) else { return }
    demand((try? TLSReport(reading: report.json())) == report, "a report changes when it is written")
}

/// An MTA-STS policy file, and the TXT records of MTA-STS and TLSRPT.
let mtaSTSTarget = FuzzTarget("mta-sts", maximum: 4096) { input in
    let octets = Array(input)
    _ = MTASTSRecord(texts: [octets])
    _ = TLSReportRecord(texts: [octets])
    guard let policy = try? MTASTSPolicy(reading: octets) else { return }
    demand((try? MTASTSPolicy(reading: policy.written())) == policy, "a policy changes when it is written")
    if let name = try? DomainName("mx.example.test") { _ = policy.matches(name) }
}
