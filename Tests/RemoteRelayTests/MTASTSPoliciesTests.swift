import DNS
import Daemon
import Logging
import MailAuth
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Reporting
import SMTP
import TLS
import Testing

@testable import RemoteRelay

#if canImport(Glibc)
import Glibc
#endif

/// When a domain's policy is fetched, and for how long it counts (RFC 8461 §3).
@Suite struct MTASTSPoliciesTests {
    /// What the world says, and what it was asked for.
    private struct Outside: Sendable {
        var texts: [[UInt8]]? = [Array("v=STSv1; id=1;".utf8)]
        var policy: Result<String, MTASTSFault> = .success(MTASTSPoliciesTests.policy())
        var now: Int64 = 1_000_000
        var fetches = 0
    }

    private let outside = NIOLockedValueBox(Outside())
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    private static func policy(_ mode: String = "enforce", age: Int = 86400) -> String {
        "version: STSv1\nmode: \(mode)\nmx: mx.a.net\nmax_age: \(age)\n"
    }

    private func policies(_ file: StateFile? = nil) -> MTASTSPolicies {
        let outside = outside
        return MTASTSPolicies(
            .init(
                texts: { name in "\(name)" == "_mta-sts.a.net." ? outside.withLockedValue { $0.texts } : [] },
                fetch: { (_) async throws(MTASTSFault) in
                    let answer = outside.withLockedValue { world in
                        world.fetches += 1
                        return world.policy
                    }
                    return Array(try answer.get().utf8)
                },
                now: { outside.withLockedValue { $0.now } }
            ),
            file: file,
            on: loop,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    private func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body() }.value
    }

    private func change(_ body: (inout Outside) -> Void) { outside.withLockedValue { body(&$0) } }
    private var fetches: Int { outside.withLockedValue { $0.fetches } }

    private func mode(_ policies: MTASTSPolicies) async throws -> MTASTSPolicy.Mode? {
        let domain = try DomainName("a.net")
        return try await run { await policies.finding(for: domain).policy?.mode }
    }

    @Test func policyIsFetchedOnceAndAgainWhenItsRecordChanges() async throws {
        let policies = policies()
        #expect(try await mode(policies) == .enforce)
        #expect(try await mode(policies) == .enforce)
        #expect(fetches == 1)
        change {
            $0.texts = [Array("v=STSv1; id=2;".utf8)]
            $0.policy = .success(Self.policy("testing"))
        }
        #expect(try await mode(policies) == .testing)
        #expect(fetches == 2)
    }

    @Test func domainWithoutARecordIsNotAsked() async throws {
        let policies = policies()
        for texts in [[], nil, [Array("v=STSv1; id=1;".utf8), Array("v=STSv1; id=2;".utf8)]] as [[[UInt8]]?] {
            change { $0.texts = texts }
            #expect(try await mode(policies) == nil)
        }
        #expect(fetches == 0)
    }

    /// Whoever takes record or policy away for a while doesn't get rid of it.
    @Test func whatWasFetchedCountsUntilItsTimeIsOver() async throws {
        let policies = policies()
        #expect(try await mode(policies) == .enforce)
        change { $0.texts = nil }
        #expect(try await mode(policies) == .enforce)
        change {
            $0.texts = [Array("v=STSv1; id=2;".utf8)]
            $0.policy = .failure(.notVerified("another certificate"))
        }
        let domain = try DomainName("a.net")
        let finding = try await run { await policies.finding(for: domain) }
        #expect(finding.policy?.mode == .enforce && finding.fault == .notVerified("another certificate"))
        change { $0.now += 86400 }
        #expect(try await mode(policies) == nil)
        #expect(policies.count == 0)
    }

    @Test func failuresAreNotRepeatedAtOnce() async throws {
        let policies = policies()
        change { $0.policy = .success("version: STSv2\n") }
        let domain = try DomainName("a.net")
        for _ in 0..<3 {
            let finding = try await run { await policies.finding(for: domain) }
            #expect(finding.policy == nil && finding.fault?.reported == .stsInvalid)
        }
        #expect(fetches == 1)
        change {
            $0.now += 301
            $0.policy = .success(Self.policy())
        }
        #expect(try await mode(policies) == .enforce)
    }

