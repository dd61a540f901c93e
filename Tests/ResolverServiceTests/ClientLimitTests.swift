import DNS
import DNSFixtures
import Daemon
import NIOCore
import NIOConcurrencyHelpers
import NIOPosix
import Network
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

struct ResponseRateLimiterTests {
    private let network = ClientNetwork([192, 0, 2, 9])

    private func sent(_ limiter: inout ResponseRateLimiter, _ count: Int, kind: UInt64 = 1, now: UInt32 = 0) -> Int {
        (0..<count).reduce(0) { sum, _ in sum + (limiter.judge(network, kind: kind, now: now) == .send ? 1 : 0) }
    }

    @Test func answersOfOneKind() {
        var limiter = ResponseRateLimiter(RateLimits(perKind: 10, all: 0, slip: 0))
        // Another kind has its own balance.
        let first = [sent(&limiter, 100), sent(&limiter, 100, kind: 2)]
        #expect(first == [10, 10])
        // The balance has fallen to two seconds below nothing at most, so that it's good again after three.
        let later = [sent(&limiter, 100, now: 1000), sent(&limiter, 100, now: 4100)]
        #expect(later == [0, 10])
        let other = limiter.judge(ClientNetwork([192, 0, 3, 9]), kind: 1, now: 0)
        #expect(other == .send)
        #expect(ClientNetwork([192, 0, 2, 1]) == network)
    }

    @Test func answersOfAllKinds() {
        var limiter = ResponseRateLimiter(RateLimits(perKind: 0, all: 20, slip: 0))
        let sent = (0..<100).filter { limiter.judge(network, kind: UInt64($0), now: 5) == .send }
        #expect(sent.count == 20)
    }

    @Test func oneInSoManySlips() {
        var limiter = ResponseRateLimiter(RateLimits(perKind: 1, all: 0, slip: 3))
        let verdicts = (0..<10).map { _ in limiter.judge(network, kind: 1, now: 0) }
        #expect(verdicts == [.send, .drop, .drop, .slip, .drop, .drop, .slip, .drop, .drop, .slip])
    }

    /// Very many networks push each other out, and no memory grows.
    @Test func veryManyNetworks() {
        var limiter = ResponseRateLimiter(RateLimits(perKind: 5, all: 5, slip: 0))
        for number in 0..<UInt32(300_000) {
            let network = ClientNetwork([
                UInt8(number >> 16 & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF), 1,
            ])
            let verdict = limiter.judge(network, kind: 1, now: number / 100)
            #expect(verdict == .send)
        }
        let sent = sent(&limiter, 50, now: 5000)
        #expect(sent <= 5)
    }

    @Test func networksOfIPv6() {
        let prefix: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 1, 2]
        let one = ClientNetwork(prefix + [1] + [UInt8](repeating: 0, count: 8))
        #expect(one == ClientNetwork(prefix + [2] + [UInt8](repeating: 9, count: 8)))
        #expect(one != ClientNetwork([0x20, 0x01, 0x0D, 0xB8, 0, 1, 3, 1] + [UInt8](repeating: 0, count: 8)))
    }
}

struct WaitingClientsTests {
    @Test func oneClientLeavesRoomForOthers() {
        var waiting = WaitingClients(maximum: 3)
        let (one, other) = (ClientNetwork([192, 0, 2, 1]), ClientNetwork([192, 0, 3, 1]))
        var begun = (0..<4).map { _ in waiting.begin(one, isProven: false) }
        #expect(begun == [true, true, true, false])
        begun = [waiting.begin(one, isProven: true), waiting.begin(other, isProven: false)]
        #expect(begun == [true, true])
        let ended = (0..<4).map { _ in waiting.end(one, since: .now()) }
        #expect(!ended.contains(false))
        #expect(waiting.count(one) == 0)
        let again = waiting.begin(one, isProven: false)
        #expect(again)
    }

