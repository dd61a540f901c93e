import NIOCore
import SMTP
import Spool

extension MessageChange {
    /// For log lines: what was done to the message.
    var pastTense: String {
        switch self {
        case .hold: "held"
        case .release: "released"
        case .remove: "removed"
        case .bounce: "returned"
        case .requeue: "requeued"
        case .reroute: "rerouted"
        case .expire: "expired"
        }
    }
}

extension Queue {
    /// Has a message changed, once what was asked before is done and no delivery of it goes on.
    ///
    /// - Parameters:
    ///   - condition: what the message must meet when it's its turn; else it's `missing`.
    ///   - done: told what came of it.
    /// - Returns: whether it has to wait for a delivery.
    @discardableResult
    package func request(
        _ change: MessageChange,
        of id: MessageID,
        if condition: MessageFilter? = nil,
        done: @escaping @Sendable (ChangeResult) -> Void
    ) -> Bool {
        loop.assertInEventLoop()
        guard let message = store[id] else {
            done(.missing)
            return false
        }
        message.changes.append(RequestedChange(change: change, condition: condition, done: done))
        if case .delivering = message.state { return true }
        proceed(with: message)
        return false
    }

    /// Makes a change of a message that is at rest.
    func begin(_ requested: RequestedChange, _ message: QueuedMessage) {
        let change = requested.change
        let wasHeld = message.state == .held
        if !message.isPlaceUncertain, change == .hold && wasHeld || change == .release && !wasHeld {
            requested.done(.unchanged)
            proceed(with: message)
            return warnIfDue(message)
        }
        if let condition = requested.condition, !condition.mayMatch(message, self, at: clock.now()) {
            return pass(requested, message)
        }
        guard store.move(message, .changeBegan(change)) else { return }
        let words = destinationWords(message)
        for job in message.jobs { schedule.withdraw(job, at: clock.now()) }
        let isByRecipient = change.isByRecipient && requested.condition?.isAboutRecipients ?? false
        guard let condition = requested.condition, condition.needsSpool(self) || isByRecipient else {
            return make(requested, message, words, wasHeld: wasHeld)
        }
        // What was asked for when another delivery went on may not be meant any more.
        let id = message.id
        spool.perform { (spool) throws(SpoolError) in
            let envelope = try spool.content(of: id, isHeld: wasHeld, verified: false).head.envelope
            return (envelope, MessageProgress(try spool.state(of: id)))
        } done: { [self] result in
            switch result {
            case .failure(let error): end(requested, message, isHeld: wasHeld, error)
            case .success((let envelope, let progress)):
                let open = message.jobs.flatMap(\.recipients).map { Int($0) }
                let reasons = progress.texts.merging(words) { text, _ in text }
                var requested = requested
                if isByRecipient { requested.recipients = meant(by: condition, message, envelope, reasons) }
                if requested.recipients?.isEmpty != true, condition.matches(envelope, open: open, reasons: reasons) {
                    make(requested, message, words, wasHeld: wasHeld)
                } else {
                    store.move(message, .changeEnded(isHeld: wasHeld))
                    pass(requested, message)
                }
            }
        }
    }

    /// Which open recipients a condition is about; nil where that's the message as a whole.
    private func meant(
        by condition: MessageFilter,
        _ message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ reasons: [Int: String]
    ) -> Set<Int32>? {
        var meant: Set<Int32> = []
        var isWhole = message.owed == nil
        for job in message.jobs {
            for index in job.recipients {
                let recipient = envelope.recipients[Int(index)]
                if condition.isMeant(recipient, at: job.destination, reasons[Int(index)]) {
                    meant.insert(index)
                } else {
                    isWhole = false
                }
            }
        }
        return isWhole ? nil : meant
    }

    /// A change isn't made: the message is none of those any more that were meant.
    private func pass(_ requested: RequestedChange, _ message: QueuedMessage) {
        requested.done(.missing)
        proceed(with: message)
        warnIfDue(message)
    }

    /// What was said about the destinations of a message that could not be reached, by recipient, from 0.
    func destinationWords(_ message: QueuedMessage) -> [Int: String] {
        var words: [Int: String] = [:]
        for job in message.jobs {
            guard let failure = schedule.destinations[job.destination]?.failure else { continue }
            for recipient in job.recipients { words[Int(recipient)] = "\(failure.status) \(failure.summary)" }
        }
        return words
    }

