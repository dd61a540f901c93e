import IMAP
import MIME
import Mailbox
import Network

extension MailboxSession {
    func rename(_ from: MailboxName, _ to: MailboxName) async throws {
        let from = try folderName(from)
        let to = try folderName(to)
        try await change { store throws(MailboxError) in try store.rename(from, to: to) }
    }

    func subscribe(_ name: MailboxName) async throws {
        let name = try folderName(name)
        try await change { store throws(MailboxError) in try store.subscribe(name) }
    }

    func unsubscribe(_ name: MailboxName) async throws {
        let name = try folderName(name)
        try await change { store throws(MailboxError) in try store.unsubscribe(name) }
    }

    private func change(_ body: @escaping @Sendable (any MailStore) throws(MailboxError) -> Void) async throws {
        let store = store
        try await onDisk { () throws(MailboxError) in try body(store) }
    }

    func folderName(_ name: MailboxName) throws(Refusal) -> FolderName {
        guard let folder = FolderName(String(decoding: name.wire, as: UTF8.self)) else {
            throw Refusal(code: .cannot, text: "invalid mailbox name")
        }
        return folder
    }

    func create(_ name: MailboxName) async throws {
        // A delimiter at the end only says that there will be mailboxes below (RFC 3501 §6.3.3).
        let text = name.text.last == "." ? String(name.text.dropLast()) : name.text
        let folder = try folderName(MailboxName(text))
        try await change { store throws(MailboxError) in try store.create(folder) }
    }

    func delete(_ name: MailboxName) async throws {
        let folder = try folderName(name)
        if selected?.name == name { selected = nil }
        try await change { store throws(MailboxError) in try store.delete(folder) }
    }

    /// SELECT and EXAMINE (RFC 3501 §6.3.1).
    func select(_ name: MailboxName, readOnly: Bool) async throws -> OKResponse {
        selected = nil
        let path = try folderName(name)
        let store = store
        let folder = try await onDisk { () throws(MailboxError) in try store.open(path, readOnly: readOnly) }
        let selected = SelectedFolder(name, folder, isReadOnly: readOnly)
        self.selected = selected
        let messages = selected.known
        selected.announcedKeywords = ["\0"]  // no folder has these, so its own are announced
        announceKeywords(selected)
        respond { $0.number(messages.count, "EXISTS") }
        let recent = messages.filter(\.isRecent).count
        selected.announcedRecent = recent
        respond { $0.number(recent, "RECENT") }
        if let unseen = messages.firstIndex(where: { !$0.flags.contains(.seen) }) {
            respond { $0.status(.ok, code: .unseen(UInt32(clamping: unseen + 1)), "the first unseen message") }
        }
        respond { $0.status(.ok, code: .uidValidity(folder.uidValidity), "UIDs are valid") }
        respond { $0.status(.ok, code: .uidNext(folder.uidNext), "the next UID") }
        return OKResponse(code: readOnly ? .readOnly : .readWrite, text: "selected")
    }

    func status(_ name: MailboxName, _ items: [StatusItem]) async throws {
        let path = try folderName(name)
        let store = store
        let values = try await onDisk { () throws(MailboxError) -> [(StatusItem, Int)] in
            let folder = try store.open(path, readOnly: true)
            var values: [(StatusItem, Int)] = []
            for item in items { values.append((item, try Self.value(item, of: folder))) }
            return values
        }
        respond { $0.status(name, values) }
    }

    private static func value(_ item: StatusItem, of folder: any MailFolder) throws(MailboxError) -> Int {
        switch item {
        case .messages: return folder.messages.count
        case .recent: return folder.messages.filter(\.isRecent).count
        case .uidNext: return Int(folder.uidNext)
        case .uidValidity: return Int(folder.uidValidity)
        case .unseen: return folder.messages.filter { !$0.flags.contains(.seen) }.count
        case .size:
            var size = 0
            for message in folder.messages { size += try folder.octets(of: message.uid) }
            return size
        }
    }

    // MARK: LIST

    func list(_ list: ListCommand) async throws {
        if list.patterns == [[]], !list.isExtended {
            // Only asks for the delimiter.
            respond { $0.list("LIST", attributes: ["\\Noselect"], delimiter: FolderName.delimiter, name: []) }
            return
        }
        let store = store
        let wantsSubscriptions = (list.selection + list.returns).contains("SUBSCRIBED")
        let entries = try await onDisk { () throws(MailboxError) in try store.folders() }
        let subscribed =
            wantsSubscriptions ? try await onDisk { () throws(MailboxError) in try store.subscriptions() } : []
        let patterns = list.patterns.map { ListPattern(list.reference + $0, delimiter: FolderName.delimiter) }
        var shown = entries.filter { entry in patterns.contains { $0.matches(entry.name.description.utf8) } }
        if list.selection.contains("SUBSCRIBED") { shown = shown.filter { subscribed.contains($0.name) } }
        if list.selection.contains("SPECIAL-USE") { shown = shown.filter { SpecialUse.attribute($0.name) != nil } }
        for entry in shown {
            var attributes = entry.isSelectable ? [] : ["\\Noselect"]
            attributes.append(entry.hasChildren ? "\\HasChildren" : "\\HasNoChildren")
            if subscribed.contains(entry.name) { attributes.append("\\Subscribed") }
            if let use = SpecialUse.attribute(entry.name) { attributes.append(use) }
            respond {
                $0.list(
                    "LIST",
                    attributes: attributes,
                    delimiter: FolderName.delimiter,
                    name: Array(entry.name.description.utf8)
                )
            }
            if !list.status.isEmpty, entry.isSelectable,
                let name = MailboxName(wire: Array(entry.name.description.utf8))
            {
                try await status(name, list.status)
            }
        }
    }

    /// LSUB (RFC 3501 §6.3.9). Where only names below match, and the pattern ends in `%`, their parent is shown.
    func lsub(_ reference: [UInt8], _ pattern: [UInt8]) async throws {
        let store = store
        let names = try await onDisk { () throws(MailboxError) in try store.subscriptions() }
        let pattern = ListPattern(reference + pattern, delimiter: FolderName.delimiter)
        var shown: [String: Bool] = [:]
        for name in names {
            if pattern.matches(name.description.utf8) {
                shown[name.description] = true
                continue
            }
            let parts = name.description.split(separator: ".")
            for count in (1..<max(1, parts.count)).reversed() {
                let parent = parts.prefix(count).joined(separator: ".")
                if pattern.matches(parent.utf8) {
                    if shown[parent] == nil { shown[parent] = false }
                    break
                }
            }
        }
        for (name, isSubscribed) in shown.sorted(by: { $0.key < $1.key }) {
            respond {
                $0.list(
                    "LSUB",
                    attributes: isSubscribed ? [] : ["\\Noselect"],
                    delimiter: FolderName.delimiter,
                    name: Array(name.utf8)
                )
            }
        }
    }
}

/// Uses of mailboxes (RFC 6154), by the names that clients give them.
enum SpecialUse {
    private static let names: [String: String] = [
        "sent": "\\Sent", "sent messages": "\\Sent", "sent items": "\\Sent", "drafts": "\\Drafts", "trash": "\\Trash",
        "deleted messages": "\\Trash", "junk": "\\Junk", "spam": "\\Junk", "archive": "\\Archive",
    ]

    static func attribute(_ name: FolderName) -> String? {
        let text = name.description.lowercased()
        return names[text.hasPrefix("inbox.") ? String(text.dropFirst(6)) : text]
    }
}
