import Daemon
import Bus
import Foundation
import NIOCore
import SMTP
import Spool
import Testing

@testable import QueueManager

@Suite struct ReportTests {
    private let original = "From: Alice <alice@example.test>\r\nSubject: over\r\n there\r\n\r\nSecret body\r\n"

    /// Each recipient's mail has a sender of its own, and so has what comes of it.
    @Test func variableSenders() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        let recipients = ["<bob@example.net>", "<carol@example.net>"]
        _ = try await queue.submit(from: "<news@example.test> XVERP BODY=8BITMIME", to: recipients, original)
        var senders: Set<String> = []
        for _ in recipients {
            let request = try await relay.next()
            #expect(request.frame.all("recipient").count == 1)
            senders.insert(request.frame["sender"] ?? "")
            request.answer(.reject, "5.1.1", [.init("text", "no such user")])
        }
        let expected = ["bob", "carol"].map { "news+\($0)=example.net@example.test" }
        #expect(senders == Set(expected.map { "<\($0)> BODY=8BITMIME" }))
        var told: Set<String> = []
        for _ in recipients {
            let report = try await deliverer.next()
            told.insert(report.frame.all("recipient").joined())
            report.answer(.ok, "2.0.0")
        }
        #expect(told == Set(expected.map { "<\($0)> NOTIFY=NEVER" }))
        await queue.stop()
    }

    @Test func failureIsReportedToTheSender() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        _ = try await queue.submit(
            from: "<alice@example.test> ENVID=abc",
            to: ["<bob@example.net> ORCPT=rfc822;bobby@example.net", "<carol@example.net> NOTIFY=NEVER"],
            original
        )
        let request = try await relay.next()
        request.answer(
            .reject,
            "5.1.1",
            [
                .init("remote", "mx.example.net [192.0.2.25]:25"), .init("text", "no such user"),
                .init("diagnostic", "550 5.1.1 who\r\nis: that"),
            ]
        )
        let report = try await deliverer.next()
        #expect(report.frame["sender"] == "<>")
        #expect(report.frame["submitter"] == "system")
        #expect(report.frame.all("recipient") == ["<alice@example.test> NOTIFY=NEVER"])
        let text = report.message
        #expect(text.contains("To: <alice@example.test>\r\n"))
        let boundary = try #require(text.firstMatch(of: /boundary="(.*?)"/)?.1)
        let parts = text.components(separatedBy: "\r\n--\(boundary)")
        #expect(parts.count == 5)
        #expect(parts[0].contains("Content-Type: multipart/report; report-type=delivery-status;"))
        #expect(parts[1].contains("<bob@example.net>:\r\n"))
        #expect(!parts[1].contains("carol"))
        let words =
            "<bob@example.net>:\r\n    There is no such address at this host.\r\n    The host was mx.example.net"
        #expect(parts[1].contains(words))
        let status = parts[2].components(separatedBy: "\r\n\r\n")
        #expect(status.count == 3)
        #expect(status[0].contains("Content-Type: message/delivery-status\r\n"))
        #expect(status[1].contains("Reporting-MTA: dns; mail.example.test"))
        #expect(status[1].contains("Original-Envelope-Id: abc"))
        #expect(
            status[2] == """
                Original-Recipient: rfc822; bobby@example.net\r
                Final-Recipient: rfc822; bob@example.net\r
                Action: failed\r
                Status: 5.1.1\r
                Remote-MTA: dns; mx.example.net\r
                Diagnostic-Code: smtp; 550 5.1.1 who is: that\r

                """
        )
        #expect(parts[3].contains("Content-Type: text/rfc822-headers"))
        #expect(parts[3].contains("Subject: over\r\n there\r\n"))
        #expect(!text.contains("Secret body"))
        #expect(parts[4] == "--\r\n")
        // A report that can't be delivered goes to postmaster; what he can't get is dropped.
        report.answer(.reject, "5.1.1", [.init("text", "no alice here")])
        let second = try await deliverer.next()
        #expect(second.frame["sender"] == "<>")
        #expect(second.frame.all("recipient") == ["<postmaster@example.test> NOTIFY=NEVER"])
        #expect(second.message.contains("Final-Recipient: rfc822; alice@example.test\r\n"))
        #expect(second.message.contains("no alice here"))
        second.answer(.reject, "5.1.1")
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "2")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// The sender of quarantined mail may be forged: only who logged in is told.
    @Test(arguments: [nil, "alice"] as [String?]) func quarantinedMailIsNotAnswered(user: String?) async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        var fields: [Frame.Field] = [
            .init("sender", "<alice@example.test>"), .init("recipient", "<bob@example.net> NOTIFY=SUCCESS"),
            .init("recipient", "<carol@example.org>"), .init("protocol", "ESMTP"),
        ]
        if let user { fields.append(.init("user", user)) }
        let submit = Frame("SUBMIT", fields, body: ByteBuffer(string: original))
        let reply = try await queue.exchange([submit, Frame("END", [.init("quarantine", "yes")])])
        #expect(reply.replyKind == .ok)
        for _ in 1...2 {
            let request = try await relay.next()
            let isGood = request.frame["destination"] == "example.net"
            request.answer(isGood ? .ok : .reject, isGood ? "2.0.0" : "5.1.1")
        }
        if user != nil { for _ in 1...2 { try await deliverer.next().answer(.ok, "2.0.0") } }
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == (user == nil ? "0" : "2"))
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// The recipients that a report says have failed.
    private func failed(_ report: DeliveryRequest) -> [String] {
        report.message.components(separatedBy: "\r\n").compactMap { line in
            line.hasPrefix("Final-Recipient: rfc822; ") ? String(line.dropFirst(25)) : nil
        }
    }

    /// One report for what fails while others are on their way, in whatever deliveries.
    @Test func failuresOfOneMessageAreReportedTogether() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.deliveryRecipients = 2 }
        let unknown = (1...5).map { "<nobody\($0)@example.net>" }
        _ = try await queue.submit(to: unknown + ["<carol@example.org>", "<dave@example.com>"], original)
        var requests: [DeliveryRequest] = []
        for _ in 1...5 { requests.append(try await relay.next()) }
        for request in requests where request.frame["destination"] == "example.net" {
            request.answer(.reject, "5.1.1", [.init("text", "no such user")])
        }
        requests.first { $0.frame["destination"] == "example.org" }?.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.first?.all("recipient") == ["<dave@example.com>"] }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "0")
        requests.first { $0.frame["destination"] == "example.com" }?.answer(.reject, "5.2.1")
        let report = try await deliverer.next()
        #expect(failed(report) == (1...5).map { "nobody\($0)@example.net" } + ["dave@example.com"])
        report.answer(.ok, "2.0.0")
        #expect(try await queue.list { $0.isEmpty }.isEmpty)
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "1")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// While a report is on its way to the disk, its message is still listed.
    @Test func queueIsNeverEmptyBetweenAMessageAndItsReport() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        for _ in 1...20 {
            let id = try await queue.submit(to: ["<bob@example.net>"], original)["id"]
            try await relay.next().answer(.reject, "5.1.1")
            while true {
                let listed = try await queue.control("LIST").filter { $0.verb == "MESSAGE" }
                // One or the other; both, where the list was begun before the message left.
                #expect(!listed.isEmpty)
                if !listed.contains(where: { $0["id"] == id }) { break }
            }
            try await deliverer.next().answer(.ok, "2.0.0")
            _ = try await queue.list { $0.isEmpty }
        }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// A failure waits a few seconds for others, not for as long as a slow host takes; and a crash doesn't lose it.
    @Test func failureDoesNotWaitForASlowHost() async throws {
        let queue = try TestQueue()
        var (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.net>", "<carol@example.org>"], original)
        var requests = [try await relay.next(), try await relay.next()]
        requests.first { $0.frame["destination"] == "example.net" }?
            .answer(.reject, "5.1.1", [.init("text", "no such user")])
        _ = try await queue.list { $0.first?.all("recipient") == ["<carol@example.org>"] }
        await queue.advance(OwedReport.patience - 1)
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "0")
        // Started again, it has not forgotten.
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
        (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        requests = [try await relay.next()]
        #expect(requests[0].frame.all("recipient") == ["<carol@example.org>"])
        await queue.advance(OwedReport.patience)
        let report = try await deliverer.next()
        #expect(failed(report) == ["bob@example.net"])
        #expect(report.message.contains("no such user"))
        report.answer(.ok, "2.0.0")
        // What fails later is told alone.
        requests[0].answer(.reject, "5.1.1")
        #expect(failed(try await deliverer.next()) == ["carol@example.org"])
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    @Test func returnedMessageTellsOfWhatFailedBefore() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.net>", "<carol@example.org>"], original)
        let requests = [try await relay.next(), try await relay.next()]
        requests.first { $0.frame["destination"] == "example.net" }?.answer(.reject, "5.1.1")
        let message = try await queue.list { $0.first?.all("recipient") == ["<carol@example.org>"] }
        let id = try #require(message.first?["id"])
        _ = try await queue.control("BOUNCE", [.init("id", id)])
        requests.first { $0.frame["destination"] == "example.org" }?.answer(.defer, "4.2.1")
        #expect(failed(try await deliverer.next()).sorted() == ["bob@example.net", "carol@example.org"])
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "1")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// Postmaster's address may be an alias that leads elsewhere: reports about what can't be delivered there would go round.
    @Test func whatAnAliasOfPostmasterLedToIsNotReportedToHim() async throws {
        let queue = try TestQueue()
        let relay = try await queue.relay()
        try await queue.start()
        let fields: [Frame.Field] = [.init("protocol", "ESMTP"), .init("expanded", "yes")]
        _ = try await queue.submit(from: "<>", to: ["<admin@example.net>"], fields: fields)
        try await relay.next().answer(.reject, "5.7.1")
        #expect(try await queue.list { $0.isEmpty }.isEmpty)
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "0")
        await queue.stop()
        await relay.stop()
    }

    @Test func nobodyIsToldWhoDoesNotWantToKnow() async throws {
        let queue = try TestQueue()
        let deliverer = try await queue.deliverer()
        try await queue.start()
        _ = try await queue.submit(to: ["<bob@example.test> NOTIFY=NEVER"])
        try await deliverer.next().answer(.reject, "5.1.1")
        #expect(try await queue.list { $0.isEmpty }.isEmpty)
        let statistics = try #require(try await queue.control("STATISTICS").last)
        #expect(statistics["total-reports"] == "0")
        #expect(statistics["total-failed"] == "1")
        await queue.stop()
        await deliverer.stop()
    }

    @Test func expiredMessageIsReturned() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.lifetime = 1_500_000 }
        _ = try await queue.submit(to: ["<bob@example.net>"], original)
        try await relay.next().answer(.defer, "4.2.1", [.init("text", "busy")])
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.advance(1_000_000)
        try await relay.next().answer(.defer, "4.2.1", [.init("text", "busy")])
        _ = try await queue.list { $0.first?["attempts"] == "2" }
        await queue.advance(1_000_000)
        try await relay.next().answer(.defer, "4.2.1", [.init("text", "busy")])
        let text = try await deliverer.next().message
        #expect(text.contains("Status: 4.4.7\r\n"))
        #expect(text.contains("busy"))
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// That a message's time is over says nothing about its destination, which could not be reached.
    @Test func destinationOfAnExpiredMessageStaysUnreachable() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.lifetime = 1_500_000 }
        _ = try await queue.submit(to: ["<bob@example.net>"], original)
        let request = try await relay.next()
        await queue.advance(2_000_000)
        request.answer(.defer, "4.4.1", [.init("scope", "destination"), .init("text", "no route")])
        #expect(try await deliverer.next().message.contains("Status: 4.4.7\r\n"))
        let statistics = try await queue.control("STATISTICS")
        #expect(statistics.first { $0["name"] == "example.net" }?["reason"] == "4.4.1 no route")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    @Test func lateMessageIsAnnouncedOnce() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.delayWarning = 500_000 }
        _ = try await queue.submit(to: ["<bob@example.net>"], original)
        try await relay.next().answer(.defer, "4.2.1")
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.advance(1_000_000)
        try await relay.next().answer(.defer, "4.2.1")
        let warning = try await deliverer.next()
        #expect(warning.message.contains("Action: delayed\r\n"))
        warning.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 && $0.first?["attempts"] == "2" }
        await queue.advance(3_000_000)
        try await relay.next().answer(.defer, "4.2.1")
        _ = try await queue.list { $0.first?["attempts"] == "3" }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "1")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// Also of those whose turn never came: the destination could not be reached.
    @Test func everyLateMessageForADeadHostIsAnnouncedOnce() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.delayWarning = 500_000 }
        let names = (1...8).map { "user\($0)@example.net" }
        for name in names { _ = try await queue.submit(to: ["<\(name)>"], original) }
        let failure = [Frame.Field("scope", "destination"), .init("text", "no route")]
        for _ in 1...5 { try await relay.next().answer(.defer, "4.4.1", failure) }
        _ = try await queue.list { $0.count(where: { $0["state"] == "deferred" }) == 5 }
        await queue.advance(1_200_000)
        try await relay.next().answer(.defer, "4.4.1", failure)
        var told: Set<String> = []
        for _ in names {
            let notice = try await deliverer.next()
            #expect(notice.message.contains("Action: delayed\r\nStatus: 4.4.1\r\n"))
            #expect(notice.message.contains("The other side does not answer."))
            for name in failed(notice) { #expect(told.insert(name).inserted) }
            notice.answer(.ok, "2.0.0")
        }
        #expect(told == Set(names))
        _ = try await queue.list { $0.count == names.count }
        await queue.advance(9_000_000)
        try await relay.next().answer(.defer, "4.4.1", failure)
        _ = try await queue.list { $0.count == names.count && $0.allSatisfy { $0["state"] != "active" } }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "\(names.count)")
        // Nor after a start.
        await queue.stop()
        try await queue.start { $0.delayWarning = 500_000 }
        _ = try await queue.list { $0.count == names.count }
        _ = try await queue.control("FLUSH")
        try await relay.next().answer(.defer, "4.4.1", failure)
        _ = try await queue.list { $0.count == names.count }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "0")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// A notice has all who are late by then, each with what was said about it; who was not among them has one later.
    @Test func everyLateRecipientIsAnnouncedOnce() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start {
            $0.delayWarning = 500_000
            var patient = DestinationSettings()
            patient.times.delayWarning = .hours(1)
            $0.destinations = DomainTable(["patient.example": patient])
        }
        _ = try await queue.submit(to: ["one", "two", "patient"].map { "<bob@\($0).example>" }, original)
        for _ in 1...3 {
            let request = try await relay.next()
            request.answer(.defer, "4.2.1", [.init("text", "busy \(request.frame["destination"] ?? "")")])
        }
        _ = try await queue.list { $0.first?["state"] == "deferred" }
        await queue.advance(600_000)
        #expect(try await queue.control("FLUSH", [.init("destination", "one.example")]).last?["count"] == "1")
        try await relay.next().answer(.defer, "4.2.2", [.init("text", "full")])
        let first = try await deliverer.next()
        #expect(failed(first) == ["bob@one.example", "bob@two.example"])
        #expect(first.message.contains("Status: 4.2.2\r\n") && first.message.contains("4.2.1 busy two.example"))
        first.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 && $0.first?["state"] == "deferred" }
        // What was told is known after a start, for each recipient.
        await queue.stop()
        try await queue.start {
            $0.delayWarning = 500_000
            $0.destinations = DomainTable([:])
        }
        _ = try await queue.list { $0.count == 1 }
        _ = try await queue.control("FLUSH")
        for _ in 1...3 { try await relay.next().answer(.defer, "4.2.1") }
        let second = try await deliverer.next()
        #expect(failed(second) == ["bob@patient.example"])
        second.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.count == 1 && $0.first?["state"] == "deferred" }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "1")
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    /// Of more reports about reports than there may be in an hour, postmaster hears the number.
    @Test func postmasterIsNotFlooded() async throws {
        let queue = try TestQueue()
        let (relay, deliverer) = (try await queue.relay(), try await queue.deliverer())
        try await queue.start { $0.postmasterReports = 2 }
        for number in 1...5 {
            _ = try await queue.submit(from: "<>", to: ["<user\(number)@example.net>"], original)
            try await relay.next().answer(.reject, "5.1.1")
        }
        for _ in 1...2 {
            let report = try await deliverer.next()
            #expect(report.frame.all("recipient") == ["<postmaster@example.test> NOTIFY=NEVER"])
            report.answer(.ok, "2.0.0")
        }
        _ = try await queue.list { $0.isEmpty }
        #expect(try await queue.control("STATISTICS").last?["total-reports"] == "2")
        await queue.advance(PostmasterReports.hour)
        let summary = try await deliverer.next()
        #expect(summary.frame["sender"] == "<>")
        #expect(summary.message.contains("Subject: 3 undeliverable reports\r\n"))
        #expect(summary.message.contains("postmaster-reports is 2"))
        // He isn't told of his own mail.
        summary.answer(.reject, "5.1.1")
        _ = try await queue.list { $0.isEmpty }
        // A new hour.
        _ = try await queue.submit(from: "<>", to: ["<bob@example.net>"], original)
        try await relay.next().answer(.reject, "5.1.1")
        let report = try await deliverer.next()
        #expect(failed(report) == ["bob@example.net"])
        report.answer(.ok, "2.0.0")
        _ = try await queue.list { $0.isEmpty }
        await queue.stop()
        await relay.stop()
        await deliverer.stop()
    }

    @Test(arguments: [
        ("5.1.1", "There is no such address at this host."), ("5.2.2", "The mailbox is full."),
        ("4.4.1", "The other side does not answer."), ("5.7.1", "The other side refuses the message."),
        ("4.7.1", "The other side doesn't take the message yet."),
    ]) func statusIsSaidInWords(status: String, sentence: String) throws {
        #expect(EnhancedStatusCode(parsing: status.utf8)?.sentence == sentence)
    }

    @Test func statusThatSaysNothingHasNoWords() { #expect(EnhancedStatusCode(5, 0, 0).sentence == nil) }

    private func report(
        _ kind: QueueReport.Kind,
        to sender: String = "<alice@example.test>",
        _ recipients: [String],
        header: String
    ) throws -> QueueReport {
        let head = try TestMessages.head(1, from: sender, to: recipients)
        return try QueueReport(
            kind,
            head.envelope.recipients.map {
                QueueReport.Recipient(recipient: $0, result: DeliveryResult(.failed, .noSuchMailbox, "no such user"))
            },
            id: MessageID(time: 2, random: 2),
            to: head.envelope.sender.path.address ?? MailAddress(parsing: "postmaster@example.test".utf8),
            about: head.envelope,
            header: QueueReport.Original(octets: ByteBuffer(string: header), isWhole: false),
            settings: QueueSettings(hostname: "mail.example.test", domains: ["example.test"], try .standard),
            expiry: 1_795_500_000,
            now: 1_795_450_000
        )
    }

    @Test func eightBitHeaderMakesAnEightBitReport() throws {
        let plain = try #require(try report(.failed, ["<bob@example.net>"], header: "Subject: over\r\n\r\n").file)
        #expect(plain.head.envelope.sender.parameters.body == nil)
        let file = try #require(
            try report(.failed, ["<bob@example.net>"], header: "Subject: gr\u{FC}n\r\n\r\n").file
        )
        #expect(file.head.envelope.sender.parameters.body == .eightBitMIME)
        #expect(String(buffer: file.octets).contains("Subject: gr\u{FC}n\r\n"))
    }

    /// As its message was not to be seen on its way, so it isn't (RFC 8689 §5).
    @Test(arguments: [false, true]) func aReportRequiresTLSAsItsMessageDid(_ isRequired: Bool) throws {
        let sender = "<alice@example.test>" + (isRequired ? " REQUIRETLS" : "")
        let file = try #require(try report(.failed, to: sender, ["<bob@example.net>"], header: "").file)
        #expect(file.head.envelope.sender.parameters.requiresTLS == isRequired)
    }

    @Test func onlyThoseWhoseSenderWantsToKnowAreReported() throws {
        let recipients = ["<a@example.net> NOTIFY=NEVER", "<b@example.net> NOTIFY=DELAY", "<c@example.net>"]
        func addresses(_ report: QueueReport) -> [String] { report.recipients.map { "\($0.recipient.address)" } }
        #expect(addresses(try report(.failed, recipients, header: "")) == ["c@example.net"])
        #expect(addresses(try report(.delayed, recipients, header: "")) == ["b@example.net", "c@example.net"])
        #expect(try report(.failed, ["<a@example.net> NOTIFY=NEVER"], header: "").file == nil)
        // What reports ask for is meant for a sender that they don't have.
        #expect(
            addresses(try report(.failed, to: "<>", ["<c@example.net> NOTIFY=NEVER"], header: "")) == ["c@example.net"]
        )
    }

    @Test func headerEndsWhereTheMessagesDoes() {
        #expect(
            String(buffer: QueueReport.headerLines(ByteBuffer(string: "A: b\nC: d\r\n\r\nbody"))) == "A: b\r\nC: d\r\n"
        )
        #expect(QueueReport.headerLines(ByteBuffer(string: "")).readableBytes == 0)
        #expect(String(buffer: QueueReport.headerLines(ByteBuffer(string: "A: b\r\ncut of"))) == "A: b\r\n")
    }
}
