import DNS
import Daemon
import Logging
import NIOCore
import Network
import Resolution
import SMTP
import Testing

@testable import RemoteRelay

/// A generator that always gives the same numbers.
struct Steady: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state
    }
}

/// Settings for tests: our name is mail.example.test, and smtpd listens on 192.0.2.1:25.
func testSettings(
    _ relay: String = "",
    routes: String = "",
    smtp: String = "192.0.2.1:25",
    interfaces: [SocketAddress] = []
) throws -> RelaySettings {
    RelaySettings(
        try Configuration(
            text: """
                hostname = "mail.example.test"
                [smtpd]
                smtp = ["\(smtp)"]
                [remote-relay]
                \(relay)
                [remote-relay.routes]
                \(routes)
                """,
            file: "test"
        ),
        interfaces: interfaces
    )
}

/// The hosts that a line of `[remote-relay.routes]` gives a domain; nil where there is none.
func testRoute(to domain: String, _ routes: String) throws -> RelayHosts? {
    let text = "hostname = \"mail.example.test\"\n[remote-relay.routes]\n\(routes)"
    let table = RouteTable(try Configuration(text: text, file: "test").remoteRelay)
    guard case .hosts(let hosts) = table.route(for: .init(destination: domain)) else { return nil }
    return hosts
}

@Suite struct RoutingTests {
    private func exchange(_ preference: UInt16, _ host: String) throws -> MailExchange {
        let name = try DomainName(host)
        let record = try ResourceRecord(
            name: try DomainName("example.net"),
            type: .mx,
            class: .internet,
            timeToLive: 60,
            wireData: [UInt8(preference >> 8), UInt8(preference & 0xff)] + name.wire
        )
        return try #require(MailExchange(record))
    }

    private func order(_ list: [(UInt16, String)], seed: UInt64 = 1) throws -> MailExchangeList.Result {
        var generator = Steady(state: seed)
        let own = try DomainName("mail.example.test")
        let exchanges = try list.map { try exchange($0.0, $0.1) }
        return MailExchangeList.order(exchanges, isOurs: { $0 == own }, using: &generator)
    }

    @Test func preferenceDecides() throws {
        let names = try ["a.net", "b.net", "c.net"].map { try DomainName($0) }
        #expect(try order([(30, "c.net"), (10, "a.net"), (20, "b.net")]) == .hosts(names))
    }

    @Test func equalPreferenceIsShuffled() throws {
        var firsts: Set<String> = []
        for seed in 0..<50 {
            guard case .hosts(let hosts) = try order([(10, "a.net"), (10, "b.net"), (20, "c.net")], seed: UInt64(seed))
            else {
                Issue.record("there are hosts")
                return
            }
            firsts.insert(hosts[0].description)
            #expect(hosts[2] == (try DomainName("c.net")))
        }
        #expect(firsts.count == 2)
    }

    @Test func nullAndLoop() throws {
        #expect(try order([(0, ".")]) == .null)
        #expect(try order([(10, "mail.example.test"), (20, "b.net")]) == .loop)
        let better = try DomainName("a.net")
        #expect(try order([(5, "a.net"), (10, "MAIL.example.TEST"), (10, "b.net"), (20, "c.net")]) == .hosts([better]))
    }

    @Test(arguments: [
        ("example.net", "exact"), ("EXAMPLE.net", "exact"), ("sub.example.net", "below"),
        ("a.sub.example.net", "below"), ("deep.a.example.org", "star"), ("xexample.net", "star"),
    ])
    func routes(domain: String, host: String) {
        let table = DomainTable(["example.net": "exact", ".example.net": "below", "*": "star"])
        #expect(table[domain] == host)
        #expect(DomainTable<String>([:])[domain] == nil)
    }
}

