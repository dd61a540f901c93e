import Encodings

/// What is wrong with an encoded body. Decoding goes on all the same.
package struct TransferDefects: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Characters that the encoding doesn't have; they are left out.
    package static let strayCharacters = Self(rawValue: 1)
    /// Base64 goes on behind its padding; what stands there is left out.
    package static let dataAfterPadding = Self(rawValue: 2)
    /// The last group of base64 isn't filled up.
    package static let missingPadding = Self(rawValue: 4)
    /// The last group is too short to mean anything, or a line is.
    package static let truncated = Self(rawValue: 8)
    /// `=` without two hexadecimal digits; it's kept as it is.
    package static let badEscape = Self(rawValue: 16)
    /// The size that is told isn't the size that came.
    package static let badSize = Self(rawValue: 32)
    /// The checksum that is told isn't that of the content.
    package static let badChecksum = Self(rawValue: 64)
    /// No line begins the encoded file.
    package static let noBegin = Self(rawValue: 128)
    /// No line ends the encoded file.
    package static let noEnd = Self(rawValue: 256)
}

extension TransferDefects {
    init(_ defects: Base64Decoder.Defects) {
        self = []
        if defects.contains(.strayCharacters) { insert(.strayCharacters) }
        if defects.contains(.dataAfterPadding) { insert(.dataAfterPadding) }
        if defects.contains(.missingPadding) { insert(.missingPadding) }
        if defects.contains(.truncated) { insert(.truncated) }
    }
}

/// Undoes a content transfer encoding (RFC 2045 §6), piece by piece and tolerantly. However the octets are cut into
/// pieces, the result is the same. Keeps at most 4 KiB.
package struct TransferDecoder: Sendable {
    /// What the body is encoded in.
    package enum Encoding: Sendable, Equatable {
        case identity
        case base64
        case quotedPrintable
        case uuencode
        case yEnc

        /// By the value of a Content-Transfer-Encoding field; unknown ones count as identity.
        package init(field: [UInt8]) {
            let name = ASCII.trim(field[...])
            let names: [(StaticString, Self)] = [
                ("base64", .base64), ("quoted-printable", .quotedPrintable), ("x-uuencode", .uuencode),
                ("x-uue", .uuencode), ("uuencode", .uuencode), ("x-yenc", .yEnc),
            ]
            self = names.first { ASCII.equal(name, $0.0) }?.1 ?? .identity
        }
    }

    private let encoding: Encoding
    private var base64 = Base64Decoder()
    private var quotedPrintable = QuotedPrintableDecoder()
    private var uuencode = UUDecoder()
    private var yEnc = YEncDecoder()

    package init(_ encoding: Encoding) { self.encoding = encoding }

    /// What was wrong so far.
    package var defects: TransferDefects {
        switch encoding {
        case .identity: []
        case .base64: TransferDefects(base64.defects)
        case .quotedPrintable: quotedPrintable.defects
        case .uuencode: uuencode.defects
        case .yEnc: yEnc.defects
        }
    }

    /// Decodes the next piece and appends what it means.
    package mutating func decode(_ octets: some Collection<UInt8>, into text: inout [UInt8]) {
        if encoding == .identity {
            text.append(contentsOf: octets)
        } else if octets.withContiguousStorageIfAvailable({ decode($0, into: &text) }) == nil {
            Array(octets).withUnsafeBufferPointer { decode($0, into: &text) }
        }
    }

    private mutating func decode(_ octets: UnsafeBufferPointer<UInt8>, into text: inout [UInt8]) {
        switch encoding {
        case .identity: text.append(contentsOf: octets)
        case .base64: base64.decode(octets, into: &text)
        case .quotedPrintable: quotedPrintable.decode(octets, into: &text)
        case .uuencode: uuencode.decode(octets, into: &text)
        case .yEnc: yEnc.decode(octets, into: &text)
        }
    }

    /// The end: appends what was held back.
    package mutating func finish(into text: inout [UInt8]) {
        switch encoding {
        case .identity: break
        case .base64: base64.finish()
        case .quotedPrintable: quotedPrintable.finish(into: &text)
        case .uuencode: uuencode.finish(into: &text)
        case .yEnc: yEnc.finish(into: &text)
        }
    }

    /// The whole body decoded.
    package static func decode(_ octets: some Collection<UInt8>, _ encoding: Encoding) -> [UInt8] {
        var decoder = TransferDecoder(encoding)
        var text: [UInt8] = []
        decoder.decode(octets, into: &text)
        decoder.finish(into: &text)
        return text
    }
}
