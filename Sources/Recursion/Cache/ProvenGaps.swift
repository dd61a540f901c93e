import Caching
import DNS
import DNSSEC

/// Proven NSEC records, kept by zone, and the denials that follow from them without asking (RFC 8198): what stands
/// against floods of random names in a signed zone. NSEC3 is not used: most zones that have it opt out.
struct ProvenGaps {
    /// Those of one zone, in the canonical order of their owners.
    private final class ZoneGaps {
        var start: [ResourceRecord]
        var startExpires: Int64
        var gaps: [Gap] = []

        init(start: [ResourceRecord], expires: Int64) {
            self.start = start
            startExpires = expires
        }

        /// The place of the last gap whose owner is not behind a name; -1 where all are.
        func place(_ name: DomainName) -> Int { gaps.lastPlace { name < $0.owner } }
    }

    private struct Gap {
        var owner: DomainName
        /// The NSEC record and its signatures.
        var records: [ResourceRecord]
        var stored: Int64
        var expires: Int64
    }

    private var zones: BoundedCache<DomainName, ZoneGaps>

    /// How many gaps of one zone are kept.
    private static let maximumGaps = 2000
    /// What a zone counts against the limit: as many gaps as fit, of this size about. Octets.
    private static let gapCost = 600

    /// - Parameter limit: octets.
    init(limit: Int) {
        zones = BoundedCache(limit: limit)
    }

    /// Keeps what was proven on the way to a denial.
    ///
    /// - Parameters:
    ///   - start: the zone's SOA record with its signatures, as the denial carried it.
    ///   - lifetime: seconds.
    mutating func keep(
        _ records: [ResourceRecord],
        of zone: DomainName,
        start: [ResourceRecord],
        lifetime: UInt32,
        now: Int64
    ) {
        guard lifetime > 0, start.contains(where: { $0.type == .soa && $0.name == zone }) else { return }
        let known = zones.value(for: zone) ?? ZoneGaps(start: start, expires: 0)
        known.start = start
        known.startExpires = now + Int64(lifetime)
        for record in records where record.type == .nsec {
            let whole = records.filter { $0.name == record.name }
            let gap = Gap(owner: record.name, records: whole, stored: now, expires: now + Int64(lifetime))
            let place = known.place(record.name)
            if place >= 0, known.gaps[place].owner == record.name {
                known.gaps[place] = gap
            } else if known.gaps.count < Self.maximumGaps {
                known.gaps.insert(gap, at: place + 1)
            } else {
                known.gaps.removeAll { $0.expires <= now }
            }
        }
        zones.insert(known, for: zone, cost: Self.gapCost * (known.gaps.count + 1))
    }

    /// The denial of a name or type that follows from what is known; nil where nothing does.
    ///
    /// - Parameter top: zones above it say nothing of the name.
    mutating func denial(_ name: DomainName, _ type: RecordType, within top: DomainName, now: Int64) -> Outcome? {
        var next = type == .ds ? name.parent : name
        while let zone = next, zone.isSubdomain(of: top) {
            if let known = zones.value(for: zone) { return Self.denial(name, type, zone, known, now) }
            next = zone.parent
        }
        return nil
    }

    private static func denial(
        _ name: DomainName,
        _ type: RecordType,
        _ zone: DomainName,
        _ known: ZoneGaps,
        _ now: Int64
    ) -> Outcome? {
        guard now < known.startExpires, let first = gap(name, known, now) else { return nil }
        if let outcome = outcome(Denial(zone: zone, first.records).noData(name, type), .noError, [first], known, now) {
            return outcome
        }
        // The wildcard that could stand for the name is next to it, or at the longest name above that exists.
        guard let record = first.records.compactMap(NextSecure.init).first else { return nil }
        let one = name.sharedSuffix(record.owner)
        let other = name.sharedSuffix(record.next)
        let encloser = one.labelCount >= other.labelCount ? one : other
        guard let wildcard = try? encloser.prepending(label: [0x2A]), let second = gap(wildcard, known, now) else {
            return nil
        }
        let both = first.owner == second.owner ? [first] : [first, second]
        let denial = Denial(zone: zone, both.flatMap(\.records))
        return outcome(denial.noName(name), .nameError, both, known, now)
            ?? outcome(denial.noData(name, type), .noError, both, known, now)
    }

    private static func gap(_ name: DomainName, _ known: ZoneGaps, _ now: Int64) -> Gap? {
        let place = known.place(name)
        guard place >= 0, now < known.gaps[place].expires else { return nil }
        return known.gaps[place]
    }

    private static func outcome(
        _ verdict: DenialVerdict,
        _ code: ResponseCode,
        _ gaps: [Gap],
        _ known: ZoneGaps,
        _ now: Int64
    ) -> Outcome? {
        guard verdict == .proven else { return nil }
        let left = UInt32(clamping: min(known.startExpires, gaps.map(\.expires).min() ?? 0) - now)
        var outcome = Outcome(code: code, authorities: known.start + gaps.flatMap(\.records), isDenial: true)
        outcome.security = .secure
        return outcome.limited(TimeLimits(positive: left, negative: left))
    }

    /// What all of them take now. Octets.
    var octets: Int { zones.total }

    mutating func removeAll() { zones.removeAll() }
}
