import DNS
import ZoneTransfer

/// The last differences of a zone, from which a secondary gets what it lacks (RFC 1995), the oldest first. What is older
/// than a number of octets goes.
struct ZoneHistory: Sendable {
    private(set) var differences: [ZoneDifference] = []
    private var octets = 0

    /// How much is kept of a zone. Octets.
    static let maximumOctets = 1 << 20

    /// Adds what came after the last one; where something lies between, what was before is of no use.
    mutating func append(_ difference: ZoneDifference) {
        if let last = differences.last, !last.latter.isSame(as: difference.former) { self = ZoneHistory() }
        differences.append(difference)
        octets += difference.cost
        var surplus = 0
        while octets > Self.maximumOctets, surplus < differences.count {
            octets -= differences[surplus].cost
            surplus += 1
        }
        if surplus > 0 { differences.removeFirst(surplus) }
    }

    /// The differences from a version to the last one; nil where that version isn't known.
    func differences(from serial: UInt32) -> [ZoneDifference]? {
        guard let first = differences.firstIndex(where: { StartOfAuthority($0.former)?.serial == serial }) else {
            return nil
        }
        return Array(differences[first...])
    }
}
