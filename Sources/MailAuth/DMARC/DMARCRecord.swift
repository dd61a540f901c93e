import DNS
import MIME

/// What a domain asks to be done with mail that fails (RFC 7489 §6.3, p).
package enum DMARCPolicy: String, Sendable, Hashable {
    case none, quarantine, reject

    /// What stands in for it while a policy is only being tried, or for the mail that a percentage leaves out.
    package var lessened: DMARCPolicy { self == .reject ? .quarantine : .none }
}

/// Whether the organisational domains have to be the same, or the domains themselves (RFC 7489 §3.1).
package enum DMARCAlignment: String, Sendable, Hashable {
    case relaxed = "r"
    case strict = "s"
}

/// When failure reports are wanted (RFC 7489 §6.3, fo).
package struct DMARCFailureOptions: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `0`: no mechanism passes aligned; the default.
    package static let allFail = DMARCFailureOptions(rawValue: 1)
    /// `1`: some mechanism does not pass aligned.
    package static let anyFails = DMARCFailureOptions(rawValue: 2)
    /// `d`: a DKIM signature does not verify, aligned or not.
    package static let dkimFails = DMARCFailureOptions(rawValue: 4)
    /// `s`: SPF does not pass, aligned or not.
    package static let spfFails = DMARCFailureOptions(rawValue: 8)
}

/// What a domain says of itself in the tree of names (RFC 9989 §4.7, psd).
package enum DMARCPublicSuffix: String, Sendable, Hashable {
    case yes = "y"
    case no = "n"
    case unknown = "u"
}

