import DNS
import Daemon
import Logging
import NIOCore
import Network
import ZoneTransfer

/// What passes between us and the other servers of our zones: zones that come from primaries, and notifications of
/// changes in both directions.
final class ZoneExchange: Sendable {
    /// Serves another version of a zone from now on; none where nil.
    typealias Adopt = @Sendable (DomainName, Zone?, ZoneHistory) async -> Void

    private let settings: ZoneSettings
    private let loop: any EventLoop
    private let secondaries: [DomainName: SecondaryZone]
    private let notifier: NotifySender

    /// - Parameters:
    ///   - copies: where the copies of the secondary zones are.
    ///   - loop: where all of this happens.
    init(
        _ settings: ZoneSettings,
        keys: TSIGKeyStore,
        copies: [ZoneFile],
        on loop: any EventLoop,
        clock: Clocks,
        logger: Logger,
        adopt: @escaping Adopt
    ) {
        self.settings = settings
        self.loop = loop
        notifier = NotifySender(settings, keys: keys, on: loop, clock: clock, logger: logger)
        let fetcher = ZoneFetcher(settings, keys: keys, on: loop, clock: clock, logger: logger)
        var secondaries: [DomainName: SecondaryZone] = [:]
        for file in copies {
            guard let configuration = settings.zones[file.origin], configuration.isSecondary else { continue }
            secondaries[file.origin] = SecondaryZone(
                configuration,
                copy: ZoneCopy(file: file),
                fetcher: fetcher,
                minimumRefresh: settings.minimumRefresh,
                on: loop,
                clock: clock,
                logger: logger
            ) { await adopt(configuration.origin, $0, $1) }
        }
        self.secondaries = secondaries
    }

    /// Takes up the copies of secondary zones.
    func restore() async {
        await onLoop { exchange in
            for zone in exchange.secondaries.values { await zone.restore() }
        }
    }

    /// Looks after the secondary zones from now on.
    func start() {
        for zone in secondaries.values {
            Task(executorPreference: LoopExecutor.of(loop)) { await zone.run() }
        }
    }

    /// These zones are served now.
    func serve(_ zones: [Zone]) {
        loop.execute { [notifier] in notifier.serve(zones) }
    }

    /// The answer to a notification that a zone has changed (RFC 1996 §3.10, §3.11): only those who are asked for the zone
    /// may say so. From any thread.
    func answer(_ query: DNSMessage, from address: SocketAddress?, signer: DomainName?) -> DNSMessage {
        guard let notification = Notification(query) else { return query.response(.formatError) }
        guard let zone = secondaries[notification.zone], let known = settings.zones[notification.zone] else {
            return query.response(.notAuthoritative)
        }
        let octets = address?.addressOctets
        let isPrimary = known.primaries.contains { primary in
            primary.address.addressOctets == octets || signer != nil && primary.key == signer
        }
        guard isPrimary else { return query.response(.refused) }
        loop.execute { zone.notified() }
        var response = query.response()
        response.flags.isAuthoritative = true
        return response
    }

    /// Compares a secondary zone with its primaries at once; nil for a zone that isn't one.
    func check(_ origin: DomainName) async -> Result<UInt32, CheckFailure>? {
        guard let zone = secondaries[origin] else { return nil }
        return await onLoop { _ in await zone.checkNow() }
    }

    /// How a secondary zone is; nil for a zone that isn't one.
    func status(_ origin: DomainName) -> SecondaryStatus? { secondaries[origin]?.status }

    func close() {
        let (zones, notifier) = (secondaries.values, notifier)
        loop.execute {
            for zone in zones { zone.close() }
            notifier.close()
        }
    }

    private func onLoop<Value: Sendable>(_ body: @escaping @Sendable (ZoneExchange) async -> Value) async -> Value {
        await Task(executorPreference: LoopExecutor.of(loop)) { await body(self) }.value
    }
}
