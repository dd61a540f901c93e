import Algorithms
import NIOCore

/// One open folder of a mailbox, for one session: what it saw at the last `refresh`, and what can be done to it.
///
/// Every call may block on the disk: run it on a thread pool, and one after the other. Sessions, other processes and
/// deliveries may change the same folder at the same time.
package protocol MailFolder: AnyObject, Sendable {
    var uidValidity: UInt32 { get }
    /// Greater than every UID that was given.
    var uidNext: UInt32 { get }
    /// As of the last `refresh` and what was done since through this object; ascending by UID.
    var messages: [StoredMessage] { get }
    /// The names of keywords; a message's `KeywordSet` are places in this list.
    var keywords: [String] { get }

    /// What the user may do with it, as of the last `refresh`.
    var rights: MailboxRights { get }

    /// The flags that messages put here may have; keywords where these include \Answered.
    var accepts: MessageFlags { get set }

    /// The folder itself, without what guards it.
    var base: any MailFolder { get }

    /// Whether `refresh` also looks at modification sequences (RFC 7162), which costs something where messages have changed.
    var tracksChanges: Bool { get set }

    /// The modification sequences of what `messages` shows: those of exactly the same moment as of the last `refresh`. Nil
    /// where they aren't tracked.
    var changes: FolderChanges? { get }

    /// Picks up changes made by others. Cheap if there are none.
    ///
    /// - Returns: whether `messages` is different now: messages came, went or changed flags.
    func refresh() throws(MailboxError) -> Bool

    /// Opens a message for reading.
    ///
    /// - Throws: `notFound` when it is gone.
    func open(_ uid: UInt32) throws(MailboxError) -> MessageReader

    /// Octets of a message with CRLF line ends; counted once where the file's name doesn't say it.
    func octets(of uid: UInt32) throws(MailboxError) -> Int

    /// Differs for messages that differ, as far as can be told without reading them; nil where the message is gone.
    func identity(of uid: UInt32) -> UInt64?

    /// When the message arrived here: seconds since 1970.
    func internalDate(of uid: UInt32) throws(MailboxError) -> Int

    /// Names the folder for ever, also when it's renamed, and no other one (RFC 8474 §4): letters and digits.
    var objectIdentifier: String { get }

    /// Names the content of a message, in whichever folder of the account it is (RFC 8474 §5.1): letters and digits. Nil where the
    /// message is gone.
    func contentIdentifier(of uid: UInt32) -> String?

    /// What the files of messages were called when they came, before they were copied: what was delivered here has its ID in the
    /// queue in it. For logs; empty where nothing is known.
    func originalNames(of uids: some Sequence<UInt32> & Sendable) -> [UInt32: String]

    /// When the message was put into this folder: seconds since 1970; nil where that isn't known (RFC 8514).
    func saveDate(of uid: UInt32) throws(MailboxError) -> Int?

    /// What POP3 clients know messages by that came from another server, by UID. Not where nobody has said.
    var popIdentifiers: [UInt32: String] { get }

    /// Changes flags.
    ///
    /// - Parameter sequence: messages with a later modification sequence are left alone (RFC 7162 §3.1.3).
    func store(
        _ change: FlagChange,
        to uids: [UInt32],
        unchangedSince sequence: UInt64?
    ) throws(MailboxError) -> StoredFlags

    /// Removes messages for good, durably.
    ///
    /// - Returns: the UIDs that are gone.
    func expunge(_ uids: [UInt32]) throws(MailboxError) -> [UInt32]

    /// Starts to add a message. Nothing is to be seen of it before `finish`.
    func append() throws(MailboxError) -> any MessageAppend

    /// Copies messages with flags, keywords and dates: all of them, or none.
    ///
    /// - Returns: pairs of the UID here and the UID there, in the order given.
    /// - Throws: `notFound` when one is gone, `overQuota`, `noSpace`, `unsupported` between formats.
    func copy(_ uids: [UInt32], to target: any MailFolder) throws(MailboxError) -> [(source: UInt32, target: UInt32)]
}

extension MailFolder {
    package var rights: MailboxRights { .all }
    package var base: any MailFolder { self }

    package var popIdentifiers: [UInt32: String] { [:] }

    package func originalNames(of uids: some Sequence<UInt32> & Sendable) -> [UInt32: String] { [:] }

    /// Changes flags.
    ///
    /// - Returns: the messages as they are now, without those that are gone.
    package func store(_ change: FlagChange, to uids: [UInt32]) throws(MailboxError) -> [StoredMessage] {
        try store(change, to: uids, unchangedSince: nil).messages
    }

    /// The message of a UID as of the last refresh.
    package func message(_ uid: UInt32) -> StoredMessage? {
        messages.index(ofUID: uid).map { messages[$0] }
    }
}

/// What became of a change of flags.
package struct StoredFlags: Sendable {
    /// The messages as they are now, without those that are gone.
    package var messages: [StoredMessage] = []
    /// UIDs of those that were left alone because they had changed.
    package var conflicts: [UInt32] = []
}

extension [StoredMessage] {
    /// The place of a UID in a list that ascends by UID.
    package func index(ofUID uid: UInt32) -> Int? {
        let place = partitioningIndex { $0.uid >= uid }
        return place < endIndex && self[place].uid == uid ? place : nil
    }
}

/// A message that is being added to a folder. Thrown away where `finish` isn't called.
package protocol MessageAppend: AnyObject, Sendable {
    /// Adds octets of the message, as they came.
    func write(_ octets: ByteBuffer) throws(MailboxError)

    /// Puts the message into the folder, durably.
    ///
    /// - Parameter internalDate: seconds since 1970; now where nil.
    /// - Returns: the message's UID.
    func finish(flags: MessageFlags, keywords: [String], internalDate: Int?) throws(MailboxError) -> UInt32
}
