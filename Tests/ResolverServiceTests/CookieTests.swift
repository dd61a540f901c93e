import DNS
import DNSFixtures
import NIOCore
import NIOConcurrencyHelpers
import Network
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

private func octets(_ text: String) throws -> [UInt8] { try #require(RadixCoding.hexadecimal.decode(text.utf8)) }

private func hexadecimal(_ octets: [UInt8]) -> String {
    String(decoding: RadixCoding.hexadecimal.encode(octets), as: UTF8.self).lowercased()
}

private func judge(
    _ cookies: ServerCookies,
    _ cookie: String,
    _ address: String,
    _ now: UInt32
) throws -> (isValid: Bool, reply: [UInt8]) {
    let option = try #require(CookieOption(try octets(cookie)))
    let place = try #require(try SocketAddress(ipAddress: address, port: 53).addressOctets)
    let verdict = option.client.withUnsafeBytes { client in
        option.server.withUnsafeBytes { cookies.judge(client: client, server: $0, address: place, now: now) }
    }
    return (verdict.isValid, verdict.reply.option.data)
}

/// RFC 9018 appendix A.
struct ServerCookieTests {
    private let secret = "e5e973e5a6b2a43f48e7dc849e37bfcf"

    @Test func aNewCookie() throws {
        let cookies = try #require(ServerCookies(text: secret))
        let first = try judge(cookies, "2464c4abcf10c957", "198.51.100.100", 1_559_731_985)
        #expect(!first.isValid)
        #expect(hexadecimal(first.reply) == "2464c4abcf10c957010000005cf79f111f8130c3eee29480")
    }

    @Test func aCookieIsRenewed() throws {
        let cookies = try #require(ServerCookies(text: secret))
        let old = "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
        let soon = try judge(cookies, old, "198.51.100.100", 1_559_731_985 + 1800)
        #expect(soon.isValid)
        #expect(hexadecimal(soon.reply) == old, "the same for half an hour")
        let later = try judge(cookies, old, "198.51.100.100", 1_559_734_385)
        #expect(later.isValid)
        #expect(hexadecimal(later.reply) == "2464c4abcf10c957010000005cf7a871d4a564a1442aca77")
        #expect(try judge(cookies, old, "198.51.100.101", 1_559_731_985).isValid == false, "another address")
        #expect(try judge(cookies, old, "198.51.100.100", 1_559_731_985 + 3601).isValid == false, "too old")
        #expect(try judge(cookies, old, "198.51.100.100", 1_559_731_985 - 300).isValid)
        #expect(try judge(cookies, old, "198.51.100.100", 1_559_731_985 - 301).isValid == false, "of the future")
        #expect(
            try judge(cookies, "2464c4abcf10c957020000005cf79f111f8130c3eee29480", "198.51.100.100", 1_559_731_985)
                .isValid == false
        )
        #expect(
            try judge(cookies, "2464c4abcf10c957010000005cf79f111f8130c3eee29481", "198.51.100.100", 1_559_731_985)
                .isValid == false
        )
        #expect(
            try judge(cookies, "2464c4abcf10c9571122334455667788", "198.51.100.100", 1_559_731_985).isValid == false
        )
    }

    /// Reserved octets may be used by other servers with the same secret: they are hashed as they come.
    @Test func anotherClient() throws {
        let cookies = try #require(ServerCookies(text: secret))
        let old = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"
        let soon = try judge(cookies, old, "203.0.113.203", 1_559_728_000)
        #expect(soon.isValid)
        #expect(hexadecimal(soon.reply).hasPrefix("fc93fc62807ddb8601000000"), "ours are zero")
        #expect(
            try judge(cookies, old.replacing("abcdef", with: "abcdee"), "203.0.113.203", 1_559_728_000).isValid == false
        )
        let reply = try judge(cookies, "fc93fc62807ddb86", "203.0.113.203", 1_559_734_700)
        #expect(hexadecimal(reply.reply) == "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e")
    }

    @Test func theSecretBefore() throws {
        let (new, old) = ("445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715")
        let cookies = try #require(ServerCookies(text: "# shared\n\(new)\n\(old)\n"))
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8"
        let given = "22681ab97d52c298010000005cf7c57926556bd0934c72f8"
        let reply = try judge(cookies, given, address, 1_559_741_961)
        #expect(reply.isValid)
        #expect(hexadecimal(reply.reply) == "22681ab97d52c298010000005cf7c609a6bb79d16625507a")
        let alone = try #require(ServerCookies(text: new))
        #expect(try judge(alone, given, address, 1_559_741_961).isValid == false)
    }

    @Test(arguments: ["", "xyz", "e5e973e5a6b2a43f48e7dc849e37bf", "00\n", "# only this"])
    func whatIsNoSecret(_ text: String) {
        #expect(ServerCookies(text: text) == nil)
    }
}

