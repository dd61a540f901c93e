import DNS
import DNSFixtures
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let start = "net. 100 SOA a.net. b.net. 1 2 3 4 60"

/// Answers every question about an address with one.
private let honest: FakeUpstream.Behaviour = { query in
    let name = query.message.questions.first?.name.description ?? ""
    return .answer(query.message.answered(answers: ["\(name) 300 A 192.0.2.80"]))
}

/// What a behaviour gives first, and then.
private func first(_ once: @escaping FakeUpstream.Behaviour, then: @escaping FakeUpstream.Behaviour)
    -> FakeUpstream.Behaviour
{
    let isFirst = NIOLockedValueBox(true)
    return { query in
        let now = isFirst.withLockedValue { value in
            defer { value = false }
            return value
        }
        return now ? await once(query) : await then(query)
    }
}

struct ForwardingTests {
    @Test func anAnswerIsKeptAndGrowsOld() async throws {
        try await TestResolver.with(upstreams: [honest]) { (resolver, upstreams) async throws in
            let answer = try await resolver.ask("WWW.example.net")
            #expect(answer.answers.map(\.presentationData) == ["192.0.2.80"])
            #expect(answer.answers.first?.name.description == "WWW.example.net.")
            #expect(answer.flags.recursionAvailable)
            #expect(!answer.flags.isAuthoritative)
            resolver.clock.advance(100)
            for _ in 0..<4 { #expect(try await resolver.ask("www.example.net").answers.first?.timeToLive == 200) }
            #expect(upstreams[0].queries.count == 1)
            resolver.clock.advance(200)
            #expect(try await resolver.ask("www.example.net").answers.first?.timeToLive == 300)
            #expect(upstreams[0].queries.count == 2)
        }
    }

    @Test func negativeAnswersAreKeptForTheSOAsMinimum() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            let isMissing = query.message.questions[0].name.description.lowercased().hasPrefix("no")
            return .answer(query.message.answered(isMissing ? .nameError : .noError, authorities: [start]))
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("no.example.net").responseCode == .nameError)
            #expect(try await resolver.ask("no.example.net", .aaaa).responseCode == .nameError)
            #expect(upstreams[0].queries.count == 1, "a name that doesn't exist has no other type either")
            let empty = try await resolver.ask("www.example.net")
            #expect(empty.responseCode == .noError)
            #expect(empty.authorities.first?.timeToLive == 60)
            _ = try await resolver.ask("www.example.net", .aaaa)
            #expect(upstreams[0].queries.count == 3)
            resolver.clock.advance(59)
            _ = try await resolver.ask("www.example.net")
            #expect(upstreams[0].queries.count == 3)
            resolver.clock.advance(1)
            _ = try await resolver.ask("www.example.net")
            #expect(upstreams[0].queries.count == 4)
        }
    }

    @Test func timesToLiveAreCapped() async throws {
        let behaviour: FakeUpstream.Behaviour = {
            .answer($0.message.answered(answers: ["a.net. 2000000000 A 10.0.0.1"]))
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, _) async throws in
            #expect(try await resolver.ask("a.net").answers.first?.timeToLive == 86400)
        }
    }

    @Test func anAnswerWithoutTimeToLiveIsNotKept() async throws {
        let behaviour: FakeUpstream.Behaviour = { .answer($0.message.answered(answers: ["a.net. 0 A 10.0.0.1"])) }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, upstreams) async throws in
            for count in 1...3 {
                #expect(try await resolver.ask("a.net").answers.count == 1)
                #expect(upstreams[0].queries.count == count)
            }
        }
    }

    @Test func theQuestionGoesOutInRandomCaseFromRandomPorts() async throws {
        try await TestResolver.with(upstreams: [honest]) { (resolver, upstreams) async throws in
            for number in 0..<40 { _ = try await resolver.ask("abcdefghijklmnopqrstuvwxyz\(number).example.net") }
            let queries = upstreams[0].queries
            let cases = Set(queries.map { $0.message.questions[0].name.description.prefix(26) })
            #expect(cases.count > 30)
            #expect(Set(queries.map(\.message.id)).count > 30)
            #expect(Set(queries.map(\.port)).count >= 2)
            #expect(queries.allSatisfy { $0.message.flags.recursionDesired && !$0.message.flags.isAuthenticData })
        }
    }

    @Test func forgeriesAreIgnored() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            var wrongID = query.message.answered(answers: ["a.net. 300 A 10.6.6.6"])
            wrongID.id &+= 1
            var wrongName = query.message.answered(answers: ["a.net. 300 A 10.6.6.6"])
            wrongName.questions[0].name = .root
            var wrongType = query.message.answered(answers: ["a.net. 300 A 10.6.6.6"])
            wrongType.questions[0].type = .txt
            let elsewhere = query.message.answered(answers: ["a.net. 300 A 10.6.6.6"])
            return .several([
                .answer(query.message), .answer(wrongID), .answer(wrongName), .answer(wrongType),
                .answerFromElsewhere(elsewhere), .octets([1, 2, 3]),
                .answer(query.message.answered(answers: ["a.net. 300 A 10.0.0.1"])),
            ])
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("a.net").answers.map(\.presentationData) == ["10.0.0.1"])
            #expect(upstreams[0].queries.allSatisfy { !$0.isStream })
        }
    }

    @Test func aSpoiledCaseIsAskedAgainByTCP() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            if query.isStream { return .answer(query.message.answered(answers: ["a.net. 300 A 10.0.0.1"])) }
            var forged = query.message.answered(answers: ["a.net. 300 A 10.6.6.6"])
            let flipped = query.message.questions[0].name.wire.map { $0 >= 0x41 ? $0 ^ 0x20 : $0 }
            forged.questions[0].name = (try? DomainName(wire: flipped)) ?? .root
            return .answer(forged)
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("a.net").answers.map(\.presentationData) == ["10.0.0.1"])
            #expect(upstreams[0].queries.map(\.isStream) == [false, true])
        }
    }

    @Test func truncatedAnswersAreFetchedByTCP() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            var answer = query.message.answered(
                answers: query.isStream ? (1...200).map { "a.net. 300 A 10.0.0.\($0)" } : []
            )
            answer.flags.isTruncated = !query.isStream
            return .answer(answer)
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, _) async throws in
            let query = DNSMessage.query(id: 5, question: Question(name: try DomainName("a.net"), type: .a)).encode()
            let answers = try await resolver.stream([0, UInt8(query.count)] + query, answers: 1, unix: true)
            #expect(answers.first?.answers.count == 200)
        }
    }

    @Test func aSilentServerIsAskedAgainAndAnotherInItsPlace() async throws {
        let impatient: (inout ResolverSettings) -> Void = { $0.recursion.minimumPatience = .milliseconds(150) }
        try await TestResolver.with(upstreams: [{ _ in .silence }, honest], configure: impatient) {
            (resolver, upstreams) async throws in
            for number in 0..<5 { #expect(try await resolver.ask("a\(number).net").answers.count == 1) }
            #expect(upstreams[1].queries.count >= 5)
        }
        try await TestResolver.with(upstreams: [first({ _ in .silence }, then: honest)]) {
            (resolver, upstreams) async throws in
            #expect(try await resolver.ask("a.net").answers.count == 1)
            #expect(upstreams[0].queries.count == 2)
        }
    }

    @Test func aServerThatFailsIsLeftForAnother() async throws {
        for code in [ResponseCode.serverFailure, .refused, .notImplemented, .formatError] {
            let failing: FakeUpstream.Behaviour = { .answer($0.message.answered(code)) }
            try await TestResolver.with(upstreams: [failing, honest]) { (resolver, _) async throws in
                for number in 0..<4 { #expect(try await resolver.ask("a\(number).net").answers.count == 1) }
            }
        }
    }

    @Test func nobodyAnswers() async throws {
        try await TestResolver.with(upstreams: [{ _ in .silence }]) { settings in
            settings.recursion.queryTimeout = .milliseconds(300)
        } _: { (resolver, upstreams) async throws in
            let answer = try await resolver.ask("a.net")
            #expect(answer.responseCode == .serverFailure)
            #expect(answer.edns?.options.compactMap(ExtendedError.init).first?.code == 22)
            let count = upstreams[0].queries.count
            _ = try await resolver.ask("a.net")
            #expect(upstreams[0].queries.count == count, "the failure is kept for a moment")
            resolver.clock.advance(Int64(TimeLimits.failure))
            _ = try await resolver.ask("a.net")
            #expect(upstreams[0].queries.count > count)
        }
    }

    @Test func garbageAndAbsentServers() async throws {
        let garbage: FakeUpstream.Behaviour = { query in
            .octets(
                [UInt8(query.message.id >> 8), UInt8(query.message.id & 0xFF)] + [UInt8](repeating: 0xC0, count: 40)
            )
        }
        try await TestResolver.with(upstreams: [garbage, honest]) { (resolver, upstreams) async throws in
            await upstreams[0].stop()
            for number in 0..<4 { #expect(try await resolver.ask("a\(number).net").answers.count == 1) }
        }
        try await TestResolver.with(upstreams: [first(garbage, then: honest)]) { (resolver, _) async throws in
            #expect(try await resolver.ask("a.net").answers.count == 1)
        }
    }

    @Test func aServerWithoutEDNS() async throws {
        let old: FakeUpstream.Behaviour = { query in
            if query.message.edns == nil { return await honest(query) }
            return .answer(
                DNSMessage(id: query.message.id, flags: MessageFlags(rawValue: 0x8180), responseCode: .formatError)
            )
        }
        try await TestResolver.with(upstreams: [old]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("a.net").answers.count == 1)
            // With a cookie, without, then without EDNS.
            #expect(upstreams[0].queries.map { $0.message.edns?.options.count } == [1, 0, nil])
        }
    }

    @Test func theSameQuestionIsAskedOnce() async throws {
        let gate = NIOLockedValueBox<[CheckedContinuation<Void, Never>]>([])
        let behaviour: FakeUpstream.Behaviour = { query in
            await withCheckedContinuation { continuation in gate.withLockedValue { $0.append(continuation) } }
            return await honest(query)
        }
        try await TestResolver.with(upstreams: [behaviour]) { settings in
            settings.recursion.queryTimeout = .seconds(20)
        } _: { (resolver, upstreams) async throws in
            // All on one connection: the last one, about a local name, is answered when all were taken in.
            var octets: [UInt8] = []
            for id in 0..<UInt16(30) {
                let name = try DomainName(id == 29 ? "localhost" : id.isMultiple(of: 2) ? "a.net" : "A.NET")
                let query = DNSMessage.query(id: id, question: Question(name: name, type: .a)).encode()
                octets += [0, UInt8(query.count)] + query
            }
            async let answers = resolver.stream(octets, answers: 30)
            while gate.withLockedValue({ $0.isEmpty }) { await Task.yield() }
            for _ in 0..<200 { await Task.yield() }
            let waiting = gate.withLockedValue { waiting in
                defer { waiting = [] }
                return waiting
            }
            for continuation in waiting { continuation.resume() }
            let received = try await answers
            #expect(received.count == 30)
            #expect(received.allSatisfy { $0.answers.count == 1 })
            let names = Set(upstreams[0].queries.map { $0.message.questions[0].name })
            #expect(names.count == 1)
            // Retransmissions aside, which a slow machine may bring, each to another ID.
            #expect(upstreams[0].queries.count < 15)
            for late in gate.withLockedValue({ $0 }) { late.resume() }
            gate.withLockedValue { $0 = [] }
        }
    }

    @Test func aliasesAreFollowedAndPoisonIsLeftOut() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            .answer(
                query.message.answered(
                    answers: [
                        "victim.net. 300 A 10.6.6.6", "www.a.net. 300 CNAME b.net.", "b.net. 200 CNAME c.net.",
                        "c.net. 100 A 10.0.0.1", "c.net. 100 A 10.0.0.2", "bank.net. 300 A 10.6.6.6",
                    ],
                    authorities: ["net. 300 NS evil.net."],
                    additionals: ["evil.net. 300 A 10.6.6.6"]
                )
            )
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, upstreams) async throws in
            let answer = try await resolver.ask("www.a.net")
            #expect(
                answer.answerLines == [
                    "www.a.net. CNAME b.net.", "b.net. CNAME c.net.", "c.net. A 10.0.0.1", "c.net. A 10.0.0.2",
                ]
            )
            #expect(answer.authorities.isEmpty)
            #expect(answer.additionals.isEmpty)
            _ = try await resolver.ask("evil.net")
            #expect(upstreams[0].queries.count == 2)
        }
    }

    @Test func aliasesCrossIntoLocalZonesAndBack() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            let name = query.message.questions[0].name
            if name == (try? DomainName("in.example.net")) {
                return .answer(
                    query.message.answered(answers: [
                        "in.example.net. 300 CNAME mail.example.test.", "mail.example.test. 300 A 10.6.6.6",
                    ])
                )
            }
            return await honest(query)
        }
        let zone = "$TTL 9\n@ SOA a b 1 2 3 4 5\nmail A 192.0.2.2\nout CNAME www.example.net.\n"
        try await TestResolver.with(zones: ["example.test": zone], upstreams: [behaviour]) {
            (resolver, _) async throws in
            for _ in 0..<2 {
                #expect(
                    try await resolver.ask("in.example.net").answerLines == [
                        "in.example.net. CNAME mail.example.test.", "mail.example.test. A 192.0.2.2",
                    ]
                )
                #expect(
                    try await resolver.ask("out.example.test").answerLines == [
                        "out.example.test. CNAME www.example.net.", "www.example.net. A 192.0.2.80",
                    ]
                )
            }
        }
    }

    @Test func loopsOfAliasesEnd() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            .answer(query.message.answered(answers: ["a.net. 300 CNAME b.net.", "b.net. 300 CNAME a.net."]))
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, _) async throws in
            #expect(try await resolver.ask("a.net").responseCode == .serverFailure)
        }
    }

    @Test func redirectionsAreComputedNotBelieved() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            .answer(
                query.message.answered(answers: [
                    "old.net. 300 DNAME new.net.", "x.old.net. 300 CNAME evil.net.", "evil.net. 300 A 10.6.6.6",
                    "x.new.net. 300 A 10.0.0.1",
                ])
            )
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, _) async throws in
            #expect(
                try await resolver.ask("x.old.net").answerLines == [
                    "old.net. DNAME new.net.", "x.old.net. CNAME x.new.net.", "x.new.net. A 10.0.0.1",
                ]
            )
        }
    }

    @Test func upstreamsWordOnAuthenticityIsNotPassedOn() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            var answer = query.message.answered(answers: ["a.net. 300 A 10.0.0.1"])
            answer.flags.isAuthenticData = true
            return .answer(answer)
        }
        try await TestResolver.with(upstreams: [behaviour]) { (resolver, _) async throws in
            for _ in 0..<2 { #expect(try await !resolver.ask("a.net").flags.isAuthenticData) }
        }
    }

    @Test func forwardZonesGoToTheirOwnServers() async throws {
        let other: FakeUpstream.Behaviour = { query in
            .answer(query.message.answered(answers: ["\(query.message.questions[0].name) 300 A 192.0.2.99"]))
        }
        try await TestResolver.with(upstreams: [honest, other]) { settings in
            if let corp = try? DomainName("corp.test"), let last = settings.forwarders.popLast() {
                settings.forwardZones = [corp: [last]]
            }
        } _: { (resolver, _) async throws in
            #expect(try await resolver.ask("x.corp.test").answers.map(\.presentationData) == ["192.0.2.99"])
            #expect(try await resolver.ask("x.example.net").answers.map(\.presentationData) == ["192.0.2.80"])
            #expect(try await resolver.ask("x.test").responseCode == .nameError)
        }
    }

    @Test func queriesWithoutRecursionAndForEverything() async throws {
        try await TestResolver.with(upstreams: [honest]) { (resolver, upstreams) async throws in
            var query = DNSMessage.query(id: 4, question: Question(name: try DomainName("a.net"), type: .a))
            query.flags.recursionDesired = false
            #expect(try await resolver.ask(query).responseCode == .refused)
            #expect(try await resolver.ask("a.net", .any).answers.map(\.type) == [.hinfo])
            #expect(upstreams[0].queries.isEmpty)
        }
    }

    @Test func theCacheKeepsItsLimit() async throws {
        let behaviour: FakeUpstream.Behaviour = { query in
            let name = query.message.questions[0].name
            return .answer(query.message.answered(answers: (1...10).map { "\(name) 3000 A 10.0.0.\($0)" }))
        }
        try await TestResolver.with(upstreams: [behaviour]) { settings in
            settings.cacheSize = 400_000
        } _: { (resolver, _) async throws in
            for start in stride(from: 0, to: 1000, by: 50) {
                var octets: [UInt8] = []
                for number in start..<(start + 50) {
                    let name = try DomainName("www.name\(number).net")
                    let query = DNSMessage.query(id: UInt16(number), question: Question(name: name, type: .a)).encode()
                    octets += [0, UInt8(query.count)] + query
                }
                #expect(try await resolver.stream(octets, answers: 50).count == 50)
            }
            let size = await resolver.server.cacheSize()
            #expect(size.octets <= 300_000)
            #expect(size.octets > 190_000)
            #expect(size.answers < 1000)
        }
    }
}
