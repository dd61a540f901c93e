import Bus
import CoreMetrics
import Keys
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP

/// Answers what keyd is asked (docs/protocols.md, "key.sock"), on any loop.
final class KeyService: Sendable {
    /// Who may ask what, beside root and our own user.
    struct Access: Sendable {
        /// Uids of those that serve TLS, with the services that are theirs.
        var servers: [UInt32: Set<String>]
        /// Uids of those that sign mail, and show certificates to other hosts.
        var signers: Set<UInt32>
        var own: UInt32

        func isTrusted(_ uid: UInt32) -> Bool { uid == 0 || uid == own }

        /// - Parameter clientKeys: the keys of TLS with which clients sign.
        func allows(_ request: KeyRequest, _ uid: UInt32, clientKeys: Set<KeyName> = []) -> Bool {
            if isTrusted(uid) { return true }
            return switch request {
            case .certificate: servers[uid] != nil
            case .certificates: servers[uid] != nil || signers.contains(uid)
            case .tickets(let service): servers[uid]?.contains(service) ?? false
            case .dkim: signers.contains(uid)
            case .watch: servers[uid] != nil || signers.contains(uid)
            case .sign(let key, _, _) where key.purpose == .dkim: signers.contains(uid)
            case .sign(let key, let algorithm, let octets):
                switch HandshakeRole(signing: octets, by: algorithm) {
                case .server: servers[uid] != nil
                case .client: signers.contains(uid) && clientKeys.contains(key)
                case nil: false
                }
            }
        }
    }

    private struct Watcher {
        let connection: Connection
        let tag: String?
    }

    private struct Watchers {
        var all: [ObjectIdentifier: Watcher] = [:]
        /// Counts the changes.
        var version = 1
    }

    private let folder: KeyFolder
    private let access: Access
    private let tickets: NIOLockedValueBox<TicketKeyring>
    private let watchers = NIOLockedValueBox(Watchers())
    private let lastRefusal = NIOLockedValueBox<(time: Int?, unlogged: Int)>((nil, 0))
    private let now: @Sendable () -> Int
    private let logger: Logger
    /// RSA takes milliseconds.
    let pool: BlockingPool
    private let signatures = Counter(label: "signatures")
    private let refusals = Counter(label: "requests-refused")

    /// How long a client may take nothing of what it asked for.
    private static let patience = TimeAmount.seconds(30)

    /// - Parameters:
    ///   - ticketLifetime: seconds; 0 for no tickets.
    ///   - threads: how many signatures of RSA are made at a time.
    ///   - now: seconds, from anywhere on.
    init(
        _ folder: KeyFolder,
        access: Access,
        ticketLifetime: Int,
        threads: Int = 1,
        logger: Logger,
        now: @escaping @Sendable () -> Int
    ) {
        self.folder = folder
        self.access = access
        self.now = now
        self.logger = logger
        pool = BlockingPool(threads: threads, share: threads)
        tickets = NIOLockedValueBox(TicketKeyring(lifetime: ticketLifetime))
    }

    /// The keys that there are now.
    var ring: KeyRing { folder.ring }

    /// Reads what has changed, makes ticket keys that are due, and tells those who watch. Waits for the disk.
    ///
    /// - Parameter all: reads also what hasn't changed.
    func look(all: Bool = false) {
        let now = now()
        let (isChanged, events) = folder.look(all: all, now: now)
        log(events)
        let isRotated = tickets.withLockedValue { $0.rotate(now: now) }
        if isChanged || isRotated { tellWatchers() }
    }

    func log(_ events: [KeyEvent]) {
        for event in events {
            logger.log(
                level: event.isTrouble ? .error : .info,
                "\(event.text)",
                metadata: ["file": "\(event.path)"]
            )
        }
    }

    func answer(_ frame: Frame, _ connection: Connection) async throws(ConnectionError) {
        let tag = frame["tag"]
        let request: KeyRequest
        do throws(KeyRequest.Fault) {
            request = try KeyRequest(frame)
        } catch {
            switch error {
            case .unknownVerb:
                connection.write(.reply(.reject, status: .invalidCommand, text: "unknown verb", tag: tag))
            case .malformed(let field):
                connection.write(.reply(.reject, status: .invalidArguments, text: "malformed \(field)", tag: tag))
            }
            return
        }
        let uid = connection.peerUser ?? .max
        guard access.allows(request, uid, clientKeys: ring.clientKeys) else {
            refusals.increment()
            logRefusal(frame.verb, uid)
            connection.write(.reply(.reject, status: .notAuthorized, text: "not allowed for this user", tag: tag))
            return
        }
        switch request {
        case .watch: watch(connection, tag)
        case .sign(let key, let algorithm, let octets):
            connection.write(await signature(octets, key, algorithm, uid, tag))
            try await connection.flush()
            // The loop's other clients go first.
            await connection.eventLoop.letOthersGo()
        case .certificates:
            // remote-relay shows those that are for it.
            let isServer = access.isTrusted(uid) || access.servers[uid] != nil
            try await tell(certificates(ofClients: !isServer, tag), connection)
        case .certificate(let name, let schemes): try await tell([certificate(name, schemes, tag)], connection)
        case .dkim(let domain): connection.write(selectors(of: domain, tag))
        case .tickets(let service):
            let keys = tickets.withLockedValue { $0.keys(of: service, now: now()) }
            connection.write(.ok(tag: tag, keys.fields))
        }
    }

