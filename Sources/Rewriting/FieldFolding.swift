import MIME
import SMTP

/// Folds a header field that has a line of more than 998 octets (RFC 5322 §2.1.1, §2.2.3), where nothing of its meaning is
/// lost.
struct FieldFolding {
    /// Where a field may be broken that has no white space there.
    private enum Kind {
        /// Behind a comma: lists of addresses and of URLs.
        case list
        /// Behind a semicolon: parameters.
        case parameters
        /// Between two message identifiers.
        case identifiers
        /// Nowhere: its words mean something only as a whole.
        case rigid
        /// Free text, in which encoded words may stand (RFC 2047 §5 (1)).
        case text
        /// Nobody knows: in the last resort anywhere, as other servers do.
        case unknown

        init(_ name: ArraySlice<UInt8>) {
            switch String(decoding: name.map(ASCII.lower), as: UTF8.self) {
            case "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-to",
                "resent-cc",
                "resent-bcc", "list-archive", "list-help", "list-owner", "list-post", "list-subscribe",
                "list-unsubscribe":
                self = .list
            case "content-type", "content-disposition", "authentication-results", "received": self = .parameters
            case "references", "in-reply-to", "message-id", "resent-message-id", "content-id": self = .identifiers
            case "date", "resent-date", "return-path", "mime-version", "content-transfer-encoding", "list-id":
                self = .rigid
            case "subject", "comments", "content-description": self = .text
            default: self = .unknown
            }
        }
    }

    /// A place where a line may be broken.
    private struct Place {
        let offset: Int
        /// Whether white space stands there; otherwise a space is put in.
        let isBlank: Bool
    }

    private static let width = 78
    /// White space of more octets than this counts as so much.
    private static let blankLimit = 64
    /// Names can't be folded; real ones are far shorter. Octets.
    private static let nameLimit = 900

    private let name: ArraySlice<UInt8>
    private let kind: Kind
    // What is open where the scan stands.
    private var isQuoted = false
    private var isEscaped = false
    private var commentDepth = 0
    private var isInAngle = false
    /// White space was put in where none was: a DKIM signature over the field doesn't survive that.
    private(set) var isChanged = false

    private init(_ name: ArraySlice<UInt8>) {
        self.name = name
        kind = Kind(name)
    }

    /// The field in lines of at most 998 octets, and of 78 where that can be; nil where it has a word that is too long and
    /// can't be broken.
    ///
    /// - Parameter field: with its line ends.
    static func fold(_ field: [UInt8]) -> (octets: [UInt8], isChanged: Bool)? {
        guard let colon = field.firstIndex(of: UInt8(ascii: ":")), colon <= nameLimit else { return nil }
        var end = colon
        while end > 0, ASCII.isBlank(field[end - 1]) { end -= 1 }
        var folding = FieldFolding(field[..<end])
        let lines = Self.lines(field)
        var result: [UInt8] = []
        for (number, line) in lines.enumerated() {
            guard let folded = folding.fold(line, text: number == 0 ? colon + 1 : 0) else {
                return folding.encoded(lines, from: colon + 1)
            }
            result += folded
        }
        return (result, folding.isChanged)
    }

