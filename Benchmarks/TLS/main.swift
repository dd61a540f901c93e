import Glibc
import Keys
import Logging
import NIOCore
import NIOPosix
import Network
import TLS

// tls-bench PORT files CERTIFICATE KEY: serves handshakes on 127.0.0.1 with the key in this process.
// tls-bench PORT keyd SOCKET: likewise with certificates and signatures of a keyd.

func serverContext(_ words: [String], on loop: any EventLoop) throws -> TLSContext {
    if words[1] == "files" { return try TLSContext(serverCertificate: words[2], privateKey: words[3]) }
    let keys = ServerKeys(hostname: "mail.example.test")
    keys.start(path: words[2], service: "imapd", on: loop, logger: Logger(label: "tls-bench"))
    return try TLSContext(server: keys, TLSServerSettings())
}

let words = Array(CommandLine.arguments.dropFirst())
guard words.count >= 3, let port = Int(words[0]) else {
    print("usage: tls-bench PORT files CERTIFICATE KEY | PORT keyd SOCKET")
    exit(64)
}
let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
let context = try serverContext(words, on: group.next())
let listener = Listener(group: group)
let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: port))
try await listener.accept(on: socket) { connection in
    connection.idleTimeout = .seconds(10)
    guard (try? await connection.startTLS(server: context, reply: nil, isBegun: true)) != nil else { return }
    while (try? await connection.receive()) == true { connection.input.clear() }
}
_ = write(STDOUT_FILENO, "ready\n", 6)
while true { await group.next().pause(.hours(1)) }
