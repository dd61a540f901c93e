import DNS
import DNSSEC
import Daemon
import Keys
import LocalZones
import Logging
import NIOCore
import NIOPosix
import Network
import Recursion
import TLS
import TSIG

/// The daemon `resolverd`.
package struct ResolverDaemon: DaemonProgram {
    package let name = DaemonName.resolverd

    /// What needs rights: ports below 1024, and the zones' directories.
    package struct Prepared: Sendable {
        let settings: ResolverSettings
        let keys: TSIGKeyStore
        let zones: [ZoneFile]
        /// The directory in which resolverd keeps what it writes; it may be read and written beneath it.
        let state: CInt
        let datagrams: [[CInt]]
        let streams: [CInt]
        let unix: CInt
        let control: CInt
        let encrypted: [EncryptedListener]
        /// Who signs for them.
        let serverKeys: ServerKeys
        let administrators: Set<UInt32>
        /// Whether the trust anchors are followed as they change.
        let followsAnchors: Bool
    }

    private static let watchInterval = TimeAmount.seconds(2)
    /// How often it's looked whether a trust anchor's keys are to be looked at.
    private static let anchorInterval = TimeAmount.minutes(1)
    private static let grace = TimeAmount.seconds(3)

    package init() {}

    package func threads(_ configuration: Configuration) -> Int { configuration.resolverd.threads }

    package func prepare(_ setup: Setup) throws -> Prepared {
        let configuration = setup.configuration.resolverd
        var settings = try ResolverSettings(configuration)
        if configuration.mode == .recursive { settings.recursion.rootHints = try rootHints(configuration) }
        if configuration.validate ?? (configuration.mode == .recursive) {
            settings.recursion.trustAnchors = try trustAnchors(configuration)
        }
        settings.recursion.forwardTLS = try forwardTLS(configuration, minimum: setup.configuration.tls.minimumVersion)
        if let path = configuration.clients.cookieSecrets, configuration.clients.cookies {
            settings.cookies = try cookies(path, setup)
        }
        let state = try setup.directory(LocalZoneConfiguration.stateDirectory)
        setup.rights.allowWriting(beneath: state)
        var directories = [LocalZoneConfiguration.stateDirectory: state]
        let keys = try keys(configuration, setup, &directories)
        let zones = try zoneFiles(configuration, setup, &directories)
        setup.rights.root = "run"
        let serverKeys = ServerKeys(hostname: setup.configuration.hostname)
        let loops = configuration.threads == 0 ? System.coreCount : configuration.threads
        do {
            return Prepared(
                settings: settings,
                keys: keys,
                zones: zones,
                state: state,
                datagrams: try configuration.listen.map { try DatagramSockets.bind($0, count: loops) },
                streams: try setup.listen(configuration.listen),
                unix: try setup.listen(unix: "run/dns.sock"),
                control: try setup.listen(unix: "run/dns-control.sock"),
                encrypted: try encrypted(configuration, setup, serverKeys),
                serverKeys: serverKeys,
                administrators: setup.uids(of: [.resolverd]),
                followsAnchors: settings.recursion.validates
                    && configuration.trustAnchorUpdates ?? (configuration.trustAnchors == nil)
            )
        } catch let error as DatagramSocketError {
            throw SetupError(reason: "cannot \(error)", code: .temporary)
        }
    }

    /// The zones' master files, whose directories stay open.
    private func zoneFiles(
        _ configuration: ResolverdConfiguration,
        _ setup: Setup,
        _ directories: inout [String: CInt]
    ) throws -> [ZoneFile] {
        var zones: [ZoneFile] = []
        for zone in configuration.zones {
            let place = try place(of: zone.file, setup, &directories)
            zones.append(
                ZoneFile(
                    origin: zone.origin,
                    directory: place.directory,
                    name: place.name,
                    path: zone.file,
                    isSigned: zone.sign != nil
                )
            )
        }
        return zones
    }

    /// A file's directory, which is opened for good, and its name there.
    ///
    /// - Parameter directories: those that are open.
    private func place(
        of path: String,
        _ setup: Setup,
        _ directories: inout [String: CInt]
    ) throws(SetupError) -> (directory: CInt, name: String) {
        let slash = path.lastIndex(of: "/")
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let directory = slash.map { String(path[..<$0]) } ?? "."
        if let opened = directories[directory] { return (opened, name) }
        let opened = try setup.directory(directory.isEmpty ? "/" : directory)
        directories[directory] = opened
        setup.rights.allowReading(beneath: opened, listing: false)
        return (opened, name)
    }

    /// The keys that messages are signed with, from their files, whose directories stay open.
    private func keys(
        _ configuration: ResolverdConfiguration,
        _ setup: Setup,
        _ directories: inout [String: CInt]
    ) throws(SetupError) -> TSIGKeyStore {
        var files: [TSIGKeyFile] = []
        for (key, path) in configuration.keys.sorted(by: { $0.key < $1.key }) {
            let place = try place(of: path, setup, &directories)
            files.append(TSIGKeyFile(key: key, directory: place.directory, name: place.name, path: path))
        }
        do throws(TSIGKeyStoreError) {
            return try TSIGKeyStore(files: files)
        } catch {
            var code = DaemonExit.configuration
            if case .system = error.reason { code = .temporary }
            throw SetupError(reason: "\(error)", code: code)
        }
    }

    /// What forwarders' certificates are verified with; nil where none is asked by TLS.
    private func forwardTLS(_ configuration: ResolverdConfiguration, minimum: TLSVersion) throws -> TLSContext? {
        let all = configuration.forwarders + configuration.forwardZones.values.joined()
        guard all.contains(where: { $0.transport == .tls }) else { return nil }
        do {
            return try TLSContext(
                clientVerifying: true,
                authorities: configuration.forwardTLSAuthorities,
                minimum: minimum,
                protocols: EncryptedListener.tlsProtocols
            )
        } catch {
            throw SetupError(reason: "\(error) (resolverd.forward-tls-ca)", code: .configuration)
        }
    }

    /// What listens for encrypted queries.
    private func encrypted(
        _ configuration: ResolverdConfiguration,
        _ setup: Setup,
        _ keys: ServerKeys
    ) throws -> [EncryptedListener] {
        var listeners: [EncryptedListener] = []
        if !configuration.listenTLS.isEmpty {
            let context = try setup.serverTLS(keys, protocols: EncryptedListener.tlsProtocols)
            listeners += try setup.listen(configuration.listenTLS).map {
                .init(socket: $0, context: context, path: nil)
            }
        }
        if !configuration.listenHTTPS.isEmpty {
            let context = try setup.serverTLS(keys, protocols: HTTPSSession.protocols)
            let path = configuration.httpsPath
            listeners += try setup.listen(configuration.listenHTTPS).map {
                .init(socket: $0, context: context, path: path)
            }
        }
        return listeners
    }

    /// The servers of the root from the configured file, or those known when this was written.
    private func rootHints(_ configuration: ResolverdConfiguration) throws -> RootHints {
        let file = try file(configuration.rootHints, "root-hints", "built-in root hints", RootHints.builtIn)
        do {
            return try RootHints(file.octets, file: file.path, port: configuration.serverPort)
        } catch {
            throw SetupError(reason: "\(error)", code: .configuration)
        }
    }

    /// Cookies made with the secrets of a file, which other servers may share.
    private func cookies(_ path: String, _ setup: Setup) throws(SetupError) -> ServerCookies {
        guard let cookies = ServerCookies(text: try setup.secret(path, key: "resolverd.cookie-secrets")) else {
            throw SetupError(
                reason: "\(path) (resolverd.cookie-secrets) must have one or two lines of 32 hexadecimal digits",
                code: .configuration
            )
        }
        return cookies
    }

    /// The keys to begin with from the configured file, or the root's.
    private func trustAnchors(_ configuration: ResolverdConfiguration) throws -> TrustAnchors {
        var negative: Set<DomainName> = []
        for name in configuration.negativeTrustAnchors {
            negative.insert(try ResolverSettings.name(name, key: "resolverd.negative-trust-anchors"))
        }
        let file = try file(configuration.trustAnchors, "trust-anchors", "built-in trust anchors", TrustAnchors.root)
        let anchors: TrustAnchors
        do {
            anchors = try TrustAnchors(masterFile: file.octets, file: file.path, negative: negative)
        } catch {
            throw SetupError(reason: "\(error)", code: .configuration)
        }
        guard !anchors.isEmpty else {
            throw SetupError(reason: "\(file.path) has no DS or DNSKEY record", code: .configuration)
        }
        return anchors
    }

    /// The configured file's octets, or what is built in where none is.
    private func file(
        _ path: String?,
        _ key: String,
        _ name: String,
        _ builtIn: String
    ) throws(SetupError) -> (path: String, octets: [UInt8]) {
        guard let path else { return (name, Array(builtIn.utf8)) }
        guard let octets = WholeFile.octets(path, maximum: 1 << 20) else {
            throw SetupError(reason: "cannot read \(path) (resolverd.\(key))", code: .configuration)
        }
        return (path, octets)
    }

    package func serve(_ prepared: Prepared, _ context: DaemonContext) async throws {
        let server = ResolverServer(
            prepared.settings,
            zones: prepared.zones,
            keys: prepared.keys,
            state: prepared.state,
            group: context.group,
            logger: context.logger
        )
        if prepared.followsAnchors {
            await server.follow(
                TrustAnchorKeeper(
                    prepared.settings.recursion,
                    directory: prepared.state,
                    clock: prepared.settings.clock,
                    logger: context.logger
                )
            )
        }
        try await server.start(datagrams: prepared.datagrams, streams: prepared.streams, unix: prepared.unix)
        if !prepared.encrypted.isEmpty {
            prepared.serverKeys.start(
                path: context.socket("key.sock"),
                service: name.rawValue,
                on: context.group.next(),
                logger: context.logger
            )
        }
        for listener in prepared.encrypted { try await server.start(listener) }
        try await server.control(
            on: prepared.control,
            administrators: prepared.administrators,
            group: context.group
        )
        if prepared.settings.logsQueries { await server.logQueries(true) }
        let reloading = context.onReload { await server.reload() }
        let watching = Task { await server.watch(every: Self.watchInterval) }
        let following = Task { await server.watchAnchors(every: Self.anchorInterval) }
        context.announceReadiness()
        await context.untilShutdown()
        reloading.cancel()
        watching.cancel()
        following.cancel()
        await server.shutDown(grace: Self.grace)
    }
}
