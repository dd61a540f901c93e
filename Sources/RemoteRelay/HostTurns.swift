import NIOCore
import Network

/// Who may have a session with a host address: so many at a time, whatever domains their mail is for; others wait in line
/// for a while, and what finds the line full is turned away, so that one slow host never holds up the mail for others.
/// Belongs to one event loop.
final class HostTurns: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private struct Host {
        var sessions = 0
        var line: [Waiting] = []
    }

    private struct Waiting {
        let number: Int
        let promise: EventLoopPromise<Bool>
    }

    private var hosts: [SocketAddress: Host] = [:]
    private var number = 0
    private let limit: Int
    private let patience: TimeAmount
    private let loop: any EventLoop

    /// - Parameters:
    ///   - limit: sessions with one address at a time; as many wait for their turn.
    ///   - patience: how long one waits.
    init(limit: Int, patience: TimeAmount = .seconds(30), on loop: any EventLoop) {
        self.limit = limit
        self.patience = patience
        self.loop = loop
    }

    /// How many addresses have sessions.
    var count: Int { hosts.count }

    /// Whether whoever comes now has to wait.
    func isTaken(_ address: SocketAddress) -> Bool { (hosts[address]?.sessions ?? 0) >= limit }

    /// Waits for a turn with the host, if need be. Whoever has one gives it back with `leave`.
    ///
    /// - Returns: false for who is turned away.
    func enter(_ address: SocketAddress) async -> Bool {
        loop.assertInEventLoop()
        let host = hosts[address] ?? Host()
        if host.sessions < limit {
            hosts[address, default: Host()].sessions += 1
            return true
        }
        guard host.line.count < limit else { return false }
        return (try? await queue(for: address).get()) ?? false
    }

    private func queue(for address: SocketAddress) -> EventLoopFuture<Bool> {
        number += 1
        let waiting = Waiting(number: number, promise: loop.makePromise(of: Bool.self))
        hosts[address]?.line.append(waiting)
        let timer = loop.assumeIsolated().scheduleTask(in: patience) { [self] in
            hosts[address]?.line.removeAll { $0.number == waiting.number }
            waiting.promise.succeed(false)
        }
        waiting.promise.futureResult.assumeIsolated().whenComplete { _ in timer.cancel() }
        return waiting.promise.futureResult
    }

    /// Gives a turn back: the next one in line has it.
    func leave(_ address: SocketAddress) {
        loop.assertInEventLoop()
        guard let host = hosts[address] else { return }
        if let next = host.line.first {
            hosts[address]?.line.removeFirst()
            next.promise.succeed(true)
        } else if host.sessions > 1 {
            hosts[address]?.sessions -= 1
        } else {
            hosts[address] = nil
        }
    }
}
