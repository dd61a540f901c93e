import CLinux

/// Turns text of a character set into UTF-8, piece by piece; what means nothing becomes U+FFFD. However the text is cut into
/// pieces, the result is the same. Keeps at most 64 octets and the state of a shifted set.
package struct CharsetDecoder {
    /// Whether anything meant nothing so far.
    package private(set) var hasReplaced = false
    /// Whether the system has no converter for the set; then its octets beyond ASCII are replaced.
    package var isUnavailable: Bool { charset.converter == .system && system == nil }

    private let charset: Charset
    private let system: SystemConverter?
    private var japanese: ISO2022JP?
    /// The start of a character that isn't complete.
    private var held: [UInt8] = []

    static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

    package init(_ charset: Charset) {
        self.charset = charset
        if charset.name == Charset.shiftedJapanese {
            japanese = ISO2022JP()
            system = SystemConverter(Charset.japanese)
        } else {
            system = charset.converter == .system ? SystemConverter(charset.name) : nil
        }
    }

    /// Converts the next piece and appends it.
    package mutating func decode(_ text: some Collection<UInt8>, into result: inout [UInt8]) {
        if text.withContiguousStorageIfAvailable({ run($0, into: &result) }) == nil {
            Array(text).withUnsafeBufferPointer { run($0, into: &result) }
        }
    }

    private mutating func run(_ text: UnsafeBufferPointer<UInt8>, into result: inout [UInt8]) {
        switch charset.converter {
        case .utf8:
            if held.isEmpty, Self.isASCII(text) { return result.append(contentsOf: text) }
            utf8(held + text, into: &result)
        case .table(let table): Self.convert(text, table, into: &result)
        case .system:
            guard let system else { return replaceBeyondASCII(text, into: &result) }
            if japanese != nil {
                var octets = held
                japanese?.convert(text, into: &octets)
                octets.withUnsafeBufferPointer { convert($0, system, into: &result) }
            } else if held.isEmpty {
                convert(text, system, into: &result)
            } else {
                (held + text).withUnsafeBufferPointer { convert($0, system, into: &result) }
            }
        }
    }

    /// The end: what is held is no character.
    package mutating func finish(into result: inout [UInt8]) {
        if charset.converter == .utf8 {
            appendUTF8(held[...], into: &result)
        } else if !held.isEmpty || japanese?.isIncomplete == true {
            hasReplaced = true
            result += Self.replacement
        }
        held = []
        if japanese != nil { japanese = ISO2022JP() }
        system?.finish(into: &result)
    }

    /// Whether all octets are ASCII; looks at 64 at a time.
    static func isASCII(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var start = 0
        while start < text.count {
            let end = min(start + 64, text.count)
            var all: UInt8 = 0
            for index in start..<end { all |= text[index] }
            if all >= 0x80 { return false }
            start = end
        }
        return true
    }

    // MARK: UTF-8

    private mutating func utf8(_ text: [UInt8], into result: inout [UInt8]) {
        let cut = Self.cutCharacter(text)
        appendUTF8(text[..<cut], into: &result)
        held = Array(text[cut...])
    }

    private mutating func appendUTF8(_ text: ArraySlice<UInt8>, into result: inout [UInt8]) {
        if let valid = String(validating: text, as: UTF8.self) {
            result += valid.utf8
        } else {
            hasReplaced = true
            result += String(decoding: text, as: UTF8.self).utf8
        }
    }

    /// Where a character starts that the end cuts.
    private static func cutCharacter(_ text: [UInt8]) -> Int {
        for index in text.indices.suffix(3).reversed() where text[index] >= 0xC0 {
            let length = text[index] >= 0xF0 ? 4 : text[index] >= 0xE0 ? 3 : 2
            return text.count - index < length ? index : text.count
        }
        return text.count
    }

    // MARK: Other sets

    private static func convert(_ text: UnsafeBufferPointer<UInt8>, _ table: [UInt16], into result: inout [UInt8]) {
        if isASCII(text) { return result.append(contentsOf: text) }
        for octet in text {
            if octet < 0x80 {
                result.append(octet)
            } else {
                let character = table[Int(octet) - 0x80]
                if character < 0x800 {
                    result.append(0xC0 | UInt8(truncatingIfNeeded: character >> 6))
                } else {
                    result.append(0xE0 | UInt8(truncatingIfNeeded: character >> 12))
                    result.append(0x80 | UInt8(truncatingIfNeeded: character >> 6 & 0x3F))
                }
                result.append(0x80 | UInt8(truncatingIfNeeded: character & 0x3F))
            }
        }
    }

    private mutating func replaceBeyondASCII(_ text: UnsafeBufferPointer<UInt8>, into result: inout [UInt8]) {
        for octet in text {
            if octet < 0x80 {
                result.append(octet)
            } else {
                hasReplaced = true
                result += Self.replacement
            }
        }
    }

    private mutating func convert(
        _ text: UnsafeBufferPointer<UInt8>,
        _ system: SystemConverter,
        into result: inout [UInt8]
    ) {
        var rest = text[...]
        while !rest.isEmpty {
            let outcome = system.convert(&rest, into: &result)
            // More than an escape sequence is no cut character.
            if outcome == .incomplete, rest.count <= 32 { break }
            if outcome != .all {
                hasReplaced = true
                result += Self.replacement
                rest = rest.dropFirst()
            }
        }
        held = Array(rest)
    }
}

extension Charset {
    /// Loads what the system loads when a set is first used, and keeps it: a daemon that has given up the right to open
    /// files can read no tables any more. Gives the names of the sets that the system lacks.
    @discardableResult package static func preload() -> [String] { SystemConverter.missing }
}

/// iconv's converter of one character set to UTF-8.
private final class SystemConverter {
    enum Conversion { case all, invalid, incomplete }

    private let descriptor: UnsafeMutableRawPointer

    init?(_ name: String) {
        guard let descriptor = CLinux_charset_open(name) else { return nil }
        self.descriptor = descriptor
    }

    deinit { CLinux_charset_close(descriptor) }

    /// Opens a converter of every set that is known, and never closes it, so that its tables stay; those that there are not.
    static let missing: [String] = CharsetLabels.systemNames.filter { CLinux_charset_open($0) == nil }

    /// Converts from the front of the octets as far as it goes.
    func convert(_ rest: inout Slice<UnsafeBufferPointer<UInt8>>, into result: inout [UInt8]) -> Conversion {
        while true {
            let octets = UnsafeBufferPointer(rebasing: rest)
            let (status, consumed) = step(octets.baseAddress, octets.count, into: &result)
            rest = rest.dropFirst(consumed)
            if rest.isEmpty { return .all }
            switch status {
            case CLinux_charset_all: return .all
            case CLinux_charset_full: if consumed == 0 { return .invalid }
            case CLinux_charset_incomplete: return .incomplete
            default: return .invalid
            }
        }
    }

    func finish(into result: inout [UInt8]) { _ = step(nil, 0, into: &result) }

    private func step(_ octets: UnsafePointer<UInt8>?, _ count: Int, into result: inout [UInt8]) -> (
        CLinux_charset_status, Int
    ) {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { room in
            var consumed = 0
            var produced = 0
            let status = CLinux_charset_convert(
                descriptor,
                octets,
                count,
                &consumed,
                room.baseAddress,
                room.count,
                &produced
            )
            result.append(contentsOf: room[..<produced])
            return (status, consumed)
        }
    }
}
