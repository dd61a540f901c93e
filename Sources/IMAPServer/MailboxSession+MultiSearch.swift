import IMAP
import MIME
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    /// ESEARCH (RFC 7377): searches several mailboxes, one after the other, and answers for each that has what is looked for.
    func multiSearch(_ filters: [MailboxFilter], _ command: SearchCommand, tag: String) async throws {
        try requireKnownCharset(command)
        let results = command.results ?? [.all]
        if filters != [.selected] {
            // RFC 7377 §2.1: these are about the one that is selected.
            let refersToSelected = command.key.contains { key in
                switch key {
                case .sequence: true
                case .uid(let set): set.isSaved
                default: false
                }
            }
            guard !refersToSelected, !results.contains(.save) else { throw SyntaxError("only of the selected mailbox") }
        }
        var progress = ProgressClock()
        for name in try await mailboxes(filters) {
            let isSelected = name == selected?.name
            guard let folder = isSelected ? selected?.folder : try await folderIfThere(name) else { continue }
            let messages = isSelected ? selected?.known ?? [] : folder.messages
            let saved = isSelected ? selected?.saved ?? [] : []
            let path = try folderName(name)
            let index = SearchRun.isHelped(command.key) ? await index(of: folder, at: path) : nil
            let found = try await find(command.key, in: folder, messages, saved, index, tag, &progress)
            if results.contains(.save), let selected { save(found, results, in: selected) }
            guard !found.isEmpty, results != [.save] else { continue }
            let uids = found.map { messages[$0].uid }
            respond { $0.extendedSearch(tag: tag, results, uids, byUID: true, in: (name, folder.uidValidity)) }
            try await flushBatch()
        }
    }

    /// A mailbox that can't be opened has nothing that is found (RFC 7377 §2.2).
    private func folderIfThere(_ name: MailboxName) async throws -> (any MailFolder)? {
        guard let path = try? folderName(name) else { return nil }
        let store = store
        do throws(MailboxError) {
            return try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                try store.open(path, readOnly: true)
            }
        } catch {
            guard error != .notFound, error != .invalidName else { return nil }
            throw refusal(error)
        }
    }

    /// The mailboxes that filters name, each once.
    private func mailboxes(_ filters: [MailboxFilter]) async throws -> [MailboxName] {
        let store = store
        let entries = try await onDisk { () throws(MailboxError) in try store.folders() }
        let all = entries.filter(\.isSelectable).map { MailboxName($0.name) }
        var names: [MailboxName] = []
        for filter in filters {
            switch filter {
            case .selected: names.append(try selection().name)
            case .inboxes: names.append(.inbox)
            case .personal: names += all
            case .subscribed:
                let subscribed = Set(try await onDisk { () throws(MailboxError) in try store.subscriptions() })
                names += subscribed.map { MailboxName($0) }.sorted { $0.text < $1.text }
            case .mailboxes(let some): names += some
            case .subtree(let roots): names += all.filter { isBelow($0, roots, isDeep: true) }
            case .subtreeOne(let roots): names += all.filter { isBelow($0, roots, isDeep: false) }
            }
        }
        var known: Set<MailboxName> = []
        return names.filter { known.insert($0).inserted }
    }

    /// Whether a mailbox is one of the roots or below one: however deep, or one level.
    private func isBelow(_ name: MailboxName, _ roots: [MailboxName], isDeep: Bool) -> Bool {
        roots.contains { root in
            if name == root { return true }
            let start = Array(root.text.utf8) + [delimiter]
            guard name.text.utf8.starts(with: start) else { return false }
            return isDeep || !name.text.utf8.dropFirst(start.count).contains(delimiter)
        }
    }
}
