import IMAP
import MIME
import Mailbox
import Network

extension MailboxSession {
    func rename(_ oldName: MailboxName, _ newName: MailboxName) async throws {
        let from = try await folderName(oldName)
        let to = try await folderName(newName)
        try await change { store throws(MailboxError) in try store.rename(from, to: to) }
        if !from.isInbox { await followRename(from, newName) }
    }

    /// The selected mailbox goes on under its new name, where this session itself has given it one.
    private func followRename(_ from: FolderName, _ newName: MailboxName) async {
        guard let selected, selected.path == from || selected.path.isBelow(from) else { return }
        let name = MailboxName(newName.text + selected.name.text.dropFirst(MailboxName(from).text.count))
        let (store, isReadOnly) = (store, selected.isReadOnly)
        do throws(Refusal) {
            let target = try await folderName(name)
            let tracks = tellsModSequences
            let folder = try await onDisk { () throws(MailboxError) in
                try store.open(target, readOnly: isReadOnly, tracksChanges: tracks)
            }
            guard folder.uidValidity == selected.folder.uidValidity else { return leaveSelected() }
            selected.folder = folder
            selected.name = name
            selected.path = target
            selected.index = nil
        } catch {
            leaveSelected()
        }
    }

    func subscribe(_ name: MailboxName) async throws {
        let name = try await folderName(name)
        try await change { store throws(MailboxError) in try store.subscribe(name) }
    }

    func unsubscribe(_ name: MailboxName) async throws {
        let name = try await folderName(name)
        try await change { store throws(MailboxError) in try store.unsubscribe(name) }
    }

    private func change(_ body: @escaping @Sendable (any MailStore) throws(MailboxError) -> Void) async throws {
        let store = store
        try await onDisk { () throws(MailboxError) in try body(store) }
    }

    /// The folder of a name. Where it's another user's, it's found out where that user's mail is.
    func folderName(_ name: MailboxName) async throws(Refusal) -> FolderName {
        let folder = try localName(name)
        if let united, let owner = united.owner(of: folder) { try await meet(owner, in: united) }
        return folder
    }

    private func localName(_ name: MailboxName) throws(Refusal) -> FolderName {
        guard name.isWellFormed,
            let folder = FolderName(String(decoding: name.wire, as: UTF8.self), delimiter: delimiter)
        else {
            throw Refusal(code: .cannot, text: "invalid mailbox name")
        }
        return folder
    }

    /// CREATE, with special uses (RFC 6154 §3).
    func create(_ name: MailboxName, uses: [Flag]) async throws -> OKResponse {
        // A delimiter at the end only says that there will be mailboxes below (RFC 3501 §6.3.3).
        let hasDelimiter = name.isWellFormed && name.text.utf8.last == delimiter
        let folder = try await folderName(hasDelimiter ? MailboxName(String(name.text.dropLast())) : name)
        let known = SpecialUses.all.filter { use in uses.contains(Flag(use)) }
        guard known.count == Set(uses).count else {
            throw Refusal(code: .useAttribute, text: "a mailbox can't have such a use here")
        }
        guard known.isEmpty || store.isPersonal(folder) else {
            throw Refusal(code: .useAttribute, text: "only mailboxes of one's own have uses")
        }
        try await change { store throws(MailboxError) in
            try store.create(folder)
            guard !known.isEmpty else { return }
            do throws(MailboxError) {
                try store.setSpecialUses(known, of: folder)
            } catch {
                try? store.delete(folder)
                throw error
            }
        }
        guard settings.capabilities.offers(.objectID) else { return OKResponse() }
        let store = store
        // It's there, whatever becomes of this.
        let made = try? await onDisk { () throws(MailboxError) in try store.open(folder, readOnly: true) }
        return OKResponse(code: made.map { .mailboxID(ObjectID.mailbox($0)) })
    }

    func delete(_ name: MailboxName) async throws {
        let folder = try await folderName(name)
        try await change { store throws(MailboxError) in try store.delete(folder) }
        if selected?.path == folder { leaveSelected() }
    }