/// Cookies over sockets.
struct CookieExchangeTests {
    private static let zone = "$TTL 300\n@ SOA ns root 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n"

    private func query(_ name: String, _ option: EDNS.Option) throws -> DNSMessage {
        var query = DNSMessage.query(
            id: .random(in: .min ... .max),
            question: Question(name: try DomainName(name), type: .a)
        )
        query.edns?.options = [option]
        return query
    }

    @Test func clientsGetCookiesFromEitherPath() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (resolver, _) async throws in
            let client: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
            var server: [UInt8] = []
            // First decoded with care, then from the answers that are kept ready; known and unknown cookies.
            for round in 0..<4 {
                let sent = CookieOption(client: client, server: server).option
                let answer = try await resolver.ask(query("www.example.test", sent))
                #expect(answer.answerLines == ["www.example.test. A 192.0.2.2"])
                guard case .cookie(let cookie) = answer.edns?.cookie else {
                    Issue.record("no cookie in round \(round)")
                    return
                }
                #expect(cookie.client == client)
                #expect(cookie.server.count == 16)
                if round > 0 { #expect(cookie.server == server) }
                server = cookie.server
            }
            // Who sends none gets none.
            #expect(try await resolver.ask("www.example.test").edns?.options == [])
            let plain = try query("www.example.test", CookieOption(client: client, server: server).option).encode()
            let framed = [0, UInt8(plain.count)] + plain
            let streamed = try await resolver.stream(framed + framed, answers: 2)
            #expect(streamed.count == 2)
            for answer in streamed {
                #expect(answer.edns?.cookie == .cookie(CookieOption(client: client, server: server)))
            }
        }
    }

    @Test(arguments: [0, 1, 7, 9, 15, 41, 100])
    func malformedCookies(_ length: Int) async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (resolver, _) async throws in
            _ = try await resolver.ask("www.example.test")
            let option = EDNS.Option(code: CookieOption.code, data: [UInt8](repeating: 7, count: length))
            #expect(try await resolver.ask(query("www.example.test", option)).responseCode == .formatError)
        }
    }

    @Test func aCookieWithoutAQuestion() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (resolver, _) async throws in
            var query = try query("www.example.test", CookieOption(client: [UInt8](repeating: 3, count: 8)).option)
            query.questions = []
            let answer = try await resolver.ask(query)
            #expect(answer.responseCode == .noError)
            #expect(answer.edns?.options.first?.data.count == 24)
            query.edns?.options = []
            #expect(try await resolver.ask(query).responseCode == .formatError)
        }
    }

    @Test func requiredCookies() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            settings.rateLimits.requiresCookies = true
        } _: { (resolver, _) async throws in
            let bare = try await resolver.ask("www.example.test")
            #expect(bare.flags.isTruncated)
            #expect(bare.answers.isEmpty)
            let client = [UInt8](repeating: 9, count: 8)
            let refused = try await resolver.ask(query("www.example.test", CookieOption(client: client).option))
            #expect(refused.responseCode == .badCookie)
            #expect(!refused.flags.isTruncated)
            let option = try #require(refused.edns?.options.first)
            for _ in 0..<2 {
                #expect(try await resolver.ask(query("www.example.test", option)).answers.count == 1)
            }
            let octets = DNSMessage.query(id: 1, question: Question(name: try DomainName("www.example.test"), type: .a))
                .encode()
            #expect(try await resolver.stream([0, UInt8(octets.count)] + octets, answers: 1).first?.answers.count == 1)
        }
    }

    @Test func theServersIdentity() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            settings.identity = Array("ns1".utf8)
        } _: { (resolver, _) async throws in
            let asking = EDNS.Option(code: EDNS.identityOptionCode, data: [])
            for _ in 0..<2 {
                let answer = try await resolver.ask(query("www.example.test", asking))
                #expect(answer.answers.count == 1)
                #expect(answer.edns?.options == [EDNS.Option(code: 3, data: Array("ns1".utf8))])
                #expect(try await resolver.ask("www.example.test").edns?.options == [])
            }
        }
    }
}

/// Cookies between us and other servers.
struct UpstreamCookieTests {
    private static func echo(_ query: FakeUpstream.Query, server: [UInt8]) -> DNSMessage {
        var answer = query.message.answered(answers: ["www.example.net. 60 A 192.0.2.7"])
        answer.answers = answer.answers.map { record in
            var record = record
            record.name = query.message.questions[0].name
            return record
        }
        if case .cookie(let cookie) = query.message.edns?.cookie {
            answer.edns?.options = [CookieOption(client: cookie.client, server: server).option]
        }
        return answer
    }

