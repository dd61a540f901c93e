import DNS
import NIOCore

/// A zone of `[resolverd.zones]`: a master file, or a table that says more.
package struct LocalZoneConfiguration: Hashable, Sendable {
    /// Another server of the zone: where it is, and the key that messages to it are signed with.
    package struct Peer: Hashable, Sendable {
        package var address: SocketAddress
        package var key: DomainName?

        package init(address: SocketAddress, key: DomainName? = nil) {
            self.address = address
            self.key = key
        }
    }

    /// How a zone is signed as it's asked.
    package enum Signing: String, CaseIterable, Sendable { case ecdsap256sha256, ed25519 }

    /// How a signed zone proves that something isn't there.
    package enum Denial: String, CaseIterable, Sendable { case compact, nsec3 }

    /// The zone's top.
    package var origin: DomainName
    /// The master file, relative to the instance.
    package var file: String
    /// Who gets answers from the zone; nil for everybody.
    package var allowQuery: AccessList?
    /// Who gets the whole zone.
    package var allowTransfer = AccessList()
    /// Who is told of changes.
    package var notify: [Peer] = []
    /// Where a secondary zone is had from; empty for a zone of our own.
    package var primaries: [Peer] = []
    /// Addresses that we come from when we talk to other servers of the zone; port 0. The system chooses where there is
    /// none of the other's family.
    package var sources: [SocketAddress] = []
    /// Who may change what.
    package var update: [UpdateRule] = []
    /// nil for a zone that is as its file says.
    package var sign: Signing?
    package var denial = Denial.compact

    /// Whether the zone is had from other servers.
    package var isSecondary: Bool { !primaries.isEmpty }

    /// Whether anybody gets the whole zone.
    package var isTransferred: Bool { !allowTransfer.networks.isEmpty || !allowTransfer.keys.isEmpty }

    /// Whether resolverd itself writes the zone's file.
    package var isWritten: Bool { isSecondary || !update.isEmpty }

    package init(origin: DomainName, file: String) {
        self.origin = origin
        self.file = file
    }

    /// Where to come from when another server is talked to; nil for wherever the system chooses.
    package func source(to other: SocketAddress) -> SocketAddress? {
        sources.first { $0.protocol == other.protocol }
    }

    /// Where resolverd keeps what it writes, relative to the instance.
    package static let stateDirectory = "dns"

    /// The name of a zone's own files in the state directory, to which endings such as `.journal` are added.
    package static func stateName(_ origin: DomainName) -> String {
        let text = origin.lowercased.description
        guard !origin.isRoot else { return "root" }
        return String(text.hasSuffix(".") ? text.dropLast() : text[...]).split(
            separator: "/",
            omittingEmptySubsequences: false
        ).joined(separator: "%2F")
    }

    /// - Parameters:
    ///   - key: the zone's name in `table`.
    ///   - keys: the names in `[resolverd.keys]`.
    init(_ table: ConfigurationTable, _ key: String, keys: Set<DomainName>) throws(ConfigurationError) {
        origin = try table.name(key, key)
        guard table.isTable(key) else {
            guard let file = try? table.string(key) else { throw table.error(key, "must be a master file or a table") }
            self.file = file
            return
        }
        let zone = try table.table(key)
        let standard = "\(Self.stateDirectory)/\(Self.stateName(origin))"
        primaries = try Self.peers(zone, "primaries")
        guard let file = try zone.string("file") ?? (primaries.isEmpty ? nil : standard) else {
            throw table.error(key, "needs a file")
        }
        self.file = file
        if zone.keys.contains("allow-query") { allowQuery = try AccessList(zone, "allow-query") }
        allowTransfer = try AccessList(zone, "allow-transfer")
        notify = try Self.peers(zone, "notify")
        sources = try zone.addresses("source-addresses", port: 0)
        for text in try zone.strings("update") {
            do {
                update.append(try UpdateRule(text))
            } catch {
                throw zone.error("update", "\"\(text)\" is no rule: \(error.reason)")
            }
        }
        if try zone.string("sign") != nil { sign = try zone.choice("sign", default: .ecdsap256sha256) }
        denial = try zone.choice("denial", default: .compact)
        try checkKeys(zone, keys)
        try checkFile(zone, table, key)
    }

    private func checkKeys(_ zone: ConfigurationTable, _ keys: Set<DomainName>) throws(ConfigurationError) {
        let used: [(String, [DomainName])] = [
            ("allow-query", Array(allowQuery?.keys ?? [])), ("allow-transfer", Array(allowTransfer.keys)),
            ("notify", notify.compactMap(\.key)), ("primaries", primaries.compactMap(\.key)),
            ("update", update.map(\.key)),
        ]
        for (setting, names) in used {
            for name in names where !keys.contains(name) {
                throw zone.error(setting, "the key \(name) isn't in [resolverd.keys]")
            }
        }
    }

    /// What resolverd writes must be where it may write, and where nothing else is.
    private func checkFile(
        _ zone: ConfigurationTable,
        _ table: ConfigurationTable,
        _ key: String
    ) throws(ConfigurationError) {
        if isSecondary, !update.isEmpty { throw zone.error("update", "a secondary zone can't be changed here") }
        guard isWritten else { return }
        let name = file.split(separator: "/", omittingEmptySubsequences: false)
        guard name.count == 2, name[0] == Self.stateDirectory, !name[1].isEmpty, name[1].first != ".",
            name[1].utf8.count <= 200
        else {
            throw zone.error("file", "must lie in \(Self.stateDirectory)/, where resolverd may write")
        }
        let endings = [".journal", ".new", ".edited", ".state"]
        guard !["keys", "trust-anchors"].contains(name[1]), !endings.contains(where: { name[1].hasSuffix($0) }) else {
            throw zone.error("file", "that name is for resolverd's own files")
        }
        guard Self.stateName(origin).utf8.count <= 200 else { throw table.error(key, "too long a name for files") }
    }

    /// Other servers: `ADDRESS[:PORT]` or `ADDRESS[:PORT] key NAME`.
    private static func peers(_ zone: ConfigurationTable, _ key: String) throws(ConfigurationError) -> [Peer] {
        var peers: [Peer] = []
        for text in try zone.strings(key) {
            let words = text.split(separator: " ", maxSplits: 1)
            let signer = words.count == 2 ? try zone.keyName(String(words[1]), key) : nil
            guard let first = words.first, let address = ConfigurationTable.address(String(first), port: 53),
                words.count == 1 || signer != nil
            else {
                throw zone.error(
                    key,
                    "\"\(text)\" is not a server such as \"192.0.2.1:53\" or \"192.0.2.1:53 key NAME\""
                )
            }
            peers.append(Peer(address: address, key: signer))
        }
        return peers
    }
}
