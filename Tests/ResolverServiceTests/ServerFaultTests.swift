import DNS
import DNSFixtures
import Daemon
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private let example = """
    example.tld. SOA ns.example.tld. nobody.example.tld. 1 3600 600 86400 300
    example.tld. NS ns.example.tld.
    ns.example.tld. A 127.0.0.4
    www.example.tld. A 192.0.2.1
    www.example.tld. AAAA 2001:db8::1
    mail.example.tld. A 192.0.2.25
    mail.example.tld. MX 10 mail.example.tld.
    a.b.c.d.example.tld. A 192.0.2.2
    """
private let cut = "example.tld. NS ns.example.tld.\nns.example.tld. A 127.0.0.4\n"
private let twoServers = cut + "example.tld. NS ns2.example.tld.\nns2.example.tld. A 127.0.0.5\n"

/// What a server says that knows better.
enum ServerFault: CaseIterable {
    case refused, serverFailure, notImplemented, formatError, notAuthoritative
    /// Neither records nor authority.
    case empty
    case referralUpwards
    case referralToItself

    func answer(_ query: DNSMessage) -> DNSMessage {
        var answer: DNSMessage
        switch self {
        case .refused: answer = query.response(.refused)
        case .serverFailure: answer = query.response(.serverFailure)
        case .notImplemented: answer = query.response(.notImplemented)
        case .formatError: answer = query.response(.formatError)
        case .notAuthoritative: answer = query.response(.notAuthoritative)
        case .empty: answer = query.response()
        case .referralUpwards: answer = query.answered(authorities: [". 3600 NS a.root."])
        case .referralToItself: answer = query.answered(authorities: ["example.tld. 3600 NS ns.example.tld."])
        }
        answer.flags.recursionAvailable = false
        return answer
    }
}

/// How the resolver comes to the servers of a zone.
enum Mode: CaseIterable {
    case recursive, stub

    func configure(_ settings: inout ResolverSettings) {
        guard self == .stub, let zone = try? DomainName("example.tld") else { return }
        settings.recursion.rootHints = nil
        settings.recursion.stubZones[zone] = [4, 5].compactMap {
            try? SocketAddress(ipAddress: "127.0.0.\($0)", port: settings.recursion.serverPort)
        }
    }
}

/// One bad answer is not a bad server (RFC 2308 §7).
struct ServerFaultTests {
    private static func faulty(
        _ fault: ServerFault,
        at isHit: @escaping @Sendable (Question) -> Bool
    ) throws -> FakeUpstream.Behaviour {
        let honest = try FakeInternet.serving(["example.tld.": example])
        return { query in
            isHit(query.message.questions[0]) ? .answer(fault.answer(query.message)) : await honest(query)
        }
    }

    @Test(arguments: ServerFault.allCases, Mode.allCases)
    func anErrorToOneQuestionIsThatQuestionsAlone(fault: ServerFault, mode: Mode) async throws {
        let server = try Self.faulty(fault) { $0.type == .aaaa || $0.type == .tlsa }
        try await FakeInternet([4: server], tld: cut).with(configure: mode.configure) {
            (resolver, servers) async throws in
            for name in ["www", "mail", "x", "y", "z"] {
                for type in [RecordType.aaaa, .tlsa] {
                    let answer = try await resolver.ask("\(name).example.tld", type)
                    #expect(answer.responseCode == (fault == .empty ? .noError : .serverFailure))
                    #expect(answer.answers.isEmpty)
                }
            }
            #expect(try await resolver.ask("www.example.tld").answerLines == ["www.example.tld. A 192.0.2.1"])
            #expect(try await resolver.ask("mail.example.tld", .mx).answers.count == 1)
            #expect(try await resolver.ask("none.example.tld").responseCode == .nameError)
            #expect(servers[4]?.queries.last?.message.edns != nil, "it's still asked for signatures")
        }
    }

