import DNS
import MailAuth

/// Records as a master file has them, names relative to the root.
func zone(_ text: String, failing: [String] = []) throws -> ZoneLookup {
    var lookup = try ZoneLookup(masterFile: Array("$TTL 300\n\(text)\n".utf8))
    lookup.failing = Set(try failing.map { try DomainName($0) })
    return lookup
}

func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

func text(_ octets: [UInt8]?) -> String? { octets.map { String(decoding: $0, as: UTF8.self) } }

/// Random numbers that are the same each time.
struct FixedGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// The octets with a few of them changed, taken out, doubled, or cut off.
func mutated(_ octets: [UInt8], _ generator: inout FixedGenerator) -> [UInt8] {
    var octets = octets
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
        guard !octets.isEmpty else { return octets }
        let at = Int.random(in: 0..<octets.count, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: octets[at] = .random(in: .min ... .max, using: &generator)
        case 1: octets.remove(at: at)
        case 2: octets.insert(octets[at], at: at)
        case 3: octets.insert(Array("%{}=/:;<>\\\"&![]@".utf8).randomElement(using: &generator) ?? 0, at: at)
        default: octets.removeLast(min(octets.count, Int.random(in: 0...8, using: &generator)))
        }
    }
    return octets
}
