import Daemon
import NIOCore
import Network

/// What greylisting is told to do.
package struct GreylistSettings: Sendable, Equatable {
    /// How long who is new has to wait. Seconds, as all times here.
    var wait: Int
    /// Within what time it must have come back.
    var retryWithin: Int
    /// How long who has come back is remembered since the last mail.
    var remember: Int
    /// So many triplets of a network that passed let all of it pass; 0 for never.
    var networkPasses: Int
    /// So many messages of a domain let all of its mail pass; 0 for never.
    var identityPasses: Int
    /// What is remembered at most, beside what the administrator lets pass.
    var capacity: Int
    /// New triplets of one network, of IPv6 a /48, that are remembered at most: nobody fills the memory alone. Beyond it the
    /// oldest goes of the client that has most of them.
    var capacityPerNetwork = 1000

    package init(_ configuration: GreylistConfiguration = GreylistConfiguration()) {
        func seconds(_ time: TimeAmount) -> Int { Int(time.nanoseconds / 1_000_000_000) }
        wait = seconds(configuration.wait)
        retryWithin = seconds(configuration.retryWithin)
        remember = seconds(configuration.remember)
        networkPasses = configuration.networkPasses
        identityPasses = configuration.identityPasses
        capacity = configuration.capacity
    }

    /// Of what is remembered, the most that is of one kind: who can make up domains doesn't take the triplets' room.
    fileprivate func share(of kind: Greylist.Key.Kind) -> Int {
        let fifth = capacity / 5
        return kind == .triplet ? capacity - 2 * fifth : fifth
    }

    /// Passes from which on a record is worth something.
    fileprivate func worth(of kind: Greylist.Key.Kind) -> Int {
        switch kind {
        case .triplet: 1
        case .network: max(1, networkPasses)
        case .identity: max(1, identityPasses)
        }
    }
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

        enum Kind: Sendable { case triplet, network, identity }

        var kind: Kind {
            switch self {
            case .triplet: .triplet
            case .network: .network
            case .identity: .identity
            }
        }
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
    /// So much has changed that a file has to be written anew.
    private(set) var isAllChanged = false
    private let settings: GreylistSettings
    /// Triplets that have not come back, by site.
    private var waiting: [String: WaitingTriplets] = [:]
    /// Records of each kind, but for the administrator's.
    private var counts: [Key.Kind: Int] = [:]
    /// When the expired went last.
    private var cleaned = 0
    /// Networks that the administrator lets pass.
    private var allowed: [String: AddressRange] = [:]

    /// Nothing is remembered.
    package init(_ settings: GreylistSettings) { self.settings = settings }

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
            remember(key, Record(first: now, last: now, passes: 0), now, from: Self.host(client))
            return .wait(settings.wait)
        }
        if record.passes == 0 {
            guard now - record.first >= settings.wait else {
                if record != records[key] { store(key, record) }
                return .wait(settings.wait - (now - record.first))
            }
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
        guard var record = records[key], now - record.last > 3600 || record.last > now else { return }
        record.last = now
        store(key, record)
    }

    private func known(_ key: Key, _ now: Int) -> Record? {
        records[key].flatMap { isExpired($0, now) ? nil : Self.settled($0, now) }
    }

    /// Where the clock was put back, its time counts from now on: or it would have to wait until the clock is there again.
    private static func settled(_ record: Record, _ now: Int) -> Record {
        Record(first: min(record.first, now), last: min(record.last, now), passes: record.passes)
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

    private mutating func remember(_ key: Key, _ record: Record, _ now: Int, from host: [UInt8] = []) {
        if case .triplet(let network, _, _) = key {
            let site = Self.site(of: network)
            if isFull(site) { clean(now) }
            // Who sends most makes room, and so keeps none of its neighbours out.
            while isFull(site), let oldest = waiting[site]?.oldestOfBusiest { forget(oldest) }
        }
        if records[key] == nil { makeRoom(for: key.kind, now) }
        store(key, record, from: host)
    }

    private func isFull(_ site: String) -> Bool { (waiting[site]?.count ?? 0) >= max(1, settings.capacityPerNetwork) }

    /// The expired go, and where that's not enough the older half of those of a kind that have proved nothing. Where these are
    /// few, the older half of all.
    private mutating func makeRoom(for kind: Key.Kind, _ now: Int) {
        guard counts[kind, default: 0] >= settings.share(of: kind) else { return }
        clean(now)
        guard counts[kind, default: 0] >= settings.share(of: kind) else { return }
        let all = records.filter { $0.key.kind == kind && !$0.value.isPermanent }
        let unproven = all.filter { $0.value.passes < settings.worth(of: kind) }
        let chosen = (unproven.count > all.count / 4 ? unproven : all).sorted { $0.value.last < $1.value.last }
        for (key, _) in chosen.prefix((chosen.count + 1) / 2) { forget(key) }
    }

    private mutating func store(_ key: Key, _ record: Record, from host: [UInt8] = []) {
        note(key, from: records[key], to: record, host)
        records[key] = record
    }

    private mutating func forget(_ key: Key) {
        note(key, from: records[key], to: nil)
        records[key] = nil
    }

    private mutating func note(_ key: Key, from old: Record?, to new: Record?, _ host: [UInt8] = []) {
        let change = (new?.isPermanent == false ? 1 : 0) - (old?.isPermanent == false ? 1 : 0)
        counts[key.kind, default: 0] += change
        switch key {
        case .identity: break
        case .network(let text):
            allowed[text] = new?.isPermanent == true ? AddressRange(text) : nil
        case .triplet(let network, _, _):
            let site = Self.site(of: network)
            switch (old?.passes == 0, new?.passes == 0) {
            case (false, true): waiting[site, default: WaitingTriplets()].add(key, from: host)
            case (true, false):
                waiting[site]?.remove(key)
                if waiting[site]?.count == 0 { waiting[site] = nil }
            case (true, true), (false, false): break
            }
        }
        guard !isAllChanged else { return }
        changed.insert(key)
        // The disk may be away for long.
        if changed.count > max(settings.capacity, 1000) { changeAll() }
    }

    /// Looking through all for the expired takes a while; who asks often doesn't make it happen often.
    private static let cleaningInterval = 60

    private mutating func clean(_ now: Int) {
        guard abs(now - cleaned) >= Self.cleaningInterval else { return }
        expire(now: now)
    }

    /// Forgets what has expired.
    mutating func expire(now: Int) {
        cleaned = now
        for (key, record) in records {
            if isExpired(record, now) {
                forget(key)
            } else if record.last > now {
                store(key, Self.settled(record, now))
            }
        }
    }

    // MARK: Names

    /// The network of an address, as text: /24 or /64, in which a host's retries come from several addresses.
    static func network(of client: [UInt8]) -> String {
        if client.count == 4 { return client.prefix(3).map { "\($0)." }.joined() + "0/24" }
        guard client.count == 16 else { return "local" }
        let groups = stride(from: 0, to: 8, by: 2).map { String(Int(client[$0]) << 8 | Int(client[$0 + 1]), radix: 16) }
        return groups.joined(separator: ":") + "::/64"
    }

    /// Who counts as one client among its neighbours: an address, of IPv6 its /64.
    private static func host(_ client: [UInt8]) -> [UInt8] { client.count == 16 ? Array(client.prefix(8)) : client }

    /// What one customer has of a network's kind: of IPv6 the /48 that it's in.
    private static func site(of network: String) -> String {
        guard network.utf8.contains(UInt8(ascii: ":")) else { return network }
        return network.split(separator: ":", maxSplits: 3).prefix(3).joined(separator: ":")
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
    mutating func forgetChanges() {
        changed = []
        isAllChanged = false
    }

    /// What is on disk is of no use.
    mutating func changeAll() {
        changed = []
        isAllChanged = true
    }

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
        guard first >= 0 else { return forget(key) }
        let known = min(max(passes, -1), Self.maximumPasses)
        store(key, Record(first: first, last: max(first, last), passes: known))
    }

    /// All lines of a file. What is more than there is room for goes.
    mutating func read(_ octets: [UInt8]) -> Int {
        var count = 0
        for line in String(decoding: octets, as: UTF8.self).split(separator: "\n") {
            read(line)
            count += 1
        }
        let latest = records.values.lazy.map(\.last).max() ?? 0
        for kind in [Key.Kind.triplet, .network, .identity] {
            while counts[kind, default: 0] > settings.share(of: kind) { makeRoom(for: kind, latest) }
        }
        return count
    }

    private static let longestTime = 1 << 40

    /// The file in authd's own directory.
    static func file(in directory: String) -> String { "\(directory)/greylist" }

    static let maximumOctets = 256 << 20

    /// What stands in the file of an instance; nil where it can't be read, `errno` says why.
    package init?(reading directory: String, _ settings: GreylistSettings) {
        self.init(settings)
        guard let octets = StateFile.octets(Self.file(in: directory), maximum: Self.maximumOctets) else { return nil }
        _ = read(octets)
    }
}
