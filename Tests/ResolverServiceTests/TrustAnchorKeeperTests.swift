import Cryptography
import DNS
import DNSFixtures
import DNSSEC
import Daemon
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

#if canImport(Glibc)
import Glibc
#endif

/// The root's keys as a test has them, at its time.
private final class RootKeys: Sendable {
    struct State: Sendable {
        var now: UInt64 = 1_764_000_000
        var published: [Int] = [0]
        var signers: [Int] = [0]
        var revoked: [Int] = []
    }

    let state = NIOLockedValueBox(State())
    private let plain: [SigningKey]
    private let revoking: [SigningKey]

    init() throws {
        let keys = try (0..<2).map { _ in try #require(PrivateKey.generate(.ed25519)) }
        func made(_ isRevoked: Bool) throws -> [SigningKey] {
            try keys.map { key in
                try #require(
                    SigningKey(
                        zone: .root,
                        key: key,
                        isSecureEntryPoint: true,
                        timeToLive: 172_800,
                        isRevoked: isRevoked
                    )
                )
            }
        }
        plain = try made(false)
        revoking = try made(true)
    }

    func tag(_ number: Int) -> UInt16 { plain[number].publicKey.keyTag }
    var anchors: TrustAnchors { TrustAnchors([plain[0].record]) }

    func change(days: UInt64, _ body: (inout State) -> Void = { _ in }) {
        state.withLockedValue { state in
            state.now += days * 86_400
            body(&state)
        }
    }

    /// DNSKEY records with their signatures.
    var answers: [ResourceRecord] {
        let state = state.withLockedValue { $0 }
        let gone = state.revoked.map { revoking[$0] }
        let records = state.published.map { plain[$0].record } + gone.map(\.record)
        guard let set = SignableSet(records) else { return [] }
        let now = UInt32(truncatingIfNeeded: state.now)
        let signers = state.signers.map { plain[$0] } + gone
        return records + signers.compactMap { $0.sign(set, inception: now - 3600, expiration: now + 864_000) }
    }
}

