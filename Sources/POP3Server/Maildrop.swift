import Mailbox

/// A mailbox as one POP3 session sees it (RFC 1939 §5): locked, its messages numbered once and for all. Everything here
/// may block on the disk unless it says otherwise.
package final class Maildrop: @unchecked Sendable {
    // Unchecked: a session does one thing at a time, on its loop or on a thread of the pool.
    struct Entry {
        let uid: UInt32
        /// With CRLF line ends, but without the one that an unfinished last line gets when it is sent: only reading the
        /// whole message could tell.
        let octets: Int
        var isDeleted = false
    }

    private let folder: any MailFolder
    private var lock: SessionLock?
    private(set) var entries: [Entry]
    /// What clients know messages by that came from another server, by UID.
    private var identifiers: [UInt32: String] = [:]
    /// RFC 1939 §7: at most 70 octets.
    private static let longestIdentifier = 70

    /// - Throws: `locked` when another session has the mailbox.
    init(_ store: any MailStore) throws(MailboxError) {
        lock = try store.lockSession()
        folder = try store.open(.inbox, readOnly: false)
        entries = []
        entries.reserveCapacity(folder.messages.count)
        for message in folder.messages {
            do {
                entries.append(Entry(uid: message.uid, octets: try folder.octets(of: message.uid)))
            } catch .notFound {
                continue  // removed by another process meanwhile
            }
        }
        let known = folder.popIdentifiers
        var taken: Set<String> = []
        for entry in entries {
            guard let identifier = known[entry.uid], (1...Self.longestIdentifier).contains(identifier.utf8.count),
                taken.insert(identifier).inserted
            else { continue }
            identifiers[entry.uid] = identifier
        }
    }

    /// The entry with a message number (from 1), unless it is deleted. Doesn't block.
    func entry(_ number: Int) -> Entry? {
        guard number > 0, number <= entries.count, !entries[number - 1].isDeleted else { return nil }
        return entries[number - 1]
    }

    /// Messages that are not deleted, with their numbers. Doesn't block.
    var present: some Sequence<(number: Int, entry: Entry)> {
        entries.enumerated().lazy.filter { !$0.element.isDeleted }.map { (number: $0.offset + 1, entry: $0.element) }
    }

    /// Count and octets of the messages that are not deleted. Doesn't block.
    var total: (count: Int, octets: Int) {
        present.reduce(into: (count: 0, octets: 0)) { total, message in
            total.count += 1
            total.octets += message.entry.octets
        }
    }

    /// The UIDL identifier: unique and the same in every session; what the client knows the message by from an earlier server,
    /// or else UID and UIDVALIDITY as eight hexadecimal digits each, which is what Dovecot makes of them. Doesn't block.
    func identifier(_ entry: Entry) -> String {
        identifiers[entry.uid] ?? Self.digits(entry.uid) + Self.digits(folder.uidValidity)
    }

    private static func digits(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Marks a message; nothing happens to it before `commit`. Doesn't block.
    func delete(_ number: Int) {
        guard entry(number) != nil else { return }
        entries[number - 1].isDeleted = true
    }

    /// Removes all marks. Doesn't block.
    func reset() {
        for index in entries.indices { entries[index].isDeleted = false }
    }

    func open(_ entry: Entry) throws(MailboxError) -> MessageReader { try folder.open(entry.uid) }

    /// Removes the marked messages for good, and unlocks the mailbox.
    ///
    /// - Returns: the UIDs of those that were marked, and the names that their files came with.
    func commit() throws(MailboxError) -> (uids: [UInt32], names: [UInt32: String]) {
        let marked = entries.filter(\.isDeleted).map(\.uid)
        let names = folder.originalNames(of: marked)
        do throws(MailboxError) {
            if !marked.isEmpty { _ = try folder.expunge(marked) }
        } catch {
            // It's tried again as long as it's busy.
            if error != .busy { release() }
            throw error
        }
        release()
        return (marked, names)
    }

    /// Unlocks the mailbox.
    func release() { lock = nil }
}
