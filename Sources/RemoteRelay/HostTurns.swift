import NIOCore
import Network

/// Who may have a session with a host address: so many at a time, and so many in a time, whatever domains their mail is for; others
/// wait in line for a while, and what finds the line full is turned away, so that one slow host never holds up the mail for others.
/// Belongs to one event loop.
final class HostTurns: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private struct Host {
        var sessions = 0
        var line: [Waiting] = []
        /// When the next one may begin.
        var next = NIODeadline.uptimeNanoseconds(0)
        /// Looks again when that time has come.
        var timer: Scheduled<Void>?
    }

    private struct Waiting {
        let number: Int
        /// The time that it leaves behind itself.
        let interval: TimeAmount?
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

    /// How many addresses have sessions, or had one a moment ago where there is a rate.
    var count: Int { hosts.count }

    /// Whether whoever comes now has to wait.
    func isTaken(_ address: SocketAddress) -> Bool {
        guard let host = hosts[address] else { return false }
        return host.sessions >= limit || host.next > .now()
    }

    /// Waits for a turn with the host, if need be. Whoever has one gives it back with `leave`.
    ///
    /// - Parameter interval: the shortest time until the next one may begin; nil for none.
    /// - Returns: false for who is turned away.
    func enter(_ address: SocketAddress, every interval: TimeAmount? = nil) async -> Bool {
        loop.assertInEventLoop()
        let host = hosts[address] ?? Host()
        if host.line.isEmpty, !isTaken(address) {
            begin(address, interval)
            return true
        }
        guard host.line.count < limit else { return false }
        // By the rate alone it would wait in vain.
        let ahead = TimeAmount.nanoseconds((interval?.nanoseconds ?? 0) * Int64(host.line.count))
        guard host.next + ahead <= .now() + patience else { return false }
        return (try? await queue(for: address, interval).get()) ?? false
    }

    private func begin(_ address: SocketAddress, _ interval: TimeAmount?) {
        var host = hosts[address] ?? Host()
        host.sessions += 1
        if let interval { host.next = max(host.next, .now()) + interval }
        hosts[address] = host
    }

    private func queue(for address: SocketAddress, _ interval: TimeAmount?) -> EventLoopFuture<Bool> {
        number += 1
        let waiting = Waiting(number: number, interval: interval, promise: loop.makePromise(of: Bool.self))
        hosts[address]?.line.append(waiting)
        let timer = loop.assumeIsolated().scheduleTask(in: patience) { [self] in
            hosts[address]?.line.removeAll { $0.number == waiting.number }
            waiting.promise.succeed(false)
        }
        waiting.promise.futureResult.assumeIsolated().whenComplete { _ in timer.cancel() }
        advance(address)
        return waiting.promise.futureResult
    }

    /// Gives a turn back: the next one in line has it.
    func leave(_ address: SocketAddress) {
        loop.assertInEventLoop()
        guard let host = hosts[address] else { return }
        hosts[address]?.sessions = max(0, host.sessions - 1)
        advance(address)
    }

    /// Has those begin whose turn it is; a host that nobody needs is forgotten.
    private func advance(_ address: SocketAddress) {
        while let first = hosts[address]?.line.first, !isTaken(address) {
            hosts[address]?.line.removeFirst()
            begin(address, first.interval)
            first.promise.succeed(true)
        }
        guard let host = hosts[address] else { return }
        let isIdle = host.sessions == 0 && host.line.isEmpty
        guard host.next > .now() else {
            if isIdle { hosts[address] = nil }
            return
        }
        guard host.timer == nil, isIdle || host.sessions < limit else { return }
        hosts[address]?.timer = loop.assumeIsolated().scheduleTask(deadline: host.next) { [self] in
            hosts[address]?.timer = nil
            advance(address)
        }
    }
}
