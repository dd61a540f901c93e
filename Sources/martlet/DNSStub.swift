import DNS
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Asks one DNS server and waits: by UDP and where that is cut short by TCP, or through resolverd's socket.
struct DNSStub {
    /// nil for `run/dns.sock`.
    var server: SocketAddress?
    /// How the server is asked where that isn't in plain text.
    var encryption: DNSEncryption?
    /// Whether UDP isn't tried first.
    var usesTCP = false
    /// How often a question is asked by UDP.
    var attempts = 3
    /// How long each attempt waits.
    var seconds: Int

    init(server: SocketAddress?) {
        self.server = server
        seconds = server == nil ? 15 : 3
    }

    /// An answer, how it came, and how long that took.
    struct Exchange {
        var answer: DNSMessage
        /// `udp`, `tcp`, `tls`, `https`, or `socket` for resolverd's own.
        var transport: String
        var milliseconds: Int
    }

    /// Why no answer came.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }

        static func system(_ what: String) -> Failure { Failure("\(what): \(String(cString: strerror(errno)))") }
    }

    static func complain(_ text: String) {
        let line = "martlet: \(text)\n"
        _ = write(STDERR_FILENO, line, line.utf8.count)
    }

    func ask(_ query: DNSMessage) throws -> DNSMessage { try exchange(query).answer }

    func exchange(_ query: DNSMessage) throws -> Exchange {
        let start = NIODeadline.now()
        var (answer, transport) = try send(query)
        // A server that knows nothing of EDNS (RFC 6891 §7).
        if query.edns != nil, answer.edns == nil, [.formatError, .notImplemented].contains(answer.responseCode) {
            var plain = query
            plain.edns = nil
            (answer, transport) = try send(plain)
        }
        let time = Int((NIODeadline.now() - start).nanoseconds / 1_000_000)
        return Exchange(answer: answer, transport: transport, milliseconds: time)
    }

    private func send(_ query: DNSMessage) throws -> (DNSMessage, String) {
        if let encryption { return (try encryption.ask(query, seconds: seconds), encryption.transport) }
        guard let server else {
            return (try askByStream(query, try SocketAddress(unixDomainSocketPath: "run/dns.sock")), "socket")
        }
        if !usesTCP {
            let answer = try askByDatagram(query, server)
            if !answer.flags.isTruncated { return (answer, "udp") }
        }
        return (try askByStream(query, server), "tcp")
    }

    private func askByDatagram(_ query: DNSMessage, _ server: SocketAddress) throws -> DNSMessage {
        let socket = try connected(server, CInt(SOCK_DGRAM.rawValue))
        defer { close(socket) }
        let octets = query.encode()
        for _ in 0..<attempts {
            guard Glibc.send(socket, octets, octets.count, CInt(MSG_NOSIGNAL)) == octets.count else {
                throw Failure.system("send")
            }
            let end = time(nil) + seconds
            while time(nil) < end {
                var buffer = [UInt8](repeating: 0, count: 65536)
                let count = recv(socket, &buffer, buffer.count, 0)
                if count < 0, errno == EAGAIN { break }
                guard count >= 0 else { throw Failure.system("receive") }
                if let answer = Self.matching(Array(buffer[..<count]), query) { return answer }
            }
        }
        throw Failure("no answer")
    }

    private func askByStream(_ query: DNSMessage, _ server: SocketAddress) throws -> DNSMessage {
        let socket = try connected(server, CInt(SOCK_STREAM.rawValue))
        defer { close(socket) }
        let octets = query.encode()
        let framed = [UInt8](integer: UInt16(truncatingIfNeeded: octets.count)) + octets
        guard Glibc.send(socket, framed, framed.count, CInt(MSG_NOSIGNAL)) == framed.count else {
            throw Failure.system("send")
        }
        let length = try receive(2, from: socket)
        let reply = try receive(Int(length[0]) << 8 | Int(length[1]), from: socket)
        guard let answer = Self.matching(reply, query) else { throw Failure("the answer is not to be understood") }
        return answer
    }

    /// The answer to a query that octets are; nil for anything else.
    static func matching(_ octets: [UInt8], _ query: DNSMessage) -> DNSMessage? {
        guard let answer = try? DNSMessage(decoding: octets), answer.id == query.id, answer.flags.isResponse,
            answer.questions == query.questions || answer.questions.isEmpty
        else { return nil }
        return answer
    }

    private func receive(_ wanted: Int, from socket: CInt) throws -> [UInt8] {
        var octets: [UInt8] = []
        while octets.count < wanted {
            var buffer = [UInt8](repeating: 0, count: wanted - octets.count)
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN { throw Failure("no answer") }
            guard count > 0 else { throw count == 0 ? Failure("the server closed") : Failure.system("receive") }
            octets += buffer[..<count]
        }
        return octets
    }

    private func connected(_ server: SocketAddress, _ type: CInt) throws -> CInt {
        let family: CInt =
            switch server {
            case .v4: AF_INET
            case .v6: AF_INET6
            case .unixDomainSocket: AF_UNIX
            }
        let descriptor = socket(family, type | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.system("socket") }
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
        guard server.withSockAddr({ connect(descriptor, $0, socklen_t($1)) }) == 0 else {
            defer { close(descriptor) }
            throw Failure.system("connect")
        }
        return descriptor
    }
}