    /// Much for few octets: who doesn't take it gets no more.
    private func tell(_ replies: [Frame], _ connection: Connection) async throws(ConnectionError) {
        for reply in replies { connection.write(reply) }
        let timer = connection.eventLoop.scheduleTask(in: Self.patience) { connection.abort() }
        defer { timer.cancel() }
        try await connection.flush()
    }

    /// Of many refusals, one in a second.
    private func logRefusal(_ verb: String, _ uid: UInt32) {
        let now = now()
        let unlogged: Int? = lastRefusal.withLockedValue { last in
            if last.time == now {
                last.unlogged += 1
                return nil
            }
            defer { last = (now, 0) }
            return last.unlogged
        }
        guard let unlogged else { return }
        var metadata: Logger.Metadata = ["verb": "\(verb)", "uid": "\(uid)"]
        if unlogged > 0 { metadata["others"] = "\(unlogged)" }
        logger.warning("request refused", metadata: metadata)
    }

    /// A signature, of RSA on a thread of its own: each user's requests have their turn there.
    func signature(
        _ octets: [UInt8],
        _ key: KeyName,
        _ algorithm: SigningAlgorithm,
        _ uid: UInt32,
        _ tag: String?
    ) async -> Frame {
        let ring = ring
        let signature =
            if algorithm.isRSA {
                await pool.line(String(uid)).run { ring.sign(octets, with: key, algorithm) }
            } else {
                ring.sign(octets, with: key, algorithm)
            }
        guard let signature else {
            let text = "there is no such key that signs so"
            return .reply(.reject, status: .notFound, text: text, tag: tag)
        }
        signatures.increment()
        var reply = Frame.ok(tag: tag)
        reply.body = ByteBuffer(bytes: signature)
        return reply
    }

    /// - Parameter ofClients: those alone that are shown to other hosts.
    func certificates(ofClients: Bool, _ tag: String?) -> [Frame] {
        let ring = ring
        var frames: [Frame] = []
        for (certificate, frame) in zip(ring.certificates, ring.frames)
        where !ofClients || ring.clientKeys.contains(certificate.key) {
            var frame = frame
            frame["tag"] = tag
            frames.append(frame)
        }
        return frames + [.ok(tag: tag, [.init("count", String(frames.count))])]
    }

    private func certificate(_ name: String?, _ schemes: [SigningAlgorithm], _ tag: String?) -> Frame {
        guard let certificate = ring.certificate(for: name, schemes: schemes) else {
            return Self.deferral("there is no certificate for that", tag)
        }
        var reply = certificate.frame(verb: ReplyKind.ok.rawValue, tag: tag)
        reply["status"] = EnhancedStatusCode.success.description
        return reply
    }

    private func selectors(of domain: String, _ tag: String?) -> Frame {
        let ring = ring
        if let trouble = ring.dkimTrouble { return Self.deferral(trouble, tag) }
        switch ring.dkim[domain] {
        case .trouble(let text): return Self.deferral("\(domain): \(text)", tag)
        case .keys(let keys): return .ok(tag: tag, keys.flatMap(\.fields))
        case nil: return .ok(tag: tag)
        }
    }

    private static func deferral(_ text: String, _ tag: String?) -> Frame {
        .reply(.defer, status: .systemTrouble, text: text, tag: tag)
    }

    private func watch(_ connection: Connection, _ tag: String?) {
        let version = watchers.withLockedValue { watchers in
            watchers.all = watchers.all.filter { !$0.value.connection.hasEnded }
            watchers.all[ObjectIdentifier(connection)] = Watcher(connection: connection, tag: tag)
            return watchers.version
        }
        connection.write(Self.news(version, tag))
    }

    private func tellWatchers() {
        let (all, version) = watchers.withLockedValue { watchers in
            watchers.version += 1
            return (Array(watchers.all.values), watchers.version)
        }
        for watcher in all {
            watcher.connection.eventLoop.execute {
                guard !watcher.connection.hasEnded else { return }
                watcher.connection.write(Self.news(version, watcher.tag))
                watcher.connection.flushSoon()
            }
        }
    }

    private static func news(_ version: Int, _ tag: String?) -> Frame {
        .ok(tag: tag, [.init("version", String(version))])
    }
}