    @Test func lateAnswersOfMany() {
        var waiting = WaitingClients(maximum: 100)
        let client = ClientNetwork([192, 0, 2, 1])
        for _ in 0..<50 { _ = waiting.begin(client, isProven: false) }
        let long = NIODeadline.now() - .seconds(3)
        let sent = (0..<50).filter { _ in waiting.end(client, since: long) }
        #expect(sent.count == 32, "a few may be as late as they like")
    }
}

/// Limits over sockets.
struct ClientLimitTests {
    private static let zone = "$TTL 300\n@ SOA ns root 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n"

    /// Sends many queries from one socket and gives what comes back.
    private func flood(_ resolver: TestResolver, _ queries: [[UInt8]]) async throws -> [DNSMessage] {
        let port = resolver.port
        return try await NIOThreadPool.singleton.runIfActive {
            let socket = BlockingSocket(datagram: port)
            defer { socket.close() }
            for query in queries { socket.send(query) }
            socket.setTimeout(milliseconds: 500)
            var answers: [DNSMessage] = []
            while let octets = socket.receive() { answers.append(try DNSMessage(decoding: octets)) }
            return answers
        }
    }

    private func queries(_ count: Int, _ name: (Int) -> String) throws -> [[UInt8]] {
        try (0..<count).map { number in
            let question = Question(name: try DomainName(name(number)), type: .a)
            return DNSMessage.query(id: UInt16(number), question: question).encode()
        }
    }

