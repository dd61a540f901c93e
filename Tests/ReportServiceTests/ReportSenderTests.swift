import AuthReports
import Bus
import DNS
import Files
import Logging
import MailAuth
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Reporting
import SMTP
import SimulatedDisk
import Submission
import Testing

@testable import ReportService

#if canImport(Glibc)
import Glibc
#endif

/// A queue-manager that keeps what it is handed, by origin, or doesn't take it.
private final class Queue: Sendable {
    struct Message: Sendable {
        var sender: String
        var recipients: [String]
        var octets: [UInt8]
    }

    let path = "/tmp/martlet-reports-\(UInt64.random(in: 0 ... .max)).sock"
    let messages = NIOLockedValueBox<[String: Message]>([:])
    /// How many messages came, those that were known before among them.
    let attempts = NIOLockedValueBox(0)
    let isDown = NIOLockedValueBox(false)
    /// Is told of each before it's answered.
    let onMessage = NIOLockedValueBox<(@Sendable () -> Void)?>(nil)

    func serve(_ connection: Connection) async {
        var parser = FrameParser()
        connection.write(Frame.ok(tag: nil, [.init("next", "1")]))
        try? await connection.flush()
        var submit = Frame("")
        var octets: [UInt8] = []
        while let frame = try? await connection.readFrame(&parser) {
            if frame.verb == "SUBMIT" {
                submit = frame
                octets = []
            }
            octets += frame.body.map { Array($0.readableBytesView) } ?? []
            guard frame.verb == "END" else { continue }
            attempts.withLockedValue { $0 += 1 }
            onMessage.withLockedValue { $0 }?()
            if isDown.withLockedValue({ $0 }) {
                connection.write(Frame.reply(.defer, status: .systemTrouble, text: "full"))
            } else {
                let message = Message(
                    sender: submit["sender"] ?? "",
                    recipients: submit.all("recipient"),
                    octets: octets
                )
                messages.withLockedValue { messages in
                    let origin = submit["origin"] ?? ""
                    if messages[origin] == nil { messages[origin] = message }
                }
                connection.write(Frame.ok(tag: nil, [.init("id", "1"), .init("next", "2")]))
            }
            try? await connection.flush()
        }
    }
}

@Suite struct ReportSenderTests {
    private static let zone = """
        _dmarc.example.org. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.org,mailto:big@example.org!1k,https://x.example/"
        _dmarc.outside.example. TXT "v=DMARC1; p=none; rua=mailto:a@collector.example,mailto:b@stranger.example"
        outside.example._report._dmarc.collector.example. TXT "v=DMARC1; rua=mailto:other@collector.example"
        _dmarc.silent.example. TXT "v=DMARC1; p=none"
        _smtp._tls.example.net. TXT "v=TLSRPTv1; rua=mailto:tls@example.net,https://example.net/tls"
        """

    private let disk = SimulatedFileSystem(seed: 11)
    private let queue = Queue()
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let yesterday = ReportDay(number: 20_000)

    private func store() throws -> ReportStore {
        ReportStore(disk, in: try disk.open(".", in: nil, [.reading, .directory], mode: 0))
    }

    private func write(_ domains: [String], tls: [String] = []) throws {
        var rows = ByteBuffer()
        for domain in domains {
            let evaluation = DMARCEvaluation(policyDomain: domain, source: "192.0.2.1", headerFrom: domain)
            rows.writeImmutableBuffer(ReportTotals.encoded(.dmarc(evaluation), count: 2))
        }
        for domain in tls { rows.writeImmutableBuffer(ReportTotals.encoded(.tls(TLSSessionResult(domain: domain)))) }
        try store().append(rows, to: yesterday, length: 0)
    }

    /// A new start of reportd, on the disk as it is.
    private func send(now: Int? = nil, zone text: String = zone) async throws -> Bool {
        let zone = try ZoneLookup(masterFile: Array("$TTL 300\n\(text)\n".utf8), file: "zone")
        return try await send(now: now, lookup: zone)
    }

