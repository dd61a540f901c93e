import CSQLite
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// What was worked out of the messages of one account, kept in a SQLite file: a cache alone, which may be deleted at any time.
/// What can't be read of it is not known, and is worked out again; a damaged file is made anew.
///
/// Every call may wait for the disk.
package final class MessageIndex: @unchecked Sendable {
    // Unchecked: `opened` and `isOff` are used under the lock alone.
    private let path: String
    private let onFault: @Sendable (String) -> Void
    private let lock = NIOLock()
    private var opened: OpenIndex?
    /// After a fault that a new file doesn't mend.
    private var isOff = false

    /// - Parameters:
    ///   - path: of its file, which is opened, or made, when something is asked.
    ///   - onFault: is told what is wrong with the file, for the log.
    package init(path: String, onFault: @escaping @Sendable (String) -> Void) {
        self.path = path
        self.onFault = onFault
    }

    /// A folder's part. A folder of the same name with another UIDVALIDITY is another one.
    package func folder(_ name: String, validity: UInt32) -> FolderIndex? {
        use { (index) throws(DatabaseError) in try index.folder(name, validity) }.map { FolderIndex(self, $0) }
    }

    /// Does something with the open index.
    ///
    /// - Returns: nil where it can't be used now.
    func use<Value>(_ body: (OpenIndex) throws(DatabaseError) -> Value) -> Value? {
        lock.lock()
        defer { lock.unlock() }
        if isOff { return nil }
        do throws(DatabaseError) {
            if let opened { return try body(opened) }
            let index = try OpenIndex(path)
            opened = index
            return try body(index)
        } catch {
            // Another process works on it: the next time perhaps.
            if error.code & 0xFF == SQLITE_BUSY { return nil }
            onFault(error.description)
            opened = nil
            isOff = !(error.isDamage && remove())
            return nil
        }
    }

    /// Whether there is room on the disk for what can be done without.
    var hasRoom: Bool {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return false }
        return Double(status.f_bavail) * Double(status.f_frsize) > Double(Self.reserve)
    }

    /// What is left on the disk to mail. Octets.
    private static let reserve = 256 << 20

    /// Removes the file and what SQLite keeps beside it.
    private func remove() -> Bool {
        for end in ["-wal", "-shm", ""] where unlink(path + end) != 0 && errno != ENOENT { return false }
        return true
    }
}

/// What is kept of a message.
package enum IndexedItem: String, CaseIterable, Sendable {
    /// The value of FETCH's ENVELOPE.
    case envelope
    /// The value of FETCH's BODYSTRUCTURE.
    case structure
    /// The value of FETCH's BODY.
    case body
    /// Header fields, as they stand in the message.
    case header
}

/// A message within its folder.
package struct IndexedMessage: Hashable, Sendable {
    package let uid: UInt32
    /// Differs for messages that differ, so that what is kept of one is never taken for another's.
    package let identity: UInt64

    package init(uid: UInt32, identity: UInt64) {
        self.uid = uid
        self.identity = identity
    }
}

/// The part of an index that is about one folder.
package struct FolderIndex: Sendable {
    private let index: MessageIndex
    private let number: Int64

    /// What is larger isn't kept. Octets.
    package static let maximumItem = 16 * 1024
    /// The same for texts.
    package static let maximumText = 2 * 1024 * 1024
    /// A text that so many messages may hold isn't worth to be looked up.
    package static let maximumCandidates = 50_000

    init(_ index: MessageIndex, _ number: Int64) {
        self.index = index
        self.number = number
    }

    /// Gives what is kept of messages, ascending by UID.
    ///
    /// - Parameter body: its octets are there until it returns.
    package func read(
        _ item: IndexedItem,
        _ uids: ClosedRange<UInt32>,
        _ body: (IndexedMessage, UnsafeRawBufferPointer) -> Void
    ) {
        _ = index.use { (index) throws(DatabaseError) in try index.read(item, number, uids, body) }
    }

    /// Keeps items of messages, in one transaction.
    package func keep(_ items: [(message: IndexedMessage, item: IndexedItem, octets: [UInt8])]) {
        guard !items.isEmpty, index.hasRoom else { return }
        _ = index.use { (index) throws(DatabaseError) in
            try index.keep(items.filter { $0.octets.count <= Self.maximumItem }, number)
        }
    }

    /// The text of a message, for searches.
    package struct Text: Sendable {
        package var message: IndexedMessage
        /// In small letters.
        package var header: [UInt8]
        package var body: [UInt8]

        package init(message: IndexedMessage, header: [UInt8], body: [UInt8]) {
            self.message = message
            self.header = header
            self.body = body
        }

        var isWhole: Bool { header.count + body.count <= FolderIndex.maximumText }
    }

    /// Keeps texts, in one transaction. Of those of more than `maximumText` only that is kept.
    package func keep(_ texts: [Text]) {
        guard !texts.isEmpty, index.hasRoom else { return }
        _ = index.use { (index) throws(DatabaseError) in try index.keep(texts, number) }
    }

    /// A message whose text was looked at.
    package struct TextState: Hashable, Sendable {
        package let message: IndexedMessage
        /// Whether the text is kept; otherwise it's too long for that.
        package let isKept: Bool
    }

    /// Messages whose texts were looked at, ascending by UID.
    package func textStates() -> [TextState] {
        index.use { (index) throws(DatabaseError) in try index.textStates(number) } ?? []
    }

    /// What the index knows of texts at one moment.
    package struct TextAnswer: Sendable {
        /// Messages whose texts were looked at, ascending by UID.
        package var states: [TextState] = []
        /// For each text the UIDs of messages that may hold it, ascending: of those whose text is kept, no others do. Nil where
        /// the index can't tell: the text is shorter than three characters, or no UTF-8, or in too many messages.
        package var candidates: [[UInt32]?] = []
    }

    /// Looks texts up.
    ///
    /// - Parameter texts: in small letters; and whether they are to be in the message's header.
    package func lookUp(_ texts: [(text: [UInt8], inHeaderOnly: Bool)]) -> TextAnswer {
        let queries = texts.map { Trigrams.query($0.text, inHeaderOnly: $0.inHeaderOnly) }
        guard queries.contains(where: { $0 != nil }) else { return TextAnswer() }
        return index.use { (index) throws(DatabaseError) in try index.lookUp(queries, number) } ?? TextAnswer()
    }

    /// Forgets other folders: those that aren't among these names, and those of the same name with another UIDVALIDITY.
    package func retain(folders names: Set<String>) {
        _ = index.use { (index) throws(DatabaseError) in try index.retain(folders: names, number) }
    }

    /// Forgets all messages but these.
    ///
    /// - Parameter uids: ascending.
    package func retain(_ uids: [UInt32]) {
        _ = index.use { (index) throws(DatabaseError) in try index.retain(uids, number) }
    }
}
