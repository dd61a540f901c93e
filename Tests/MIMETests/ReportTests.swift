import MIME
import Testing

private func octets(_ lines: [String]) -> [UInt8] { Array((lines.joined(separator: "\r\n") + "\r\n").utf8) }

@Suite struct ReportTests {
    /// RFC 3464 appendix E.2.
    @Test func deliveryReportOfSeveralRecipients() throws {
        let report = try #require(
            DeliveryReport(
                reading: octets([
                    "Reporting-MTA: dns; cs.utk.edu", "",
                    "Original-Recipient: rfc822;arathib@vnet.ibm.com", "Final-Recipient: rfc822;arathib@vnet.ibm.com",
                    "Action: failed", "Status: 5.0.0 (permanent failure)",
                    "Diagnostic-Code: smtp; 550 'arathib@vnet.IBM.COM' is not a",
                    " registered gateway user", "Remote-MTA: dns; vnet.ibm.com", "",
                    "Original-Recipient: rfc822;johnh@hpnjld.njd.hp.com",
                    "Final-Recipient: rfc822;johnh@hpnjld.njd.hp.com",
                    "Action: delayed", "Status: 4.0.0 (hpnjld.njd.jp.com: host name lookup failure)", "",
                    "Original-Recipient: rfc822;wsnell@sdcc13.ucsd.edu",
                    "Final-Recipient: rfc822;wsnell@sdcc13.ucsd.edu",
                    "Action: failed", "Status: 5.0.0", "Diagnostic-Code: smtp; 550 user unknown",
                    "Remote-MTA: dns; sdcc13.ucsd.edu",
                ])
            )
        )
        #expect(report.reportingMTA == ReportValue("dns", "cs.utk.edu"))
        #expect(report.recipients.map(\.action) == [.failed, .delayed, .failed])
        #expect(report.recipients.map(\.status) == ["5.0.0", "4.0.0", "5.0.0"])
        #expect(report.recipients[0].final == ReportValue("rfc822", "arathib@vnet.ibm.com"))
        #expect(
            report.recipients[0].diagnostic
                == ReportValue("smtp", "550 'arathib@vnet.IBM.COM' is not a registered gateway user")
        )
        #expect(report.recipients[2].remoteMTA == ReportValue("dns", "sdcc13.ucsd.edu"))
        #expect(!report.hasMoreRecipients)
        #expect(try DeliveryReport(reading: report.written()) == report)
    }

    @Test func allFieldsOfADeliveryReport() throws {
        var report = DeliveryReport()
        report.envelopeID = "QQ314159"
        report.reportingMTA = ReportValue("dns", "mx.example")
        report.gateway = ReportValue("dns", "gate.example")
        report.receivedFrom = ReportValue("dns", "client.example")
        report.arrival = DateTime(secondsSince1970: 1_700_000_000, offset: 60)
        report.extensions = [ReportField("X-Queue-ID", "17")]
        var recipient = DeliveryReport.Recipient()
        recipient.original = ReportValue("utf-8", "jürgen@example.test")
        recipient.final = ReportValue("rfc822", "b@example.test")
        recipient.action = .delayed
        recipient.status = "4.4.1"
        recipient.remoteMTA = ReportValue("dns", "other.example")
        recipient.diagnostic = ReportValue("smtp", "451 " + String(repeating: "try again later ", count: 20) + "please")
        recipient.lastAttempt = DateTime(secondsSince1970: 1_700_000_100)
        recipient.finalLogID = "log 7"
        recipient.willRetryUntil = DateTime(secondsSince1970: 1_700_400_000)
        report.recipients = [recipient, recipient]
        let written = try report.written()
        #expect(written.allSatisfy { $0 < 0x80 })
        #expect(written.split(separator: 10).allSatisfy { $0.count <= 79 })
        #expect(DeliveryReport(reading: written) == report)
    }

    /// Empty lines that are missing, or too many, and orders of fields that others write.
    @Test(
        arguments: [
            (["R", "Final-Recipient: rfc822; a@x", "Action: failed", "Status: 5.4.4"], ["a@x failed 5.4.4"]),
            (
                ["R", "Final-Recipient: rfc822; a@x", "Original-Recipient: rfc822; o@x", "Action: failed"],
                ["a@x failed"]
            ),
            (
                ["R", "", "Final-Recipient: rfc822; a@x", "Original-Recipient: rfc822;o@x", "Action: failed"],
                ["a@x failed"]
            ),
            (
                [
                    "R", "Original-Recipient: rfc822; o@x", "Final-Recipient: rfc822; a@x", "Action: failed",
                    "Original-Recipient: rfc822; p@x", "Final-Recipient: rfc822; b@x", "Action: delayed",
                ], ["a@x failed", "b@x delayed"]
            ),
            (
                [
                    "R", "", "Action: failed", "Final-Recipient: rfc822;a@x", "Status: 5.0.0", "Action: delayed",
                    "Final-Recipient: rfc822;b@x",
                ],
                ["a@x failed 5.0.0", "b@x delayed"]
            ),
            (["Final-Recipient: rfc822; a@x", "Action: failed"], ["a@x failed"]),
            (["R", "", "Action: failed", "Status: 5.0.0"], []), (["R", "", "X-Note: none", ""], []),
            (["R", "", "Final-Recipient: rfc822; a@x", "", "Action: failed", "Status: 5.0.0"], ["a@x failed 5.0.0"]),
            (["R", "", "Final-Recipient: rfc822; a@x", "Action: failed", "", "Action: delayed"], ["a@x failed"]),
            (["R", "", "Final-Recipient: rfc822; a@x", "Action: Deferred (for now)"], ["a@x Deferred (for now)"]),
            (["R", "", "Original-Recipient: rfc822; o@x", "Action: failed"], ["o@x failed"]),
        ] as [([String], [String])]
    )
    func deliveryReportsAsTheyCome(lines: [String], recipients: [String]) throws {
        let report = try #require(
            DeliveryReport(reading: octets(lines.map { $0 == "R" ? "Reporting-MTA: dns; mx.example" : $0 }))
        )
        let shown = report.recipients.map { recipient in
            [
                recipient.final?.value ?? recipient.original?.value,
                recipient.action?.rawValue ?? recipient.otherAction,
                recipient.status,
            ].compactMap { $0 }.joined(separator: " ")
        }
        #expect(shown == recipients)
        #expect(report.reportingMTA?.value == (lines[0] == "R" ? "mx.example" : nil))
        guard report.reportingMTA != nil else { return }
        #expect(DeliveryReport(reading: try report.written()) == report)
    }

    private static let everyField = [
        "X-Before: 1", "Remote-MTA: dns; mx.other", "Final-Recipient: rfc822; a@x", "Action: failed", "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 no", "Last-Attempt-Date: Thu, 1 Jan 2026 00:00:00 +0000",
    ]

    /// Fields before the one that names the recipient are the recipient's, and an empty line anywhere takes none away.
    @Test(arguments: 1..<everyField.count) func noFieldOfARecipientIsLost(emptyLine: Int) throws {
        var lines = Self.everyField
        let whole = try #require(DeliveryReport(reading: octets(["Reporting-MTA: dns; mx.example", ""] + lines)))
        #expect(whole.recipients.count == 1 && whole.recipients[0].remoteMTA?.value == "mx.other")
        #expect(whole.recipients[0].extensions == [ReportField("X-Before", "1")] && whole.extensions == [])
        #expect(whole.recipients[0].status == "5.1.1" && whole.recipients[0].diagnostic?.value == "550 no")
        // An empty line more, behind the field that names the recipient, and then one behind each field.
        guard emptyLine > 2 else { return }
        lines.insert("", at: emptyLine)
        #expect(DeliveryReport(reading: octets(["Reporting-MTA: dns; mx.example", ""] + lines)) == whole)
        lines = Self.everyField
        for index in (3...emptyLine).reversed() { lines.insert("", at: index) }
        #expect(DeliveryReport(reading: octets(["Reporting-MTA: dns; mx.example", ""] + lines)) == whole)
    }

    @Test func anEmptyLineTooManyBehindTheFirstBlock() throws {
        let lines = ["Reporting-MTA: dns; mx", "Final-Recipient: rfc822; a@x", "Action: failed", "", "Status: 5.1.1"]
        let report = try #require(DeliveryReport(reading: octets(lines)))
        #expect(report.recipients.map(\.status) == ["5.1.1"] && report.recipients[0].action == .failed)
        let two = Array(lines[..<3]) + ["Final-Recipient: rfc822; b@x", "Action: delayed", "", "Status: 4.1.1"]
        let several = try #require(DeliveryReport(reading: octets(two)))
        #expect(several.recipients.map(\.status) == [nil, "4.1.1"])
    }

    /// The message's own fields, with an empty line among them.
    @Test(arguments: [true, false]) func anEmptyLineWithinTheMessagesFields(isBeforeRecipient: Bool) throws {
        let end = isBeforeRecipient ? ["", "Final-Recipient: rfc822; a@x"] : ["Final-Recipient: rfc822; a@x"]
        let lines = ["Original-Envelope-Id: 7", "", "Reporting-MTA: dns; mx", "X-Queue: 9"] + end
        let report = try #require(DeliveryReport(reading: octets(lines)))
        #expect(report.envelopeID == "7" && report.reportingMTA?.value == "mx")
        #expect(report.extensions == [ReportField("X-Queue", "9")])
        #expect(report.recipients.count == 1 && report.recipients[0].extensions == [])
    }

    /// Any order of fields and empty lines: what is written reads the same, and each recipient is told once.
    @Test func fieldsInAnyOrder() throws {
        let lines = [
            "", "", "Reporting-MTA: dns; mx", "Original-Envelope-Id: 7", "X-Note: 1", "Final-Recipient: rfc822; a@x",
            "Original-Recipient: rfc822; o@x", "Action: failed", "Action: unheard-of", "Status: 5.1.1",
            "Remote-MTA: dns; m",
            "Status:", "no field",
        ]
        var state: UInt64 = 1
        for _ in 0..<3000 {
            let body = (0..<12).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return lines[Int(state >> 33) % lines.count]
            }
            guard let report = DeliveryReport(reading: octets(body)) else { continue }
            #expect(report.recipients.allSatisfy { $0.final != nil || $0.original != nil }, "\(body)")
            #expect(
                report.recipients.count { $0.final != nil } == body.count { $0.hasPrefix("Final-Recipient: ") },
                "\(body)"
            )
            guard let written = try? report.written() else { continue }
            #expect(DeliveryReport(reading: written) == report, "\(body)")
        }
    }

    /// Without any empty line.
    @Test(arguments: [60, 10_001]) func manyRecipientsInOneBlock(count: Int) throws {
        let recipients = (0..<count).flatMap {
            ["Final-Recipient: rfc822; \($0)@x", "Action: failed", "Status: 5.1.1", "X: 1"]
        }
        let report = try #require(DeliveryReport(reading: octets(["Reporting-MTA: dns; mx"] + recipients)))
        #expect(report.recipients.count == min(count, 10_000) && report.hasMoreRecipients == (count > 10_000))
        #expect(report.recipients.last?.final?.value == "\(min(count, 10_000) - 1)@x")
        #expect(report.recipients.allSatisfy { $0.extensions == [ReportField("X", "1")] })
    }

    /// Of a report only so many octets are looked at.
    @Test(arguments: [0, 1]) func longReportsMayHaveMoreRecipients(beyond: Int) throws {
        let start = "Final-Recipient: rfc822; a@x\n\nFinal-Recipient: rfc822; b@x\nX: "
        let body =
            Array(start.utf8) + noise(MessageReport.limit + beyond - start.utf8.count, seed: 1).map { 0x61 + $0 % 26 }
        let content = ContentFields(HeaderBlock(Array("Content-Type: message/delivery-status\r\n\r\n".utf8)))
        guard case .delivery(let report) = try #require(MessageReport(content, body: body)) else { return }
        #expect(report.recipients.count == 2 && report.hasMoreRecipients == (beyond > 0))
    }

    @Test func fieldsBeyondAllLimitsAreTold() throws {
        let lines = ["Final-Recipient: rfc822; a@x"] + [String](repeating: "X: 1", count: 100_000)
        let report = try #require(DeliveryReport(reading: octets(lines + ["Final-Recipient: rfc822; b@x"])))
        #expect(report.recipients.count == 1 && report.hasMoreRecipients)
        #expect(report.recipients[0].extensions.count == 199)
    }

    /// An empty block would vanish, and the next one be taken for it.
    @Test func reportsWithEmptyBlocksAreNotWritten() throws {
        let body = Array("Arrival-Date: never\n\nFinal-Recipient: rfc822; a@b\n".utf8)
        var report = try #require(DeliveryReport(reading: body))
        #expect(report.recipients.count == 1)
        #expect(throws: BuildError.badStructure) { try report.written() }
        report.reportingMTA = ReportValue("dns", "mail.example")
        #expect(DeliveryReport(reading: try report.written()) == report)
        report.recipients.insert(DeliveryReport.Recipient(), at: 0)
        #expect(throws: BuildError.badStructure) { try report.written() }
    }

    @Test func nothingIsInjectedIntoReports() {
        var report = DeliveryReport()
        report.envelopeID = "a\r\n\r\nFinal-Recipient: rfc822; x"
        #expect(throws: BuildError.self) { try report.written() }
        var notification = DispositionReport()
        notification.errors = ["a\nb"]
        #expect(throws: BuildError.self) { try notification.written() }
        var feedback = FeedbackReport(kind: "abuse")
        feedback.domains = ["a\0b"]
        #expect(throws: BuildError.self) { try feedback.written() }
    }

    @Test func recipientsAreLimited() throws {
        let body = "Reporting-MTA: dns; a\n\n" + String(repeating: "Final-Recipient: rfc822; b\n\n", count: 10_001)
        let report = try #require(DeliveryReport(reading: Array(body.utf8)))
        #expect(report.recipients.count == 10_000 && report.hasMoreRecipients)
    }

    @Test(arguments: ["", "\r\n\r\n", "  \n"]) func noReport(body: String) {
        #expect(DeliveryReport(reading: Array(body.utf8)) == nil)
        #expect(DispositionReport(reading: Array(body.utf8)) == nil)
        #expect(FeedbackReport(reading: Array(body.utf8)) == nil)
    }

    /// RFC 8098 §9.
    @Test func dispositionReport() throws {
        let report = try #require(
            DispositionReport(
                reading: octets([
                    "Reporting-UA: joes-pc.cs.example.com; Foomail 97.1",
                    "Original-Recipient: rfc822;Joe_Recipient@example.com",
                    "Final-Recipient: rfc822;Joe_Recipient@example.com",
                    "Original-Message-ID: <199509192301.23456@example.org>",
                    "Disposition: manual-action/MDN-sent-manually; displayed",
                ])
            )
        )
        #expect(report.kind == .displayed && report.isManualAction && report.isSentManually && report.modifiers == [])
        #expect(report.finalRecipient == ReportValue("rfc822", "Joe_Recipient@example.com"))
        #expect(report.originalMessageID == "<199509192301.23456@example.org>")
        #expect(try DispositionReport(reading: report.written()) == report)
    }

    @Test func dispositionsWithModifiersAndErrors() throws {
        let text =
            "Disposition: automatic-action / MDN-sent-automatically (x);\n processed/error, expired\nError: one\nError: two\n"
        let report = try #require(DispositionReport(reading: Array(text.utf8)))
        #expect(report.kind == .processed && report.modifiers == ["error", "expired"])
        #expect(!report.isManualAction && !report.isSentManually && report.errors == ["one", "two"])
        #expect(try DispositionReport(reading: report.written()) == report)
    }

    /// RFC 5965 appendix B.2, and what RFC 6591 adds.
    @Test func feedbackReport() throws {
        let report = try #require(
            FeedbackReport(
                reading: octets([
                    "Feedback-Type: Abuse", "User-Agent: SomeGenerator/1.0", "Version: 1",
                    "Original-Mail-From: <somespammer@example.net>", "Original-Rcpt-To: <user@example.com>",
                    "Arrival-Date: Thu, 8 Mar 2005 14:00:00 -0400", "Reporting-MTA: dns; mail.example.com",
                    "Source-IP: 192.0.2.1",
                    "Authentication-Results: mail.example.com;", "    spf=fail smtp.mail=somespammer@example.com",
                    "Reported-Domain: example.net", "Auth-Failure: dmarc", "Identity-Alignment: none",
                ])
            )
        )
        #expect(report.kind == "abuse" && report.sourceIP == "192.0.2.1" && report.domains == ["example.net"])
        #expect(report.recipients == ["<user@example.com>"] && report.authFailure == "dmarc")
        #expect(report.extensions == [ReportField("Identity-Alignment", "none")])
        #expect(report.arrival?.secondsSince1970 == 1_110_304_800)
        let again = try #require(try FeedbackReport(reading: report.written()))
        #expect(
            again.extensions == report.extensions && again.recipients == report.recipients && again.kind == report.kind
        )
    }

    /// Reports of one block that an empty line cuts.
    @Test(arguments: 1...3) func emptyLinesWithinReportsOfOneBlock(place: Int) throws {
        var lines = [
            "Reporting-UA: a", "Final-Recipient: rfc822; a@x", "Disposition: manual-action/MDN-sent-manually; deleted",
        ]
        lines.insert("", at: place)
        let notification = try #require(DispositionReport(reading: octets(lines + ["", "Error: e"])))
        #expect(notification.kind == .deleted && notification.finalRecipient?.value == "a@x")
        #expect(notification.errors == ["e"] && notification.reportingUA == "a")
        lines = ["Feedback-Type: Auth-Failure (x)", "Auth-Failure: DKIM (y)", "Source-IP: 192.0.2.1", "Version: 1"]
        lines.insert("", at: place)
        let feedback = try #require(FeedbackReport(reading: octets(lines)))
        #expect(feedback.kind == "auth-failure" && feedback.authFailure == "dkim")
        #expect(feedback.sourceIP == "192.0.2.1" && feedback.version == "1" && feedback.extensions == [])
    }

    @Test func reportsAreBuiltAndRead() throws {
        var status = DeliveryReport()
        status.reportingMTA = ReportValue("dns", "mx.example")
        status.recipients = [DeliveryReport.Recipient()]
        status.recipients[0].final = ReportValue("rfc822", "a@b.example")
        status.recipients[0].action = .failed
        status.recipients[0].status = "5.1.1"
        var notification = DispositionReport()
        notification.finalRecipient = ReportValue("rfc822", "a@b.example")
        notification.kind = .displayed
        var feedback = FeedbackReport(kind: "auth-failure")
        feedback.authFailure = "dmarc"
        feedback.version = "1"
        for report in [MessageReport.delivery(status), .disposition(notification), .feedback(feedback)] {
            var state: UInt64 = 1
            let builder = MessageBuilder {
                state = state &* 6_364_136_223_846_793_005 &+ 1
                return state
            }
            let original = Array("Subject: ü\r\n\r\nbody\r\n".utf8)
            let message = try builder.build(HeaderBuilder(), .report(report, text: "Sorry, ü", original: original))
            var parser = StructureParser()
            message.octets.withUnsafeBytes { parser.feed($0) }
            let root = parser.finish()
            try #require(root.children.count == 3)
            let part = root.children[1]
            #expect(MessageReport.isReport(part.content))
            #expect(MessageReport(part.content, body: Array(message.octets[part.body])) == report)
            #expect(MessageReport(root.children[0].content, body: Array(message.octets[root.children[0].body])) == nil)
        }
    }
}
