import NIOCore
import SMTP
import Spool

extension MessageEnvelope {
    /// Whether nobody is told what becomes of it: quarantined mail has a forged sender more often than not, and who hears of
    /// it would be somebody else. Who logged in is known, and told.
    var isSenderDoubted: Bool { isQuarantined && user == nil }
}

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
        /// Nothing was tried: others had their turn.
        var turnedAway: [Int] = []

        init(_ delivery: Delivery) {
            for (position, result) in delivery.results.enumerated() {
                switch result?.nextStep {
                case .forget: delivered.append(position)
                case .report: failed.append(position)
                case .retry, .retryDestination: deferred.append(position)
                case .waitForTurn: turnedAway.append(position)
                case nil: unanswered.append(position)
                }
            }
        }
    }

    /// Recipients of a delivery have results. Who has the message is recorded at once, unless that was the last.
    func answered(_ delivery: Delivery, _ positions: [Int]) {
        loop.assertInEventLoop()
        let isExpired = clock.now() >= expiry(of: delivery.job)
        var lines = ""
        for position in positions {
            let wasDelayed = delivery.results[position]?.action == .delayed
            if isExpired { delivery.expire(position) }
            guard let result = delivery.results[position], result.nextStep != .waitForTurn else { continue }
            let word = wasDelayed && isExpired ? "expired" : Self.word(result.action)
            counters.count(word)
            log.result(delivery.job, delivery.recipient(position), result, word)
            // What the sender is told of is recorded with the report.
            guard delivery.missing > 0, result.nextStep == .forget, !delivery.isSuccessToReport(position) else {
                continue
            }
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
        evaluate(delivery, delivery.answers)
    }

    /// Works out what comes of a delivery. Where the sender has to be told, the report is made first: until it's in the
    /// spool with the results, the delivery goes on for everybody else.
    ///
    /// - Parameter results: what the deliverer said, if one was asked.
    func evaluate(_ delivery: Delivery, _ results: [DeliveryResult]) {
        let outcome = RecipientOutcomes(delivery)
        let message = delivery.job.message
        let isWarning = wantsWarning(delivery.job, outcome)
        let late = isWarning ? lateJobs(of: message) : []
        // What fails while others are on their way is reported with them.
        let isFailing = !outcome.failed.isEmpty && !mustWait(message, for: delivery.job)
        let succeeded = outcome.delivered.filter(delivery.isSuccessToReport)
        guard isFailing || isWarning || !succeeded.isEmpty else {
            return record(delivery, outcome, results, reports: [], .owed)
        }
        // At once: other deliveries of the message may come to their end meanwhile.
        for job in late { job.isWarned = true }
        if isFailing { beginReport(of: message) }
        let isWhole = isFailing && wantsAll(delivery.content.head)
        withHeader(of: delivery.content, isWhole: isWhole) { [self] header in
            if isClosed { return }
            let envelope = delivery.content.head.envelope
            let known = isFailing ? message.owed?.recipientsUnderWay ?? [] : []
            do {
                var reports: [QueueReport] = []
                if !succeeded.isEmpty {
                    reports += try report(.succeeded, recipients(succeeded, delivery), about: envelope, header)
                }
                if isFailing {
                    let all = known + recipients(outcome.failed, delivery)
                    reports += try report(.failed, all, about: envelope, header)
                }
                if isWarning {
                    let own = recipients(outcome.deferred + outcome.turnedAway, delivery)
                    reports += try report(
                        .delayed,
                        own + lateRecipients(late, envelope),
                        about: envelope,
                        header,
                        expiry: (late + [delivery.job]).map { expiry(of: $0) }.max()
                    )
                }
                record(delivery, outcome, results, reports: reports, isFailing ? .reported : .owed, late: late)
            } catch {
                // The sender must hear of it: what failed stays in the queue until a report can be made.
                log.unreportable(message.id, "\(error)")
                for job in late { job.isWarned = false }
                if isFailing { postponeReport(of: message) }
                record(delivery, outcome, results, reports: [], .owed)
            }
        }
    }

    private func recipients(_ positions: [Int], _ delivery: Delivery) -> [QueueReport.Recipient] {
        positions.compactMap { position in
            delivery.results[position].map {
                QueueReport.Recipient(recipient: delivery.recipient(position), result: $0)
            }
        }
    }

    private func wantsWarning(_ job: DeliveryJob, _ outcome: RecipientOutcomes) -> Bool {
        isLate(job) && (!outcome.deferred.isEmpty || !outcome.turnedAway.isEmpty)
    }

    /// The report about recipients, if there is somebody to tell.
    ///
    /// - Parameters:
    ///   - expiry: when late recipients are given up, where their destinations say so. Milliseconds since 1970.
    ///   - isAsked: the administrator wants the sender told, whatever is doubted.
    /// - Throws: `BuildError`.
    func report(
        _ kind: QueueReport.Kind,
        _ recipients: [QueueReport.Recipient],
        about envelope: MessageEnvelope,
        _ header: QueueReport.Original,
        expiry: Int64? = nil,
        isAsked: Bool = false
    ) throws -> [QueueReport] {
        if envelope.isSenderDoubted, !isAsked {
            log.droppedQuarantined(envelope.id)
            return []
        }
        guard let address = reportAddress(envelope) else {
            log.dropped(envelope.id)
            return []
        }
        if envelope.sender.path.address == nil, !mayReportToPostmaster() {
            log.droppedBeyondLimit(envelope.id)
            return []
        }
        // What comes back for a recipient goes to the sender that its mail had.
        if envelope.sender.parameters.variableSender != nil {
            return try recipients.flatMap { recipient in
                var own = envelope
                own.sender = envelope.sender(for: recipient.recipient.address)
                return try self.report(kind, [recipient], about: own, header, expiry: expiry, isAsked: isAsked)
            }
        }
        let deliveryClass = settings.deliveryClass(
            isReport: envelope.sender.path.address == nil,
            priority: envelope.terms.priority,
            recipients: envelope.recipients.count
        )
        let lifetime = settings.lifetime(deliveryClass)
        let report = try QueueReport(
            kind,
            recipients,
            id: spool.makeID(),
            to: address,
            about: envelope,
            header: kind == .failed ? header : header.withoutBody,
            settings: settings,
            expiry: expiry.map { $0 / 1000 } ?? envelope.terms.start(arrived: envelope.arrived) + lifetime / 1000,
            now: clock.now() / 1000
        )
        return [report]
    }

    /// Who hears of failures: the sender; of reports, which have none, postmaster, who is not told of his own. What an alias
    /// led to may be his: reports about that could go round for ever.
    private func reportAddress(_ envelope: MessageEnvelope) -> MailAddress? {
        if let sender = envelope.sender.path.address { return sender }
        if envelope.isExpanded { return nil }
        guard let postmaster = localDomains.postmaster(hostname: settings.hostname) else { return nil }
        return envelope.recipients.contains(where: \.address.isPostmaster) ? nil : postmaster
    }

    /// Whether a failure's report carries the whole message (RFC 3461 §4.3): where the sender wants it, and as long as it's
    /// small. Of binary mail, lines are needed.
    func wantsAll(_ head: QueueFileHead) -> Bool {
        let parameters = head.envelope.sender.parameters
        return parameters.ret == .full && parameters.body != .binaryMIME && !parameters.requiresTLS
            && head.octets <= QueueReport.wholeLimit
    }

    /// Reads the beginning of a message, with the added block in front of it; the block alone where the message can't be
    /// read now.
    ///
    /// - Parameter isWhole: the whole message is read.
    func withHeader(
        of content: Spool.Content,
        isWhole: Bool = false,
        _ use: @escaping @Sendable (QueueReport.Original) -> Void
    ) {
        let limit = isWhole ? content.head.octets : min(content.head.octets, QueueReport.headerLimit)
        if var start = content.message?.getSlice(at: content.message?.readerIndex ?? 0, length: limit) {
            var header = content.added
            header.writeBuffer(&start)
            return use(QueueReport.Original(octets: header, isWhole: isWhole))
        }
        let (head, added) = (content.head, content.added)
        spool.perform { (spool) throws(SpoolError) in
            try spool.piece(of: head.envelope.id, (head.offset, head.octets), at: 0, maximum: limit)
        } done: { result in
            var header = added
            guard case .success(var start) = result else {
                return use(QueueReport.Original(octets: header, isWhole: false))
            }
            header.writeBuffer(&start)
            use(QueueReport.Original(octets: header, isWhole: isWhole))
        }
    }

    /// Reads a message that stands in `queue/` for a report about it: its envelope, and its beginning.
    ///
    /// - Parameters:
    ///   - isWhole: whether the report brings all of it back.
    ///   - failed: told why it can't be read.
    func withOriginal(
        of message: QueuedMessage,
        isWhole: @escaping @Sendable (QueueFileHead) -> Bool = { _ in false },
        _ use: @escaping @Sendable (MessageEnvelope, QueueReport.Original) -> Void,
        failed: @escaping @Sendable (SpoolError) -> Void
    ) {
        let id = message.id
        spool.perform { (spool) throws(SpoolError) in
            try spool.content(of: id, verified: true)
        } done: { [self] result in
            if isClosed { return }
            switch result {
            case .success(let content):
                withHeader(of: content, isWhole: isWhole(content.head)) { header in
                    if !self.isClosed { use(content.head.envelope, header) }
                }
            case .failure(let error): failed(error)
            }
        }
    }

    /// What becomes of the failures of a delivery.
    private enum FailureHandling {
        /// They are in a report, with what was owed before.
        case reported
        /// A report is made later.
        case owed
    }

    /// Commits what came of a delivery, with the reports about it as one transaction: neither can be without the other.
    private func record(
        _ delivery: Delivery,
        _ outcome: RecipientOutcomes,
        _ results: [DeliveryResult],
        reports: [QueueReport],
        _ failures: FailureHandling,
        late: [DeliveryJob] = []
    ) {
        let job = delivery.job
        let message = job.message
        let now = clock.now()
        let isWarned = reports.contains { $0.kind == .delayed }
        let next = remainingJobs(delivery, outcome, at: now, isWarned: isWarned)
        let jobs = message.jobs.filter { $0 !== job } + next
        var lines = ""
        switch failures {
        case .reported: lines = endReport(of: message)
        case .owed: for position in outcome.failed { lines += owe(delivery, position) }
        }
        var operations = put(reports, about: message)
        if jobs.isEmpty, message.owed == nil {
            operations.append(.done(message.id))
        } else {
            let final = failures == .reported ? outcome.delivered + outcome.failed : outcome.delivered
            if isWarned {
                let own = (outcome.deferred + outcome.turnedAway).map { job.recipients[$0] }
                lines += warnedLines(own + late.flatMap(\.recipients), of: jobs)
            }
            operations += notes(delivery, final, outcome.deferred, lines, next)
        }
        schedule.ended(job, results, at: now, chance: clock.chance())
        store.setJobs(of: message, jobs)
        if jobs.isEmpty, message.owed == nil {
            leave(message, operations, reports)
        } else {
            commit(operations, reports)
            store.move(message, .deliveryEnded)
            proceed(with: message, first: !outcome.unanswered.isEmpty)
        }
        schedulePump()
    }

    /// Commits operations with which a message whose last delivery is over leaves the queue. It's listed until reports
    /// about it are: a queue that looks empty is empty.
    func leave(_ message: QueuedMessage, _ operations: [SpoolOperation], _ reports: [QueueReport]) {
        let end = { @Sendable [self] in
            store.move(message, .deliveryEnded)
            finish(message)
        }
        guard reports.contains(where: { $0.file != nil }) else {
            commit(operations, reports)
            return end()
        }
        commit(operations, reports) { [self] _ in if !isClosed { end() } }
    }

    /// Notes that the sender is still to be told of a failure; returns the line for the state file.
    private func owe(_ delivery: Delivery, _ position: Int) -> String {
        guard let result = delivery.results[position] else { return "" }
        let recipient = QueueReport.Recipient(recipient: delivery.recipient(position), result: result)
        owe(
            OwedReport.Failure(index: Int(delivery.job.recipients[position]), recipient: recipient),
            delivery.job.message
        )
        return line(delivery, position, .unreported(result.status), result.summary)
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
            log.reported(
                message.id,
                by: envelope.id,
                to: envelope.recipients.first?.description ?? "",
                name: QueueReport.name(of: envelope.id, settings)
            )
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

    /// How long a job waits that was turned away because its host is busy. Milliseconds.
    private static let turnWait: ClosedRange<Int64> = 1000...3000

    /// - Parameter isWarned: the sender is told by now that those are late who are tried again.
    private func remainingJobs(
        _ delivery: Delivery,
        _ outcome: RecipientOutcomes,
        at now: Int64,
        isWarned: Bool
    ) -> [DeliveryJob] {
        let job = delivery.job
        var next: [DeliveryJob] = []
        func make(_ positions: [Int], attempts: Int, due: Int64, mayBeKnown: Bool, isWarned: Bool = isWarned) {
            guard !positions.isEmpty else { return }
            let recipients = positions.map { job.recipients[$0] }
            let rest = DeliveryJob(job.message, to: job.group, recipients: Few(recipients), mayBeKnown: mayBeKnown)
            rest.attempts = attempts
            rest.due = due
            rest.isWarned = job.isWarned || isWarned
            rest.reason = job.reason
            if let first = positions.first, let result = delivery.results[first], result.nextStep != .waitForTurn {
                rest.reason = reasons.shared("\(result.status) \(result.summary)")
            }
            next.append(rest)
        }
        let due = schedule.nextAttempt(
            of: job,
            expiry: expiry(of: job),
            at: now,
            chance: clock.chance()
        )
        let uncertain = outcome.deferred.filter { delivery.results[$0]?.isUncertain ?? false }
        let deferred = outcome.deferred.filter { !(delivery.results[$0]?.isUncertain ?? false) }
        // A deliverer may put it off without having looked for it.
        make(deferred, attempts: job.attempts + 1, due: due, mayBeKnown: job.mayBeKnown)
        make(uncertain, attempts: job.attempts + 1, due: due, mayBeKnown: true)
        make(outcome.unanswered, attempts: job.attempts, due: 0, mayBeKnown: true, isWarned: false)
        let turn = now + Self.turnWait.lowerBound + Int64(Double(Self.turnWait.count) * clock.chance())
        make(outcome.turnedAway, attempts: job.attempts, due: turn, mayBeKnown: job.mayBeKnown)
        return next
    }

    private func notes(
        _ delivery: Delivery,
        _ done: [Int],
        _ deferred: [Int],
        _ lines: String,
        _ next: [DeliveryJob]
    ) -> [SpoolOperation] {
        let job = delivery.job
        var final = lines
        var attempts = ""
        for position in done where !delivery.isRecorded[position] {
            guard let result = delivery.results[position] else { continue }
            final += finalLine(delivery, position, result)
        }
        let due = (next.first { $0.attempts == job.attempts + 1 }?.due ?? clock.now()) / 1000
        for position in deferred {
            guard let result = delivery.results[position] else { continue }
            let event = StateEntry.Event.deferred(attempts: job.attempts + 1, next: due, status: result.status)
            attempts += line(delivery, position, event, result.summary)
        }
        var operations: [SpoolOperation] = []
        if !final.isEmpty { operations.append(.state(job.message.id, lines: ByteBuffer(string: final))) }
        if !attempts.isEmpty { operations.append(.note(job.message.id, lines: ByteBuffer(string: attempts))) }
        return operations
    }
}
