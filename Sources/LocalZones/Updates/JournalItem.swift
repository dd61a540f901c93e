import CLinux
import DNS
import ZoneTransfer

/// What a zone's journal holds, in the order in which it came about.
enum JournalItem: Equatable, Sendable {
    /// The zone's file has this version, or is about to have it.
    case file(serial: UInt32, FileContent)
    case difference(ZoneDifference)
}

/// What tells one content of a file from another: an edit by hand is recognised, nobody is kept out.
struct FileContent: Equatable, Sendable {
    private(set) var octets: UInt64 = 0
    /// CRC-32C.
    private(set) var checksum: UInt32 = 0

    init() {}

    init(octets: UInt64, checksum: UInt32) {
        self.octets = octets
        self.checksum = checksum
    }

    init(_ content: [UInt8]) { add(content) }

    mutating func add(_ content: [UInt8]) {
        octets += UInt64(content.count)
        checksum = content.withUnsafeBytes { CLinux_crc32c(checksum, $0.baseAddress, $0.count) }
    }
}

/// The octets of a journal: a heading, then one frame for all items that were put on stable storage together, each behind
/// its length and a CRC-32C (four octets each, in network order). An item begins with an octet that says its kind: 1 for a
/// file (serial, four octets; length, eight; checksum, four), 2 for a difference (the numbers of records removed and
/// added, four octets each; the former SOA record and the removed ones, the latter one and the added ones, as they are in
/// messages, uncompressed).
enum JournalFormat {
    static let heading = Array("martlet dns journal 1\n".utf8)

    /// The most octets that a frame may have, its head included.
    static let maximumFrame = 512 << 20

    /// What the octets of a file hold.
    struct Content {
        var items: [JournalItem] = []
        /// Up to where the octets are right.
        var validOctets = 0
        /// Whether there are octets behind that, of a frame that was never finished.
        var isTorn = false
    }

    /// What is wrong with a journal in another place than its end.
    struct Damage: Error, CustomStringConvertible {
        let description: String
    }

    static func frame(_ items: [JournalItem]) -> [UInt8] {
        var payload: [UInt8] = []
        for item in items { append(item, to: &payload) }
        var octets: [UInt8] = []
        octets.append(integer: UInt32(clamping: payload.count))
        octets.append(integer: payload.withUnsafeBytes { CLinux_crc32c(0, $0.baseAddress, $0.count) })
        return octets + payload
    }

    private static func append(_ item: JournalItem, to octets: inout [UInt8]) {
        switch item {
        case .file(let serial, let content):
            octets.append(1)
            octets.append(integer: serial)
            octets.append(integer: UInt32(truncatingIfNeeded: content.octets >> 32))
            octets.append(integer: UInt32(truncatingIfNeeded: content.octets))
            octets.append(integer: content.checksum)
        case .difference(let difference):
            octets.append(2)
            octets.append(integer: UInt32(clamping: difference.removed.count))
            octets.append(integer: UInt32(clamping: difference.added.count))
            for record in difference.records {
                octets += record.name.wire
                octets.append(integer: record.type.rawValue)
                octets.append(integer: record.class.rawValue)
                octets.append(integer: record.timeToLive)
                octets.append(integer: UInt16(truncatingIfNeeded: record.data.count))
                octets += record.data
            }
        }
    }

    /// What a journal holds.
    ///
    /// A frame that is cut off or wrong is taken for the one that was being written when the machine stopped, which nobody
    /// was told of, when nothing right comes behind it.
    static func read(_ octets: [UInt8]) throws(Damage) -> Content {
        var content = Content()
        guard !octets.isEmpty else { return content }
        guard octets.starts(with: heading) else {
            guard octets.count < heading.count, heading.starts(with: octets) else {
                throw Damage(description: "it doesn't begin as journals do")
            }
            content.isTorn = true
            return content
        }
        content.validOctets = heading.count
        while content.validOctets < octets.count {
            guard let payload = payload(octets, at: content.validOctets) else {
                content.isTorn = true
                try checkRest(octets, from: content.validOctets)
                return content
            }
            guard let items = items(Array(octets[payload])) else {
                throw Damage(description: "a frame at octet \(content.validOctets) can't be read")
            }
            content.items += items
            content.validOctets = payload.upperBound
        }
        return content
    }

