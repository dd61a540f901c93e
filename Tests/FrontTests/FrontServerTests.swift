import Front
import NIOCore
import Network
import TLS
import Testing

@Suite struct FrontServerTests {
    @Test func clientsBeginTLSWhenTheyWant() async throws {
        try await EchoServer.run { server in
            let client = try await server.connect()
            #expect(try await client.answer() == "hello 127.0.0.1 true true")
            // What stands behind the request is thrown away.
            #expect(try await client.say("TLS\nQUIT") == "go")
            try await client.startTLS(client: try TLSContext(clientVerifying: false), serverName: nil)
            #expect(try await client.say("TLS") == "TLS is already active")
            client.close()
        }
    }

    @Test func tlsComesFirstWhereTheRoleSaysSo() async throws {
        try await EchoServer.run({ $0.allowsPlaintextOnLoopback = false }) { server in
            let client = try await server.connect(.encrypted)
            try await client.startTLS(client: try TLSContext(clientVerifying: false), serverName: nil)
            #expect(try await client.answer() == "hello 127.0.0.1 false true")
            client.close()
            let plain = try await server.connect()
            #expect(try await plain.answer() == "hello 127.0.0.1 true false")
            plain.close()
        }
    }

    @Test func withoutACertificateThereIsNoTLS() async throws {
        try await EchoServer.run(hasCertificate: false) { server in
            let client = try await server.connect()
            #expect(try await client.answer() == "hello 127.0.0.1 false true")
            #expect(try await client.say("TLS") == "TLS is not available")
            client.close()
            #expect(try await server.connect(.encrypted).answer() == "")
        }
    }

    @Test(arguments: [true, false])
    func thoseOverALimitAreToldSo(perClient: Bool) async throws {
        try await EchoServer.run({
            if perClient { $0.connections.perClient = 1 } else { $0.connections.connections = 1 }
        }) { server in
            let first = try await server.connect()
            #expect(try await first.answer().hasPrefix("hello"))
            let second = try await server.connect()
            #expect(try await second.answer() == (perClient ? "tooManyFromClient" : "tooManyConnections"))
            // The other port has places of its own. Before TLS nothing can be said.
            let third = try await server.connect(.encrypted)
            #expect(try await server.connect(.encrypted).answer() == "")
            third.close()
            first.close()
            second.close()
        }
    }

    @Test func faultsAreCounted() async throws {
        try await EchoServer.run({ $0.maximumErrors = 3 }) { server in
            let client = try await server.connect()
            _ = try await client.answer()
            #expect(try await client.say("a\nb\nc\nd") == "2 left")
            #expect(try await client.answer() == "1 left")
            #expect(try await client.answer() == "0 left")
            #expect(try await client.answer() == "")
            client.close()
        }
    }

    /// The first half of the faults costs nothing, each further one more than the one before.
    @Test func manyFaultsMakeTheClientWait() async throws {
        try await EchoServer.run({
            $0.maximumErrors = 4
            $0.errorDelay = .milliseconds(100)
        }) { server in
            let client = try await server.connect()
            _ = try await client.answer()
            for fault in 1...4 {
                let start = NIODeadline.now()
                #expect(try await client.say("nonsense") == "\(4 - fault) left")
                let time = NIODeadline.now() - start
                #expect(time >= .milliseconds(100) * max(0, fault - 2))
                if fault <= 2 { #expect(time < .milliseconds(100)) }
            }
            client.close()
        }
    }

    @Test func theWholeTimeIsLimited() async throws {
        try await EchoServer.run({ $0.sessionTimeout = .milliseconds(200) }) { server in
            let client = try await server.connect()
            _ = try await client.answer()
            let start = NIODeadline.now()
            while try await client.say("TLS is no command with three words") != "" {
                guard NIODeadline.now() - start < .seconds(10) else { break }
            }
            #expect(NIODeadline.now() - start < .seconds(10))
            client.close()
        }
    }
}

/// AUTH as all three protocols have it.
@Suite struct AuthenticationTests {
    /// `\0alice\0secret`, `\0alice\0wrong`, `\0alice\0later`.
    private static let right = "AGFsaWNlAHNlY3JldA=="
    private static let wrong = "AGFsaWNlAHdyb25n"
    private static let later = "AGFsaWNlAGxhdGVy"
    private static let accepted = #"accepted(address: "alice@example.test")"#

