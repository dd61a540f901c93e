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
        let variant: UInt8
        let answer: [UInt8]
        let timesToLive: [Int]
        /// Where the OPT record begins, the last one; nil where there is none.
        let optAt: Int?
        let stored: Int64
        let expires: Int64
        /// Of which versions of the zones it is; nil where it doesn't depend on them.
        let zoneVersions: Int?

        init(
            _ query: PlainQuery,
            _ answer: [UInt8],
            _ timesToLive: [Int],
            optAt: Int?,
            stored: Int64,
            expires: Int64,
            zoneVersions: Int?
        ) {
            self.zoneVersions = zoneVersions
            question = query.question
            variant = query.variant
            self.answer = answer
            self.timesToLive = timesToLive
            self.optAt = optAt
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

    /// An answer, and where its OPT record begins.
    typealias Found = (octets: ByteBuffer, optAt: Int?)

    /// The answer to a query; nil where there is none, or it's larger than the client takes.
    mutating func answer(to query: PlainQueryView, maximum: Int, now: Int64) -> Found? {
        guard let entry = entries.value(for: query.hash(seed)), entry.variant == query.variant,
            query.matches(entry.question), entry.answer.count <= maximum
        else { return nil }
        guard now < entry.expires, entry.zoneVersions == nil || entry.zoneVersions == zoneVersions else {
            entries.remove(query.hash(seed))
            return nil
        }
        var buffer = ByteBuffer(bytes: entry.answer)
        query.personalize(&buffer)
        let elapsed = UInt32(clamping: now - entry.stored)
        if elapsed > 0 {
            for offset in entry.timesToLive {
                let timeToLive = buffer.getInteger(at: offset, as: UInt32.self) ?? 0
                buffer.setInteger(timeToLive > elapsed ? timeToLive - elapsed : 0, at: offset)
            }
        }
        return (buffer, entry.optAt)
    }

    /// Keeps an answer.
    ///
    /// - Parameters:
    ///   - lifetime: seconds; nil for as long as the zones stay as they are, the times to live too.
    ///   - dependsOnZones: whether other versions of local zones could make it another answer.
    mutating func keep(
        _ answer: [UInt8],
        for query: PlainQuery,
        lifetime: UInt32?,
        dependsOnZones: Bool,
        now: Int64
    ) {
        guard answer.count <= Self.maximumAnswer, lifetime != 0, let places = Self.places(in: answer) else {
            return
        }
        let entry = Entry(
            query,
            answer.compacted,
            lifetime == nil ? [] : places.timesToLive.compacted,
            optAt: places.optAt,
            stored: now,
            expires: lifetime.map { now + Int64($0) } ?? .max,
            zoneVersions: dependsOnZones ? zoneVersions : nil
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

    /// Where the times to live are in a message of ours, and the OPT record that it ends with.
    private static func places(in message: [UInt8]) -> (timesToLive: [Int], optAt: Int?)? {
        var places: [Int] = []
        var optAt: Int?
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
                places.append(position + 4)
            }
            position += 10 + number(position + 8)
        }
        return position == message.count ? (places, optAt) : nil
    }
}