    /// Where the payload of the frame at a place is; nil where there is no whole frame with the right checksum.
    private static func payload(_ octets: [UInt8], at place: Int) -> Range<Int>? {
        guard octets.count - place >= 8 else { return nil }
        let length = Int(octets.number(at: place))
        guard length > 0, length <= maximumFrame - 8, octets.count - place - 8 >= length else { return nil }
        let payload = (place + 8)..<(place + 8 + length)
        let checksum = octets[payload].withUnsafeBytes { CLinux_crc32c(0, $0.baseAddress, $0.count) }
        return checksum == octets.number(at: place + 4) ? payload : nil
    }

    /// Where right frames come behind a wrong one it isn't a torn end. All of the rest is looked at: a frame may be long.
    private static func checkRest(_ octets: [UInt8], from start: Int) throws(Damage) {
        var budget = maximumCheck
        for place in (start + 1)..<max(start + 1, octets.count - 8) where looksLikeFrame(octets, at: place) {
            budget -= Int(octets.number(at: place))
            // Where too much looks so, nothing is cut off that may count.
            if budget < 0 || payload(octets, at: place) != nil {
                throw Damage(description: "the frame at octet \(start) is damaged, and others come behind it")
            }
        }
    }

    /// How many octets are summed up in the search for right frames behind a wrong one.
    private static let maximumCheck = 1 << 30

    /// Whether a frame may begin at a place, so that its checksum is worth being made: a length that fits, and an item.
    private static func looksLikeFrame(_ octets: [UInt8], at place: Int) -> Bool {
        let length = Int(octets.number(at: place))
        var item = place + 8
        guard length > 0, length <= octets.count - item else { return false }
        let end = item + length
        while item < end, octets[item] == 1 { item += fileItem }
        if item >= end { return item == end }
        guard octets[item] == 2 else { return false }
        // A difference: two numbers, and the SOA record's name and type.
        item += 9
        while item < end, octets[item] > 0, octets[item] <= DomainName.maximumLabelOctets {
            item += 1 + Int(octets[item])
        }
        return item + 2 < end && octets[item] == 0 && octets[item + 1] == 0
            && octets[item + 2] == UInt8(RecordType.soa.rawValue)
    }

    /// How many octets an item about a file has.
    private static let fileItem = 17

    private static func items(_ payload: [UInt8]) -> [JournalItem]? {
        var items: [JournalItem] = []
        var reader = MessageReader(payload)
        do {
            while !reader.isAtEnd {
                switch try reader.readOctets(1).first {
                case 1:
                    let serial = try reader.readInteger32()
                    let length = UInt64(try reader.readInteger32()) << 32 | UInt64(try reader.readInteger32())
                    let content = FileContent(octets: length, checksum: try reader.readInteger32())
                    items.append(.file(serial: serial, content))
                case 2:
                    let removed = Int(try reader.readInteger32())
                    let added = Int(try reader.readInteger32())
                    let former = try reader.readRecord()
                    var difference = ZoneDifference(former: former, latter: former)
                    for _ in 0..<removed { difference.removed.append(try reader.readRecord()) }
                    difference.latter = try reader.readRecord()
                    for _ in 0..<added { difference.added.append(try reader.readRecord()) }
                    guard former.type == .soa, difference.latter.type == .soa else { return nil }
                    items.append(.difference(difference))
                default: return nil
                }
            }
        } catch {
            return nil
        }
        return items
    }
}

extension [UInt8] {
    /// Four octets in network order; 0 where there are fewer.
    fileprivate func number(at place: Int) -> UInt32 {
        guard place >= 0, count - place >= 4 else { return 0 }
        return self[place..<(place + 4)].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

extension ZoneDifference {
    /// What it takes in a journal, and about what it takes in memory. Octets.
    var cost: Int { 9 + records.reduce(0) { $0 + $1.name.wireCount + $1.data.count + 10 } }
}
