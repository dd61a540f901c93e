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
        if !message.isWarned, let deadline = message.noticeDeadline { schedule.remind(of: message, at: deadline) }
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
        guard let deadline = message.noticeDeadline, deadline <= now, !message.isWarned, !message.isReport,
            !message.isSenderDoubted, !message.jobs.isEmpty, message.changes.isEmpty,
            store.move(message, .deliveryBegan)
        else { return }
        message.isWarned = true
        withOriginal(of: message) { [self] envelope, header in
            warn(message, envelope, header)
        } failed: { [self] error in
            if endIfOver(message) { return }
            message.isWarned = false
            store.move(message, .deliveryEnded)
            setAside(message, error) {}
        }
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

    private func warn(_ message: QueuedMessage, _ envelope: MessageEnvelope, _ header: QueueReport.Original) {
        if endIfOver(message) { return }
        let late = DeliveryResult(.delayed, .deadlineMissed, "not delivered by the time that was set; it is tried on")
        let recipients = message.jobs.flatMap(\.recipients).map { index in
            QueueReport.Recipient(recipient: envelope.recipients[Int(index)], result: late)
        }
        do {
            let reports = try report(
                .late,
                recipients,
                about: envelope,
                header,
                expiry: message.jobs.map { expiry(of: $0) }.max()
            )
            let line = StateEntry(time: clock.now() / 1000, recipient: 0, event: .warned).line
            commit(put(reports, about: message) + [.state(message.id, lines: ByteBuffer(string: line))], reports)
        } catch {
            log.unreportable(message.id, "\(error)")
        }
        store.move(message, .deliveryEnded)
        proceed(with: message)
    }
}

extension EnhancedStatusCode {
    /// 4.4.7: the time that was set is over, and the message is still tried (RFC 2852 §4.1.4).
    static let deadlineMissed = EnhancedStatusCode(4, 4, 7)
}
