import Cryptography
import MIME

/// One way to hash a body: signatures that agree in it share the work.
package struct BodyHashMethod: Sendable, Hashable {
    package var canonicalization: Canonicalization
    package var function: HashFunction
    /// How many octets of the canonical form count (RFC 6376 §3.5, l=); nil for all.
    package var length: Int?

    package init(_ canonicalization: Canonicalization, _ function: HashFunction = .sha256, length: Int? = nil) {
        self.canonicalization = canonicalization
        self.function = function
        self.length = length
    }
}

/// The hash of a body.
package struct BodyHash: Sendable, Equatable {
    package var digest: [UInt8]
    /// The octets of the whole canonical form, of which perhaps not all were hashed.
    package var octets: Int
}

/// Hashes a body while it arrives.
final class BodyHasher {
    private let method: BodyHashMethod
    private var canonicalizer: BodyCanonicalizer
    private var digest: Digest
    private var octets = 0

    init(_ method: BodyHashMethod) {
        self.method = method
        canonicalizer = BodyCanonicalizer(method.canonicalization)
        digest = Digest(method.function)
    }

    func update(_ octets: UnsafeRawBufferPointer) {
        canonicalizer.update(octets) { take($0) }
    }

    func finish() -> BodyHash {
        canonicalizer.finish { take($0) }
        return BodyHash(digest: digest.finalize(), octets: octets)
    }

    private func take(_ piece: UnsafeRawBufferPointer) {
        let left = max(0, (method.length ?? .max) - octets)
        octets += piece.count
        if left > 0 { digest.update(UnsafeRawBufferPointer(rebasing: piece.prefix(left))) }
    }
}
