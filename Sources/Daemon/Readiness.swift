import CLinux

#if canImport(Glibc)
import Glibc
#endif

/// Tells the supervisor that the daemon serves: a newline on a descriptor (s6), and `READY=1` to `NOTIFY_SOCKET`
/// (systemd's sd_notify protocol). Both are opened before rights are given up.
struct Readiness: Sendable {
    private let descriptor: CInt?
    private let notifySocket: CInt?

    init(descriptor: CInt?) {
        self.descriptor = descriptor
        notifySocket = getenv("NOTIFY_SOCKET").flatMap { Self.connect(String(cString: $0)) }
        unsetenv("NOTIFY_SOCKET")
    }

    func announce() {
        if let descriptor {
            _ = write(descriptor, "\n", 1)
            close(descriptor)
        }
        if let notifySocket {
            let message = "READY=1\n"
            _ = send(notifySocket, message, message.utf8.count, CInt(MSG_NOSIGNAL))
        }
    }

    /// A datagram socket to a path, or to a name in the abstract space where the path begins with `@`.
    private static func connect(_ path: String) -> CInt? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var octets = Array(path.utf8)
        if octets.first == UInt8(ascii: "@") { octets[0] = 0 }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { space in
            guard octets.count < space.count else { return false }
            space.copyBytes(from: octets)
            return true
        }
        guard fits else { return nil }
        let socket = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return nil }
        let length = socklen_t(offset + octets.count + (octets.first == 0 ? 0 : 1))
        let connected = withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { pointer in
                pointer.baseAddress.map { Glibc.connect(socket, $0, length) == 0 } ?? false
            }
        }
        guard connected else {
            close(socket)
            return nil
        }
        return socket
    }
}
