import IMAP
import Mailbox
import MailboxProcess
import Network

/// Modification sequences (RFC 7162).
extension MailboxSession {
    /// Whether the client is told of them in all that is about messages.
    var tellsModSequences: Bool { dialect.tellsModSequences && settings.keepsIndex }

    /// The first command that asks for them has them told from then on (RFC 7162 §3.1).
    func beginModSequences() async throws {
        guard !dialect.tellsModSequences else { return }
        dialect.tellsModSequences = true
        guard let selected else { return }
        guard settings.keepsIndex else { return respond { $0.status(.ok, code: .noModSequence, "none are kept") } }
        let folder = selected.folder
        _ = try await onDisk { () throws(MailboxError) in
            folder.tracksChanges = true
            return try folder.refresh()
        }
        try await report(selected, expunges: false)
        if let code = highestModSequence(of: selected) { respond { $0.status(.ok, code: code, "the latest change") } }
    }

    /// What has been told in full; nil where the client doesn't ask for it.
    func highestModSequence(of selected: SelectedFolder) -> ResponseCode? {
        guard tellsModSequences, let changes = selected.changes else { return nil }
        return .highestModSequence(changes.highest(without: selected.untold))
    }

    /// The sequences of the selected mailbox.
    ///
    /// - Throws: for a command that needs them where there are none (RFC 7162 §3.1.2.2 asks for BAD).
    func modSequences(of selected: SelectedFolder) async throws -> FolderChanges {
        try await beginModSequences()
        guard let changes = selected.changes else { throw SyntaxError("the mailbox has no modification sequences") }
        return changes
    }

    /// Changes flags; what the folder has then is of one moment with its sequences, where they are told.
    func setFlags(
        _ selected: SelectedFolder,
        _ change: FlagChange,
        to uids: [UInt32],
        unchangedSince sequence: UInt64? = nil
    ) async throws(Refusal) -> StoredFlags {
        let folder = selected.folder
        let tells = tellsModSequences
        var stored = try await onDisk { () throws(MailboxError) in
            let stored = try folder.store(change, to: uids, unchangedSince: sequence)
            if tells { _ = try folder.refresh() }
            return stored
        }
        if tells { stored.messages = stored.messages.compactMap { folder.message($0.uid) } }
        return stored
    }

    /// EXPUNGE, or a part of MOVE and CLOSE: removes messages.
    ///
    /// - Parameter target: where they were put before.
    func remove(_ uids: [UInt32], from selected: SelectedFolder, target: FolderName? = nil) async throws(Refusal) {
        let folder = selected.folder
        let tells = tellsModSequences
        let names = try await onDisk { () throws(MailboxError) in
            let names = folder.originalNames(of: uids)
            _ = try folder.expunge(uids)
            if tells { _ = try folder.refresh() }
            return names
        }
        logRemoval(target == nil ? "messages expunged" : "messages moved", uids, names, of: selected, target: target)
    }

    /// A line in the log for some of the messages.
    func logRemoval(
        _ event: String,
        _ uids: [UInt32],
        _ names: [UInt32: String],
        of selected: SelectedFolder,
        target: FolderName? = nil
    ) {
        RemovalLog(logger, address: address, folder: "\(selected.path)", target: target.map { "\($0)" })
            .write(event, uids, names)
    }

    // MARK: QRESYNC

    /// SELECT with what a client remembers (RFC 7162 §3.2.5): tells what went and what changed since.
    func resynchronize(_ selected: SelectedFolder, _ known: SelectModifiers.Known) async throws(ConnectionError) {
        guard known.uidValidity == selected.folder.uidValidity, let changes = selected.changes else { return }
        // Sequences that were never given here tell nothing about what the client knows.
        let since = known.modSequence > changes.highest ? 0 : known.modSequence
        let next = selected.folder.uidNext
        let last = next > 1 ? next - 1 : nil
        let uids = known.uids?.ranges(last: last) ?? last.map { [1...$0] } ?? []
        var asked = uids
        if !changes.knowsGone(since: since), let match = known.match {
            let same = selected.lastMatch(match)
            asked = uids.compactMap { $0.upperBound <= same ? nil : max($0.lowerBound, same + 1)...$0.upperBound }
        }
        let gone = SequenceSet.text(changes.gone(since: since, among: asked, below: next))
        if !gone.isEmpty { respond { $0.vanished(gone, isEarlier: true) } }
        for place in selected.places(changes.changed(since: since))
        where SequenceSet.contains(uids, selected.known[place].uid) {
            announceFlags(selected, place, withUID: true)
            try await flushBatch()
        }
    }

    /// UIDs that went since, for FETCH (RFC 7162 §3.2.6).
    func announceEarlier(_ selected: SelectedFolder, _ set: SequenceSet, since: UInt64) {
        guard let changes = selected.changes else { return }
        let next = selected.folder.uidNext
        let ranges = set.isSaved ? selected.saved : set.ranges(last: next > 1 ? next - 1 : nil)
        // The client still has numbers for those that it couldn't be told of: they are for VANISHED without EARLIER.
        let gone = selected.told(changes.gone(since: since, among: ranges, below: next))
        let text = SequenceSet.text(gone)
        if !text.isEmpty { respond { $0.vanished(text, isEarlier: true) } }
    }
}