    /// The lines as they would be sent: a CR or LF on its own is a space.
    private static func lines(_ field: [UInt8]) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        var index = 0
        while index < field.count {
            let octet = field[index]
            if octet == ASCII.carriageReturn, index + 1 < field.count, field[index + 1] == ASCII.lineFeed {
                lines.append(line)
                line = []
                index += 1
            } else {
                line.append(octet == ASCII.carriageReturn || octet == ASCII.lineFeed ? ASCII.space : octet)
            }
            index += 1
        }
        while let last = line.last, ASCII.isBlank(last) { line.removeLast() }
        if !line.isEmpty { lines.append(line) }
        return lines
    }

    private mutating func fold(_ line: [UInt8], text: Int) -> [UInt8]? {
        let isLong = line.count > DataEncoder.lineLimit
        if isLong, kind == .parameters, Self.hasLongBlanks(line) {
            // Blanks may be part of a value without quotes, such as a boundary's, to those who read it.
            return nil
        }
        let line = isLong ? Self.withShortBlanks(line) : line
        // Nothing but white space: an empty line would end the header.
        if line.isEmpty { return [] }
        let places = places(in: line, text: text)
        guard isLong else { return line + [ASCII.carriageReturn, ASCII.lineFeed] }
        var result: [UInt8] = []
        var start = 0
        var next = places.startIndex
        var isSpaced = false
        while true {
            let room = DataEncoder.lineLimit - (isSpaced ? 1 : 0)
            if isSpaced { result.append(ASCII.space) }
            if line.count - start <= Self.width { break }
            while next < places.endIndex, places[next].offset <= start { next += 1 }
            // The last place that leaves a short line, or else the first one.
            var chosen: Place?
            var look = next
            while look < places.endIndex, chosen == nil || places[look].offset - start <= Self.width {
                chosen = places[look]
                look += 1
            }
            let place: Place
            if let chosen, chosen.offset - start <= room {
                place = chosen
            } else if line.count - start <= room {
                break
            } else if kind == .unknown {
                place = Place(offset: Self.boundary(in: line, before: start + room), isBlank: false)
            } else {
                return nil
            }
            result += line[start..<place.offset]
            result += [ASCII.carriageReturn, ASCII.lineFeed]
            isSpaced = !place.isBlank
            isChanged = isChanged || isSpaced
            start = place.offset
        }
        return result + line[start...] + [ASCII.carriageReturn, ASCII.lineFeed]
    }

    /// Where the line may be broken; never so that a line has nothing but white space (RFC 5322 §3.2.2), nor behind the
    /// field's name.
    ///
    /// - Parameter text: where the field's text begins in it.
    private mutating func places(in line: [UInt8], text: Int) -> [Place] {
        var places: [Place] = []
        var hasText = false
        for (index, octet) in line.enumerated() where index >= text {
            if !ASCII.isBlank(octet) {
                hasText = true
            } else if hasText, !ASCII.isBlank(line[index - 1]) {
                places.append(Place(offset: index, isBlank: true))
            }
            let next = index + 1 < line.count ? line[index + 1] : nil
            if step(octet, next: next), let next, !ASCII.isBlank(next) {
                places.append(Place(offset: index + 1, isBlank: false))
            }
        }
        return places
    }

    /// Goes over an octet; whether the field may be broken behind it.
    private mutating func step(_ octet: UInt8, next: UInt8?) -> Bool {
        guard kind != .unknown, kind != .text, kind != .rigid else { return false }
        if isEscaped {
            isEscaped = false
            return false
        }
        if octet == ASCII.backslash, isQuoted || commentDepth > 0 {
            isEscaped = true
            return false
        }
        if isQuoted {
            if octet == ASCII.quote { isQuoted = false }
            return false
        }
        if commentDepth > 0 {
            if octet == UInt8(ascii: "(") { commentDepth += 1 } else if octet == UInt8(ascii: ")") { commentDepth -= 1 }
            return false
        }
        switch octet {
        case ASCII.quote: isQuoted = true
        case UInt8(ascii: "("): if !isInAngle { commentDepth += 1 }
        case UInt8(ascii: "<"): isInAngle = true
        case UInt8(ascii: ">"):
            isInAngle = false
            return kind == .identifiers && next == UInt8(ascii: "<")
        case UInt8(ascii: ","): return kind == .list && !isInAngle
        case UInt8(ascii: ";"): return kind == .parameters
        default: break
        }
        return false
    }

    /// Free text with a word that is too long, as encoded words: readers put them together again.
    private func encoded(_ lines: [[UInt8]], from start: Int) -> (octets: [UInt8], isChanged: Bool)? {
        guard kind == .text else { return nil }
        let text = EncodedWords.text(Array(ASCII.trim(Array(lines.joined())[start...])))
        var builder = HeaderBuilder()
        guard (try? builder.add(String(decoding: name, as: UTF8.self), text: text)) != nil else { return nil }
        return (builder.octets, true)
    }

    /// Whether white space within it, not at its end, would be made shorter.
    private static func hasLongBlanks(_ line: [UInt8]) -> Bool {
        let end = line.lastIndex { !ASCII.isBlank($0) } ?? line.startIndex
        return line[..<end].split(whereSeparator: { !ASCII.isBlank($0) }).contains { $0.count > blankLimit }
    }

    private static func withShortBlanks(_ line: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var blanks = 0
        for octet in line {
            blanks = ASCII.isBlank(octet) ? blanks + 1 : 0
            if blanks <= blankLimit { result.append(octet) }
        }
        while let last = result.last, ASCII.isBlank(last) { result.removeLast() }
        return result
    }

    /// The last place at or before that one which is not within a character of UTF-8.
    private static func boundary(in line: [UInt8], before limit: Int) -> Int {
        var offset = limit
        while offset > limit - 3, line[offset] & 0xC0 == 0x80 { offset -= 1 }
        return offset
    }
}
