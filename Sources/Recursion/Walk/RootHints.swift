import DNS
import Daemon
import NIOCore

/// Where recursion starts: servers of the root zone, of which one is asked for the current ones (RFC 8109).
package struct RootHints: Sendable {
    /// The servers' names with their addresses.
    let servers: [DomainName: [SocketAddress]]

    /// Hints from a master file's octets.
    ///
    /// - Parameter port: where servers of zones listen.
    /// - Throws: `MasterFileError` for what isn't a master file, or names no server with an address.
    package init(_ octets: [UInt8], file: String, port: Int = 53) throws(MasterFileError) {
        let records = try MasterFile.parse(octets, file: file, origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: "hints include nothing"))
        }
        var servers: [DomainName: [SocketAddress]] = [:]
        let hosts = Set(records.map(\.record).filter { $0.type == .ns && $0.name.isRoot }.compactMap(\.target))
        for record in records.map(\.record) where hosts.contains(record.name) {
            guard let address = record.socketAddress(port: port) else { continue }
            servers[record.name, default: []].append(address)
        }
        guard !servers.isEmpty else {
            throw MasterFileError(file: file, line: 0, reason: "names no server of the root with an address")
        }
        self.servers = servers
    }
}

extension ResourceRecord {
    /// The address of an A or AAAA record; nil for other types.
    func socketAddress(port: Int) -> SocketAddress? {
        guard let octets = addressOctets else { return nil }
        return try? SocketAddress(packedIPAddress: ByteBuffer(bytes: octets), port: port)
    }
}
