import Bus
import DequeModule
import NIOCore
import Network
import SMTP
import Spool

extension Scheduler {
    /// What comes of a delivery, by position in its job's recipients.
    struct Outcome {
        /// They have the message.
        var delivered: [Int] = []
        /// They will never have it, and why.
        var failed: [(position: Int, result: RecipientResult)] = []
        /// They are tried later.
        var deferred: [Int] = []
        /// Nobody said anything about them.
        var unanswered: [Int] = []
    }

    /// All answers to a delivery are there, or no more will come.
    func finish(_ delivery: Delivery) {
        let job = delivery.job
        if delivery.isSent { judge(job.destination, by: delivery) }
        ended(job)
        if job.message.isRemoved { return }
        dropEnvelope(of: job.message)
        let outcome = outcome(of: delivery)
        let wantsWarning = wantsWarning(job, outcome)
        if outcome.failed.isEmpty && !wantsWarning {
            settle(delivery, outcome, reports: [])
            return
        }
        // Still being worked on: nobody else may begin with it.
        job.phase = .active
        Task(executorPreference: LoopExecutor.of(loop)) {
            let reports = await self.reports(delivery, outcome, wantsWarning: wantsWarning)
            job.phase = .idle
            if !job.message.isRemoved { self.settle(delivery, outcome, reports: reports) }
        }
    }

    /// What the answers say about the destination as a whole.
    private func judge(_ destination: Destination, by delivery: Delivery) {
        let results = delivery.results.compactMap { $0 }
        guard let first = results.first else { return }
        let now = clock.now()
        guard results.allSatisfy(\.isAboutDestination), !destination.isLocal else {
            destination.succeeded()
            return
        }
        // Deliveries that began together fail together: that's one failure.
        if destination.blockedUntil > now { return }
        let wait = backoff.delay(afterAttempts: destination.failures + 1, chance: clock.chance())
        destination.failed(until: now + wait, status: first.status, text: first.summary)
        setAlarm(Alarm(time: now + wait, event: .destination(destination)))
    }

    private func outcome(of delivery: Delivery) -> Outcome {
        var outcome = Outcome()
        let message = delivery.job.message
        let isExpired = clock.now() >= expiry(of: message)
        for (position, result) in delivery.results.enumerated() {
            guard let result else {
                outcome.unanswered.append(position)
                continue
            }
            let word: String
            switch result.kind {
            case .ok:
                outcome.delivered.append(position)
                word = "delivered"
            case .reject:
                outcome.failed.append((position, result))
                word = "failed"
            case .defer where isExpired:
                var expired = result
                expired.status = "4.4.7"
                expired.text = "not delivered in time; the last attempt: \(result.text)"
                outcome.failed.append((position, expired))
                word = "expired"
            case .defer:
                outcome.deferred.append(position)
                word = "deferred"
            }
            counters.count(word)
            log.result(delivery.job, delivery.recipient(position), result, word)
        }
        return outcome
    }

    /// Milliseconds since 1970.
    func expiry(of message: QueuedMessage) -> Int64 {
        let lifetime = message.isReport ? settings.bounceLifetime : settings.lifetime
        return message.arrived.multipliedReportingOverflow(by: 1000).partialValue + lifetime
    }

    private func wantsWarning(_ job: DeliveryJob, _ outcome: Outcome) -> Bool {
        let message = job.message
        guard settings.delayWarning > 0, !message.isReport, !message.isWarned, !outcome.deferred.isEmpty else {
            return false
        }
        return clock.now() >= message.arrived * 1000 + settings.delayWarning
    }

    // MARK: Reports

    private func reports(_ delivery: Delivery, _ outcome: Outcome, wantsWarning: Bool) async -> [QueueReport] {
        let message = delivery.job.message
        if message.isReport {
            if !outcome.failed.isEmpty { log.unreported(message.id, why: "it has the null reverse-path") }
            return []
        }
        var reports: [QueueReport] = []
        let failed = outcome.failed.compactMap { reported(delivery, $0.position, $0.result, .failure) }
        if !failed.isEmpty {
            reports.append(QueueReport(kind: .failed, recipients: failed))
        } else if !outcome.failed.isEmpty {
            log.unreported(message.id, why: "nobody wants to know")
        }
        if wantsWarning {
            message.isWarned = true
            let late = outcome.deferred.compactMap { position in
                delivery.results[position].flatMap { reported(delivery, position, $0, .delay) }
            }
            if !late.isEmpty { reports.append(QueueReport(kind: .delayed, recipients: late)) }
        }
        if reports.isEmpty { return [] }
        let header = await header(of: message)
        for index in reports.indices {
            let id = spool.makeID()
            reports[index].write(
                id: id,
                about: delivery.envelope,
                header: header,
                settings: settings,
                expiry: expiry(of: message) / 1000,
                now: clock.now() / 1000
            )
        }
        return reports.filter { $0.file != nil }
    }

    /// nil where the sender doesn't want to know.
    private func reported(
        _ delivery: Delivery,
        _ position: Int,
        _ result: RecipientResult,
        _ event: RecipientParameters.Notify
    ) -> QueueReport.Recipient? {
        let text = delivery.recipient(position)
        guard let recipient = try? EnvelopeRecipient(parsing: text.utf8) else { return nil }
        if let notify = recipient.parameters.notify, !notify.contains(event) { return nil }
        return QueueReport.Recipient(recipient: recipient, result: result)
    }

