import Cryptography
import DNS

/// The signatures that were found to be right lately. Names without end bring the same signed records again and again:
/// the SOA record and the proofs of a zone's denials, and the records that a wildcard stands for. Only that a key made a
/// signature over some data is remembered, which stays true; whether the signature counts now is looked at each time.
///
/// Belongs to one event loop, and takes the same memory always.
package final class VerifiedSignatures {
    // Each has one place to be at, which the next one there takes from it.
    private var digests: [Digest256]

    fileprivate struct Digest256: Equatable {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

        static func == (left: Digest256, right: Digest256) -> Bool { left.words == right.words }
    }

    /// What stands for a signature by a key over some data.
    struct Mark {
        fileprivate let digest: Digest256
        fileprivate let place: Int
    }

    /// How many are remembered. A power of two.
    private static let count = 4096

    package init() {
        digests = []
    }

    func mark(_ key: ZoneKey, _ signature: RecordSignature, _ data: [UInt8]) -> Mark {
        var whole: [UInt8] = [key.algorithm]
        whole.reserveCapacity(16 + key.key.count + signature.signature.count + data.count)
        // Parts have their lengths with them, so that no two sets of parts are alike.
        for part in [key.key, signature.signature] {
            whole.append(integer: UInt32(truncatingIfNeeded: part.count))
            whole += part
        }
        whole += data
        let result = HashFunction.sha256.digest(of: whole)
        var digest = Digest256()
        withUnsafeMutableBytes(of: &digest.words) { $0.copyBytes(from: result.prefix($0.count)) }
        return Mark(digest: digest, place: Int(truncatingIfNeeded: digest.words.0 & UInt64(Self.count - 1)))
    }

    func contains(_ mark: Mark) -> Bool { !digests.isEmpty && digests[mark.place] == mark.digest }

    func insert(_ mark: Mark) {
        if digests.isEmpty { digests = Array(repeating: Digest256(), count: Self.count) }
        digests[mark.place] = mark.digest
    }
}
