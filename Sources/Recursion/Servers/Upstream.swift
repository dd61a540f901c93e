import DNS
import Logging
import NIOCore
import Network

/// One server that is asked, with what is known of it (on one event loop).
final class Upstream {
    let address: SocketAddress
    /// What its questions go by where that isn't UDP.
    let link: UpstreamLink?
    private let loop: any EventLoop
    var random: RandomReserve
    private var idle: [UpstreamSocket] = []

    /// The smoothed round-trip time. Milliseconds.
    private(set) var smoothedTime = 50.0
    private var deviation = 50.0
    /// Until when queries go without EDNS, because the server doesn't understand it.
    private var plainUntil = NIODeadline.uptimeNanoseconds(0)

    /// Whether an answer of it had an OPT record.
    var hasShownEDNS = false

    private let minimumPatience: TimeAmount
    var cookies = UpstreamCookies()

    private let maximumIdle: Int
    private let shared: IdleSockets?
    private let streams: StreamPlaces?
    /// The connection for what UDP doesn't carry, once there was need of one.
    private var stream: UpstreamLink?

    /// How many queries are under way on that connection at the same time.
    private static let maximumStreamed = 16

    private static let plainTime = TimeAmount.minutes(15)

    /// - Parameters:
    ///   - minimumPatience: the least that the first attempt waits.
    ///   - maximumIdle: how many sockets wait for another query.
    ///   - shared: counts them together with those of other servers.
    ///   - streams: counts connections by TCP together with those to other servers.
    ///   - link: carries all its questions; nil for UDP.
    ///   - random: gives IDs, ports and cases; the loop's, so that each server needs none of its own.
    init(
        _ address: SocketAddress,
        on loop: any EventLoop,
        minimumPatience: TimeAmount,
        maximumIdle: Int = 256,
        shared: IdleSockets? = nil,
        streams: StreamPlaces? = nil,
        link: UpstreamLink? = nil,
        random: RandomReserve = RandomReserve()
    ) {
        self.random = random
        self.address = address
        self.link = link
        self.loop = loop
        self.minimumPatience = minimumPatience
        self.maximumIdle = maximumIdle
        self.shared = shared
        self.streams = streams
    }

    deinit {
        close()
        shared?.forget(ObjectIdentifier(self))
    }

    var takesEDNS: Bool { plainUntil < .now() }

    func avoidEDNS() { plainUntil = .now() + Self.plainTime }

    /// How long the first attempt waits: as RFC 6298 §2 has it.
    private var timeout: TimeAmount {
        max(minimumPatience, .milliseconds(Int64(min(smoothedTime + 4 * deviation, 2000))))
    }

    /// How long an attempt waits: twice as long after each that came to nothing, sixteen times as long at most.
    func timeout(afterAttempts former: Int) -> TimeAmount {
        .nanoseconds(timeout.nanoseconds << Int64(min(former, 4)))
    }

    /// The fastest; one time in twenty any, so that times stay known.
    ///
    /// - Parameter upstream: gives a candidate's server.
    static func choose<Candidate>(_ candidates: [Candidate], _ upstream: (Candidate) -> Upstream) -> Candidate? {
        guard candidates.count > 1 else { return candidates.first }
        if let one = candidates.first.map(upstream), Int.random(in: 0..<20, using: &one.random) == 0 {
            return candidates.randomElement(using: &one.random)
        }
        let best = candidates.min { upstream($0).smoothedTime < upstream($1).smoothedTime }
        let fastest = best.map(upstream)
        for other in candidates where upstream(other) !== fastest { upstream(other).forgive() }
        return best
    }

    /// Takes a round-trip time into account.
    func note(_ elapsed: TimeAmount) {
        let time = Double(elapsed.nanoseconds) / 1_000_000
        deviation += (abs(time - smoothedTime) - deviation) / 4
        smoothedTime += (time - smoothedTime) / 8
    }

