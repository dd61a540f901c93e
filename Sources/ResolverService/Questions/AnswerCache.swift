import Caching
import DNS
import NIOCore

/// Whole answers, ready to be sent, on one event loop: found by the octets of the question alone, and sent with another
/// ID, the client's own case, and times to live counted down. No decoding and no lock is in this path.
struct AnswerCache {
    private var entries: BoundedCache<UInt64, Entry>
    private let seed = UInt64.random(in: .min ... .max)
    /// Counts the versions of local zones.
    private var zoneVersions = 0

    /// A class, so that finding one copies nothing.
    private final class Entry {
        let question: [UInt8]
        let variant: UInt16
        let answer: [UInt8]
        let timesToLive: [Int]
        /// Where the OPT record begins.
        let optAt: Int?
        /// What it's about, for limits.
        let topic: UInt64
        let stored: Int64
        let expires: Int64
        /// Of which versions of the zones it is; nil where it doesn't depend on them.
        let zoneVersions: Int?

        init(
            _ query: PlainQuery,
            _ answer: ReadyAnswer,
            _ layout: Layout,
            stored: Int64,
            expires: Int64,
            zoneVersions: Int?
        ) {
            self.zoneVersions = zoneVersions
            question = query.question
            variant = query.variant
            self.answer = answer.octets.compacted
            topic = answer.topic
            timesToLive = answer.countsDown ? layout.timesToLive.compacted : []
            optAt = layout.optAt
            self.stored = stored
            self.expires = expires
        }
    }

    /// Answers larger than this aren't worth it. Octets.
    static let maximumAnswer = 4096

    /// What an entry takes beside its arrays and its place in the cache. Octets.
    private static let entryCost = 112

    init(limit: Int) {
        entries = BoundedCache(limit: limit)
    }

    /// The answer to a query, where its OPT record begins, and what it's about; nil where there is none, or it's larger
    /// than the client takes.
    ///
    /// - Parameter options: added to those that the answer has.
    mutating func answer(
        to query: PlainQueryView,
        _ options: AnswerOptions,
        maximum: Int,
        now: Int64
    ) -> (answer: ByteBuffer, optAt: Int?, topic: UInt64)? {
        guard let entry = entries.value(for: query.hash(seed)), entry.variant == query.variant,
            query.matches(entry.question), entry.answer.count + options.count <= maximum
        else { return nil }
        guard now < entry.expires, entry.zoneVersions == nil || entry.zoneVersions == zoneVersions else {
            entries.remove(query.hash(seed))
            return nil
        }
        var buffer = ByteBufferAllocator().buffer(capacity: entry.answer.count + options.count)
        buffer.writeBytes(entry.answer)
        query.personalize(&buffer)
        let elapsed = UInt32(clamping: now - entry.stored)
        if elapsed > 0 {
            for offset in entry.timesToLive {
                let timeToLive = buffer.getInteger(at: offset, as: UInt32.self) ?? 0
                buffer.setInteger(timeToLive > elapsed ? timeToLive - elapsed : 0, at: offset)
            }
        }
        if let place = entry.optAt { options.append(to: &buffer, optAt: place) }
        return (buffer, entry.optAt, entry.topic)
    }

    /// Keeps an answer.
    mutating func keep(_ answer: ReadyAnswer, for query: PlainQuery, now: Int64) {
        guard answer.octets.count <= Self.maximumAnswer, answer.lifetime != 0, let layout = Layout(answer.octets)
        else { return }
        let entry = Entry(
            query,
            answer,
            layout,
            stored: now,
            expires: answer.lifetime.map { now + Int64($0) } ?? .max,
            zoneVersions: answer.dependsOnZones ? zoneVersions : nil
        )
        let cost =
            Self.entryCost + entry.answer.memoryCost + entry.question.memoryCost + entry.timesToLive.memoryCost
        entries.insert(entry, for: query.hash(seed), cost: cost)
    }

    /// That local zones have other versions now.
    mutating func outdateZones() { zoneVersions += 1 }

    mutating func flush() { entries.removeAll() }

    /// What the answers take now. Octets.
    var octets: Int { entries.total }
    /// What they may take. Octets.
    var limit: Int { entries.limit }
}

/// An answer that may be given again.
struct ReadyAnswer {
    var octets: [UInt8]
    /// What it's about, for limits.
    var topic: UInt64
    /// Seconds; nil for as long as the zones stay as they are.
    var lifetime: UInt32?
    /// Whether the times to live run down.
    var countsDown: Bool
    /// Whether other versions of local zones could make it another answer.
    var dependsOnZones: Bool
}

/// Where in a message of ours those things are that change from one sending to the next.
private struct Layout {
    /// Those of all records but OPT.
    var timesToLive: [Int] = []
    /// The OPT record's beginning.
    var optAt: Int?

    init?(_ message: [UInt8]) {
        var position = DNSMessage.headerOctets
        func skipName() {
            while position < message.count {
                let length = message[position]
                if length & 0xC0 == 0xC0 {
                    position += 2
                    return
                }
                position += 1 + Int(length)
                if length == 0 { return }
            }
        }
        func number(_ offset: Int) -> Int { Int(message[offset]) << 8 | Int(message[offset + 1]) }
        guard message.count >= DNSMessage.headerOctets else { return nil }
        for _ in 0..<number(4) {
            skipName()
            position += 4
        }
        for _ in 0..<(number(6) + number(8) + number(10)) {
            let start = position
            skipName()
            guard position + 10 <= message.count else { return nil }
            if number(position) == Int(RecordType.opt.rawValue) {
                optAt = start
            } else {
                timesToLive.append(position + 4)
            }
            position += 10 + number(position + 8)
        }
        guard position == message.count else { return nil }
    }
}
