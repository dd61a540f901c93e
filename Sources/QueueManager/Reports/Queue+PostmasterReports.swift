import MIME
import NIOCore
import SMTP
import Spool

/// How many reports about reports postmaster has had in an hour: a forged mailing brings back as many as it had recipients.
struct PostmasterReports {
    /// When the hour ends. Milliseconds since 1970.
    private(set) var end: Int64 = 0
    private(set) var count = 0
    /// Those that there was no room for, of which he is told at the end.
    private(set) var dropped = 0

    /// The limit is for so long. Milliseconds.
    static let hour: Int64 = 3_600_000

    /// Counts one more.
    ///
    /// - Returns: whether it may be made.
    mutating func take(limit: Int, at now: Int64) -> Bool {
        // What was dropped before is told first.
        if now >= end, dropped == 0 { (end, count) = (now + Self.hour, 0) }
        guard count < limit else {
            dropped += 1
            return false
        }
        count += 1
        return true
    }

    /// He has been told of so many.
    mutating func told(_ number: Int) { dropped -= number }
}

/// Reports that postmaster gets about mail whose sender can't be told: so many in an hour, and one more that says how many
/// there would have been.
extension Queue {
    /// Whether one more may be made now.
    func mayReportToPostmaster() -> Bool {
        let isFirst = postmasterReports.dropped == 0
        let may = postmasterReports.take(limit: settings.postmasterReports, at: clock.now())
        if !may, isFirst { schedule.remindOfSummary(at: max(postmasterReports.end, clock.now())) }
        return may
    }

    /// Tells postmaster how many reports were not made.
    func summarizeReports() {
        loop.assertInEventLoop()
        let dropped = postmasterReports.dropped
        guard dropped > 0, let postmaster = localDomains.postmaster(hostname: settings.hostname) else { return }
        let retry: @Sendable (String) -> Void = { [self] reason in
            log.unsummarized(reason)
            schedule.remindOfSummary(at: clock.now() + settings.retryMinimum)
        }
        do {
            let summary = try ReportSummary(
                dropped,
                limit: settings.postmasterReports,
                id: spool.makeID(),
                to: postmaster,
                settings: settings,
                now: clock.now() / 1000
            )
            let file = summary.file
            let id = file.head.envelope.id
            arrivals.announce(id)
            spool.commit([.put(id, file: file.octets)]) { [self] error in
                if isClosed { return }
                if let error { return retry("\(error)") }
                postmasterReports.told(dropped)
                counters.count("reports")
                log.summarized(dropped, by: id)
                // Some may have come meanwhile: the next hour ends with them.
                if postmasterReports.dropped > 0 { schedule.remindOfSummary(at: clock.now() + PostmasterReports.hour) }
                add(file.head, content: try? Spool.content(of: file.octets, messageLimit: .max))
            }
        } catch {
            retry("\(error)")
        }
    }
}

/// Tells postmaster how many reports he didn't get.
struct ReportSummary {
    /// The finished queue file.
    let file: (head: QueueFileHead, octets: ByteBuffer)

    /// - Throws: `BuildError`.
    init(
        _ count: Int,
        limit: Int,
        id: MessageID,
        to address: MailAddress,
        settings: QueueSettings,
        now: Int64
    ) throws(BuildError) {
        let header = try QueueReport.header(
            id,
            to: address,
            subject: "\(count) undeliverable reports",
            settings: settings,
            now: now
        )
        let text = """
            This is the mail system at \(settings.hostname).

            \(count) reports about undelivered mail could not be delivered themselves, and you did not
            hear of each: postmaster-reports is \(limit) an hour. In the log they are the lines with
            "given up without a report".

            """
        let builder = MessageBuilder(allowsEightBit: false) { .random(in: .min ... .max) }
        let built = try builder.build(header, .text(subtype: "plain", text))
        let envelope = QueueReport.envelope(id, to: address, parameters: MailParameters(), now: now)
        let (octets, head) = QueueFile.encode(envelope, message: ByteBuffer(bytes: built.octets))
        file = (head, octets)
    }
}