    @Test(
        arguments: [
            (["AUTH PLAIN \(right)"], [accepted]),
            (["AUTH PLAIN", right], ["? ", accepted]),
            (["AUTH LOGIN", "YWxpY2U=", "c2VjcmV0"], ["? VXNlcm5hbWU6", "? UGFzc3dvcmQ6", accepted]),
            (["AUTH LOGIN YWxpY2U=", "c2VjcmV0"], ["? UGFzc3dvcmQ6", accepted]),
            (["AUTH PLAIN \(wrong)", "AUTH PLAIN \(right)"], ["wrong", accepted]),
            (["AUTH PLAIN \(later)"], ["unavailable"]),
            (["AUTH CRAM-MD5"], ["unknownMechanism"]), (["AUTH"], ["unknownMechanism"]),
            (["AUTH PLAIN", "*"], ["? ", "cancelled"]),
            (["AUTH LOGIN", "YWxpY2U=", "*"], ["? VXNlcm5hbWU6", "? UGFzc3dvcmQ6", "cancelled"]),
            (["AUTH SCRAM-SHA-256", "cmlnaHQ=", "cmlnaHQ=", ""], ["? ", "? bW9yZQ==", "? cmlnaHQ=", accepted]),
            (["AUTH SCRAM-SHA-1 cmlnaHQ=", "cmlnaHQ=", ""], ["? bW9yZQ==", "? cmlnaHQ=", accepted]),
            (["AUTH SCRAM-SHA-1 cmlnaHQ=", "cmlnaHQ=", "*"], ["? bW9yZQ==", "? cmlnaHQ=", "cancelled"]),
            (["AUTH SCRAM-SHA-1 cmlnaHQ=", "cmlnaHQ=", "AAAA"], ["? bW9yZQ==", "? cmlnaHQ=", "malformed"]),
            (["AUTH SCRAM-SHA-1 cmlnaHQ=", "AAAA"], ["? bW9yZQ==", "wrong"]),
            (["AUTH SCRAM-SHA-1 AAAA"], ["wrong"]),
            // -PLUS needs TLS, tokens a provider, EXTERNAL a certificate.
            (["AUTH SCRAM-SHA-256-PLUS"], ["unknownMechanism"]), (["AUTH OAUTHBEARER"], ["unknownMechanism"]),
            (["AUTH EXTERNAL ="], ["unknownMechanism"]),
            (["CAPA"], ["SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"]),
            (["AUTH PLAIN *"], ["notBase64"]), (["AUTH PLAIN", "!"], ["? ", "notBase64"]),
            (["AUTH PLAIN ="], ["malformed"]), (["AUTH PLAIN", "Zm9v"], ["? ", "malformed"]),
            (["AUTH LOGIN", ""], ["? VXNlcm5hbWU6", "malformed"]),
            (["AUTH PLAIN", String(repeating: "A", count: 1000), "TLS"], ["? ", "lineTooLong", "go"]),
        ]
    )
    func exchanges(lines: [String], answers: [String]) async throws {
        try await EchoServer.run { server in
            let client = try await server.connect()
            _ = try await client.answer()
            for (line, answer) in zip(lines, answers) { #expect(try await client.say(line) == answer) }
            client.close()
        }
    }

    @Test func withoutAuthdNobodyCanSay() async throws {
        try await EchoServer.run({ $0.authoritySocket = "/nonexistent/auth.sock" }) { server in
            let client = try await server.connect()
            _ = try await client.answer()
            #expect(try await client.say("AUTH PLAIN \(Self.right)") == "unavailable")
            client.close()
        }
    }

    @Test func aClientThatGoesEndsTheExchange() async throws {
        try await EchoServer.run { server in
            let client = try await server.connect()
            _ = try await client.answer()
            #expect(try await client.say("AUTH PLAIN") == "? ")
            client.endOutput()
            #expect(try await client.answer().isEmpty)
        }
    }
}