    /// - Parameter words: about destinations, where nothing was said about a recipient.
    private func make(
        _ requested: RequestedChange,
        _ message: QueuedMessage,
        _ words: [Int: String],
        wasHeld: Bool
    ) {
        switch requested.change {
        case .hold: move(message, toHold: true, requested, wasHeld: wasHeld)
        case .release: move(message, toHold: false, requested, wasHeld: wasHeld)
        case .remove: remove(message, requested, wasHeld: wasHeld)
        case .bounce, .expire: bounce(message, requested, words, wasHeld: wasHeld)
        case .requeue, .reroute(isAsked: false): requeue(message, requested, wasHeld: wasHeld)
        case .reroute(isAsked: true): lookUp(message, requested, wasHeld: wasHeld)
        }
    }

    /// A change was made, or could not be made.
    private func end(_ requested: RequestedChange, _ message: QueuedMessage, isHeld: Bool, _ error: SpoolError? = nil) {
        let what = requested.change.pastTense
        store.move(message, .changeEnded(isHeld: isHeld))
        if let error {
            log.unchanged(message.id, what, "\(error)")
            requested.done(.failed(error))
        } else {
            if requested.change == .reroute(isAsked: false) {
                log.rerouted(message.id)
            } else {
                log.administered(message.id, what)
            }
            requested.done(.done)
        }
        proceed(with: message)
        // A deadline that was over meanwhile had to wait.
        warnIfDue(message)
    }

    /// A change took the message out of the queue.
    private func end(_ requested: RequestedChange, gone message: QueuedMessage) {
        log.administered(message.id, requested.change.pastTense)
        finish(message)
        requested.done(.done)
    }

    /// A change was made for some recipients, who are not open any more.
    private func end(_ requested: RequestedChange, _ message: QueuedMessage, without gone: Set<Int32>, wasHeld: Bool) {
        for job in message.jobs { job.recipients.removeAll(where: gone.contains) }
        store.setJobs(of: message, message.jobs.filter { !$0.recipients.isEmpty })
        dropContent(of: message)
        store.move(message, .changeEnded(isHeld: wasHeld))
        log.administered(message.id, requested.change.pastTense, recipients: gone.map { Int($0) + 1 }.sorted())
        requested.done(.doneInPart)
        proceed(with: message)
        warnIfDue(message)
    }

    // MARK: The changes

    private func move(
        _ message: QueuedMessage,
        toHold isHeld: Bool,
        _ requested: RequestedChange,
        wasHeld: Bool
    ) {
        spool.setHeld(message.id, isHeld) { [self] error in
            message.isPlaceUncertain = error != nil
            guard error == nil else { return end(requested, message, isHeld: wasHeld, error) }
            dropContent(of: message)
            if !isHeld { for job in message.jobs { job.due = message.terms.holdUntil == nil ? 0 : message.start } }
            end(requested, message, isHeld: isHeld)
        }
    }

    private func remove(_ message: QueuedMessage, _ requested: RequestedChange, wasHeld: Bool) {
        if let gone = requested.recipients {
            let removed = DeliveryResult(.failed, .failure, "removed by the administrator")
            let lines = finalLines(gone.map { ($0, removed) })
            spool.commit([.state(message.id, lines: ByteBuffer(string: lines))]) { [self] error in
                if let error { return end(requested, message, isHeld: wasHeld, error) }
                end(requested, message, without: gone, wasHeld: wasHeld)
            }
            return
        }
        spool.commit([.done(message.id)]) { [self] error in
            if let error { return end(requested, message, isHeld: wasHeld, error) }
            // Nothing of it is left to see when the administrator hears of it.
            spool.whenApplied { self.end(requested, gone: message) }
        }
    }

    /// The lines of a state file for recipients that have a result.
    private func finalLines(_ results: [(Int32, DeliveryResult)]) -> String {
        let time = clock.now() / 1000
        return results.sorted { $0.0 < $1.0 }.map { index, result in
            let event = StateEntry.Event.final(result.action, result.status)
            return StateEntry(time: time, recipient: Int(index) + 1, event: event, text: result.summary).line
        }.joined()
    }

