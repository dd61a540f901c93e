/// What is wrong with a part of a message; each kind at most once a part, so that a message can't make them many.
package struct Defects: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let bareLineFeed = Defects(rawValue: 1 << 0)
    package static let bareCarriageReturn = Defects(rawValue: 1 << 1)
    package static let nul = Defects(rawValue: 1 << 2)
    package static let eightBitBody = Defects(rawValue: 1 << 3)
    package static let headerNotUTF8 = Defects(rawValue: 1 << 4)
    package static let headerLongLine = Defects(rawValue: 1 << 5)
    package static let noField = Defects(rawValue: 1 << 6)
    package static let headerWithoutEnd = Defects(rawValue: 1 << 7)
    package static let repeatedField = Defects(rawValue: 1 << 8)
    package static let invalidType = Defects(rawValue: 1 << 9)
    package static let repeatedParameter = Defects(rawValue: 1 << 10)
    package static let unknownEncoding = Defects(rawValue: 1 << 11)
    package static let encodedComposite = Defects(rawValue: 1 << 12)
    package static let noBoundary = Defects(rawValue: 1 << 13)
    package static let boundaryLength = Defects(rawValue: 1 << 14)
    package static let noPart = Defects(rawValue: 1 << 15)
    package static let noFinalBoundary = Defects(rawValue: 1 << 16)
    package static let sameBoundary = Defects(rawValue: 1 << 17)
    package static let tooDeep = Defects(rawValue: 1 << 18)
    package static let tooManyParts = Defects(rawValue: 1 << 19)
    package static let headerTooLong = Defects(rawValue: 1 << 20)
    package static let tooManyFields = Defects(rawValue: 1 << 21)
    package static let tooManyParameters = Defects(rawValue: 1 << 22)
    package static let encodedRubbish = Defects(rawValue: 1 << 23)
    package static let encodedCut = Defects(rawValue: 1 << 24)
    package static let damagedFile = Defects(rawValue: 1 << 25)
    package static let unknownCharset = Defects(rawValue: 1 << 26)
    package static let notInCharset = Defects(rawValue: 1 << 27)
    package static let bodyLongLine = Defects(rawValue: 1 << 28)
    package static let noVersion = Defects(rawValue: 1 << 29)
    package static let securedParts = Defects(rawValue: 1 << 30)
    package static let spliced = Defects(rawValue: 1 << 31)
    package static let invalidPartial = Defects(rawValue: 1 << 32)
    package static let invalidDate = Defects(rawValue: 1 << 33)
    package static let invalidAddress = Defects(rawValue: 1 << 34)
    package static let invalidIdentifier = Defects(rawValue: 1 << 35)
    package static let invalidEncodedWord = Defects(rawValue: 1 << 36)
    package static let noSender = Defects(rawValue: 1 << 37)
    package static let noFrom = Defects(rawValue: 1 << 38)
    package static let noDate = Defects(rawValue: 1 << 39)
    package static let tooManyAddresses = Defects(rawValue: 1 << 40)
    package static let tooManyFiles = Defects(rawValue: 1 << 41)
    package static let malformedField = Defects(rawValue: 1 << 42)
    package static let noHeader = Defects(rawValue: 1 << 43)

    /// A kind of defect: its word for programs, what it means, and where that is written.
    package struct Kind: Sendable {
        package let defect: Defects
        package let name: String
        package let text: String
        package let source: String
    }

    /// All kinds, in order.
    package static let kinds: [Kind] = [
        Kind(defect: .bareLineFeed, name: "bare-lf", text: "lines end in LF alone", source: "RFC 5322 §2.3"),
        Kind(defect: .bareCarriageReturn, name: "bare-cr", text: "CR without LF", source: "RFC 5322 §2.3"),
        Kind(defect: .nul, name: "nul", text: "NUL octets", source: "RFC 5322 §4, RFC 2045 §2.7"),
        Kind(
            defect: .eightBitBody,
            name: "8bit-body",
            text: "octets beyond ASCII under an encoding that has none",
            source: "RFC 2045 §2.7, §6.2"
        ),
        Kind(
            defect: .headerNotUTF8,
            name: "header-not-utf8",
            text: "the header has octets that are neither ASCII nor UTF-8",
            source: "RFC 6532 §3.2"
        ),
        Kind(
            defect: .headerLongLine,
            name: "header-line-length",
            text: "a line of the header has more than 998 octets",
            source: "RFC 5322 §2.1.1"
        ),
        Kind(
            defect: .noField,
            name: "no-field",
            text: "a line of the header is no field",
            source: "RFC 5322 §2.2"
        ),
        Kind(
            defect: .headerWithoutEnd,
            name: "header-without-end",
            text: "no empty line ends the header",
            source: "RFC 5322 §2.1, RFC 2046 §5.1"
        ),
        Kind(
            defect: .noHeader,
            name: "no-header",
            text: "a message has no header",
            source: "RFC 5322 §2.1, §3.6"
        ),
        Kind(
            defect: .repeatedField,
            name: "repeated-field",
            text: "a field that may come once comes again",
            source: "RFC 5322 §3.6, RFC 2045 §3"
        ),
        Kind(
            defect: .invalidType,
            name: "invalid-type",
            text: "Content-Type has no type and subtype",
            source: "RFC 2045 §5.1"
        ),
        Kind(
            defect: .malformedField,
            name: "malformed-field",
            text: "Content-Type, Content-Disposition or Content-Transfer-Encoding is not written as it must be",
            source: "RFC 2045 §5.1, §6.1, RFC 2183 §2"
        ),
        Kind(
            defect: .repeatedParameter,
            name: "repeated-parameter",
            text: "a parameter comes twice",
            source: "RFC 2045 §5, RFC 2231 §3"
        ),
        Kind(
            defect: .unknownEncoding,
            name: "unknown-encoding",
            text: "Content-Transfer-Encoding is none that is known",
            source: "RFC 2045 §6.1"
        ),
        Kind(
            defect: .encodedComposite,
            name: "encoded-composite",
            text: "a multipart or message is encoded as a whole",
            source: "RFC 2045 §6.4"
        ),
        Kind(
            defect: .noBoundary,
            name: "no-boundary",
            text: "a multipart has no boundary parameter",
            source: "RFC 2046 §5.1.1"
        ),
        Kind(
            defect: .boundaryLength,
            name: "boundary-length",
            text: "a boundary has more than 70 octets",
            source: "RFC 2046 §5.1.1"
        ),
        Kind(defect: .noPart, name: "no-part", text: "a multipart has no part", source: "RFC 2046 §5.1"),
        Kind(
            defect: .noFinalBoundary,
            name: "no-final-boundary",
            text: "a multipart's last delimiter is missing",
            source: "RFC 2046 §5.1.1"
        ),
        Kind(
            defect: .sameBoundary,
            name: "same-boundary",
            text: "the boundary is an open multipart's too",
            source: "RFC 2046 §5.1.2"
        ),
        Kind(
            defect: .tooDeep,
            name: "too-deep",
            text: "limit: parts lie too deep within each other; not looked into",
            source: "this program's limit"
        ),
        Kind(
            defect: .tooManyParts,
            name: "too-many-parts",
            text: "limit: too many parts; the rest is not told apart",
            source: "this program's limit"
        ),
        Kind(
            defect: .headerTooLong,
            name: "header-too-long",
            text: "limit: the rest of the header is not looked at",
            source: "this program's limit"
        ),
        Kind(
            defect: .tooManyFields,
            name: "too-many-fields",
            text: "limit: too many fields; the rest is not looked at",
            source: "this program's limit"
        ),
        Kind(
            defect: .tooManyParameters,
            name: "too-many-parameters",
            text: "limit: too many parameters; the rest is not looked at",
            source: "this program's limit"
        ),
        Kind(
            defect: .encodedRubbish,
            name: "encoded-rubbish",
            text: "characters that the transfer encoding doesn't have",
            source: "RFC 2045 §6.7, §6.8"
        ),
        Kind(
            defect: .encodedCut,
            name: "encoded-cut",
            text: "the encoded body is cut, or goes on behind its end",
            source: "RFC 2045 §6.7, §6.8"
        ),
        Kind(
            defect: .damagedFile,
            name: "damaged-file",
            text: "a file within the text isn't what it says of itself",
            source: "POSIX uuencode, yEnc 1.3"
        ),
        Kind(
            defect: .unknownCharset,
            name: "unknown-charset",
            text: "a character set that is none that is known",
            source: "RFC 2046 §4.1.2, RFC 2047 §2"
        ),
        Kind(
            defect: .notInCharset,
            name: "not-in-charset",
            text: "text that its character set doesn't have",
            source: "RFC 2046 §4.1.2"
        ),
        Kind(
            defect: .bodyLongLine,
            name: "body-line-length",
            text: "a line of the body has more than 998 octets",
            source: "RFC 5322 §2.1.1, RFC 2045 §2.7"
        ),
        Kind(
            defect: .noVersion,
            name: "no-version",
            text: "fields of MIME without MIME-Version",
            source: "RFC 2045 §4"
        ),
        Kind(
            defect: .securedParts,
            name: "secured-parts",
            text: "a signed or encrypted multipart isn't the two parts that its protocol asks for",
            source: "RFC 1847 §2.1, §2.2"
        ),
        Kind(
            defect: .spliced,
            name: "spliced",
            text: "something encrypted stands beside other parts",
            source: "RFC 9787 §4.5"
        ),
        Kind(
            defect: .invalidPartial,
            name: "invalid-partial",
            text: "a piece of a message doesn't say which",
            source: "RFC 2046 §5.2.2"
        ),
        Kind(
            defect: .invalidDate,
            name: "invalid-date",
            text: "a date that is none",
            source: "RFC 5322 §3.3"
        ),
        Kind(
            defect: .invalidAddress,
            name: "invalid-address",
            text: "an address that is none, or more or fewer than the field takes",
            source: "RFC 5322 §3.4, §3.6.2"
        ),
        Kind(
            defect: .invalidIdentifier,
            name: "invalid-identifier",
            text: "a message-id that is none",
            source: "RFC 5322 §3.6.4, RFC 2045 §7"
        ),
        Kind(
            defect: .invalidEncodedWord,
            name: "invalid-encoded-word",
            text: "an encoded word that is too long or none",
            source: "RFC 2047 §2"
        ),
        Kind(
            defect: .noSender,
            name: "no-sender",
            text: "several authors and no Sender field",
            source: "RFC 5322 §3.6.2"
        ),
        Kind(
            defect: .noFrom,
            name: "no-from",
            text: "there is no From field",
            source: "RFC 5322 §3.6"
        ),
        Kind(
            defect: .noDate,
            name: "no-date",
            text: "there is no Date field",
            source: "RFC 5322 §3.6"
        ),
        Kind(
            defect: .tooManyAddresses,
            name: "too-many-addresses",
            text: "limit: too many addresses; the rest is not looked at",
            source: "this program's limit"
        ),
        Kind(
            defect: .tooManyFiles,
            name: "too-many-files",
            text: "limit: too many files within texts; the rest is not told",
            source: "this program's limit"
        ),
    ]

    /// The kinds that are in the set.
    package var kinds: [Kind] { Self.kinds.filter { contains($0.defect) } }
}