struct TrustAnchorKeeperTests {
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func with(_ body: (RootKeys, ResolverSettings, CInt, String) async throws -> Void) async throws {
        var template = Array("/tmp/martlet-anchors-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template).map { String(cString: $0) })
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let root = try RootKeys()
        var settings = ResolverSettings()
        settings.recursion.trustAnchors = root.anchors
        settings.clock.secondsSince1970 = { root.state.withLockedValue { $0.now } }
        settings.clock.wallClock = { UInt32(truncatingIfNeeded: root.state.withLockedValue { $0.now }) }
        defer {
            unlink("\(path)/trust-anchors")
            close(directory)
            rmdir(path)
        }
        try await body(root, settings, directory, path)
    }

    private func keeper(_ settings: ResolverSettings, _ directory: CInt) -> TrustAnchorKeeper {
        TrustAnchorKeeper(settings.recursion, directory: directory, clock: settings.clock, logger: quiet)
    }

    private func states(_ keeper: TrustAnchorKeeper) -> [UInt16: TrustPoint.State] {
        Dictionary(uniqueKeysWithValues: keeper.points.flatMap(\.keys).map { ($0.keyTag, $0.state) })
    }

    /// Sixty days, with a restart after each step.
    @Test func aRollOverOverRestarts() async throws {
        try await with { root, settings, directory, _ in
            func look() async -> (keeper: TrustAnchorKeeper, hasChanged: Bool) {
                let keeper = self.keeper(settings, directory)
                await keeper.load()
                return (keeper, await keeper.refresh { _ in root.answers } != nil)
            }
            let first = await look()
            #expect(states(first.keeper) == [root.tag(0): .valid])
            // Not asked again before its time.
            let early = await first.keeper.refresh { _ in
                Issue.record("asked too early")
                return nil
            }
            #expect(early == nil)
            root.change(days: 2) { $0.published = [0, 1] }
            let pending = await look()
            #expect(states(pending.keeper) == [root.tag(0): .valid, root.tag(1): .pending])
            root.change(days: 31)
            let added = await look()
            #expect(added.hasChanged)
            #expect(states(added.keeper) == [root.tag(0): .valid, root.tag(1): .valid])
            root.change(days: 2) {
                $0.published = [1]
                $0.signers = [1]
                $0.revoked = [0]
            }
            let revoked = await look()
            #expect(revoked.hasChanged)
            #expect(states(revoked.keeper) == [root.tag(0): .revoked, root.tag(1): .valid])
            #expect(revoked.keeper.anchors.signers(of: .root).map(\.keyTag) == [root.tag(1)])
            root.change(days: 31) { $0.revoked = [] }
            let last = await look()
            #expect(states(last.keeper) == [root.tag(0): .removed, root.tag(1): .valid])
        }
    }

    @Test(arguments: [
        "", "version 1\n", "version 1\nkey valid 0 0 . 0 IN DNSKEY 257 3 15 AAAA\nend\n", "\u{0}\u{1}",
        "version 2\nend\n", "version 1\nzone . -9223372036854775808 9223372036854775807\nend\n",
    ])
    func damagedFiles(_ text: String) async throws {
        try await with { root, settings, directory, path in
            try TestFile.write(text, to: "\(path)/trust-anchors")
            let keeper = self.keeper(settings, directory)
            await keeper.load()
            #expect(keeper.anchors.signers(of: .root).map(\.keyTag) == [root.tag(0)])
            _ = await keeper.refresh { _ in root.answers }
            #expect(states(keeper) == [root.tag(0): .valid])
            let again = self.keeper(settings, directory)
            await again.load()
            #expect(again.points == keeper.points)
        }
    }

    /// What can't be read is neither damaged nor gone: it isn't replaced, and counts once it can be read.
    @Test func aFileThatCannotBeRead() async throws {
        try await with { root, settings, directory, path in
            let file = "\(path)/trust-anchors"
            let first = keeper(settings, directory)
            _ = await first.refresh { _ in root.answers }
            root.change(days: 2) { $0.published = [0, 1] }
            _ = await first.refresh { _ in root.answers }
            #expect(rename(file, "\(path)/away") == 0)
            #expect(mkdir(file, 0o700) == 0)
            let second = keeper(settings, directory)
            await second.load()
            #expect(second.anchors.signers(of: .root).map(\.keyTag) == [root.tag(0)])
            let changed = await second.refresh { _ in
                Issue.record("asked without knowing what was known")
                return nil
            }
            #expect(changed == nil)
            #expect(rmdir(file) == 0)
            #expect(rename("\(path)/away", file) == 0)
            _ = await second.refresh { _ in root.answers }
            #expect(states(second) == [root.tag(0): .valid, root.tag(1): .pending])
        }
    }

    /// What was seen by a clock that was far ahead doesn't keep the keys from being looked at.
    @Test func aClockThatWasAhead() async throws {
        try await with { root, settings, directory, path in
            let now = Int64(settings.clock.secondsSince1970())
            let (soon, never) = (now + 14 * 86_400, now + 4000 * 86_400)
            for (next, isAsked) in [(soon, false), (never, true)] {
                try TestFile.write("version 1\nzone . 0 \(next)\nend\n", to: "\(path)/trust-anchors")
                let keeper = self.keeper(settings, directory)
                await keeper.load()
                _ = await keeper.refresh { _ in root.answers }
                #expect(states(keeper) == (isAsked ? [root.tag(0): .valid] : [:]))
            }
        }
    }

    @Test func aServerThatDoesNotAnswerIsAskedAgainSooner() async throws {
        try await with { root, settings, directory, _ in
            let keeper = self.keeper(settings, directory)
            let changed = await keeper.refresh { _ in nil }
            #expect(changed == nil)
            #expect(keeper.points.first?.next == Int64(settings.clock.secondsSince1970()) + 3600)
            #expect(keeper.anchors.signers(of: .root).map(\.keyTag) == [root.tag(0)])
        }
    }

    /// The resolver itself: it asks past its cache, and what a revoked key proved is worth nothing from then on.
    @Test func theResolverFollowsItsAnchors() async throws {
        try await with { root, settings, directory, _ in
            let behaviour: FakeUpstream.Behaviour = { query in
                let question = query.message.questions[0]
                guard question.type == .dnskey, question.name.isRoot else {
                    return .answer(query.message.response(.serverFailure))
                }
                var answer = query.message.response()
                answer.answers = root.answers
                return .answer(answer)
            }
            try await TestResolver.with(upstreams: [behaviour]) { configured in
                configured.recursion.trustAnchors = settings.recursion.trustAnchors
                configured.clock.secondsSince1970 = settings.clock.secondsSince1970
                configured.clock.wallClock = settings.clock.wallClock
            } _: { resolver, _ in
                let keeper = self.keeper(settings, directory)
                await resolver.server.follow(keeper)
                #expect(resolver.server.anchorDescriptions.map(\.state) == ["configured"])
                await resolver.server.refreshAnchors()
                #expect(resolver.server.anchorDescriptions.map(\.state) == ["valid"])
                let proven = try await resolver.ask(".", .dnskey, dnssecOK: true)
                #expect(proven.flags.isAuthenticData)
                root.change(days: 2) {
                    $0.published = [1]
                    $0.signers = [1]
                    $0.revoked = [0]
                }
                await resolver.server.refreshAnchors()
                #expect(resolver.server.anchorDescriptions.map(\.state) == ["revoked"])
                // No anchor is left: as if there never had been one.
                let unproven = try await resolver.ask(".", .dnskey, dnssecOK: true)
                #expect(unproven.responseCode == .noError)
                #expect(!unproven.flags.isAuthenticData)
            }
        }
    }
}
