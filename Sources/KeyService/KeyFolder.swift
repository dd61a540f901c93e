import Cryptography
import Daemon
import Files
import Keys
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// Keeps up with the files: `look` waits for the disk, `ring` doesn't.
final class KeyFolder: Sendable {
    private struct State {
        var pairs: TLSPairs
        var dkim: DKIMKeys
        /// Keys that were replaced or removed: handshakes and messages under way still ask for them. With their ends, in seconds.
        var retired: [KeyName: (key: PrivateKey, until: Int)] = [:]
        var last: [KeyName: PrivateKey] = [:]
    }

    private let files: any FileSystem
    /// The pairs that remote-relay shows.
    private let clientPairs: Set<String>
    private let wallClock: @Sendable () -> Int
    private let state: NIOLockedValueBox<State>
    private let current: NIOLockedValueBox<KeyRing>

    /// How long a key signs after it was replaced. Seconds.
    private static let grace = 60

    /// - Parameters:
    ///   - clientPairs: the pairs of TLS that remote-relay may show.
    ///   - wallClock: seconds since 1970.
    init(
        _ files: any FileSystem,
        pairs: TLSPairs,
        dkim: DKIMKeys,
        hostname: String,
        clientPairs: Set<String> = [],
        wallClock: @escaping @Sendable () -> Int = { time(nil) }
    ) {
        self.files = files
        self.clientPairs = clientPairs
        self.wallClock = wallClock
        state = NIOLockedValueBox(State(pairs: pairs, dkim: dkim))
        current = NIOLockedValueBox(KeyRing(hostname: hostname))
    }

    var ring: KeyRing { current.withLockedValue { $0 } }

    /// Reads what has changed.
    ///
    /// - Parameters:
    ///   - all: also what hasn't, to find out whether it can be read.
    ///   - now: seconds, from anywhere on.
    /// - Returns: whether there is something else to tell, and what goes to the log.
    func look(all: Bool = false, now: Int) -> (isChanged: Bool, events: [KeyEvent]) {
        state.withLockedValue { state in
            var events = state.pairs.look(files, all: all, at: wallClock())
            events += state.dkim.look(files, keysOfTLS: state.pairs.keys.keys)
            let keys = state.pairs.keys.merging(state.dkim.keys) { first, _ in first }
            state.retired = state.retired.filter { $0.value.until > now && keys[$0.key] == nil }
            for (name, key) in state.last where keys[name] == nil && !state.dkim.isRefused(name) {
                state.retired[name] = (key, now + Self.grace)
            }
            state.last = keys
            var ring = self.ring
            let before = (ring.certificates, ring.dkim, ring.dkimTrouble)
            ring.use(state.pairs.certificates)
            // One that was replaced signs as long as the others that were.
            let clientKeys = ring.certificates.filter { $0.pair.map(clientPairs.contains) ?? false }.map(\.key)
            ring.clientKeys = ring.clientKeys.filter { state.retired[$0] != nil }.union(clientKeys)
            ring.dkim = state.dkim.active
            ring.dkimTrouble = state.dkim.trouble
            ring.keys = keys.merging(state.retired.mapValues(\.key)) { first, _ in first }
            current.withLockedValue { $0 = ring }
            return (before != (ring.certificates, ring.dkim, ring.dkimTrouble), events)
        }
    }
}