    /// - Parameter later: when the same reportd looks again what is due.
    private func send(
        now: Int?,
        later: [Int] = [],
        most: Int? = nil,
        lookup: any MailAuthLookup
    ) async throws -> Bool {
        var settings = ReportSettings(
            from: try MailAddress(parsing: "dmarc@receiver.example".utf8),
            hostname: "mx.receiver.example"
        )
        settings.organization = "Receiver"
        if let most { settings.maximumPerDestination = most }
        let (store, loop, queue) = (try store(), loop, queue)
        let moment = NIOLockedValueBox(now ?? yesterday.end + 7200)
        let made = settings
        let listener = Listener(group: loop)
        try await listener.accept(on: try UnixSocket.listen(queue.path)) { await queue.serve($0) }
        let isDone = await Task(executorPreference: LoopExecutor.of(loop)) {
            let sender = ReportSender(
                made,
                store,
                submissions: SubmissionClient(path: queue.path, on: loop),
                pool: BlockingPool(threads: 1),
                on: loop,
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }),
                now: { moment.withLockedValue { $0 } }
            ) { lookup }
            var isDone = await sender.sendDue()
            for next in later {
                moment.withLockedValue { $0 = next }
                isDone = await sender.sendDue()
            }
            return isDone
        }.value
        await listener.shutDown(grace: .zero)
        unlink(queue.path)
        return isDone
    }

    private var recipients: [String] {
        queue.messages.withLockedValue { $0.values.flatMap(\.recipients) }.sorted()
    }

    @Test func reportsGoWhereTheyAreWanted() async throws {
        try write(
            ["example.org", "outside.example", "silent.example", "gone.example"],
            tls: ["example.net", "example.org"]
        )
        #expect(try await send())
        #expect(
            recipients == [
                "<dmarc@example.org> NOTIFY=NEVER", "<other@collector.example> NOTIFY=NEVER",
                "<tls@example.net> NOTIFY=NEVER",
            ]
        )
        #expect(queue.messages.withLockedValue { $0.values.allSatisfy { $0.sender == "<dmarc@receiver.example>" } })
        let own = try #require(
            queue.messages.withLockedValue { $0.values.first { $0.recipients[0].hasPrefix("<dmarc@example.org>") } }
        )
        #expect(try DMARCAggregateReport(arrived: own.octets).records.map(\.count) == [2])
        // The day is forgotten, and nothing is left to be sent.
        #expect(try store().days().isEmpty)
        #expect(try await send())
        #expect(queue.attempts.withLockedValue { $0 } == 3)
    }

    /// One address in the records of many domains gets some of the reports, and those who want theirs elsewhere lose nothing.
    @Test func reportsToOneDestination() async throws {
        let many = (0..<9).map { "d\($0).example" }
        let records = many.map { "_dmarc.\($0). TXT \"v=DMARC1; p=none; rua=mailto:x@victim.test\"" }
        let texts = many.map { "_smtp._tls.\($0). TXT \"v=TLSRPTv1; rua=mailto:y@victim.test\"" }
        let zone = ([Self.zone] + records + texts + ["*._report._dmarc.victim.test. TXT \"v=DMARC1\""])
            .joined(separator: "\n")
        try write(many + ["example.org"], tls: many)
        let lookup = try ZoneLookup(masterFile: Array("$TTL 300\n\(zone)\n".utf8), file: "zone")
        // What isn't queued doesn't count.
        queue.isDown.withLockedValue { $0 = true }
        #expect(try await send(now: nil, most: 4, lookup: lookup) == false)
        queue.isDown.withLockedValue { $0 = false }
        #expect(try await send(now: nil, most: 4, lookup: lookup))
        #expect(recipients.filter { $0.contains("victim.test") }.count == 4)
        #expect(recipients.contains("<dmarc@example.org> NOTIFY=NEVER"))
        #expect(try store().days().isEmpty)
    }

    /// Not before the day is over and the delay as well.
    @Test func todayWaits() async throws {
        try write(["example.org"])
        for moment in [yesterday.begin + 5, yesterday.end, yesterday.end + 3000] {
            #expect(try await send(now: moment))
            #expect(recipients.isEmpty)
        }
        #expect(try store().days() == [yesterday])
    }

    @Test func troubleMeansLater() async throws {
        try write(["example.org", "outside.example"])
        queue.isDown.withLockedValue { $0 = true }
        #expect(try await send() == false)
        #expect(try await send(now: nil, lookup: SilentDNS()) == false)
        queue.isDown.withLockedValue { $0 = false }
        #expect(try await send())
        #expect(recipients.count == 2)
        #expect(try store().days().isEmpty)
    }

    /// In the end it's given up, but not before it was tried for an hour: reportd may not have run for days.
    @Test func oldDays() async throws {
        try write(["example.org"])
        #expect(try await send(now: yesterday.end + 3 * 86400, lookup: SilentDNS()) == false)
        let old = yesterday.end + 5 * 86400
        #expect(try await send(now: old, later: [old + 3599], lookup: SilentDNS()) == false)
        #expect(try store().days() == [yesterday])
        #expect(try await send(now: old, later: [old + 3600], lookup: SilentDNS()))
        #expect(try store().days().isEmpty)
        #expect(recipients.isEmpty)
    }

    @Test func anOldDayIsSentAfterAnOutage() async throws {
        try write(["example.org"])
        #expect(try await send(now: yesterday.end + 30 * 86400))
        #expect(recipients == ["<dmarc@example.org> NOTIFY=NEVER"])
    }

    /// A day that can't be read holds up no other.
    @Test func anUnreadableDay() async throws {
        try write(["example.org"])
        let former = ReportDay(number: yesterday.number - 1)
        let file = try disk.open("\(former.name).results", in: nil, [.writing, .creating], mode: 0o600)
        disk.close(file)
        // A directory where a file should be.
        try disk.makeDirectory("\(former.name).sent", in: nil, mode: 0o700)
        #expect(try await send() == false)
        #expect(recipients == ["<dmarc@example.org> NOTIFY=NEVER"])
        #expect(try store().days() == [former])
    }

    /// A domain whose servers never answer holds up no other.
    @Test(.timeLimit(.minutes(1))) func aSlowDomain() async throws {
        try write(["a.example", "example.org", "outside.example"])
        let zone = try ZoneLookup(masterFile: Array("$TTL 300\n\(Self.zone)\n".utf8), file: "zone")
        let (arrived, queue) = (NIOLockedValueBox(false), queue)
        // It gives up once the others' reports are there.
        let slow = SlowDNS(zone: zone, slow: "a.example") {
            while queue.attempts.withLockedValue({ $0 }) < 2 { try? await Task.sleep(for: .milliseconds(5)) }
            arrived.withLockedValue { $0 = true }
        }
        #expect(try await send(now: nil, lookup: slow) == false)
        #expect(arrived.withLockedValue { $0 })
        #expect(recipients.count == 2)
    }

    /// The machine stops at each call to the disk in turn; whatever was done before, each report is in the queue once.
    @Test func aPowerCutAtEveryCall() async throws {
        var cuts = 0
        for call in 1... {
            let trial = ReportSenderTests()
            try trial.write(["example.org", "outside.example"])
            try trial.disk.syncAll(of: try trial.disk.open(".", in: nil, [.reading, .directory], mode: 0))
            trial.disk.start(FaultPlan(endAt: call))
            let isDone = (try? await trial.send()) ?? false
            trial.disk.powerCut()
            if isDone, trial.recipients.count == 2, call > 60 { break }
            cuts += 1
            _ = try await trial.send()
            #expect(
                trial.recipients == ["<dmarc@example.org> NOTIFY=NEVER", "<other@collector.example> NOTIFY=NEVER"],
                "at call \(call)"
            )
            #expect(try trial.store().days().isEmpty)
        }
        #expect(cuts > 20)
    }
}

/// No answer, now or later.
private struct SilentDNS: MailAuthServer {
    func answer(_ name: DomainName, _ type: RecordType) async throws(MailAuthLookupError) -> MailAuthAnswer {
        throw .temporary
    }
}

/// Answers from a zone, but for what is below one name, which waits and then is not known.
private struct SlowDNS: MailAuthLookup {
    let zone: ZoneLookup
    let slow: String
    let wait: @Sendable () async -> Void

    func txt(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] {
        guard name.description.contains(slow) else { return try await zone.txt(name) }
        await wait()
        throw .temporary
    }

    func ip4Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { throw .temporary }
    func ip6Addresses(_ name: DomainName) async throws(MailAuthLookupError) -> [[UInt8]] { throw .temporary }
    func mailExchanges(_ name: DomainName) async throws(MailAuthLookupError) -> [MailExchange] { throw .temporary }
    func pointers(_ name: DomainName) async throws(MailAuthLookupError) -> [DomainName] { throw .temporary }
}
