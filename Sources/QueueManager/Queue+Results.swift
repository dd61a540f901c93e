import NIOCore
import SMTP
import Spool

extension Queue {
    /// What came of a delivery, by position in its job's recipients.
    private struct RecipientOutcomes {
        /// They are done.
        var delivered: [Int] = []
        /// They will never have the message.
        var failed: [Int] = []
        /// They are tried later.
        var deferred: [Int] = []
        /// Nobody said anything about them.
        var unanswered: [Int] = []

        init(_ delivery: Delivery) {
            for (position, result) in delivery.results.enumerated() {
                switch result?.action {
                case .delivered, .relayed, .expanded: delivered.append(position)
                case .failed: failed.append(position)
                case .delayed: deferred.append(position)
                case nil: unanswered.append(position)
                }
            }
        }
    }

    /// Recipients of a delivery have results. Who has the message is recorded at once, unless that was the last.
    func answered(_ delivery: Delivery, _ positions: [Int]) {
        loop.assertInEventLoop()
        let isExpired = clock.now() >= expiry(of: delivery.job.message)
        var lines = ""
        for position in positions {
            let wasDelayed = delivery.results[position]?.action == .delayed
            if isExpired { delivery.expire(position) }
            guard let result = delivery.results[position] else { continue }
            let word = wasDelayed && isExpired ? "expired" : Self.word(result.action)
            counters.count(word)
            log.result(delivery.job, delivery.recipient(position), result, word)
            guard delivery.missing > 0, result.nextStep == .forget else { continue }
            delivery.isRecorded[position] = true
            lines += finalLine(delivery, position, result)
        }
        if !lines.isEmpty { spool.commit([.state(delivery.job.message.id, lines: ByteBuffer(string: lines))]) }
    }

    private static func word(_ action: DeliveryResult.Action) -> String {
        switch action {
        case .delivered, .relayed, .expanded: "delivered"
        case .delayed: "deferred"
        case .failed: "failed"
        }
    }

    private func finalLine(_ delivery: Delivery, _ position: Int, _ result: DeliveryResult) -> String {
        line(delivery, position, .final(result.action, result.status), result.summary)
    }

    private func line(_ delivery: Delivery, _ position: Int, _ event: StateEntry.Event, _ text: String) -> String {
        let recipient = Int(delivery.job.recipients[position]) + 1
        return StateEntry(time: clock.now() / 1000, recipient: recipient, event: event, text: text).line
    }

    /// A delivery is over.
    func ended(_ delivery: Delivery, _ end: DeliveryEnd) {
        loop.assertInEventLoop()
        if case .lost(let error) = end { log.interrupted(delivery.job.message.id, "\(error)") }
        dropContent(of: delivery.job.message)
        settle(delivery, delivery.answers)
    }

    /// Works out what comes of a delivery. Where the sender has to be told, the report is made first: until it's in the
    /// spool with the results, the delivery goes on for everybody else.
    ///
    /// - Parameter results: what the deliverer said, if one was asked.
    func settle(_ delivery: Delivery, _ results: [DeliveryResult]) {
        let outcome = RecipientOutcomes(delivery)
        let message = delivery.job.message
        let isWarning = wantsWarning(message, outcome)
        guard !outcome.failed.isEmpty || isWarning else { return record(delivery, outcome, results, reports: []) }
        if message.isReport {
            log.unreported(message.id, why: "it has the null reverse-path")
            return record(delivery, outcome, results, reports: [])
        }
        // At once: other deliveries of the message may come to their end meanwhile.
        if isWarning { message.isWarned = true }
        withHeader(of: delivery.content) { [self] header in
            if isClosed { return }
            do {
                var reports: [QueueReport] = []
                if !outcome.failed.isEmpty { reports.append(try report(.failed, outcome.failed, delivery, header)) }
                if isWarning { reports.append(try report(.delayed, outcome.deferred, delivery, header)) }
                record(delivery, outcome, results, reports: reports)
            } catch {
                // The sender must hear of it: the recipients stay open until a report can be made.
                log.unreportable(message.id, "\(error)")
                if isWarning { message.isWarned = false }
                var later = outcome
                later.deferred += later.failed
                later.failed = []
                record(delivery, later, results, reports: [])
            }
        }
    }

    private func wantsWarning(_ message: QueuedMessage, _ outcome: RecipientOutcomes) -> Bool {
        guard settings.delayWarning > 0, !message.isReport, !message.isWarned, !outcome.deferred.isEmpty else {
            return false
        }
        return clock.now() >= message.arrived * 1000 + settings.delayWarning
    }

    private func report(
        _ kind: QueueReport.Kind,
        _ positions: [Int],
        _ delivery: Delivery,
        _ header: ByteBuffer
    ) throws -> QueueReport {
        let recipients = positions.compactMap { position in
            delivery.results[position].map {
                QueueReport.Recipient(recipient: delivery.recipient(position), result: $0)
            }
        }
        return try report(kind, recipients, about: delivery.content.head.envelope, header)
    }

    /// - Throws: `BuildError`.
    func report(
        _ kind: QueueReport.Kind,
        _ recipients: [QueueReport.Recipient],
        about envelope: MessageEnvelope,
        _ header: ByteBuffer
    ) throws -> QueueReport {
        let lifetime = envelope.sender.path.address == nil ? settings.bounceLifetime : settings.lifetime
        return try QueueReport(
            kind,
            recipients,
            id: spool.makeID(),
            about: envelope,
            header: header,
            settings: settings,
            expiry: envelope.arrived + lifetime / 1000,
            now: clock.now() / 1000
        )
    }

