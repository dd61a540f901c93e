import DNS
import DNSFixtures
import NIOCore
import NIOPosix
import Network
import TLS
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let zone = """
    $TTL 3600
    @ SOA ns root 7 3600 900 604800 300
      NS ns
    ns A 192.0.2.1
    mail A 192.0.2.2
    $GENERATE 1-100 big A 10.0.0.$
    """

struct EncryptedServerTests {
    /// Runs a test with a resolver that answers by DNS over TLS, or over HTTPS where there is a path.
    private func with(
        path: String? = nil,
        protocols: [String] = [],
        records: String = "",
        configure: (inout ResolverSettings) -> Void = { _ in },
        _ body: @escaping @Sendable (TestResolver, Client) async throws -> Void
    ) async throws {
        let certificate = try TestCertificate()
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let offered = path == nil ? EncryptedListener.tlsProtocols : HTTPSSession.protocols
        let listener = EncryptedListener(
            socket: socket,
            context: try certificate.server(protocols: offered),
            path: path
        )
        let context = try certificate.client(protocols: protocols)
        try await TestResolver.with(zones: ["example.test": zone + records], configure: configure) {
            (resolver, _) async throws in
            try await resolver.server.start(listener)
            try await body(resolver, Client(port: port, context: context))
        }
    }

    /// Talks to the resolver over TLS.
    struct Client: Sendable {
        let port: Int
        let context: TLSContext

        func talk<Value: Sendable>(
            _ body: @escaping @Sendable (Connection) async throws -> Value
        ) async throws -> Value {
            let (port, context) = (port, context)
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            return try await Task(executorPreference: LoopExecutor.of(loop)) {
                try await Connection.tls(port, context, on: loop, body)
            }.value
        }