    private func bounce(
        _ message: QueuedMessage,
        _ requested: RequestedChange,
        _ words: [Int: String],
        wasHeld: Bool
    ) {
        let id = message.id
        spool.perform { (spool) throws(SpoolError) in
            // Verified: the jobs say which of the envelope's recipients they are for.
            (try spool.content(of: id, isHeld: wasHeld, verified: true), try spool.state(of: id))
        } done: { [self] result in
            switch result {
            case .failure(.missing):
                log.missing(id)
                spool.commit([.done(id)])
                finish(message)
                requested.done(.missing)
            case .failure(let error): end(requested, message, isHeld: wasHeld, error)
            case .success((let content, let entries)):
                let texts = MessageProgress(entries).texts.merging(words) { text, _ in text }
                withHeader(of: content, isWhole: wantsAll(content.head)) {
                    self.bounce(message, requested, content, texts, $0, wasHeld: wasHeld)
                }
            }
        }
    }

    private func bounce(
        _ message: QueuedMessage,
        _ requested: RequestedChange,
        _ content: Spool.Content,
        _ texts: [Int: String],
        _ header: QueueReport.Original,
        wasHeld: Bool
    ) {
        let envelope = content.head.envelope
        // Where it's about some recipients, what is owed to the sender of others stays so.
        let owed = requested.recipients == nil ? message.owed?.failures.map(\.recipient) ?? [] : []
        let results = (requested.recipients.map { $0.sorted() } ?? message.jobs.flatMap(\.recipients)).map { index in
            (index, result(of: requested.change, texts[Int(index)]))
        }
        let recipients = results.map { index, result in
            QueueReport.Recipient(recipient: envelope.recipients[Int(index)], result: result)
        }
        // What is doubted is told nobody in the end, unless that is what is asked for.
        let isAsked = requested.change != .expire
        let reports: [QueueReport]
        do {
            reports = try report(.failed, owed + recipients, about: envelope, header, isAsked: isAsked)
        } catch {
            log.unreportable(message.id, "\(error)")
            return end(requested, message, isHeld: wasHeld, .failed("the report cannot be made", code: 0))
        }
        let last: SpoolOperation =
            requested.recipients == nil
            ? .done(message.id) : .state(message.id, lines: ByteBuffer(string: finalLines(results)))
        commit(put(reports, about: message) + [last], reports) { [self] error in
            if let error { return end(requested, message, isHeld: wasHeld, error) }
            if let gone = requested.recipients {
                end(requested, message, without: gone, wasHeld: wasHeld)
            } else {
                end(requested, gone: message)
            }
        }
    }

    /// What a recipient's report says.
    ///
    /// - Parameter last: what was said about it before, or about its destination.
    private func result(of change: MessageChange, _ last: String?) -> DeliveryResult {
        guard case .bounce(let text) = change else {
            guard let last else {
                return DeliveryResult(.failed, .deliveryTimeExpired, "not delivered in time: it was never tried")
            }
            return DeliveryResult(.delayed, .deliveryTimeExpired, last).expired()
        }
        return DeliveryResult(.failed, .failure, text)
    }

    /// Works out anew where a message goes, and has that tried now. What was tried so far counts on.
    private func lookUp(_ message: QueuedMessage, _ requested: RequestedChange, wasHeld: Bool) {
        let id = message.id
        spool.perform { (spool) throws(SpoolError) in
            try spool.content(of: id, isHeld: wasHeld, verified: false)
        } done: { [self] result in
            switch result {
            case .failure(let error): end(requested, message, isHeld: wasHeld, error)
            case .success(let content):
                let envelope = content.head.envelope
                if let alias = envelope.expandedFrom, let aliases {
                    return lookUp(alias, with: aliases, message, envelope, requested, wasHeld: wasHeld)
                }
                lookUp(message, envelope, requested, wasHeld: wasHeld)
            }
        }
    }

    /// Looks up where the alias leads now that has led to a message's recipients. Those that it has got are the message's, too; those
    /// that it doesn't lead to any more are not tried again.
    private func lookUp(
        _ alias: MailAddress,
        with aliases: AliasDirectory,
        _ message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ requested: RequestedChange,
        wasHeld: Bool
    ) {
        aliases.targets(of: alias) { [self] targets in
            if isClosed { return }
            switch targets {
            case .unknown(let reason):
                end(
                    requested,
                    message,
                    isHeld: wasHeld,
                    .failed("the alias \(alias) can't be looked up: \(reason)", code: 0)
                )
            // Who has deleted it may want the mail or not: that is said by other commands.
            case .none: lookUp(message, envelope, requested, wasHeld: wasHeld)
            case .these(let targets): mend(message, envelope, requested, to: targets, wasHeld: wasHeld)
            }
        }
    }

