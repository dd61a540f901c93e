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
    /// When each day that isn't done was tried first. Seconds since 1970.
    private var begun: [ReportDay: Int] = [:]
    /// Reports about the day in work that have gone to addresses in each domain.
    private var sentTo: [String: Int] = [:]

    /// Addresses that one report goes to; the others of a record are passed over (RFC 9990 §3.5).
    private static let maximumDestinations = 4
    /// What is tried again waits so long at first, and twice as long each time.
    private static let firstWait = TimeAmount.seconds(5)
    private static let longestWait = TimeAmount.minutes(30)
    /// Reports that are worked on at a time.
    private static let atOnce = 16
    /// How long a day is tried that is older than reports are kept. Seconds.
    private static let leastTime = 3600

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
        let now = now()
        let today = ReportDay(of: now - settings.delay)
        let store = store
        let days: [ReportDay]
        do throws(FileError) {
            days = try await pool.run { () throws(FileError) in try store.days() }
        } catch {
            logger.error("reports can't be read", metadata: ["reason": "\(error)"])
            return false
        }
        begun = begun.filter { days.contains($0.key) }
        var isDone = true
        for day in days where day < today {
            // After an outage there is time for a few attempts, however old a day is.
            let first = begun[day, default: now]
            begun[day] = first
            let isTooOld = today.number - day.number > settings.lifetime && now - first >= Self.leastTime
            do throws(FileError) {
                guard try await send(day, isLast: isTooOld) else {
                    isDone = false
                    continue
                }
                try await pool.run { () throws(FileError) in try store.remove(day) }
            } catch {
                // The days behind it have nothing to do with that.
                logger.error("reports can't be read", metadata: ["day": "\(day.name)", "reason": "\(error)"])
                isDone = false
            }
        }
        return isDone
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
        sentTo = Self.counts(sent)
        let (totals, due) = (results.totals, results.totals.all.filter { !sent.contains(Self.key($0)) })
        // Side by side: a domain whose servers don't answer holds up a few others, not all.
        var next = due[...]
        var isDone = true
        var fault: FileError?
        await withTaskGroup(of: Result<Bool, FileError>.self) { group in
            func begin() {
                guard fault == nil, let subject = next.popFirst() else { return }
                group.addTask(executorPreference: LoopExecutor.of(loop)) { [self] in
                    await sendOne(about: subject, of: day, totals, sent: sent, isLast: isLast)
                }
            }
            for _ in 0..<Self.atOnce { begin() }
            while let result = await group.next() {
                switch result {
                case .success(let isSent): isDone = isDone && isSent
                case .failure(let error): fault = error
                }
                begin()
            }
        }
        if let fault { throw fault }
        return isDone
    }

    /// - Returns: whether nothing is to be done about it any more; a failure of our own disk.
    private func sendOne(
        about subject: ReportSubject,
        of day: ReportDay,
        _ totals: ReportTotals,
        sent: Set<String>,
        isLast: Bool
    ) async -> Result<Bool, FileError> {
        loop.assertInEventLoop()
        let writer = ReportWriter(settings: settings, day: day, subject: subject)
        do throws(Trouble) {
            try await send(totals.rows(of: subject), writer, sent: sent)
            try await note(Self.key(subject), about: day)
        } catch {
            if case .disk(let error) = error { return .failure(error) }
            guard isLast else { return .success(false) }
            failures.increment()
            logger.warning("a report is given up", metadata: describe(writer, ["reason": "\(error)"]))
        }
        return .success(true)
    }

    /// Why a report has to wait.
    private enum Trouble: Error {
        case lookup
        case queue(String)
        /// It can't be written.
        case content
        case disk(FileError)
    }

    private static func key(_ subject: ReportSubject, _ address: String = "") -> String {
        address.isEmpty
            ? "\(subject.kind.rawValue) \(subject.domain)" : "\(subject.kind.rawValue) \(subject.domain) \(address)"
    }

    /// Reports that have gone to addresses in each domain, by what is noted of a day.
    private static func counts(_ sent: Set<String>) -> [String: Int] {
        var counts: [String: Int] = [:]
        for key in sent {
            let words = key.split(separator: " ")
            guard words.count == 3, let at = words[2].lastIndex(of: "@") else { continue }
            counts[words[2][words[2].index(after: at)...].lowercased(), default: 0] += 1
        }
        return counts
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
            let place = address.lowercasedDomain
            if settings.maximumPerDestination > 0, sentTo[place, default: 0] >= settings.maximumPerDestination {
                // Whoever has many domains may name somebody else's address in all of them.
                let reason = "\(settings.maximumPerDestination) reports about the day have gone to its domain"
                logger.info(
                    "a report isn't sent",
                    metadata: describe(writer, ["recipient": "\(address)", "reason": "\(reason)"])
                )
                continue
            }
            sentTo[place, default: 0] += 1
            var isSent = false
            defer { if !isSent { sentTo[place, default: 1] -= 1 } }
            let (record, date) = (wanted.record, now())
            let mail = await pool.run { writer.mail(to: address.description, rows, record: record, date: date) }
            guard let mail else {
                logger.error("a report can't be made", metadata: describe(writer, ["recipient": "\(address)"]))
                throw .content
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
            isSent = true
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
        // Signed as the domain's own (RFC 8460 §3 asks for it).
        envelope.submitter = .system
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
