/// Finds octets in others that come one by one, in linear time (Knuth, Morris and Pratt).
package struct OctetMatcher: Sendable, Equatable {
    @usableFromInline let wanted: [UInt8]
    /// How much of what is wanted still stands where the next octet doesn't go on with it.
    @usableFromInline let fallback: [Int]
    @usableFromInline var matched = 0

    package init(_ wanted: [UInt8]) {
        self.wanted = wanted
        var fallback = [Int](repeating: 0, count: wanted.count)
        var length = 0
        for index in wanted.indices.dropFirst() {
            while length > 0, wanted[index] != wanted[length] { length = fallback[length - 1] }
            if wanted[index] == wanted[length] { length += 1 }
            fallback[index] = length
        }
        self.fallback = fallback
    }

    /// Takes the next octet.
    ///
    /// - Returns: whether what is wanted ends with it; nothing more may be fed then. Never where nothing is wanted.
    @inlinable package mutating func feed(_ octet: UInt8) -> Bool {
        guard matched < wanted.count else { return false }
        while matched > 0, octet != wanted[matched] { matched = fallback[matched - 1] }
        if octet == wanted[matched] { matched += 1 }
        return matched == wanted.count
    }
}