/// A domain's policy (RFC 7489 §6.3, with np of RFC 9091, and psd and t of RFC 9989).
package struct DMARCRecord: Sendable, Hashable {
    package var policy = DMARCPolicy.none
    /// For domains below; the policy where there is none.
    package var subdomainPolicy: DMARCPolicy?
    /// For domains below that don't exist; the one for domains below where there is none.
    package var nonexistentPolicy: DMARCPolicy?
    package var dkimAlignment = DMARCAlignment.relaxed
    package var spfAlignment = DMARCAlignment.relaxed
    /// 0 to 100: of how much failing mail the policy is wanted.
    package var percentage = 100
    package var failureOptions = DMARCFailureOptions.allFail
    package var aggregateReports: [DMARCReportURI] = []
    package var failureReports: [DMARCReportURI] = []
    /// Seconds between aggregate reports.
    package var interval = 86_400
    package var publicSuffix = DMARCPublicSuffix.unknown
    /// The policy is only being tried: the next lighter one is wanted (RFC 9989 §4.7, t).
    package var isTesting = false
    /// What is wrong with the record and was passed over.
    package var problems: [String] = []

    package init() {}

    /// The most addresses of each kind that are read.
    static let maximumURIs = 10
    /// The most tags that are read.
    static let maximumTags = 100

    /// Whether a TXT record is one of DMARC: its first tag is `v=DMARC1` (RFC 7489 §6.3).
    package static func isRecord(_ text: [UInt8]) -> Bool {
        let first = text.prefix { $0 != UInt8(ascii: ";") }
        guard let equals = first.firstIndex(of: UInt8(ascii: "=")) else { return false }
        return ASCII.equal(ASCII.trim(first[..<equals]), "v")
            && ASCII.trim(first[(equals + 1)...]).elementsEqual(Array("DMARC1".utf8))
    }

    /// The records of DMARC at a name; none where the name doesn't exist.
    ///
    /// - Throws: only what may pass.
    static func texts(
        at name: DomainName,
        _ lookup: any MailAuthLookup
    ) async throws(MailAuthLookupError) -> [[UInt8]] {
        do throws(MailAuthLookupError) {
            return try await lookup.txt(name).filter(isRecord)
        } catch {
            guard error.isVoid else { throw error }
            return []
        }
    }

    /// Reads a record; what is wrong behind the version is passed over (RFC 7489 §6.3).
    ///
    /// nil where it is no record of DMARC, or asks for nothing: without a policy that can be read, and without an
    /// address for reports (RFC 9989 §4.7).
    package init?(parsing text: [UInt8]) {
        guard Self.isRecord(text) else { return nil }
        var hasPolicy = false
        var hasBadPolicy = false
        var seen: Set<[UInt8]> = []
        let tags = text.split(separator: UInt8(ascii: ";")).dropFirst()
        for tag in tags.prefix(Self.maximumTags) where !ASCII.trim(tag).isEmpty {
            guard let equals = tag.firstIndex(of: UInt8(ascii: "=")) else {
                problems.append("\"\(Self.show(tag))\" is not a tag and a value")
                continue
            }
            let name = ASCII.trim(tag[..<equals]).map(ASCII.lower)
            let value = ASCII.trim(tag[(equals + 1)...])
            guard seen.insert(name).inserted else {
                problems.append("\"\(Self.show(tag))\": the tag is there already")
                continue
            }
            switch name {
            case Array("p".utf8):
                hasPolicy = read(value, into: \.policy)
                hasBadPolicy = hasBadPolicy || !hasPolicy
            case Array("sp".utf8): hasBadPolicy = !readPolicy(value, into: \.subdomainPolicy) || hasBadPolicy
            case Array("np".utf8): hasBadPolicy = !readPolicy(value, into: \.nonexistentPolicy) || hasBadPolicy
            default:
                if !readOther(name, value) { problems.append("\"\(Self.show(tag))\" is not understood") }
            }
        }
        if !hasPolicy || hasBadPolicy {
            guard !aggregateReports.isEmpty else { return nil }
            problems.append("without policies that can be read, only reports are wanted")
            policy = .none
            subdomainPolicy = nil
            nonexistentPolicy = nil
        }
    }

    private static func show(_ tag: ArraySlice<UInt8>) -> String {
        String(decoding: ASCII.trim(tag).prefix(80).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }

    private mutating func read<Value: RawRepresentable<String>>(
        _ value: ArraySlice<UInt8>,
        into field: WritableKeyPath<DMARCRecord, Value>
    ) -> Bool {
        guard let known = Value(rawValue: String(decoding: value.map(ASCII.lower), as: UTF8.self)) else { return false }
        self[keyPath: field] = known
        return true
    }

    private mutating func readPolicy(
        _ value: ArraySlice<UInt8>,
        into field: WritableKeyPath<DMARCRecord, DMARCPolicy?>
    ) -> Bool {
        self[keyPath: field] = DMARCPolicy(rawValue: String(decoding: value.map(ASCII.lower), as: UTF8.self))
        return self[keyPath: field] != nil
    }

    /// Whether the tag is known and its value can be read.
    private mutating func readOther(_ name: [UInt8], _ value: ArraySlice<UInt8>) -> Bool {
        switch String(decoding: name, as: UTF8.self) {
        case "adkim": return read(value, into: \.dkimAlignment)
        case "aspf": return read(value, into: \.spfAlignment)
        case "psd": return read(value, into: \.publicSuffix)
        case "t":
            isTesting = ASCII.equal(value, "y")
            return isTesting || ASCII.equal(value, "n")
        case "pct":
            guard let number = Self.number(value), number <= 100 else { return false }
            percentage = number
            return true
        case "ri":
            guard let number = Self.number(value) else { return false }
            interval = number
            return true
        case "rf": return true
        case "fo": return readFailureOptions(value)
        case "rua":
            aggregateReports = Self.uris(value)
            return !aggregateReports.isEmpty
        case "ruf":
            failureReports = Self.uris(value)
            return !failureReports.isEmpty
        default: return false
        }
    }

    private static func number(_ value: ArraySlice<UInt8>) -> Int? {
        guard (1...9).contains(value.count), value.allSatisfy(ASCII.isDigit) else { return nil }
        return value.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    private mutating func readFailureOptions(_ value: ArraySlice<UInt8>) -> Bool {
        var options: DMARCFailureOptions = []
        for part in value.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
            switch ASCII.trim(part).map(ASCII.lower) {
            case [UInt8(ascii: "0")]: options.insert(.allFail)
            case [UInt8(ascii: "1")]: options.insert(.anyFails)
            case [UInt8(ascii: "d")]: options.insert(.dkimFails)
            case [UInt8(ascii: "s")]: options.insert(.spfFails)
            default: return false
            }
        }
        failureOptions = options
        return true
    }

    private static func uris(_ value: ArraySlice<UInt8>) -> [DMARCReportURI] {
        value.split(separator: UInt8(ascii: ",")).prefix(maximumURIs).compactMap { DMARCReportURI(parsing: $0) }
    }
}

/// Where reports go, and how long they may be (RFC 7489 §6.2).
package struct DMARCReportURI: Sendable, Hashable {
    /// The address without the limit.
    package let uri: [UInt8]
    /// The mailbox of a `mailto:`, its escapes undone; nil for other schemes.
    package let mailbox: [UInt8]?
    /// The most octets that a report may have; nil for any.
    package let maximumOctets: Int?

    /// nil for what is no address with a scheme, or has a limit that can't be read.
    package init?(parsing text: ArraySlice<UInt8>) {
        var text = ASCII.trim(text)
        var limit: Int?
        if let mark = text.lastIndex(of: UInt8(ascii: "!")) {
            guard let number = Self.octets(text[(mark + 1)...]) else { return nil }
            limit = number
            text = text[..<mark]
        }
        guard text.count <= 1024, text.allSatisfy({ (0x21...0x7E).contains($0) }),
            let colon = text.firstIndex(of: UInt8(ascii: ":")), colon > text.startIndex, colon + 1 < text.endIndex
        else { return nil }
        uri = Array(text)
        maximumOctets = limit
        guard ASCII.equal(text[..<colon], "mailto") else {
            mailbox = nil
            return
        }
        let path = text[(colon + 1)...].prefix { $0 != UInt8(ascii: "?") }
        // One address as it is, which no field of a message can take for several or for something else.
        guard let decoded = Self.unescaped(path), decoded.count <= 320,
            decoded.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"()<>[]:;,\\\"".utf8.contains($0) }),
            let at = decoded.firstIndex(of: UInt8(ascii: "@")), at > 0, at + 1 < decoded.count,
            at == decoded.lastIndex(of: UInt8(ascii: "@"))
        else { return nil }
        mailbox = decoded
    }

    /// The domain of the mailbox.
    package var mailDomain: [UInt8]? {
        mailbox.map { mailbox in Array(mailbox[((mailbox.lastIndex(of: UInt8(ascii: "@")) ?? -1) + 1)...]) }
    }

    /// `10m` and the like; powers of 1024.
    private static func octets(_ text: ArraySlice<UInt8>) -> Int? {
        var digits = text
        var shift = 0
        switch text.last.map(ASCII.lower) {
        case UInt8(ascii: "k"): shift = 10
        case UInt8(ascii: "m"): shift = 20
        case UInt8(ascii: "g"): shift = 30
        case UInt8(ascii: "t"): shift = 40
        default: break
        }
        if shift > 0 { digits = digits.dropLast() }
        guard (1...6).contains(digits.count), digits.allSatisfy(ASCII.isDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) } << shift
    }

    private static func unescaped(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = text
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                result.append(octet)
                continue
            }
            guard let high = rest.popFirst().flatMap(ASCII.hexadecimal),
                let low = rest.popFirst().flatMap(ASCII.hexadecimal)
            else { return nil }
            result.append(high << 4 | low)
        }
        return result
    }
}
