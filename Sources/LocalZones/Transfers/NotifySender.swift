import DNS
import Daemon
import Logging
import NIOCore
import Network
import TSIG
import ZoneTransfer

/// Tells secondaries that zones have changed (RFC 1996): again until they answer, each the newest version only. On one
/// event loop.
final class NotifySender: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    private struct Target: Hashable {
        var zone: DomainName
        var peer: LocalZoneConfiguration.Peer
    }

    private let settings: ZoneSettings
    private let keys: TSIGKeyStore
    private let clock: Clocks
    private let loop: any EventLoop
    private let logger: Logger
    /// The SOA records that are known to be served.
    private var starts: [DomainName: ResourceRecord] = [:]
    /// What is still to be said, for those with whom a conversation is under way.
    private var pending: [Target: ResourceRecord?] = [:]
    private var isClosed = false

    /// The least time between two notifications of one zone to one server.
    private static let pause = TimeAmount.seconds(1)

    init(_ settings: ZoneSettings, keys: TSIGKeyStore, on loop: any EventLoop, clock: Clocks, logger: Logger) {
        self.settings = settings
        self.keys = keys
        self.clock = clock
        self.loop = loop
        self.logger = logger
    }

    /// These zones are served now: tells those who are to know of the ones that are new.
    func serve(_ zones: [Zone]) {
        loop.assertInEventLoop()
        for zone in zones {
            guard let peers = settings.zones[zone.origin]?.notify, !peers.isEmpty, !isClosed else { continue }
            if let known = starts[zone.origin], StartOfAuthority(known)?.serial == zone.serial { continue }
            starts[zone.origin] = zone.start
            for peer in peers { tell(Target(zone: zone.origin, peer: peer), zone.start) }
        }
    }

    func close() { isClosed = true }

    private func tell(_ target: Target, _ start: ResourceRecord) {
        guard pending[target] == nil else {
            pending[target] = .some(start)
            return
        }
        pending[target] = .some(nil)
        Task(executorPreference: LoopExecutor.of(loop)) { await self.converse(target, start) }
    }

    private func converse(_ target: Target, _ first: ResourceRecord) async {
        var start = first
        while !isClosed {
            await deliver(target, start)
            await loop.pause(Self.pause)
            guard let next = pending[target] ?? nil else { break }
            pending[target] = .some(nil)
            start = next
        }
        pending[target] = nil
    }

    /// Says it until there is an answer, or there is news to say.
    private func deliver(_ target: Target, _ start: ResourceRecord) async {
        var logger = logger
        logger[metadataKey: "zone"] = "\(target.zone)"
        logger[metadataKey: "to"] = "\(target.peer.address.ipAddress ?? "") port \(target.peer.address.port ?? 0)"
        var missing: MissingTSIGKey?
        for patience in Notification.patience {
            guard !isClosed, (pending[target] ?? nil) == nil else { return }
            let key: TSIGKey?
            do throws(MissingTSIGKey) {
                key = try keys.key(named: target.peer.key)
            } catch {
                // Never unsigned; the key's file may be back in a moment.
                if missing == nil { logger.error("secondary not notified", metadata: ["reason": "\(error)"]) }
                missing = error
                await rest(until: NIODeadline.now() + .seconds(patience), target)
                continue
            }
            missing = nil
            let message = Notification.message(id: .random(in: .min ... .max), start: start)
            let began = NIODeadline.now()
            if let code = await exchange(message, target, key, .seconds(patience)) {
                let serial = StartOfAuthority(start)?.serial ?? 0
                if code == .noError {
                    logger.debug("secondary notified", metadata: ["serial": "\(serial)"])
                } else {
                    logger.warning("secondary refuses to be notified", metadata: ["code": "\(code)"])
                }
                return
            }
            // Where the system says at once that nobody is there, the time is waited for all the same.
            await rest(until: began + .seconds(patience), target)
        }
        if missing == nil { logger.warning("secondary does not answer notifications") }
    }

    /// Waits, but not longer than there is no news.
    private func rest(until end: NIODeadline, _ target: Target) async {
        while !isClosed, (pending[target] ?? nil) == nil, NIODeadline.now() < end {
            await loop.pause(min(Self.pause, end - .now()))
        }
    }

    private func exchange(
        _ message: DNSMessage,
        _ target: Target,
        _ key: TSIGKey?,
        _ patience: TimeAmount
    ) async -> ResponseCode? {
        var octets = message.encode()
        var verifier: TSIGVerifier?
        if let key {
            var signer = TSIGSigner(requestWith: key)
            octets = signer.sign(octets, now: clock.secondsSince1970())
            verifier = TSIGVerifier(key: key, requestCode: signer.lastCode)
        }
        let check = verifier
        let time = clock.secondsSince1970
        return await DatagramExchange.ask(
            octets,
            target.peer.address,
            from: settings.zones[target.zone]?.source(to: target.peer.address),
            on: loop,
            timeout: patience
        ) { reply in
            var octets = Array(reply.readableBytesView)
            if var check {
                guard let verified = try? check.verify(octets, now: time()) else { return nil }
                octets = verified
            }
            guard let answer = try? DNSMessage(decoding: octets), answer.id == message.id, answer.flags.isResponse,
                answer.flags.opcode == .notify
            else { return nil }
            return answer.responseCode
        }
    }
}
