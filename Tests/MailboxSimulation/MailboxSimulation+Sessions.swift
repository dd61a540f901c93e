import Mailbox
import NIOCore
import SimulatedDisk
import SpoolSimulation

/// What users do in sessions, and what must be true of it.
extension MailboxSimulation {
    /// The names that folders get. The first one is where some of the deliveries go.
    private static let folderNames = [["lists"], ["work"], ["work", "old"], ["old"]]

    func folderNames(_ mailbox: MailboxLocation) -> [FolderName] {
        let delimiter = mailbox.delimiter
        return Self.folderNames.compactMap { parts in
            FolderName(parts.joined(separator: String(UnicodeScalar(delimiter))), delimiter: delimiter)
        }
    }

    /// A message as a session sees it.
    private struct Seen {
        let uid: UInt32
        /// Nil where it isn't one of those that are checked.
        let message: SimulatedMessage?
    }

    /// A user opens a mailbox and does some things. What fails is not tried again.
    func runSession(_ mail: MailDirectory) {
        let mailbox = mailboxes[random.below(mailboxes.count)]
        var left = 1 + random.below(4)
        do throws(MailboxError) {
            let store = try mail.open(mailbox)
            while left > 0, !disk.hasEnded {
                left -= 1
                switch mailbox.format {
                case .maildir, .maildirTree: try changeMaildir(store, mailbox)
                case .mbox: try changeMbox(store, mailbox)
                }
            }
        } catch {
            let isReason = error == .overQuota && mailbox.quota > 0 || error == .busy && locked.contains(mailbox.path)
            if !isReason, trouble == .none, !disk.hasEnded {
                fail("a session in \(mailbox.path) fails without a reason: \(error)")
            }
        }
    }

    private func changeMaildir(_ store: any MailStore, _ mailbox: MailboxLocation) throws(MailboxError) {
        let names = try store.folders().filter(\.isSelectable).map(\.name)
        let name = names[random.below(names.count)]
        switch random.below(16) {
        case 0..<2: try changeFlags(try open(store, name, mailbox))
        case 2..<6: try append(to: try store.open(name, readOnly: false), mailbox)
        case 6..<9:
            let target = try store.open(names[random.below(names.count)], readOnly: random.flip())
            try copy(try open(store, name, mailbox), to: target)
        case 9..<11: try expunge(try open(store, name, mailbox))
        case 11..<13: try create(store, mailbox, names)
        case 13: if !name.isInbox { try delete(store, name, mailbox) }
        default: try rename(store, name, mailbox, names)
        }
    }

    private func changeMbox(_ store: any MailStore, _ mailbox: MailboxLocation) throws(MailboxError) {
        let opened = try open(store, .inbox, mailbox)
        if random.flip() { try changeFlags(opened) } else { try expunge(opened) }
    }

    // MARK: Messages

    /// Opens a folder, which moves new mail to `cur/` and takes back interrupted appends, and sees which messages are there.
    private func open(
        _ store: any MailStore,
        _ name: FolderName,
        _ mailbox: MailboxLocation
    ) throws(MailboxError) -> (folder: any MailFolder, seen: [Seen]) {
        let folder = try store.open(name, readOnly: false, tracksChanges: random.flip())
        checkChanges(folder, "\(mailbox.path) \(folder.uidValidity)")
        var seen: [Seen] = []
        var seenAs: [String: [UInt32]] = [:]
        for message in folder.messages {
            let reader = try folder.open(message.uid)
            let octets = try reader.read(at: 0, count: 300)
            guard let key = SimulatedMessage.key(in: octets.readableBytesView) else {
                fail("\(mailbox.path): what \(name) has as \(message.uid) is a message of nobody")
                continue
            }
            seenAs[key, default: []].append(message.uid)
            seen.append(Seen(uid: message.uid, message: messages[key]))
        }
        checkUIDs("\(mailbox.path) \(folder.uidValidity)", seenAs)
        return (folder, seen)
    }

    /// What a client knows of a folder.
    struct Memory: Equatable {
        var highest: UInt64
        var flags: [UInt32: MessageFlags]
    }

    /// How many are kept of a folder.
    private static let maximumMemories = 20

