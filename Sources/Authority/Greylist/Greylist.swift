import NIOCore
import Network

/// What greylisting is told to do.
struct GreylistSettings: Sendable, Equatable {
    /// How long who is new has to wait. Seconds, as all times here.
    var wait = 300
    /// Within what time it must have come back.
    var retryWithin = 2 * 86400
    /// How long who has come back is remembered since the last mail.
    var remember = 36 * 86400
    /// So many triplets of a network that passed let all of it pass; 0 for never.
    var networkPasses = 5
    /// So many messages of a domain let all of its mail pass; 0 for never.
    var identityPasses = 2
    /// What is remembered at most.
    var capacity = 100_000
    /// New triplets of one network that are remembered at most: nobody fills the memory alone.
    var capacityPerNetwork = 1000

    init() {}
}

/// Who has come back after a while (RFC 6647): triplets of client network, sender and recipient, and the networks and domains
/// that are known by them. A value.
package struct Greylist: Sendable {
    /// What is remembered.
    package enum Key: Hashable, Sendable {
        /// A client's network, /24 or /64, and the addresses, in lower case.
        case triplet(network: String, sender: String, recipient: String)
        case network(String)
        /// A domain that SPF or DKIM has shown.
        case identity(String)
    }

    package struct Record: Equatable, Sendable {
        /// Seconds since 1970.
        package var first: Int
        package var last: Int
        /// Times that it passed; 0 for who has not come back yet. Below zero: the administrator lets it pass.
        package var passes: Int

        package var isPermanent: Bool { passes < 0 }

        static func permanent(now: Int) -> Record { Record(first: now, last: now, passes: -1) }
    }

    /// Who may pass, or has to wait.
    enum Answer: Equatable, Sendable {
        case pass(By)
        case wait(Int)
    }

    enum By: String, Sendable {
        case administrator
        case network
        case identity
        case triplet
    }

    private(set) var records: [Key: Record] = [:]
    /// Records that are not on disk yet as they are; gone ones among them.
    private(set) var changed: Set<Key> = []
    private let settings: GreylistSettings
    private var waiting: [String: Int] = [:]
    /// Networks that the administrator lets pass.
    private var allowed: [String: AddressRange] = [:]

    init(_ settings: GreylistSettings) { self.settings = settings }

    /// Nothing is remembered.
    package static let empty = Greylist(GreylistSettings())

    /// All that is remembered, in order.
    package var entries: [(key: Key, record: Record)] {
        records.map { ($0.key, $0.value) }.sorted { $0.0.text < $1.0.text }
    }

    // MARK: Mail

    /// Whether mail may pass.
    ///
    /// - Parameters:
    ///   - client: the address, of 4 or 16 octets.
    ///   - sender: empty for a report's.
    ///   - identities: domains that SPF or DKIM has shown, where that is known yet.
    mutating func ask(
        client: [UInt8],
        sender: String,
        recipient: String,
        identities: [String] = [],
        now: Int
    ) -> Answer {
        let network = Self.network(of: client)
        if allowed.values.contains(where: { $0.contains(client) }) { return .pass(.administrator) }
        for identity in identities.map(Self.normalized) {
            guard let record = known(.identity(identity), now) else { continue }
            if record.isPermanent { return .pass(.administrator) }
            if settings.identityPasses > 0, record.passes >= settings.identityPasses {
                touch(.identity(identity), now)
                return .pass(.identity)
            }
        }
        if settings.networkPasses > 0, let record = known(.network(network), now),
            record.passes >= settings.networkPasses
        {
            touch(.network(network), now)
            return .pass(.network)
        }
        let key = Key.triplet(
            network: network,
            sender: Self.normalizedSender(sender),
            recipient: Self.normalized(recipient)
        )
        guard var record = known(key, now) else {
            remember(key, Record(first: now, last: now, passes: 0), now)
            return .wait(settings.wait)
        }
        if record.passes == 0 {
            guard now - record.first >= settings.wait else { return .wait(settings.wait - (now - record.first)) }
            count(.network(network), now)
        }
        record.passes = min(record.passes + 1, Self.maximumPasses)
        record.last = now
        store(key, record)
        return .pass(.triplet)
    }

    /// Mail was taken that had to wait first: the domains that SPF and DKIM show for it are known by it.
    mutating func accepted(identities: [String], now: Int) {
        for identity in Set(identities.map(Self.normalized)).prefix(Self.maximumIdentities) where !identity.isEmpty {
            count(.identity(identity), now)
        }
    }

    private static let maximumPasses = 1_000_000
    /// Of one message.
    private static let maximumIdentities = 10

    private mutating func count(_ key: Key, _ now: Int) {
        guard var record = known(key, now) else {
            return remember(key, Record(first: now, last: now, passes: 1), now)
        }
        guard !record.isPermanent else { return }
        record.passes = min(record.passes + 1, Self.maximumPasses)
        record.last = now
        store(key, record)
    }

    /// To the hour is enough: a busy network must not be written each second.
    private mutating func touch(_ key: Key, _ now: Int) {
        guard var record = records[key], now - record.last > 3600 else { return }
        record.last = now
        store(key, record)
    }

    private func known(_ key: Key, _ now: Int) -> Record? {
        records[key].flatMap { isExpired($0, now) ? nil : $0 }
    }

    private func isExpired(_ record: Record, _ now: Int) -> Bool {
        if record.isPermanent { return false }
        return now - record.last > (record.passes == 0 ? settings.retryWithin : settings.remember)
    }

    // MARK: The administrator

    /// Lets a network or a domain pass from now on.
    ///
    /// - Returns: whether it's one of these.
    package mutating func allow(_ text: String, now: Int) -> Bool {
        if AddressRange(text) != nil {
            store(.network(text.lowercased()), .permanent(now: now))
            return true
        }
        guard !text.isEmpty, text.utf8.count <= 255, !text.contains("@"), text.contains("."),
            text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") })
        else { return false }
        store(.identity(Self.normalized(text)), .permanent(now: now))
        return true
    }

    /// Forgets what has to do with a network, a domain or an address.
    ///
    /// - Returns: how many records that were.
    package mutating func remove(_ text: String) -> Int {
        let text = Self.normalized(text)
        let found = records.keys.filter { key in
            switch key {
            case .network(let network): network == text
            case .identity(let identity): identity == text
            case .triplet(let network, let sender, let recipient):
                network == text || sender == text || recipient == text || sender == Self.normalizedSender(text)
            }
        }
        for key in found { forget(key) }
        return found.count
    }

    // MARK: Memory

    private mutating func remember(_ key: Key, _ record: Record, _ now: Int) {
        if case .triplet(let network, _, _) = key, waiting[network, default: 0] >= settings.capacityPerNetwork {
            // Only those that don't wait any more make room.
            for (other, known) in records where other.network == network && isExpired(known, now) { forget(other) }
            guard waiting[network, default: 0] < settings.capacityPerNetwork else { return }
        }
        if records[key] == nil, records.count >= settings.capacity { makeRoom(now) }
        store(key, record)
    }

    /// The expired go, and where that's not enough the older half of those that have not come back.
    private mutating func makeRoom(_ now: Int) {
        for (key, record) in records where isExpired(record, now) { forget(key) }
        guard records.count >= settings.capacity else { return }
        var times = records.values.filter { $0.passes == 0 }.map(\.last).sorted()
        if times.isEmpty { times = records.values.filter { !$0.isPermanent }.map(\.last).sorted() }
        guard !times.isEmpty else { return }
        let middle = times[times.count / 2]
        let isWaiting = records.values.contains { $0.passes == 0 }
        for (key, record) in records where !record.isPermanent && record.last <= middle {
            if record.passes == 0 || !isWaiting { forget(key) }
        }
    }

    private mutating func store(_ key: Key, _ record: Record) {
        note(key, from: records[key], to: record)
        records[key] = record
        changed.insert(key)
    }

    private mutating func forget(_ key: Key) {
        note(key, from: records[key], to: nil)
        records[key] = nil
        changed.insert(key)
    }

    private mutating func note(_ key: Key, from old: Record?, to new: Record?) {
        switch key {
        case .identity: break
        case .network(let text):
            allowed[text] = new?.isPermanent == true ? AddressRange(text) : nil
        case .triplet(let network, _, _):
            let change = (new?.passes == 0 ? 1 : 0) - (old?.passes == 0 ? 1 : 0)
            let count = waiting[network, default: 0] + change
            waiting[network] = count > 0 ? count : nil
        }
    }

    /// Forgets what has expired.
    mutating func expire(now: Int) {
        for (key, record) in records where isExpired(record, now) { forget(key) }
    }

    // MARK: Names

    /// The network of an address, as text: /24 or /64, in which a host's retries come from several addresses.
    static func network(of client: [UInt8]) -> String {
        if client.count == 4 { return client.prefix(3).map { "\($0)." }.joined() + "0/24" }
        guard client.count == 16 else { return "local" }
        let groups = stride(from: 0, to: 8, by: 2).map { String(Int(client[$0]) << 8 | Int(client[$0 + 1]), radix: 16) }
        return groups.joined(separator: ":") + "::/64"
    }

    /// In lower case, and without what would end a field in the file.
    private static func normalized(_ text: String) -> String {
        let octets = text.utf8.prefix(maximumText).map { octet -> UInt8 in
            switch octet {
            case 0x41...0x5A: octet | 0x20
            case 0...0x20, 0x7F: UInt8(ascii: "?")
            default: octet
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }

    private static let maximumText = 320

    /// A list has a sender of its own for each message or recipient: numbers, and what stands behind a `+`, don't count.
    private static func normalizedSender(_ sender: String) -> String {
        let text = normalized(sender)
        guard let at = text.lastIndex(of: "@") else { return text }
        var local = text[..<at]
        if let plus = local.firstIndex(of: "+"), plus != local.startIndex { local = local[..<plus] }
        var folded = ""
        for character in local {
            if !character.isASCII || !character.isNumber {
                folded.append(character)
            } else if folded.last != "#" {
                folded.append("#")
            }
        }
        return folded + text[at...]
    }
}

extension Greylist.Key {
    fileprivate var network: String? { if case .triplet(let network, _, _) = self { network } else { nil } }

    /// As in the file.
    package var text: String {
        switch self {
        case .triplet(let network, let sender, let recipient): "triplet\t\(network)\t\(sender)\t\(recipient)"
        case .network(let network): "network\t\(network)"
        case .identity(let identity): "domain\t\(identity)"
        }
    }

    fileprivate init?(_ fields: some Collection<Substring>) {
        let fields = fields.map(String.init)
        switch (fields.first, fields.count) {
        case ("triplet", 4): self = .triplet(network: fields[1], sender: fields[2], recipient: fields[3])
        case ("network", 2): self = .network(fields[1])
        case ("domain", 2): self = .identity(fields[1])
        default: return nil
        }
    }
}

// MARK: - On disk

extension Greylist {
    /// The lines that bring the file up to date.
    var changedLines: [String] { changed.map(line) }

    /// A file anew.
    var lines: [String] { records.keys.map(line) }

    /// What has changed is on its way to the disk.
    mutating func forgetChanges() { changed = [] }

    /// It was not written after all.
    mutating func restoreChanges(_ keys: Set<Key>) { changed.formUnion(keys) }

    /// `-1` for the time of what is gone.
    private func line(_ key: Key) -> String {
        guard let record = records[key] else { return "\(key.text)\t-1\t-1\t0" }
        return "\(key.text)\t\(record.first)\t\(record.last)\t\(record.passes)"
    }

    /// Takes a line over that was written before; later ones win. What isn't understood, such as a torn line, is passed over.
    mutating func read(_ line: Substring) {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
        guard fields.count >= 5, let key = Key(fields.dropLast(3)), let first = Int(fields[fields.count - 3]),
            let last = Int(fields[fields.count - 2]), let passes = Int(fields[fields.count - 1]),
            first <= Self.longestTime, last <= Self.longestTime
        else { return }
        if first < 0 {
            forget(key)
        } else if records[key] != nil || records.count < settings.capacity {
            store(key, Record(first: first, last: max(first, last), passes: passes))
        }
    }

    private static let longestTime = 1 << 40

    /// The file in authd's own directory.
    static func file(in directory: String) -> String { "\(directory)/greylist" }

    static let maximumOctets = 256 << 20

    /// What stands in the file of an instance; nil where it can't be read, `errno` says why.
    package init?(reading directory: String) {
        self.init(GreylistSettings())
        guard let octets = StateFile.octets(Self.file(in: directory), maximum: Self.maximumOctets) else { return nil }
        for line in String(decoding: octets, as: UTF8.self).split(separator: "\n") { read(line) }
    }
}
