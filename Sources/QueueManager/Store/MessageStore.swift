import DequeModule
import NIOCore
import SMTP
import Spool

/// What the queue knows of a message: only what scheduling needs, for there may be millions.
final class QueuedMessage: @unchecked Sendable {
    // Unchecked: it belongs to the queue, which asserts its loop.
    let id: MessageID
    /// Seconds since 1970.
    let arrived: Int64
    /// Where the message begins in its file, and its size without what is added. Octets.
    let offset: Int
    let octets: Int
    /// Whether it has the null reverse-path: it is never answered with a report.
    let isReport: Bool
    /// Whether its sender is never told anything of it.
    let isSenderDoubted: Bool
    /// When it should be delivered.
    let terms: DeliveryTerms
    /// What made its submission idempotent.
    let origin: String?
    /// Whose turn it is where senders take turns: the user who handed it in, or the reverse-path. The store has all messages
    /// of a sender share it.
    fileprivate(set) var sender: String
    /// Whether a user handed it in, who is its sender then.
    let isOfUser: Bool
    /// The reverse-path where that is somebody else; it's found by both.
    let returnPath: String?
    /// Of its recipients' addresses, for the store's index.
    fileprivate(set) var recipientKeys: [Int]

    /// Changed by the store alone, which counts.
    fileprivate(set) var state = MessageState.waiting
    /// Recipients without a final result, by destination.
    fileprivate(set) var jobs: [DeliveryJob] = []
    /// What the administrator wants done, in order.
    var changes: Deque<RequestedChange> = []
    /// Kept from the arrival to the end of the first attempt; afterwards it's read again when it's needed.
    var content: Spool.Content? {
        get { kept?.content }
        set { kept = newValue.map { KeptContent($0) } }
    }

    /// Apart, since most messages have none, and it would be the largest part of them.
    private var kept: KeptContent?

    private final class KeptContent {
        let content: Spool.Content

        init(_ content: Spool.Content) { self.content = content }
    }

    /// A move of its file failed, perhaps after the rename.
    var isPlaceUncertain = false
    /// Failures that the sender is still to be told of; nil where there are none.
    var owed: OwedReport?
    /// Counts messages that came since the start; 0 for those that were there.
    fileprivate(set) var number = 0

    init(_ head: QueueFileHead, state: MessageState = .waiting) {
        let envelope = head.envelope
        id = envelope.id
        arrived = envelope.arrived
        offset = head.offset
        octets = head.octets
        isReport = envelope.sender.path.address == nil
        isSenderDoubted = envelope.isSenderDoubted
        terms = envelope.terms
        origin = envelope.origin
        let path = MessageStore.key(envelope.sender.path.address)
        sender = envelope.user ?? path
        isOfUser = envelope.user != nil
        returnPath = path == sender || path.isEmpty ? nil : path
        recipientKeys = envelope.recipients.map { MessageStore.key($0.address).hashValue }
        self.state = state
    }

    /// What it's found by as its sender's.
    var senderKeys: [String] { returnPath.map { [sender, $0] } ?? [sender] }

    /// When its delivery may begin, at the earliest. Milliseconds since 1970.
    var start: Int64 { terms.start(arrived: arrived).multipliedReportingOverflow(by: 1000).partialValue }

    /// Whether its sender doesn't want it to leave yet (RFC 4865).
    func isHeldBack(at now: Int64) -> Bool { terms.holdUntil != nil && start > now }

    /// For people and programs.
    var category: Category {
        switch state {
        case .held, .changing(_, wasHeld: true): .held
        case .delivering: .active
        case .waiting, .changing, .gone: jobs.contains { $0.attempts > 0 } ? .deferred : .queued
        }
    }

    /// What messages are counted by.
    enum Category: String, CaseIterable {
        case active
        case deferred
        case held
        case queued
    }
}

