import DNS
import DNSFixtures
import Daemon
import NIOCore
import Network
import TSIG
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let zoneText =
    "$TTL 300\n@ SOA ns root 1 3600 900 604800 300\n NS ns\nns A 192.0.2.1\nalias CNAME x.open.test.\n"
private let openText =
    "$TTL 300\n@ SOA ns root 1 3600 900 604800 300\n NS ns\nns A 192.0.2.2\nx A 192.0.2.3\nin CNAME ns.closed.test.\n"

struct SignedQueryTests {
    private let key: TSIGKey

    init() throws {
        key = TSIGKey(name: try DomainName("k"), algorithm: .hmacSHA256, secret: [UInt8](1...32))
    }

    private func query(_ name: String, _ type: RecordType = .a) throws -> DNSMessage {
        .query(id: 99, question: Question(name: try DomainName(name), type: type))
    }

    private func closed(_ networks: [String]) throws -> (inout ResolverSettings) -> Void {
        let origin = try DomainName("closed.test")
        var zone = LocalZoneConfiguration(origin: origin, file: "closed.test")
        var list = AccessList()
        list.keys = [key.name]
        list.networks = networks.compactMap { AddressRange($0) }
        zone.allowQuery = list
        return { [zone] settings in
            settings.zones.zones[origin] = zone
        }
    }

    @Test func signedQueriesGetSignedAnswers() async throws {
        try await TestResolver.with(keys: [key], zones: ["open.test": openText], configure: closed([])) { resolver, _ in
            var signer = TSIGSigner(requestWith: key)
            let now = Clocks().secondsSince1970()
            let request = signer.sign(try query("x.open.test").encode(), now: now)
            let reply = try #require(try await resolver.exchange(request))
            var verifier = TSIGVerifier(key: key, requestCode: signer.lastCode)
            let answer = try DNSMessage(decoding: try verifier.verify(reply, now: now))
            #expect(answer.answerLines == ["x.open.test. A 192.0.2.3"])
            #expect(answer.edns != nil)
            // With a wrong octet.
            var wrong = request
            wrong[wrong.count - 10] ^= 1
            let refusal = try DNSMessage(decoding: try #require(try await resolver.exchange(wrong)))
            #expect(refusal.responseCode == .notAuthoritative)
            #expect(refusal.answers.isEmpty)
            #expect(refusal.additionals.first.flatMap { TSIGRecord($0) }?.error == 16)
            // Not the last record.
            var message = try DNSMessage(decoding: request)
            message.additionals.append(try record("x. 1 IN A 192.0.2.1"))
            let malformed = try DNSMessage(decoding: try #require(try await resolver.exchange(message.encode())))
            #expect(malformed.responseCode == .formatError)
        }
    }

    @Test func accessListOfAZone() async throws {
        let zones = ["open.test": openText, "closed.test": zoneText]
        try await TestResolver.with(keys: [key], zones: zones, configure: closed(["192.0.2.0/24"])) { resolver, _ in
            for _ in 0..<3 {
                // Those who may ask leave nothing behind for those who may not.
                let local = try await resolver.stream(framed(query("ns.closed.test").encode()), answers: 1, unix: true)
                #expect(local.first?.answerLines == ["ns.closed.test. A 192.0.2.1"])
                var signer = TSIGSigner(requestWith: key)
                let now = Clocks().secondsSince1970()
                let request = signer.sign(try query("ns.closed.test").encode(), now: now)
                let signed = try DNSMessage(decoding: try #require(try await resolver.exchange(request)))
                #expect(signed.answerLines == ["ns.closed.test. A 192.0.2.1"])
                let answer = try await resolver.ask(try query("ns.closed.test"))
                #expect(answer.responseCode == .refused)
                #expect(answer.edns?.options.compactMap { ExtendedError($0) }.first?.code == 18)
                #expect(answer.answers.isEmpty && answer.authorities.isEmpty)
            }
            // An alias into the zone ends there.
            let alias = try await resolver.ask(try query("in.open.test"))
            #expect(alias.answerLines == ["in.open.test. CNAME ns.closed.test."])
        }
    }

    @Test func accessListWithTheClientsNetwork() async throws {
        try await TestResolver.with(keys: [key], zones: ["closed.test": zoneText], configure: closed(["127.0.0.0/8"])) {
            resolver,
            _ in
            let answer = try await resolver.ask(try query("ns.closed.test"))
            #expect(answer.answerLines == ["ns.closed.test. A 192.0.2.1"])
        }
    }
}

/// A message behind its length, as streams have it.
func framed(_ octets: [UInt8]) -> [UInt8] {
    [UInt8(octets.count >> 8), UInt8(truncatingIfNeeded: octets.count)] + octets
}