    @Test func thoseWhoAskAtOnceShareAnAnswer() async throws {
        let policies = policies()
        let domain = try DomainName("a.net")
        let modes = try await run {
            await withTaskGroup(of: MTASTSPolicy.Mode?.self) { group in
                for _ in 0..<20 { group.addTask { await policies.finding(for: domain).policy?.mode } }
                return await group.reduce(into: [MTASTSPolicy.Mode?]()) { $0.append($1) }
            }
        }
        #expect(modes.count == 20 && modes.allSatisfy { $0 == .enforce })
        #expect(fetches == 1)
    }

    @Test func policyIsFetchedAgainBeforeItsTimeIsOver() async throws {
        let policies = policies()
        change { $0.policy = .success(Self.policy(age: 1000)) }
        #expect(try await mode(policies) == .enforce)
        try await run { await policies.renewDue() }
        #expect(fetches == 1)
        change { $0.now += 501 }
        try await run { await policies.renewDue() }
        #expect(fetches == 2)
        change {
            $0.now += 900
            $0.texts = nil
        }
        #expect(try await mode(policies) == .enforce)
    }

    @Test func restartKeepsWhatWasFetched() async throws {
        var template = Array("/tmp/martlet-sts-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer { _ = system("rm -rf \(directory)") }
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        let file = StateFile(directory: descriptor, name: "mta-sts")
        let first = policies(file)
        #expect(try await mode(first) == .enforce)
        for _ in 0..<500 where try file.octets(maximum: 10_000) == nil { try await Task.sleep(for: .milliseconds(20)) }
        change { $0.texts = nil }
        let second = policies(file)
        try await run { await second.load() }
        #expect(try await mode(second) == .enforce)
        #expect(fetches == 1)
        // Neither one that is too old nor what is no policy.
        change { $0.now += 86400 }
        let third = policies(file)
        try await run { await third.load() }
        #expect(third.count == 0)
        try file.replace(with: "MTA-STS\nrubbish")
        try await run { await third.load() }
        #expect(third.count == 0)
    }

    /// A stranger with very many domains pushes out his own, and policies that are used stay.
    @Test func nobodyPushesOutOthers() throws {
        func policy(_ name: String, _ cause: KeptPolicy.Cause) throws -> KeptPolicy {
            let policy = try MTASTSPolicy(reading: Array(Self.policy(age: 31_536_000).utf8))
            return KeptPolicy(domain: try DomainName(name), id: [49], fetched: 1, policy: policy, cause: cause)
        }
        var kept = KeptPolicies(capacity: 20, maximumOctets: 1 << 20)
        for index in 0..<8 { kept.keep(try policy("a\(index).test", .account("ann@example.test"))) }
        kept.keep(try policy("taken.test", .report))
        kept.use(try DomainName("taken.test"), by: .account("bob@example.test"))
        // Strangers take nothing over.
        kept.use(try DomainName("a0.test"), by: .report)
        for index in 0..<200 {
            kept.keep(try policy("s\(index).test", .report))
            kept.use(try DomainName("s0.test"), by: .report)
        }
        #expect(kept.count == 20)
        for name in (0..<8).map({ "a\($0).test" }) + ["taken.test", "s0.test", "s199.test"] {
            #expect(kept[try DomainName(name)] != nil, "\(name)")
        }
        #expect(kept[try DomainName("s100.test")] == nil)
        let octets = kept.all.map(\.encoded.readableBytes).reduce(0, +)
        #expect(kept.octets == octets)
        var small = KeptPolicies(capacity: 20, maximumOctets: octets / 4)
        for policy in kept.all { small.keep(policy) }
        #expect(small.count < 20 && small.octets <= octets / 4)
        for policy in small.all { small.remove(policy.domain) }
        #expect(small.octets == 0)
    }

    /// What can't be read is not nothing: it stays for a start that can read it.
    @Test func unreadableFileIsNotWrittenOver() async throws {
        let directory = "/tmp/martlet-mta-sts-\(UInt64.random(in: 0 ... .max))"
        #expect(mkdir(directory, 0o700) == 0)
        defer { _ = (unlink(directory + "/mta-sts"), rmdir(directory)) }
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(descriptor) }
        // Larger than any that is read.
        let size = 65 << 20
        let large = open(directory + "/mta-sts", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        #expect(ftruncate(large, size) == 0)
        close(large)
        let policies = policies(StateFile(directory: descriptor, name: "mta-sts"))
        try await run { await policies.load() }
        #expect(try await mode(policies) == .enforce)
        try await Task.sleep(for: .milliseconds(1500))
        var status = stat()
        #expect(stat(directory + "/mta-sts", &status) == 0 && status.st_size == size)
    }

    // MARK: Fetching

    private static let authority = try? TestAuthority()

    /// What comes of fetching a.net's policy from a host with this certificate that answers so.
    ///
    /// - Parameter first: an address that is tried before the host's.
    private func fetch(
        _ certificate: TestAuthority.Certificate,
        _ answer: String,
        behind first: SocketAddress? = nil
    ) async throws -> Result<String, MTASTSFault> {
        let authority = try #require(Self.authority)
        let server = try authority.server(certificate)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        let port = try #require(InternetSocket.port(of: socket))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let listener = Listener(group: loop)
        let asked = NIOLockedValueBox("")
        try await listener.accept(on: socket) { connection in
            do {
                try await connection.startTLS(server: server, reply: nil)
                while let line = try await connection.readLine(maximum: 4096), line.readableBytes > 0 {
                    asked.withLockedValue { $0 += String(buffer: line) + "\n" }
                }
                connection.write(answer)
                try await connection.flush()
            } catch { return }
        }
        let (loop, context, domain) = (loop, try authority.client(), try DomainName("a.net"))
        let result = try await run { () -> Result<String, MTASTSFault> in
            let fetch = PolicyFetch(
                lookup: {
                    "\($0)" == "mta-sts.a.net." ? .success((first.map { [$0] } ?? []) + [address]) : .success([])
                },
                context: context,
                loop: loop,
                time: first == nil ? .seconds(10) : .seconds(20)
            )
            do throws(MTASTSFault) {
                return .success(String(decoding: try await fetch.policy(of: domain), as: UTF8.self))
            } catch {
                return .failure(error)
            }
        }
        await listener.shutDown(grace: .zero)
        if case .success = result {
            #expect(
                asked.withLockedValue { $0 }.hasPrefix("GET /.well-known/mta-sts.txt HTTP/1.1\nhost: mta-sts.a.net\n")
            )
        }
        return result
    }

