#if canImport(Glibc)
import Glibc
#endif

/// A file name in `new/` or `cur/`: `BASE[,S=octets][,W=octets][:2,flags]`.
struct MaildirFileName {
    /// What stays the same for the life of the message, sizes included.
    let base: String
    let flags: MessageFlags
    let keywords: KeywordSet

    /// Nil for names that are no message's: they begin with a dot.
    init?(_ name: String) {
        let octets = name.utf8
        guard let first = octets.first, first != UInt8(ascii: ".") else { return nil }
        guard let colon = octets.firstIndex(of: UInt8(ascii: ":")) else {
            base = name
            flags = []
            keywords = []
            return
        }
        base = String(name[..<colon])
        var flags: MessageFlags = []
        var keywords: KeywordSet = []
        let info = octets[octets.index(after: colon)...]
        if info.starts(with: "2,".utf8) {
            for letter in info.dropFirst(2) {
                if let flag = MessageFlags(letter: letter) {
                    flags.insert(flag)
                } else if (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter) {
                    keywords.insert(KeywordSet(index: Int(letter - UInt8(ascii: "a"))))
                }
            }
        }
        self.flags = flags
        self.keywords = keywords
    }

    /// The name in `cur/`.
    static func current(base: String, flags: MessageFlags, keywords: KeywordSet) -> String {
        var name = base + ":2," + flags.letterText
        for index in keywords.indices { name.unicodeScalars.append(UnicodeScalar(UInt8(ascii: "a") + UInt8(index))) }
        return name
    }

    /// What a name says beyond it is not believed, so that sums don't overflow. Octets.
    private static let maximumSize = 1 << 46

    /// Octets on disk (`S`) or with CRLF line ends (`W`), where the name says so.
    static func size(_ letter: Character, in base: String) -> Int? {
        for part in base.split(separator: ",").dropFirst() where part.first == letter {
            let digits = part.dropFirst()
            if digits.first == "=", let size = Int(digits.dropFirst()), (0...maximumSize).contains(size) {
                return size
            }
        }
        return nil
    }

    /// Seconds in front of the first dot; 0 where there are none.
    static func seconds(of base: String) -> Int { Int(base.prefix { $0 != "." }) ?? 0 }

    /// The order of arrival, as well as names tell it: that in which UIDs are given.
    static func arrivedBefore(_ left: String, _ right: String) -> Bool {
        let (first, second) = (seconds(of: left), seconds(of: right))
        return first == second ? left < right : first < second
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
