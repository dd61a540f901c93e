import CoreMetrics
import Logging
import NIOCore
import Network

extension FrontClient {
    /// How long a proxy has for its first words, which it sends at once.
    private static let proxyPatience = TimeAmount.seconds(10)

    /// Reads what a proxy says about its client, before anything else is read or said; from then on the client is that one.
    ///
    /// - Parameters:
    ///   - proxies: networks of those whose word counts.
    ///   - reply: what a client is told that has no place here; nil where nothing can be said.
    /// - Returns: false where the connection is of no use: it comes from somebody else, or says nothing that can be
    ///   understood.
    func meet(_ proxies: [AddressRange], reply: ((Listener.Refusal) -> ByteBuffer?)? = nil) async -> Bool {
        guard let octets = connection.remoteAddress?.addressOctets, proxies.contains(where: { $0.contains(octets) })
        else { return refuse("only proxies may connect here") }
        let timeout = connection.idleTimeout
        connection.idleTimeout = Self.proxyPatience
        defer { connection.idleTimeout = timeout }
        do {
            while true {
                switch try ProxyHeader.next(&connection.input) {
                case .client(let address?, let local):
                    if let refusal = connection.recount(as: address) {
                        if let octets = reply?(refusal) {
                            connection.write(octets)
                            try await connection.flush()
                        }
                        return refuse("\(refusal): \(address)")
                    }
                    isReally(address, at: local)
                    return true
                case .client(nil, _): return refuse("the proxy doesn't say who its client is")
                // It asks whether we are alive, as itself.
                case .ownConnection: return true
                case nil:
                    guard try await connection.receive() else { return refuse("closed within the proxy's header") }
                }
            }
        } catch {
            return refuse("\(error)")
        }
    }

    private func refuse(_ reason: String) -> Bool {
        counters.connectionsRefused.increment()
        logger.notice("connection refused", metadata: ["client": "\(address)", "reason": "\(reason)"])
        return false
    }
}
