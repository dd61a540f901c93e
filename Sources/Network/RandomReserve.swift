#if canImport(Glibc)
import Glibc
#endif

/// Random numbers that nobody can guess, taken from the system many at a time: IDs, ports, cases of letters, the choice of
/// a server. Those that were given are not kept. Belongs to one event loop.
package final class RandomReserve: RandomNumberGenerator {
    private var words: [UInt64] = []

    package init() {}

    /// The system gives no more than 256 octets at once (getentropy(3)).
    private static let count = 256 / MemoryLayout<UInt64>.size

    package func next() -> UInt64 {
        if words.isEmpty { refill() }
        return words.popLast() ?? .random(in: .min ... .max)
    }

    private func refill() {
        words = [UInt64](unsafeUninitializedCapacity: Self.count) { room, filled in
            let octets = Self.count * MemoryLayout<UInt64>.size
            guard let start = room.baseAddress, getentropy(start, octets) == 0 else { return }
            filled = Self.count
        }
    }
}