    private func header(of message: QueuedMessage) async -> ByteBuffer {
        let (id, offset, octets, isHeld) = (message.id, message.offset, message.octets, message.isHeld)
        let start = try? await offLoop { [spool] () throws(SpoolError) in
            try spool.read(id, at: offset, maximum: min(octets, QueueReport.headerLimit), isHeld: isHeld)
        }
        return start ?? ByteBuffer()
    }

    // MARK: Settling

    /// Commits what came of a delivery, with the reports about it as one transaction: neither can be without the other.
    private func settle(_ delivery: Delivery, _ outcome: Outcome, reports: [QueueReport]) {
        let job = delivery.job
        let message = job.message
        let now = clock.now()
        var operations: [SpoolOperation] = []
        for report in reports {
            guard let (head, file) = report.file else { continue }
            announce(head.envelope.id)
            operations.append(.put(head.envelope.id, file: file))
            counters.count("reports")
            log.reported(message.id, by: head.envelope.id, to: head.envelope.recipients.first ?? "")
        }
        let next = remainingJobs(delivery, outcome, now: now)
        message.jobs.removeAll { $0 === job }
        message.jobs += next
        if message.jobs.isEmpty {
            operations.append(.done(message.id))
        } else {
            operations += notes(delivery, outcome, warned: reports.contains { $0.kind == .delayed }, now: now)
        }
        let heads = reports.compactMap { $0.file?.head }
        if heads.isEmpty {
            spool.commit(operations)
        } else {
            spool.commit(operations, applied: { [self] in for head in heads { add(head, isNew: true) } })
        }
        if message.jobs.isEmpty {
            log.removed(message.id)
            forget(message)
        } else if !settleWish(of: message), !message.isHeld {
            for job in next { schedule(job) }
        }
        schedulePump()
        forgetIfIdle(job.destination)
    }

    private func remainingJobs(_ delivery: Delivery, _ outcome: Outcome, now: Int64) -> [DeliveryJob] {
        let job = delivery.job
        var next: [DeliveryJob] = []
        func make(_ positions: [Int], attempts: Int, due: Int64, mayBeKnown: Bool) {
            guard !positions.isEmpty else { return }
            let recipients = positions.map { job.recipients[$0] }
            let rest = DeliveryJob(job.message, job.destination, recipients: recipients, mayBeKnown: mayBeKnown)
            rest.attempts = attempts
            rest.due = due
            next.append(rest)
        }
        // The last attempt is at the end of the lifetime.
        let wait = backoff.delay(afterAttempts: job.attempts + 1, chance: clock.chance())
        let due = max(min(now + wait, expiry(of: job.message)), now + settings.retryMinimum)
        make(outcome.deferred, attempts: job.attempts + 1, due: due, mayBeKnown: false)
        make(outcome.unanswered, attempts: job.attempts, due: now, mayBeKnown: true)
        return next
    }

    private func notes(_ delivery: Delivery, _ outcome: Outcome, warned: Bool, now: Int64) -> [SpoolOperation] {
        let job = delivery.job
        let seconds = now / 1000
        var final = ""
        var attempts = ""
        func line(_ position: Int, _ event: StateEntry.Event, _ text: String) -> String {
            StateEntry(time: seconds, recipient: Int(job.recipients[position]) + 1, event: event, text: text).line
        }
        for position in outcome.delivered {
            guard let result = delivery.results[position] else { continue }
            final += line(position, .delivered(status: result.status), result.summary)
        }
        for (position, result) in outcome.failed {
            final += line(position, .failed(status: result.status), result.summary)
        }
        let due = job.message.jobs.first { $0.attempts == job.attempts + 1 }?.due ?? now
        for position in outcome.deferred {
            guard let result = delivery.results[position] else { continue }
            let event = StateEntry.Event.deferred(attempts: job.attempts + 1, next: due / 1000, status: result.status)
            attempts += line(position, event, result.summary)
        }
        if warned { final += StateEntry(time: seconds, recipient: 0, event: .warned).line }
        var operations: [SpoolOperation] = []
        if !final.isEmpty { operations.append(.state(job.message.id, lines: ByteBuffer(string: final))) }
        if !attempts.isEmpty { operations.append(.note(job.message.id, lines: ByteBuffer(string: attempts))) }
        return operations
    }

    // MARK: Without an attempt

    /// Ends what waited for a destination past its lifetime: it would fail as the last attempt there did.
    func expire(_ destination: Destination) {
        let now = clock.now()
        let old = destination.line.filter { $0.phase == .ready && now >= expiry(of: $0.message) }
        for job in old {
            conclude(
                job,
                RecipientResult(kind: .defer, status: destination.failure.status, text: destination.failure.text)
            )
        }
    }

    /// Ends a job with a result that no deliverer gave.
    func conclude(_ job: DeliveryJob, _ result: RecipientResult) {
        job.phase = .active
        job.destination.began()
        active += 1
        Task(executorPreference: LoopExecutor.of(loop)) {
            do throws(SpoolError) {
                let head = try await self.load(job.message.id, isHeld: job.message.isHeld, verified: false)
                let delivery = Delivery(job, head.envelope)
                delivery.conclude(result)
                self.finish(delivery)
            } catch {
                self.ended(job)
                await self.setAside(job.message, error)
            }
        }
    }
}
