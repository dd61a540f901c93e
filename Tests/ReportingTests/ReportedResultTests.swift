import Bus
import NIOCore
import Testing

@testable import Reporting

@Suite struct ReportedResultTests {
    private static var evaluation: DMARCEvaluation {
        var evaluation = DMARCEvaluation(policyDomain: "example.org", source: "192.0.2.1", headerFrom: "a.example.org")
        evaluation.disposition = .quarantine
        evaluation.isAlignedByDKIM = true
        evaluation.reasons = [.init(.localPolicy, "rule 7"), .init(.other, "")]
        evaluation.envelopeFrom = "b.example"
        evaluation.signatures = [.init(domain: "example.org", selector: "s1", result: "pass")]
        evaluation.sender = .init(domain: "b.example", result: "softfail")
        return evaluation
    }

    private static var session: TLSSessionResult {
        var session = TLSSessionResult(domain: "example.net")
        session.failure = .validation
        session.receivingHost = "mx.example.net"
        session.receivingAddress = "2001:db8::1"
        session.information = "a\r\nb % c"
        return session
    }

    /// Through octets, as on the socket and on disk.
    @Test(arguments: [
        ReportedResult.dmarc(evaluation), .dmarc(DMARCEvaluation(policyDomain: "x", source: "", headerFrom: "")),
        .tls(session), .tls(TLSSessionResult(domain: "example.net")),
    ])
    func roundTrip(_ result: ReportedResult) throws {
        var octets = ByteBuffer()
        octets.writeFrame(result.frame)
        var parser = FrameParser()
        let frame = try #require(try parser.next(from: &octets))
        #expect(try ReportedResult(frame) == result)
    }

    @Test(arguments: [
        Frame("STATUS"), Frame("DMARC-RESULT"), Frame("TLS-RESULT", ["policy-domain": "a", "policy-type": "x"]),
        Frame("TLS-RESULT", ["policy-domain": "a", "policy-type": "sts", "failure": "x"]),
        Frame(
            "DMARC-RESULT",
            ["policy-domain": "a", "source": "1", "header-from": "a", "disposition": "none", "reason": "x y"]
        ),
        Frame(
            "DMARC-RESULT",
            ["policy-domain": "a", "source": "1", "header-from": "a", "disposition": "none", "signature": "pass a"]
        ),
        Frame("TLS-RESULT", ["policy-domain": "\(String(repeating: "a", count: 1000))", "policy-type": "sts"]),
    ])
    func malformed(_ frame: Frame) { #expect(throws: ReportedResult.Malformed.self) { try ReportedResult(frame) } }

    /// What strangers choose has its limits.
    @Test func long() throws {
        var evaluation = Self.evaluation
        let long = String(repeating: "\u{fc}", count: 5000)
        evaluation.headerFrom = long
        evaluation.signatures = (0..<500).map { .init(domain: long, selector: "s\($0)", result: "fail") }
        evaluation.signatures.insert(.init(domain: "a", selector: "with space", result: "pass"), at: 0)
        let frame = ReportedResult.dmarc(evaluation).frame
        guard case .dmarc(let read) = try ReportedResult(frame) else {
            Issue.record("not DMARC's")
            return
        }
        #expect(read.headerFrom.utf8.count <= 255)
        #expect(read.signatures.count == DMARCEvaluation.maximumSignatures - 1)
        #expect(read.signatures.first?.selector == "s0")
    }
}
