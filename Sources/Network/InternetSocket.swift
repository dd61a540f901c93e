import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A socket could not be made; what was wanted and the system's reason.
package struct SocketError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ what: String) { description = "\(what): \(String(cString: strerror(errno)))" }

    init(_ what: String, reason: String) { description = "\(what): \(reason)" }
}

/// Sockets for TCP and UDP, made while the process has the right to, by plain system calls: no thread exists yet.
package enum InternetSocket {
    /// The kernel's receive buffer of a connection. Octets. When a peer closes, all that is in this buffer is read at
    /// once in spite of backpressure, so it bounds what one connection can put into our memory.
    static let receiveBuffer = 256 * 1024

    /// Binds and listens for TCP.
    package static func listen(_ address: SocketAddress) throws(SocketError) -> CInt {
        let socket = try bound(address, type: CInt(SOCK_STREAM.rawValue))
        guard Glibc.listen(socket, 1024) == 0 else {
            defer { Glibc.close(socket) }
            throw SocketError("listen on \(address)")
        }
        return socket
    }

    /// Binds for UDP.
    package static func datagram(_ address: SocketAddress) throws(SocketError) -> CInt {
        try bound(address, type: CInt(SOCK_DGRAM.rawValue))
    }

    private static func bound(_ address: SocketAddress, type: CInt) throws(SocketError) -> CInt {
        let isV6 = address.protocol == .inet6
        let socket = Glibc.socket(isV6 ? AF_INET6 : AF_INET, type | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw SocketError("bind \(address)") }
        var on: CInt = 1
        let length = socklen_t(MemoryLayout<CInt>.size)
        if type == CInt(SOCK_STREAM.rawValue) {
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, length)
            // Connections have it from their listener.
            setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &on, length)
        }
        var octets = CInt(receiveBuffer)
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &octets, length)
        if isV6 { setsockopt(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &on, length) }
        let isBound = address.withSockAddr { pointer, size in bind(socket, pointer, socklen_t(size)) == 0 }
        guard isBound else {
            defer { Glibc.close(socket) }
            throw SocketError("bind \(address)")
        }
        return socket
    }

    /// The port of a bound socket; nil where the system doesn't tell.
    package static func port(of socket: CInt) -> Int? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let told = withUnsafeMutableBytes(of: &storage) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { pointer in
                pointer.baseAddress.map { getsockname(socket, $0, &length) == 0 } ?? false
            }
        }
        guard told, length >= 4 else { return nil }
        // sockaddr_in and sockaddr_in6 both have the port behind the family, in network order.
        return withUnsafeBytes(of: storage) { Int($0[2]) << 8 | Int($0[3]) }
    }
}

extension InternetSocket {
    /// A UDP socket that is connected to a server, so that the system drops what comes from elsewhere, and bound to a port of
    /// our own choice: the system chooses from fewer. nil when the system gives none.
    ///
    /// - Parameter source: the address to come from, where it matters.
    package static func connectedDatagram(
        to server: SocketAddress,
        from source: SocketAddress? = nil,
        _ random: RandomReserve = RandomReserve()
    ) -> CInt? {
        var random = random
        let isV6 = server.protocol == .inet6
        let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(isV6 ? AF_INET6 : AF_INET, type, 0)
        guard socket >= 0 else { return nil }
        for _ in 0..<8 {
            guard var local = try? source ?? SocketAddress(ipAddress: isV6 ? "::" : "0.0.0.0", port: 0) else {
                continue
            }
            local.port = Int.random(in: 1024...65535, using: &random)
            if local.withSockAddr({ bind(socket, $0, socklen_t($1)) }) == 0 { break }
        }
        // Where no attempt found a free port, the system chooses one now.
        guard server.withSockAddr({ connect(socket, $0, socklen_t($1)) }) == 0 else {
            Glibc.close(socket)
            return nil
        }
        return socket
    }
}
