import DNS
import DNSFixtures
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import TLS
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

/// Answers every question about an address with one, at once.
private let honest: FakeLinkUpstream.Behaviour = { query, _, connection in
    let name = query.questions.first?.name.description ?? ""
    try await FakeLinkUpstream.send(query.answered(answers: ["\(name) 300 A 192.0.2.80"]), on: connection)
}

struct EncryptedForwardingTests {
    /// Runs a test with a resolver that forwards to a server over TLS.
    private func with(
        certificate: TestCertificate? = nil,
        name: String? = "dns.test",
        transport: ForwarderAddress.Transport = .tls,
        behaviour: @escaping FakeLinkUpstream.Behaviour = honest,
        configure: (inout ResolverSettings) -> Void = { _ in },
        _ body: (TestResolver, FakeLinkUpstream) async throws -> Void
    ) async throws {
        let trusted = try TestCertificate()
        let group = MultiThreadedEventLoopGroup.singleton
        let context = transport == .tls ? try (certificate ?? trusted).server(protocols: ["dot"]) : nil
        let upstream = try await FakeLinkUpstream.start(on: group, context, behaviour)
        let client = try trusted.client(protocols: ["dot"])
        try await TestResolver.with {
            $0.forwarders = [ForwarderAddress(upstream.address, transport: transport, name: name)]
            $0.recursion.forwardTLS = client
            configure(&$0)
        } _: { (resolver, _) async throws in
            try await body(resolver, upstream)
        }
        await upstream.stop()
    }

    @Test(arguments: ["dns.test", nil]) func oneConnectionServesMany(_ name: String?) async throws {
        try await with(name: name) { (resolver, upstream) async throws in
            for number in 0..<20 {
                let answer = try await resolver.ask("\(number).example.net")
                #expect(answer.answers.map(\.presentationData) == ["192.0.2.80"])
            }
            #expect(upstream.queries.count == 20)
            // One for each event loop, of which there are two.
            #expect((1...2).contains(upstream.connections))
            for query in upstream.queries {
                #expect(query.octets == 128)
                #expect(query.message.edns?.options.map(\.code) == [12])
            }
        }
    }

    @Test func answersComeInAnyOrder() async throws {
        let kept = NIOLockedValueBox<[DNSMessage]>([])
        let backwards: FakeLinkUpstream.Behaviour = { query, _, connection in
            let ready = kept.withLockedValue { kept -> [DNSMessage] in
                kept.append(query)
                guard kept.count == 8 else { return [] }
                defer { kept = [] }
                return kept.reversed()
            }
            for query in ready {
                let name = query.questions[0].name.description
                // First what nobody asked for, and an answer to another question.
                var foreign = query.answered(answers: ["\(name) 300 A 192.0.2.66"])
                foreign.id &+= 1
                try await FakeLinkUpstream.send(foreign, on: connection)
                foreign = query.answered(answers: ["evil.test. 300 A 192.0.2.66"])
                foreign.questions[0].name = try DomainName("evil.test")
                try await FakeLinkUpstream.send(foreign, on: connection)
                let octet = name.split(separator: ".").first ?? ""
                try await FakeLinkUpstream.send(
                    query.answered(answers: ["\(name) 300 A 192.0.2.\(octet)"]),
                    on: connection
                )
            }
        }
        try await with(behaviour: backwards) {
            $0.recursion.queryTimeout = .seconds(20)
        } _: { (resolver, upstream) async throws in
            // Names of one domain fall to one event loop, and so to one connection.
            var octets: [UInt8] = []
            for id in UInt16(1)...8 {
                let question = Question(name: try DomainName("\(id).example.net"), type: .a)
                let query = DNSMessage.query(id: id, question: question).encode()
                octets += [0, UInt8(query.count)] + query
            }
            let answers = try await resolver.stream(octets, answers: 8)
            #expect(Set(answers.map(\.id)) == Set(1...8))
            for answer in answers { #expect(answer.answers.first?.presentationData == "192.0.2.\(answer.id)") }
            #expect(upstream.connections == 1)
        }
    }

    @Test func aConnectionThatEndsIsMadeAnew() async throws {
        let closing: FakeLinkUpstream.Behaviour = { query, upstream, connection in
            // Every other query is lost with its connection.
            if upstream.queries.count.isMultiple(of: 2) { throw ConnectionError.closed }
            try await honest(query, upstream, connection)
        }
        try await with(behaviour: closing) { (resolver, upstream) async throws in
            for number in 0..<6 {
                #expect(try await resolver.ask("\(number).example.net").responseCode == .noError)
            }
            #expect(upstream.connections >= 4)
        }
    }

    @Test func aServerThatOnlyClosesIsNotAskedWithoutEnd() async throws {
        try await with(behaviour: { _, _, _ in throw ConnectionError.closed }) { (resolver, upstream) async throws in
            for number in 0..<10 {
                let answer = try await resolver.ask("\(number).example.net")
                #expect(answer.responseCode == .serverFailure)
            }
            #expect((3..<20).contains(upstream.queries.count), "\(upstream.queries.count)")
        }
    }

    @Test(arguments: [("other.test", "Hostname mismatch"), ("127.0.0.2", "IP address mismatch")])
    func aWrongNameIsNoServer(_ name: String, _ reason: String) async throws {
        try await with(name: name) { (resolver, upstream) async throws in
            let answer = try await resolver.ask("www.example.net")
            #expect(answer.responseCode == .serverFailure)
            let error = answer.edns?.options.compactMap { ExtendedError($0) }.first
            #expect(error?.code == 23)
            #expect(error?.text.lowercased().contains(reason.lowercased()) == true, "\(error?.text ?? "")")
            #expect(upstream.queries.isEmpty, "nothing was asked of a server that isn't the right one")
        }
    }

    @Test func aCertificateOfNobodyIsNoServer() async throws {
        try await with(certificate: try TestCertificate()) { (resolver, upstream) async throws in
            let answer = try await resolver.ask("www.example.net")
            #expect(answer.responseCode == .serverFailure)
            let error = answer.edns?.options.compactMap { ExtendedError($0) }.first
            #expect(error?.text.contains("certificate verify failed") == true)
            #expect(upstream.queries.isEmpty)
        }
    }

    @Test func plainTCPWhereItIsWanted() async throws {
        try await with(name: nil, transport: .tcp) { (resolver, upstream) async throws in
            for number in 0..<4 {
                #expect(try await resolver.ask("\(number).example.net").answers.count == 1)
            }
            #expect(upstream.queries.allSatisfy { $0.message.edns?.options == [] })
            #expect(upstream.connections <= 2)
        }
    }

    @Test func nobodyListens() async throws {
        try await with { (resolver, upstream) async throws in
            await upstream.stop()
            let answer = try await resolver.ask("www.example.net")
            #expect(answer.responseCode == .serverFailure)
            let error = answer.edns?.options.compactMap { ExtendedError($0) }.first
            #expect(error?.code == 23)
            #expect(error?.text.isEmpty == false)
        }
    }
}
