import Cryptography
import DNS

/// The signatures that were found to be right lately. Names without end bring the same signed records again and again:
/// the SOA record and the proofs of a zone's denials, and the records that a wildcard stands for. Only that a key made a
/// signature over some data is remembered, which stays true; whether the signature counts now is looked at each time.
///
/// Belongs to one event loop. Takes 128 KiB from the first one on.
package final class VerifiedSignatures {
    // Each has one place to be at, which the next one there takes from it.
    private var marks: [Mark] = []

    /// What stands for a signature by a key over some data: a hash.
    struct Mark: Equatable {
        fileprivate var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

        fileprivate var place: Int { Int(truncatingIfNeeded: words.0 & UInt64(VerifiedSignatures.count - 1)) }

        static func == (left: Mark, right: Mark) -> Bool { left.words == right.words }
    }

    /// How many are remembered. A power of two.
    private static let count = 4096

    package init() {}

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
        var mark = Mark()
        withUnsafeMutableBytes(of: &mark.words) { $0.copyBytes(from: result.prefix($0.count)) }
        return mark
    }

    func contains(_ mark: Mark) -> Bool { !marks.isEmpty && marks[mark.place] == mark }

    func insert(_ mark: Mark) {
        if marks.isEmpty { marks = Array(repeating: Mark(), count: Self.count) }
        marks[mark.place] = mark
    }
}