    /// One address that swallows everything is no reason to go without the policy.
    @Test func silentAddressLeavesTheOthersTheirTime() async throws {
        let silent = try SilentAddress()
        let policy = Self.policy()
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: \(policy.utf8.count)\r\n\r\n\(policy)"
        #expect(try await fetch(.policyHost, answer, behind: silent.address) == .success(policy))
    }

    @Test func policyComesFromTheHostOfItsNameAlone() async throws {
        let policy = Self.policy()
        let whole =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \(policy.utf8.count)\r\n\r\n\(policy)"
        #expect(try await fetch(.policyHost, whole) == .success(policy))
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(String(policy.utf8.count, radix: 16))\r\n\(policy)\r\n0\r\n\r\n"
        #expect(try await fetch(.policyHost, chunked) == .success(policy))
        #expect(try await fetch(.policyHost, "HTTP/1.0 200 OK\r\n\r\n\(policy)") == .success(policy))
        for certificate in [TestAuthority.Certificate.good, .own, .expired] {
            guard case .failure(.notVerified) = try await fetch(certificate, whole) else {
                Issue.record("\(certificate) is good for another host")
                continue
            }
        }
    }

    @Test(arguments: [
        "HTTP/1.1 301 Moved\r\nLocation: https://www.a.net/policy\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "mx: a.a.net\n", count: 6000), "220 mx.a.net ESMTP\r\n", "",
    ])
    func everythingElseIsNoPolicy(_ answer: String) async throws {
        guard case .failure(.notFetched) = try await fetch(.policyHost, answer) else {
            Issue.record("that is none")
            return
        }
    }
}
