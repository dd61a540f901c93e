import DNS
import DNSSEC

/// NSEC and NSEC3 proofs of a zone that the input describes: whatever part of a right chain is there, it must never prove
/// that something isn't there which is.
let dnsDenialTarget = FuzzTarget("dns-denial", maximum: 64) { input in
    var octets = Array(input)[...]
    guard let choice = octets.popFirst(), let missing = octets.popFirst() else { return }
    let zone = DescribedZone(octets, isOptOut: choice & 2 != 0)
    let all = choice & 1 == 0 ? zone.plainChain : zone.hashedChain
    // A part of the chain, by the bits of one octet.
    let records = all.enumerated().filter { missing & (1 << UInt8($0.offset % 8)) == 0 }.map(\.element)
    let plain = Denial(zone: DescribedZone.origin, records)
    let budget = ValidationBudget(hashes: .max)
    let hashed = HashedDenial(zone: DescribedZone.origin, records, ValidationPolicy(), budget)
    for name in DescribedZone.names {
        let names = [plain.noName(name), hashed.noName(name)]
        demand(!names.contains(.proven) || !zone.answers(name), "\(name) is there, and proven not to be")
        for type in [RecordType.a, .ns, .ds, .txt] {
            let verdicts = [plain.noData(name, type), hashed.noData(name, type)]
            demand(!verdicts.contains(.proven) || !zone.has(name, type), "\(name) has \(type), and is proven not to")
        }
        let cuts = [plain.cut(name), hashed.cut(name)]
        demand(!cuts.contains(.insecure) || !zone.isSecured(name), "\(name) is signed, and proven not to be")
    }
}

/// A small zone: which names are there, with which types.
private struct DescribedZone {
    static let origin = wire(["z"])
    private static let labels = ["a", "b", "*"]
    /// All names with up to three labels below the origin.
    static let names: [DomainName] =
        [origin] + labels.map { wire([$0, "z"]) } + labels.flatMap { one in labels.map { wire([$0, one, "z"]) } }
        + labels.flatMap { one in labels.flatMap { two in labels.map { wire([$0, two, one, "z"]) } } }
    private static let kinds: [RecordType] = [.a, .ns, .ds, .dname, .cname]

    /// What is in the zone: nothing below a delegation or a DNAME.
    private var types: [DomainName: Set<RecordType>] = [:]
    private let isOptOut: Bool

    /// - Parameter octets: a name and its types in two octets each.
    init(_ octets: ArraySlice<UInt8>, isOptOut: Bool) {
        self.isOptOut = isOptOut
        types[Self.origin] = [.soa, .ns]
        var rest = octets
        while let place = rest.popFirst(), let bits = rest.popFirst() {
            let name = Self.names[Int(place) % Self.names.count]
            guard name != Self.origin else { continue }
            var found = Set(Self.kinds.enumerated().filter { bits & (1 << UInt8($0.offset)) != 0 }.map(\.element))
            // An alias is alone at its name, and DS records are those of a delegation.
            if found.contains(.cname) { found = [.cname] }
            if !found.contains(.ns) { found.remove(.ds) }
            if found.contains(.ns) { found.formIntersection([.ns, .ds]) }
            if !found.isEmpty { types[name] = found }
        }
        for name in Array(types.keys) where isHidden(name) { types[name] = nil }
    }

    /// Whether a name is below a delegation or a DNAME, so that the zone says nothing of it.
    private func isHidden(_ name: DomainName) -> Bool { cover(of: name) != nil }

    /// The types at the highest delegation or DNAME above a name.
    private func cover(of name: DomainName) -> Set<RecordType>? {
        var cover: Set<RecordType>?
        var above = name.parent
        while let next = above, next.labelCount > 1 {
            if let found = types[next], !found.isDisjoint(with: [.ns, .dname]) { cover = found }
            above = next.parent
        }
        return cover
    }

