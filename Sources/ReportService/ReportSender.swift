import CoreMetrics
import Files
import Logging
import MailAuth
import NIOCore
import Network
import Policy
import Reporting
import SMTP
import Submission

/// Hands the reports of days that are over to the queue. Belongs to one event loop.
///
/// What was handed in is noted on stable storage, one address at a time; a report that was handed in and not noted goes again
/// with the same `origin`, which queue-manager knows while it has the message and for some minutes after.
final class ReportSender: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let settings: ReportSettings
    private let store: ReportStore
    private let submissions: SubmissionClient
    /// Makes the lookups of one report.
    private let lookup: @Sendable () -> any MailAuthLookup
    private let pool: BlockingPool
    private let loop: any EventLoop
    private let logger: Logger
    private let now: @Sendable () -> Int
    private let reports = Counter(label: "reports")
    private let failures = Counter(label: "reports-failed")

    /// Addresses that one report goes to; the others of a record are passed over (RFC 9990 §3.5).
    private static let maximumDestinations = 4
    /// What is tried again waits so long at first, and twice as long each time.
    private static let firstWait = TimeAmount.seconds(5)
    private static let longestWait = TimeAmount.minutes(30)

    init(
        _ settings: ReportSettings,
        _ store: ReportStore,
        submissions: SubmissionClient,
        pool: BlockingPool,
        on loop: any EventLoop,
        logger: Logger,
        now: @escaping @Sendable () -> Int,
        lookup: @escaping @Sendable () -> any MailAuthLookup
    ) {
        self.settings = settings
        self.store = store
        self.submissions = submissions
        self.pool = pool
        self.loop = loop
        self.logger = logger
        self.now = now
        self.lookup = lookup
    }

    /// Works until the process ends.
    func run() async {
        var wait = Self.firstWait
        while true {
            let isDone = await sendDue()
            // A day ends some time within the longest wait.
            await loop.pause(isDone ? Self.longestWait : wait)
            wait = isDone ? Self.firstWait : min(.nanoseconds(wait.nanoseconds * 2), Self.longestWait)
        }
    }

    /// Sends what is due.
    ///
    /// - Returns: whether nothing is left that has to be tried again.
    func sendDue() async -> Bool {
        loop.assertInEventLoop()
        let today = ReportDay(of: now() - settings.delay)
        do throws(FileError) {
            let store = store
            let days = try await pool.run { () throws(FileError) in try store.days() }
            var isDone = true
            for day in days where day < today {
                let isTooOld = today.number - day.number > settings.lifetime
                guard try await send(day, isLast: isTooOld) else {
                    isDone = false
                    continue
                }
                try await pool.run { () throws(FileError) in try store.remove(day) }
            }
            return isDone
        } catch {
            logger.error("reports can't be read", metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// - Parameter isLast: whether what fails now is given up.
    private func send(_ day: ReportDay, isLast: Bool) async throws(FileError) -> Bool {
        let (store, maximum) = (store, settings.maximumRows)
        let (results, sent) = try await pool.run { () throws(FileError) in
            (
                try store.results(of: day, maximum: maximum, mending: false),
                try store.sent(about: day)
            )
        }
        var isDone = true
        for subject in results.totals.all {
            let writer = ReportWriter(settings: settings, day: day, subject: subject)
            guard !sent.contains(Self.key(subject)) else { continue }
            do throws(Trouble) {
                try await send(results.totals.rows(of: subject), writer, sent: sent)
                try await note(Self.key(subject), about: day)
            } catch {
                if case .disk(let error) = error { throw error }
                guard isLast else {
                    isDone = false
                    continue
                }
                failures.increment()
                logger.warning("a report is given up", metadata: describe(writer, ["reason": "\(error)"]))
            }
        }
        return isDone
    }

    /// Why a report has to wait.
    private enum Trouble: Error {
        case lookup
        case queue(String)
        case disk(FileError)
    }

    private static func key(_ subject: ReportSubject, _ address: String = "") -> String {
        address.isEmpty
            ? "\(subject.kind.rawValue) \(subject.domain)" : "\(subject.kind.rawValue) \(subject.domain) \(address)"
    }

    private func note(_ key: String, about day: ReportDay) async throws(Trouble) {
        let store = store
        do throws(FileError) {
            try await pool.run { () throws(FileError) in try store.note(sent: key, about: day) }
        } catch {
            throw .disk(error)
        }
    }

    /// Sends one report to all who want it.
    private func send(_ rows: ReportWriter.Rows, _ writer: ReportWriter, sent: Set<String>) async throws(Trouble) {
        let wanted: Wanted
        do throws(MailAuthLookupError) {
            wanted = try await Wanted(writer.subject, lookup())
        } catch {
            throw .lookup
        }
        for note in wanted.refused {
            logger.info("a report isn't sent", metadata: describe(writer, ["reason": "\(note)"]))
        }
        var known = sent
        for destination in wanted.destinations.prefix(Self.maximumDestinations) {
            guard let mailbox = destination.mailbox, let address = try? MailAddress(parsing: mailbox) else { continue }
            let key = Self.key(writer.subject, address.description)
            guard known.insert(key).inserted else { continue }
            let (record, date) = (wanted.record, now())
            let mail = await pool.run { writer.mail(to: address.description, rows, record: record, date: date) }
            guard let mail else {
                logger.error("a report can't be made", metadata: describe(writer, ["recipient": "\(address)"]))
                continue
            }
            if let most = destination.maximumOctets, mail.count > most {
                let reason = "it has \(mail.count) octets, and \(most) are wanted at most"
                logger.info(
                    "a report isn't sent",
                    metadata: describe(writer, ["recipient": "\(address)", "reason": "\(reason)"])
                )
            } else {
                try await submit(mail, to: address, writer, messages: rows.reduce(0) { $0 &+ $1.count })
            }
            try await note(key, about: writer.day)
        }
    }

    private func submit(_ mail: [UInt8], to address: MailAddress, _ writer: ReportWriter, messages: Int)
        async throws(Trouble)
    {
        // Nobody here reads what came of a report.
        var parameters = RecipientParameters()
        parameters.notify = .never
        var envelope = SubmissionEnvelope(
            sender: EnvelopeSender(ReversePath(settings.from)),
            recipients: [EnvelopeRecipient(address, parameters: parameters)]
        )
        envelope.client = "local"
        envelope.origin = "report \(writer.day.name) \(Self.key(writer.subject, address.description))"
        let submission: MessageSubmission
        do throws(SubmissionError) {
            submission = try await submissions.begin(envelope)
        } catch {
            throw .queue("\(error)")
        }
        await submission.append(ByteBuffer(bytes: mail))
        switch await submission.finish(added: ByteBuffer()) {
        case .accepted(let id):
            reports.increment()
            let details: Logger.Metadata = ["recipient": "\(address)", "messages": "\(messages)", "id": "\(id)"]
            logger.info("report sent", metadata: describe(writer, details))
        case .deferred(let status, let text): throw .queue("\(status) \(text)")
        case .refused(let status, let text):
            failures.increment()
            let details: Logger.Metadata = ["recipient": "\(address)", "status": "\(status)", "reason": "\(text)"]
            logger.error("a report was refused", metadata: describe(writer, details))
        }
    }

    private func describe(_ writer: ReportWriter, _ details: Logger.Metadata) -> Logger.Metadata {
        let subject: Logger.Metadata = [
            "report": "\(writer.subject.kind.rawValue)", "domain": "\(writer.subject.domain)",
            "day": "\(writer.day.name)",
        ]
        return subject.merging(details) { first, _ in first }
    }
}