    /// Clients that come back with what they knew once, and hear of the changes since, know all that there is.
    private func checkChanges(_ folder: any MailFolder, _ key: String) {
        guard let changes = folder.changes else { return }
        let flags = Dictionary(uniqueKeysWithValues: folder.messages.map { ($0.uid, $0.flags) })
        let now = Memory(highest: changes.highest, flags: flags)
        for memory in memories[key, default: []] {
            if memory.highest > now.highest { fail("\(key): sequence \(memory.highest), and then \(now.highest)") }
            var heard = memory
            for range in changes.gone(since: memory.highest, among: [1...UInt32.max], below: folder.uidNext) {
                for uid in range { heard.flags[uid] = nil }
            }
            for uid in changes.changed(since: memory.highest) { heard.flags[uid] = flags[uid] }
            heard.highest = now.highest
            if heard != now { fail("\(key): who knew it at \(memory.highest) isn't told of all by \(now.highest)") }
        }
        memories[key, default: []].append(now)
        if let count = memories[key]?.count, count > Self.maximumMemories {
            memories[key]?.remove(at: random.below(count))
        }
    }

    /// A UID means the same message for ever, and a message keeps its UID.
    private func checkUIDs(_ validity: String, _ seen: [String: [UInt32]]) {
        for (key, numbers) in seen.sorted(by: { $0.key < $1.key }) {
            for number in numbers {
                if let known = keys.updateValue(key, forKey: "\(validity) \(number)"), known != key {
                    fail("\(validity): \(number) was \(known) and is \(key)")
                }
            }
            // Where it was copied or may be delivered again, it isn't known which one this is.
            guard numbers.count == 1, let number = numbers.first, let message = messages[key] else { continue }
            if let known = message.uids.updateValue(number, forKey: validity), known != number {
                fail("\(validity): \(key) was \(known) and is \(number)")
            }
        }
    }

    /// Up to three messages whose deliveries are over: what the queue tries again would be looked for where it was.
    private func some(_ seen: [Seen]) -> [Seen] {
        let settled = seen.filter { ($0.message as? SimulatedDelivery)?.isDelivered ?? true }
        return Array(settled.shuffled(using: &random).prefix(1 + random.below(3)))
    }

    private func changeFlags(_ opened: (folder: any MailFolder, seen: [Seen])) throws(MailboxError) {
        let flags: MessageFlags = [[.seen], [.flagged, .answered], [.deleted]][random.below(3)]
        let mode: FlagChange.Mode = [.add, .remove, .replace][random.below(3)]
        _ = try opened.folder.store(FlagChange(mode, flags), to: some(opened.seen).map(\.uid))
    }

    private func append(to folder: any MailFolder, _ mailbox: MailboxLocation) throws(MailboxError) {
        let message = makeAppended(to: mailbox)
        let append = try folder.append()
        var rest = ByteBuffer(bytes: message.maildirOctets)
        while let piece = rest.readSlice(length: min(50_000, rest.readableBytes)), piece.readableBytes > 0 {
            try append.write(piece)
        }
        message.maximum = 1
        _ = try append.finish(flags: random.flip() ? [] : .seen, keywords: [], internalDate: nil)
        guard !disk.hasEnded else { return }
        message.minimum = 1
        acknowledged()
    }

    private func copy(
        _ opened: (folder: any MailFolder, seen: [Seen]),
        to target: any MailFolder
    ) throws(MailboxError) {
        let chosen = some(opened.seen)
        for seen in chosen {
            seen.message?.maximum += 1
            seen.message?.uids = [:]
        }
        let copies = try opened.folder.copy(chosen.map(\.uid), to: target)
        guard !disk.hasEnded else { return }
        if copies.map(\.source) != chosen.map(\.uid) { fail("not all that was copied has a UID") }
        for seen in chosen { seen.message?.minimum += 1 }
        acknowledged()
    }

    private func expunge(_ opened: (folder: any MailFolder, seen: [Seen])) throws(MailboxError) {
        let chosen = some(opened.seen)
        willRemove(chosen)
        _ = try opened.folder.expunge(chosen.map(\.uid))
        if !disk.hasEnded { removed(chosen) }
    }