    /// Whether there is a signed delegation at a name, or above it anything but an unsigned one.
    func isSecured(_ name: DomainName) -> Bool {
        if let cover = cover(of: name) { return cover != [.ns] }
        return types[name]?.contains(.ds) ?? false
    }

    private func exists(_ name: DomainName) -> Bool { types.keys.contains { $0.isSubdomain(of: name) } }

    /// Whether the name, or a wildcard in its place, is there, or the zone can't say.
    func answers(_ name: DomainName) -> Bool { isHidden(name) || exists(name) || source(of: name) != nil }

    /// Whether there are records of a type at a name, or the zone can't say.
    func has(_ name: DomainName, _ type: RecordType) -> Bool {
        if isHidden(name) { return true }
        guard let found = exists(name) ? types[name] ?? [] : source(of: name) else { return false }
        // At a delegation only DS is the zone's own.
        if found.contains(.ns), !found.contains(.soa), type != .ds { return true }
        return found.contains(type) || found.contains(.cname)
    }

    /// The types at the wildcard that stands for a name that isn't there (RFC 4592 §3.3.1).
    private func source(of name: DomainName) -> Set<RecordType>? {
        var encloser = name
        while !exists(encloser), let parent = encloser.parent { encloser = parent }
        guard let wildcard = try? encloser.prepending(label: [0x2A]) else { return nil }
        return types[wildcard]
    }

    // MARK: Chains

    /// The NSEC records of the zone.
    var plainChain: [ResourceRecord] {
        let owners = types.keys.sorted()
        return zip(owners, owners.dropFirst() + owners.prefix(1)).compactMap { owner, next in
            Self.record(owner, "NSEC \(next) \(Self.text(types[owner] ?? [], and: [.nsec]))")
        }
    }

    /// The NSEC3 records of the zone; with opt-out without the unsigned delegations.
    var hashedChain: [ResourceRecord] {
        var known: [[UInt8]: Set<RecordType>] = [:]
        for (name, found) in types {
            // A name between has a record too (RFC 5155 §7.1).
            var above = name.parent
            while let next = above, next.isSubdomain(of: Self.origin) {
                let hash = NameHash.hash(next, salt: [0xAB], iterations: 1)
                known[hash] = known[hash] ?? types[next] ?? []
                above = next.parent
            }
            if isOptOut, found == [.ns] { continue }
            known[NameHash.hash(name, salt: [0xAB], iterations: 1)] = found
        }
        let hashes = known.keys.sorted { $0.lexicographicallyPrecedes($1) }
        return zip(hashes, hashes.dropFirst() + hashes.prefix(1)).compactMap { hash, next in
            let found = known[hash] ?? []
            let owner = Self.wire([Self.base32(hash), "z"])
            let flags = isOptOut ? 1 : 0
            return Self.record(owner, "NSEC3 1 \(flags) 1 AB \(Self.base32(next)) \(Self.text(found, and: []))")
        }
    }

    private static func text(_ types: Set<RecordType>, and more: Set<RecordType>) -> String {
        types.union(more).map(\.description).sorted().joined(separator: " ")
    }

    private static func record(_ owner: DomainName, _ data: String) -> ResourceRecord? {
        let line = Array("\(owner) 300 \(data)\n".utf8)
        let records = try? MasterFile.parse(line, file: "zone", origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: ""))
        }
        demand(records?.count == 1, "no record: \(owner) \(data)")
        return records?.first?.record
    }

    private static func wire(_ labels: [String]) -> DomainName {
        guard let name = try? DomainName(labels: labels.map { Array($0.utf8) }) else {
            fatalError("no name: \(labels)")
        }
        return name
    }

    /// RFC 4648 §7, without padding.
    private static func base32(_ octets: [UInt8]) -> String {
        var text = ""
        var (pending, count) = (0, 0)
        for octet in octets {
            (pending, count) = (pending << 8 | Int(octet), count + 8)
            while count >= 5 {
                count -= 5
                text += String(pending >> count & 31, radix: 32)
            }
            pending &= 31
        }
        return text
    }
}