extension Defects {
    /// Fields that may come once (RFC 5322 §3.6, RFC 2045 §3, RFC 2183 §2).
    private static let singleFields: [StaticString] = [
        "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject", "date",
        "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
        "content-description",
    ]

    /// What is wrong with a header by itself.
    init(_ header: HeaderBlock, _ content: ContentFields) {
        self = []
        if header.hasJunk { insert(.noField) }
        if header.hasMoreFields { insert(.tooManyFields) }
        var seen: UInt32 = 0
        for field in header.fields {
            let length = field.name.count
            for (index, name) in Self.singleFields.enumerated() where name.utf8CodeUnitCount == length {
                guard ASCII.equal(header.name(of: field), name) else { continue }
                if seen & 1 << index != 0 { insert(.repeatedField) }
                seen |= 1 << index
            }
        }
        if content.hasInvalidType { insert(.invalidType) }
        if content.hasMalformedField { insert(.malformedField) }
        for value in [content.type, content.disposition].compactMap({ $0 }) {
            if value.hasMoreParameters { insert(.tooManyParameters) }
            let names = Set(value.parameters.map { $0.name.map(ASCII.lower) })
            if names.count < value.parameters.count { insert(.repeatedParameter) }
        }
        if let encoding = content.transferEncoding {
            let plain: [StaticString] = ["7bit", "8bit", "binary"]
            let isPlain = plain.contains { ASCII.equal(encoding, $0) }
            if content.isMultipart || content.isMessage {
                // Messages in UTF-8 may be encoded (RFC 6532 §3.7).
                if !isPlain, !ASCII.equal(content.type.value, "message/global") { insert(.encodedComposite) }
            } else if !isPlain, content.encoding == .identity {
                insert(.unknownEncoding)
            }
        }
    }
}
