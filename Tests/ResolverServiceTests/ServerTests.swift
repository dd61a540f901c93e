import DNS
import DNSFixtures
import Daemon
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

private let zone = """
    $TTL 3600
    @ SOA ns root 7 3600 900 604800 300
      NS ns
      MX 10 mail
    ns A 192.0.2.1
    mail A 192.0.2.2
    out CNAME www.example.net.
    """

private let bigZone = zone + "\n$GENERATE 1-100 big A 10.0.0.$\n"

struct ServerTests {
    @Test func localZoneByEveryTransport() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            for _ in 0..<3 {
                let answer = try await resolver.ask("MAIL.example.Test")
                #expect(answer.responseCode == .noError)
                #expect(answer.flags.isAuthoritative)
                #expect(answer.answers.map(\.presentationData) == ["192.0.2.2"])
                #expect(answer.questions.first?.name.description == "MAIL.example.Test.")
                #expect(answer.answers.first?.timeToLive == 3600)
                resolver.clock.advance(100)
            }
            let missing = try await resolver.ask("nobody.example.test", .mx)
            #expect(missing.responseCode == .nameError)
            #expect(missing.authorities.first?.timeToLive == 300)
            let query = DNSMessage.query(id: 77, question: Question(name: try DomainName("example.test"), type: .mx))
            let framed = [0, UInt8(query.encode().count)] + query.encode()
            for unix in [false, true] {
                let answers = try await resolver.stream(framed, answers: 1, unix: unix)
                #expect(answers.first?.answerLines == ["example.test. MX 10 mail.example.test."])
                #expect(answers.first?.additionals.count == 1)
            }
        }
    }

    @Test func pipelinedQueriesInPieces() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            var octets: [UInt8] = []
            for id in 0..<UInt16(500) {
                let name = try DomainName(id.isMultiple(of: 2) ? "mail.example.test" : "x\(id).example.test")
                let query = DNSMessage.query(id: id, question: Question(name: name, type: .a)).encode()
                octets += [0, UInt8(query.count)] + query
            }
            let answers = try await resolver.stream(octets, answers: 500)
            #expect(Set(answers.map(\.id)) == Set(0..<500))
            for answer in answers {
                #expect(answer.responseCode == (answer.id.isMultiple(of: 2) ? .noError : .nameError))
            }
        }
    }

    @Test func largeAnswersAreTruncatedByUDPOnly() async throws {
        try await TestResolver.with(zones: ["example.test": bigZone]) { (resolver, _) async throws in
            for _ in 0..<2 {
                let short = try await resolver.ask("big.example.test")
                #expect(short.flags.isTruncated)
                #expect(short.answers.isEmpty)
                var query = DNSMessage.query(
                    id: 3,
                    question: Question(name: try DomainName("big.example.test"), type: .a)
                )
                query.edns?.payloadSize = 65000
                #expect(try await resolver.ask(query).flags.isTruncated, "more than 1232 octets are never sent")
                query.edns = nil
                #expect(try await resolver.ask(query).edns == nil)
                let octets = query.encode()
                let whole = try await resolver.stream([0, UInt8(octets.count)] + octets, answers: 1)
                #expect(whole.first?.answers.count == 100)
            }
        }
    }

    @Test(arguments: [
        (UInt16(0x0900), RecordType.a, UInt16(1), ResponseCode.notImplemented),
        (0x2900, .soa, 1, .notAuthoritative), (0x0100, .axfr, 1, .formatError), (0x0100, .tkey, 1, .notImplemented),
        (0x0100, .opt, 1, .formatError), (0x0100, .txt, 3, .refused),
    ])
    func whatIsNotServed(_ flags: UInt16, _ type: RecordType, _ class: UInt16, _ code: ResponseCode) async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            var query = DNSMessage(id: 1, flags: MessageFlags(rawValue: flags))
            let name = try DomainName("example.test")
            query.questions = [Question(name: name, type: type, class: RecordClass(rawValue: `class`))]
            #expect(try await resolver.ask(query).responseCode == code)
        }
    }

    @Test func malformedQueries() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            let name = try DomainName("mail.example.test")
            let good = DNSMessage.query(id: 9, question: Question(name: name, type: .a)).encode()
            let cut = try #require(try await resolver.exchange(Array(good.dropLast(3))))
            #expect(try DNSMessage(decoding: cut).responseCode == .formatError)
            var loop = good
            loop.replaceSubrange(12..<14, with: [0xC0, 12])
            let refused = try #require(try await resolver.exchange(loop))
            #expect(try DNSMessage(decoding: refused).responseCode == .formatError)
            var version = DNSMessage.query(id: 9, question: Question(name: name, type: .a))
            version.edns?.version = 1
            #expect(try await resolver.ask(version).responseCode == .badVersion)
            // Nothing at all for what is too short, or an answer itself: that would go on for ever.
            var response = good
            response[2] |= 0x80
            #expect(try await resolver.exchange([1, 2, 3], milliseconds: 200) == nil)
            #expect(try await resolver.exchange(response, milliseconds: 200) == nil)
            for _ in 0..<300 {
                var damaged = good
                for _ in 0..<3 { damaged[Int.random(in: damaged.indices)] = .random(in: .min ... .max) }
                damaged[2] |= 0x80
                _ = try await resolver.exchange(damaged, milliseconds: 1)
            }
            #expect(try await resolver.ask("mail.example.test").answers.count == 1)
        }
    }

    @Test func typeNumbersAreNoLetters() async throws {
        try await TestResolver.with(zones: ["example.test": zone + "\nmail TYPE65 \\# 3 000100\n"]) {
            (resolver, _) async throws in
            let upper = RecordType(rawValue: 0x41)
            let lower = RecordType(rawValue: 0x61)
            for _ in 0..<2 {
                #expect(try await resolver.ask("mail.example.test", upper).answers.count == 1)
                #expect(try await resolver.ask("mail.example.test", lower).answers.isEmpty)
            }
        }
    }

    @Test func aChangedZoneIsServedAndAWrongOneIsNot() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            let path = resolver.directory + "/example.test"
            #expect(try await resolver.ask("mail.example.test").answerLines == ["mail.example.test. A 192.0.2.2"])
            // What is still being written isn't taken.
            try TestFile.write(zone.replacing("mail", with: "half"), to: path)
            await resolver.server.reload(onlyChanged: true)
            try TestFile.write(zone.replacing("192.0.2.2", with: "192.0.2.77"), to: path)
            await resolver.server.reload(onlyChanged: true)
            #expect(try await resolver.ask("mail.example.test").answerLines == ["mail.example.test. A 192.0.2.2"])
            await resolver.server.reload(onlyChanged: true)
            #expect(try await resolver.ask("mail.example.test").answerLines == ["mail.example.test. A 192.0.2.77"])
            try TestFile.write(zone + "\nbroken A 1.2.3\n", to: path)
            await resolver.server.reload()
            #expect(try await resolver.ask("mail.example.test").answerLines == ["mail.example.test. A 192.0.2.77"])
            unlink(path)
            for _ in 0..<2 { await resolver.server.reload(onlyChanged: true) }
            #expect(try await resolver.ask("mail.example.test").answerLines == ["mail.example.test. A 192.0.2.77"])
        }
    }

    @Test func includedFilesAreWatchedAndStayBelow() async throws {
        let including = zone + "\n$INCLUDE more\n"
        try await TestResolver.with(zones: ["example.test": including]) { (resolver, _) async throws in
            #expect(try await resolver.ask("mail.example.test").responseCode == .serverFailure)
            try TestFile.write("extra A 192.0.2.8\n", to: resolver.directory + "/more")
            for _ in 0..<2 { await resolver.server.reload(onlyChanged: true) }
            #expect(try await resolver.ask("extra.example.test").answers.count == 1)
            for outside in ["../etc/hostname", "/etc/hostname", "./../x", ""] {
                let path = resolver.directory + "/example.test"
                try TestFile.write(zone + "\nnew A 10.0.0.1\n$INCLUDE \"\(outside)\"\n", to: path)
                await resolver.server.reload()
                #expect(try await resolver.ask("new.example.test").responseCode == .nameError)
            }
            unlink(resolver.directory + "/more")
            #expect(symlink("/etc/hostname", resolver.directory + "/more") == 0)
            try TestFile.write(including, to: resolver.directory + "/example.test")
            await resolver.server.reload()
            #expect(try await resolver.ask("extra.example.test").answers.count == 1)
        }
    }

    @Test func withoutForwardersOnlyLocalZonesAreAnswered() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { (resolver, _) async throws in
            let answer = try await resolver.ask("www.example.org")
            #expect(answer.responseCode == .serverFailure)
            let error = answer.edns?.options.compactMap(ExtendedError.init).first
            #expect(error?.text == "no forwarders are configured")
            #expect(try await resolver.ask("localhost").answers.map(\.presentationData) == ["127.0.0.1"])
            #expect(try await resolver.ask("foo.invalid").responseCode == .nameError)
            #expect(try await resolver.ask("other.test").responseCode == .nameError)
        }
    }

    @Test func strangersGetLocalZonesOnly() async throws {
        try await TestResolver.with(zones: ["example.test": zone], upstreams: [{ _ in .silence }]) { settings in
            settings.allowRecursion = []
        } _: { (resolver, upstreams) async throws in
            for _ in 0..<2 {
                let local = try await resolver.ask("mail.example.test")
                #expect(local.answers.count == 1)
                #expect(!local.flags.recursionAvailable)
                #expect(try await resolver.ask("www.example.org").responseCode == .refused)
                let alias = try await resolver.ask("out.example.test")
                #expect(alias.answerLines == ["out.example.test. CNAME www.example.net."])
                #expect(alias.responseCode == .noError)
            }
            #expect(upstreams[0].queries.isEmpty)
        }
    }

    @Test func connectionsThatSayNothingEnd() async throws {
        try await TestResolver.with(zones: ["example.test": zone]) { settings in
            settings.idleTimeout = .milliseconds(50)
        } _: { (resolver, _) async throws in
            // Half a length, then silence: closed by the server, so that the read ends before its own timeout.
            #expect(try await resolver.stream([0], answers: 1).isEmpty)
            #expect(try await resolver.stream([0, 3, 1, 2, 3], answers: 1).isEmpty)
        }
    }
}
