import IMAP
import MIME
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    /// ESEARCH (RFC 7377): searches several mailboxes, one after the other, and answers for each that has what is looked for.
    func multiSearch(_ filters: [MailboxFilter], _ command: SearchCommand, tag: String) async throws -> OKResponse {
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
        let wantsSequences = command.key.usesModSequences
        if wantsSequences { try await beginModSequences() }
        var progress = ProgressClock()
        var isLimited = false
        for name in try await mailboxes(filters) {
            let isSelected = name == selected?.name
            let opened = isSelected ? selected?.folder : try await folderIfThere(name, tracksChanges: wantsSequences)
            guard let folder = opened else { continue }
            let messages = isSelected ? selected?.known ?? [] : folder.messages
            let saved = isSelected ? selected?.saved ?? [] : []
            let changes = isSelected ? selected?.changes : folder.changes
            let path = try await folderName(name)
            let place = FoundIn(folder: folder, messages: messages, saved: saved, changes: changes)
            let found = try await find(command.key, in: place, tag, &progress) {
                await self.index(of: folder, at: path)
            }
            if found.limit != nil { isLimited = true }
            if results.contains(.save), let selected { save(found.places, results, in: selected) }
            guard !found.places.isEmpty, results != [.save] else { continue }
            let uids = found.places.map { messages[$0].uid }
            let sequence = wantsSequences ? changes.flatMap { Self.highest($0, uids, results) } : nil
            let mailbox = (name, folder.uidValidity)
            try await answerExtended(
                tag,
                results,
                uids,
                byUID: true,
                in: mailbox,
                sequence: sequence,
                scores: found.scores
            )
            try await flushBatch()
        }
        // UIDs of several mailboxes have no lowest one.
        let limit = settings.capabilities.messagesPerCommand
        return OKResponse(limit: isLimited ? .messageLimit(limit, lowest: nil) : nil)
    }

    /// A mailbox that can't be opened has nothing that is found (RFC 7377 §2.2).
    private func folderIfThere(_ name: MailboxName, tracksChanges: Bool) async throws -> (any MailFolder)? {
        guard let path = try? await folderName(name) else { return nil }
        let (store, tracks) = (store, tracksChanges && settings.keepsIndex)
        do throws(MailboxError) {
            return try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                try store.open(path, readOnly: true, tracksChanges: tracks)
            }
        } catch {
            guard error != .notFound, error != .invalidName, error != .noPermission else { return nil }
            throw refusal(error)
        }
    }

    /// The mailboxes that filters name, each once: what they list themselves comes first.
    private func mailboxes(_ filters: [MailboxFilter]) async throws -> [MailboxName] {
        var listed: [MailboxName] = []
        var subtrees = Subtrees(delimiter: delimiter)
        var isPersonal = false
        var isSubscribed = false
        for filter in filters {
            switch filter {
            case .selected: listed.append(try selection().name)
            case .inboxes: listed.append(.inbox)
            case .personal: isPersonal = true
            case .subscribed: isSubscribed = true
            case .mailboxes(let some): listed += some
            case .subtree(let roots): subtrees.add(roots, isDeep: true)
            case .subtreeOne(let roots): subtrees.add(roots, isDeep: false)
            }
        }
        let store = store
        // There may be thousands of folders: the event loop has other work.
        return try await onDisk { [listed, subtrees, isPersonal, isSubscribed] () throws(MailboxError) in
            var names = listed
            if isSubscribed {
                names += Set(try store.subscriptions()).map { MailboxName($0) }.sorted { $0.text < $1.text }
            }
            if isPersonal || !subtrees.isEmpty {
                for entry in try store.folders() where entry.isSelectable {
                    let name = MailboxName(entry.name)
                    if isPersonal && store.isPersonal(entry.name) || subtrees.contains(name) { names.append(name) }
                }
            }
            var known: Set<MailboxName> = []
            return names.filter { known.insert($0).inserted }
        }
    }
}
