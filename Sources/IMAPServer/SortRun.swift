import IMAP
import MIME
import MailIndex
import Mailbox

/// A SORT (RFC 5256) that goes on in short steps, so that others have their turns between them. Every call may block on the
/// disk.
final class SortRun: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private enum Value {
        case number(Int)
        case text([UInt8])

        static func compare(_ one: Value, _ other: Value) -> Int {
            switch (one, other) {
            case (.number(let one), .number(let other)): one == other ? 0 : one < other ? -1 : 1
            case (.text(let one), .text(let other)):
                one == other ? 0 : one.lexicographicallyPrecedes(other) ? -1 : 1
            // All values of one key are of one kind.
            case (.number, .text), (.text, .number): 0
            }
        }
    }

    private let criteria: [SortCommand.Criterion]
    private let folder: any MailFolder
    private let places: [Int]
    /// How well each message matches, where that is known.
    private let scores: [Int]
    private var walk: HeaderWalk
    /// For each message, one a criterion.
    private var values: [Value] = []
    private var weight = 0
    private let memory: MemoryShare
    /// Indices of `places` of messages that are there, in the order that they have so far.
    private var order: [Int32] = []
    private var merged: [Int32] = []
    /// Runs of so many are in order.
    private var width = 1
    /// Where the merge of this width goes on.
    private var position = 0

    /// What keys may take in memory. Octets.
    private static let maximumWeight = 128 * 1024 * 1024
    /// What a message takes beside its keys. Octets.
    private static let message = 64
    /// Comparisons before others have their turn.
    private static let turn = 20_000

    /// - Parameters:
    ///   - messages: places in the folder as the session knows it, with their UIDs.
    ///   - scores: how well each matches, where that is known.
    ///   - memory: what sorting may take together.
    init(
        _ criteria: [SortCommand.Criterion],
        _ messages: [(place: Int, uid: UInt32)],
        scores: [Int] = [],
        in folder: any MailFolder,
        index: FolderIndex?,
        memory: MemoryBudget
    ) {
        self.memory = MemoryShare(of: memory, maximum: Self.maximumWeight)
        self.scores = scores
        self.criteria = criteria
        self.folder = folder
        places = messages.map(\.place)
        let needsHeaders = criteria.contains { ![.arrival, .size, .relevancy].contains($0.key) }
        walk = HeaderWalk(messages.map(\.uid), in: folder, needsHeaders: needsHeaders, index: index)
    }

    /// Messages that were read.
    var done: Int { walk.next }

    /// The places in their order, once `advance` has said true.
    var sorted: [Int] { order.map { places[Int($0)] } }

    /// How well each of them matches.
    var sortedScores: [Int] { scores.isEmpty ? [] : order.map { scores[Int($0)] } }

    /// Goes on for a turn; true when all is sorted.
    ///
    /// - Throws: `noSpace` when the keys take too much memory, by themselves or with those of others.
    func advance() throws(MailboxError) -> Bool {
        if walk.next < places.count {
            _ = try walk.advance { (index, uid, header) throws(MailboxError) in try take(index, uid, header) }
            return false
        }
        return mergeSome()
    }

    private func take(_ index: Int, _ uid: UInt32, _ header: HeaderBlock) throws(MailboxError) {
        var own: [Value] = []
        for criterion in criteria { own.append(try value(criterion.key, index, uid, header)) }
        weight += Self.message
        for value in own {
            weight += 40
            if case .text(let text) = value { weight += text.count + 32 }
        }
        guard memory.cover(weight) else { throw .noSpace }
        // Those left out have no values: places in `values` follow `order`.
        order.append(Int32(index))
        offsets[index] = Int32(values.count)
        values += own
    }

    private lazy var offsets = [Int32](repeating: 0, count: places.count)

    private func value(
        _ key: SortCommand.Key,
        _ index: Int,
        _ uid: UInt32,
        _ header: HeaderBlock
    ) throws(MailboxError) -> Value {
        switch key {
        case .relevancy: return .number(scores.indices.contains(index) ? -scores[index] : 0)
        case .arrival: return .number(try folder.internalDate(of: uid))
        case .size: return .number(try folder.octets(of: uid))
        case .date:
            if let sent = HeaderValues.sent(header) { return .number(sent) }
            return .number(try folder.internalDate(of: uid))
        case .subject: return text(HeaderValues.subject(header).text)
        case .from: return text(HeaderValues.mailbox(header, "from"))
        case .to: return text(HeaderValues.mailbox(header, "to"))
        case .cc: return text(HeaderValues.mailbox(header, "cc"))
        case .displayFrom: return text(HeaderValues.display(header, "from"))
        case .displayTo: return text(HeaderValues.display(header, "to"))
        }
    }

    private func text(_ folded: [UInt8]) -> Value {
        .text(UnicodeCasemap.order(folded.prefix(HeaderValues.maximumKey)))
    }

    /// Gives its share of the memory back when its command is over. The run itself may live a little longer: the thread that
    /// has made its last step lets go of it in its own time.
    func giveMemoryBack() { memory.giveBack() }

    /// Part of a merge sort from the bottom up.
    private func mergeSome() -> Bool {
        var budget = Self.turn
        while width < order.count {
            if merged.isEmpty { merged.reserveCapacity(order.count) }
            while position < order.count {
                guard budget > 0 else { return false }
                let middle = min(position + width, order.count)
                let end = min(position + 2 * width, order.count)
                // A long merge is a turn by itself, and goes on where it was.
                budget -= mergeRuns(middle, end, budget)
            }
            order = merged
            merged = []
            position = 0
            width *= 2
        }
        return true
    }

    /// Where the two runs of a merge that was broken off are.
    private var cursor: (left: Int, right: Int)?

    /// Merges two runs that begin at `position`, as far as the budget goes; returns what it took.
    private func mergeRuns(_ middle: Int, _ end: Int, _ budget: Int) -> Int {
        var (left, right) = cursor ?? (position, middle)
        cursor = nil
        var work = 0
        while left < middle || right < end {
            guard work < budget else {
                cursor = (left, right)
                return work
            }
            work += 1
            // The left one first where both are alike: the order of the messages stays.
            if right >= end || left < middle && !isBefore(order[right], order[left]) {
                merged.append(order[left])
                left += 1
            } else {
                merged.append(order[right])
                right += 1
            }
        }
        position = end
        return max(1, work)
    }

    private func isBefore(_ one: Int32, _ other: Int32) -> Bool {
        let (first, second) = (Int(offsets[Int(one)]), Int(offsets[Int(other)]))
        for (index, criterion) in criteria.enumerated() {
            let result = Value.compare(values[first + index], values[second + index])
            if result != 0 { return criterion.isReverse ? result > 0 : result < 0 }
        }
        return false
    }
}

