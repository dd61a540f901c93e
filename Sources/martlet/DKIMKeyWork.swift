import ArgumentParser
import DNS
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// A key of the instance as commands show it.
struct DKIMKeyDocument: Encodable {
    var domain: String
    var selector: String
    var algorithm: String
    var state: String
    /// YYYYMMDDHHmmSS in UTC.
    var since: String
    /// What the DNS says; missing for keys that are retired, or can't be read.
    var dns: String?
    /// The record's name, and its text; the latter is missing for keys that are gone.
    var name: String
    var record: String?
    var masterFileLine: String?
    /// The zone into which resolverd has put the record, or from which it has taken it.
    var zone: String?
    /// Why the record has to be put there, or taken away, by hand.
    var byHand: String?

    init(_ domain: String, _ entry: SelectorList.Entry, _ key: SigningKey?) {
        self.domain = domain
        selector = entry.selector
        algorithm = entry.algorithm.rawValue
        state = entry.state.rawValue
        since = Moment.print(entry.since)
        name = "\(entry.selector)._domainkey.\(domain)"
        record = key.map { String(decoding: $0.record, as: UTF8.self) }
        masterFileLine = key.map { String(decoding: $0.masterFileLine, as: UTF8.self) }
    }

    var line: String { "\(domain) \(selector) \(algorithm) \(state) \(since)" + (dns.map { " dns:\($0)" } ?? "") }

    /// A line about the key, and what is to be done in the DNS; a zone's file takes all of it.
    func show() {
        print("; \(line)")
        if let zone {
            print("; the record is \(record == nil ? "gone from" : "in") the zone \(zone)")
        } else if let byHand {
            print("; \(record == nil ? "to be taken away: \(name) TXT" : "to be published") (\(byHand))")
        }
        if let masterFileLine { print(masterFileLine) }
    }
}

/// What commands do with the keys of a domain: first the file, then the DNS, so that nothing signs that nobody can verify.
struct DKIMKeyWork {
    private let keyring: DKIMKeyring

    /// How long records of keys that sign no more are still looked up: mail may be a week on its way. Seconds.
    static let retirement: UInt32 = 7 * 86400

    init(_ keyring: DKIMKeyring) { self.keyring = keyring }

    private static var now: UInt32 { UInt32(truncatingIfNeeded: time(nil)) }

    /// Makes a key for each algorithm and publishes it.
    func add(
        _ algorithms: [SignatureAlgorithm],
        selector: String?,
        bits: Int,
        state: SelectorState
    ) async throws -> [DKIMKeyDocument] {
        var list = try keyring.list()
        var made: [DKIMKeyDocument] = []
        for algorithm in algorithms {
            let selector = try selector ?? Self.freeSelector(algorithm, list)
            guard !list.entries.contains(where: { $0.selector == selector }) else {
                throw ValidationError("\(keyring.domain) has a selector \(selector) already")
            }
            guard list.entries.count < SelectorList.maximumEntries else {
                throw ValidationError("\(keyring.domain) has \(list.entries.count) keys already")
            }
            let key = try keyring.generate(selector, algorithm, bits: bits)
            let entry = SelectorList.Entry(selector: selector, algorithm: algorithm, state: state, since: Self.now)
            list.entries.append(entry)
            var document = DKIMKeyDocument(keyring.domain, entry, key)
            await Self.publish(&document, key.record)
            made.append(document)
        }
        try keyring.save(list)
        return made
    }

    /// A selector with the date that the domain hasn't used; one is never used again, since records stay in caches.
    private static func freeSelector(_ algorithm: SignatureAlgorithm, _ list: SelectorList) throws -> String {
        let base = (algorithm == .ed25519SHA256 ? "e" : "r") + Moment.print(now).prefix(8)
        let names = [base] + (2...SelectorList.maximumEntries + 1).map { "\(base)-\($0)" }
        guard let free = names.first(where: { name in !list.entries.contains { $0.selector == name } }) else {
            throw ValidationError("give the key a name with --selector")
        }
        return free
    }

    private static func publish(_ document: inout DKIMKeyDocument, _ record: [UInt8]?) async {
        switch await DKIMPublication.publish(record, document.name) {
        case .done(let zone): document.zone = zone
        case .byHand(let reason): document.byHand = reason
        }
    }