@Suite struct HostLookupTests {
    /// Zone data: "NAME TYPE" to master-file data, or to a response code.
    private func lookUp(
        _ destination: String,
        _ zone: [String: [String]],
        codes: [String: ResponseCode] = [:],
        routes: String = "",
        settings: RelaySettings? = nil,
        isFromOurZone: Bool = false
    ) async throws -> Result<[Target], HostLookup.Failure> {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let lookup = HostLookup(settings: try settings ?? testSettings(routes: routes), logger: logger) {
            (name, type) async throws(ResolutionError) in
            let key = "\(name) \(type)"
            if let code = codes[key] { return Resolution(responseCode: code, answers: []) }
            var answers: [ResourceRecord] = []
            for text in zone[key] ?? [] {
                guard let record = Self.record(name, type, text) else { throw .malformed }
                answers.append(record)
            }
            return Resolution(responseCode: .noError, answers: answers, isFromOurZone: isFromOurZone)
        }
        return await lookup.targets(of: destination, route: try testRoute(to: destination, routes))
    }

    private static func record(_ name: DomainName, _ type: RecordType, _ text: String) -> ResourceRecord? {
        let data: [UInt8]
        switch type {
        case .mx:
            let parts = text.split(separator: " ")
            guard parts.count == 2, let preference = UInt16(parts[0]), let host = try? DomainName(String(parts[1]))
            else {
                return nil
            }
            data = [UInt8(preference >> 8), UInt8(preference & 0xff)] + host.wire
        default:
            guard let octets = (try? SocketAddress(ipAddress: text, port: 0))?.addressOctets else { return nil }
            let isMapped = type == .aaaa && octets.count == 4
            data = isMapped ? [UInt8](repeating: 0, count: 10) + [0xff, 0xff] + octets : octets
        }
        return try? ResourceRecord(name: name, type: type, class: .internet, timeToLive: 60, wireData: data)
    }

    private func addresses(_ result: Result<[Target], HostLookup.Failure>) -> [String] {
        (try? result.get())?.map { "\($0.host) \($0.address.ipAddress ?? "") \($0.address.port ?? 0)" } ?? []
    }

    private func status(_ result: Result<[Target], HostLookup.Failure>) -> String? {
        if case .failure(let failure) = result { return failure.result.status.description }
        return nil
    }

