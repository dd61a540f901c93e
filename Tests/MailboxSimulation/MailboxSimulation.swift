import Files
import Mailbox
import NIOCore
import SimulatedDisk
import SpoolSimulation

#if canImport(Glibc)
import Glibc
#endif

/// Deliveries into Maildirs and mboxes on a simulated disk: batches and retries as the queue makes them, sessions that add,
/// copy and expunge messages and make, rename and delete folders, other programs that lock mboxes and append to them, disk
/// errors, and a power cut or a kill at a random call. After each, the mailboxes must have everything that was acknowledged
/// and not expunged, in as many places as it was put, and intact; in the last life of each seed all mail must arrive and
/// nothing may be left over. The seed determines the whole run.
package final class MailboxSimulation: @unchecked Sendable {
    // Unchecked: one thread.

    static let folder = FolderName("lists")
    static let root = "mail"
    /// In the lock files of another program: process 1, which is alive.
    private static let otherProgram = "1\n"
    /// Bounds what is checked after each life.
    private static let maximumMessages = 40

    package private(set) var counts = SimulationCounts()
    private let seed: UInt64
    let disk: SimulatedFileSystem
    private let clock: Clock
    var random: SeededGenerator
    let mailboxes: [MailboxLocation]
    private var deliveries: [SimulatedDelivery] = []
    /// All that are looked for, by their keys.
    private(set) var messages: [String: SimulatedMessage] = [:]
    /// What is known of folders, by their paths below the mail directory: whether they are there.
    var folders: [String: Bool] = [:]
    /// The keys of messages by what clients know them by: mailbox, UIDVALIDITY, UID.
    var keys: [String: String] = [:]
    /// What clients knew of folders, by mailbox and UIDVALIDITY.
    var memories: [String: [Memory]] = [:]
    /// Of the mboxes that were there after the last power cut: their inodes.
    private var durable: [String: UInt64] = [:]
    private var life = 0
    private var number = 0

    // Of one life.
    private(set) var trouble = SimulatedTrouble.none
    /// The mboxes that another program has locked.
    private(set) var locked: Set<String> = []

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
            MailboxLocation(path: "trees/frank", format: .maildirTree),
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
        try appendAsAnotherProgram()
        trouble = [.none, .none, .errors, .fullDisk][random.below(4)]
        disk.start(FaultPlan(endAt: 1 + random.below(40 << random.below(5)), faults: faults()))
        if let (mail, deliverer) = try? start() {
            var left = [2, 5, 10, 30][random.below(4)]
            while left > 0, !disk.hasEnded {
                left -= 1
                clock.microseconds += Int64(random.below(2_000_000))
                switch random.below(20) {
                case 0..<10: try deliver(someOfThem(), deliverer)
                case 10..<18: runSession(mail)
                case 18: toggleLock()
                default: clock.microseconds += Int64(1 + random.below(20)) * 3_600_000_000
                }
                try checkLocks()
            }
        }
        if random.below(4) == 0 {
            disk.kill()
            // Not the other program, which goes on, and ends its work, also where it has just begun.
            for mailbox in mailboxes {
                let path = "\(Self.root)/\(mailbox.path).lock"
                let owner = try? disk.contents(of: path, in: nil, maximum: 100)
                if let owner, Self.otherProgram.hasPrefix(String(buffer: owner)) { try? disk.remove(path, in: nil) }
            }
            isSettled = false
            counts.cuts += 1
            clock.microseconds += 360_000_000
        } else {
            cutPower()
        }
        locked = []
    }

    private func faults() -> [FaultPlan.Fault] {
        // A file system without hard links, or with no more of them.
        let withoutLinks = FaultPlan.Fault(.link, code: random.flip() ? EPERM : EMLINK, path: { $0.contains("/cur/") })
        if random.below(6) == 0 { return trouble.faults(&random) + [withoutLinks] }
        guard trouble == .errors, random.flip() else { return trouble.faults(&random) }
        // Syncs fail: all of them, or only those that make a name durable, or UIDs, which then can't be taken back either.
        if random.below(4) == 0 {
            let isList: @Sendable (String) -> Bool = { $0.hasSuffix("/dovecot-uidlist") }
            return [
                .init(.syncs, code: EIO, probability: 0.3, path: isList),
                .init(.truncate, code: EIO, probability: 0.7, path: isList),
            ]
        }
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
        var chosen = deliveries.filter { !$0.isDelivered && random.flip() }
        for _ in 0..<random.below(6) where messages.count < Self.maximumMessages { chosen.append(makeMessage()) }
        chosen.shuffle(using: &random)
        return Array(chosen.prefix(1 + random.below(6)))
    }

    private func makeMessage() -> SimulatedDelivery {
        let message = SimulatedDelivery(
            to: mailboxes[random.below(mailboxes.count)],
            random.below(3) == 0 ? Self.folder : nil,
            key: makeKey("m") + ".r",
            arrived: Int(clock.microseconds / 1_000_000),
            message: makeText()
        )
        deliveries.append(message)
        messages[message.key] = message
        return message
    }

    private func makeKey(_ kind: String) -> String {
        number += 1
        counts.messages += 1
        return "\(kind)\(number)"
    }

    /// A message with CRLF line ends.
    private func makeText() -> [UInt8] {
        let size = random.below(30) == 0 ? random.below(150_000) : random.below(1500)
        var octets = Array("Subject: \(number)\r\n\r\n".utf8)
        while octets.count < size {
            switch random.below(20) {
            case 0: octets += Array("\r\n\r\nFrom \(number)\r\n>From me\r\n".utf8)
            case 1 where random.below(5) == 0: octets += Array("It came From me at 10:30\r\n".utf8)
            default: octets += Array("\(random.next()) line of \(number)\r\n".utf8)
            }
        }
        return octets
    }

    func acknowledged() { counts.acknowledged += 1 }

    /// A message that a session adds to a Maildir. Nothing of it is anywhere yet.
    func makeAppended(to mailbox: MailboxLocation) -> SimulatedMessage {
        let key = makeKey("a")
        let octets = Array(SimulatedMessage.start(key).replacing("\n", with: "\r\n").utf8) + makeText()
        let message = SimulatedMessage(mailbox, key: key, maildirOctets: octets, mboxOctets: [])
        messages[key] = message
        return message
    }

    /// Other programs add messages to mboxes before anybody has looked what the life before has left. Some see to an empty line
    /// in front of theirs, and some leave that to whoever was before them.
    private func appendAsAnotherProgram() throws(SimulationFinding) {
        for mailbox in mailboxes where mailbox.format == .mbox {
            let path = "\(Self.root)/\(mailbox.path)"
            guard messages.count < Self.maximumMessages, let inode = (try? disk.status(path, in: nil))?.inode else {
                continue
            }
            // Most often where a delivery was interrupted.
            let isTorn = (try? disk.status("\(path).martlet-append", in: nil)) != nil
            guard random.below(isTorn ? 4 : 12) < 3 else { continue }
            let start = SimulatedMessage.start(makeKey("o"))
            let octets = Array("\(start)\nof another program\n".replacing("\n", with: "\r\n").utf8)
            let message = SimulatedMessage(mailbox, key: "o\(number)", maildirOctets: [], mboxOctets: octets)
            do throws(FileError) {
                let file = try disk.open(path, in: nil, [.reading, .writing, .appending], mode: 0o600)
                defer { disk.close(file) }
                let size = try disk.status(of: file).size
                let last = try disk.read(2, from: file, at: max(0, size - 2)).readableBytesView
                let isCareless = random.below(3) < 2 || last.isEmpty || last.elementsEqual([10, 10])
                let gap = isCareless ? "" : last.last == 10 ? "\n" : "\n\n"
                let text =
                    "\(gap)From o@example.net Tue Nov 24 16:0\(random.below(10)):00 2026\n\(start)\nof another program\n\n"
                try disk.write(ByteBuffer(string: text), to: file)
                try disk.sync(file)
            } catch {
                throw finding("another program can't append to \(mailbox.path): \(error)")
            }
            // They rely on the name of what they find to be durable.
            message.minimum = durable[mailbox.path] == inode ? 1 : 0
            message.maximum = 1
            messages[message.key] = message
        }
    }

    private func noteDurable() {
        durable = [:]
        for mailbox in mailboxes where mailbox.format == .mbox {
            durable[mailbox.path] = (try? disk.status("\(Self.root)/\(mailbox.path)", in: nil))?.inode
        }
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
                message.acknowledge()
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

    /// Another program locks an mbox, or unlocks it.
    private func toggleLock() {
        let mboxes = mailboxes.filter { $0.format == .mbox }
        let path = mboxes[random.below(mboxes.count)].path
        let lockFile = "\(Self.root)/\(path).lock"
        if locked.contains(path) {
            if (try? disk.remove(lockFile, in: nil)) != nil { locked.remove(path) }
        } else if let file = try? disk.open(lockFile, in: nil, [.writing, .creating, .exclusive], mode: 0o600) {
            defer { disk.close(file) }
            // Without content its age alone counts.
            guard (try? disk.write(ByteBuffer(string: Self.otherProgram), to: file)) != nil else {
                try? disk.remove(lockFile, in: nil)
                return
            }
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
            let (mail, deliverer) = try start()
            try deliver(deliveries.filter { !$0.isDelivered })
            clock.microseconds += 37 * 3_600_000_000
            var last: [SimulatedDelivery] = []
            for mailbox in mailboxes {
                for folder in [nil, Self.folder] {
                    let message = SimulatedDelivery(
                        to: mailbox,
                        folder,
                        key: makeKey("m") + ".r",
                        arrived: Int(clock.microseconds / 1_000_000),
                        message: []
                    )
                    messages[message.key] = message
                    last.append(message)
                }
            }
            try deliver(last)
            for mailbox in mailboxes {
                let store = try mail.open(mailbox)
                for folder in try store.folders() where folder.isSelectable {
                    _ = try store.open(folder.name, readOnly: false)
                }
            }

            func deliver(_ batch: [SimulatedDelivery]) throws(MailboxError) {
                for (message, result) in zip(batch, deliverer.deliver(batch.map(\.delivery))) {
                    do throws(MailboxError) { try result.get() } catch {
                        guard error == .overQuota, message.mailbox.quota > 0 else { throw error }
                        continue
                    }
                    message.acknowledge()
                }
            }
        } catch {
            throw finding("a delivery fails without faults: \(error)")
        }
        try checkLeftovers()
        cutPower()
    }

    private func cutPower() {
        disk.powerCut()
        clock.microseconds += 1_000_000
        clock.started = clock.microseconds
        isSettled = true
        noteDurable()
        counts.cuts += 1
        // A lock file whose content was lost, or whose owner died with the machine, is stale after five minutes.
        clock.microseconds += 360_000_000
    }

    // MARK: What must be true after each life

    /// Whether what is there now is durable: the power was cut.
    private var isSettled = true

    private func check(isLast: Bool) throws(SimulationFinding) {
        var found: [String: Int] = [:]
        var unseen: Set<String> = []
        do throws(FileError) {
            for mailbox in mailboxes {
                switch mailbox.format {
                case .maildir, .maildirTree: try checkMaildir(mailbox, &found)
                case .mbox:
                    if try !checkMbox(mailbox, &found, isLast: isLast) { unseen.insert(mailbox.path) }
                }
            }
        } catch {
            throw finding("what is there can't be read: \(error)")
        }
        if let broken { throw finding(broken) }
        for message in messages.values.sorted(by: { $0.key < $1.key }) where !unseen.contains(message.mailbox.path) {
            let count = found[message.key, default: 0]
            let allowed = message.allowed
            if count < allowed.lowerBound {
                throw finding("\(message.key) is lost: \(count) times there instead of \(allowed.lowerBound)")
            }
            if count > allowed.upperBound {
                throw finding("\(message.key) is there \(count) times, which is more than \(allowed.upperBound)")
            }
            if isSettled { message.settle(count) }
        }
        // What was delivered stays in the mailbox but is no longer checked.
        if messages.count >= Self.maximumMessages { retire() }
    }

    /// The first promise that was broken.
    private var broken: String?
    /// Keys of messages that are no longer checked.
    private var retired: Set<String> = []

    private func retire() {
        deliveries.removeAll { $0.isDelivered }
        let pending = Set(deliveries.map(\.key))
        for key in messages.keys where !pending.contains(key) {
            retired.insert(key)
            messages[key] = nil
        }
    }

    func fail(_ text: String) { if broken == nil { broken = text } }

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

    private func checkMaildir(_ mailbox: MailboxLocation, _ found: inout [String: Int]) throws(FileError) {
        // Also those that got another name with the one that they are below.
        let directories = try folderDirectories(mailbox)
        for directory in directories {
            let parts = try names("\(mailbox.path)/\(directory)")
            for part in ["cur", "new", "tmp"] where !parts.contains(part) {
                fail("\(mailbox.path)/\(directory) has no \(part)")
            }
        }
        for name in folderNames(mailbox) {
            let path = path(name, mailbox)
            let isThere = directories.contains { path == "\(mailbox.path)/\($0)" }
            if let known = folders[path], known != isThere {
                fail("\(path) is \(isThere ? "" : "not ")there, which is not what was acknowledged")
            }
            if isSettled { folders[path] = isThere }
        }
        for place in [""] + directories.map({ "\($0)/" }) {
            for part in ["new", "cur"] {
                for name in try names("\(mailbox.path)/\(place)\(part)") {
                    let path = "\(mailbox.path)/\(place)\(part)/\(name)"
                    let octets = try contents(path) ?? []
                    let key = SimulatedMessage.key(in: octets)
                    if let key, retired.contains(key) { continue }
                    guard let key, let message = messages[key], message.mailbox == mailbox else {
                        fail("\(path) is a message of nobody")
                        continue
                    }
                    found[key, default: 0] += 1
                    if octets != message.maildirOctets { fail("\(path) has other octets than \(key)") }
                }
            }
        }
    }

    /// The directories of all folders but the inbox, below the mailbox.
    private func folderDirectories(_ mailbox: MailboxLocation) throws(FileError) -> [String] {
        guard mailbox.format == .maildirTree else {
            return try names(mailbox.path).filter { $0.hasPrefix(".") }.sorted()
        }
        var found: [String] = []
        var left = [""]
        while let place = left.popLast() {
            for name in try names("\(mailbox.path)/\(place)").sorted() where !["cur", "new", "tmp"].contains(name) {
                let path = "\(Self.root)/\(mailbox.path)/\(place)\(name)"
                guard try disk.status(path, in: nil).kind == .directory else { continue }
                left.append("\(place)\(name)/")
                if try names("\(mailbox.path)/\(place)\(name)").contains("cur") { found.append(place + name) }
            }
        }
        return found
    }

    /// Before the power cut, which may bring back what was removed.
    private func checkLeftovers() throws(SimulationFinding) {
        for mailbox in mailboxes where mailbox.format != .mbox {
            let directories = (try? folderDirectories(mailbox)) ?? []
            for place in [mailbox.path] + directories.map({ "\(mailbox.path)/\($0)" }) {
                let path = "\(place)/tmp"
                if let name = try? names(path).first { throw finding("\(path)/\(name) is never removed") }
            }
        }
    }

    /// Returns whether all that is there was counted: not where a part of a delivery is to be taken back by whoever comes next.
    private func checkMbox(
        _ mailbox: MailboxLocation,
        _ found: inout [String: Int],
        isLast: Bool
    ) throws(FileError) -> Bool {
        guard try contents(mailbox.path) != nil else { return true }
        if try contents("\(mailbox.path).martlet-append") != nil {
            guard isLast || random.flip() else { return false }
            do throws(MailboxError) { _ = try start().mail.open(mailbox).open(.inbox, readOnly: true) } catch {
                fail("\(mailbox.path) can't be opened: \(error)")
            }
        }
        let octets = try contents(mailbox.path) ?? []
        for content in MboxText.messages(in: octets) {
            let key = SimulatedMessage.key(in: content)
            if let key, key == "-" || retired.contains(key) { continue }
            guard let key, let message = messages[key], message.mailbox == mailbox else {
                fail("\(mailbox.path) has a message of nobody")
                continue
            }
            found[key, default: 0] += 1
            let field = message is SimulatedDelivery ? Array("X-Delivery-Id: \(key)\r\n".utf8) : []
            // Empty lines may stand where the first lines of a delivery were that was interrupted.
            let end = content.count - content.reversed().prefix { $0 == 10 || $0 == 13 }.count
            let expected = field + message.mboxOctets
            if !content.starts(with: expected) || end > expected.count {
                fail("\(key) in \(mailbox.path) has other octets")
            }
        }
        return true
    }
}
