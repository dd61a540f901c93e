import NIOCore
import NIOPosix
import Network
import TLS
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct TLSConnectionTests {
    /// A self-signed certificate made by the openssl command.
    private static let server: TLSContext? = {
        let base = "/tmp/martlet-tls-\(getpid())"
        defer {
            unlink("\(base).crt")
            unlink("\(base).key")
        }
        let command =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mail.example.test"
            + " -keyout \(base).key -out \(base).crt 2>/dev/null"
        guard system(command) == 0 else { return nil }
        return try? TLSContext(serverCertificate: "\(base).crt", privateKey: "\(base).key")
    }()

    private func echo(_ connection: Connection) async {
        while let line = try? await connection.readLine(maximum: 1 << 20) {
            connection.write("echo ")
            connection.write(line)
            connection.write("\n")
            guard (try? await connection.flush()) != nil else { return }
        }
    }

    @Test func octetsPassBothWays() async throws {
        let server = try #require(Self.server)
        let client = try TLSContext(clientVerifying: false)
        let long = String(repeating: "x", count: 500_000)
        let (first, second, version) = try await Pair.run { connection in
            do { try await connection.startTLS(server: server, reply: nil) } catch { return }
            await echo(connection)
        } client: { connection in
            try await connection.startTLS(client: client, serverName: "mail.example.test")
            connection.write("one\n\(long)\n")
            try await connection.flush()
            let first = try await connection.readLine(maximum: 100).map { String(buffer: $0) }
            let second = try await connection.readLine(maximum: 1 << 20).map { String(buffer: $0) }
            return (first, second, connection.tls?.version)
        }
        #expect(first == "echo one")
        #expect(second == "echo \(long)")
        #expect(version == "TLSv1.3")
    }

    @Test func whatCameBehindTheRequestForTLSIsThrownAway() async throws {
        let server = try #require(Self.server)
        let client = try TLSContext(clientVerifying: false)
        let answer = try await Pair.run { connection in
            guard (try? await connection.readLine(maximum: 100)) != nil else { return }
            do {
                try await connection.startTLS(server: server, reply: ByteBuffer(string: "go\n"))
            } catch { return }
            await echo(connection)
        } client: { connection in
            connection.write("STARTTLS\ninjected\n")
            try await connection.flush()
            _ = try await connection.readLine(maximum: 100)
            try await connection.startTLS(client: client, serverName: nil)
            connection.write("mine\n")
            try await connection.flush()
            return try await connection.readLine(maximum: 100).map { String(buffer: $0) }
        }
        #expect(answer == "echo mine")
    }

    /// The end of the client's TLS (close_notify) is the end of what it sends, not of what it's sent.
    @Test func whatWasAskedIsAnsweredAfterThePeersEnd() async throws {
        let server = try #require(Self.server)
        let client = try TLSContext(clientVerifying: false)
        let answers = try await Pair.run { connection in
            do { try await connection.startTLS(server: server, reply: nil) } catch { return }
            while let line = try? await connection.readLine(maximum: 100) {
                await connection.eventLoop.pause(.milliseconds(30))
                connection.write("echo ")
                connection.write(line)
                connection.write("\n")
                do { try await connection.flush() } catch { return }
            }
            connection.write("bye\n")
        } client: { connection in
            try await connection.startTLS(client: client, serverName: nil)
            connection.write("one\ntwo\n")
            try await connection.flush()
            connection.endOutput()
            var answers: [String] = []
            while let line = try await connection.readLine(maximum: 100) { answers.append(String(buffer: line)) }
            return answers
        }
        #expect(answers == ["echo one", "echo two", "bye"])
    }

    @Test func slowReaderWhoseSideHasEndedGetsEverything() async throws {
        let server = try #require(Self.server)
        let client = try TLSContext(clientVerifying: false)
        let total = 8 * 1024 * 1024
        let received = try await Pair.run { connection in
            do { try await connection.startTLS(server: server, reply: nil) } catch { return }
            while let more = try? await connection.receive(), more { connection.input.clear() }
            for _ in 0..<(total / 65536) {
                connection.write([UInt8](repeating: 0x61, count: 65536))
                do { try await connection.flush() } catch { return }
            }
        } client: { connection in
            try await connection.startTLS(client: client, serverName: nil)
            connection.endOutput()
            return try await readSlowly(connection)
        }
        #expect(received == total)
    }

    @Test func selfSignedCertificateIsRefusedWhereItIsVerified() async throws {
        let server = try #require(Self.server)
        let client = try TLSContext(clientVerifying: true)
        try await Pair.run { connection in
            try? await connection.startTLS(server: server, reply: nil)
        } client: { connection in
            do {
                try await connection.startTLS(client: client, serverName: "mail.example.test")
                Issue.record("the handshake must fail")
            } catch {
                guard case .tls(let reason)? = error as? ConnectionError else { throw error }
                #expect(reason.contains("certificate verify failed"))
            }
        }
    }

    @Test func rubbishInsteadOfAHandshakeEndsTheConnection() async throws {
        let server = try #require(Self.server)
        let isOver = try await Pair.run { connection in
            try? await connection.startTLS(server: server, reply: nil)
        } client: { connection in
            connection.write("EHLO example.test\r\nMAIL FROM:<>\r\n")
            try await connection.flush()
            while try await connection.receive() { connection.input.clear() }
            return true
        }
        #expect(isOver)
    }

    @Test func peerThatClosesInTheHandshakeEndsIt() async throws {
        let client = try TLSContext(clientVerifying: false)
        try await Pair.run { connection in
            _ = try? await connection.receive()
        } client: { connection in
            await #expect(throws: ConnectionError.tls(TLSError.unexpectedEnd.description)) {
                try await connection.startTLS(client: client, serverName: nil)
            }
            return
        }
    }

    @Test func silentPeerTimesOutInTheHandshake() async throws {
        let client = try TLSContext(clientVerifying: false)
        try await Pair.run { connection in
            _ = try? await connection.receive()
            _ = try? await connection.receive()
        } client: { connection in
            connection.idleTimeout = .milliseconds(30)
            await #expect(throws: ConnectionError.timedOut) {
                try await connection.startTLS(client: client, serverName: nil)
            }
        }
    }
}
