import Cryptography
import DNS
import Encodings
import MIME

/// Why an address could not be rewritten, or is not to be believed.
package enum SenderRewritingError: Error, Sendable, Equatable {
    /// No secret to authenticate with.
    case noSecret
    /// No local part or no domain, or a local part that has to be quoted, or characters that an address can't have.
    case malformedAddress
    /// Rewritten, the local part would have more than 64 octets (RFC 5321 §4.5.3.1.1).
    case tooLong
    /// Not an address that begins with SRS0 or SRS1.
    case notRewritten
    /// An address that begins so, but lacks a part.
    case malformed
    /// Authenticated by none of the secrets.
    case badHash
    /// Older than the most days.
    case expired
}

/// The Sender Rewriting Scheme: a forwarder's own sender addresses, which hold the original ones, so that SPF passes
/// and bounces find their way back.
///
/// `SRS0=HASH=TIME=DOMAIN=LOCAL@FORWARDER` holds a sender; where that is another forwarder's address already,
/// `SRS1=HASH=FORWARDER=REST@SECOND` names that forwarder, and bounces skip those in between. The format is that of
/// libsrs2 and postsrsd: HMAC-SHA1 of the parts in small letters, its start in base64, compared without case.
package struct SenderRewriting: Sendable {
    /// What stands behind SRS0 and SRS1.
    package enum Separator: UInt8, Sendable {
        case equals = 0x3D
        case minus = 0x2D
        case plus = 0x2B
    }

    /// RFC 5321 §4.5.3.1.1.
    static let maximumLocalPart = 64
    private static let secondsADay = 86_400
    /// Times are two letters of base32.
    private static let slots = 1024
    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)

    private let secrets: [[UInt8]]
    /// How many letters of the hash are written.
    package let hashLength: Int
    /// How many letters have to be there and right.
    package let leastHashLength: Int
    /// How many days an address is good for.
    package let maximumAge: Int
    package let separator: Separator

    /// - Parameters:
    ///   - secrets: the first one authenticates; the others, older ones, are believed as well.
    ///   - hashLength: 4 to 24.
    ///   - leastHashLength: at most `hashLength`; that where nil.
    ///   - maximumAge: in days, below 1024, after which times repeat.
    package init(
        secrets: [[UInt8]],
        hashLength: Int = 4,
        leastHashLength: Int? = nil,
        maximumAge: Int = 21,
        separator: Separator = .equals
    ) {
        self.secrets = secrets.filter { !$0.isEmpty }
        self.hashLength = min(max(hashLength, 4), 24)
        self.leastHashLength = min(max(leastHashLength ?? hashLength, 4), self.hashLength)
        self.maximumAge = min(max(maximumAge, 1), Self.slots - 1)
        self.separator = separator
    }

    // MARK: Forward

    /// The address to send on with.
    ///
    /// - Parameters:
    ///   - sender: the sender so far, without angle brackets.
    ///   - forwarder: the domain of the new address.
    ///   - seconds: the time, since 1970.
    /// - Returns: the sender itself where it is the forwarder's own.
    package func forward(
        _ sender: [UInt8],
        by forwarder: [UInt8],
        secondsSince1970 seconds: Int
    ) throws(SenderRewritingError) -> [UInt8] {
        guard let secret = secrets.first else { throw .noSecret }
        let (local, domain) = try Self.split(sender)
        guard Self.isDomain(forwarder) else { throw .malformedAddress }
        if ASCII.equal(domain, forwarder) { return sender }
        let rewritten =
            switch Self.tag(of: local) {
            case 0: guarded(Array(domain), Array(local.dropFirst(4)), secret)
            case 1: try reguarded(local, secret)
            default: plain(Array(domain), Array(local), secret, seconds: seconds)
            }
        guard rewritten.count <= Self.maximumLocalPart else { throw .tooLong }
        return rewritten + [UInt8(ascii: "@")] + forwarder
    }

    private func plain(_ domain: [UInt8], _ local: [UInt8], _ secret: [UInt8], seconds: Int) -> [UInt8] {
        let day = max(0, seconds) / Self.secondsADay % Self.slots
        let time = [Self.letters[day >> 5], Self.letters[day & 31]]
        return written("SRS0", [hash([time, domain, local], secret), time, domain, local])
    }

    /// Another forwarder's SRS0, which only that one can open.
    private func guarded(_ domain: [UInt8], _ rest: [UInt8], _ secret: [UInt8]) -> [UInt8] {
        written("SRS1", [hash([domain, rest], secret), domain, rest])
    }

    /// Another forwarder's SRS1: the first forwarder stays the same, the hash becomes ours.
    private func reguarded(_ local: ArraySlice<UInt8>, _ secret: [UInt8]) throws(SenderRewritingError) -> [UInt8] {
        let parts = Self.parts(local, count: 3)
        guard let parts, !parts[1].isEmpty, !parts[2].isEmpty else { throw .malformed }
        return guarded(parts[1], parts[2], secret)
    }

    private func written(_ tag: StaticString, _ parts: [[UInt8]]) -> [UInt8] {
        tag.withUTF8Buffer { Array($0) } + [separator.rawValue] + parts.joined(separator: [UInt8(ascii: "=")])
    }

    // MARK: Back

    /// Whether an address looks like one that was rewritten.
    package static func isRewritten(_ address: [UInt8]) -> Bool {
        tag(of: address.prefix { $0 != UInt8(ascii: "@") }) != nil
    }

    /// The address that a rewritten one was made from: the original sender of an SRS0, the first forwarder's SRS0 of an
    /// SRS1.
    package func reverse(
        _ address: [UInt8],
        secondsSince1970 seconds: Int
    ) throws(SenderRewritingError) -> [UInt8] {
        guard !secrets.isEmpty else { throw .noSecret }
        let (local, _) = try Self.split(address)
        switch Self.tag(of: local) {
        case 0:
            guard let parts = Self.parts(local, count: 4), !parts[2].isEmpty, !parts[3].isEmpty else {
                throw .malformed
            }
            try check(parts[0], of: Array(parts[1...]))
            try checkTime(parts[1], seconds: seconds)
            guard Self.isDomain(parts[2]) else { throw .malformed }
            return parts[3] + [UInt8(ascii: "@")] + parts[2]
        case 1:
            guard let parts = Self.parts(local, count: 3), !parts[1].isEmpty, !parts[2].isEmpty else {
                throw .malformed
            }
            try check(parts[0], of: Array(parts[1...]))
            guard Self.isDomain(parts[1]) else { throw .malformed }
            return Array("SRS0".utf8) + parts[2] + [UInt8(ascii: "@")] + parts[1]
        default: throw .notRewritten
        }
    }

    private func check(_ written: [UInt8], of parts: [[UInt8]]) throws(SenderRewritingError) {
        guard written.count >= leastHashLength, written.count <= hashLength else { throw .badHash }
        let folded = written.map(ASCII.lower)
        var isRight = false
        for secret in secrets {
            let right = hash(parts, secret).prefix(written.count).map(ASCII.lower)
            isRight = MessageAuthentication.areEqual(folded, right) || isRight
        }
        guard isRight else { throw .badHash }
    }

    private func checkTime(_ time: [UInt8], seconds: Int) throws(SenderRewritingError) {
        guard time.count == 2, let high = Self.letters.firstIndex(of: ASCII.upper(time[0])),
            let low = Self.letters.firstIndex(of: ASCII.upper(time[1]))
        else { throw .malformed }
        let today = max(0, seconds) / Self.secondsADay % Self.slots
        let age = (today - (high << 5 | low) + Self.slots) % Self.slots
        guard age <= maximumAge else { throw .expired }
    }

    // MARK: Parts

    private func hash(_ parts: [[UInt8]], _ secret: [UInt8]) -> [UInt8] {
        let message = parts.flatMap { $0.map(ASCII.lower) }
        let code = MessageAuthentication.code(of: message, key: secret, using: .sha1)
        return Array(Base64.encode(code).prefix(hashLength))
    }

    /// 0 for SRS0, 1 for SRS1, nil for other local parts.
    private static func tag(of local: some Collection<UInt8>) -> Int? {
        let start = Array(local.prefix(5))
        guard start.count == 5, ASCII.equal(start[..<3], "SRS"), Separator(rawValue: start[4]) != nil else {
            return nil
        }
        return start[3] == UInt8(ascii: "0") ? 0 : start[3] == UInt8(ascii: "1") ? 1 : nil
    }

    /// What is behind the tag, at the first equals signs; the last part may hold more of them.
    private static func parts(_ local: ArraySlice<UInt8>, count: Int) -> [[UInt8]]? {
        let parts = local.dropFirst(5).split(
            separator: UInt8(ascii: "="),
            maxSplits: count - 1,
            omittingEmptySubsequences: false
        )
        return parts.count == count ? parts.map { Array($0) } : nil
    }

    private static func split(
        _ address: [UInt8]
    ) throws(SenderRewritingError) -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
        guard address.count <= 320, let at = address.lastIndex(of: UInt8(ascii: "@")), at > 0,
            isDomain(address[(at + 1)...]),
            address[..<at].allSatisfy(isLocal)
        else { throw .malformedAddress }
        return (address[..<at], address[(at + 1)...])
    }

    /// What may stand in a local part without quotes (RFC 5321 §4.1.2, RFC 6531 §3.3): within another local part it still
    /// may, and in an envelope's command it ends nothing.
    private static func isLocal(_ octet: UInt8) -> Bool {
        octet == UInt8(ascii: ".") || ListedAddress.isAtomCharacter(octet)
    }

    /// Letters, digits, hyphens, underscores, dots, characters beyond ASCII: nothing that could end a domain.
    private static func isDomain(_ text: some Collection<UInt8>) -> Bool {
        !text.isEmpty && text.allSatisfy { $0 >= 0x80 || MailDomain.isDomainOctet($0) }
    }
}
