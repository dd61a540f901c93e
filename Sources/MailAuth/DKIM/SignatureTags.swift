import DNS
import MIME

/// Reads the tags that signatures of DKIM and ARC share, saying what is wrong (RFC 6376 §6.1.1).
struct SignatureTags {
    private let tags: TagList
    private let what: String
    /// Fields that z= may copy.
    private static let maximumCopies = 1000

    init(_ value: ArraySlice<UInt8>, what: String) throws(SignatureFault) {
        self.what = what
        do throws(TagListError) {
            tags = try TagList(Array(value))
        } catch {
            switch error {
            case .duplicateTag(let name):
                let name = String(decoding: name, as: UTF8.self)
                throw SignatureFault(.neutral, "the \(what) has the tag \(name)= more than once")
            case .malformed: throw SignatureFault(.neutral, "the \(what) is not a list of tags and values")
            }
        }
    }

    func has(_ name: StaticString) -> Bool { tags[name] != nil }

    func required(_ name: StaticString) throws(SignatureFault) -> [UInt8] {
        guard let value = tags[name], !value.isEmpty else {
            throw SignatureFault(.permerror, "the \(what) has no tag \(name)=")
        }
        return value
    }

    func algorithm() throws(SignatureFault) -> SignatureAlgorithm {
        let text = String(decoding: try required("a").map(ASCII.lower), as: UTF8.self)
        guard let algorithm = SignatureAlgorithm(rawValue: text) else {
            throw SignatureFault(.neutral, "the algorithm is not known: \(text.prefix(64))")
        }
        return algorithm
    }

    func base64(_ name: StaticString) throws(SignatureFault) -> [UInt8] {
        guard let octets = TagList.base64(try required(name)) else {
            throw SignatureFault(.neutral, "the value of \(name)= is not base64")
        }
        return octets
    }

    func signature() throws(SignatureFault) -> ([UInt8], Range<Int>) {
        (try base64("b"), tags.tag("b")?.extent ?? 0..<0)
    }

    func instance() throws(SignatureFault) -> Int {
        guard let number = ASCII.number(try required("i")), number >= 1 else {
            throw SignatureFault(.permerror, "i= is not the number of an ARC set")
        }
        return number
    }

    func canonicalizations() throws(SignatureFault) -> (Canonicalization, Canonicalization) {
        guard let value = tags["c"] else { return (.simple, .simple) }
        let parts = TagList.split(value, at: UInt8(ascii: "/"))
        let forms = parts.compactMap {
            Canonicalization(rawValue: String(decoding: $0.map(ASCII.lower), as: UTF8.self))
        }
        guard let header = forms.first, forms.count == parts.count, forms.count <= 2 else {
            throw SignatureFault(.neutral, "the canonicalisation (c=) is not known")
        }
        return (header, forms.count == 2 ? forms[1] : .simple)
    }

    /// The domain and the selector as they are written, and the name of the key (RFC 6376 §3.6.2.1, RFC 8616 §4).
    func key() throws(SignatureFault) -> (domain: [UInt8], selector: [UInt8], name: DomainName) {
        let domain = try required("d")
        let selector = try required("s")
        guard let domainName = MailDomain.hostName(domain) else {
            throw SignatureFault(.neutral, "d= is not a domain")
        }
        guard let selectorName = MailDomain.hostName(selector) else {
            throw SignatureFault(.neutral, "s= is not a selector")
        }
        let infix = Array("_domainkey".utf8)
        guard let name = try? DomainName(labels: selectorName.labels + [infix[...]] + domainName.labels) else {
            throw SignatureFault(.neutral, "s= and d= together are too long for a name")
        }
        return (domain, selector, name)
    }

    func signedFields() throws(SignatureFault) -> [[UInt8]] {
        let names = TagList.split(try required("h").map(ASCII.lower), at: UInt8(ascii: ":"))
        guard names.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (0x21...0x7E).contains($0) } }) else {
            throw SignatureFault(.neutral, "h= is not a list of field names")
        }
        guard names.contains(where: { ASCII.equal($0, "from") }) else {
            throw SignatureFault(.permerror, "the From field is not signed")
        }
        return names
    }

    func number(_ name: StaticString) throws(SignatureFault) -> Int? {
        guard let value = tags[name] else { return nil }
        guard value.count <= 76, let number = ASCII.number(value) else {
            throw SignatureFault(.neutral, "the value of \(name)= is not a number that can be")
        }
        return number
    }

    /// i= must be of the domain or of one below it (RFC 6376 §3.5).
    func identity(domain: [UInt8]) throws(SignatureFault) -> [UInt8] {
        guard let value = tags["i"] else { return [UInt8(ascii: "@")] + domain }
        guard let identity = QuotedText.decode(value), let at = identity.lastIndex(of: UInt8(ascii: "@")) else {
            throw SignatureFault(.neutral, "i= is not an address")
        }
        guard let host = MailDomain.hostName(Array(identity[(at + 1)...])), let domain = MailDomain.hostName(domain),
            host.isSubdomain(of: domain)
        else { throw SignatureFault(.permerror, "the domain of i= is not that of d=, nor below it") }
        return identity
    }

    func checkQueryMethods() throws(SignatureFault) {
        guard let value = tags["q"] else { return }
        guard TagList.split(value, at: UInt8(ascii: ":")).contains(where: { ASCII.equal($0, "dns/txt") }) else {
            throw SignatureFault(.neutral, "the key is not to be had from the DNS (q=)")
        }
    }

    func copiedFields() throws(SignatureFault) -> [(name: [UInt8], value: [UInt8])] {
        guard let value = tags["z"] else { return [] }
        var copies: [(name: [UInt8], value: [UInt8])] = []
        for part in TagList.split(value, at: UInt8(ascii: "|")).prefix(Self.maximumCopies) {
            guard let colon = part.firstIndex(of: UInt8(ascii: ":")), let text = QuotedText.decode(part[(colon + 1)...])
            else { throw SignatureFault(.neutral, "z= is not a list of fields") }
            copies.append((Array(ASCII.trim(part[..<colon])), text))
        }
        return copies
    }

    func value(_ name: StaticString) -> [UInt8]? { tags[name] }
}

/// The quoted-printable of DKIM: white space means nothing, and `=XX` anything (RFC 6376 §2.11).
enum QuotedText {
    /// nil where an `=` has no two digits behind it.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var octets: [UInt8] = []
        var rest = text.lazy.filter { !ASCII.isWhitespace($0) }.makeIterator()
        while let octet = rest.next() {
            guard octet == UInt8(ascii: "=") else {
                octets.append(octet)
                continue
            }
            guard let high = rest.next().flatMap(ASCII.hexadecimal), let low = rest.next().flatMap(ASCII.hexadecimal)
            else { return nil }
            octets.append(high << 4 | low)
        }
        return octets
    }

    static func encode(_ octets: some Sequence<UInt8>, escaping others: [UInt8] = []) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return octets.flatMap { octet -> [UInt8] in
            let isPlain = (0x21...0x7E).contains(octet) && octet != UInt8(ascii: ";") && octet != UInt8(ascii: "=")
            if isPlain, !others.contains(octet) { return [octet] }
            return [UInt8(ascii: "="), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
    }
}