    /// The keys with what the DNS says of them.
    func documents() async throws -> [DKIMKeyDocument] {
        var documents: [DKIMKeyDocument] = []
        for entry in try keyring.list().entries {
            let key = entry.state == .retired ? nil : try? keyring.key(entry)
            var document = DKIMKeyDocument(keyring.domain, entry, key)
            if let key { document.dns = await DKIMPublication.look([key]).first?.rawValue }
            documents.append(document)
        }
        return documents
    }

    /// What a rotation has come to.
    struct Rotation {
        /// New keys, which sign nothing yet.
        var made: [DKIMKeyDocument] = []
        /// Keys that sign now, and those whose turn is over.
        var changed: [DKIMKeyDocument] = []
        /// Keys whose record isn't in the DNS.
        var waiting: [DKIMKeyDocument] = []
    }

    /// Lets keys sign whose record the DNS has, in the place of those that did; where there are none, makes new ones for the next time.
    ///
    /// - Parameter force: whatever the DNS says.
    func rotate(force: Bool, bits: Int) async throws -> Rotation {
        var list = try keyring.list()
        var rotation = Rotation()
        let published = list.entries.filter { $0.state == .published }
        if published.isEmpty {
            let active = Set(list.entries.filter { $0.state == .active }.map(\.algorithm))
            let wanted: [SignatureAlgorithm] = [.ed25519SHA256, .rsaSHA256].filter {
                active.isEmpty || active.contains($0)
            }
            rotation.made = try await add(wanted, selector: nil, bits: bits, state: .published)
            return rotation
        }
        for entry in published {
            let key = try keyring.key(entry)
            let finding = await DKIMPublication.look([key]).first ?? .unknown
            guard force || finding == .right || finding == .testing else {
                var document = DKIMKeyDocument(keyring.domain, entry, key)
                document.dns = finding.rawValue
                rotation.waiting.append(document)
                continue
            }
            for place in list.entries.indices {
                let isNew = list.entries[place].selector == entry.selector
                let isOld = list.entries[place].state == .active && list.entries[place].algorithm == entry.algorithm
                // Of two new keys of one kind both sign.
                let isSister = rotation.changed.contains { $0.selector == list.entries[place].selector }
                guard isNew || isOld && !isSister else { continue }
                list.entries[place].change(to: isNew ? .active : .retiring, at: Self.now)
                rotation.changed.append(DKIMKeyDocument(keyring.domain, list.entries[place], isNew ? key : nil))
            }
        }
        try keyring.save(list)
        return rotation
    }

    /// Ends what keys do: an active one signs no more, one that signs no more is taken away with its record.
    ///
    /// - Parameters:
    ///   - selectors: of which; none for all that have been retiring long enough.
    ///   - force: also those that haven't, and the last active key.
    func retire(_ selectors: [String], force: Bool) async throws -> [DKIMKeyDocument] {
        var list = try keyring.list()
        for selector in selectors where !list.entries.contains(where: { $0.selector == selector }) {
            throw ValidationError("\(keyring.domain) has no selector \(selector)")
        }
        var documents: [DKIMKeyDocument] = []
        var gone: [SelectorList.Entry] = []
        for place in list.entries.indices {
            let entry = list.entries[place]
            let isNamed = selectors.contains(entry.selector)
            switch entry.state {
            case .active where isNamed:
                let others = list.entries.filter { $0.state == .active && $0.selector != entry.selector }
                guard force || !others.isEmpty else {
                    throw ValidationError("\(entry.selector) is the last key that signs: --force if it shall be so")
                }
                list.entries[place].change(to: .retiring, at: Self.now)
                documents.append(DKIMKeyDocument(keyring.domain, list.entries[place], try? keyring.key(entry)))
            case .retiring where isNamed || selectors.isEmpty:
                let isOver = Self.now >= entry.since && Self.now - entry.since >= Self.retirement
                guard isOver || force else {
                    guard isNamed else { continue }
                    throw ValidationError(
                        "\(entry.selector) signed until \(Moment.print(entry.since)), and mail is on its way for a week: --force if its record may go"
                    )
                }
                list.entries[place].change(to: .retired, at: Self.now)
                gone.append(list.entries[place])
            case .published where isNamed:
                list.entries[place].change(to: .retired, at: Self.now)
                gone.append(list.entries[place])
            case .active, .retiring, .published, .retired: break
            }
        }
        try keyring.save(list)
        for entry in gone {
            try keyring.remove(entry)
            var document = DKIMKeyDocument(keyring.domain, entry, nil)
            await Self.publish(&document, nil)
            documents.append(document)
        }
        return documents
    }
}
