import NIOCore

/// The sockets that wait for another query to their server, over all servers of one event loop: a bounded number, and
/// none for long.
final class IdleSockets {
    private struct Holder {
        unowned let upstream: Upstream
        var used: NIODeadline
    }

    private var count = 0
    private var holders: [ObjectIdentifier: Holder] = [:]
    private var nextSweep = NIODeadline.now()

    private static let maximum = 1024
    private static let maximumAge = TimeAmount.seconds(10)

    /// Whether one more may be kept.
    func keep(for upstream: Upstream) -> Bool {
        sweep()
        guard count < Self.maximum else { return false }
        count += 1
        holders[ObjectIdentifier(upstream)] = Holder(upstream: upstream, used: .now())
        return true
    }

    func taken(by upstream: Upstream) {
        count -= 1
        if upstream.idleCount == 0 { holders[ObjectIdentifier(upstream)] = nil }
    }

    func gave(_ number: Int) { count -= number }

    /// An upstream that ends must not be looked for.
    func forget(_ upstream: ObjectIdentifier) { holders[upstream] = nil }

    private func sweep() {
        let now = NIODeadline.now()
        guard now >= nextSweep else { return }
        nextSweep = now + Self.maximumAge
        for (key, holder) in holders where holder.used + Self.maximumAge < now {
            holder.upstream.closeIdle()
            holders[key] = nil
        }
    }
}
