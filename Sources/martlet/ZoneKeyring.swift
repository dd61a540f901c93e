import ArgumentParser
import Cryptography
import DNS
import DNSSEC
import Daemon
import ZoneKeys

#if canImport(Glibc)
import Glibc
#endif

/// The keys of one zone of an instance, for commands.
struct ZoneKeyring {
    private let zone: DomainName
    /// What stands for the zone in names of files.
    private let base: String
    private let directory: KeyDirectory
    /// What the configuration says of new keys.
    let algorithm: DNSKeyCommand.Algorithm

    /// How often a key is made whose tag the zone has already.
    private static let attempts = 20

    init(_ instance: InstanceOptions, zone text: String) throws {
        do {
            zone = try DomainName(text).lowercased
        } catch {
            throw ValidationError("\"\(text)\" is not a domain name (\(error))")
        }
        try instance.enter()
        base = LocalZoneConfiguration.stateName(zone)
        let zone = zone
        let configured = try Configuration.load("etc/martlet.toml").resolverd.zones.first { $0.origin == zone }
        if configured?.sign == nil {
            DNSStub.complain("etc/martlet.toml doesn't say that \(zone) is signed (sign in resolverd.zones)")
        }
        algorithm = configured?.sign == .ed25519 ? .ed25519 : .ecdsap256sha256
        directory = KeyDirectory(try Self.open())
    }

    /// The directory of keys. resolverd may write where it lies, and no link of its making is to be followed.
    private static func open() throws -> CInt {
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
        let state = Glibc.open(LocalZoneConfiguration.stateDirectory, flags)
        let keys = state < 0 ? -1 : openat(state, "keys", flags)
        let reason = String(cString: strerror(errno))
        if state >= 0 { close(state) }
        guard keys >= 0 else { throw ValidationError("\(LocalZoneConfiguration.stateDirectory)/keys: \(reason)") }
        return keys
    }

    /// The zone's keys; what is wrong with the others goes to standard error.
    func keys() -> [StoredKey] {
        let (keys, problems) = directory.keys(of: zone, base: base)
        for problem in problems { DNSStub.complain("\(problem)") }
        return keys
    }

    func generate(_ kind: KeyKind, role: KeyRole, state: KeyState, timeToLive: UInt32) throws -> StoredKey {
        let others = keys()
        guard others.count < KeyDirectory.maximumKeys else {
            throw ValidationError("\(zone) has \(others.count) keys already")
        }
        for _ in 0..<Self.attempts {
            guard let secret = PrivateKey.generate(kind),
                let key = SigningKey(
                    zone: zone,
                    key: secret,
                    isSecureEntryPoint: role.isSecureEntryPoint,
                    timeToLive: timeToLive
                )
            else { break }
            // Keys with one tag are hard to tell apart, for resolvers too (RFC 4034 appendix B).
            guard !others.contains(where: { $0.key.key.publicKey.keyTag == key.publicKey.keyTag }) else { continue }
            let stored = StoredKey(
                ZoneSigningKey(key: key, role: role, state: state),
                base: base,
                since: Self.now
            )
            try directory.add(stored, pem: secret.pem)
            return stored
        }
        throw ValidationError("OpenSSL made no key")
    }

    func set(_ state: KeyState, of word: String, force: Bool) throws -> StoredKey {
        let all = keys()
        var key = try find(word, in: all)
        if state != .active, !force, !Self.isOtherActive(key, all) {
            throw ValidationError("\(key.name) is the last active key of \(zone): make or activate another one first")
        }
        guard key.key.state != state else { return key }
        key.key.state = state
        key.since = Self.now
        try directory.update(key)
        return key
    }

    func remove(_ word: String, force: Bool) throws {
        let key = try find(word, in: keys())
        if key.key.state == .active, !force { throw ValidationError("\(key.name) is active: retire it first") }
        try directory.remove(key)
    }

    private static func isOtherActive(_ key: StoredKey, _ all: [StoredKey]) -> Bool {
        all.contains { $0.name != key.name && $0.key.state == .active }
    }

    private func find(_ word: String, in keys: [StoredKey]) throws -> StoredKey {
        let found = keys.filter { $0.name == word || String($0.key.key.publicKey.keyTag) == word }
        guard let key = found.first else { throw ValidationError("\(zone) has no key \(word)") }
        guard found.count == 1 else {
            throw ValidationError("\(zone) has several keys \(word): name it as list does")
        }
        return key
    }

    private static var now: UInt32 { UInt32(truncatingIfNeeded: time(nil)) }
}
