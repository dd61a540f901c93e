import Cryptography
import DNS
import DNSSEC

/// A key of a signed zone as it lies in a directory: `NAME.key` for people and programs, `NAME.private` for us.
package struct StoredKey: Sendable {
    /// The files' name without its ending: the zone, the algorithm's number, and the key's tag.
    package let name: String
    package var key: ZoneSigningKey
    /// Since when it is in its state. Seconds since 1970.
    package var since: UInt32

    /// - Parameter base: what stands for the zone in names of files.
    package init(_ key: ZoneSigningKey, base: String, since: UInt32) {
        self.key = key
        self.since = since
        let tag = key.key.publicKey
        name = "\(base)+\(Self.padded(tag.algorithm, 3))+\(Self.padded(tag.keyTag, 5))"
    }

    private static func padded(_ number: some BinaryInteger, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// What `NAME.key` says: the DNSKEY record as a line of a master file, and what it's used for in comments.
    var text: String {
        """
        ; role: \(key.role.rawValue)
        ; state: \(key.state.rawValue)
        ; since: \(Moment.print(since))
        \(key.key.record)

        """
    }

    /// - Parameters:
    ///   - text: the content of `NAME.key`.
    ///   - pem: the content of `NAME.private`.
    ///   - name: the files' name without its ending, for messages.
    init(
        text: [UInt8],
        pem: [UInt8],
        name: String,
        zone: DomainName,
        base: String
    ) throws(StoredKeyError) {
        func wrong(_ reason: String) -> StoredKeyError { StoredKeyError(name: name, reason: reason) }
        let fields = Self.fields(text)
        guard let role = fields["role"].flatMap(KeyRole.init) else { throw wrong("no role csk, ksk or zsk") }
        guard let state = fields["state"].flatMap(KeyState.init) else {
            throw wrong("no state published, active or retired")
        }
        guard let since = fields["since"].flatMap({ Moment.parse(Array($0.utf8)) }) else { throw wrong("no since") }
        let records: [MasterFileRecord]
        do {
            records = try MasterFile.parse(text, file: "\(name).key", origin: .root) { _ in
                .failure(MasterFileIncludeError(reason: "a key includes nothing"))
            }
        } catch {
            throw wrong(error.reason)
        }
        guard records.count == 1, let record = records.first?.record, record.type == .dnskey, record.name == zone else {
            throw wrong("one DNSKEY record of \(zone) is needed")
        }
        guard let secret = PrivateKey(pem: pem) else { throw wrong("the private key is no PEM file") }
        guard
            let key = SigningKey(
                zone: zone,
                key: secret,
                isSecureEntryPoint: role.isSecureEntryPoint,
                timeToLive: record.timeToLive
            )
        else { throw wrong("the private key is neither of ECDSA P-256 nor Ed25519") }
        guard key.record.data == record.data else { throw wrong("the private key is another one") }
        self.init(ZoneSigningKey(key: key, role: role, state: state), base: base, since: since)
        guard self.name == name else { throw wrong("the key belongs into \(self.name).key") }
    }

    /// The comments of the form `; name: value`.
    private static func fields(_ text: [UInt8]) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(separator: 0x0A) where line.first == 0x3B {
            let parts = line.dropFirst().split(separator: 0x3A, maxSplits: 1).map {
                String(decoding: $0, as: UTF8.self)
            }
            guard parts.count == 2 else { continue }
            fields[trimmed(parts[0])] = trimmed(parts[1])
        }
        return fields
    }

    private static func trimmed(_ text: String) -> String {
        var text = text[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text.drop { $0.isWhitespace })
    }
}

/// What is wrong with a key's files.
package struct StoredKeyError: Error, CustomStringConvertible {
    /// The files' name.
    package let name: String
    package let reason: String

    package var description: String { "\(name): \(reason)" }
}
