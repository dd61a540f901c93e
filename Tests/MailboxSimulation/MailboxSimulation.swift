import Files
import Mailbox
import NIOCore
import SimulatedDisk
import SpoolSimulation

#if canImport(Glibc)
import Glibc
#endif

/// Deliveries into Maildirs and mboxes on a simulated disk: batches and retries as the queue makes them, sessions that open
/// mailboxes, new folders, disk errors, and a power cut or a kill at a random call. After each, the mailboxes must have
/// everything that was acknowledged, once and intact; in the last life of each seed all mail must arrive and nothing may be
/// left over. The seed determines the whole run.
package final class MailboxSimulation: @unchecked Sendable {
    // Unchecked: one thread.

    private static let folder = FolderName("lists")
    private static let root = "mail"
    /// Bounds what is checked after each life.
    private static let maximumMessages = 40

    package private(set) var counts = SimulationCounts()
    private let seed: UInt64
    private let disk: SimulatedFileSystem
    private let clock: Clock
    private var random: SeededGenerator
    private let mailboxes: [MailboxLocation]
    private var messages: [SimulatedDelivery] = []
    private var life = 0
    private var number = 0

    // Of one life.
    private var trouble = SimulatedTrouble.none
    /// The mboxes that another program has locked.
    private var locked: Set<String> = []

    /// Shared by the disk and the programs.
    private final class Clock: @unchecked Sendable {
        // Unchecked: one thread.
        var microseconds: Int64 = 1_795_447_200_000_000
        /// When the machine was.
        var started: Int64 = 1_795_447_200_000_000
    }

    package init(seed: UInt64) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        let clock = Clock()
        disk = SimulatedFileSystem(seed: random.next()) {
            .init(
                seconds: clock.microseconds / 1_000_000,
                nanoseconds: clock.microseconds % 1_000_000 * 1000
            )
        }
        let quota = [0, 0, 3000][random.below(3)]
        mailboxes = [
            MailboxLocation(path: "alice", format: .maildir),
            MailboxLocation(path: "example.test/bob", format: .maildir, quota: quota),
            MailboxLocation(path: "example.test/deep/carol", format: .maildir),
            MailboxLocation(path: "example.test/dave", format: .mbox),
            MailboxLocation(path: "boxes/erin", format: .mbox),
        ].compactMap { $0 }
        self.clock = clock
        self.random = random
    }

    /// Runs so many lives, the last one without faults until all mail has arrived.
    package func run(lives: Int) throws(SimulationFinding) {
        do throws(FileError) {
            try disk.makeDirectory(Self.root, in: nil, mode: 0o700)
            let root = try disk.open(".", in: nil, [.reading, .directory], mode: 0)
            try disk.syncAll(of: root)
            disk.close(root)
        } catch {
            throw finding("the disk cannot be set up: \(error)")
        }
        for number in 1...lives {
            life += 1
            if number == lives { try finishAll() } else { try live() }
            try check(isLast: number == lives)
        }
    }

    private func finding(_ text: String) -> SimulationFinding {
        SimulationFinding(seed: seed, life: life, text: text, history: disk.history)
    }

    // MARK: One life

    /// A process.
    private func start() throws(MailboxError) -> (mail: MailDirectory, deliverer: MailDeliverer) {
        let mailDisk = MailboxDisk(
            disk,
            process: Int32(life),
            microseconds: { [clock] in
                clock.microseconds += 1
                return clock.microseconds
            },
            uptime: { [clock] in Int((clock.microseconds - clock.started) / 1_000_000) }
        )
        let mail = try MailDirectory(Self.root, on: mailDisk)
        return (mail, MailDeliverer(mail))
    }

    private func live() throws(SimulationFinding) {
        trouble = [.none, .none, .errors, .fullDisk][random.below(4)]
        disk.start(FaultPlan(endAt: 1 + random.below(40 << random.below(5)), faults: faults()))
        if let (mail, deliverer) = try? start() {
            var left = [2, 5, 10, 30][random.below(4)]
            while left > 0, !disk.hasEnded {
                left -= 1
                clock.microseconds += Int64(random.below(2_000_000))
                switch random.below(20) {
                case 0..<16: try deliver(someOfThem(), deliverer)
                case 16..<18: openSession(mail)
                case 18: if random.flip() { createFolder(mail) } else { toggleLock() }
                default: clock.microseconds += Int64(1 + random.below(20)) * 3_600_000_000
                }
                try checkLocks()
            }
        }
        if random.below(4) == 0 {
            disk.kill()
            // Not the other program, which goes on.
            for path in locked.sorted() { try? disk.remove("\(Self.root)/\(path).lock", in: nil) }
        } else {
            disk.powerCut()
            clock.started = clock.microseconds
        }
        locked = []
        // A lock file whose content was lost, or whose owner died with the machine, is stale after five minutes.
        clock.microseconds += 360_000_000
        counts.cuts += 1
    }

    private func faults() -> [FaultPlan.Fault] {
        guard trouble == .errors, random.flip() else { return trouble.faults(&random) }
        // Syncs fail: all of them, or only those that make a name durable.
        let isAnywhere = random.flip()
        return [
            .init(
                .syncs,
                code: EIO,
                probability: [0.05, 0.2, 0.5][random.below(3)],
                path: { isAnywhere || $0.hasSuffix("/new") || $0.hasSuffix("/boxes") }
            )
        ]
    }

    /// Some of the pending messages and some new ones, in random order.
    private func someOfThem() -> [SimulatedDelivery] {
        var chosen = messages.filter { !$0.isDelivered && random.flip() }
        for _ in 0..<random.below(6) where messages.count < Self.maximumMessages { chosen.append(makeMessage()) }
        chosen.shuffle(using: &random)
        return Array(chosen.prefix(1 + random.below(6)))
    }

    private func makeMessage() -> SimulatedDelivery {
        number += 1
        counts.messages += 1
        let size = random.below(30) == 0 ? random.below(150_000) : random.below(1500)
        var octets = Array("Subject: \(number)\r\n\r\n".utf8)
        while octets.count < size {
            switch random.below(20) {
            case 0: octets += Array("\r\n\r\nFrom \(number)\r\n>From me\r\n".utf8)
            default: octets += Array("\(random.next()) line of \(number)\r\n".utf8)
            }
        }
        let message = SimulatedDelivery(
            to: mailboxes[random.below(mailboxes.count)],
            random.below(3) == 0 ? Self.folder : nil,
            key: "m\(number).r",
            arrived: Int(clock.microseconds / 1_000_000),
            message: octets
        )
        messages.append(message)
        return message
    }

    private func deliver(_ batch: [SimulatedDelivery], _ deliverer: MailDeliverer) throws(SimulationFinding) {
        let results = deliverer.deliver(batch.map(\.delivery))
        guard !disk.hasEnded else {
            // The results were never reported.
            for message in batch { message.mayBeKnown = true }
            return
        }
        for (message, result) in zip(batch, results) {
            switch result {
            case .success:
                message.isDelivered = true
                counts.acknowledged += 1
                guard !locked.contains(message.mailbox.path) else {
                    throw finding("\(message.key) is delivered into an mbox that another program has locked")
                }
            case .failure(.busy) where locked.contains(message.mailbox.path): break
            case .failure(.overQuota):
                if message.mailbox.quota == 0 { throw finding("\(message.key) is refused for a quota that is not set") }
            case .failure(let error):
                if case .uncertain = error { message.mayBeKnown = true }
                if trouble == .none { throw finding("\(message.key) is not delivered without a reason: \(error)") }
            }
        }
    }

    /// A session opens a mailbox, which moves new mail to `cur/` and rolls back interrupted appends.
    private func openSession(_ mail: MailDirectory) {
        let store = try? mail.open(mailboxes[random.below(mailboxes.count)])
        _ = try? store?.open(random.flip() ? .inbox : Self.folder ?? .inbox, readOnly: random.below(4) == 0)
    }

    private func createFolder(_ mail: MailDirectory) {
        guard let folder = Self.folder else { return }
        try? mail.open(mailboxes[random.below(mailboxes.count)]).create(folder)
    }

    /// Another program locks an mbox, or unlocks it.
    private func toggleLock() {
        let mboxes = mailboxes.filter { $0.format == .mbox }
        let path = mboxes[random.below(mboxes.count)].path
        let lockFile = "\(Self.root)/\(path).lock"
        if locked.contains(path) {
            if (try? disk.remove(lockFile, in: nil)) != nil { locked.remove(path) }
        } else if let file = try? disk.open(lockFile, in: nil, [.writing, .creating, .exclusive], mode: 0o600) {
            // Of process 1, which is alive.
            try? disk.write(ByteBuffer(string: "1\n"), to: file)
            disk.close(file)
            locked.insert(path)
        }
    }

    private func checkLocks() throws(SimulationFinding) {
        for path in locked.sorted() {
            do throws(FileError) { _ = try disk.status("\(Self.root)/\(path).lock", in: nil) } catch {
                if error.isMissing { throw finding("\(path): another program's lock was removed") }
            }
        }
    }

    /// Delivers all that is pending, except over quota, and lets leftovers reach the age at which they are removed.
    private func finishAll() throws(SimulationFinding) {
        trouble = .none
        disk.start()
        do throws(MailboxError) {
            let deliverer = try start().deliverer
            try deliver(messages.filter { !$0.isDelivered })
            clock.microseconds += 37 * 3_600_000_000
            var last: [SimulatedDelivery] = []
            for mailbox in mailboxes {
                for folder in [nil, Self.folder] {
                    number += 1
                    let message = SimulatedDelivery(
                        to: mailbox,
                        folder,
                        key: "m\(number).r",
                        arrived: Int(clock.microseconds / 1_000_000),
                        message: []
                    )
                    messages.append(message)
                    last.append(message)
                }
            }
            try deliver(last)

            func deliver(_ batch: [SimulatedDelivery]) throws(MailboxError) {
                for (message, result) in zip(batch, deliverer.deliver(batch.map(\.delivery))) {
                    do throws(MailboxError) { try result.get() } catch {
                        guard error == .overQuota, message.mailbox.quota > 0 else { throw error }
                        continue
                    }
                    message.isDelivered = true
                }
            }
        } catch {
            throw finding("a delivery fails without faults: \(error)")
        }
        disk.powerCut()
        counts.cuts += 1
    }

    // MARK: What must be true after each life

    private func check(isLast: Bool) throws(SimulationFinding) {
        var found: [ObjectIdentifier: Int] = [:]
        do throws(FileError) {
            for mailbox in mailboxes {
                switch mailbox.format {
                case .maildir: try checkMaildir(mailbox, &found, isLast: isLast)
                case .mbox: try checkMbox(mailbox, &found, isLast: isLast)
                }
            }
        } catch {
            throw finding("what is there can't be read: \(error)")
        }
        if let broken { throw finding(broken) }
        for message in messages {
            switch found[ObjectIdentifier(message), default: 0] {
            case 0: if message.isDelivered { throw finding("\(message.key) is lost") }
            case 1:
                if !message.isDelivered, !message.mayBeKnown {
                    throw finding("\(message.key) is there, although its delivery failed with certainty")
                }
            case let count: throw finding("\(message.key) was delivered \(count) times")
            }
        }
        // Delivered messages stay in the mailbox but are no longer checked.
        if messages.count >= Self.maximumMessages { retire() }
    }

    /// The first promise that was broken.
    private var broken: String?
    /// Keys of delivered messages that are no longer checked.
    private var retired: Set<String> = []

    private func retire() {
        for message in messages where message.isDelivered { retired.insert(message.key) }
        messages.removeAll { $0.isDelivered }
    }

    private func fail(_ text: String) { if broken == nil { broken = text } }

    private func names(_ path: String) throws(FileError) -> [String] {
        do throws(FileError) {
            return try disk.names("\(Self.root)/\(path)", in: nil).map { String(decoding: $0, as: UTF8.self) }
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }

    private func contents(_ path: String) throws(FileError) -> [UInt8]? {
        do throws(FileError) {
            let buffer = try disk.contents(of: "\(Self.root)/\(path)", in: nil, maximum: 1 << 26)
            return Array(buffer.readableBytesView)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    private func checkMaildir(
        _ mailbox: MailboxLocation,
        _ found: inout [ObjectIdentifier: Int],
        isLast: Bool
    ) throws(FileError) {
        for place in ["", ".lists/"] {
            for part in ["new", "cur"] {
                for name in try names("\(mailbox.path)/\(place)\(part)") {
                    let path = "\(mailbox.path)/\(place)\(part)/\(name)"
                    let key = name.split(separator: "Q").dropFirst().first?.split(separator: ".").prefix(2)
                        .joined(separator: ".")
                    if let key, retired.contains(key) { continue }
                    guard let message = messages.first(where: { $0.key == key && $0.mailbox == mailbox }) else {
                        fail("\(path) is a message of nobody")
                        continue
                    }
                    found[ObjectIdentifier(message), default: 0] += 1
                    if try contents(path) != message.maildirOctets {
                        fail("\(path) has other octets, acknowledged: \(message.isDelivered)")
                    }
                }
            }
            guard isLast else { continue }
            if let name = try names("\(mailbox.path)/\(place)tmp").first {
                fail("\(mailbox.path)/\(place)tmp/\(name) is never removed")
            }
        }
    }

    private func checkMbox(
        _ mailbox: MailboxLocation,
        _ found: inout [ObjectIdentifier: Int],
        isLast: Bool
    ) throws(FileError) {
        guard var octets = try contents(mailbox.path) else { return }
        // What lies beyond the journal's offset is rolled back before anyone reads it.
        if let journal = try contents("\(mailbox.path).martlet-append"),
            let begin = Int(String(decoding: journal.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self)),
            begin < octets.count
        {
            octets.removeLast(octets.count - begin)
        }
        let field = "X-Delivery-Id: "
        for content in MboxText.messages(in: octets) {
            let line = content.prefix { $0 != UInt8(ascii: "\r") }
            let key = String(decoding: line, as: UTF8.self).dropFirst(field.count)
            if retired.contains(String(key)) { continue }
            guard let message = messages.first(where: { $0.key == key && $0.mailbox == mailbox }) else {
                fail("\(mailbox.path) has a message of nobody")
                continue
            }
            found[ObjectIdentifier(message), default: 0] += 1
            if !content.dropFirst(line.count + 2).elementsEqual(message.mboxOctets) {
                fail("\(message.key) in \(mailbox.path) has other octets")
            }
        }
        if isLast, octets.contains(0) { fail("\(mailbox.path) has octets that nobody wrote") }
    }
}