    private func willRemove(_ seen: [Seen]) {
        for message in seen.compactMap(\.message) { message.minimum = max(0, message.minimum - 1) }
    }

    private func removed(_ seen: [Seen]) {
        for message in seen.compactMap(\.message) where (message as? SimulatedDelivery)?.isDelivered ?? true {
            message.maximum -= 1
        }
        acknowledged()
    }

    // MARK: Folders

    /// Where a folder lies below the mail directory.
    func path(_ name: FolderName, _ mailbox: MailboxLocation) -> String {
        "\(mailbox.path)/\(mailbox.format == .maildirTree ? "" : ".")\(name)"
    }

    /// What is done to folders may hide from the queue that an attempt has succeeded: it delivers once more.
    private func willChangeFolders(_ mailbox: MailboxLocation) {
        for case let delivery as SimulatedDelivery in messages.values
        where delivery.mailbox == mailbox && !delivery.isDelivered {
            delivery.maximum += 1
            delivery.uids = [:]
        }
    }

    private func unusedName(_ names: [FolderName], _ mailbox: MailboxLocation) -> FolderName? {
        let unused = folderNames(mailbox).filter { !names.contains($0) }
        return unused.isEmpty ? nil : unused[random.below(unused.count)]
    }

    private func create(
        _ store: any MailStore,
        _ mailbox: MailboxLocation,
        _ names: [FolderName]
    ) throws(MailboxError) {
        guard let name = unusedName(names, mailbox) else { return }
        folders[path(name, mailbox)] = nil
        try store.create(name)
        if !disk.hasEnded { folders[path(name, mailbox)] = true }
    }

    private func delete(_ store: any MailStore, _ name: FolderName, _ mailbox: MailboxLocation) throws(MailboxError) {
        let seen = try open(store, name, mailbox).seen
        willRemove(seen)
        willChangeFolders(mailbox)
        folders[path(name, mailbox)] = nil
        try store.delete(name)
        guard !disk.hasEnded else { return }
        folders[path(name, mailbox)] = false
        removed(seen)
    }

    private func rename(
        _ store: any MailStore,
        _ name: FolderName,
        _ mailbox: MailboxLocation,
        _ names: [FolderName]
    ) throws(MailboxError) {
        guard let new = unusedName(names, mailbox), !new.isBelow(name) else { return }
        willChangeFolders(mailbox)
        guard !name.isInbox else { return try moveInbox(store, to: new, mailbox) }
        let moved = names.filter { $0 == name || $0.isBelow(name) }.compactMap { old in
            FolderName(
                new.description + old.description.dropFirst(name.description.count),
                delimiter: mailbox.delimiter
            ).map { (old, $0) }
        }
        // A directory that only has other folders in it is in the way of a tree.
        let hasDirectory = mailbox.format == .maildirTree && names.contains { $0.isBelow(new) }
        if hasDirectory || moved.contains(where: { names.contains($0.1) }) {
            // One of them has no room: nothing happens.
            do throws(MailboxError) { try store.rename(name, to: new) } catch {
                if error == .exists { return }
                throw error
            }
            return fail("\(mailbox.path): \(name) was renamed to \(new), in the place of other folders")
        }
        for folder in moved.flatMap({ [$0, $1] }) { folders[path(folder, mailbox)] = nil }
        try store.rename(name, to: new)
        guard !disk.hasEnded else { return }
        for (old, _) in moved { folders[path(old, mailbox)] = false }
        for (_, new) in moved { folders[path(new, mailbox)] = true }
    }

    /// Renaming INBOX moves its messages, which may be in both places for a moment.
    private func moveInbox(
        _ store: any MailStore,
        to new: FolderName,
        _ mailbox: MailboxLocation
    ) throws(MailboxError) {
        let seen = try open(store, .inbox, mailbox).seen
        for message in seen.compactMap(\.message) {
            message.maximum += 1
            message.uids = [:]
        }
        folders[path(new, mailbox)] = nil
        try store.rename(.inbox, to: new)
        guard !disk.hasEnded else { return }
        folders[path(new, mailbox)] = true
        removed(seen)
    }
}
