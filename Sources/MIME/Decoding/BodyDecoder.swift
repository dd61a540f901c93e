/// Decodes the body of one part, piece by piece: its transfer encoding, and where that is wanted its character set too.
/// Keeps at most 20 KiB.
package struct BodyDecoder {
    private var transfer: TransferDecoder
    private var charset: CharsetDecoder?
    /// Text of no or of an unknown set, until it's clear whether it's UTF-8.
    private var unsure: [UInt8]?
    private var decoded: [UInt8] = []
    private let encoding: TransferDecoder.Encoding
    private let hasUnknownCharset: Bool

    /// How much text decides what it's in. Octets.
    private static let sample = 16 * 1024

    /// - Parameter toUTF8: whether text is converted from its character set.
    package init(_ content: ContentFields, toUTF8: Bool) {
        encoding = content.encoding
        transfer = TransferDecoder(content.encoding)
        // Words that aren't text name no set.
        let label = content.isText && toUTF8 ? content.type.text("charset") : nil
        let known = label.flatMap { Charset($0.utf8) }
        hasUnknownCharset = label != nil && known == nil
        guard content.isReadable, toUTF8 else { return }
        // The default is ASCII, and what is more is anything; UTF-8 shows itself as such.
        if let label, let known, !Charset.isASCII(label.utf8) { charset = CharsetDecoder(known) } else { unsure = [] }
    }

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        guard charset != nil || unsure != nil else { return transfer.decode(octets, into: &text) }
        decoded.removeAll(keepingCapacity: true)
        transfer.decode(octets, into: &decoded)
        convert(into: &text)
    }

    /// The end: appends what was held back.
    package mutating func finish(into text: inout [UInt8]) {
        decoded.removeAll(keepingCapacity: true)
        transfer.finish(into: &decoded)
        guard charset != nil || unsure != nil else {
            text += decoded
            return
        }
        convert(into: &text)
        if unsure != nil { decide(isEnd: true, into: &text) }
        charset?.finish(into: &text)
    }

    private mutating func convert(into text: inout [UInt8]) {
        guard let held = unsure else {
            charset?.decode(decoded, into: &text)
            return
        }
        // Cut where a piece of another size would be cut too.
        let room = Self.sample - held.count
        unsure = held + decoded.prefix(room)
        guard decoded.count >= room else { return }
        let rest = Array(decoded.dropFirst(room))
        decide(isEnd: false, into: &text)
        charset?.decode(rest, into: &text)
    }

    private mutating func decide(isEnd: Bool, into text: inout [UInt8]) {
        let sample = unsure ?? []
        unsure = nil
        var utf8 = CharsetDecoder(.utf8)
        var converted: [UInt8] = []
        utf8.decode(sample, into: &converted)
        // A character that the end cuts is none.
        var probe = utf8
        var rest: [UInt8] = []
        if isEnd { probe.finish(into: &rest) }
        if probe.hasReplaced {
            var latin = CharsetDecoder(.latin1)
            latin.decode(sample, into: &text)
            charset = latin
        } else {
            text += converted
            charset = utf8
        }
    }

    /// What is wrong with the body so far.
    package var defects: Defects {
        var defects: Defects = []
        let found = transfer.defects
        let rubbish: TransferDefects = [.strayCharacters, .badEscape]
        if !found.isDisjoint(with: rubbish) { defects.insert(.encodedRubbish) }
        if !found.subtracting(rubbish).isEmpty {
            defects.insert(encoding == .uuencode || encoding == .yEnc ? .damagedFile : .encodedCut)
        }
        if hasUnknownCharset { defects.insert(.unknownCharset) }
        if charset?.hasReplaced == true { defects.insert(.notInCharset) }
        return defects
    }
}
