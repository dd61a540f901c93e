import Daemon
import Bus
import Deliverer
import Files
import Logging
import NIOCore
import NIOEmbedded
import QueueManager
import SMTP
import SimulatedDisk
import Spool
import SpoolSimulation

#if canImport(Glibc)
import Glibc
#endif

/// A queue with its schedule on a simulated disk, with pretended deliverers: mail comes and goes, the administrator
/// interferes, disks fail, and the power is cut at a random call. After each start, and at each request to a deliverer, it's
/// seen whether the queue has kept what it promised; in the last life of each seed everything must come to its end. A seed
/// decides everything.
package final class QueueSimulation: @unchecked Sendable {
    // Unchecked: one thread.

    /// A process.
    private struct Process {
        let spool: Spool
        let queue: Queue
        let local: SimulatedLink
        let remote: SimulatedLink
    }

    private static let shards = 3
    /// So that what is looked at after each start doesn't grow without end.
    private static let maximumMessages = 20
    private static let startTime: Int64 = 1_795_447_200_000
    private static let domains = ["local.test", "a.test", "b.test", "c.test"]
    /// Whose mail is paused now and then.
    private static let pauseSubjects: [Pause.Subject] =
        domains.dropFirst().map { .destination($0) } + [.sender("s0@\(senderDomain)"), .sender("s1@\(senderDomain)")]
    /// Where reports go; can always be reached, so that each report is seen before its time is over.
    private static let senderDomain = "senders.test"
    /// What messages are cut from.
    private static let octets: ByteBuffer = {
        var random = SeededGenerator(seed: 7)
        return ByteBuffer(bytes: (0..<(160 << 10)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }()

    package private(set) var counts = SimulationCounts()
    private let seed: UInt64
    private let isTracing: Bool
    private let disk: SimulatedFileSystem
    private let loop = EmbeddedEventLoop()
    private let logger = Logger(label: "simulation", factory: { _ in SwiftLogNoOpLogHandler() })
    private let ledger = QueueLedger()
    private var random: SeededGenerator
    private var options = Spool.Options()
    private var settings: QueueSettings
    private var life = 0
    private var latestMicroseconds: UInt64 = 0
    private var number = 0
    private var events: [String] = []

    // Of one life.
    private var workers = SimulatedWorkers(.stepped)
    private var trouble = SimulatedTrouble.none
    private var isPeaceful = false
    private var hasFailed = false
    private var isRecovered = false
    /// Deliveries that the queue was told of, and that may not be recorded yet.
    private var unrecorded: [(post: QueuedPost, index: Int)] = []
    private var submissions = 0
    /// Changes of pauses that had no answer.
    private var pausesAsked: [Pause.Subject: Int] = [:]
    /// Whether somebody's mail is paused, as far as is known.
    private var paused: [Pause.Subject: Bool?] = [:]

    /// - Parameter isTracing: whether findings tell what happened besides calls to the disk.
    package init(seed: UInt64, isTracing: Bool = false) {
        guard let standard = try? QueueManagerConfiguration.standard else { fatalError("the defaults are wrong") }
        settings = QueueSettings(hostname: "mx.test", domains: ["local.test"], standard)
        self.seed = seed
        self.isTracing = isTracing
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(seed: random.next())
        options.journalSegment = [16 << 10, 24 << 10, 64 << 10][random.below(3)]
        options.memory = [4 << 10, 32 << 10, 1 << 20][random.below(3)]
        options.reserve = 1 << 20
        settings.retryMinimum = 30_000
        settings.retryMaximum = 240_000
        settings.lifetime = [300_000, 1_200_000][random.below(2)]
        settings.bounceLifetime = 600_000
        settings.delayWarning = [0, 100_000, 400_000][random.below(3)]
        settings.localConcurrency = 1 + random.below(4)
        settings.destinationConcurrency = 1 + random.below(6)
        settings.concurrency = 2 + random.below(8)
        settings.deliveryRecipients = 1 + random.below(3)
        settings.cachedContent = [0, 2000, 1 << 20][random.below(3)]
    }

    deinit {
        // A pause of a recovery may still be there.
        loop.advanceTime(by: .minutes(2))
    }

    /// Lives so many lives, the last one in peace to the end of all mail.
    package func run(lives: Int) throws(SimulationFinding) {
        for number in 1...lives {
            life += 1
            try live(isPeaceful: number == lives)
        }
        // Nothing of it may be left.
        life += 1
        workers = SimulatedWorkers(.stepped)
        guard let spool = try start(.none) else { throw finding("the spool does not open") }
        ledger.examine(spool, shards: Self.shards, expired: now - settings.bounceLifetime)
        try requireNothingFound()
        workers.stop()
        if let post = ledger.order.first { throw finding("\(post.id) has left and is still there") }
    }

    private func finding(_ text: String) -> SimulationFinding {
        let history = events.isEmpty ? disk.history : events.joined(separator: "\n") + "\n" + disk.history
        return SimulationFinding(seed: seed, life: life, text: text, history: history)
    }

    private func trace(_ text: @autoclosure () -> String) {
        guard isTracing else { return }
        if events.count > 400 { events.removeFirst(200) }
        events.append("life \(life), \((now - Self.startTime) / 1000) s, call \(disk.callCount): \(text())")
    }

    private func requireNothingFound() throws(SimulationFinding) {
        if let found = ledger.found { throw finding(found) }
    }

    private var now: Int64 { Self.startTime + Int64(loop.now.uptimeNanoseconds / 1_000_000) }

    // MARK: One life

    private func live(isPeaceful: Bool) throws(SimulationFinding) {
        self.isPeaceful = isPeaceful
        workers = SimulatedWorkers(.stepped)
        (hasFailed, isRecovered, submissions) = (false, false, 0)
        unrecorded = []
        trouble = isPeaceful ? .none : [.none, .none, .errors, .fullDisk][random.below(4)]
        let startTrouble = random.below(4) == 0 ? trouble : .none
        let isFull = trouble == .fullDisk && random.flip()
        disk.setSpace(FileSpace(free: isFull ? 1 << 10 : 1 << 40, total: 1 << 41, freeFiles: nil))
        let startEnd = !isPeaceful && random.below(6) == 0 ? 1 + random.below(120) : nil
        disk.start(FaultPlan(endAt: startEnd, faults: startTrouble.faults(&random)))
        trace("start, \(trouble)")
        guard let spool = try start(startTrouble) else { return end(nil) }
        disk.start()
        ledger.examine(spool, shards: Self.shards, expired: now - settings.bounceLifetime)
        try requireNothingFound()
        let process = try makeProcess(spool)
        if isPeaceful {
            // What can't be listed at first is not empty: who takes it for that never delivers what is in it.
            let isUnlisted = random.below(4) != 0
            let unlisted = FaultPlan.Fault(.names, code: EIO, probability: 0.5, times: 1 + random.below(8))
            disk.start(FaultPlan(faults: isUnlisted ? [unlisted] : []))
            try finishAll(process)
        } else {
            disk.start(FaultPlan(endAt: 1 + random.below(60 << random.below(6)), faults: faults()))
            try work(process)
        }
        end(process)
        // Nobody knows for how long it was away.
        if random.below(3) == 0 { loop.advanceTime(by: .seconds(Int64(random.below(400)))) }
    }

    private func faults() -> [FaultPlan.Fault] {
        guard trouble == .errors, random.below(3) == 0 else { return trouble.faults(&random) }
        // Some of what was there can't be found, and what has left can't be removed.
        return [
            .init([.open, .names], code: EIO, probability: 0.2, times: 1 + random.below(4)),
            .init(.remove, code: EIO, probability: [0.5, 1][random.below(2)]),
        ]
    }

    private func start(_ trouble: SimulatedTrouble) throws(SimulationFinding) -> Spool? {
        let host = Spool.Host(
            disk: disk,
            workers: workers,
            microseconds: { [self] in
                latestMicroseconds = max(latestMicroseconds + 1, UInt64(now) * 1000)
                return latestMicroseconds
            },
            random: { [self] in random.next() & ~1023 | UInt64(random.below(Self.shards)) }
        )
        do {
            return try Spool(path: "spool", options: options, host: host) { [self] _ in hasFailed = true }
        } catch {
            if disk.hasEnded { return nil }
            switch (error, trouble) {
            case (.failed, .errors), (.full, .fullDisk), (.failed, .fullDisk):
                counts.refusedStarts += 1
                return nil
            default: throw finding("the spool does not open: \(error)")
            }
        }
    }

    private func makeProcess(_ spool: Spool) throws(SimulationFinding) -> Process {
        let clock = QueueClock(
            now: { [self] in now },
            chance: { [self] in Double(random.below(1000)) / 1000 }
        )
        let queue = Queue(settings: settings, spool: spool, loop: loop, clock: clock, logger: logger)
        try readPauses(queue)
        // The last life has an end.
        if isPeaceful {
            for subject in queue.pausedSubjects { paused[subject] = .some(nil) }
            queue.resume(queue.pausedSubjects) { _ in }
        }
        var links: [SimulatedLink] = []
        queue.start { isLocal, onReturn in
            let link = SimulatedLink(isLocal: isLocal, onReturn: onReturn) { [self] entry in
                trace("asked: \(entry.frame.fields.prefix(8).map { "\($0.name)=\($0.value)" }.joined(separator: " "))")
                ledger.requested(entry, isLocal: isLocal)
                requireNotPaused(entry.request)
            } onPiece: { [self] entry, piece, octets in
                let id = MessageID(entry.request.id)
                let original = id.flatMap { ledger.posts[$0]?.message }
                if octets != original?.getSlice(at: piece.offset, length: piece.length) {
                    ledger.fail("\(entry.request.id) has other octets from \(piece.offset) on")
                }
            }
            links.append(link)
            return link
        }
        QueueRecovery(queue: queue, shards: Self.shards) { [self, started = life] _ in
            // One of an earlier life hears of its end when its pause is over.
            if started == life { isRecovered = true }
        }.start()
        return Process(spool: spool, queue: queue, local: links[0], remote: links[1])
    }

    /// The power goes, or the process is killed.
    private func end(_ process: Process?) {
        workers.stop()
        process?.queue.close()
        loop.run()
        let isKill = random.below(4) == 0
        trace(isKill ? "killed" : "power cut")
        if isKill { disk.kill() } else { disk.powerCut() }
        counts.cuts += 1
    }

    private func work(_ process: Process) throws(SimulationFinding) {
        var left = [50, 200, 500, 1000][random.below(4)]
        while left > 0, !disk.hasEnded, !hasFailed || random.below(8) != 0 {
            left -= 1
            switch random.below(100) {
            case 0..<35: _ = workers.step { random.below($0) }
            case 35..<44: submit(process)
            case 44..<47: submitLarge(process)
            case 47..<72: stepDeliverer(random.flip() ? process.local : process.remote)
            case 72..<78: change(process)
            case 78: flush(process)
            case 79: if random.flip() { flush(process) } else { pause(process) }
            case 80..<87: advance([300, 2500, 20_000, 120_000, 400_000][random.below(random.below(5) + 1)])
            default: while random.below(20) != 0, workers.step({ random.below($0) }) {}
            }
            if random.below(8) != 0 { loop.run() }
            recordDeliveries(process)
            try requireNothingFound()
        }
    }

    private func advance(_ maximum: Int) {
        let milliseconds = Int64(random.below(maximum) + 1)
        workers.advance(milliseconds: milliseconds)
        loop.advanceTime(by: .milliseconds(milliseconds))
    }

    /// The last life: everything has to come to its end in a time that can be told.
    private func finishAll(_ process: Process) throws(SimulationFinding) {
        let latest = now + 3 * settings.lifetime + 3 * settings.bounceLifetime
        var steps = 0
        while !isRecovered || process.queue.count > 0 || submissions > 0 || !workers.isIdle {
            steps += 1
            if now > latest || steps > 100_000 {
                throw finding("\(process.queue.count) messages are stuck after \(steps) steps")
            }
            if isRecovered {
                // Nobody knows of those that were to be changed if they had somebody at a destination.
                for post in ledger.order where post.presence == .acknowledged {
                    guard post.isHeld == true || post.isHeld == nil && post.changes == 0 else { continue }
                    request(.release, of: post, process)
                }
            }
            var isBusy = workers.step { random.below($0) }
            loop.run()
            for link in [process.local, process.remote] where !link.requests.isEmpty || link.isWanted {
                isBusy = true
                if random.flip() { stepDeliverer(link) }
            }
            loop.run()
            if !isBusy { advance(30_000) }
            recordDeliveries(process)
            try requireNothingFound()
        }
    }

    // MARK: Senders

    private func makePost(_ process: Process, size: Int) -> QueuedPost? {
        guard ledger.order.count(where: { $0.presence != .gone }) < Self.maximumMessages else { return nil }
        number += 1
        counts.messages += 1
        let sender = random.below(10) == 0 ? "<>" : "<s\(random.below(4))@\(Self.senderDomain)>"
        var recipients: [EnvelopeRecipient] = []
        let domain = Self.domains[random.below(Self.domains.count)]
        for index in 0...random.below(4) {
            let domain = random.flip() ? domain : Self.domains[random.below(Self.domains.count)]
            guard let recipient = try? EnvelopeRecipient(parsing: "<r\(number).\(index)@\(domain)>".utf8) else {
                return nil
            }
            recipients.append(recipient)
        }
        guard let sender = try? EnvelopeSender(parsing: sender.utf8) else { return nil }
        let envelope = MessageEnvelope(
            id: process.spool.makeID(),
            arrived: now / 1000,
            sender: sender,
            recipients: recipients
        )
        var message = ByteBuffer(string: "Subject: \(number)\r\n\r\n")
        let start = random.below(Self.octets.readableBytes - size)
        message.writeImmutableBuffer(Self.octets.getSlice(at: start, length: size) ?? ByteBuffer())
        let added = random.flip() ? ByteBuffer(string: "Received: \(number)\r\n") : ByteBuffer()
        let post = QueuedPost(envelope, message: message, added: added, presence: .uncertain)
        ledger.insert(post)
        return post
    }

    private func submit(_ process: Process) {
        let size = random.below(min(process.spool.journaledMessage - 100, random.below(4) == 0 ? 4000 : 400))
        guard let post = makePost(process, size: size), let message = post.message else { return }
        trace("submit \(post.id) to \(post.envelope.recipients.map(\.description))")
        submissions += 1
        process.queue.accept(post.envelope, message, added: post.added) { [self] in accepted(post, $0) }
    }

    private func submitLarge(_ process: Process) {
        let size = random.below(5) == 0 ? 65_000 + random.below(80_000) : random.below(9000)
        guard let post = makePost(process, size: size), let message = post.message else { return }
        trace("submit \(post.id), large, to \(post.envelope.recipients.map(\.description))")
        submissions += 1
        let queue = process.queue
        process.spool.perform { (spool) throws(SpoolError) in
            let incoming = try spool.begin(post.envelope)
            try incoming.append(message)
            return incoming
        } done: { [self] result in
            switch result {
            case .success(let incoming):
                queue.accept(incoming, added: post.added, isQuarantined: false) { self.accepted(post, $0) }
            case .failure: submissions -= 1
            }
        }
    }

    private func accepted(_ post: QueuedPost, _ error: SpoolError?) {
        submissions -= 1
        trace("submitted \(post.id): \(error.map { "\($0)" } ?? "ok")")
        if let error {
            if trouble == .none, !disk.hasEnded { ledger.fail("\(post.id) is refused: \(error)") }
            return
        }
        counts.acknowledged += 1
        post.presence = .acknowledged
    }

    // MARK: The administrator

    private func anyPost() -> QueuedPost? {
        let there = ledger.order.filter { $0.presence == .acknowledged }
        return there.isEmpty ? nil : there[random.below(there.count)]
    }

    private func change(_ process: Process) {
        guard let post = anyPost() else { return }
        // Held ones don't stay held for ever.
        if post.isHeld == true, random.flip() { return request(.release, of: post, process) }
        switch random.below(12) {
        case 0..<4: request(.hold, of: post, process)
        case 4..<7: request(.release, of: post, process)
        case 7: request(.requeue, of: post, process)
        case 8: request(.reroute(isAsked: true), of: post, process)
        case 9: request(.remove, of: post, process)
        case 10: request(.expire, of: post, process)
        default: request(.bounce(text: "returned"), of: post, process)
        }
    }

    private func request(_ change: MessageChange, of post: QueuedPost, _ process: Process) {
        trace("request \(change) of \(post.id)")
        post.changes += 1
        switch change {
        case .hold, .release: post.isHeld = nil
        case .remove, .bounce, .expire, .requeue, .reroute: break
        }
        // Some are asked for as long as it still has somebody at a destination; what can be is done to those there alone.
        let domain = random.below(4) == 0 ? Self.domains[1 + random.below(Self.domains.count - 1)] : nil
        let condition = domain.flatMap { try? MessageFilter(Frame("HOLD", [.init("destination", $0)])) }
        let meant = post.recipients.indices.filter {
            domain == nil || post.recipients[$0].recipient.address.lowercasedDomain == domain
        }
        switch change {
        case .remove where domain == nil: post.isRemovalWanted = true
        case .bounce where domain == nil, .expire where domain == nil: post.isBounceWanted = true
        case .remove: for index in meant { post.recipients[index].isRemovalWanted = true }
        case .bounce, .expire: for index in meant { post.recipients[index].isBounceWanted = true }
        case .hold, .release, .requeue, .reroute: break
        }
        process.queue.request(change, of: post.id, if: condition) { [self] result in
            trace("\(change) of \(post.id): \(result)")
            post.changes -= 1
            switch (change, result) {
            case (.hold, .done), (.hold, .unchanged): if post.changes == 0 { post.isHeld = true }
            case (.release, .done), (.release, .unchanged): if post.changes == 0 { post.isHeld = false }
            case (.remove, .doneInPart): for index in meant { post.recipients[index].isRemoved = true }
            case (.bounce, .doneInPart), (.expire, .doneInPart): break
            case (_, .doneInPart), (_, .unchanged): ledger.fail("\(change) of \(post.id) has no such result")
            case (.remove, .done), (.bounce, .done), (.expire, .done): post.presence = .gone
            case (.requeue, .done), (.reroute, .done), (_, .missing): break
            case (_, .failed(let error)):
                if trouble == .none, !disk.hasEnded { ledger.fail("\(change) of \(post.id) fails: \(error)") }
            }
        }
    }

    /// What is paused for good stays here.
    private func requireNotPaused(_ request: DeliverRequest) {
        var subjects: [Pause.Subject] = []
        if let destination = request.destination { subjects.append(.destination(destination)) }
        if let sender = request.sender.path.address { subjects.append(.sender("\(sender)")) }
        for subject in subjects where paused[subject] == .some(.some(true)) {
            ledger.fail("\(request.id) is delivered, and \(subject) is paused")
        }
    }

    /// Begins or ends a pause of a destination's mail, or a sender's.
    private func pause(_ process: Process) {
        let subject = Self.pauseSubjects[random.below(Self.pauseSubjects.count)]
        let isBeginning = paused[subject] != .some(true) && random.flip()
        trace("\(isBeginning ? "pause" : "resume") \(subject)")
        paused[subject] = .some(nil)
        pausesAsked[subject, default: 0] += 1
        let done: @Sendable (SpoolError?) -> Void = { [self, started = life] error in
            guard started == life else { return }
            pausesAsked[subject, default: 1] -= 1
            if error == nil, pausesAsked[subject] == 0 { paused[subject] = .some(isBeginning) }
            if error != nil, trouble == .none, !disk.hasEnded { ledger.fail("\(subject) cannot be paused") }
        }
        if isBeginning {
            process.queue.pause(Pause(subject, since: now / 1000), done: done)
        } else {
            process.queue.resume([subject], done: done)
        }
    }

    /// What was acknowledged about pauses is so after a start.
    private func readPauses(_ queue: Queue) throws(SimulationFinding) {
        do { try queue.readPauses() } catch { throw finding("the pauses can't be read: \(error)") }
        for subject in Self.pauseSubjects {
            let isPaused = queue.pausedSubjects.contains(subject)
            if case .some(.some(let known)) = paused[subject], known != isPaused {
                throw finding("\(subject) is \(known ? "not " : "")paused")
            }
            paused[subject] = .some(isPaused)
        }
        pausesAsked = [:]
    }

    private func flush(_ process: Process) {
        if random.flip(), let post = anyPost() { return process.queue.flush(post.id) }
        let destination = random.flip() ? nil : Self.domains[random.below(Self.domains.count)]
        process.queue.flush(destination: destination == "local.test" ? "" : destination)
    }

    // MARK: Deliverers

    private func stepDeliverer(_ link: SimulatedLink) {
        guard link.isConnected else {
            if link.isWanted { link.comeBack() }
            return
        }
        guard !link.requests.isEmpty else { return }
        if !isPeaceful, random.below(40) == 0 { return die(link) }
        let entry = link.requests[random.below(link.requests.count)]
        if !entry.isWhole, !entry.isRefused {
            if entry.asked < entry.request.octets, entry.pieces.count < 3 {
                link.askForPiece(entry, maximum: 20_000 + random.below(60_000))
            }
            return
        }
        guard let id = MessageID(entry.request.id), let post = ledger.posts[id] else { return }
        if entry.isRefused || random.below(8) == 0 {
            // The same for all that are left.
            return answer(entry, post, entry.open, canAccept: !entry.isRefused, link)
        }
        answer(entry, post, [entry.open[random.below(entry.open.count)]], canAccept: true, link)
    }

    private func die(_ link: SimulatedLink) {
        trace("\(link.isLocal ? "local-deliver" : "remote-relay") dies")
        for entry in link.requests {
            guard let id = MessageID(entry.request.id), let post = ledger.posts[id] else { continue }
            for position in entry.open {
                guard let index = ledger.index(of: entry.request.recipients[position], post) else { continue }
                post.recipients[index].isInFlight = false
                // The message may have got through.
                if entry.isWhole, random.below(3) == 0 { post.recipients[index].accepted += 1 }
            }
        }
        link.die()
    }

    /// Answers about some recipients with one frame.
    private func answer(
        _ entry: SimulatedLink.Request,
        _ post: QueuedPost,
        _ positions: [Int],
        canAccept: Bool,
        _ link: SimulatedLink
    ) {
        let indices = positions.compactMap { ledger.index(of: entry.request.recipients[$0], post) }
        let isAccepted = indices.contains { post.recipients[$0].accepted > 0 }
        let isReport = post.isReport && post.message == nil
        let result: DeliveryResult
        switch canAccept ? random.below(100) : 99 {
        case 0..<(isPeaceful ? 70 : 50):
            result = DeliveryResult(link.isLocal ? .delivered : .relayed, .success, "taken")
        case 0..<70 where !isAccepted: result = DeliveryResult(.failed, .failure, "never")
        case 0..<80 where !isReport && !link.isLocal:
            result = DeliveryResult(.delayed, EnhancedStatusCode(4, 4, 1), "not there", scope: .destination)
        case 80..<82 where !isReport && !link.isLocal:
            result = DeliveryResult(.delayed, EnhancedStatusCode(4, 4, 5), "others first", scope: .turn)
        case 0..<85:
            var uncertain = DeliveryResult(.delayed, EnhancedStatusCode(4, 2, 0), "perhaps")
            uncertain.isUncertain = true
            result = uncertain
            if random.flip() { for index in indices { post.recipients[index].accepted += 1 } }
        default: result = DeliveryResult(.delayed, EnhancedStatusCode(4, 2, 1), "later")
        }
        for index in indices {
            post.recipients[index].isInFlight = false
            switch result.action {
            case .delivered, .relayed, .expanded:
                post.recipients[index].accepted += 1
                post.recipients[index].isKnown = true
                unrecorded.append((post, index))
            case .failed: post.recipients[index].isRefused = true
            case .delayed: break
            }
        }
        let isForAll = positions.count == entry.open.count && random.flip() || positions.count > 1
        let recipient = isForAll ? nil : entry.request.recipients[positions[0]]
        trace("answer to \(entry.tag), \(post.id) \(indices): \(result.action) \(result.scope) \(result.isUncertain)")
        entry.open.removeAll { positions.contains($0) }
        link.reply(result.frame(recipient: recipient), to: entry)
    }

    /// What the queue was told of deliveries is recorded with what was committed before now, once nothing of the message is
    /// under way.
    private func recordDeliveries(_ process: Process) {
        guard !unrecorded.isEmpty else { return }
        let over = unrecorded.filter { !process.queue.isBeingDelivered($0.post.id) }
        guard !over.isEmpty else { return }
        unrecorded.removeAll { !process.queue.isBeingDelivered($0.post.id) }
        process.spool.commit([]) { error in
            guard error == nil else { return }
            for (post, index) in over { post.recipients[index].isRecorded = true }
        }
    }
}