    /// SELECT and EXAMINE (RFC 3501 §6.3.1).
    func select(_ name: MailboxName, _ modifiers: SelectModifiers, readOnly: Bool) async throws -> OKResponse {
        if modifiers.known != nil {
            guard dialect.usesQResync else { throw SyntaxError("ENABLE QRESYNC first") }
            if dialect.usesUIDsOnly, modifiers.known?.match != nil {
                throw Refusal(code: .uidRequired, text: "UIDs only, as you have asked")
            }
        }
        leaveSelected()
        let path = try await folderName(name)
        if modifiers.condStore { dialect.tellsModSequences = true }
        let (store, tracks) = (store, settings.keepsIndex)
        let folder = try await onDisk { () throws(MailboxError) in
            try store.open(path, readOnly: readOnly, tracksChanges: tracks)
        }
        let highest = folder.changes?.highest
        if !dialect.tellsModSequences { folder.tracksChanges = false }
        // RFC 4314 §5.2
        let isReadOnly = readOnly || folder.rights.isDisjoint(with: .changes)
        let selected = SelectedFolder(name, path, folder, isReadOnly: isReadOnly)
        self.selected = selected
        indexTexts(of: selected)
        let messages = selected.known
        selected.announcedKeywords = ["\0"]  // no folder has these, so its own are announced
        announceKeywords(selected)
        respond { $0.number(messages.count, "EXISTS") }
        let recent = messages.filter(\.isRecent).count
        selected.announcedRecent = recent
        if dialect.isRev2 {
            // RFC 9051 §6.3.2
            respond { $0.list("LIST", attributes: [], delimiter: delimiter, name: name) }
        } else {
            respond { $0.number(recent, "RECENT") }
        }
        if !dialect.isRev2, !dialect.usesUIDsOnly,
            let unseen = messages.firstIndex(where: { !$0.flags.contains(.seen) })
        {
            respond { $0.status(.ok, code: .unseen(UInt32(clamping: unseen + 1)), "the first unseen message") }
        }
        respond { $0.status(.ok, code: .uidValidity(folder.uidValidity), "UIDs are valid") }
        respond { $0.status(.ok, code: .uidNext(folder.uidNext), "the next UID") }
        if settings.capabilities.offers(.condStore) {
            if let highest {
                respond { $0.status(.ok, code: .highestModSequence(highest), "the latest change") }
            } else {
                respond { $0.status(.ok, code: .noModSequence, "no modification sequences are kept") }
            }
        }
        if settings.capabilities.offers(.objectID) {
            respond { $0.status(.ok, code: .mailboxID(ObjectID.mailbox(folder)), "the mailbox itself") }
        }
        if let known = modifiers.known { try await resynchronize(selected, known) }
        return OKResponse(code: isReadOnly ? .readOnly : .readWrite, text: "selected")
    }

    /// What was selected isn't any more; the client hears from where on responses are about another mailbox (RFC 9051 §7.1,
    /// CLOSED).
    func leaveSelected() {
        guard selected != nil else { return }
        selected = nil
        respond { $0.status(.ok, code: .closed, "the former mailbox is closed") }
    }

    func status(_ name: MailboxName, _ items: [StatusItem]) async throws {
        let path = try await folderName(name)
        let wantsSequence = items.contains(.highestModSequence)
        if wantsSequence { try await beginModSequences() }
        let (store, tracks) = (store, settings.keepsIndex && wantsSequence)
        let folder = try await onDisk { () throws(MailboxError) in
            try store.open(path, readOnly: true, tracksChanges: tracks)
        }
        var values: [(StatusItem, String)] = []
        for item in items {
            let value =
                item == .mailboxID ? "(\(ObjectID.mailbox(folder)))" : String(try await value(item, of: folder))
            values.append((item, value))
        }
        respond { [values] in $0.status(name, values) }
    }

    private func value(_ item: StatusItem, of folder: any MailFolder) async throws(Refusal) -> Int {
        switch item {
        case .messages: return folder.messages.count
        case .recent: return folder.messages.count(where: \.isRecent)
        case .uidNext: return Int(folder.uidNext)
        case .uidValidity: return Int(folder.uidValidity)
        case .unseen: return folder.messages.count { !$0.flags.contains(.seen) }
        case .deleted: return folder.messages.count { $0.flags.contains(.deleted) }
        case .appendLimit: return settings.commands.message
        // It's no number: written by itself.
        case .mailboxID: return 0
        // 0 where none are kept (RFC 7162 §3.1.7).
        case .highestModSequence: return Int(clamping: folder.changes?.highest ?? 0)
        case .size: return try await octets(of: folder.messages, in: folder)
        case .deletedStorage:
            let deleted = folder.messages.filter { $0.flags.contains(.deleted) }
            return try await octets(of: deleted, in: folder) / 1024
        }
    }

    private func octets(of messages: [StoredMessage], in folder: any MailFolder) async throws(Refusal) -> Int {
        var size = 0
        // Some must be read to be counted.
        for start in stride(from: 0, to: messages.count, by: 100) {
            let some = messages[start..<min(start + 100, messages.count)]
            size += try await onDisk { () throws(MailboxError) in
                var size = 0
                for message in some {
                    if let known = message.octets {
                        size += known
                    } else {
                        size += try folder.octets(of: message.uid)
                    }
                }
                return size
            }
        }
        return size
    }
}

extension MailboxName {
    /// The name of a folder of the store, which has names as IMAP4rev1 writes them.
    init(_ folder: FolderName) { self.init(wire: Array(folder.description.utf8)) }
}