    @Test func repliesToAFloodAreFewAndCut() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            settings.rateLimits = RateLimits(perKind: 5, all: 0, slip: 2)
        } _: { (resolver, _) async throws in
            let start = NIODeadline.now()
            let answers = try await flood(resolver, queries(200) { _ in "www.example.test" })
            let seconds = Int((NIODeadline.now() - start).nanoseconds / 1_000_000_000) + 1
            let whole = answers.filter { !$0.flags.isTruncated }
            let cut = answers.filter { $0.flags.isTruncated }
            #expect(whole.count >= 1 && whole.count <= 5 * (seconds + 1))
            #expect(cut.count >= 50 && cut.count <= 100)
            #expect(cut.allSatisfy { $0.answers.isEmpty && $0.questions.count == 1 })
            // Names that aren't there count together.
            let missing = try await flood(resolver, queries(100) { "x\($0).example.test" })
            #expect(missing.filter { $0.responseCode == .nameError }.count <= 15)
            // By TCP everything is answered.
            let query = try queries(1) { _ in "www.example.test" }[0]
            let framed: [UInt8] = (0..<40).flatMap { _ in [0, UInt8(query.count)] + query }
            #expect(try await resolver.stream(framed, answers: 40).count == 40)
        }
    }

    @Test func whoShowsACookieIsNotLimited() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            settings.rateLimits = RateLimits(perKind: 1, all: 1, slip: 1)
        } _: { (resolver, _) async throws in
            var query = DNSMessage.query(id: 1, question: Question(name: try DomainName("www.example.test"), type: .a))
            query.edns?.options = [CookieOption(client: [UInt8](repeating: 4, count: 8)).option]
            let first = try await resolver.ask(query)
            let bad = try await flood(resolver, Array(repeating: query.encode(), count: 20))
            #expect(bad.filter { $0.responseCode == .badCookie }.count >= 10)
            query.edns?.options = first.edns?.options ?? []
            let good = try await flood(resolver, Array(repeating: query.encode(), count: 50))
            #expect(good.count == 50)
            #expect(good.allSatisfy { $0.answers.count == 1 })
        }
    }

    @Test func exemptNetworks() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            let exempt = AddressRange("127.0.0.0/8").map { [$0] } ?? []
            settings.rateLimits = RateLimits(perKind: 1, all: 1, slip: 0, exempt: exempt)
        } _: { (resolver, _) async throws in
            let answers = try await flood(resolver, queries(50) { _ in "www.example.test" })
            #expect(answers.count == 50)
        }
    }

    @Test func oneClientsQuestionsThatWait() async throws {
        let isOpen = NIOLockedValueBox(false)
        try await TestResolver.with(upstreams: [
            { query in
                guard isOpen.withLockedValue({ $0 }) else { return .silence }
                return .answer(query.message.answered(answers: ["\(query.message.questions[0].name) 60 A 192.0.2.7"]))
            }
        ]) { (settings) in
            settings.maximumPendingPerClient = 10
            settings.recursion.queryTimeout = .seconds(3)
        } _: { (resolver, _) async throws in
            let answers = try await flood(resolver, queries(60) { "w\($0).example.net" })
            // All of one socket come to one event loop: what is over the limit is refused at once.
            #expect(answers.count == 50)
            #expect(answers.allSatisfy { $0.responseCode == .serverFailure })
            let crowded = try #require(answers.first?.edns?.options.first.flatMap(ExtendedError.init))
            #expect(crowded.text.contains("waiting"))
            isOpen.withLockedValue { $0 = true }
            // When those have been given up there is room again.
            for _ in 0..<100 where try await resolver.ask("later.example.net").answers.isEmpty {
                try await Task.sleep(for: .milliseconds(100))
            }
            #expect(try await resolver.ask("later.example.net").answers.count == 1)
        }
    }

    @Test func localZonesForSomeOnly() async throws {
        try await TestResolver.with(zones: ["example.test": Self.zone]) { (settings) in
            var list = AccessList()
            list.networks = AddressRange("192.0.2.0/24").map { [$0] } ?? []
            settings.allowQuery = list
        } _: { (resolver, _) async throws in
            for _ in 0..<2 {
                let answer = try await resolver.ask("www.example.test")
                #expect(answer.responseCode == .refused)
                #expect(answer.edns?.options.first.flatMap(ExtendedError.init)?.code == ExtendedError.prohibitedCode)
            }
            // The machine's own programs get all the same.
            let query = try queries(1) { _ in "www.example.test" }[0]
            let own = try await resolver.stream([0, UInt8(query.count)] + query, answers: 1, unix: true)
            #expect(own.first?.answers.count == 1)
        }
    }

    /// A client that asks for much and reads nothing makes the resolver hold a bounded part of it.
    @Test func aSlowReader() async throws {
        let big = Self.zone + (0..<200).map { "big TXT \"\($0) \(String(repeating: "x", count: 240))\"\n" }.joined()
        try await TestResolver.with(zones: ["example.test": big]) { (resolver, _) async throws in
            let question = Question(name: try DomainName("big.example.test"), type: .txt)
            let query = DNSMessage.query(id: 1, question: question).encode()
            let framed: [UInt8] = (0..<400).flatMap { _ in [0, UInt8(query.count)] + query }
            let port = resolver.streamPort
            let octets = try await NIOThreadPool.singleton.runIfActive {
                let socket = BlockingSocket(stream: port)
                defer { socket.close() }
                socket.setTimeout(milliseconds: 20_000)
                socket.send(framed)
                // Others are served meanwhile; then everything is there that was asked for.
                var count = 0
                for _ in 0..<400 {
                    guard let length = socket.receiveExactly(2),
                        let answer = socket.receiveExactly(Int(length[0]) << 8 | Int(length[1]))
                    else { break }
                    count += answer.count
                }
                return count
            }
            #expect(octets > 400 * 50_000)
        }
    }

    @Test func answersAreNeverFragmented() throws {
        for (address, level, option, expected) in [
            ("127.0.0.1", CInt(IPPROTO_IP), IP_MTU_DISCOVER, IP_PMTUDISC_PROBE),
            ("::1", CInt(IPPROTO_IPV6), IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE),
        ] {
            let sockets = try DatagramSockets.bind(SocketAddress(ipAddress: address, port: 0), count: 1)
            let socket = try #require(sockets.first)
            defer { close(socket) }
            var value: CInt = 0
            var size = socklen_t(MemoryLayout<CInt>.size)
            #expect(getsockopt(socket, level, option, &value, &size) == 0)
            #expect(value == expected)
        }
    }
}
