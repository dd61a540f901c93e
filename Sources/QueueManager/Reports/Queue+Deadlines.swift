import NIOCore
import SMTP
import Spool

extension QueuedMessage {
    /// When it has to come back to its sender (RFC 2852, mode R). Milliseconds since 1970.
    var returnDeadline: Int64? { deadline(.return) }

    /// When its sender wants to hear that it's late (RFC 2852, mode N). Milliseconds since 1970.
    var noticeDeadline: Int64? { deadline(.notify) }

    private func deadline(_ mode: DeliverBy.Mode) -> Int64? {
        guard let deadline = terms.deadline, deadline.mode == mode else { return nil }
        return deadline.time.multipliedReportingOverflow(by: 1000).partialValue
    }
}

extension DeliveryResult {
    /// What becomes of a message that has to come back.
    static let deadlinePassed = DeliveryResult(
        .failed,
        .deadlinePassed,
        "not delivered by the time that the sender had set"
    )
}

/// Messages whose senders have said by when they want to hear of them.
extension Queue {
    /// Has `warnIfDue` called when a deadline is over.
    func remindOfDeadline(_ message: QueuedMessage) {
        if message.jobs.contains(where: { !$0.isWarned }), let deadline = message.noticeDeadline {
            schedule.remind(of: message, at: deadline)
        }
        // What waits for its next attempt hears of it then, and isn't tried again.
        if let deadline = message.returnDeadline { schedule.remind(of: message, at: deadline) }
    }

    /// Tells the sender that a message isn't delivered by the time that was set, or gives it up, where that time is over. Not
    /// while a change is asked for: when that is made, this is called again.
    func warnIfDue(_ message: QueuedMessage) {
        loop.assertInEventLoop()
        let now = clock.now()
        if let deadline = message.returnDeadline, deadline <= now {
            for job in message.jobs where job.phase == .deferred || job.phase == .ready || job.phase == .paused {
                schedule.withdraw(job, at: now)
                conclude(job, .deadlinePassed)
            }
            return
        }
        guard let deadline = message.noticeDeadline, deadline <= now, !message.isReport, !message.isSenderDoubted else {
            return
        }
        warn(message, .late, message.jobs.filter { !$0.isWarned })
    }

    /// Whether a job's sender should know by now that it's late, and doesn't.
    func isLate(_ job: DeliveryJob) -> Bool {
        let message = job.message
        guard !job.isWarned, !message.isReport, !message.isSenderDoubted else { return false }
        let warning = settings.delayWarning(settings.deliveryClass(of: message), to: job.destination)
        return warning > 0 && clock.now() >= message.start + warning
    }

    /// What waits for its turn or its time, and of which that is so. What is being tried now has its own say; what is paused waits
    /// because the administrator wants it to.
    func lateJobs(of message: QueuedMessage) -> [DeliveryJob] {
        message.jobs.filter {
            ($0.phase == .ready || $0.phase == .deferred) && isLate($0) && schedule.pauses.pause(of: $0) == nil
        }
    }

    /// Tells the sender of a message that it's late, where it is at a destination that can't be reached: of all of its recipients
    /// for whom it's so.
    func warnOfDelay(_ message: QueuedMessage, at destination: String) {
        let late = lateJobs(of: message)
        guard late.contains(where: { $0.destination == destination }) else { return }
        warn(message, .delayed, late)
    }

    /// Makes a report that jobs are late.
    private func warn(_ message: QueuedMessage, _ kind: QueueReport.Kind, _ jobs: [DeliveryJob]) {
        guard !jobs.isEmpty, message.changes.isEmpty, store.move(message, .deliveryBegan) else { return }
        for job in jobs { job.isWarned = true }
        let late = Set(jobs.flatMap(\.recipients))
        withOriginal(of: message) { [self] envelope, header in
            warn(message, kind, late, envelope, header)
        } failed: { [self] error in
            if endIfOver(message) { return }
            for job in message.jobs where job.recipients.contains(where: late.contains) { job.isWarned = false }
            store.move(message, .deliveryEnded)
            setAside(message, error) {}
        }
    }

    /// What a report says of jobs that are late: the last words about them, or about their destination.
    func lateRecipients(_ jobs: [DeliveryJob], _ envelope: MessageEnvelope) -> [QueueReport.Recipient] {
        jobs.flatMap { job in
            let result = schedule.destinations[job.destination]?.failure ?? Self.lastWords(job.reason?.text)
            return job.recipients.map {
                QueueReport.Recipient(recipient: envelope.recipients[Int($0)], result: result)
            }
        }
    }

    /// - Parameter reason: a status and text, as jobs have it.
    private static func lastWords(_ reason: String?) -> DeliveryResult {
        guard let reason, let space = reason.firstIndex(of: " "),
            let status = EnhancedStatusCode(parsing: reason[..<space].utf8)
        else { return DeliveryResult(.delayed, .congestion, "not tried yet: other mail has its turn first") }
        // Without what stands for names.
        let words = reason[reason.index(after: space)...].split(separator: " ").filter { $0 != "*" }
        return DeliveryResult(.delayed, status, words.joined(separator: " "))
    }

    /// The lines of a state file for recipients of whom the sender knows now that they are late.
    ///
    /// - Parameter jobs: all that are open.
    func warnedLines(_ recipients: [Int32], of jobs: some Sequence<DeliveryJob>) -> String {
        let time = clock.now() / 1000
        // One line for all.
        if jobs.allSatisfy(\.isWarned) { return StateEntry(time: time, recipient: 0, event: .warned).line }
        return recipients.map { StateEntry(time: time, recipient: Int($0) + 1, event: .warned).line }.joined()
    }

    /// Ends the making of a warning where the last delivery has ended meanwhile: nobody needs it, and a line in the state
    /// file would come behind the note that the message is gone.
    ///
    /// - Returns: whether it has.
    private func endIfOver(_ message: QueuedMessage) -> Bool {
        guard message.state == .gone || message.jobs.isEmpty else { return false }
        store.move(message, .deliveryEnded)
        proceed(with: message)
        return true
    }

    /// - Parameter late: of whom the sender is told, if they are still open.
    private func warn(
        _ message: QueuedMessage,
        _ kind: QueueReport.Kind,
        _ late: Set<Int32>,
        _ envelope: MessageEnvelope,
        _ header: QueueReport.Original
    ) {
        if endIfOver(message) { return }
        let missed = DeliveryResult(.delayed, .deadlineMissed, "not delivered by the time that was set; it is tried on")
        let jobs = message.jobs.filter { $0.recipients.contains(where: late.contains) }
        var recipients = lateRecipients(jobs, envelope)
        if kind == .late {
            recipients = recipients.map { QueueReport.Recipient(recipient: $0.recipient, result: missed) }
        }
        do {
            if !recipients.isEmpty {
                let reports = try report(
                    kind,
                    recipients,
                    about: envelope,
                    header,
                    expiry: jobs.map { expiry(of: $0) }.max()
                )
                let lines = warnedLines(jobs.flatMap(\.recipients), of: message.jobs)
                commit(put(reports, about: message) + [.state(message.id, lines: ByteBuffer(string: lines))], reports)
            }
        } catch {
            log.unreportable(message.id, "\(error)")
        }
        store.move(message, .deliveryEnded)
        proceed(with: message)
    }
}

extension EnhancedStatusCode {
    /// 4.4.5: there is too much mail to try this one now.
    static let congestion = EnhancedStatusCode(4, 4, 5)
    /// 4.4.7: the time that was set is over, and the message is still tried (RFC 2852 §4.1.4).
    static let deadlineMissed = EnhancedStatusCode(4, 4, 7)
}
