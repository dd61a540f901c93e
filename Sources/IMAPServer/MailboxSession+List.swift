import IMAP
import MIME
import Mailbox
import Network

/// A name that LIST may show, and what there is to say about it.
private struct ListedFolder: Sendable {
    var name: FolderName
    /// What is compared with patterns.
    var text: MailboxName
    var exists: Bool
    var hasChildren: Bool
    var isSubscribed: Bool
    /// Whether it's selected itself, not only for those below it.
    var isSelected: Bool
    /// What the names below it are selected for (RFC 5258 §3.5).
    var childInfo: [String] = []
    var uses: [String] = []
}

extension MailboxSession {
    /// LIST, and LIST-EXTENDED (RFC 5258) with LIST-STATUS (RFC 5819).
    func list(_ list: ListCommand) async throws {
        if list.patterns == [[]], !list.isExtended {
            // Only asks for the delimiter.
            respond { $0.list("LIST", attributes: ["\\Noselect"], delimiter: delimiter, name: nil) }
            return
        }
        let patterns = try patterns(list.patterns, reference: list.reference)
        let wantsSubscriptions = list.selection.contains(.subscribed) || list.returns.contains(.subscribed)
        try await meetSharingUsers()
        let store = store
        let entries = try await onDisk { () throws(MailboxError) in try store.folders() }
        let subscribed =
            wantsSubscriptions ? Set(try await onDisk { () throws(MailboxError) in try store.subscriptions() }) : []
        let given =
            settings.capabilities.offers(.specialUse)
            ? try await onDisk { () throws(MailboxError) in
                try store.specialUses(of: entries.filter(\.isSelectable).map(\.name))
            } : [:]
        let candidates = await disk.run {
            Self.candidates(list, entries, subscribed, SpecialUses(given))
        }
        let matches = await inTurns(candidates, patterns) { folder in
            patterns.contains { $0.matches(folder.text.text.utf8) }
        }
        for (folder, _) in zip(candidates, matches).filter(\.1) {
            show(folder, for: list, isSubscribedKnown: wantsSubscriptions)
            if !list.status.isEmpty, folder.exists { try await statusIfThere(folder.text, list.status) }
            if list.returns.contains(.myRights), folder.exists { try await showRights(folder.text, folder.name) }
            // A name that is only shown for those below it has none (RFC 9590 §4).
            if !list.annotations.isEmpty, folder.exists, folder.isSelected {
                try await showMetadata(folder.text, list.annotations)
            }
            try await flushBatch()
        }
    }

    /// The names that are selected, `INBOX` first and the rest by name, whatever the patterns are.
    private static func candidates(
        _ list: ListCommand,
        _ entries: [FolderEntry],
        _ subscribed: Set<FolderName>,
        _ uses: SpecialUses
    ) -> [ListedFolder] {
        var selectable: [FolderName: Bool] = [:]
        for entry in entries { selectable[entry.name] = entry.isSelectable }
        // Subscriptions outlive their mailboxes.
        var names = Set(selectable.keys)
        if list.selection.contains(.subscribed) { names.formUnion(subscribed) }
        var childInfo: [FolderName: [String]] = [:]
        if list.selection.contains(.recursiveMatch) {
            for selection in [ListCommand.Selection.subscribed, .specialUse] where list.selection.contains(selection) {
                let matching = names.filter { isSelected($0, for: [selection], subscribed, uses) }
                for parent in Set(matching.flatMap(\.ancestors)) {
                    names.insert(parent)
                    childInfo[parent, default: []].append(selection.rawValue)
                }
            }
        }
        let parents = Set(selectable.filter(\.value).keys.flatMap(\.ancestors))
        let chosen = names.filter { isSelected($0, for: list.selection, subscribed, uses) || childInfo[$0] != nil }
        let sorted = chosen.sorted { one, other in
            one.isInbox != other.isInbox ? one.isInbox : one.description < other.description
        }
        return sorted.map { name in
            ListedFolder(
                name: name,
                text: MailboxName(name),
                exists: selectable[name] ?? false,
                hasChildren: parents.contains(name),
                isSubscribed: subscribed.contains(name),
                isSelected: isSelected(name, for: list.selection, subscribed, uses),
                childInfo: childInfo[name] ?? [],
                uses: uses.uses(of: name)
            )
        }
    }

    private static func isSelected(
        _ name: FolderName,
        for selection: [ListCommand.Selection],
        _ subscribed: Set<FolderName>,
        _ uses: SpecialUses
    ) -> Bool {
        if selection.contains(.subscribed), !subscribed.contains(name) { return false }
        if selection.contains(.specialUse), uses.uses(of: name).isEmpty { return false }
        return true
    }

    private func show(_ folder: ListedFolder, for list: ListCommand, isSubscribedKnown: Bool) {
        var attributes: [String] = []
        if !folder.exists { attributes.append(list.isExtended || dialect.isRev2 ? "\\NonExistent" : "\\Noselect") }
        attributes.append(folder.hasChildren ? "\\HasChildren" : "\\HasNoChildren")
        if isSubscribedKnown, folder.isSubscribed { attributes.append("\\Subscribed") }
        if settings.capabilities.offers(.specialUse) { attributes += folder.uses }
        respond {
            $0.list(
                "LIST",
                attributes: attributes,
                delimiter: delimiter,
                name: folder.text,
                childInfo: folder.childInfo
            )
        }
    }

    /// A mailbox whose STATUS isn't to be had is listed without it (RFC 5819 §2).
    private func statusIfThere(_ name: MailboxName, _ items: [StatusItem]) async throws {
        do {
            try await status(name, items)
        } catch is Refusal {
            return
        }
    }

    private func patterns(_ texts: [[UInt8]], reference: [UInt8]) throws(SyntaxError) -> [ListPattern] {
        let lengths = texts.map { reference.count + $0.count }
        guard lengths.allSatisfy({ $0 <= ListPattern.maximumLength }),
            lengths.reduce(0, +) <= ListPattern.maximumTotal
        else { throw SyntaxError("pattern too long") }
        return texts.map { text in
            let pattern = reference + text
            // Names are compared in UTF-8, whatever they are on the wire.
            let decoded = dialect.hasUTF8Names ? nil : MailboxName.decode(pattern)
            return ListPattern(decoded.map { Array($0.utf8) } ?? pattern, delimiter: delimiter)
        }
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
        let patterns = try patterns([pattern], reference: reference)
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
                    delimiter: delimiter,
                    name: MailboxName(name)
                )
            }
            try await flushBatch()
        }
    }

    /// A subscribed name, or the one above it that matches.
    private static func match(
        _ name: FolderName,
        _ pattern: ListPattern
    ) -> (name: String, isSubscribed: Bool)? {
        let text = MailboxName(name).text
        if pattern.matches(text.utf8) { return (text, true) }
        let parents = name.ancestors.map { MailboxName($0).text }
        return parents.last { pattern.matches($0.utf8) }.map { ($0, false) }
    }
}
