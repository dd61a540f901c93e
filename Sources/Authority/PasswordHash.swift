import CPasswordHash

/// Password hashes: argon2id for new ones (memory-hard, so that stolen hashes resist graphics cards); SHA-512-crypt and
/// bcrypt are understood as well.
package enum PasswordHash {
    /// OWASP's least recommendation for argon2id: 19 MiB, two passes, one lane.
    private static let memoryKiB: UInt32 = 19_456
    private static let passes: UInt32 = 2
    /// Longer passwords are refused: hashing costs in proportion.
    package static let maximumPassword = 1024

    /// A new hash with a fresh salt.
    package static func make(_ password: String) -> String? {
        var generator = SystemRandomNumberGenerator()
        let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        var text = [CChar](repeating: 0, count: 256)
        let octets = Array(password.utf8)
        guard octets.count <= maximumPassword else { return nil }
        let code = argon2id_hash_encoded(
            passes,
            memoryKiB,
            1,
            octets,
            octets.count,
            salt,
            salt.count,
            32,
            &text,
            text.count
        )
        guard code == ARGON2_OK.rawValue else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether the hash is of a kind that we can verify. A locked one (`!`) is not.
    package static func isKnown(_ hash: String) -> Bool {
        let hash = bare(hash)
        return ["$6$", "$2a$", "$2b$", "$2y$", "$argon2id$"].contains { hash.hasPrefix($0) }
    }

    /// Whether the password has the hash. Takes as long as the hash was made to take: not for an event loop.
    package static func verify(_ password: String, _ hash: String) -> Bool {
        let hash = bare(hash)
        guard isKnown(hash), password.utf8.count <= maximumPassword, !password.utf8.contains(0) else { return false }
        if hash.hasPrefix("$argon2id$") {
            let octets = Array(password.utf8)
            return argon2id_verify(hash, octets, octets.count) == ARGON2_OK.rawValue
        }
        return crypt(password, hash) == hash
    }

    private static func crypt(_ password: String, _ setting: String) -> String? {
        // crypt_data is 32 KiB: not for the stack.
        let data = UnsafeMutableRawPointer.allocate(byteCount: MemoryLayout<crypt_data>.size, alignment: 16)
        defer { data.deallocate() }
        data.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<crypt_data>.size)
        // libxcrypt answers `*0` or `*1` on failure, which no hash is equal to.
        return crypt_r(password, setting, data.assumingMemoryBound(to: crypt_data.self)).map { String(cString: $0) }
    }

    /// Without the scheme that Dovecot writes in front.
    private static func bare(_ hash: String) -> String {
        for scheme in ["{CRYPT}", "{ARGON2ID}", "{SHA512-CRYPT}", "{BLF-CRYPT}"] where hash.hasPrefix(scheme) {
            return String(hash.dropFirst(scheme.count))
        }
        return hash
    }
}