    private static func cookies(_ upstream: FakeUpstream) -> [CookieOption] {
        upstream.queries.compactMap { query in
            if case .cookie(let cookie) = query.message.edns?.cookie { cookie } else { nil }
        }
    }

    @Test func aServersCookieIsRemembered() async throws {
        let server = [UInt8](repeating: 5, count: 16)
        try await TestResolver.with(upstreams: [{ .answer(Self.echo($0, server: server)) }]) {
            (resolver, upstreams) async throws in
            for number in 0..<8 { _ = try await resolver.ask("w\(number).example.net") }
            let cookies = Self.cookies(upstreams[0])
            #expect(cookies.count == 8)
            #expect(cookies.first?.server == [])
            #expect(cookies.last?.server == server)
            // One for each event loop and server.
            #expect(Set(cookies.map(\.client)).count <= 2)
        }
    }

    @Test func aWrongCookieIsAForgery() async throws {
        let server = [UInt8](repeating: 5, count: 16)
        try await TestResolver.with(upstreams: [
            { query in
                var forged = Self.echo(query, server: server)
                forged.answers = forged.answers.compactMap { try? record("\($0.name) 60 A 192.0.2.66") }
                forged.edns?.options = [CookieOption(client: [UInt8](repeating: 0, count: 8), server: server).option]
                return query.isStream
                    ? .silence : .several([.answer(forged), .answer(Self.echo(query, server: server))])
            }
        ]) { (resolver, upstreams) async throws in
            for number in 0..<4 {
                let answer = try await resolver.ask("w\(number).example.net")
                #expect(answer.answers.map(\.presentationData) == ["192.0.2.7"])
            }
            #expect(upstreams[0].queries.allSatisfy { !$0.isStream })
        }
    }

    /// From a server that gave one, an answer without a cookie is believed over TCP only; then it has none any more.
    @Test func aCookieThatIsMissed() async throws {
        let server = [UInt8](repeating: 6, count: 16)
        let hasCookies = NIOLockedValueBox(true)
        try await TestResolver.with(upstreams: [
            { query in
                var answer = Self.echo(query, server: server)
                if !hasCookies.withLockedValue({ $0 }) { answer.edns?.options = [] }
                return .answer(answer)
            }
        ]) { (resolver, upstreams) async throws in
            for _ in 0..<2 { _ = try await resolver.ask("www.example.net") }
            hasCookies.withLockedValue { $0 = false }
            // Names of one domain fall to one event loop.
            for number in 0..<3 {
                let answer = try await resolver.ask("w\(number).example.net")
                #expect(answer.answers.count == 1)
            }
            #expect(upstreams[0].queries.filter(\.isStream).count == 1)
        }
    }

    @Test func aBadCookieIsTriedAgainWithTheNewOne() async throws {
        let server = [UInt8](repeating: 8, count: 16)
        try await TestResolver.with(upstreams: [
            { query in
                var answer = Self.echo(query, server: server)
                if case .cookie(let cookie) = query.message.edns?.cookie, cookie.server != server {
                    answer.answers = []
                    answer.responseCode = .badCookie
                }
                return .answer(answer)
            }
        ]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("www.example.net").answers.count == 1)
            #expect(upstreams[0].queries.count == 2)
            #expect(upstreams[0].queries.allSatisfy { !$0.isStream })
        }
    }

    @Test func badCookiesWithoutEndLeadToTCP() async throws {
        try await TestResolver.with(upstreams: [
            { query in
                var answer = Self.echo(query, server: [UInt8](repeating: .random(in: 0...255), count: 16))
                if !query.isStream {
                    answer.answers = []
                    answer.responseCode = .badCookie
                }
                return .answer(answer)
            }
        ]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("www.example.net").answers.count == 1)
            #expect(upstreams[0].queries.map(\.isStream) == [false, false, true])
        }
    }

    /// A server that chokes on the option is asked without it, and still with EDNS.
    @Test func aServerThatDoesNotKnowTheOption() async throws {
        try await TestResolver.with(upstreams: [
            { query in
                if query.message.edns?.options.isEmpty == false { return .answer(query.message.answered(.formatError)) }
                return .answer(Self.echo(query, server: []))
            }
        ]) { (resolver, upstreams) async throws in
            #expect(try await resolver.ask("www.example.net").answers.count == 1)
            #expect(upstreams[0].queries.last?.message.edns != nil)
        }
    }
}