    /// Makes the server less attractive, so that others get their turn; good answers bring it back.
    func punish() { smoothedTime = min(smoothedTime * 2 + 50, 10_000) }

    /// Brings a server that was not asked nearer to being asked again.
    private func forgive() { smoothedTime = max(smoothedTime * 0.98, 1) }

    /// Asks by UDP.
    func ask(_ query: UpstreamQuery, timeout: TimeAmount) async -> UpstreamSocket.Result {
        let socket: UpstreamSocket
        if let reused = idle.popLast() {
            shared?.taken(by: self)
            socket = reused
        } else if let opened = await UpstreamSocket.open(to: address, on: loop, random) {
            socket = opened
        } else {
            return .unreachable
        }
        let start = NIODeadline.now()
        let result = await socket.exchange(query, timeout: timeout)
        if case .answer = result {
            note(.now() - start)
            if socket.isReusable, idle.count < maximumIdle, shared?.keep(for: self) ?? true {
                // At a random place, so that the order of ports tells nothing.
                idle.insert(socket, at: Int.random(in: 0...idle.count, using: &random))
                return result
            }
        }
        // A port on which an answer may still arrive, or a forgery did, isn't used again.
        socket.close()
        return result
    }

    /// Asks by TCP, for answers that are too large for UDP or in doubt: on the connection that is kept (RFC 7766 §6.2.1),
    /// and where that isn't to be had or breaks, on one of its own.
    ///
    /// - Parameter make: makes the query, again where its ID is under way already.
    func askByStream(timeout: TimeAmount, _ make: () -> UpstreamQuery) async -> DNSMessage? {
        let deadline = NIODeadline.now() + timeout
        let stream = keptStream
        if stream.hasRoom {
            switch await stream.exchange(timeout: timeout, make) {
            case .answer(let message): return message
            case .malformed, .timedOut, .unreachable: return nil
            // The server may have closed it just now, or take one query a connection.
            case .lost: break
            }
        }
        let left = deadline - .now()
        return left > .zero ? await askOnce(make(), timeout: left) : nil
    }

    private var keptStream: UpstreamLink {
        if let stream { return stream }
        let fresh = UpstreamLink(
            address,
            label: "",
            .none,
            on: loop,
            // Servers of zones are nobody's that reads our log.
            logger: Logger(label: "") { _ in SwiftLogNoOpLogHandler() },
            maximumWaiters: Self.maximumStreamed,
            places: streams
        )
        stream = fresh
        return fresh
    }

    private func askOnce(_ query: UpstreamQuery, timeout: TimeAmount) async -> DNSMessage? {
        guard let connection = try? await Connection.connect(to: address, on: loop, timeout: timeout) else {
            return nil
        }
        defer { connection.abort() }
        connection.idleTimeout = timeout
        connection.deadline = .now() + timeout
        connection.write([UInt8](integer: UInt16(truncatingIfNeeded: query.octets.count)))
        connection.write(query.octets)
        do {
            try await connection.flush()
            while true {
                var length = try await connection.readExactly(2)
                let count = Int(length.readInteger(as: UInt16.self) ?? 0)
                let reply = try await connection.readExactly(count)
                switch query.judge(reply) {
                case .answer(let message): return message
                // On a stream nobody forges blindly: a server that spoils the case, or gives no cookie, is believed here.
                case .doubtful: return try? DNSMessage(decoding: reply)
                case .foreign: continue
                case .malformed: return nil
                }
            }
        } catch {
            return nil
        }
    }

    /// How many sockets wait for another query.
    var idleCount: Int { idle.count }

    /// Closes the sockets that wait for another query, and the connections.
    func close() {
        link?.close()
        stream?.close()
        stream = nil
        closeIdle()
    }

    /// Closes the sockets that wait for another query.
    func closeIdle() {
        shared?.gave(idle.count)
        for socket in idle { socket.close() }
        idle = []
    }
}
