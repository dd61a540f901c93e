import COpenSSL

/// A hash function that a protocol names.
package enum HashFunction: Sendable, Hashable, CaseIterable {
    case sha1, sha256, sha384, sha512

    /// The length of a digest in octets.
    package var digestLength: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    var algorithm: OpaquePointer? {
        switch self {
        case .sha1: Fetched.sha1.algorithm
        case .sha256: Fetched.sha256.algorithm
        case .sha384: Fetched.sha384.algorithm
        case .sha512: Fetched.sha512.algorithm
        }
    }

    /// An implementation that has been looked up once: OpenSSL 3 does that anew for each use otherwise, behind locks.
    private struct Fetched: @unchecked Sendable {
        // Unchecked: OpenSSL shares these between threads.
        let algorithm: OpaquePointer?

        init(_ name: String) { algorithm = EVP_MD_fetch(nil, name, nil) }

        static let sha1 = Fetched("SHA1")
        static let sha256 = Fetched("SHA256")
        static let sha384 = Fetched("SHA384")
        static let sha512 = Fetched("SHA512")
    }

    /// The digest of octets that are all at hand.
    package func digest(of octets: some Sequence<UInt8>) -> [UInt8] {
        var digest = Digest(self)
        digest.update(octets)
        return digest.finalize()
    }
}

/// A digest that is fed piece by piece.
package struct Digest: ~Copyable {
    private let context: OpaquePointer?
    private let function: HashFunction

    package init(_ function: HashFunction) {
        self.function = function
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, function.algorithm, nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Adds octets.
    package mutating func update(_ octets: UnsafeRawBufferPointer) {
        guard let start = octets.baseAddress, !octets.isEmpty else { return }
        EVP_DigestUpdate(context, start, octets.count)
    }

    /// Adds octets.
    package mutating func update(_ octets: some Sequence<UInt8>) {
        let done: Void? = octets.withContiguousStorageIfAvailable { update(UnsafeRawBufferPointer($0)) }
        if done == nil { Array(octets).withUnsafeBytes { update($0) } }
    }

    /// The digest of all octets so far; the digest then starts anew.
    package mutating func finalize() -> [UInt8] {
        var result = [UInt8](repeating: 0, count: function.digestLength)
        EVP_DigestFinal_ex(context, &result, nil)
        EVP_DigestInit_ex(context, function.algorithm, nil)
        return result
    }
}

/// Message authentication by a shared secret (RFC 2104).
package enum MessageAuthentication {
    /// The authentication code of a message.
    package static func code(of message: [UInt8], key: [UInt8], using function: HashFunction) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: function.digestLength)
        var length = UInt32(result.count)
        // An empty key is legal, but OpenSSL takes a null pointer for "no key".
        let padded = key.isEmpty ? [0] : key
        HMAC(function.algorithm, padded, Int32(clamping: key.count), message, message.count, &result, &length)
        return result
    }

    /// Whether two codes are equal, in a time that depends on their lengths only.
    package static func areEqual(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        first.count == second.count && CRYPTO_memcmp(first, second, first.count) == 0
    }
}

/// Octets that nobody can guess.
package enum SecureRandom {
    /// A number of random octets.
    package static func octets(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
