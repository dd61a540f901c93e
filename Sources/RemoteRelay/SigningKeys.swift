import DNS
import Keys
import MailAuth

/// A key that signs mail now: how signatures name it, and how whoever holds it does.
struct ActiveKey: Sendable, Hashable {
    let name: SigningName
    /// For `SigningKeys.sign`.
    let key: KeyName
}

/// Why a key can't be used now: the mail waits. For people.
struct SigningKeysError: Error, Equatable {
    let reason: String
    /// Whoever holds the keys was asked, and says no.
    var isRefusal = false
}

/// The keys of our domains, as whoever holds them gives them to be used.
struct SigningKeys: Sendable {
    /// The keys of this very domain, in ASCII, that sign now; none where it has no keys at all.
    typealias Find = @Sendable (_ domain: String) async throws(SigningKeysError) -> [ActiveKey]
    /// A signature over what the draft says.
    typealias Sign = @Sendable (ActiveKey, SignatureDraft) async throws(SigningKeysError) -> [UInt8]

    let find: Find
    let sign: Sign

    /// Nobody has keys so many labels above a name, or tells where one ends: what is asked for is bounded.
    private static let maximumLevels = 8

    init(find: @escaping Find, sign: @escaping Sign) {
        self.find = find
        self.sign = sign
    }

    /// The keys of a domain, or else of the nearest domain above it that has some (RFC 6376 §3.8).
    func nearest(to domain: [UInt8]) async throws(SigningKeysError) -> [ActiveKey] {
        guard let name = MailDomain.hostName(domain)?.lowercased else { return [] }
        var labels = name.labels[...]
        for _ in 0..<Self.maximumLevels where !labels.isEmpty {
            let text = String(decoding: Array(labels.joined(separator: ".".utf8)), as: UTF8.self)
            let keys = try await find(text)
            if !keys.isEmpty { return keys }
            labels.removeFirst()
        }
        return []
    }
}
