import Cryptography
import Encodings
import Keys
import MailAuth
import NIOConcurrencyHelpers
import NIOCore
import SMTP
import Testing

@testable import RemoteRelay

/// Mail of our own is signed over what the other host gets (RFC 6376, RFC 8463), and strangers' sealed (RFC 8617).
@Suite struct SigningTests {
    private static let header = """
        From: Ann <ann@example.org>\r\nTo: b@example.net\r\nSubject: x\r\nDate: Mon, 30 Nov 2026 08:00:00 +0000\r\n\r\n
        """

    /// The keys of one domain, as keyd would have them.
    private final class Keyring: Sendable {
        private struct Calls {
            var asked: [String] = []
            var signed = 0
            var fault: String?
        }

        let domain: String
        private let keys: [SigningKey]
        private let calls = NIOLockedValueBox(Calls())

        init(_ domain: String = "example.org") throws {
            self.domain = domain
            // RFC 8463 appendix A.2.
            let secret = Base64.decode(Array("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=".utf8)) ?? []
            keys = try [
                ("e1", #require(PrivateKey(.ed25519, raw: secret))),
                ("r1", #require(PrivateKey.generate(.rsa, bits: 1024))),
            ].map { try SigningKey(domain: Array(domain.utf8), selector: Array($0.0.utf8), key: $0.1) }
        }

        var asked: [String] { calls.withLockedValue { $0.asked } }
        var signed: Int { calls.withLockedValue { $0.signed } }

        /// From now on nobody answers; nil: again.
        func fail(_ reason: String?) { calls.withLockedValue { $0.fault = reason } }

        var zone: ZoneLookup {
            get throws {
                let lines = keys.map { String(decoding: $0.masterFileLine, as: UTF8.self) }
                return try ZoneLookup(masterFile: Array("$TTL 300\n\(lines.joined(separator: "\n"))\n".utf8))
            }
        }

        var access: SigningKeys {
            SigningKeys { (domain: String) async throws(SigningKeysError) in
                let fault = self.calls.withLockedValue {
                    $0.asked.append(domain)
                    return $0.fault
                }
                if let fault { throw SigningKeysError(reason: fault) }
                return domain == self.domain
                    ? self.keys.map {
                        ActiveKey(name: $0.name, key: KeyName(.dkim, subjectPublicKeyInfo: $0.name.selector))
                    }
                    : []
            } sign: { (key, draft) async throws(SigningKeysError) in
                self.calls.withLockedValue { $0.signed += 1 }
                let found = self.keys.first { $0.name == key.name }
                guard let signature = try? found?.signature(of: draft) else {
                    throw SigningKeysError(reason: "no such key")
                }
                return signature
            }
        }
    }

    /// What a host got: the octets as they were before they were sent.
    private func received(_ message: String) -> [UInt8] {
        message.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
            Array((line.first == "." ? line.dropFirst() : line).utf8) + [13, 10]
        }
    }

    private func verify(_ message: String, _ keyring: Keyring) async throws -> [DKIMOutcome] {
        let hasher = MessageHasher()
        hasher.feed(received(message))
        return await DKIMVerifier.verify(hasher.finish(), lookup: try keyring.zone, now: 2_000_000_000)
    }