/// A change that waits for its turn, and who wants to know what came of it.
struct RequestedChange {
    let change: MessageChange
    /// What the message has to meet when its turn comes; nil where it was named.
    var condition: MessageFilter?
    let done: @Sendable (ChangeResult) -> Void
    /// Which of the envelope's recipients it's about, from 0; nil for the message as a whole. Known when its turn comes.
    var recipients: Set<Int32>?
}

/// What came of a change.
package enum ChangeResult: Sendable {
    case done
    /// For some of its recipients; the message stays for the others.
    case doneInPart
    /// It was so before.
    case unchanged
    /// There is no such message, or it has left meanwhile.
    case missing
    /// Nothing was changed.
    case failed(SpoolError)
}

/// All messages in the queue: by ID, in as many parts as the spool has directories, so that a walk can go part by part
/// while messages come and go; by sender, recipient and destination; and counted.
struct MessageStore {
    private var shards = [[MessageID: QueuedMessage]](repeating: [:], count: MessageID.shards)
    private(set) var count = 0
    /// How many messages ever came.
    private(set) var arrivals = 0
    /// How many of them are new.
    private(set) var arrivalCount = 0
    private var counts: [QueuedMessage.Category: Int] = [:]
    private var senders = PartedDictionary<String, Messages>()
    /// By a hash of the address, which takes less room; who looks one up compares the envelope.
    private var recipients = PartedDictionary<Int, Messages>()
    private var destinations = PartedDictionary<String, Messages>()

    /// What an index leads to: mostly to one message, for which a set would take too much room.
    private enum Messages {
        case one(MessageID)
        case many(PartedDictionary<MessageID, Void>)

        var count: Int {
            switch self {
            case .one: 1
            case .many(let ids): ids.count
            }
        }

        mutating func insert(_ id: MessageID) {
            switch self {
            case .one(let other):
                guard other != id else { return }
                var ids = PartedDictionary<MessageID, Void>()
                ids[other] = ()
                ids[id] = ()
                self = .many(ids)
            case .many(var ids):
                // So that it isn't copied.
                self = .one(id)
                ids[id] = ()
                self = .many(ids)
            }
        }

        /// - Returns: whether none is left.
        mutating func remove(_ id: MessageID) -> Bool {
            switch self {
            case .one(let other): return other == id
            case .many(var ids):
                self = .one(id)
                ids[id] = nil
                self = .many(ids)
                return ids.isEmpty
            }
        }
    }

    /// What an address is looked up by: as it is, the domain in lower case; empty for the null reverse-path.
    static func key(_ address: MailAddress?) -> String {
        address.map { "\($0.localPart)@\($0.lowercasedDomain)" } ?? ""
    }

    /// Lets go of all messages when the queue ends: they and their jobs know each other.
    func release() {
        for shard in shards {
            for message in shard.values { message.jobs = [] }
        }
    }

    // MARK: Looking up

    subscript(id: MessageID) -> QueuedMessage? { shards[id.shard][id] }

    /// What messages are found by.
    enum Index {
        /// All messages.
        case all
        case these([MessageID])
        /// Authenticated user or reverse-path.
        case sender(String)
        /// Those that may have this recipient; see the envelope.
        case recipient(String)
        /// Those with an open recipient at the destination.
        case destination(String)
    }

    private func messages(_ index: Index) -> Messages? {
        switch index {
        case .all, .these: nil
        case .sender(let sender): senders[sender]
        case .recipient(let recipient): recipients[recipient.hashValue]
        case .destination(let destination): destinations[destination]
        }
    }

    /// In how many parts a walk goes through what an index leads to, if it begins now.
    func partCount(_ index: Index) -> Int {
        switch index {
        case .all: return shards.count
        case .these: return 1
        case .sender, .recipient, .destination: break
        }
        return switch messages(index) {
        case .one: 1
        case .many(let ids): ids.partCount
        case nil: 0
        }
    }

