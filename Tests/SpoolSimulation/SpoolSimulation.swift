import Files
import NIOCore
import SMTP
import SimulatedDisk
import Spool

#if canImport(Glibc)
import Glibc
#endif

/// A spool on a simulated disk: does random things to it, cuts the power at a random call, opens it again, and sees whether
/// it has kept what it promised. A seed decides everything.
package final class SpoolSimulation: @unchecked Sendable {
    // Unchecked: one thread.

    private struct Large {
        let message: SimulatedMessage
        let incoming: IncomingMessage
        var sent = 0
    }

    private static let shards = 3
    /// So that what is looked at after each start doesn't grow without end.
    private static let maximumMessages = 24

    package private(set) var counts = SimulationCounts()
    private let seed: UInt64
    private let disk: SimulatedFileSystem
    private var random: SeededGenerator
    private var options = Spool.Options()
    private var life = 0
    private var microseconds: UInt64 = 1_795_447_200_000_000
    private var messages: [SimulatedMessage] = []
    private var transactions: [SimulatedTransaction] = []
    private var lineNumber = 0

    // Of one life.
    private var workers = SimulatedWorkers(.stepped)
    private var trouble = SimulatedTrouble.none
    private var large: [Large] = []
    private var hasFailed = false
    private var found: String?

    package init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(seed: random.next())
        // Small, so that they are used again in one life.
        options.journalSegment = [8 << 10, 8 << 10, 16 << 10, 64 << 10][random.below(4)]
        options.memory = [4 << 10, 32 << 10, 1 << 20][random.below(3)]
        options.reserve = 1 << 20
    }

    /// Lives so many lives.
    package func run(lives: Int) throws(SimulationFinding) {
        for _ in 0..<lives {
            life += 1
            try live()
        }
    }

    private func finding(_ text: String) -> SimulationFinding {
        SimulationFinding(seed: seed, life: life, text: text, history: disk.history)
    }

    // MARK: One life

    private func live() throws(SimulationFinding) {
        workers = SimulatedWorkers(.stepped)
        hasFailed = false
        trouble = [.none, .none, .errors, .fullDisk][random.below(4)]
        let startTrouble = random.below(4) == 0 ? trouble : .none
        disk.setSpace(FileSpace(free: trouble == .fullDisk ? 1 << 10 : 1 << 40, total: 1 << 41, freeFiles: nil))
        disk.start(
            FaultPlan(endAt: random.below(3) == 0 ? 1 + random.below(120) : nil, faults: startTrouble.faults(&random))
        )
        if let spool = try start(startTrouble) {
            // In peace.
            disk.start()
            try check(spool)
            try checkErrors(spool)
            disk.start(FaultPlan(endAt: 1 + random.below(60 << random.below(6)), faults: trouble.faults(&random)))
            try work(spool)
            end()
            withExtendedLifetime(spool) {}
        } else {
            end()
        }
        large = []
    }

    private func start(_ trouble: SimulatedTrouble) throws(SimulationFinding) -> Spool? {
        let host = Spool.Host(
            disk: disk,
            workers: workers,
            microseconds: { [self] in
                microseconds += 1
                return microseconds
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

    /// The power goes, or the process is killed.
    private func end() {
        workers.stop()
        if random.below(4) == 0 { disk.kill() } else { disk.powerCut() }
        counts.cuts += 1
    }

    private func work(_ spool: Spool) throws(SimulationFinding) {
        var left = [20, 100, 300, 1000][random.below(4)]
        while left > 0, !disk.hasEnded, !hasFailed || random.below(8) != 0 {
            left -= 1
            switch random.below(100) {
            case 0..<50: _ = workers.step { random.below($0) }
            case 50..<62: put(spool)
            case 62..<68: addLine(spool, isNote: random.below(3) == 0)
            case 68..<78: finish(spool)
            case 78..<81: hold(spool)
            case 81..<88: stepLarge(spool)
            case 88..<93: read(spool)
            case 93: requireSpace(spool)
            case 94..<96:
                let milliseconds = Int64(random.below(2500))
                workers.advance(milliseconds: milliseconds)
                microseconds += UInt64(milliseconds) * 1000
            default: while random.below(20) != 0, workers.step({ random.below($0) }) {}
            }
            if let found { throw finding(found) }
        }
    }

    // MARK: What is done to the spool

    private func octets(_ count: Int) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(count + 8)
        while buffer.readableBytes < count { buffer.writeInteger(random.next()) }
        buffer.moveWriterIndex(to: count)
        return buffer
    }

    private func makeMessage(_ spool: Spool, size: Int, presence: SimulatedMessage.Presence) -> SimulatedMessage {
        var envelope = MessageEnvelope(
            id: spool.makeID(),
            arrived: Int64(microseconds / 1_000_000),
            sender: Self.sender,
            recipients: (0...random.below(3)).compactMap { _ in Self.recipient }
        )
        if random.flip() { envelope.helo = "100%\r\n" }
        let added = random.flip() ? octets(random.below(200)) : ByteBuffer()
        let message = SimulatedMessage(envelope, message: octets(size), added: added, presence: presence)
        messages.append(message)
        counts.messages += 1
        return message
    }

    private static let sender = EnvelopeSender(ReversePath(nil))
    private static let recipient = try? EnvelopeRecipient(parsing: "<bob@example.test>".utf8)

    /// One that is there, and that nobody is about to remove.
    private func anyMessage() -> SimulatedMessage? {
        var chosen: SimulatedMessage?
        var count = 0
        for message in messages where message.presence == .there && !message.isEnding {
            count += 1
            if random.below(count) == 0 { chosen = message }
        }
        return chosen
    }

    private func commit(_ spool: Spool, _ operations: [SpoolOperation], _ transaction: SimulatedTransaction) {
        transactions.append(transaction)
        transaction.done?.presence = .uncertain
        transaction.done?.isEnding = true
        spool.commit(operations) { [self] error in
            guard error == nil else { return }
            transaction.isAcknowledged = true
            if let message = transaction.put {
                message.presence = .there
                counts.acknowledged += 1
            }
            transaction.done?.presence = .gone
            if let (message, text) = transaction.line { message.acknowledge(line: text) }
        }
    }

    private func put(_ spool: Spool) {
        guard messages.count < Self.maximumMessages else { return finish(spool) }
        let limit = spool.journaledMessage - 700
        let size = random.below(8) == 0 ? random.below(limit) : random.below(min(limit, 600))
        let message = makeMessage(spool, size: size, presence: .uncertain)
        let file = QueueFile.encode(message.envelope, message: message.message, added: message.added).file
        var operations = [SpoolOperation.put(message.id, file: file)]
        let transaction = SimulatedTransaction()
        transaction.put = message
        // As a delivery report that goes with what it's about.
        if random.below(4) == 0, let other = anyMessage() {
            if random.flip() {
                operations.append(.done(other.id))
                transaction.done = other
            } else {
                let text = makeLine(other)
                operations.append(.state(other.id, lines: ByteBuffer(string: text)))
                transaction.line = (other, text)
            }
        }
        if random.flip() { operations.reverse() }
        commit(spool, operations, transaction)
    }

    private func makeLine(_ message: SimulatedMessage, isNote: Bool = false) -> String {
        lineNumber += 1
        let event = StateEntry.Event.deferred(attempts: 1, next: 1, status: EnhancedStatusCode(4, 2, 1))
        let text = StateEntry(time: 1, recipient: 1, event: event, text: "\(lineNumber)").line
        message.lines.append(.init(text: text, isDurable: false, isNote: isNote))
        return text
    }

    private func addLine(_ spool: Spool, isNote: Bool) {
        guard let message = anyMessage() else { return }
        let text = makeLine(message, isNote: isNote)
        let lines = ByteBuffer(string: text)
        let transaction = SimulatedTransaction()
        if isNote {
            commit(spool, [.note(message.id, lines: lines)], transaction)
        } else {
            transaction.line = (message, text)
            commit(spool, [.state(message.id, lines: lines)], transaction)
        }
    }

    private func finish(_ spool: Spool) {
        guard let message = anyMessage() else { return }
        let transaction = SimulatedTransaction()
        transaction.done = message
        commit(spool, [.done(message.id)], transaction)
    }

    private func hold(_ spool: Spool) {
        guard let message = anyMessage(), let isHeld = message.isHeld else { return }
        message.isHeld = nil
        let isWanted = random.below(4) == 0 ? isHeld : !isHeld
        spool.setHeld(message.id, isWanted) { [self] error in
            switch error {
            case nil: message.isHeld = isWanted
            case .missing where message.presence == .there:
                found = "\(message.id) is missing when it's to be moved"
            default:
                // Where it is has to be looked for.
                if trouble == .none, !disk.hasEnded, !message.isEnding {
                    found = "\(message.id) can't be moved: \(error.map { "\($0)" } ?? "")"
                }
            }
        }
    }

    private func stepLarge(_ spool: Spool) {
        if large.isEmpty || large.count < 3 && random.below(4) == 0 {
            guard messages.count < Self.maximumMessages else { return }
            let message = makeMessage(spool, size: random.below(9000), presence: .unfinished)
            guard let incoming = attempt("begin", { () throws(SpoolError) in try spool.begin(message.envelope) })
            else { return }
            large.append(Large(message: message, incoming: incoming))
            return
        }
        let index = random.below(large.count)
        let (message, incoming) = (large[index].message, large[index].incoming)
        if random.below(12) == 0 {
            incoming.discard()
            large.remove(at: index)
        } else if large[index].sent < message.message.readableBytes {
            let count = min(1 + random.below(5000), message.message.readableBytes - large[index].sent)
            guard let chunk = message.message.getSlice(at: large[index].sent, length: count) else { return }
            large[index].sent += count
            if attempt("append", { () throws(SpoolError) in try incoming.append(chunk) }) == nil {
                large.remove(at: index)
            }
        } else {
            large.remove(at: index)
            message.presence = .uncertain
            if attempt("finish", { () throws(SpoolError) in try incoming.finish(added: message.added) }) != nil {
                message.presence = .there
                counts.acknowledged += 1
            }
        }
    }

    /// Does what may fail only where something goes wrong on purpose.
    private func attempt<Value>(_ what: String, _ body: () throws(SpoolError) -> Value) -> Value? {
        do throws(SpoolError) { return try body() } catch {
            if trouble == .none, !disk.hasEnded { found = "\(what): \(error)" }
            return nil
        }
    }

    private func requireSpace(_ spool: Spool) {
        do throws(SpoolError) {
            try spool.requireSpace(for: 1000)
            if trouble == .fullDisk { found = "there is space on a full disk" }
        } catch .full {
            if trouble != .fullDisk { found = "there is no space on an empty disk" }
        } catch {
            if trouble == .none, !disk.hasEnded { found = "nobody knows how much space there is: \(error)" }
        }
    }

    private func read(_ spool: Spool) {
        guard !messages.isEmpty else { return }
        let message = messages[random.below(messages.count)]
        let isHeld = random.flip()
        do throws(SpoolError) {
            let content = try spool.content(of: message.id, isHeld: isHeld, verified: true, messageLimit: .max)
            if let difference = difference(content, message) { found = difference }
            _ = try spool.state(of: message.id)
        } catch .missing {
            if message.presence == .there { found = "\(message.id) is missing when it's read" }
        } catch .corrupt(let reason) {
            if message.presence != .gone { found = "\(message.id) is corrupt when it's read: \(reason)" }
        } catch {
            if trouble == .none, !disk.hasEnded { found = "\(message.id) can't be read: \(error)" }
        }
    }

    private func difference(_ content: Spool.Content, _ message: SimulatedMessage) -> String? {
        if content.head.envelope != message.envelope { return "\(message.id) has another envelope" }
        if content.message != message.message { return "\(message.id) has other octets" }
        if content.added != message.added { return "\(message.id) has another added block" }
        return nil
    }

    // MARK: What must be true after a start

    private func check(_ spool: Spool) throws(SimulationFinding) {
        let text: String?
        do throws(SpoolError) {
            text = try broken(spool)
        } catch {
            text = "what is there can't be read: \(error)"
        }
        if let text { throw finding(text) }
    }

    /// What is there is listed and its state is known, or that fails: an error is never taken for nothing.
    private func checkErrors(_ spool: Spool) throws(SimulationFinding) {
        disk.start(FaultPlan(faults: [.init([.open, .read, .names], code: EIO, probability: 0.3)]))
        for shard in 0..<Self.shards {
            guard let listed = try? spool.messages(shard: shard) else { continue }
            for message in messages where message.isHeld == false && message.id.shard == shard {
                if !listed.contains(message.id) { throw finding("\(message.id) is not listed, without an error") }
            }
        }
        for message in messages {
            guard let lines = try? spool.state(of: message.id).map(\.line) else { continue }
            for line in message.lines where !lines.contains(line.text) {
                throw finding("\(message.id) is without the line \(line.text), without an error")
            }
        }
        guard let listed = try? spool.heldMessages() else { return }
        for message in messages where message.isHeld == true && !listed.contains(message.id) {
            throw finding("\(message.id) is not listed in hold, without an error")
        }
    }

    /// What is wrong. Afterwards what is there is what must be there.
    private func broken(_ spool: Spool) throws(SpoolError) -> String? {
        var places: [MessageID: Bool] = [:]
        for shard in 0..<Self.shards {
            for id in try spool.messages(shard: shard) { places[id] = false }
        }
        for id in try spool.heldMessages() where places.updateValue(true, forKey: id) != nil {
            return "\(id) is there twice"
        }
        for transaction in transactions where !transaction.isAcknowledged {
            if let text = broken(transaction, places) { return text }
        }
        for message in messages {
            let place = places.removeValue(forKey: message.id)
            if let text = try broken(message, place, spool) { return text }
        }
        if let id = places.keys.min() { return "\(id) has come back" }
        if let name = names("incoming").first { return "incoming/\(name) is still there" }
        messages.removeAll { $0.presence == .gone }
        transactions = []
        for shard in names("state") {
            for name in names("state/\(shard)") where !messages.contains(where: { $0.id.description == name }) {
                return "state/\(shard)/\(name) belongs to no message"
            }
        }
        return nil
    }

    private func names(_ path: String) -> [String] {
        ((try? disk.names("spool/\(path)", in: nil)) ?? []).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Of what was not acknowledged, either all has happened or nothing.
    private func broken(_ transaction: SimulatedTransaction, _ places: [MessageID: Bool]) -> String? {
        guard let message = transaction.put, let other = transaction.done else { return nil }
        guard (places[message.id] != nil) == (places[other.id] == nil) else {
            return "\(message.id) was to replace \(other.id), and that was done by half"
        }
        return nil
    }

    private func broken(_ message: SimulatedMessage, _ place: Bool?, _ spool: Spool) throws(SpoolError) -> String? {
        guard let isHeld = place else {
            switch message.presence {
            case .there: return "\(message.id) is lost"
            case .unfinished, .uncertain, .gone: message.presence = .gone
            }
            return nil
        }
        switch message.presence {
        case .unfinished: return "\(message.id) is there, and was never finished"
        case .gone: return "\(message.id) has come back"
        case .there, .uncertain: break
        }
        if let known = message.isHeld, known != isHeld { return "\(message.id) is not where it was put" }
        let content: Spool.Content
        do throws(SpoolError) {
            content = try spool.content(of: message.id, isHeld: isHeld, verified: true, messageLimit: .max)
        } catch {
            return "\(message.id) can't be read: \(error)"
        }
        if let text = difference(content, message) { return text }
        if content.isHeld != isHeld { return "\(message.id) is found in the wrong place" }
        let entries = try spool.state(of: message.id)
        let lines = entries.map(\.line)
        if Set(lines).count != lines.count { return "\(message.id) has a line twice: \(lines)" }
        for line in message.lines where line.isDurable && !lines.contains(line.text) {
            return "\(message.id) has lost the line \(line.text)"
        }
        for line in lines where !message.lines.contains(where: { $0.text == line }) {
            return "\(message.id) has the line \(line) of nobody"
        }
        for transaction in transactions where !transaction.isAcknowledged {
            guard let put = transaction.put, let (owner, text) = transaction.line, owner === message else { continue }
            guard lines.contains(text) == ((try? spool.content(of: put.id, verified: false)) != nil) else {
                return "\(put.id) and a line of \(message.id) are one transaction, and that was done by half"
            }
        }
        message.presence = .there
        message.isEnding = false
        message.isHeld = isHeld
        let notes = Set(message.lines.filter(\.isNote).map(\.text))
        message.lines = lines.map { text in
            let isNote = notes.contains(text)
            return SimulatedMessage.Line(text: text, isDurable: !isNote, isNote: isNote)
        }
        return nil
    }
}