    private func deliver(
        _ message: String,
        _ keyring: Keyring,
        submitter: Submitter? = .account,
        sender: String = "<ann@example.org>",
        script: [String: [String]] = [:],
        inPieces: Bool = false,
        added: String = "Received: by mail.example.org; Mon, 30 Nov 2026 08:00:00 +0000\r\n",
        times: Int = 1,
        settings: String = ""
    ) async throws -> (results: [DeliveryResult], host: ScriptedServer) {
        let tests = DeliveryTests()
        let (results, servers) = try await tests.deliver(
            [tests.script(script)],
            sender: sender,
            added: added,
            message: message,
            inPieces: inPieces,
            times: times,
            submitter: submitter,
            signing: keyring.access,
            settings: settings
        )
        return (results, try #require(servers.first))
    }

    private static let bodies: [String] = [
        "hello\r\n", "", ".\r\n..\r\n", "no end", "\u{e9}\u{fc}\r\n", "bare\nline\rends\r\n", "\r\n\r\n \t\r\n\r\n",
        String(repeating: "long ", count: 1000) + "\r\n",
        String(repeating: "0123456789012345678901234567890123456789\r\n", count: 5000),
        // A line that is too long where nobody has looked ahead.
        String(repeating: "0123456789012345678901234567890123456789\r\n", count: 5000)
            + String(repeating: "long ", count: 1000) + "\r\n",
    ]

    @Test(arguments: bodies.indices, [true, false])
    func whatIsSentIsSigned(_ body: Int, inPieces: Bool) async throws {
        let keyring = try Keyring()
        let message = Self.header + Self.bodies[body]
        let (results, host) = try await deliver(message, keyring, inPieces: inPieces)
        #expect(results.map(\.action) == [.relayed])
        let sent = try #require(host.messages.first)
        let outcomes = try await verify(sent, keyring)
        #expect(outcomes.map(\.result) == [.pass, .pass], "\(outcomes.map(\.reason))")
        #expect(outcomes.map { $0.signature?.algorithm } == [.ed25519SHA256, .rsaSHA256])
        #expect(host.messages.count == 1 && host.connections == 1)
    }

    /// Also where the host takes seven bits only.
    @Test(arguments: [false, true]) func signaturesAreOverWhatTheHostTakes(inPieces: Bool) async throws {
        let keyring = try Keyring()
        let message = Self.header + String(repeating: "\u{e9}\u{fc}\r\n", count: inPieces ? 40_000 : 1)
        for extensions in ["250 sink\r\n", "250-sink\r\n250 8BITMIME\r\n"] {
            let (_, host) = try await deliver(message, keyring, script: ["EHLO": [extensions]], inPieces: inPieces)
            let sent = try #require(host.messages.first)
            #expect(sent.utf8.allSatisfy { $0 < 0x80 } == !extensions.contains("8BITMIME"))
            let outcomes = try await verify(sent, keyring)
            #expect(outcomes.map(\.result) == [.pass, .pass], "\(outcomes.map(\.reason))")
        }
    }

    @Test func signaturesGoInFrontAndCoverWhoWrites() async throws {
        let keyring = try Keyring()
        let (_, host) = try await deliver(
            Self.header + "x\r\n",
            keyring,
            script: ["EHLO": ["250-sink\r\n250 SIZE 0\r\n"]]
        )
        let sent = try #require(host.messages.first)
        #expect(sent.hasPrefix("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org;"))
        let size = received(sent).count
        #expect(host.commands.contains { $0.hasPrefix("MAIL") && $0.hasSuffix("SIZE=\(size)") }, "\(host.commands)")
        let signed = try #require(try await verify(sent, keyring).first?.signature?.signedFields)
        for name in ["from", "to", "subject", "date"] {
            #expect(signed.count { $0 == Array(name.utf8) } == 2, "\(name)")
        }
        for name in ["cc", "reply-to", "message-id", "mime-version", "content-type"] {
            #expect(signed.count { $0 == Array(name.utf8) } == 1, "\(name)")
        }
    }

    private static let results =
        "Authentication-Results: mail.example.test; spf=pass smtp.mailfrom=a@example.com; dmarc=pass"

    private func chain(_ message: String, _ keyring: Keyring) async throws -> ARCOutcome {
        let hasher = MessageHasher()
        hasher.feed(received(message))
        return await ARCValidator.validate(hasher.finish(), lookup: try keyring.zone, now: 2_000_000_000)
    }

    /// What smtpd has checked is sealed as what it found, with the keys of our own name.
    @Test(arguments: [8, 9]) func strangersMailIsSealed(_ body: Int) async throws {
        let keyring = try Keyring("example.test")
        let message = "DKIM-Signature: v=1; theirs\r\n" + Self.header + Self.bodies[body]
        let added = "Delivered-To: x@example.test\r\n\(Self.results)\r\nReceived: by mail.example.test\r\n"
        let (results, host) = try await deliver(message, keyring, submitter: nil, inPieces: true, added: added)
        #expect(results.map(\.action) == [.relayed])
        let first = try #require(host.messages.first)
        let outcome = try await chain(first, keyring)
        #expect(outcome.result == .pass, "\(outcome.reason)")
        #expect(outcome.chain.highestInstance == 1)
        #expect(outcome.messageSignatures.first?.signature?.algorithm == .rsaSHA256)
        #expect(first.contains("ARC-Authentication-Results: i=1; mail.example.test"))
        #expect(first.contains("smtp.mailfrom=a@example.com"))
        // Another host of ours, which saw the chain pass, goes on with it.
        let arrived = String(decoding: received(first), as: UTF8.self)
        let passed = "\(Self.results); arc=pass\r\nReceived: by mail.example.test\r\n"
        let (_, second) = try await deliver(arrived, keyring, submitter: nil, added: passed)
        let later = try await chain(try #require(second.messages.first), keyring)
        #expect(later.result == .pass && later.chain.highestInstance == 2, "\(later.reason)")
        // One that saw it fail says so, and nothing is added after that.
        let failed = "\(Self.results); arc=fail\r\nReceived: by mail.example.test\r\n"
        let (_, third) = try await deliver(arrived, keyring, submitter: nil, added: failed)
        let broken = try #require(third.messages.first)
        #expect(broken.contains("cv=fail"))
        let (_, fourth) = try await deliver(
            String(decoding: received(broken), as: UTF8.self),
            keyring,
            submitter: nil,
            added: failed
        )
        #expect(try #require(fourth.messages.first).components(of: "ARC-Seal:") == 2)
    }

    @Test(arguments: [
        ("Received: by mail.example.test\r\n\(results)\r\n", ""), ("", ""),
        ("Authentication-Results: other.test; spf=pass\r\n", ""), ("\(results)\r\n", "arc = false"),
        // There is a set, and nobody said what it's worth.
        ("\(results)\r\nReceived: by mail.example.test\r\nARC-Seal: i=1; cv=none\r\n", ""),
    ])
    func whatIsNotSealed(_ added: String, _ settings: String) async throws {
        let keyring = try Keyring("example.test")
        let (results, host) = try await deliver(
            Self.header + "x\r\n",
            keyring,
            submitter: nil,
            added: added,
            settings: settings
        )
        #expect(results.map(\.action) == [.relayed])
        #expect(try #require(host.messages.first).components(of: "ARC-Authentication-Results:") == 0)
    }

    @Test func strangersMailIsNotSigned() async throws {
        let keyring = try Keyring()
        let message = "DKIM-Signature: v=1; theirs\r\n" + Self.header + "x\r\n"
        let (_, host) = try await deliver(message, keyring, submitter: nil)
        #expect(keyring.asked.isEmpty)
        let sent = try #require(host.messages.first)
        #expect(sent.components(of: "DKIM-Signature:") == 1)
    }

    @Test(arguments: [Submitter.account, .program, .system])
    func ourOwnIs(_ submitter: Submitter) async throws {
        let keyring = try Keyring()
        let (_, host) = try await deliver(Self.header, keyring, submitter: submitter)
        #expect(try #require(host.messages.first).components(of: "DKIM-Signature:") == 2)
    }

    @Test(arguments: [
        ("ann@mail.example.org", ["mail.example.org", "example.org"], 2),
        ("ann@EXAMPLE.org", ["example.org"], 2),
        ("ann@example.com", ["example.com", "com"], 0),
        ("ann@b\u{fc}cher.example", ["xn--bcher-kva.example", "example"], 0),
        ("ann@[192.0.2.1]", [], 0),
        ("a@example.org, b@example.com", [], 0),
        ("a@1.2.3.4.5.6.7.8.9.example.org", (1...8).map { n in (n...9).map { "\($0)." }.joined() + "example.org" }, 0),
    ])
    func theDomainOfTheAuthorSigns(_ author: String, _ asked: [String], _ count: Int) async throws {
        let keyring = try Keyring()
        let (results, host) = try await deliver("From: \(author)\r\nTo: b@example.net\r\n\r\nx\r\n", keyring)
        #expect(results.map(\.action) == [.relayed])
        #expect(keyring.asked == asked)
        let outcomes = try await verify(try #require(host.messages.first), keyring)
        #expect(outcomes.map(\.result) == [DKIMResult](repeating: .pass, count: count))
    }

    @Test(arguments: ["To: b@example.net\r\n\r\nx\r\n", "From: ann@example.org\r\nno field\r\n\r\nx\r\n", "x"])
    func whatCannotBeSignedGoesAsItIs(_ message: String) async throws {
        let keyring = try Keyring()
        let (results, host) = try await deliver(message, keyring)
        #expect(results.map(\.action) == [.relayed])
        #expect(try #require(host.messages.first).components(of: "DKIM-Signature:") == 0)
    }

    @Test(arguments: [true, false])
    func withoutKeysItWaits(_ inPieces: Bool) async throws {
        let keyring = try Keyring()
        keyring.fail("keyd does not answer")
        let (results, host) = try await deliver(Self.header + Self.bodies[8], keyring, inPieces: inPieces)
        #expect(results.map(\.action) == [.delayed])
        #expect(results.map(\.status) == [EnhancedStatusCode(4, 7, 5)])
        #expect(results.first?.text == "can't be signed now: keyd does not answer")
        #expect(results.first?.scope == .recipient)
        #expect(host.connections == 0)
    }

    @Test func oneSignatureIsForAllAttempts() async throws {
        let keyring = try Keyring()
        for body in [8, 9] {
            let before = keyring.signed
            let (results, host) = try await deliver(Self.header + Self.bodies[body], keyring, inPieces: true, times: 3)
            #expect(results.map(\.action) == [.relayed])
            #expect(keyring.signed == before + 2)
            #expect(host.messages.count == 3)
            for message in host.messages {
                #expect(try await verify(message, keyring).map(\.result) == [.pass, .pass])
            }
        }
    }

    @Test func aBinaryMessageIsSignedAsTheHostTakesIt() async throws {
        let keyring = try Keyring()
        let message = Self.header.dropLast(2) + "Content-Transfer-Encoding: binary\r\n\r\n\u{0}a\r\n"
        let sender = "<ann@example.org> BODY=BINARYMIME"
        let extensions = ["EHLO": ["250-sink\r\n250-BINARYMIME\r\n250 CHUNKING\r\n"], "BDAT": ["250 ok\r\n"]]
        let (raw, host) = try await deliver(String(message), keyring, sender: sender, script: extensions)
        #expect(raw.map(\.action) == [.relayed])
        let chunk = try #require(host.messages.first)
        #expect(host.commands.contains("BDAT \(chunk.utf8.count) LAST"))
        let hasher = MessageHasher()
        hasher.feed(Array(chunk.utf8))
        let outcomes = await DKIMVerifier.verify(hasher.finish(), lookup: try keyring.zone, now: 2_000_000_000)
        #expect(outcomes.map(\.result) == [.pass, .pass])
        let (_, other) = try await deliver(String(message), keyring, sender: sender)
        #expect(try await verify(try #require(other.messages.first), keyring).map(\.result) == [.pass, .pass])
    }
}

extension String {
    /// How often a text stands in it.
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
