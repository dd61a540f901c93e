import MIME

/// Text of strangers for a terminal, in pieces of any size: what would steer a terminal, or turn its text's direction, and what
/// is no UTF-8 is replaced by U+FFFD. Keeps the octets of one character.
struct TerminalText {
    /// Whether line ends and tabs stay, without carriage returns.
    private let hasLines: Bool
    /// The start of a character that isn't complete.
    private var held: [UInt8] = []

    private static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

    init(hasLines: Bool) { self.hasLines = hasLines }

    /// All of a text.
    ///
    /// - Parameter hasLines: as of `init`.
    static func make(_ octets: some Sequence<UInt8>, hasLines: Bool = false) -> String {
        var filter = TerminalText(hasLines: hasLines)
        var text: [UInt8] = []
        filter.add(Array(octets), to: &text)
        filter.finish(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends the next piece.
    mutating func add(_ octets: [UInt8], to text: inout [UInt8]) {
        if held.isEmpty {
            octets.withUnsafeBufferPointer { add($0, to: &text) }
        } else {
            let whole = held + octets
            held = []
            whole.withUnsafeBufferPointer { add($0, to: &text) }
        }
    }

    /// The end: what is held is no character.
    mutating func finish(to text: inout [UInt8]) {
        if !held.isEmpty { text += Self.replacement }
        held = []
    }

    private mutating func add(_ octets: UnsafeBufferPointer<UInt8>, to text: inout [UInt8]) {
        var position = 0
        while position < octets.count {
            let start = position
            while position < octets.count, isPlain(octets[position]) { position += 1 }
            if position > start { text.append(contentsOf: octets[start..<position]) }
            guard position < octets.count else { return }
            if octets[position] < 0x80 {
                control(octets[position], to: &text)
                position += 1
            } else {
                guard let count = character(octets[position...], to: &text) else {
                    held = Array(octets[position...])
                    return
                }
                position += count
            }
        }
    }

    /// Printable characters of ASCII, and line ends where they stay.
    private func isPlain(_ octet: UInt8) -> Bool {
        octet &- 0x20 < 0x5F || octet == ASCII.lineFeed && hasLines
    }

    private func control(_ octet: UInt8, to text: inout [UInt8]) {
        switch octet {
        case ASCII.tab: text.append(hasLines ? octet : ASCII.space)
        case ASCII.carriageReturn where hasLines: break
        default: text += Self.replacement
        }
    }

    /// Appends a character beyond ASCII; how many octets it has, or nil where more may follow.
    private func character(_ octets: Slice<UnsafeBufferPointer<UInt8>>, to text: inout [UInt8]) -> Int? {
        var iterator = octets.makeIterator()
        var decoder = UTF8()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else {
            let known = octets.prefix(4)
            if known.count < 4, Self.mayGoOn(known) { return nil }
            text += Self.replacement
            return Self.wrong(known)
        }
        let count = UTF8.width(scalar)
        if Self.isShown(scalar) {
            text.append(contentsOf: octets.prefix(count))
        } else {
            text += Self.replacement
        }
        return count
    }

    /// Whether all octets are the beginning of one character.
    private static func mayGoOn(_ octets: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        let length = octets.first.map { $0 >= 0xF0 ? 4 : $0 >= 0xE0 ? 3 : 2 } ?? 0
        return octets.count < length && wrong(octets) == octets.count
    }

    /// How many octets one replacement stands for: as long as they could begin a character (Unicode §3.9, U+FFFD
    /// substitution of maximal subparts).
    private static func wrong(_ octets: Slice<UnsafeBufferPointer<UInt8>>) -> Int {
        let start = octets.startIndex
        let second: ClosedRange<UInt8>
        let length: Int
        switch octets[start] {
        case 0xC2...0xDF: (second, length) = (0x80...0xBF, 2)
        case 0xE0: (second, length) = (0xA0...0xBF, 3)
        case 0xED: (second, length) = (0x80...0x9F, 3)
        case 0xE1...0xEF: (second, length) = (0x80...0xBF, 3)
        case 0xF0: (second, length) = (0x90...0xBF, 4)
        case 0xF1...0xF3: (second, length) = (0x80...0xBF, 4)
        case 0xF4: (second, length) = (0x80...0x8F, 4)
        default: return 1
        }
        var count = 1
        for octet in octets.dropFirst().prefix(length - 1) {
            guard (count == 1 ? second : 0x80...0xBF).contains(octet) else { break }
            count += 1
        }
        return count
    }

    private static func isShown(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        // Letters of Europe, and of East Asia: most text has no others.
        case 0xAE...0x34F, 0x3000...0xD7FF: return true
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return false
        default: return true
        }
    }
}
