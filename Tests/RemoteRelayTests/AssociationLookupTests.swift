import DNS
import Daemon
import Logging
import NIOCore
import Network
import Resolution
import SMTP
import TLS
import Testing

@testable import RemoteRelay

/// Which TLSA records count (RFC 7672 §2.2), by what the DNS says and how much of it is signed.
@Suite struct AssociationLookupTests {
    private static let record = "3 1 1 " + String(repeating: "ab", count: 32)

    /// What the DNS says.
    private struct Zone: Sendable {
        /// "NAME TYPE" to data; aliases are followed, as resolverd does.
        var records: [String: [String]] = [
            "a.net. MX": ["10 mx.a.net."], "mx.a.net. A": ["192.0.2.9"], "_25._tcp.mx.a.net. TLSA": [record],
        ]
        /// Names whose answers are not signed.
        var unsigned: Set<String> = []
        var codes: [String: ResponseCode] = [:]

        func resolve(_ name: DomainName, _ type: RecordType) throws(ResolutionError) -> Resolution {
            if let code = codes["\(name) \(type)"] { return Resolution(responseCode: code, answers: []) }
            var owner = name
            var answers: [ResourceRecord] = []
            var isSigned = !unsigned.contains("\(owner)")
            while type != .cname, let target = records["\(owner) CNAME"]?.first {
                answers += try Self.read(owner, .cname, [target])
                guard let next = try? DomainName(target) else { throw .malformed }
                owner = next
                isSigned = isSigned && !unsigned.contains("\(owner)")
            }
            answers += try Self.read(owner, type, records["\(owner) \(type)"] ?? [])
            return Resolution(responseCode: .noError, answers: answers, isAuthentic: isSigned)
        }

        private static func read(
            _ owner: DomainName,
            _ type: RecordType,
            _ data: [String]
        ) throws(ResolutionError) -> [ResourceRecord] {
            var found: [ResourceRecord] = []
            for text in data {
                let line = Array("\(owner) 60 IN \(type) \(text)\n".utf8)
                let records = try? MasterFile.parse(line, file: "zone", origin: .root) { _ in
                    .failure(MasterFileIncludeError(reason: "there are no others"))
                }
                guard let records else { throw .malformed }
                found += records.map(\.record)
            }
            return found
        }
    }

    private func associations(
        _ change: (inout Zone) -> Void = { _ in },
        settings: String = "",
        route: String? = nil
    ) async throws -> HostAssociations {
        var zone = Zone()
        change(&zone)
        let fixed = zone
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let routes = route.map { "\"a.net\" = \"\($0)\"" } ?? ""
        let lookup = HostLookup(settings: try testSettings(settings, routes: routes), logger: logger) {
            (name, type) async throws(ResolutionError) in try fixed.resolve(name, type)
        }
        let found = await lookup.targets(of: "a.net", route: try testRoute(to: "a.net", routes))
        return try #require(try found.get().first).associations
    }

    private func names(_ found: HostAssociations) -> [String]? {
        switch found {
        case .records(_, let names): names
        case .nothing, .unknown: nil
        }
    }

    @Test func signedRecordsCount() async throws {
        let found = try await associations()
        #expect(
            found.usable == [DANERecord(usage: 3, selector: 1, matching: 1, data: [UInt8](repeating: 0xab, count: 32))]
        )
        #expect(names(found) == ["mx.a.net", "a.net"])
    }

    @Test(arguments: ["a.net.", "mx.a.net.", "_25._tcp.mx.a.net."])
    func whatIsNotSignedDoesNot(name: String) async throws {
        #expect(try await associations { $0.unsigned = [name] } == .nothing)
    }

    @Test func nothingIsAskedForWhereItIsOff() async throws {
        for setting in ["dane = false", "tls = \"off\""] {
            let codes = ["_25._tcp.mx.a.net. TLSA": ResponseCode.serverFailure]
            #expect(try await associations({ $0.codes = codes }, settings: setting) == .nothing)
        }
    }

    @Test func noAnswerIsNotNo() async throws {
        for code in [ResponseCode.serverFailure, .refused] {
            let found = try await associations { $0.codes = ["_25._tcp.mx.a.net. TLSA": code] }
            guard case .unknown = found else {
                Issue.record("\(code): \(found)")
                continue
            }
        }
        let denied = try await associations { $0.codes = ["_25._tcp.mx.a.net. TLSA": .nameError] }
        #expect(denied == .nothing)
    }

    @Test func aliasesAreFollowedWhereTheyAreSigned() async throws {
        let alias: (inout Zone) -> Void = { zone in
            zone.records["mx.a.net. A"] = nil
            zone.records["mx.a.net. CNAME"] = ["host.b.net."]
            zone.records["host.b.net. A"] = ["192.0.2.9"]
            zone.records["_25._tcp.host.b.net. TLSA"] = [Self.record]
        }
        #expect(names(try await associations(alias)) == ["host.b.net", "a.net"])
        // Without records at its end, those at the alias count.
        let first = try await associations {
            alias(&$0)
            $0.records["_25._tcp.host.b.net. TLSA"] = nil
        }
        #expect(names(first) == ["mx.a.net", "a.net"])
        // Its end isn't signed, but the alias is.
        let half = try await associations {
            alias(&$0)
            $0.unsigned = ["host.b.net."]
        }
        #expect(names(half) == ["mx.a.net", "a.net"])
        let unsigned = try await associations {
            alias(&$0)
            $0.unsigned = ["host.b.net.", "mx.a.net."]
        }
        #expect(unsigned == .nothing)
    }

    @Test func aliasOfTheDomainIsOneOfItsNames() async throws {
        let found = try await associations { zone in
            zone.records["a.net. MX"] = nil
            zone.records["a.net. CNAME"] = ["b.net."]
            zone.records["b.net. MX"] = ["10 mx.a.net."]
        }
        #expect(names(found) == ["mx.a.net", "a.net", "b.net"])
    }

    @Test func domainWithoutMXHasItsOwn() async throws {
        let found = try await associations { zone in
            zone.records = ["a.net. A": ["192.0.2.9"], "_25._tcp.a.net. TLSA": [Self.record]]
        }
        #expect(names(found) == ["a.net"])
    }

    @Test func routesHaveTheirPort() async throws {
        let found = try await associations(
            {
                $0.records["_587._tcp.mx.a.net. TLSA"] = [Self.record]
                $0.records["_25._tcp.mx.a.net. TLSA"] = nil
            },
            route: "mx.a.net:587"
        )
        #expect(names(found) == ["mx.a.net"])
        #expect(try await associations(route: "192.0.2.9:587") == .nothing)
    }

    @Test func recordsThatCannotBeReadCanNotBeUsed() async throws {
        let found = try await associations { $0.records["_25._tcp.mx.a.net. TLSA"] = ["3 1 1 abcd", "1 1 1 " + "00"] }
        guard case .records(let records, _) = found else {
            Issue.record("\(found)")
            return
        }
        #expect(records.count == 2 && found.usable.isEmpty)
    }
}
