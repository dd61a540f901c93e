import IMAP
import MIME
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    func requireWritable(_ selected: SelectedFolder) throws(Refusal) {
        if selected.isReadOnly { throw Refusal(code: .readOnly, text: "the mailbox was opened with EXAMINE") }
    }

    /// For what puts messages elsewhere before it removes them: it must not end half-way (RFC 6851 §3.3, RFC 4314 §4).
    func requireRemovable(_ selected: SelectedFolder) throws(Refusal) {
        try requireWritable(selected)
        guard selected.folder.rights.isSuperset(of: [.deleteMessages, .expunge]) else { throw refusal(.noPermission) }
    }

    /// EXPUNGE, and UID EXPUNGE of a set (RFC 4315 §2.1).
    func expunge(_ selected: SelectedFolder, _ set: SequenceSet?) async throws -> OKResponse {
        try requireWritable(selected)
        let folder = selected.folder
        // Also where there is nothing to remove (RFC 4314 §4).
        guard folder.rights.contains(.expunge) else { throw refusal(.noPermission) }
        _ = try await onDisk { () throws(MailboxError) in try folder.refresh() }
        let wanted = try set.map { set throws(SyntaxError) in
            Set(try selected.places(set, byUID: true).map { selected.known[$0].uid })
        }
        var uids = folder.messages.filter { message in
            message.flags.contains(.deleted) && wanted?.contains(message.uid) ?? true
        }.map(\.uid)
        guard !uids.isEmpty else { return OKResponse() }
        let limit = settings.capabilities.messagesPerCommand
        var code: ResponseCode?
        // EXPUNGE itself has no limit (RFC 9738 §3.1).
        if set != nil, limit > 0, uids.count > limit {
            uids = Array(uids.suffix(limit))
            code = .messageLimit(limit, lowest: uids.first)
        }
        try await remove(uids, from: selected)
        try await report(selected, expunges: true)
        return removed(selected, text: "done", limit: code)
    }

    /// RFC 7162 §3.2.7: a client that hears of it by UID hears the sequence too.
    private func removed(_ selected: SelectedFolder, text: String, limit: ResponseCode?) -> OKResponse {
        OKResponse(code: dialect.usesQResync ? highestModSequence(of: selected) : nil, limit: limit, text: text)
    }

    /// STORE (RFC 3501 §6.4.6).
    func storeFlags(
        _ selected: SelectedFolder,
        _ set: SequenceSet,
        _ change: StoreChange,
        byUID: Bool
    ) async throws -> OKResponse {
        try requireWritable(selected)
        if change.unchangedSince != nil { _ = try await modSequences(of: selected) }
        let (places, limit) = limited(try selected.places(set, byUID: byUID), of: selected)
        guard !places.isEmpty else { return OKResponse() }
        let (flags, keywords) = SystemFlags.split(change.flags)
        let mode: FlagChange.Mode =
            switch change.operation {
            case .replace: .replace
            case .add: .add
            case .remove: .remove
            }
        let uids = places.map { selected.known[$0].uid }
        let request = FlagChange(mode, flags, keywords: keywords)
        let stored = try await setFlags(selected, request, to: uids, unchangedSince: change.unchangedSince)
        announceKeywords(selected)
        let named = KeywordSet(keywords, among: selected.folder.keywords)
        for place in places {
            guard let index = stored.messages.index(ofUID: selected.known[place].uid) else { continue }
            let now = stored.messages[index]
            var expected = selected.known[place]
            request.apply(named, to: &expected)
            // What others have done to it is no secret (RFC 3501 §6.4.6).
            let tellsFlags =
                !change.isSilent || now.flags != expected.flags || now.keywords != expected.keywords
            tell(selected, place, now)
            if tellsFlags || tellsModSequences {
                announceFlags(selected, place, withUID: byUID, flags: tellsFlags)
            }
            try await flushBatch()
        }
        guard !stored.conflicts.isEmpty else { return OKResponse(limit: limit) }
        let left = Set(stored.conflicts)
        let numbers = places.filter { left.contains(selected.known[$0].uid) }
            .map { byUID ? selected.known[$0].uid : UInt32(clamping: $0 + 1) }
        return OKResponse(code: .modified(SequenceSet.text(numbers)), limit: limit, text: "some had changed")
    }

    /// Notes that the client hears, by the command's own answer, what a message is now.
    func tell(_ selected: SelectedFolder, _ place: Int, _ message: StoredMessage) {
        selected.known[place] = message
        if tellsModSequences {
            selected.toldSequences[message.uid] = selected.folder.changes?.sequence(of: message.uid)
        }
    }

    func flushBatch() async throws(ConnectionError) {
        guard unflushed > Self.responseBatch else { return }
        unflushed = 0
        try await connection.flush()
    }

    /// COPY (RFC 3501 §6.4.7), with COPYUID (RFC 4315).
    func copy(
        _ selected: SelectedFolder,
        _ set: SequenceSet,
        to name: MailboxName,
        byUID: Bool
    ) async throws -> OKResponse {
        let places = try selected.places(set, byUID: byUID)
        try requireLimited(places, of: selected)
        guard let copied = try await copyMessages(selected, places, to: name) else {
            return OKResponse(text: "nothing to copy")
        }
        return OKResponse(code: settings.capabilities.offers(.uidPlus) ? copied.code : nil, text: "copied")
    }

    /// MOVE (RFC 6851).
    func move(
        _ selected: SelectedFolder,
        _ set: SequenceSet,
        to name: MailboxName,
        byUID: Bool
    ) async throws -> OKResponse {
        try requireRemovable(selected)
        let (places, limit) = limited(try selected.places(set, byUID: byUID), of: selected)
        guard let copied = try await copyMessages(selected, places, to: name) else {
            return OKResponse(text: "nothing to move")
        }
        if settings.capabilities.offers(.uidPlus) { respond { $0.status(.ok, code: copied.code, "moved") } }
        try await remove(copied.uids, from: selected, target: copied.target)
        try await report(selected, expunges: true)
        return removed(selected, text: "moved", limit: limit)
    }

    private struct Copied {
        var uids: [UInt32]
        var target: FolderName
        var code: ResponseCode
    }

    private func copyMessages(
        _ selected: SelectedFolder,
        _ places: [Int],
        to name: MailboxName
    ) async throws -> Copied? {
        guard !places.isEmpty else { return nil }
        let uids = places.map { selected.known[$0].uid }
        let path = try await folderName(name)
        let target = try await target(path)
        let folder = selected.folder
        let pairs: [(source: UInt32, target: UInt32)]
        do throws(MailboxError) {
            pairs = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                try folder.copy(uids, to: target)
            }
        } catch {
            if error == .notFound { throw Refusal(code: .expungeIssued, text: "some of the messages are gone") }
            throw refusal(error)
        }
        guard !pairs.isEmpty else { return nil }
        return Copied(
            uids: uids,
            target: path,
            code: .copyUID(
                validity: target.uidValidity,
                source: SequenceSet.text(pairs.map(\.source)),
                target: SequenceSet.text(pairs.map(\.target))
            )
        )
    }

    /// Opens the folder that messages are to go to.
    func target(_ path: FolderName) async throws(Refusal) -> any MailFolder {
        let store = store
        do throws(MailboxError) {
            return try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                try store.openForInserting(path)
            }
        } catch {
            if error == .notFound { throw Refusal(code: .tryCreate, text: "no such mailbox") }
            throw refusal(error)
        }
    }
}