    /// One part of what an index leads to, in no order: some thousands at most, however many messages there are.
    func ids(_ index: Index, part: Int) -> [MessageID] {
        switch index {
        case .all: return Array(shards[part].keys)
        case .these(let ids): return ids
        case .sender, .recipient, .destination: break
        }
        return switch messages(index) {
        case .one(let id): part == 0 ? [id] : []
        case .many(let ids): Array(ids[part: part].keys)
        case nil: []
        }
    }

    /// The name of a destination that all of its jobs share.
    func shared(destination: String) -> String { destinations.known(destination) ?? destination }

    func count(_ category: QueuedMessage.Category) -> Int { counts[category] ?? 0 }
    func count(sender: String) -> Int { senders[sender]?.count ?? 0 }
    func count(recipient: String) -> Int { recipients[recipient.hashValue]?.count ?? 0 }
    func count(destination: String) -> Int { destinations[destination]?.count ?? 0 }

    // MARK: Changing

    /// Adds a message, which must not be there yet.
    mutating func insert(_ message: QueuedMessage, jobs: [DeliveryJob]) {
        message.jobs = jobs
        message.sender = senders.known(message.sender) ?? message.sender
        shards[message.id.shard][message.id] = message
        count += 1
        arrivals += 1
        counts[message.category, default: 0] += 1
        for key in message.senderKeys { Self.insert(message.id, into: &senders, key) }
        for key in message.recipientKeys { Self.insert(message.id, into: &recipients, key) }
        for job in jobs { Self.insert(message.id, into: &destinations, job.destination) }
    }

    /// Says that a message is new, and not one that was there at the start.
    mutating func noteArrival(_ message: QueuedMessage) {
        arrivalCount += 1
        message.number = arrivalCount
    }

    /// Takes a message from one state to another; the only way to change it.
    ///
    /// - Returns: false, with nothing changed, where that can't happen in the message's state.
    @discardableResult
    mutating func move(_ message: QueuedMessage, _ event: MessageState.Event) -> Bool {
        guard let next = message.state.after(event) else { return false }
        if next == .gone {
            remove(message)
            message.state = next
            return true
        }
        counting(message) { $0.state = next }
        return true
    }

    /// Replaces what is open of a message.
    mutating func setJobs(of message: QueuedMessage, _ jobs: [DeliveryJob]) {
        guard message.state != .gone else { return }
        for job in message.jobs { Self.remove(message.id, from: &destinations, job.destination) }
        for job in jobs { Self.insert(message.id, into: &destinations, job.destination) }
        counting(message) { $0.jobs = jobs }
    }

    /// Has a message found by recipients that it has got, too.
    mutating func addRecipients(_ recipients: [EnvelopeRecipient], to message: QueuedMessage) {
        guard message.state != .gone else { return }
        for recipient in recipients {
            let key = MessageStore.key(recipient.address).hashValue
            message.recipientKeys.append(key)
            Self.insert(message.id, into: &self.recipients, key)
        }
    }

    private mutating func counting(_ message: QueuedMessage, _ change: (QueuedMessage) -> Void) {
        counts[message.category, default: 0] -= 1
        change(message)
        counts[message.category, default: 0] += 1
    }

    private mutating func remove(_ message: QueuedMessage) {
        guard shards[message.id.shard].removeValue(forKey: message.id) != nil else { return }
        count -= 1
        counts[message.category, default: 0] -= 1
        for key in message.senderKeys { Self.remove(message.id, from: &senders, key) }
        for key in message.recipientKeys { Self.remove(message.id, from: &recipients, key) }
        for job in message.jobs { Self.remove(message.id, from: &destinations, job.destination) }
        message.jobs = []
        message.content = nil
    }

    private static func insert<Key>(_ id: MessageID, into index: inout PartedDictionary<Key, Messages>, _ key: Key) {
        if index[key] == nil { index[key] = .one(id) } else { index[key]?.insert(id) }
    }

    private static func remove<Key>(_ id: MessageID, from index: inout PartedDictionary<Key, Messages>, _ key: Key) {
        if index[key]?.remove(id) == true { index[key] = nil }
    }
}
