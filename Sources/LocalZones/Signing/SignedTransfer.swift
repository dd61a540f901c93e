import DNS
import DNSSEC
import ZoneTransfer

/// A version of a signed zone as other servers get it, who can't sign: with its keys, a signature of each set, and a chain
/// of NSEC records (RFC 4034 §4) or of NSEC3 records without opt-out (RFC 5155 §7.1). Made piece by piece, since that's work.
final class SignedTransfer: @unchecked Sendable {
    // Unchecked: its owner asks for one piece after the other, each in whatever thread.

    private struct Node {
        var name: DomainName
        var sets: ZoneNodes.Sets
        /// Whether it belongs to a zone below, whose servers' addresses it has.
        var isBelow: Bool
    }

    private enum Step {
        case start
        /// The names from a place on, in canonical order.
        case names(Int)
        /// The NSEC3 records from a place on, in the order of their hashes.
        case hashes(Int)
        case end
    }

    private let zone: SignedZone
    private let inception: UInt32
    private let expiration: UInt32
    private var step = Step.start
    private var nodes: [Node] = []
    /// The names' hashes with their places in `nodes`, sorted.
    private var hashes: [(hash: [UInt8], place: Int)] = []

    /// For how long signatures count that others keep. Seconds; far longer than until the next ones are made.
    static let lifetime: UInt32 = 14 * 86_400
    /// From how many octets on a piece is enough.
    private static let piece = 32 * 1024

    /// - Parameter now: seconds since 1970, modulo 2^32.
    init(_ zone: SignedZone, now: UInt32) {
        self.zone = zone
        inception = now &- SignatureCache.backdating
        expiration = now &+ Self.lifetime
    }

    /// The next records; none behind the last ones. Works for some milliseconds, and longer for the first piece.
    ///
    /// - Throws: for a set that couldn't be signed.
    func next() throws(TransferError) -> [ResourceRecord] {
        var records: [ResourceRecord] = []
        var octets = 0
        while octets < Self.piece {
            let before = records.count
            switch step {
            case .start:
                collect()
                records.append(zone.zone.start)
                step = .names(0)
            case .names(let place) where place < nodes.count:
                try add(nodes[place], next: place + 1, to: &records)
                step = .names(place + 1)
            case .names: step = .hashes(0)
            case .hashes(let place) where place < hashes.count:
                let next = hashes[place + 1 < hashes.count ? place + 1 : 0].hash
                let node = nodes[hashes[place].place]
                let record = ResourceRecord.nextSecure3(
                    hashes[place].hash,
                    next: next,
                    in: zone.origin,
                    types: zone.types(node.name, node.sets),
                    timeToLive: zone.negativeTimeToLive
                )
                try add(record.map { [$0] } ?? [], isSigned: true, at: node.name, to: &records)
                step = .hashes(place + 1)
            case .hashes:
                records.append(zone.zone.start)
                step = .end
            case .end: return records
            }
            octets += records[before...].reduce(0) { $0 + $1.memoryCount }
        }
        return records
    }

    private func collect() {
        var cut: DomainName?
        for (name, all) in zone.zone.sortedNames {
            let sets = zone.sets(of: name, all)
            let isBelow = cut.map { name.isSubdomain(of: $0) } ?? false
            if !isBelow { cut = name != zone.origin && sets[.ns] != nil ? name : nil }
            nodes.append(Node(name: name, sets: sets, isBelow: isBelow))
        }
        guard !zone.isCompact else { return }
        hashes = nodes.indices.filter { !nodes[$0].isBelow }.map { (NameHash.hash(nodes[$0].name), $0) }
        hashes.sort { $0.hash.lexicographicallyPrecedes($1.hash) }
    }

    /// Adds a name's sets, and its NSEC record.
    ///
    /// - Parameter next: the place behind the name's.
    private func add(_ node: Node, next: Int, to records: inout [ResourceRecord]) throws(TransferError) {
        let signed = zone.types(node.name, node.sets)
        let isCut = node.name != zone.origin && node.sets[.ns] != nil
        for (type, set) in node.sets {
            // A zone vouches neither for the servers of a zone below nor for their addresses (RFC 4035 §2.2).
            let isSigned = !node.isBelow && signed.contains(type) && !(isCut && type == .ns)
            try add(set, isSigned: isSigned, at: node.name, to: &records)
        }
        guard zone.isCompact, hasNextSecure(node) else { return }
        let following = nodes[next...].first(where: hasNextSecure)?.name ?? zone.origin
        let record = ResourceRecord.nextSecure(
            node.name,
            next: following,
            types: signed,
            timeToLive: zone.negativeTimeToLive
        )
        try add(record.map { [$0] } ?? [], isSigned: true, at: node.name, to: &records)
    }

    /// Names that are only there because of others below them have none (RFC 4035 §2.3).
    private func hasNextSecure(_ node: Node) -> Bool { !node.isBelow && !node.sets.isEmpty }

    private func add(
        _ set: [ResourceRecord],
        isSigned: Bool,
        at name: DomainName,
        to records: inout [ResourceRecord]
    ) throws(TransferError) {
        // The SOA record stands at both ends.
        records += set.filter { $0.type != .soa }
        guard isSigned else { return }
        guard let signable = SignableSet(set) else { throw .unsigned(name) }
        for key in zone.signing.keys.signers(of: signable.type) {
            guard let signature = key.sign(signable, inception: inception, expiration: expiration) else {
                throw .unsigned(name)
            }
            records.append(signature)
        }
    }
}
