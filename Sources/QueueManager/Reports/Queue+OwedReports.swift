import NIOCore
import SMTP
import Spool

/// Failures of a message that its sender is told of in one report.
extension Queue {
    /// What the state file says is owed.
    func owedReport(_ progress: MessageProgress, _ envelope: MessageEnvelope) -> OwedReport? {
        guard !progress.unreported.isEmpty else { return nil }
        var owed = OwedReport(at: clock.now())
        for (index, recipient) in envelope.recipients.enumerated() {
            guard let result = progress.unreported[index] else { continue }
            owed.add(
                OwedReport.Failure(index: index, recipient: QueueReport.Recipient(recipient: recipient, result: result))
            )
        }
        return owed
    }

    /// Notes a failure that the sender is to be told of.
    func owe(_ failure: OwedReport.Failure, _ message: QueuedMessage) {
        if message.owed == nil {
            let owed = OwedReport(at: clock.now())
            message.owed = owed
            schedule.remind(of: message, at: owed.due)
        }
        message.owed?.add(failure)
    }

    /// Whether a failure has to wait: for a report that is being made, or for other recipients, who may fail soon.
    func mustWait(_ message: QueuedMessage, for job: DeliveryJob? = nil) -> Bool {
        let now = clock.now()
        if let owed = message.owed {
            if owed.isUnderWay || now < owed.blockedUntil { return true }
            if now >= owed.due { return false }
        }
        let due = message.owed?.due ?? now + OwedReport.patience
        return message.jobs.contains { $0 !== job && schedule.isUnderWay($0, before: due) }
    }

    /// A report begins: of all that is owed by now.
    func beginReport(of message: QueuedMessage) {
        loop.assertInEventLoop()
        // So that failures that come meanwhile wait for the next one.
        if message.owed == nil { message.owed = OwedReport(at: clock.now()) }
        message.owed?.begin()
    }

    /// A report is about to be committed; returns the lines for the state file.
    func endReport(of message: QueuedMessage) -> String {
        let time = clock.now() / 1000
        let lines = message.owed?.failuresUnderWay.map { failure in
            let result = failure.recipient.result
            let event = StateEntry.Event.final(.failed, result.status)
            return StateEntry(time: time, recipient: failure.index + 1, event: event, text: result.summary).line
        }
        message.owed = message.owed?.reported(at: clock.now())
        if let owed = message.owed { schedule.remind(of: message, at: owed.due) }
        return lines?.joined() ?? ""
    }

    /// A report can't be made now.
    func postponeReport(of message: QueuedMessage) {
        let time = clock.now() + settings.retryMinimum
        message.owed?.postpone(until: time)
        schedule.remind(of: message, at: time)
    }

    /// Makes the report that is owed, unless it should wait.
    func reportIfDue(_ message: QueuedMessage) {
        loop.assertInEventLoop()
        guard message.owed?.failures.isEmpty == false, !mustWait(message), message.changes.isEmpty else { return }
        // A change comes first; afterwards this is called again.
        guard store.move(message, .deliveryBegan) else { return }
        beginReport(of: message)
        withOriginal(of: message, isWhole: { [self] in wantsAll($0) }) { [self] envelope, header in
            report(message, envelope, header)
        } failed: { [self] error in
            postponeReport(of: message)
            store.move(message, .deliveryEnded)
            setAside(message, error) {}
        }
    }

    private func report(_ message: QueuedMessage, _ envelope: MessageEnvelope, _ header: QueueReport.Original) {
        do {
            let reports = try report(.failed, message.owed?.recipientsUnderWay ?? [], about: envelope, header)
            let lines = endReport(of: message)
            if message.jobs.isEmpty, message.owed == nil {
                return leave(message, put(reports, about: message) + [.done(message.id)], reports)
            }
            commit(put(reports, about: message) + [.state(message.id, lines: ByteBuffer(string: lines))], reports)
        } catch {
            log.unreportable(message.id, "\(error)")
            postponeReport(of: message)
        }
        store.move(message, .deliveryEnded)
        proceed(with: message)
    }
}