    @Test func familiesTakeTurns() async throws {
        let result = try await lookUp(
            "example.net",
            [
                "example.net. MX": ["10 mx.example.net."],
                "mx.example.net. A": ["192.0.2.20", "192.0.2.21"], "mx.example.net. AAAA": ["2001:db8::20"],
            ]
        )
        #expect(
            addresses(result) == [
                "mx.example.net 2001:db8::20 25", "mx.example.net 192.0.2.20 25", "mx.example.net 192.0.2.21 25",
            ]
        )
    }

    @Test func domainWithoutMXIsItsOwnHost() async throws {
        let result = try await lookUp("example.net", ["example.net. A": ["192.0.2.20"]])
        #expect(addresses(result) == ["example.net 192.0.2.20 25"])
    }

    @Test func failuresHaveTheirCodes() async throws {
        #expect(try await status(lookUp("a.net", [:], codes: ["a.net. MX": .nameError])) == "5.1.2")
        #expect(try await status(lookUp("a.net", [:], codes: ["a.net. MX": .serverFailure])) == "4.4.3")
        #expect(try await status(lookUp("a.net", ["a.net. MX": ["0 ."]])) == "5.1.10")
        #expect(try await status(lookUp("a.net", [:])) == "5.1.10")
        #expect(try await status(lookUp("a.net", ["a.net. MX": ["10 mx.a.net."]])) == "4.4.4")
        #expect(try await status(lookUp("a.net", ["a.net. MX": ["10 mail.example.test."]])) == "5.4.6")
        let ours = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. A": ["192.0.2.1"]]
        #expect(try await status(lookUp("a.net", ours)) == "5.4.6")
    }

    @Test func whatCannotBeLookedUpIsAboutTheDestination() async throws {
        for codes in [["a.net. MX": ResponseCode.serverFailure], [:]] {
            let zone = codes.isEmpty ? ["a.net. MX": ["10 mx.a.net."]] : [:]
            guard case .failure(let failure) = try await lookUp("a.net", zone, codes: codes) else {
                Issue.record("there are no hosts")
                return
            }
            #expect(failure.result.scope == .destination)
        }
    }

    @Test func backupHostWaitsForTheBetterOne() async throws {
        let zone = ["a.net. MX": ["10 mx.a.net.", "20 backup.net."], "backup.net. A": ["192.0.2.1"]]
        let codes = ["mx.a.net. A": ResponseCode.serverFailure, "mx.a.net. AAAA": .serverFailure]
        #expect(try await status(lookUp("a.net", zone, codes: codes)) == "4.4.3")
    }

    @Test func wildcardsMeanAllOurAddresses() async throws {
        let own = [try SocketAddress(ipAddress: "192.0.2.50", port: 0), try SocketAddress(ipAddress: "::1", port: 0)]
        let settings = try testSettings(smtp: "0.0.0.0:25", interfaces: own)
        for (host, code) in [("192.0.2.50", "5.4.6"), ("0.0.0.0", "5.4.6"), ("192.0.2.51", nil)] {
            let zone = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. A": [host]]
            #expect(try await status(lookUp("a.net", zone, settings: settings)) == code)
            #expect(try await status(lookUp("a.net", ["a.net. A": [host]], settings: settings)) == code)
            #expect(try await status(lookUp("[\(host)]", [:], settings: settings)) == code)
        }
        #expect(!settings.isOwn(try SocketAddress(ipAddress: "::1", port: 25)))
        #expect(!settings.isOwn(try SocketAddress(ipAddress: "192.0.2.50", port: 2525)))
    }

    /// Whoever writes a domain's DNS can't make us talk to ourselves, in whatever form the address comes.
    @Test(arguments: [
        "127.0.0.1", "127.8.9.10", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:192.0.2.1",
        "192.0.2.1",
    ])
    func mailOfOthersIsNotForThisMachine(host: String) async throws {
        let type = host.contains(":") ? "AAAA" : "A"
        #expect(
            try await status(lookUp("a.net", ["a.net. MX": ["10 mx.a.net."], "mx.a.net. \(type)": [host]])) == "5.4.6"
        )
        #expect(try await status(lookUp("a.net", ["a.net. \(type)": [host]])) == "5.4.6")
        #expect(try await status(lookUp("[\(host.contains(":") ? "IPv6:" : "")\(host)]", [:])) == "5.4.6")
        // Better hosts are tried, worse ones are not.
        let zone = [
            "a.net. MX": ["10 good.net.", "20 mx.a.net.", "30 worse.net."], "mx.a.net. \(type)": [host],
            "good.net. A": ["192.0.2.9"], "worse.net. A": ["192.0.2.10"],
        ]
        #expect(try await addresses(lookUp("a.net", zone)) == ["good.net 192.0.2.9 25"])
    }

    /// What the administrator has put into a zone of ours is meant.
    @Test func ourOwnZonesMayLeadToThisMachine() async throws {
        let zone = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. A": ["127.0.0.9"]]
        #expect(try await addresses(lookUp("a.net", zone, isFromOurZone: true)) == ["mx.a.net 127.0.0.9 25"])
        #expect(
            try await addresses(lookUp("a.net", ["a.net. A": ["127.0.0.9"]], isFromOurZone: true)) == [
                "a.net 127.0.0.9 25"
            ]
        )
        let own = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. A": ["192.0.2.1"]]
        #expect(try await status(lookUp("a.net", own, isFromOurZone: true)) == "5.4.6")
    }

    @Test func mappedAddressesAreIPv4() async throws {
        let zone = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. AAAA": ["::ffff:192.0.2.9"]]
        #expect(try await addresses(lookUp("a.net", zone)) == ["mx.a.net 192.0.2.9 25"])
        #expect(try await addresses(lookUp("[IPv6:::ffff:192.0.2.9]", [:])) == ["[IPv6:::ffff:192.0.2.9] 192.0.2.9 25"])
        // One good address among those that are nobody's.
        let mixed = ["a.net. MX": ["10 mx.a.net."], "mx.a.net. A": ["127.0.0.1", "192.0.2.9"]]
        #expect(try await addresses(lookUp("a.net", mixed)) == ["mx.a.net 192.0.2.9 25"])
    }

    /// A route that leads to our own smtpd is the administrator's mistake: mail waits until it's mended.
    @Test(arguments: [
        ("127.0.0.1:2525", "127.0.0.1:2525"), ("127.0.0.1:2525", "0.0.0.0:2525"),
        ("127.0.0.1:2525", "[::ffff:127.0.0.1]:2525"), ("0.0.0.0:2525", "127.9.9.9:2525"),
        ("0.0.0.0:2525", "192.0.2.50:2525"), ("[::]:2525", "[::1]:2525"), ("192.0.2.1:25", "mail.example.test:25"),
        ("192.0.2.1:25", "other.example.test:25"),
    ])
    func routeToOurselvesIsNotFollowed(smtp: String, route: String) async throws {
        let interfaces = [try SocketAddress(ipAddress: "192.0.2.50", port: 0)]
        let settings = try testSettings(smtp: smtp, interfaces: interfaces)
        let zone = ["mail.example.test. A": ["198.51.100.1"], "other.example.test. A": ["192.0.2.1"]]
        let found = try await lookUp("a.net", zone, routes: "\"a.net\" = \"\(route)\"", settings: settings)
        #expect(status(found) == "4.4.6")
    }

    @Test func routesMayLeadToOtherServicesHere() async throws {
        let settings = try testSettings(smtp: "0.0.0.0:25")
        let found = try await lookUp("a.net", [:], routes: "\"a.net\" = \"127.0.0.1:10025\"", settings: settings)
        #expect(addresses(found) == ["127.0.0.1 127.0.0.1 10025"])
    }

    /// As Postfix writes a host whose MX records don't count.
    @Test(arguments: [("[mx.a.net]:2525", 2525), ("[mx.a.net]", 25)])
    func routesTakeBrackets(route: String, port: Int) async throws {
        let zone = ["mx.a.net. A": ["192.0.2.9"]]
        let found = try await lookUp("a.net", zone, routes: "\"a.net\" = \"\(route)\"")
        #expect(addresses(found) == ["mx.a.net 192.0.2.9 \(port)"])
    }

    @Test(arguments: ["[mx.a.net", "mx.a.net]", "[]", "[]:25", "[mx.a.net]x:25", "[[mx.a.net]]:25"])
    func brokenRoutesAreRefused(route: String) throws {
        #expect(throws: ConfigurationError.self) { _ = try testSettings(routes: "\"a.net\" = \"\(route)\"") }
    }

    @Test func onlyNamesAreToldInTLS() async throws {
        let address = try SocketAddress(ipAddress: "192.0.2.9", port: 25)
        #expect(Target(host: "mx.example.net", address: address).name == "mx.example.net")
        #expect(Target(host: "192.0.2.9", address: address).name == nil)
        #expect(Target(host: "[192.0.2.9]", address: address).name == nil)
    }

    @Test func routesAndLiteralsAskNobody() async throws {
        #expect(
            try await addresses(lookUp("a.net", [:], routes: "\"a.net\" = \"[2001:db8::9]:2525\""))
                == ["2001:db8::9 2001:db8::9 2525"]
        )
        #expect(try await addresses(lookUp("[192.0.2.77]", [:])) == ["[192.0.2.77] 192.0.2.77 25"])
        #expect(try await addresses(lookUp("[IPv6:2001:db8::7]", [:])) == ["[IPv6:2001:db8::7] 2001:db8::7 25"])
        #expect(try await status(lookUp("[nonsense]", [:])) != nil)
    }
}
