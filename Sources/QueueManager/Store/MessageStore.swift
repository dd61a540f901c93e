import DequeModule
import NIOCore
import SMTP
import Spool

/// What the queue knows of a message: only what scheduling needs, for there may be millions.
final class QueuedMessage: @unchecked Sendable {
    // Unchecked: it belongs to the queue, which asserts its loop. The order is one that leaves little room between small parts.
    let id: MessageID
    /// Seconds since 1970.
    let arrived: Int64
    /// The message's size without what is added. Octets.
    let octets: Int
    /// Of those who are found by it; shared with their other messages once the store has it.
    fileprivate var senderGroup: MessageGroup
    fileprivate var returnGroup: MessageGroup?
    /// What few messages have.
    private var rest: Rest?
    /// Counts messages that came since the start; 0 for those that were there.
    fileprivate(set) var number = 0
    /// Changed by the store alone, which counts.
    fileprivate(set) var state = MessageState.waiting
    /// Recipients without a final result, by destination. Changed by the store alone, which counts.
    fileprivate(set) var jobs: Few<DeliveryJob> = []
    /// Whether it has the null reverse-path: it is never answered with a report.
    let isReport: Bool
    /// Whether its sender is never told anything of it.
    let isSenderDoubted: Bool
    /// Whether a user handed it in, who is its sender then.
    let isOfUser: Bool
    private let shortOffset: UInt32
    /// Of its recipients' addresses, for the store's index.
    fileprivate(set) var recipientKeys: Few<UInt32>
    /// A move of its file failed, perhaps after the rename.
    var isPlaceUncertain = false

    private final class Rest {
        var terms = DeliveryTerms()
        var origin: String?
        var changes: Deque<RequestedChange> = []
        var content: Spool.Content?
        var owed: OwedReport?

        var isEmpty: Bool {
            terms == DeliveryTerms() && origin == nil && changes.isEmpty && content == nil && owed == nil
        }
    }

    init(_ head: QueueFileHead, state: MessageState = .waiting) {
        let envelope = head.envelope
        id = envelope.id
        arrived = envelope.arrived
        shortOffset = UInt32(clamping: head.offset)
        octets = head.octets
        isReport = envelope.sender.path.address == nil
        isSenderDoubted = envelope.isSenderDoubted
        let path = MessageStore.key(envelope.sender.path.address)
        let sender = envelope.user ?? path
        senderGroup = MessageGroup(sender)
        isOfUser = envelope.user != nil
        returnGroup = path == sender || path.isEmpty ? nil : MessageGroup(path)
        recipientKeys = Few(envelope.recipients.map { MessageStore.hash(MessageStore.key($0.address)) })
        self.state = state
        if envelope.terms != DeliveryTerms() || envelope.origin != nil {
            let rest = Rest()
            (rest.terms, rest.origin) = (envelope.terms, envelope.origin)
            self.rest = rest
        }
    }

    /// Where the message begins in its file. Octets; no envelope is as long as 4 GiB.
    var offset: Int { Int(shortOffset) }

    /// Whose turn it is where senders take turns: the user who handed it in, or the reverse-path.
    var sender: String { senderGroup.name }

    /// What it's found by as its sender's: also the reverse-path where that is somebody else.
    var senderKeys: Few<String> { returnGroup.map { [sender, $0.name] } ?? .one(sender) }

    /// When it should be delivered.
    var terms: DeliveryTerms { rest?.terms ?? DeliveryTerms() }

    /// What made its submission idempotent.
    var origin: String? { rest?.origin }

    /// What the administrator wants done, in order.
    var changes: Deque<RequestedChange> {
        get { rest?.changes ?? [] }
        _modify {
            let rest = needRest()
            defer { keep(rest) }
            yield &rest.changes
        }
    }

    /// Kept from the arrival to the end of the first attempt; afterwards it's read again when it's needed.
    var content: Spool.Content? {
        get { rest?.content }
        _modify {
            let rest = needRest()
            defer { keep(rest) }
            yield &rest.content
        }
    }

    /// Failures that the sender is still to be told of; nil where there are none.
    var owed: OwedReport? {
        get { rest?.owed }
        _modify {
            let rest = needRest()
            defer { keep(rest) }
            yield &rest.owed
        }
    }

    private func needRest() -> Rest {
        let rest = rest ?? Rest()
        self.rest = rest
        return rest
    }

    private func keep(_ rest: Rest) { if rest.isEmpty { self.rest = nil } }

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
    private var shards = [MessageTable](repeating: MessageTable(), count: MessageID.shards)
    private(set) var count = 0
    /// How many messages ever came.
    private(set) var arrivals = 0
    /// How many of them are new.
    private(set) var arrivalCount = 0
    private var counts: [QueuedMessage.Category: Int] = [:]
    private var senders = PartedDictionary<String, MessageGroup>()
    /// By a hash of the address, which takes less room; who looks one up compares the envelope.
    private var recipients = PartedDictionary<UInt32, MessageSet>()
    private var destinations = PartedDictionary<String, MessageGroup>()

