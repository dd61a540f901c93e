import DNS
import Dispatch
import MailAuth

/// An SPF record, by itself and as the record of the domain that is checked, which all names have.
let spfRecordTarget = FuzzTarget("spf-record", maximum: 1024) { input in
    let text = Array(input)
    _ = try? SPFRecord(parsing: text)
    waiting {
        for address in [[192, 0, 2, 1], [UInt8](repeating: 0x20, count: 16)] {
            let query = SPFQuery(address: address, mailFrom: Array("a-b.c@e.test".utf8), helo: Array("h.test".utf8))
            let outcome = await SPFCheck.run(query, lookup: SameEverywhere(text: text))
            demand(outcome.lookups <= 11, "\(outcome.lookups) terms asked the DNS")
            _ = ReceivedSPF.field(outcome, of: query)
        }
        _ = await SPFTree.walk(Array("e.test".utf8), lookup: SameEverywhere(text: text))
    }
}

/// A DMARC record that all names have.
let dmarcRecordTarget = FuzzTarget("dmarc-record", maximum: 1024) { input in
    let text = Array(input)
    waiting {
        let identifier = DMARCIdentifier(.spf, domain: Array("c.e.test".utf8), passed: true)
        let outcome = await DMARCCheck.run(
            author: .domain(Array("a.b.e.test".utf8)),
            identifiers: [identifier],
            sample: 50,
            lookup: SameEverywhere(text: text)
        )
        guard let record = outcome.record, let domain = outcome.policyDomain else { return }
        let lookup = SameEverywhere(text: text)
        _ = try? await DMARCReportDestination.verify(record.aggregateReports, policyDomain: domain, lookup: lookup)
    }
}

/// An address that may be rewritten, forth and back.
let senderRewritingTarget = FuzzTarget("srs", maximum: 400) { input in
    let address = Array(input)
    let rewriting = SenderRewriting(secrets: [Array("secret".utf8)])
    _ = try? rewriting.reverse(address, secondsSince1970: 1_700_000_000)
    let forwarder = Array("f.test".utf8)
    guard let rewritten = try? rewriting.forward(address, by: forwarder, secondsSince1970: 1_700_000_000),
        !SenderRewriting.isRewritten(address), rewritten != address
    else { return }
    let back = try? rewriting.reverse(rewritten, secondsSince1970: 1_700_000_000)
    demand(back == address, "\(rewritten) leads to \(back ?? [])")
}

/// A DNS in which every name has that text, an address and itself as mail exchange.
private struct SameEverywhere: MailAuthLookup {
    let text: [UInt8]

    func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { [text] }
    func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { [[192, 0, 2, 1]] }
    func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { throw .noSuchRecord }
    func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] { throw .noSuchRecord }
    func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] { [name] }
}

/// Runs something asynchronous to its end.
func waiting(_ body: @escaping @Sendable () async -> Void) {
    let done = DispatchSemaphore(value: 0)
    Task {
        await body()
        done.signal()
    }
    done.wait()
}
