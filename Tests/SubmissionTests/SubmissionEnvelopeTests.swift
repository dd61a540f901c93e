import Bus
import SMTP
import Testing

@testable import Submission

@Suite struct SubmissionEnvelopeTests {
    @Test func everyFieldComesBack() throws {
        var envelope = SubmissionEnvelope(
            sender: try EnvelopeSender(parsing: "<a@example.test> BODY=8BITMIME RET=HDRS ENVID=x+2By".utf8),
            recipients: try ["<b@example.test> NOTIFY=NEVER", #"<"bob+x@[127.0.0.1]> y"@example.test>"#].map {
                try EnvelopeRecipient(parsing: $0.utf8)
            }
        )
        #expect(try SubmissionEnvelope(envelope.frame) == envelope)
        envelope.client = "192.0.2.7"
        envelope.helo = "a\nb%"
        envelope.protocolName = "ESMTPSA"
        envelope.user = "alice@example.test"
        envelope.origin = "key"
        envelope.isExpanded = true
        envelope.submitter = .account
        envelope.terms.holdUntil = 1_795_447_200
        envelope.terms.deadline = DeliveryTerms.Deadline(time: 1_795_450_000, mode: .return)
        envelope.terms.priority = -9
        #expect(try SubmissionEnvelope(envelope.frame) == envelope)
        #expect(envelope.frame.verb == "SUBMIT")
        #expect(envelope.recipients[1].address.domain == "example.test")
    }

    @Test(
        arguments: [
            ([], SubmissionEnvelope.Malformed.sender), ([("sender", "a@example.test")], .sender),
            ([("sender", "<>")], .noRecipient), ([("sender", "<>"), ("recipient", "<>")], .recipient),
            ([("sender", "<>"), ("recipient", "<a@b> NOTIFY=X")], .recipient),
            ([("sender", "<>"), ("recipient", "<a@b>"), ("recipient", "c@d")], .recipient),
        ] as [([(String, String)], SubmissionEnvelope.Malformed)]
    )
    func whatIsNoEnvelopeIsRefused(fields: [(String, String)], error: SubmissionEnvelope.Malformed) {
        #expect(throws: error) {
            _ = try SubmissionEnvelope(Frame("SUBMIT", fields.map { Frame.Field($0.0, $0.1) }))
        }
    }

    @Test func recipientThatComesTwiceCountsOnce() throws {
        let frame = Frame(
            "SUBMIT",
            ["sender": "<>", "recipient": "<a@b>", "recipient": "<c@d>", "recipient": "<a@B>"]
        )
        #expect(try SubmissionEnvelope(frame).recipients.map(\.description) == ["<a@b>", "<c@d>"])
    }
}
