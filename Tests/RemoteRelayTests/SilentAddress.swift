import NIOCore
import Network
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// An address where no connection is refused and none comes about: as many wait there to be accepted as may.
final class SilentAddress {
    let address: SocketAddress
    private var sockets: [CInt] = []

    init() throws {
        let listening = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        sockets.append(listening)
        let any = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
        try #require(any.withSockAddr { bind(listening, $0, socklen_t($1)) } == 0 && listen(listening, 0) == 0)
        let port = try #require(InternetSocket.port(of: listening))
        address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        for _ in 0..<4 {
            let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
            sockets.append(client)
            _ = address.withSockAddr { connect(client, $0, socklen_t($1)) }
        }
    }

    deinit { for socket in sockets { close(socket) } }
}
