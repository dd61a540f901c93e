import MIME
import MailIndex
import Mailbox

/// Goes through messages and shows the header of each, in short steps, so that others have their turns between them. Every call
/// may block on the disk.
struct HeaderWalk {
    private let folder: any MailFolder
    private let uids: [UInt32]
    private let needsHeaders: Bool
    private let window: ItemWindow?
    private(set) var next = 0
    private var current: ScannedMessage?

    /// What a message costs beside its header. Octets.
    private static let message = 1024

    /// - Parameters:
    ///   - uids: ascending.
    ///   - needsHeaders: false where only what the folder knows is compared.
    ///   - index: what is kept of the folder's messages, if any.
    init(_ uids: [UInt32], in folder: any MailFolder, needsHeaders: Bool, index: FolderIndex?) {
        self.uids = uids
        self.folder = folder
        self.needsHeaders = needsHeaders
        window = needsHeaders ? index.map { ItemWindow($0, in: folder, uids) } : nil
    }

    /// Goes on for a turn; true when all messages were shown. One that is gone is left out. Of a header there are those fields
    /// alone that are among `CommonFields`.
    mutating func advance(
        _ visit: (_ index: Int, _ uid: UInt32, HeaderBlock) throws(MailboxError) -> Void
    ) throws(MailboxError) -> Bool {
        var budget = SearchRun.turn
        while next < uids.count {
            guard budget > 0 else { return false }
            var message = current ?? ScannedMessage(uid: uids[next], in: folder)
            current = nil
            // What is done with the header takes as long wherever it's from.
            var visited = 0
            let before = message.work
            do throws(MailboxError) {
                guard let header = try header(of: &message) else {
                    budget -= message.work - before
                    current = message
                    continue
                }
                visited = header.octets.count
                try visit(next, uids[next], header)
            } catch {
                if error != .notFound {
                    // A mailbox that is busy is tried again.
                    current = message
                    throw error
                }
            }
            budget -= message.work - before + visited + Self.message
            next += 1
        }
        window?.flush()
        return true
    }

    /// Nil as long as it has to be called again.
    private func header(of message: inout ScannedMessage) throws(MailboxError) -> HeaderBlock? {
        guard needsHeaders else { return HeaderBlock([]) }
        guard let window else { return try message.ownHeader()?.block }
        return try window.commonFields(at: next) { () throws(MailboxError) in try message.ownHeader()?.block }
    }
}
