/// System flags of a message (RFC 3501 §2.3.2), and Maildir's `P`.
package struct MessageFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let draft = MessageFlags(rawValue: 1)
    package static let flagged = MessageFlags(rawValue: 2)
    /// Resent, forwarded or bounced by the user.
    package static let passed = MessageFlags(rawValue: 4)
    package static let answered = MessageFlags(rawValue: 8)
    package static let seen = MessageFlags(rawValue: 16)
    package static let deleted = MessageFlags(rawValue: 32)

    /// In the order that a Maildir name has them: ASCII.
    private static let letters: [(letter: UInt8, flag: MessageFlags)] = [
        (UInt8(ascii: "D"), .draft), (UInt8(ascii: "F"), .flagged), (UInt8(ascii: "P"), .passed),
        (UInt8(ascii: "R"), .answered), (UInt8(ascii: "S"), .seen), (UInt8(ascii: "T"), .deleted),
    ]

    init?(letter: UInt8) {
        switch letter {
        case UInt8(ascii: "D"): self = .draft
        case UInt8(ascii: "F"): self = .flagged
        case UInt8(ascii: "P"): self = .passed
        case UInt8(ascii: "R"): self = .answered
        case UInt8(ascii: "S"): self = .seen
        case UInt8(ascii: "T"): self = .deleted
        default: return nil
        }
    }

    var letters: [UInt8] { Self.letters.compactMap { contains($0.flag) ? $0.letter : nil } }

    var letterText: String { String(decoding: letters, as: UTF8.self) }
}

/// Keywords of a message as a set of indices into the folder's list of keywords, at most 26.
package struct KeywordSet: OptionSet, Hashable, Sendable {
    package static let maximum = 26

    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The keyword at this place in the folder's list; none where the place is out of range.
    package init(index: Int) { rawValue = (0..<Self.maximum).contains(index) ? 1 << UInt32(index) : 0 }

    /// Those of the wanted keywords that are among the names that a folder has. Case doesn't matter.
    package init(_ wanted: [String], among names: [String]) {
        self = []
        guard !wanted.isEmpty else { return }
        let known = names.map { $0.lowercased() }
        // An empty name would be found where there is a gap.
        for name in wanted where !name.isEmpty {
            if let index = known.firstIndex(of: name.lowercased()) { insert(KeywordSet(index: index)) }
        }
    }

    /// Places in the folder's list, ascending.
    package var indices: [Int] { (0..<Self.maximum).filter { rawValue & (1 << UInt32($0)) != 0 } }
}

/// A message of a folder.
package struct StoredMessage: Hashable, Sendable {
    package let uid: UInt32
    package var flags: MessageFlags
    /// Look the names up in the folder's `keywords`.
    package var keywords: KeywordSet
    /// Whether this session is the first to see it.
    package var isRecent: Bool
    /// Octets with CRLF line ends, where that is known without reading it; otherwise ask `octets(of:)`.
    package var octets: Int?
}

/// What to do to the flags of messages.
package struct FlagChange: Sendable {
    /// How the flags named are applied.
    package enum Mode: Sendable { case add, remove, replace }

    package let mode: Mode
    package let flags: MessageFlags
    /// Names of keywords, such as `$Forwarded`.
    package let keywords: [String]

    package init(_ mode: Mode, _ flags: MessageFlags, keywords: [String] = []) {
        self.mode = mode
        self.flags = flags
        self.keywords = keywords
    }

    /// - Parameter keywords: the set of those that are named.
    package func apply(_ keywords: KeywordSet, to message: inout StoredMessage) {
        switch mode {
        case .add:
            message.flags.formUnion(flags)
            message.keywords.formUnion(keywords)
        case .remove:
            message.flags.subtract(flags)
            message.keywords.subtract(keywords)
        case .replace:
            message.flags = flags
            message.keywords = keywords
        }
    }
}