    private func mend(
        _ message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ requested: RequestedChange,
        to targets: [MailAddress],
        wasHeld: Bool
    ) {
        let wanted = Set(targets.map { MessageStore.key($0) })
        let known = Set(envelope.recipients.map { MessageStore.key($0.address) })
        let open = message.jobs.flatMap(\.recipients)
        let gone = Set(open.filter { !wanted.contains(MessageStore.key(envelope.recipients[Int($0)].address)) })
        // As the one whose place they take.
        let model = (gone.min() ?? open.min()).map { envelope.recipients[Int($0)].parameters } ?? RecipientParameters()
        let fresh = targets.filter { !known.contains(MessageStore.key($0)) }.map {
            EnvelopeRecipient($0, parameters: model)
        }
        guard !fresh.isEmpty || !gone.isEmpty else { return lookUp(message, envelope, requested, wasHeld: wasHeld) }
        let time = clock.now() / 1000
        let elsewhere = DeliveryResult(.expanded, .success, "its alias leads elsewhere now")
        var lines = ""
        for (number, recipient) in fresh.enumerated() {
            lines += StateEntry(time: time, added: recipient, number: envelope.recipients.count + number + 1).line
        }
        lines += finalLines(gone.map { ($0, elsewhere) })
        spool.commit([.state(message.id, lines: ByteBuffer(string: lines))]) { [self] error in
            if let error { return end(requested, message, isHeld: wasHeld, error) }
            for job in message.jobs { job.recipients.removeAll(where: gone.contains) }
            let left = message.jobs.filter { !$0.recipients.isEmpty }
            let first = DeliveryJob(message, to: LocalDomains.unknown, recipients: [], mayBeKnown: true)
            first.recipients = Few(fresh.indices.map { Int32(clamping: envelope.recipients.count + $0) })
            store.setJobs(of: message, first.recipients.isEmpty ? left : left + [first])
            store.addRecipients(fresh, to: message)
            dropContent(of: message)
            log.realiased(
                message.id,
                to: fresh.map { "\($0.address)" },
                instead: gone.map { "\(envelope.recipients[Int($0)].address)" }
            )
            if message.jobs.isEmpty, message.owed == nil {
                // All that it leads to have the message.
                return spool.commit([.done(message.id)]) { [self] error in
                    if let error {
                        end(requested, message, isHeld: wasHeld, error)
                    } else {
                        end(requested, gone: message)
                    }
                }
            }
            var envelope = envelope
            envelope.recipients += fresh
            lookUp(message, envelope, requested, wasHeld: wasHeld)
        }
    }

    private func lookUp(
        _ message: QueuedMessage,
        _ envelope: MessageEnvelope,
        _ requested: RequestedChange,
        wasHeld: Bool
    ) {
        var progress = MessageProgress(open: message.jobs, of: envelope)
        for job in message.jobs where job.attempts > 0 {
            for recipient in job.recipients { progress.tried(Int(recipient), job.attempts, job.reason?.text) }
        }
        let jobs = makeJobs(of: message, envelope, progress, mayBeKnown: true)
        if !jobs.isEmpty { store.setJobs(of: message, jobs) }
        end(requested, message, isHeld: wasHeld)
        if !wasHeld { flush(message) }
    }

    /// Works out anew where a message goes, and forgets earlier attempts.
    private func requeue(_ message: QueuedMessage, _ requested: RequestedChange, wasHeld: Bool) {
        let id = message.id
        let entry = StateEntry(time: clock.now() / 1000, recipient: 0, event: .requeued)
        spool.commit([.state(id, lines: ByteBuffer(string: entry.line))]) { [self] error in
            if let error { return end(requested, message, isHeld: wasHeld, error) }
            spool.perform { (spool) throws(SpoolError) in
                try spool.content(of: id, isHeld: wasHeld, verified: false)
            } done: { result in
                switch result {
                case .failure(let error): self.end(requested, message, isHeld: wasHeld, error)
                case .success(let content):
                    // Not from the state's file, which may lack what was recorded just now.
                    let progress = MessageProgress(open: message.jobs, of: content.head.envelope)
                    let jobs = self.makeJobs(of: message, content.head.envelope, progress, mayBeKnown: true)
                    if !jobs.isEmpty { self.store.setJobs(of: message, jobs) }
                    self.end(requested, message, isHeld: wasHeld)
                }
            }
        }
    }
}