        /// Asks by DNS over TLS.
        func ask(_ query: DNSMessage) async throws -> (message: DNSMessage, octets: Int) {
            try await talk { connection in
                let octets = query.encode()
                connection.write { $0.writeInteger(UInt16(octets.count)) }
                connection.write(octets)
                try await connection.flush()
                var length = try await connection.readExactly(2)
                let answer = try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0))
                return (try DNSMessage(decoding: answer), answer.readableBytes)
            }
        }

        /// Sends a request of HTTP/1.1 and gives the status, the head and the body of the response.
        func request(_ head: String, body: [UInt8] = []) async throws -> (status: Int, head: String, body: [UInt8]) {
            try await talk { connection in
                connection.write(head)
                connection.write(body)
                try await connection.flush()
                return try await Self.response(connection)
            }
        }

        static func response(_ connection: Connection) async throws -> (status: Int, head: String, body: [UInt8]) {
            var head = ""
            var length = 0
            while let line = try await connection.readLine(maximum: 1000), line.readableBytes > 0 {
                let text = String(buffer: line)
                head += text + "\n"
                if text.lowercased().hasPrefix("content-length: ") { length = Int(text.dropFirst(16)) ?? 0 }
            }
            let body = length > 0 ? Array(try await connection.readExactly(length).readableBytesView) : []
            return (Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0, head, body)
        }
    }

    private static func query(_ name: String, options: [EDNS.Option] = []) throws -> DNSMessage {
        var query = DNSMessage.query(id: 4711, question: Question(name: try DomainName(name), type: .a))
        query.edns?.options = options
        return query
    }

    private static let padding = EDNS.Option(code: 12, data: [0, 0])
    private static let keepalive = EDNS.Option(code: 11, data: [])

    // MARK: TLS

    @Test func answersArePaddedForThoseWhoPad() async throws {
        try await with { (_, client) async throws in
            for _ in 0..<3 {
                let bare = try await client.ask(try Self.query("mail.example.test"))
                #expect(bare.message.edns?.options == [])
                #expect(bare.octets < 100)
                let padded = try await client.ask(try Self.query("mail.example.test", options: [Self.padding]))
                #expect(padded.octets == 468)
                #expect(padded.message.edns?.options.map(\.code) == [12])
                #expect(padded.message.answers == bare.message.answers)
                let long = try await client.ask(try Self.query("big.example.test", options: [Self.padding]))
                #expect(long.octets == 1872)
                #expect(long.message.answers.count == 100)
                let both = [Self.padding, Self.keepalive]
                let told = try await client.ask(try Self.query("mail.example.test", options: both))
                #expect(told.octets == 468)
                #expect(told.message.edns?.options.first == .keepalive(.seconds(30)))
            }
        }
    }

    @Test func keepaliveIsToldOnStreamsAndPaddingIsNotUnencrypted() async throws {
        try await with { (resolver, _) async throws in
            for _ in 0..<3 {
                let query = try Self.query("mail.example.test", options: [Self.padding, Self.keepalive])
                #expect(try await resolver.ask(query).edns?.options == [], "by UDP nothing is told")
                let octets = query.encode()
                let framed = [0, UInt8(octets.count)] + octets
                let answer = try #require(try await resolver.stream(framed, answers: 1).first)
                #expect(answer.edns?.options == [.keepalive(.seconds(30))])
                #expect(answer.answers.count == 1)
                var plain = query
                plain.edns = nil
                #expect(try await resolver.ask(plain).edns == nil)
            }
        }
    }

    /// A crowd by DNS over TLS takes no place from others.
    @Test func eachKindOfConnectionHasPlacesOfItsOwn() async throws {
        try await with(configure: { $0.maximumConnections = 1 }) { (resolver, client) async throws in
            let answer = try await client.talk { connection in
                let octets = try Self.query("mail.example.test").encode()
                let framed = [0, UInt8(octets.count)] + octets
                var other: DNSMessage?
                for turn in 0..<2 {
                    connection.write(framed)
                    try await connection.flush()
                    var length = try await connection.readExactly(2)
                    _ = try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0))
                    // While this connection is there another one by TCP is answered, and this one goes on.
                    if turn == 0 { other = try await resolver.stream(framed, answers: 1).first }
                }
                return other
            }
            #expect(answer?.answers.count == 1)
        }
    }

    @Test func otherProtocolsAreRefused() async throws {
        try await with(protocols: ["h2", "http/1.1"]) { (_, client) async throws in
            await #expect(throws: ConnectionError.self) {
                try await client.ask(try Self.query("mail.example.test"))
            }
        }
        try await with(protocols: ["x", "dot"]) { (_, client) async throws in
            #expect(try await client.talk { $0.tls?.applicationProtocol } == "dot")
            #expect(try await client.ask(try Self.query("mail.example.test")).message.answers.count == 1)
        }
    }

    /// The end of a client's TLS ends what it asks, not what it's answered.
    @Test func aClientThatHasClosedItsSideIsAnswered() async throws {
        try await with { (_, client) async throws in
            let answer = try await client.talk { connection in
                let octets = try Self.query("mail.example.test").encode()
                connection.write { $0.writeInteger(UInt16(octets.count)) }
                connection.write(octets)
                try await connection.flush()
                connection.endOutput()
                var length = try await connection.readExactly(2)
                let answer = try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0))
                return try DNSMessage(decoding: answer)
            }
            #expect(answer.answers.count == 1)
        }
        try await with(path: "/dns-query", protocols: ["http/1.1"]) { (_, client) async throws in
            let status = try await client.talk { connection in
                let octets = try Self.query("mail.example.test").encode()
                connection.write(Self.post(octets, close: false))
                connection.write(octets)
                try await connection.flush()
                connection.endOutput()
                return try await Client.response(connection).status
            }
            #expect(status == 200)
        }
    }

    // MARK: HTTPS

    private static func post(_ octets: [UInt8], _ fields: String = "", close: Bool = true) -> String {
        "POST /dns-query HTTP/1.1\r\nHost: dns.test\r\nContent-Type: application/dns-message\r\n"
            + "Content-Length: \(octets.count)\r\n\(close ? "Connection: close\r\n" : "")\(fields)\r\n"
    }

    @Test func oneRequestAfterTheOther() async throws {
        try await with(path: "/dns-query") { (_, client) async throws in
            let mail = try Self.query("mail.example.test").encode()
            let missing = try Self.query("no.example.test").encode()
            let encoded = String(decoding: RadixCoding.base64url.encode(mail), as: UTF8.self)
            try await client.talk { connection in
                for _ in 0..<3 {
                    // Three at once, of which one is for nobody.
                    connection.write(Self.post(mail, close: false))
                    connection.write(mail)
                    connection.write("GET /other HTTP/1.1\r\nHost: dns.test\r\n\r\n")
                    connection.write("GET /dns-query?dns=\(encoded) HTTP/1.1\r\nHost: dns.test\r\n\r\n")
                    connection.write(Self.post(missing, close: false))
                    connection.write(missing)
                    try await connection.flush()
                    let first = try await Client.response(connection)
                    #expect(first.status == 200)
                    #expect(first.head.contains("content-type: application/dns-message\n"))
                    #expect(first.head.contains("cache-control: max-age=3600\n"))
                    #expect(first.head.contains(" GMT\n"))
                    #expect(try DNSMessage(decoding: first.body).answerLines == ["mail.example.test. A 192.0.2.2"])
                    #expect(try await Client.response(connection).status == 404)
                    #expect(try await Client.response(connection).body == first.body)
                    let last = try await Client.response(connection)
                    #expect(last.head.contains("cache-control: max-age=300\n"))
                    #expect(try DNSMessage(decoding: last.body).responseCode == .nameError)
                }
            }
        }
    }

    @Test func answersOverHTTPSArePadded() async throws {
        try await with(path: "/dns-query") { (_, client) async throws in
            for _ in 0..<2 {
                let options = [Self.padding, Self.keepalive]
                let octets = try Self.query("mail.example.test", options: options).encode()
                let response = try await client.request(Self.post(octets), body: octets)
                #expect(response.body.count == 468)
                #expect(try DNSMessage(decoding: response.body).edns?.options.map(\.code) == [12])
            }
        }
    }

    @Test func wrongRequests() async throws {
        try await with(path: "/dns-query") { (_, client) async throws in
            let octets = try Self.query("mail.example.test").encode()
            let host = "Host: dns.test\r\n"
            #expect(
                try await client.request("PUT /dns-query HTTP/1.1\r\n\(host)\r\n").head.contains("allow: GET, POST\n")
            )
            #expect(try await client.request("GET /dns-query HTTP/1.1\r\n\(host)\r\n").status == 400)
            #expect(try await client.request("rubbish\r\n\r\n").status == 400)
            #expect(try await client.request("GET / HTTP/1.1\r\n\(host)\r\n").status == 404)
            #expect(try await client.request(Self.post(octets, "Accept: text/html\r\n"), body: octets).status == 406)
            // The body's length is refused before it's there.
            let announced = "POST /dns-query HTTP/1.1\r\n\(host)Content-Type: application/dns-message\r\n"
            #expect(try await client.request(announced + "Content-Length: 70000\r\n\r\n").status == 413)
            let filler = "X-Filler: " + String(repeating: "x", count: 17_000) + "\r\n"
            #expect(try await client.request("GET / HTTP/1.1\r\n\(host)\(filler)\r\n").status == 431)
            // A query that is none for DNS is answered by DNS.
            let cut = Array(octets.dropLast(12))
            let response = try await client.request(Self.post(cut), body: cut)
            #expect(response.status == 200)
            #expect(response.head.contains("cache-control: max-age=0\n"))
            #expect(try DNSMessage(decoding: response.body).responseCode == .formatError)
        }
    }

    @Test func bodiesInPieces() async throws {
        try await with(path: "/resolve") { (_, client) async throws in
            let octets = try Self.query("mail.example.test").encode()
            let head =
                "POST /resolve HTTP/1.1\r\nHost: dns.test\r\nContent-Type: application/dns-message\r\n"
                + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
            try await client.talk { connection in
                connection.write(head)
                try await connection.flush()
                #expect(try await Client.response(connection).status == 100)
                for octet in octets {
                    connection.write("1\r\n")
                    connection.write([octet])
                    connection.write("\r\n")
                    try await connection.flush()
                }
                connection.write("0\r\n\r\n")
                try await connection.flush()
                let response = try await Client.response(connection)
                #expect(response.status == 200)
                #expect(try DNSMessage(decoding: response.body).answers.count == 1)
            }
        }
    }

    @Test func silentAndSlowClientsAreLetGo() async throws {
        try await with(path: "/dns-query") {
            $0.idleTimeout = .milliseconds(300)
        } _: { (_, client) async throws in
            for beginning in ["", "POST /dns-query HTT", Self.post([0, 0, 0]) + "a"] {
                let isOver = try await client.talk { connection in
                    connection.write(beginning)
                    try await connection.flush()
                    while let isMore = try? await connection.receive(), isMore { connection.input.clear() }
                    return connection.hasEnded
                }
                #expect(isOver)
            }
        }
    }

    /// With more for it than the kernel takes when the daemon ends. The end of its connection is its own affair: it gets whole
    /// responses, and nothing else ends.
    @Test(.timeLimit(.minutes(1))) func aClientThatDoesNotRead() async throws {
        let records = (0..<200).map { "\nlong TXT \"\($0) \(String(repeating: "x", count: 240))\"" }.joined() + "\n"
        try await with(path: "/dns-query", protocols: ["http/1.1"], records: records) {
            (resolver, client) async throws in
            let question = Question(name: try DomainName("long.example.test"), type: .txt)
            let octets = DNSMessage.query(id: 1, question: question).encode()
            let count = try await client.talk { connection in
                for _ in 0..<300 {
                    connection.write(Self.post(octets, close: false))
                    connection.write(octets)
                }
                try await connection.flush()
                // Until the server has answered as much as it may.
                await connection.eventLoop.pause(.seconds(1))
                async let end: Void = resolver.server.shutDown(grace: .seconds(20))
                // Longer than it waits for responses that are under way.
                await connection.eventLoop.pause(.seconds(3))
                var count = 0
                while true {
                    let response = try await Client.response(connection)
                    if response.status == 0 { break }
                    // It's told that it asks for too much, behind what is kept for it.
                    guard response.status == 200 else { continue }
                    #expect(response.body.count > 48_000)
                    count += 1
                }
                await end
                return count
            }
            #expect(count > 0 && count < 300)
        }
    }

    @Test func accessIsThatOfOtherTransports() async throws {
        try await with(path: "/dns-query") {
            $0.allowRecursion = []
        } _: { (_, client) async throws in
            let octets = try Self.query("www.example.net").encode()
            let response = try await client.request(Self.post(octets), body: octets)
            #expect(try DNSMessage(decoding: response.body).responseCode == .refused)
            let local = try Self.query("mail.example.test").encode()
            #expect(try await client.request(Self.post(local), body: local).status == 200)
        }
    }
}
