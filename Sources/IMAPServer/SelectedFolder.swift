import Algorithms
import IMAP
import MailIndex
import Mailbox

/// The folder that a session has selected, and what its client knows of it.
final class SelectedFolder {
    var name: MailboxName
    var path: FolderName
    var folder: any MailFolder
    let isReadOnly: Bool
    /// What the client was told, by message number (the first is 1). Shares its memory with the folder's list as long
    /// as both are the same.
    var known: [StoredMessage]
    /// The modification sequences of what the client was told; nil where none are kept, or it doesn't ask for them.
    var changes: FolderChanges?
    /// Those of them that it was told since.
    var toldSequences: [UInt32: UInt64] = [:]
    /// Messages that are gone, and the client can't be told yet. UIDs, ascending.
    var untold: [UInt32] = []
    var announcedKeywords: [String] = []
    var announcedRights = MailboxRights.all
    var announcedRecent = -1
    /// `$`: UIDs of the last search with SAVE (RFC 5182).
    var saved: [ClosedRange<UInt32>] = []
    /// Structures of messages that were asked for last.
    var structures = StructureCache()
    /// What is kept of the folder's messages, once it was needed.
    var index: FolderIndex?

    init(_ name: MailboxName, _ path: FolderName, _ folder: any MailFolder, isReadOnly: Bool) {
        self.name = name
        self.path = path
        self.folder = folder
        self.isReadOnly = isReadOnly
        known = folder.messages
        changes = folder.changes
    }

    /// The places in `known` of numbers or UIDs, ascending.
    ///
    /// - Throws: for a message number that isn't in use (RFC 3501 §6.4.5 asks for BAD).
    func places(_ set: SequenceSet, byUID: Bool) throws(SyntaxError) -> [Int] {
        if set.isSaved { return places(ofUIDs: saved) }
        if byUID { return places(ofUIDs: set.ranges(last: known.last?.uid)) }
        var places: [Int] = []
        for range in set.ranges(last: known.isEmpty ? nil : UInt32(clamping: known.count)) {
            guard Int(range.upperBound) <= known.count else { throw SyntaxError("no such message number") }
            places += Int(range.lowerBound) - 1...Int(range.upperBound) - 1
        }
        return places
    }

    /// The places in `known` of UIDs in ascending order.
    func places(_ uids: [UInt32]) -> [Int] {
        places(ofUIDs: SequenceSet.ranges(of: uids))
    }

    /// Whether the client knows all that the folder has, when it also knows that these are gone. UIDs.
    func knowsAll(but gone: [UInt32]) -> Bool {
        guard let before = changes, let now = folder.changes, untold.isEmpty else { return false }
        let known = Set(gone)
        let went = now.gone(since: before.highest, among: [1...UInt32.max], below: folder.uidNext)
        return now.changed(since: before.highest).allSatisfy { toldSequences[$0] == now.sequence(of: $0) }
            && now.knowsGone(since: before.highest) && went.allSatisfy { $0.allSatisfy(known.contains) }
    }

    /// Those of the UIDs that are gone which the client doesn't take for messages that are there.
    func told(_ gone: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
        guard !untold.isEmpty else { return gone }
        var left: [ClosedRange<UInt32>] = []
        for range in gone {
            var start = range.lowerBound
            var place = untold.partitioningIndex { $0 >= range.lowerBound }
            while place < untold.count, untold[place] <= range.upperBound {
                let uid = untold[place]
                if uid > start { left.append(start...uid - 1) }
                // None is the greatest of all UIDs, for there is a next one.
                start = uid &+ 1
                place += 1
            }
            if start <= range.upperBound { left.append(start...range.upperBound) }
        }
        return left
    }

    /// The last of a client's pairs of message number and UID that is so here: up to that UID it knows of all removals (RFC 7162
    /// §3.2.5.2). 0 where none is.
    func lastMatch(_ match: SelectModifiers.SequenceMatch) -> UInt32 {
        var last: UInt32 = 0
        let uids = match.uids.ranges(last: nil).lazy.flatMap { $0 }
        let numbers = match.numbers.ranges(last: nil).lazy.flatMap { $0 }
        for (number, uid) in zip(numbers, uids) {
            guard Int(number) <= known.count, known[Int(number) - 1].uid == uid else { break }
            last = uid
        }
        return last
    }

    private func places(ofUIDs ranges: [ClosedRange<UInt32>]) -> [Int] {
        var places: [Int] = []
        for range in ranges {
            var place = known.partitioningIndex { $0.uid >= range.lowerBound }
            while place < known.count, known[place].uid <= range.upperBound {
                places.append(place)
                place += 1
            }
        }
        return places
    }

}

/// All flags of a message: many messages have the same.
struct FlagKey: Hashable {
    private let flags: MessageFlags
    private let keywords: KeywordSet
    private let isRecent: Bool

    init(_ message: StoredMessage) {
        flags = message.flags
        keywords = message.keywords
        isRecent = message.isRecent
    }
}

/// System flags of IMAP and of the mailbox.
enum SystemFlags {
    static let all: [(flag: Flag, bit: MessageFlags)] = [
        (.answered, .answered), (.flagged, .flagged), (.deleted, .deleted), (.seen, .seen), (.draft, .draft),
    ]

    /// A message's flags as the client is to see them; its keywords by their names in the folder.
    static func flags(
        of message: StoredMessage,
        keywords names: [String],
        for dialect: Dialect = Dialect()
    ) -> [Flag] {
        var flags: [Flag] = []
        for (flag, bit) in all where message.flags.contains(bit) { flags.append(flag) }
        // IMAP4rev2 has no \Recent (RFC 9051, appendix E).
        if message.isRecent, !dialect.isRev2 { flags.append(.recent) }
        // Another program may have left a gap among them.
        for index in message.keywords.indices where names.indices.contains(index) && !names[index].isEmpty {
            flags.append(Flag(names[index]))
        }
        return flags
    }

    /// Flags and names of keywords; \Recent and unknown system flags are left out.
    static func split(_ flags: [Flag]) -> (flags: MessageFlags, keywords: [String]) {
        var system: MessageFlags = []
        var keywords: [String] = []
        for flag in flags {
            if let bit = all.first(where: { $0.flag == flag })?.bit {
                system.insert(bit)
            } else if !flag.isSystem {
                keywords.append(flag.name)
            }
        }
        return (system, keywords)
    }
}
