import DNS
import Daemon
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import ZoneTransfer

/// What we have authority for: the zones with their files, keys, updates and transfers. It says what is served; answering
/// is for others.
package final class ZoneAuthority: Sendable {
    package let settings: ZoneSettings
    /// The keys that messages are signed with.
    package let keys: TSIGKeyStore
    package let updates: ZoneUpdates
    package let transfers: ZoneTransfers
    private let clock: Clocks
    private let logger: Logger
    private let store: ZoneStore
    private let signings: SigningStore
    /// The copies of secondary zones.
    private let copies: [ZoneFile]
    private let exchanging = NIOLockedValueBox<ZoneExchange?>(nil)
    private let publishing = NIOLockedValueBox<Publish?>(nil)
    private let reloads = NIOLockedValueBox<Task<Void, Never>?>(nil)

    /// Has everybody answer from what is served now, and calls back when all do. From any thread.
    package typealias Publish = @Sendable (@escaping @Sendable () -> Void) -> Void

    /// The zones as they are answered from.
    package struct Served: Sendable {
        package var zones: [Zone] = []
        /// Those that never loaded.
        package var broken: Set<DomainName> = []
        /// How zones are signed that are.
        package var signings: [DomainName: ZoneSigning] = [:]

        package init(zones: [Zone] = [], broken: Set<DomainName> = [], signings: [DomainName: ZoneSigning] = [:]) {
            self.zones = zones
            self.broken = broken
            self.signings = signings
        }
    }

    /// - Parameter state: the directory in which resolverd keeps what is its own, open.
    package init(
        _ settings: ZoneSettings,
        files: [ZoneFile],
        keys: TSIGKeyStore,
        state: CInt,
        clock: Clocks,
        counters: ZoneCounters,
        logger: Logger
    ) {
        self.settings = settings
        self.keys = keys
        self.clock = clock
        self.logger = logger
        signings = SigningStore(settings.zones.values, directory: state, clock: clock.wallClock, logger: logger)
        copies = files.filter { settings.zones[$0.origin]?.isSecondary == true }
        let dynamic = files.compactMap { file -> DynamicZone? in
            // Updates that are only in the journal are served, and written to the file, whether there may be more or not.
            guard let zone = settings.zones[file.origin], !zone.isSecondary,
                !zone.update.isEmpty || DynamicZone.hasUnwritten(file)
            else { return nil }
            return DynamicZone(zone, file: file, now: clock.now, logger: logger)
        }
        let others = Set(copies.map(\.origin) + dynamic.map(\.origin))
        store = ZoneStore(files.filter { !others.contains($0.origin) }, others: others, logger: logger)
        updates = ZoneUpdates(dynamic, settings, store: store, counters: counters, logger: logger)
        transfers = ZoneTransfers(settings, store: store, clock: clock, counters: counters)
    }

    /// Loads the zones, and takes up the copies of secondary ones.
    ///
    /// - Parameters:
    ///   - loop: where what passes between us and other servers of our zones happens.
    ///   - publish: has everybody answer from `served`.
    package func start(on loop: any EventLoop, publish: @escaping Publish) async {
        publishing.withLockedValue { $0 = publish }
        let exchange = ZoneExchange(
            settings,
            keys: keys,
            copies: copies,
            on: loop,
            clock: clock,
            logger: logger
        ) { [weak self] in await self?.serve($1, as: $0, history: $2) }
        exchanging.withLockedValue { $0 = exchange }
        updates.start(publish)
        await reload()
        await exchange.restore()
    }

    /// Looks after the secondary zones from now on.
    package func follow() { exchange?.start() }

    /// Whom other servers of our zones talk to; nil before the start.
    private var exchange: ZoneExchange? { exchanging.withLockedValue { $0 } }

    /// What is served now.
    package var served: Served {
        let (zones, broken) = store.current
        return Served(zones: zones.map(signings.version), broken: broken, signings: signings.current)
    }

    /// Tells those who are to know which zones everybody answers from now.
    package func notify(_ served: Served) { exchange?.serve(served.zones) }

    /// The answer to a notification that a zone has changed (RFC 1996); nil before the start. From any thread.
    package func answer(notification query: DNSMessage, from address: SocketAddress?, signer: DomainName?)
        -> DNSMessage?
    {
        exchange?.answer(query, from: address, signer: signer)
    }

    /// Reads the zones' files again.
    ///
    /// - Parameter onlyChanged: leaves files alone that look as before.
    package func reload(onlyChanged: Bool = false) async {
        await inTurn { [self] in await load(all: !onlyChanged) }
    }

    /// Serves another version of a zone that comes from elsewhere than its file; none where nil.
    private func serve(_ zone: Zone?, as origin: DomainName, history: ZoneHistory) async {
        await inTurn { [self] in
            store.serve(zone, as: origin, history: history)
            await publish()
        }
    }

    private func inTurn(_ work: @escaping @Sendable () async -> Void) async {
        let task = reloads.withLockedValue { last in
            // One after the other, so that an older state never comes last.
            let before = last
            let task = Task {
                await before?.value
                await work()
            }
            last = task
            return task
        }
        await task.value
    }

    private func load(all: Bool) async {
        let (store, signings, keys, logger) = (store, signings, keys, logger)
        let hasRead = try? await NIOThreadPool.singleton.runIfActive {
            keys.refresh(all: all, logger)
            let hasOtherKeys = signings.refresh(all: all)
            return store.refresh(all: all) || hasOtherKeys
        }
        let hasChanged = await updates.refresh(all: all)
        if hasChanged || hasRead == true { await publish() }
    }

    private func publish() async {
        guard let publish = publishing.withLockedValue({ $0 }) else { return }
        await withCheckedContinuation { done in publish { done.resume() } }
    }

    /// Compares a secondary zone with its primaries at once; nil for a zone that isn't one.
    package func transfer(_ zone: DomainName) async -> Result<UInt32, CheckFailure>? { await exchange?.check(zone) }

    /// The zones as the administrator has them.
    package var descriptions: [ZoneDescription] {
        let served = served
        let exchange = exchange
        var all = served.zones.filter { exchange?.status($0.origin) == nil }.map {
            ZoneDescription(name: $0.origin, kind: "local", serial: $0.serial, records: $0.recordCount)
        }
        all += served.broken.filter { exchange?.status($0) == nil }.map { ZoneDescription(name: $0, kind: "broken") }
        all += copies.compactMap { copy in
            exchange?.status(copy.origin).map { ZoneDescription(name: copy.origin, $0) }
        }
        return all
    }

    /// Ends what passes between us and others.
    package func close() { exchange?.close() }

    /// Writes what is in journals into the zones' files.
    package func write() async { _ = await updates.write(nil) }
}

/// A zone that isn't the world's.
package struct ZoneDescription: Sendable {
    package var name: DomainName
    /// `local`, `broken` (a file with an error that never was without), `secondary`, `stub` or `forward`.
    package var kind: String
    package var serial: UInt32?
    package var records: Int?
    /// More about a secondary zone.
    package var secondary: SecondaryStatus?

    package init(name: DomainName, kind: String, serial: UInt32? = nil, records: Int? = nil) {
        self.name = name
        self.kind = kind
        self.serial = serial
        self.records = records
    }

    init(name: DomainName, _ status: SecondaryStatus) {
        self.init(name: name, kind: "secondary", serial: status.serial, records: status.records)
        secondary = status
    }
}
