#if canImport(Glibc)
import Glibc
#endif

/// What a file name in `new/` or `cur/` says: `BASE[,S=octets][,W=octets][:2,flags]`. Names are octets: what is slow
/// for one of them is slow a hundred thousand times.
struct MaildirFileName {
    /// How the name is written.
    enum Form: Equatable {
        /// The base alone.
        case bare
        /// As `suffix` writes it.
        case regular
        /// In any other way: with letters that are unknown here, in another order, or with other information.
        case irregular
    }

    /// What stays the same for the life of the message, sizes included. Octets, at most 255.
    let baseLength: Int
    let flags: MessageFlags
    let keywords: KeywordSet
    let form: Form

    private static let colon = UInt8(ascii: ":")

    /// Nil for names that are no message's: they begin with a dot, or can't stand in a UID list.
    init?(_ name: UnsafeRawBufferPointer) {
        guard let first = name.first, first != UInt8(ascii: "."), first != Self.colon, name.count <= 255 else {
            return nil
        }
        var end = name.count
        for (place, octet) in name.enumerated() {
            if octet == Self.colon, end == name.count { end = place }
            if octet == UInt8(ascii: "\n") { return nil }
        }
        baseLength = end
        var flags: MessageFlags = []
        var keywords: KeywordSet = []
        var form = Form.bare
        if end < name.count {
            form = .irregular
            let info = name[(end + 1)...]
            if info.count >= 2, info.first == UInt8(ascii: "2"), info.dropFirst().first == UInt8(ascii: ",") {
                form = .regular
                var last: UInt8 = 0
                for letter in info.dropFirst(2) {
                    if let flag = MessageFlags(letter: letter) {
                        flags.insert(flag)
                    } else if (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter) {
                        keywords.insert(KeywordSet(index: Int(letter - UInt8(ascii: "a"))))
                    } else {
                        form = .irregular
                    }
                    if letter <= last { form = .irregular }
                    last = letter
                }
            }
        }
        self.flags = flags
        self.keywords = keywords
        self.form = form
    }

    /// What follows the base in `cur/`.
    ///
    /// - Parameter others: letters that mean something to other programs.
    static func suffix(_ flags: MessageFlags, _ keywords: KeywordSet, others: [UInt8] = []) -> [UInt8] {
        var letters = flags.letters + others
        if !others.isEmpty { letters.sort() }
        for index in keywords.indices { letters.append(UInt8(ascii: "a") + UInt8(index)) }
        return Array(":2,".utf8) + letters
    }

    /// The letters of a name that are unknown here, to be kept.
    static func otherLetters(in name: [UInt8]) -> [UInt8] {
        guard let colon = name.firstIndex(of: colon), name[(colon + 1)...].starts(with: "2,".utf8) else { return [] }
        let capitals = UInt8(ascii: "A")...UInt8(ascii: "Z")
        let found = name[(colon + 3)...].filter { capitals.contains($0) && MessageFlags(letter: $0) == nil }
        return Set(found).sorted()
    }

    /// What a name says beyond it is not believed, so that sums don't overflow. Octets.
    private static let maximumSize = 1 << 40

    /// Octets on disk (`S`) or with CRLF line ends (`W`), where the base says so.
    static func size(_ letter: UInt8, in base: some RandomAccessCollection<UInt8>) -> Int? {
        var rest = base[...]
        while let comma = rest.firstIndex(of: UInt8(ascii: ",")) {
            rest = rest[rest.index(after: comma)...]
            guard rest.first == letter else { continue }
            let field = rest.dropFirst()
            guard field.first == UInt8(ascii: "=") else { continue }
            if let size = number(field.dropFirst().prefix { $0 != UInt8(ascii: ",") }) { return size }
        }
        return nil
    }

    /// A size in decimal digits.
    static func number(_ digits: some Collection<UInt8>) -> Int? {
        guard !digits.isEmpty else { return nil }
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
            guard value <= maximumSize else { return nil }
        }
        return value
    }

    /// What a base has in front of the first dot; 0 where that is no number.
    static func seconds(of base: [UInt8]) -> Int { number(base.prefix { $0 != UInt8(ascii: ".") }) ?? 0 }

    /// The order of arrival, as well as names tell it: that in which UIDs are given.
    static func arrivedBefore(
        _ left: (seconds: Int, base: [UInt8]),
        _ right: (seconds: Int, base: [UInt8])
    ) -> Bool {
        left.seconds == right.seconds
            ? left.base.lexicographicallyPrecedes(right.base) : left.seconds < right.seconds
    }

    /// Our host's name as file names can have it: `/`, `:` and `,` are written in octal, as the Maildir specification asks.
    static let hostName: String = {
        var memory = [CChar](repeating: 0, count: 256)
        guard gethostname(&memory, memory.count - 1) == 0 else { return "localhost" }
        let octets = memory.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        var name = ""
        for octet in octets.prefix(64) {
            switch octet {
            case UInt8(ascii: "/"): name += "\\057"
            case UInt8(ascii: ":"): name += "\\072"
            case UInt8(ascii: ","): name += "\\054"
            case 0x21...0x7E: name.unicodeScalars.append(UnicodeScalar(octet))
            default: continue
            }
        }
        return name.isEmpty ? "localhost" : name
    }()
}
