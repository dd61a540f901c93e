import MIME
import MailIndex
import Mailbox

/// What the index has of the messages that a command goes through, fetched for many at a time; and what is to be kept of them,
/// handed over for many at a time. Every call may block on the disk.
final class ItemWindow {
    private struct Loaded {
        /// Places in `uids` that were asked for.
        var places: Range<Int>
        var items: [UInt32: [UInt8]]
    }

    private let index: FolderIndex
    private let folder: any MailFolder
    /// Ascending.
    private let uids: [UInt32]
    private var loaded: [IndexedItem: Loaded] = [:]
    private var kept: [(message: IndexedMessage, item: IndexedItem, octets: [UInt8])] = []
    private var keptOctets = 0

    /// Messages a question.
    private static let width = 64
    /// What is kept at once. Octets.
    private static let maximumKept = 256 * 1024

    init(_ index: FolderIndex, in folder: any MailFolder, _ uids: [UInt32]) {
        self.index = index
        self.folder = folder
        self.uids = uids
    }

    /// An item of one of the messages, by its place among them; nil where it isn't kept.
    func octets(_ item: IndexedItem, at place: Int) -> [UInt8]? {
        if let known = loaded[item], known.places.contains(place) { return known.items[uids[place]] }
        let places = place..<min(place + Self.width, uids.count)
        var items: [UInt32: [UInt8]] = [:]
        var next = place
        index.read(item, uids[places.lowerBound]...uids[places.upperBound - 1]) { message, octets in
            while next < places.upperBound, uids[next] < message.uid { next += 1 }
            guard next < places.upperBound, uids[next] == message.uid,
                message.identity == folder.identity(of: message.uid)
            else { return }
            items[message.uid] = Array(octets)
        }
        loaded[item] = Loaded(places: places, items: items)
        return items[uids[place]]
    }

    func keep(_ item: IndexedItem, at place: Int, _ octets: [UInt8]) {
        guard octets.count <= FolderIndex.maximumItem, let identity = folder.identity(of: uids[place]) else { return }
        kept.append((IndexedMessage(uid: uids[place], identity: identity), item, octets))
        keptOctets += octets.count + 64
        if keptOctets > Self.maximumKept { flush() }
    }

    /// The fields of one of the messages that are among `CommonFields`: those that are kept, or the header that the body reads,
    /// of which they are kept then.
    ///
    /// - Returns: nil where the body has none yet.
    func commonFields(
        at place: Int,
        _ read: () throws(MailboxError) -> HeaderBlock?
    ) throws(MailboxError) -> HeaderBlock? {
        if let kept = octets(.header, at: place) { return HeaderBlock(kept) }
        guard let header = try read() else { return nil }
        keep(.header, at: place, CommonFields.of(header))
        return header
    }

    /// Hands over what is to be kept.
    func flush() {
        index.keep(kept)
        kept = []
        keptOctets = 0
    }
}
