import NIOCore
import Network

/// Idle sessions, kept a few seconds for the next message to the same host. Belongs to one event loop.
final class IdleConnections {
    private struct Idle {
        let client: SMTPClient
        let until: NIODeadline
    }

    /// A session that less was asked of is never used for more.
    private struct Key: Hashable {
        let address: SocketAddress
        let terms: SessionTerms
    }

    private var idle: [Key: [Idle]] = [:]
    private let time: TimeAmount
    private let loop: any EventLoop
    private var sweep: Scheduled<Void>?

    init(time: TimeAmount, on loop: any EventLoop) {
        self.time = time
        self.loop = loop
    }

    var count: Int { idle.values.reduce(0) { $0 + $1.count } }

    /// A usable session with the host on these terms, if one is idle.
    func acquire(_ address: SocketAddress, _ terms: SessionTerms) -> SMTPClient? {
        let key = Key(address: address, terms: terms)
        while let last = idle[key]?.popLast() {
            if idle[key]?.isEmpty == true { idle[key] = nil }
            if last.until > .now(), last.client.isReusable { return last.client }
            last.client.quit()
        }
        return nil
    }

    /// Takes a session back after its transaction; ends it where it can't be used again.
    func release(_ client: SMTPClient) {
        guard time > .zero, client.isReusable else {
            client.quit()
            return
        }
        let key = Key(address: client.target.address, terms: client.terms)
        idle[key, default: []].append(Idle(client: client, until: .now() + time))
        scheduleSweep()
    }

    /// Ends all sessions.
    func close() {
        sweep?.cancel()
        for list in idle.values { for entry in list { entry.client.quit() } }
        idle = [:]
    }

    private func scheduleSweep() {
        guard sweep == nil else { return }
        sweep = loop.assumeIsolated().scheduleTask(in: time) { [self] in
            sweep = nil
            let now = NIODeadline.now()
            for (key, list) in idle {
                for entry in list where entry.until <= now || !entry.client.isReusable { entry.client.quit() }
                let rest = list.filter { $0.until > now && $0.client.isReusable }
                idle[key] = rest.isEmpty ? nil : rest
            }
            if !idle.isEmpty { scheduleSweep() }
        }
    }
}
