import NIOCore
import TLS
import Network

#if canImport(Glibc)
import Glibc
#endif

/// What a daemon prepares with the rights that it was started with: sockets, keys, directories. No thread exists yet and
/// the working directory is the instance directory.
package final class Setup {
    package let configuration: Configuration
    /// Where the configuration was read, relative to the instance directory.
    package let configurationFile: String
    package let daemon: DaemonName
    /// What the daemon may do to files afterwards; by default, nothing.
    package var rights = Rights()

    /// A probe of the rights binds no sockets: it must not disturb a running daemon.
    private let isProbe: Bool

    init(configuration: Configuration, file: String, daemon: DaemonName, isProbe: Bool = false) {
        self.configuration = configuration
        configurationFile = file
        self.daemon = daemon
        self.isProbe = isProbe
    }

    /// Listens for TCP on each address.
    package func listen(_ addresses: [SocketAddress]) throws -> [CInt] {
        isProbe ? [] : try addresses.map { try InternetSocket.listen($0) }
    }

    /// Listens on a Unix-domain socket, relative to the instance directory (`run/queue.sock`).
    package func listen(unix path: String, mode: UInt32 = 0o666) throws -> CInt {
        isProbe ? -1 : try UnixSocket.listen(path, mode: mode)
    }

    /// Opens a directory for `openat` and for `rights`; it may be used although the daemon's user may not reach it.
    package func directory(_ path: String) throws(SetupError) -> CInt {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SetupError("open \(path)") }
        return descriptor
    }

    /// The text of a small file with a secret, which others than its owner and group mustn't be able to read.
    ///
    /// - Parameters:
    ///   - key: the setting that names the file.
    ///   - maximum: octets.
    package func secret(_ path: String, key: String, maximum: Int = 4096) throws(SetupError) -> String {
        guard let text = WholeFile.read(path, maximum: maximum) else { throw SetupError("read \(path) (\(key))") }
        var status = stat()
        guard stat(path, &status) == 0 else { throw SetupError("stat \(path) (\(key))") }
        guard status.st_mode & 0o007 == 0 else {
            throw SetupError(reason: "\(path) (\(key)) holds a secret, but everybody may read it", code: .configuration)
        }
        return text
    }

    /// TLS as servers speak it.
    ///
    /// - Parameters:
    ///   - keys: who has certificates and signs.
    ///   - protocols: what clients may negotiate by ALPN; where empty, ALPN is ignored.
    ///   - asksForCertificate: whether clients are asked for a certificate of `tls.client-authorities`.
    package func serverTLS(
        _ keys: any TLSKeys,
        protocols: [String] = [],
        asksForCertificate: Bool = false
    ) throws(SetupError) -> TLSContext {
        var settings = TLSServerSettings(configuration.tls)
        settings.protocols = protocols
        settings.clientAuthorities = asksForCertificate ? configuration.tls.clientAuthorities : nil
        do {
            return try TLSContext(server: keys, settings)
        } catch {
            throw SetupError(reason: "\(error)", code: .configuration)
        }
    }

    /// The uids of other daemons, for `BusServer`.
    package func uids(of daemons: [DaemonName]) -> Set<UInt32> { configuration.systemUsers.uids(of: daemons) }
}
