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
        guard let folder = FolderName(String(decoding: name.wire, as: UTF8.self), delimiter: store.delimiter) else {
            throw Refusal(code: .cannot, text: "invalid mailbox name")
        }
        return folder
    }

    func create(_ name: MailboxName) async throws {
        // A delimiter at the end only says that there will be mailboxes below (RFC 3501 §6.3.3).
        let text = name.text.utf8.last == store.delimiter ? String(name.text.dropLast()) : name.text
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
        let folder = try await onDisk { () throws(MailboxError) in try store.open(path, readOnly: true) }
        var values: [(StatusItem, Int)] = []
        for item in items { values.append((item, try await value(item, of: folder))) }
        respond { [values] in $0.status(name, values) }
    }

    private func value(_ item: StatusItem, of folder: any MailFolder) async throws(Refusal) -> Int {
        switch item {
        case .messages: return folder.messages.count
        case .recent: return folder.messages.count(where: \.isRecent)
        case .uidNext: return Int(folder.uidNext)
        case .uidValidity: return Int(folder.uidValidity)
        case .unseen: return folder.messages.count { !$0.flags.contains(.seen) }
        case .size:
            let messages = folder.messages
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

    // MARK: LIST

    func list(_ list: ListCommand) async throws {
        if list.patterns == [[]], !list.isExtended {
            // Only asks for the delimiter.
            respond { $0.list("LIST", attributes: ["\\Noselect"], delimiter: self.store.delimiter, name: []) }
            return
        }
        let patterns = try self.patterns(list.patterns, reference: list.reference)
        let store = store
        let wantsSubscriptions = (list.selection + list.returns).contains("SUBSCRIBED")
        let entries = try await onDisk { () throws(MailboxError) in try store.folders() }
        let subscribed =
            wantsSubscriptions ? try await onDisk { () throws(MailboxError) in try store.subscriptions() } : []
        let matches = await inTurns(entries, patterns) { entry in
            patterns.contains { $0.matches(entry.name.description.utf8) }
        }
        var shown = zip(entries, matches).filter(\.1).map(\.0)
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
                    delimiter: store.delimiter,
                    name: Array(entry.name.description.utf8)
                )
            }
            if !list.status.isEmpty, entry.isSelectable,
                let name = MailboxName(wire: Array(entry.name.description.utf8))
            {
                try await status(name, list.status)
            }
            try await flushBatch()
        }
    }

    private func patterns(_ texts: [[UInt8]], reference: [UInt8]) throws(SyntaxError) -> [ListPattern] {
        let lengths = texts.map { reference.count + $0.count }
        guard lengths.allSatisfy({ $0 <= ListPattern.maximumLength }),
            lengths.reduce(0, +) <= ListPattern.maximumTotal
        else { throw SyntaxError("pattern too long") }
        return texts.map { ListPattern(reference + $0, delimiter: store.delimiter) }
    }

    /// What a body makes of each element; a few milliseconds of work are a turn.
    private func inTurns<Element: Sendable, Value: Sendable>(
        _ elements: [Element],
        _ patterns: [ListPattern],
        _ body: @escaping @Sendable (Element) -> Value
    ) async -> [Value] {
        // A name has some 250 octets at most, each of which is compared with all places in the patterns.
        let count = max(1, 4096 / max(1, patterns.reduce(0) { $0 + $1.length }))
        var values: [Value] = []
        while values.count < elements.count {
            let next = elements[values.count..<min(values.count + count, elements.count)]
            values += await disk.run { next.map(body) }
        }
        return values
    }

    /// LSUB (RFC 3501 §6.3.9). Where only names below match, and the pattern ends in `%`, their parent is shown.
    func lsub(_ reference: [UInt8], _ pattern: [UInt8]) async throws {
        let patterns = try self.patterns([pattern], reference: reference)
        let store = store
        let names = try await onDisk { () throws(MailboxError) in try store.subscriptions() }
        let matches = await inTurns(names, patterns) { Self.match($0, patterns[0]) }
        var shown: [String: Bool] = [:]
        for (name, isSubscribed) in matches.compactMap(\.self) where shown[name] != true { shown[name] = isSubscribed }
        for (name, isSubscribed) in shown.sorted(by: { $0.key < $1.key }) {
            respond {
                $0.list(
                    "LSUB",
                    attributes: isSubscribed ? [] : ["\\Noselect"],
                    delimiter: store.delimiter,
                    name: Array(name.utf8)
                )
            }
            try await flushBatch()
        }
    }

    /// A subscribed name, or the one above it that matches.
    private static func match(_ name: FolderName, _ pattern: ListPattern) -> (name: String, isSubscribed: Bool)? {
        if pattern.matches(name.description.utf8) { return (name.description, true) }
        for ancestor in name.ancestors.reversed() {
            let parent = ancestor.description
            if pattern.matches(parent.utf8) { return (parent, false) }
        }
        return nil
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
        // Directly below INBOX they are where some clients keep all of theirs.
        return names[name.parts.count == 2 && text.hasPrefix("inbox") ? String(text.dropFirst(6)) : text]
    }
}