    /// What an address is looked up by: as it is, the domain in lower case; empty for the null reverse-path.
    static func key(_ address: MailAddress?) -> String {
        address.map { "\($0.localPart)@\($0.lowercasedDomain)" } ?? ""
    }

    /// What the index of recipients has of such a key.
    static func hash(_ key: String) -> UInt32 { UInt32(truncatingIfNeeded: key.hashValue) }

    /// Lets go of all messages when the queue ends: they, their jobs and their groups know each other.
    func release() {
        for shard in shards {
            for message in shard.messages { message.jobs = [] }
        }
        for index in [senders, destinations] {
            for part in 0..<index.partCount {
                for group in index[part: part].values { group.messages = .none }
            }
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

    private func messages(_ index: Index) -> MessageSet {
        switch index {
        case .all, .these: .none
        case .sender(let sender): senders[sender]?.messages ?? .none
        case .recipient(let recipient): recipients[Self.hash(recipient)] ?? .none
        case .destination(let destination): destinations[destination]?.messages ?? .none
        }
    }

    /// In how many parts a walk goes through what an index leads to, if it begins now.
    func partCount(_ index: Index) -> Int {
        switch index {
        case .all: shards.count
        case .these: 1
        case .sender, .recipient, .destination: messages(index).partCount
        }
    }

    /// One part of what an index leads to, in no order: some thousands at most, however many messages there are.
    func ids(_ index: Index, part: Int) -> [MessageID] {
        switch index {
        case .all: shards[part].ids
        case .these(let ids): ids
        case .sender, .recipient, .destination: messages(index).ids(part: part)
        }
    }

    /// What all jobs for a destination share.
    func group(destination: String) -> MessageGroup { destinations[destination] ?? MessageGroup(destination) }

    func count(_ category: QueuedMessage.Category) -> Int { counts[category] ?? 0 }
    func count(sender: String) -> Int { senders[sender]?.messages.count ?? 0 }
    func count(recipient: String) -> Int { recipients[Self.hash(recipient)]?.count ?? 0 }
    func count(destination: String) -> Int { destinations[destination]?.messages.count ?? 0 }

    // MARK: Changing

    /// Adds a message, which must not be there yet.
    mutating func insert(_ message: QueuedMessage, jobs: [DeliveryJob]) {
        message.jobs = Few(jobs)
        shards[message.id.shard].insert(message)
        count += 1
        arrivals += 1
        counts[message.category, default: 0] += 1
        message.senderGroup = Self.insert(message, into: &senders, message.senderGroup)
        message.returnGroup = message.returnGroup.map { Self.insert(message, into: &senders, $0) }
        for key in message.recipientKeys { recipients[key, default: .none].insert(message) }
        for job in jobs { job.group = Self.insert(message, into: &destinations, job.group) }
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
        for job in message.jobs { Self.remove(message, from: &destinations, job.group) }
        for job in jobs { job.group = Self.insert(message, into: &destinations, job.group) }
        counting(message) { $0.jobs = Few(jobs) }
    }

    /// Has a message found by recipients that it has got, too.
    mutating func addRecipients(_ recipients: [EnvelopeRecipient], to message: QueuedMessage) {
        guard message.state != .gone else { return }
        for recipient in recipients {
            let key = Self.hash(Self.key(recipient.address))
            message.recipientKeys.append(key)
            self.recipients[key, default: .none].insert(message)
        }
    }

    private mutating func counting(_ message: QueuedMessage, _ change: (QueuedMessage) -> Void) {
        counts[message.category, default: 0] -= 1
        change(message)
        counts[message.category, default: 0] += 1
    }

    private mutating func remove(_ message: QueuedMessage) {
        guard shards[message.id.shard].remove(message.id) else { return }
        count -= 1
        counts[message.category, default: 0] -= 1
        Self.remove(message, from: &senders, message.senderGroup)
        if let group = message.returnGroup { Self.remove(message, from: &senders, group) }
        for key in message.recipientKeys {
            recipients[key]?.remove(message)
            if recipients[key]?.isEmpty ?? false { recipients[key] = nil }
        }
        for job in message.jobs { Self.remove(message, from: &destinations, job.group) }
        message.jobs = []
        message.content = nil
    }

    /// - Returns: the group of that name that is in the index.
    private static func insert(
        _ message: QueuedMessage,
        into index: inout PartedDictionary<String, MessageGroup>,
        _ group: MessageGroup
    ) -> MessageGroup {
        let known = index[group.name] ?? group
        if known.messages.isEmpty { index[group.name] = known }
        known.messages.insert(message)
        return known
    }

    private static func remove(
        _ message: QueuedMessage,
        from index: inout PartedDictionary<String, MessageGroup>,
        _ group: MessageGroup
    ) {
        group.messages.remove(message)
        if group.messages.isEmpty { index[group.name] = nil }
    }
}