    /// Reads the beginning of a message, with the added block in front of it; the block alone where the message can't be
    /// read now.
    func withHeader(of content: Spool.Content, _ use: @escaping @Sendable (ByteBuffer) -> Void) {
        let limit = min(content.head.octets, QueueReport.headerLimit)
        if var start = content.message?.getSlice(at: content.message?.readerIndex ?? 0, length: limit) {
            var header = content.added
            header.writeBuffer(&start)
            return use(header)
        }
        let (head, added) = (content.head, content.added)
        spool.perform { (spool) throws(SpoolError) in
            try spool.piece(of: head.envelope.id, (head.offset, head.octets), at: 0, maximum: limit)
        } done: { result in
            var header = added
            if case .success(var start) = result { header.writeBuffer(&start) }
            use(header)
        }
    }

    /// Commits what came of a delivery, with the reports about it as one transaction: neither can be without the other.
    private func record(
        _ delivery: Delivery,
        _ outcome: RecipientOutcomes,
        _ results: [DeliveryResult],
        reports: [QueueReport]
    ) {
        let job = delivery.job
        let message = job.message
        let now = clock.now()
        let next = remainingJobs(delivery, outcome, at: now)
        let jobs = message.jobs.filter { $0 !== job } + next
        var operations = put(reports, about: message)
        if jobs.isEmpty {
            operations.append(.done(message.id))
        } else {
            operations += notes(delivery, outcome, warned: reports.contains { $0.kind == .delayed }, next)
        }
        commit(operations, reports)
        schedule.ended(job, results, at: now, chance: clock.chance())
        store.setJobs(of: message, jobs)
        store.move(message, .deliveryEnded)
        if jobs.isEmpty {
            leave(message)
        } else {
            settle(message, first: !outcome.unanswered.isEmpty)
        }
        schedulePump()
    }

    /// The operations that put reports into the spool.
    func put(_ reports: [QueueReport], about message: QueuedMessage) -> [SpoolOperation] {
        var operations: [SpoolOperation] = []
        for report in reports {
            guard let file = report.file else {
                log.unreported(message.id, why: "nobody wants to know")
                continue
            }
            let envelope = file.head.envelope
            arrivals.announce(envelope.id)
            operations.append(.put(envelope.id, file: file.octets))
            counters.count("reports")
            log.reported(message.id, by: envelope.id, to: envelope.recipients.first?.description ?? "")
        }
        return operations
    }

    /// Commits operations; the reports among them are messages once they are durable.
    func commit(
        _ operations: [SpoolOperation],
        _ reports: [QueueReport],
        done: (@Sendable (SpoolError?) -> Void)? = nil
    ) {
        let files = reports.compactMap(\.file)
        if operations.isEmpty { return }
        if files.isEmpty, done == nil { return spool.commit(operations) }
        spool.commit(operations) { [self] error in
            if error == nil {
                for file in files {
                    add(file.head, content: try? Spool.content(of: file.octets, messageLimit: .max))
                }
            }
            done?(error)
        }
    }

    private func remainingJobs(_ delivery: Delivery, _ outcome: RecipientOutcomes, at now: Int64) -> [DeliveryJob] {
        let job = delivery.job
        var next: [DeliveryJob] = []
        func make(_ positions: [Int], attempts: Int, due: Int64, mayBeKnown: Bool) {
            guard !positions.isEmpty else { return }
            let recipients = positions.map { job.recipients[$0] }
            let rest = DeliveryJob(job.message, to: job.destination, recipients: recipients, mayBeKnown: mayBeKnown)
            rest.attempts = attempts
            rest.due = due
            next.append(rest)
        }
        let due = schedule.nextAttempt(
            afterAttempts: job.attempts + 1,
            expiry: expiry(of: job.message),
            at: now,
            chance: clock.chance()
        )
        let uncertain = outcome.deferred.filter { delivery.results[$0]?.isUncertain ?? false }
        let deferred = outcome.deferred.filter { !(delivery.results[$0]?.isUncertain ?? false) }
        // A deliverer may put it off without having looked for it.
        make(deferred, attempts: job.attempts + 1, due: due, mayBeKnown: job.mayBeKnown)
        make(uncertain, attempts: job.attempts + 1, due: due, mayBeKnown: true)
        make(outcome.unanswered, attempts: job.attempts, due: 0, mayBeKnown: true)
        return next
    }

    private func notes(
        _ delivery: Delivery,
        _ outcome: RecipientOutcomes,
        warned: Bool,
        _ next: [DeliveryJob]
    ) -> [SpoolOperation] {
        let job = delivery.job
        var final = ""
        var attempts = ""
        for position in outcome.delivered + outcome.failed where !delivery.isRecorded[position] {
            guard let result = delivery.results[position] else { continue }
            final += finalLine(delivery, position, result)
        }
        let due = (next.first { $0.attempts == job.attempts + 1 }?.due ?? clock.now()) / 1000
        for position in outcome.deferred {
            guard let result = delivery.results[position] else { continue }
            let event = StateEntry.Event.deferred(attempts: job.attempts + 1, next: due, status: result.status)
            attempts += line(delivery, position, event, result.summary)
        }
        if warned { final += StateEntry(time: clock.now() / 1000, recipient: 0, event: .warned).line }
        var operations: [SpoolOperation] = []
        if !final.isEmpty { operations.append(.state(job.message.id, lines: ByteBuffer(string: final))) }
        if !attempts.isEmpty { operations.append(.note(job.message.id, lines: ByteBuffer(string: attempts))) }
        return operations
    }
}
