import DNS
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

/// Servers of zones on loopback addresses, from the root down, all on one port.
struct FakeInternet: Sendable {
    /// By the last octet of their address 127.0.0.x; 2 is the root's.
    var servers: [Int: FakeUpstream.Behaviour]

    /// The servers of the root, of `test-tld` and of whatever a test adds.
    init(_ more: [Int: FakeUpstream.Behaviour] = [:], root: String = "", tld: String = "") throws {
        servers = [
            2: try Self.serving([
                ".": """
                . SOA a.root. nobody. 1 3600 600 86400 300
                . NS a.root.
                a.root. A 127.0.0.2
                tld. NS ns.tld.
                ns.tld. A 127.0.0.3
                \(root)
                """
            ]),
            3: try Self.serving([
                "tld.": """
                tld. SOA ns.tld. nobody.tld. 1 3600 600 86400 300
                tld. NS ns.tld.
                ns.tld. A 127.0.0.3
                \(tld)
                """
            ]),
        ]
        for (number, behaviour) in more { servers[number] = behaviour }
    }

    /// A server that answers from zones: top to master file lines.
    static func serving(_ zones: [String: String]) throws -> FakeUpstream.Behaviour {
        let zones = try zones.map { name, text in
            let origin = try DomainName(name)
            let octets = Array("$TTL 3600\n\(text)\n".utf8)
            let records = try MasterFile.parse(octets, file: name, origin: origin) { _ in
                .failure(MasterFileIncludeError(reason: ""))
            }
            return try Zone(origin: origin, file: name, records: records)
        }
        .sorted { $0.origin.labelCount > $1.origin.labelCount }
        return { query in
            let question = query.message.questions[0]
            let fits: (Zone) -> Bool = { zone in
                question.name.isSubdomain(of: zone.origin)
                    && (question.type != .ds || question.name != zone.origin || zones.count == 1)
            }
            guard let zone = zones.first(where: fits) else { return .answer(query.message.response(.refused)) }
            let local = zone.answer(question)
            var answer = query.message.response(local.code)
            answer.flags.isAuthoritative = local.isAuthoritative
            answer.answers = local.answers
            answer.authorities = local.authorities
            answer.additionals = local.additionals
            return .answer(answer)
        }
    }

    /// Runs a test with a resolver that knows the root's server. The servers come by their number.
    func with(
        zones: [String: String] = [:],
        configure: @escaping (inout ResolverSettings) -> Void = { _ in },
        _ body: (TestResolver, [Int: FakeUpstream]) async throws -> Void
    ) async throws {
        let numbers = servers.keys.sorted()
        try await TestResolver.with(zones: zones) { group in
            try await start(numbers, on: group)
        } configure: { settings, upstreams in
            let port = upstreams.first?.address.port ?? 0
            settings.recursion.serverPort = port
            settings.recursion.addresses.asksLoopback = true
            let hints = Array(". 3600 NS a.root.\na.root. 3600 A 127.0.0.2\n".utf8)
            settings.recursion.rootHints = try? RootHints(hints, file: "hints", port: port)
            configure(&settings)
        } _: { resolver, upstreams in
            try await body(resolver, Dictionary(uniqueKeysWithValues: zip(numbers, upstreams)))
        }
    }

    private func start(_ numbers: [Int], on group: any EventLoopGroup) async throws -> [FakeUpstream] {
        for _ in 0..<20 {
            var started: [FakeUpstream] = []
            do {
                for number in numbers {
                    let port = started.first?.address.port ?? 0
                    let behaviour = try #require(servers[number])
                    started.append(
                        try await FakeUpstream.start(on: group, host: "127.0.0.\(number)", port: port, behaviour)
                    )
                }
                return started
            } catch {
                // The port is taken at one of the addresses: another one.
                for upstream in started { await upstream.stop() }
            }
        }
        throw ChannelError.operationUnsupported
    }
}

extension FakeUpstream {
    /// What was asked, as `name type`.
    var asked: [String] {
        queries.map { query in
            let question = query.message.questions[0]
            return "\(question.name.lowercased) \(question.type)"
        }
    }
}