    @Test(arguments: ServerFault.allCases, Mode.allCases)
    func anErrorOfOneServerHasTheOtherAsked(fault: ServerFault, mode: Mode) async throws {
        let servers = [
            4: try Self.faulty(fault) { $0.type == .aaaa }, 5: try FakeInternet.serving(["example.tld.": example]),
        ]
        try await FakeInternet(servers, tld: twoServers).with(configure: mode.configure) {
            (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld", .aaaa).answers.count == 1)
            for number in 0..<10 {
                #expect(try await resolver.ask("n\(number).example.tld", .aaaa).responseCode == .nameError)
            }
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
        }
    }

    /// A server that knows nothing of the zone is left for the other one, and asked all the same when that one is gone.
    @Test(arguments: Mode.allCases) func theLastServerIsAskedAllTheSame(mode: Mode) async throws {
        let isLame = NIOLockedValueBox(true)
        let isSilent = NIOLockedValueBox(false)
        let honest = try FakeInternet.serving(["example.tld.": example])
        let servers: [Int: FakeUpstream.Behaviour] = [
            4: { query in
                isLame.withLockedValue { $0 } ? .answer(query.message.response(.refused)) : await honest(query)
            },
            5: { query in isSilent.withLockedValue { $0 } ? .silence : await honest(query) },
        ]
        try await FakeInternet(servers, tld: twoServers).with { settings in
            mode.configure(&settings)
            settings.recursion.minimumPatience = .milliseconds(100)
        } _: { (resolver, servers) async throws in
            for number in 0..<10 { _ = try await resolver.ask("n\(number).example.tld") }
            #expect((servers[4]?.asked.count ?? 99) <= 2, "others come first")
            isLame.withLockedValue { $0 = false }
            isSilent.withLockedValue { $0 = true }
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
        }
    }

    /// Answers without authority are used when nothing better comes.
    @Test(arguments: [false, true], Mode.allCases)
    func answersWithoutAuthority(isResolver: Bool, mode: Mode) async throws {
        let honest = try FakeInternet.serving(["example.tld.": example])
        let lesser: FakeUpstream.Behaviour = { query in
            guard case .answer(var answer) = await honest(query) else { return .silence }
            answer.flags.isAuthoritative = false
            answer.flags.recursionAvailable = isResolver
            return .answer(answer)
        }
        try await FakeInternet([4: lesser], tld: cut).with(configure: mode.configure) {
            (resolver, servers) async throws in
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
            #expect(try await resolver.ask("none.example.tld").responseCode == .nameError)
            let nothing = try await resolver.ask("www.example.tld", .mx)
            #expect(nothing.responseCode == .noError && nothing.answers.isEmpty)
        }
        let stale: FakeUpstream.Behaviour = { query in
            var answer = query.message.answered(answers: ["www.example.tld. 60 A 192.0.2.66"])
            answer.flags.recursionAvailable = isResolver
            return .answer(answer)
        }
        try await FakeInternet([4: stale, 5: honest], tld: twoServers).with(configure: mode.configure) {
            (resolver, _) async throws in
            for _ in 0..<5 {
                #expect(try await resolver.ask("www.example.tld").answerLines == ["www.example.tld. A 192.0.2.1"])
                resolver.clock.advance(4000)
            }
        }
        // Where the other server is silent, there is nothing better.
        try await FakeInternet([4: stale, 5: { _ in .silence }], tld: twoServers).with { settings in
            mode.configure(&settings)
            settings.recursion.minimumPatience = .milliseconds(100)
        } _: { (resolver, _) async throws in
            #expect(try await resolver.ask("www.example.tld").answerLines == ["www.example.tld. A 192.0.2.66"])
        }
    }

    /// A server that can't do one question with EDNS gets the others with it, and so gives signatures.
    @Test(arguments: [ServerFault.formatError, .notImplemented], [false, true])
    func oneRefusalDoesNotTurnEDNSOff(fault: ServerFault, hasOPT: Bool) async throws {
        let honest = try FakeInternet.serving(["example.tld.": example])
        let server: FakeUpstream.Behaviour = { query in
            guard query.message.questions[0].type == .aaaa, query.message.edns != nil else {
                return await honest(query)
            }
            var answer = fault.answer(query.message)
            if !hasOPT { answer.edns = nil }
            return .answer(answer)
        }
        try await FakeInternet([4: server], tld: cut).with { (resolver, servers) async throws in
            #expect(try await resolver.ask("mail.example.tld").answers.count == 1)
            let answer = try await resolver.ask("www.example.tld", .aaaa)
            #expect(answer.answers.count == (hasOPT ? 0 : 1))
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
            #expect(servers[4]?.queries.last?.message.edns?.dnssecOK == true)
        }
    }

    /// Garbage, or a cut answer whose rest can't be had, says nothing of other questions either: the server is there.
    @Test(arguments: [false, true], Mode.allCases) func answersThatCannotBeRead(isCut: Bool, mode: Mode) async throws {
        let honest = try FakeInternet.serving(["example.tld.": example])
        let server: FakeUpstream.Behaviour = { query in
            guard query.message.questions[0].type == .txt else { return await honest(query) }
            var answer = query.message.response()
            answer.flags.isAuthoritative = true
            answer.flags.isTruncated = isCut
            if query.isStream { return .silence }
            return isCut ? .answer(answer) : .octets(Array(answer.encode().prefix(20)))
        }
        try await FakeInternet([4: server], tld: cut).with { settings in
            mode.configure(&settings)
            settings.recursion.minimumPatience = .milliseconds(50)
            settings.recursion.queryTimeout = .milliseconds(700)
        } _: { (resolver, _) async throws in
            for name in ["www", "x", "y", "z"] {
                #expect(try await resolver.ask("\(name).example.tld", .txt).responseCode == .serverFailure)
            }
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
            for shard in resolver.server.shards {
                let states = await shard.onLoop { $0.servers.filter { $0.address.contains("127.0.0.4") }.map(\.state) }
                #expect(!states.contains("asleep"))
            }
        }
    }

    /// A server whose answers are cut, and that isn't there for TCP, leaves time for the other one.
    @Test(arguments: Mode.allCases) func cutAnswersLeaveTimeForOthers(mode: Mode) async throws {
        let honest = try FakeInternet.serving(["example.tld.": example])
        let cutting: FakeUpstream.Behaviour = { query in
            if query.isStream { return .silence }
            var answer = query.message.response()
            answer.flags.isAuthoritative = true
            answer.flags.isTruncated = true
            return .answer(answer)
        }
        try await FakeInternet([4: cutting, 5: honest], tld: twoServers).with { settings in
            mode.configure(&settings)
            settings.recursion.queryTimeout = .seconds(4)
        } _: { (resolver, _) async throws in
            for name in ["www", "mail"] {
                #expect(try await resolver.ask("\(name).example.tld").answers.count == 1)
            }
        }
    }

    /// Where all servers of a zone have failed they aren't all asked again for each question (RFC 9520).
    @Test func aLameZoneCostsFewQueries() async throws {
        let refusing: FakeUpstream.Behaviour = { .answer($0.message.response(.refused)) }
        let names = (4...9).map { "example.tld. NS ns\($0).example.tld.\nns\($0).example.tld. A 127.0.0.\($0)\n" }
        let servers = Dictionary(uniqueKeysWithValues: (4...9).map { ($0, refusing) })
        try await FakeInternet(servers, tld: names.joined()).with { (resolver, servers) async throws in
            func count() -> Int { (4...9).reduce(0) { $0 + (servers[$1]?.queries.count ?? 0) } }
            #expect(try await resolver.ask("a.example.tld").responseCode == .serverFailure)
            let first = count()
            #expect((6...8).contains(first), "all of them, and two more after the parent was asked")
            for number in 0..<5 { _ = try await resolver.ask("n\(number).example.tld") }
            #expect(count() - first <= 10)
            resolver.clock.advance(11)
            let before = count()
            _ = try await resolver.ask("later.example.tld")
            #expect(count() - before >= 6, "all of them again")
        }
    }

    // MARK: Parts of the name

    /// An error to a name in between has the same server asked for the whole name at once, and marks nobody.
    @Test(arguments: ServerFault.allCases, Mode.allCases)
    func errorsToNamesInBetween(fault: ServerFault, mode: Mode) async throws {
        let server = try Self.faulty(fault) {
            $0.name.labelCount < 6 && $0.name.labelCount > 2 && $0.name.firstLabel?.count == 1
        }
        let servers = [4: server, 5: server]
        try await FakeInternet(servers, tld: twoServers).with(configure: mode.configure) {
            (resolver, servers) async throws in
            let answer = try await resolver.ask("a.b.c.d.example.tld")
            #expect(answer.answerLines == ["a.b.c.d.example.tld. A 192.0.2.2"])
            let both: [String] = [4, 5].flatMap { servers[$0]?.asked ?? [] }
            let asked = both.filter { $0.contains("d.example") }
            #expect(asked == ["d.example.tld. A", "a.b.c.d.example.tld. A"])
            let one = servers[4]?.asked.contains { $0.hasPrefix("d.") } == true ? 4 : 5
            #expect(servers[one]?.asked.last == "a.b.c.d.example.tld. A", "by the same server")
            // Where it marked anybody, the other one would be asked.
            for number in 0..<20 { _ = try await resolver.ask("n\(number).example.tld") }
            #expect((servers[4]?.asked.count ?? 0) > 3 || (servers[5]?.asked.count ?? 0) > 3)
        }
    }

    @Test func silenceAtNamesInBetween() async throws {
        let honest = try FakeInternet.serving(["example.tld.": example])
        let server: FakeUpstream.Behaviour = { query in
            let name = query.message.questions[0].name
            return name.labelCount < 6 && name.firstLabel == Array("d".utf8)[...] ? .silence : await honest(query)
        }
        try await FakeInternet([4: server], tld: cut).with { settings in
            settings.recursion.minimumPatience = .milliseconds(50)
        } _: { (resolver, servers) async throws in
            #expect(try await resolver.ask("a.b.c.d.example.tld").answerLines == ["a.b.c.d.example.tld. A 192.0.2.2"])
            #expect(try await resolver.ask("www.example.tld").answers.count == 1)
        }
    }

    // MARK: Delegations

    /// A zone that its parent took away doesn't live on through the zones below it, however long those are delegated.
    @Test func noPhoenix() async throws {
        let isGone = NIOLockedValueBox(false)
        let with = try FakeInternet([:], tld: "example.tld. 60 NS ns.example.tld.\nns.example.tld. A 127.0.0.4\n")
        let without = try FakeInternet([:])
        let before = try #require(with.servers[3])
        let after = try #require(without.servers[3])
        let child = example + "\nsub.example.tld. 86400 NS ns.sub.example.tld.\nns.sub.example.tld. 86400 A 127.0.0.5\n"
        let below = """
            sub.example.tld. SOA . . 1 2 3 4 5
            sub.example.tld. 86400 NS ns.sub.example.tld.
            *.sub.example.tld. 1 A 192.0.2.7
            deep.sub.example.tld. 86400 NS ns.deep.sub.example.tld.
            ns.deep.sub.example.tld. 86400 A 127.0.0.6
            """
        let deep =
            "deep.sub.example.tld. SOA . . 1 2 3 4 5\ndeep.sub.example.tld. NS .\n*.deep.sub.example.tld. 1 A 192.0.2.8"
        let servers: [Int: FakeUpstream.Behaviour] = [
            3: { query in await isGone.withLockedValue { $0 } ? after(query) : before(query) },
            4: try FakeInternet.serving(["example.tld.": child]),
            5: try FakeInternet.serving(["sub.example.tld.": below]),
            6: try FakeInternet.serving(["deep.sub.example.tld.": deep]),
        ]
        try await FakeInternet(servers).with { (resolver, _) async throws in
            #expect(try await resolver.ask("a.sub.example.tld").answers.count == 1)
            isGone.withLockedValue { $0 = true }
            // As late as possible, so that each delegation is as young as it can be.
            resolver.clock.advance(58)
            #expect(try await resolver.ask("a.deep.sub.example.tld").answers.count == 1)
            resolver.clock.advance(3)
            #expect(try await resolver.ask("b.deep.sub.example.tld").responseCode == .nameError)
            #expect(try await resolver.ask("b.sub.example.tld").responseCode == .nameError)
        }
    }

    /// The parent's glue is of a family that isn't spoken, or leads nowhere: the name's other address is looked up.
    @Test(arguments: [false, true]) func glueOfTheOtherFamily(usesIPv6: Bool) async throws {
        let tld = """
            far.tld. NS ns.other.tld.
            other.tld. NS ns1.other.tld.
            ns1.other.tld. A 127.0.0.5
            ns.other.tld. AAAA 100::1

            """
        let other = """
            other.tld. SOA . . 1 2 3 4 5
            other.tld. NS ns1.other.tld.
            ns.other.tld. A 127.0.0.6
            ns.other.tld. AAAA 100::1
            """
        let far = "far.tld. SOA . . 1 2 3 4 5\nfar.tld. NS ns.other.tld.\nwww.far.tld. A 192.0.2.9\n"
        let servers = [
            5: try FakeInternet.serving(["other.tld.": other]), 6: try FakeInternet.serving(["far.tld.": far]),
        ]
        try await FakeInternet(servers, tld: tld).with { settings in
            settings.recursion.addresses.usesIPv6 = usesIPv6
            settings.recursion.minimumPatience = .milliseconds(50)
        } _: { (resolver, servers) async throws in
            #expect(try await resolver.ask("www.far.tld").answerLines == ["www.far.tld. A 192.0.2.9"])
            #expect(servers[5]?.asked.contains("ns.other.tld. A") == true)
        }
    }

    /// What is looked up where glue is of one family, in both directions.
    @Test func whatIsLookedUp() throws {
        let four = try SocketAddress(ipAddress: "192.0.2.1", port: 53)
        let six = try SocketAddress(ipAddress: "2001:db8::1", port: 53)
        let host = try DomainName("ns.example.net")
        func known(_ glue: [SocketAddress], ipv4: Bool = true, ipv6: Bool = true) throws -> Delegation.Known {
            let zone = try DomainName("example.com")
            return Delegation(zone: zone, hosts: [host], addresses: [host: glue], expires: 5000).askable(
                AddressPolicy(usesIPv4: ipv4, usesIPv6: ipv6)
            )
        }
        #expect(try known([]).unresolved.map(\.types) == [[.a, .aaaa]])
        #expect(try known([six], ipv6: false).unresolved.map(\.types) == [[.a]])
        #expect(try known([four], ipv4: false).unresolved.map(\.types) == [[.aaaa]])
        #expect(try known([four], ipv4: false).addresses.isEmpty)
        #expect(try known([six]).others.map(\.types) == [[.a]])
        #expect(try known([four]).others.map(\.types) == [[.aaaa]])
        #expect(try known([four, six]).others.isEmpty)
        #expect(try known([four], ipv6: false).others.isEmpty)
    }
}

/// The same of those that are forwarded to.
struct ForwarderFaultTests {
    @Test(arguments: [ServerFault.refused, .serverFailure, .notImplemented, .formatError, .notAuthoritative])
    func anErrorToOneQuestionIsThatQuestionsAlone(fault: ServerFault) async throws {
        let server: FakeUpstream.Behaviour = { query in
            let question = query.message.questions[0]
            if question.type == .aaaa { return .answer(fault.answer(query.message)) }
            return .answer(query.message.answered(answers: ["\(question.name) 60 A 192.0.2.1"]))
        }
        try await TestResolver.with(upstreams: [server]) { (resolver, upstreams) async throws in
            for number in 0..<5 {
                #expect(try await resolver.ask("n\(number).example", .aaaa).responseCode == .serverFailure)
            }
            #expect(try await resolver.ask("n0.example").answers.count == 1)
            #expect(upstreams[0].queries.last?.message.edns != nil)
        }
        let good: FakeUpstream.Behaviour = { query in
            .answer(query.message.answered(answers: ["\(query.message.questions[0].name) 60 AAAA 2001:db8::1"]))
        }
        try await TestResolver.with(upstreams: [server, good]) { (resolver, _) async throws in
            for number in 0..<5 { #expect(try await resolver.ask("n\(number).example", .aaaa).answers.count == 1) }
        }
    }
}