/// A THREAD (RFC 5256) that reads headers in short steps.
final class ThreadRun: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private var threads: MessageThreads
    private let numbers: [UInt32]
    private let folder: any MailFolder
    private var walk: HeaderWalk
    private let memory: MemoryShare

    /// What identifiers and subjects may take in memory. Octets.
    private static let maximumWeight = 256 * 1024 * 1024

    /// - Parameters:
    ///   - messages: their numbers in the answer, and their UIDs.
    ///   - memory: what threading may take together.
    init(
        _ algorithm: ThreadCommand.Algorithm,
        _ messages: [(number: UInt32, uid: UInt32)],
        in folder: any MailFolder,
        index: FolderIndex?,
        memory: MemoryBudget
    ) {
        self.memory = MemoryShare(of: memory, maximum: Self.maximumWeight)
        threads = MessageThreads(algorithm)
        numbers = messages.map(\.number)
        self.folder = folder
        walk = HeaderWalk(messages.map(\.uid), in: folder, needsHeaders: true, index: index)
    }

    var done: Int { walk.next }

    /// Goes on for a turn; true when all messages were read.
    ///
    /// - Throws: `noSpace` when that takes too much memory, by itself or with what others have taken.
    func advance() throws(MailboxError) -> Bool {
        try walk.advance { (index, uid, header) throws(MailboxError) in
            let sent: Int
            if let date = HeaderValues.sent(header) { sent = date } else { sent = try folder.internalDate(of: uid) }
            threads.add(
                number: numbers[index],
                sent: sent,
                subject: HeaderValues.subject(header),
                identifier: threads.usesReferences ? HeaderValues.identifier(header) : nil,
                ancestors: threads.usesReferences ? HeaderValues.ancestors(header) : []
            )
            guard memory.cover(threads.weight) else { throw .noSpace }
        }
    }

    /// Gives its share of the memory back when its command is over, as a `SortRun` does.
    func giveMemoryBack() { memory.giveBack() }

    /// Makes the threads. One step: it takes no more than a second or two for all that the limit lets in, on a thread of the
    /// pool, of which an account has its share and no more.
    func finish() -> MessageThreads.Forest { threads.finish() }
}
