/// One message of an mbox.
struct MboxEntry {
    /// Where its `From ` line begins.
    let start: Int
    /// Behind the `From ` line.
    var content: Int
    /// Behind the message, without the empty line that ends the entry.
    var contentEnd: Int
    /// Behind the entry: where the next one begins.
    var end: Int
    /// Of the `From ` line and the header: what the message is recognised by.
    var digest: EntryDigest
}

/// FNV-1a over an entry's first lines, or a name, twice with different beginnings: 128 bits that are the same in every
/// process.
package struct EntryDigest: Hashable, Sendable {
    private var first: UInt64 = 0xCBF2_9CE4_8422_2325
    private var second: UInt64 = 0x6C62_272E_07BB_0142

    init() {}

    package init(_ octets: some Sequence<UInt8>) { add(octets) }

    mutating func add(_ octet: UInt8) {
        first = (first ^ UInt64(octet)) &* 0x100_0000_01B3
        second = (second ^ UInt64(octet) ^ first >> 17) &* 0x100_0000_01B3
    }

    mutating func add(_ octets: some Sequence<UInt8>) {
        for octet in octets { add(octet) }
    }

    var number: UInt64 { first }
    package var text: String { Self.hexadecimal(first) + Self.hexadecimal(second) }

    /// The first half, for short names.
    var shortText: String { Self.hexadecimal(first) }

    private static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// Finds the entries of an mbox: each begins with a line `From …` at the start of the file or behind an empty line.
struct MboxIndexer {
    private static let from = Array("From ".utf8)

    private(set) var entries: [MboxEntry] = []
    private var offset = 0
    private var lineStart = 0
    /// Whether the line before this one was empty, or there is none.
    private var followsEmptyLine = true
    private var lineLength = 0
    /// Octets of `From ` that this line has begun with; -1 when it begins with something else.
    private var matched = 0
    private var isInHeader = false
    private var emptyLineStart = 0

    mutating func feed(_ octets: UnsafeRawBufferPointer) {
        for octet in octets {
            if matched >= 0, followsEmptyLine {
                if octet == Self.from[matched] {
                    matched += 1
                    if matched == Self.from.count { begin() }
                } else {
                    matched = -1
                }
            }
            offset += 1
            if isInHeader, let last = entries.indices.last { entries[last].digest.add(octet) }
            if octet == UInt8(ascii: "\n") {
                endLine()
            } else if octet != UInt8(ascii: "\r") {
                lineLength += 1
            }
        }
    }

    private mutating func begin() {
        if let last = entries.indices.last {
            entries[last].contentEnd = max(entries[last].content, emptyLineStart)
            entries[last].end = lineStart
        }
        var digest = EntryDigest()
        digest.add(Self.from.dropLast())
        entries.append(MboxEntry(start: lineStart, content: 0, contentEnd: 0, end: 0, digest: digest))
        isInHeader = true
        matched = -1
    }

    private mutating func endLine() {
        if let last = entries.indices.last, entries[last].content == 0 { entries[last].content = offset }
        followsEmptyLine = lineLength == 0
        if followsEmptyLine {
            emptyLineStart = lineStart
            isInHeader = false
        }
        lineStart = offset
        lineLength = 0
        matched = 0
    }

    /// All entries, the last of which ends with the file.
    mutating func finish() -> [MboxEntry] {
        if let last = entries.indices.last {
            if entries[last].content == 0 { entries[last].content = offset }
            let endsEmpty = followsEmptyLine && lineLength == 0 && lineStart == offset
            entries[last].contentEnd = max(entries[last].content, endsEmpty ? emptyLineStart : offset)
            entries[last].end = offset
        }
        return entries
    }

    /// Reads the whole mbox, or the file that is to take its place.
    static func entries(of file: OpenFile, _ lock: MboxLock) throws(MailboxError) -> [MboxEntry] {
        var indexer = MboxIndexer()
        try lock.read(0..<Int.max, of: file) { piece, _ in
            piece.withUnsafeBytes { indexer.feed($0) }
            return true
        }
        return indexer.finish()
    }
}
