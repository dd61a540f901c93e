import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import NIOPosix
import Network
import SMTP
import Testing

@testable import Authority

/// What passwords were compared with, instead of the time it took.
@Suite struct PasswordVerifierTests {
    private typealias Comparisons = NIOLockedValueBox<[String]>

    private func run(
        maximumWaiting: Int = 100,
        throttle: LoginThrottle = LoginThrottle(first: .zero, longest: .zero),
        before: @escaping @Sendable () -> Void = {},
        _ body: @escaping @Sendable (PasswordVerifier) async throws -> Void
    ) async throws -> [String] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let comparisons = Comparisons([])
        let verifier = PasswordVerifier(
            pool: pool,
            loop: loop,
            maximumWaiting: maximumWaiting,
            throttle: throttle,
            dummyHash: "stand-in"
        ) { password, hash in
            before()
            comparisons.withLockedValue { $0.append(hash) }
            return password == "right"
        }
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body(verifier) }.value
        try await pool.shutdownGracefully()
        return comparisons.withLockedValue { $0 }
    }

    private static func account(_ hash: String) throws -> Account {
        let address = try MailAddress(parsing: "alice@example.test".utf8)
        return Account(address: address, hash: hash, mailbox: "alice", format: .maildir, quota: 0)
    }

    @Test func everyLoginCostsOneComparison() async throws {
        let comparisons = try await run { verifier in
            let known = try Self.account("$6$alice")
            let locked = try Self.account("!$6$alice")
            for (password, account, typical, outcome) in [
                ("right", known, "$6$typical", PasswordVerifier.Verdict.verified),
                ("wrong", known, "$6$typical", .refused),
                // Whoever knows no user learns nothing, even with a password that fits the hash he is given.
                ("right", nil, "$6$typical", .refused), ("wrong", nil, "$6$typical", .refused),
                ("right", locked, "$6$typical", .refused), ("right", nil, nil, .refused),
            ] as [(String, Account?, String?, PasswordVerifier.Verdict)] {
                #expect(
                    await verifier.verdict(password, user: "alice", account, typicalHash: typical, client: [1])
                        == outcome
                )
            }
        }
        #expect(comparisons == ["$6$alice", "$6$alice", "$6$typical", "$6$typical", "$6$typical", "stand-in"])
    }

    @Test func locksStandBehindSchemesToo() throws {
        for hash in ["", "!", "!$6$x", "*", "*LK*", "{CRYPT}!$6$x", "{CRYPT}*", "{SSHA}"] {
            #expect(try Self.account(hash).isLocked, "\(hash)")
        }
        for hash in ["$6$x", "{CRYPT}$6$x", "x"] { #expect(try !Self.account(hash).isLocked, "\(hash)") }
        var account = try Self.account("{CRYPT}!$6$x")
        account.lock(false)
        #expect(account.hash == "{CRYPT}$6$x")
        account.lock(true)
        #expect(account.hash == "!{CRYPT}$6$x" && account.isLocked)
    }

    @Test func tooManyAtOnceArePutOff() async throws {
        let gate = ConditionLock(value: 0)
        let begun = NIOLockedValueBox(false)
        let comparisons = try await run(maximumWaiting: 1) {
            begun.withLockedValue { $0 = true }
            gate.lock(whenValue: 1)
            gate.unlock()
        } _: { verifier in
            let account = try Self.account("$6$alice")
            async let first = verifier.verdict("right", user: "alice", account, typicalHash: nil, client: [1])
            while !begun.withLockedValue({ $0 }) { await Task.yield() }
            #expect(await verifier.verdict("right", user: "alice", account, typicalHash: nil, client: [2]) == .busy)
            gate.lock()
            gate.unlock(withValue: 1)
            #expect(await first == .verified)
            #expect(await verifier.verdict("right", user: "alice", account, typicalHash: nil, client: [2]) == .verified)
        }
        #expect(comparisons == ["$6$alice", "$6$alice"])
    }

    @Test func whoGuessesTakesNotAllTheRoom() async throws {
        let loop = NIOAsyncTestingEventLoop()
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let throttle = LoginThrottle(first: .seconds(10), longest: .seconds(10))
        let verifier = PasswordVerifier(
            pool: pool,
            loop: loop,
            maximumWaiting: 100,
            throttle: throttle,
            dummyHash: "stand-in",
            matches: { password, _ in password == "right" }
        )
        let account = try Self.account("$6$alice")
        await Task(executorPreference: LoopExecutor.of(loop)) {
            #expect(await verifier.verdict("wrong", user: "nobody", nil, typicalHash: nil, client: [1]) == .refused)
            await withTaskGroup(of: PasswordVerifier.Verdict.self) { group in
                for _ in 0..<9 {
                    group.addTask {
                        await verifier.verdict("wrong", user: "nobody", nil, typicalHash: nil, client: [1])
                    }
                }
                // Eight wait for the clock, which stands still.
                #expect(await group.next() == .busy)
                #expect(
                    await verifier.verdict("right", user: "alice", account, typicalHash: nil, client: [2]) == .verified
                )
                await loop.advanceTime(by: .seconds(10))
                let others = await group.reduce(into: []) { $0.append($1) }
                #expect(others == Array(repeating: .refused, count: 8))
            }
        }.value
        try await pool.shutdownGracefully()
        await loop.shutdownGracefully()
    }

    /// Runs the body with a verifier whose clock stands still unless the loop is told otherwise.
    private func runSlowed(
        _ throttle: LoginThrottle,
        maximumWaiting: Int = 20,
        _ body: @escaping @Sendable (PasswordVerifier, NIOAsyncTestingEventLoop) async throws -> Void
    ) async throws {
        let loop = NIOAsyncTestingEventLoop()
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let verifier = PasswordVerifier(
            pool: pool,
            loop: loop,
            maximumWaiting: maximumWaiting,
            throttle: throttle,
            dummyHash: "stand-in",
            matches: { password, _ in password == "right" }
        )
        try await Task(executorPreference: LoopExecutor.of(loop)) { try await body(verifier, loop) }.value
        try await pool.shutdownGracefully()
        await loop.shutdownGracefully()
    }

    /// 27 addresses that guessed at as many accounts, eight logins of each at a time: 216 for 20 places.
    @Test func whoIsSlowedDownTakesNoPlace() async throws {
        var throttle = LoginThrottle(first: .seconds(8), longest: .seconds(8))
        for client in UInt8(1)...27 {
            for _ in 0..<5 {
                throttle.failed(.init(client: [client], account: "user\(client)"), now: .uptimeNanoseconds(0))
            }
        }
        try await runSlowed(throttle) { verifier, loop in
            let account = try Self.account("$6$alice")
            await withTaskGroup(of: PasswordVerifier.Verdict.self) { group in
                for client in UInt8(1)...27 {
                    for _ in 0..<8 {
                        group.addTask {
                            await verifier.verdict(
                                "wrong",
                                user: "user\(client)",
                                nil,
                                typicalHash: nil,
                                client: [client]
                            )
                        }
                    }
                }
                while verifier.slowedLogins < 216 { await Task.yield() }
                #expect(
                    await verifier.verdict("right", user: "alice", account, typicalHash: nil, client: [100])
                        == .verified
                )
                await loop.advanceTime(by: .seconds(8))
                for await verdict in group { #expect(verdict != .verified) }
            }
            #expect(verifier.slowedLogins == 0)
        }
    }

    /// Many addresses that guess at one account hold its owner up neither for long nor at all where he was before.
    @Test func theOwnerIsNotLockedOut() async throws {
        var throttle = LoginThrottle(first: .seconds(1), longest: .seconds(8))
        let name = "alice@example.test"
        throttle.succeeded(.init(client: [200], account: name), now: .uptimeNanoseconds(0))
        for client in UInt8(1)...100 {
            throttle.failed(.init(client: [client], account: name), now: .uptimeNanoseconds(0))
        }
        try await runSlowed(throttle) { verifier, loop in
            let account = try Self.account("$6$alice")
            await withTaskGroup(of: PasswordVerifier.Verdict.self) { group in
                for client in UInt8(1)...100 {
                    group.addTask {
                        await verifier.verdict("wrong", user: name, account, typicalHash: nil, client: [client])
                    }
                }
                // So many wait at one account; the others made room or found none.
                var ended: [PasswordVerifier.Verdict] = []
                while ended.count < 84, let verdict = await group.next() { ended.append(verdict) }
                #expect(ended == Array(repeating: .busy, count: 84))
                #expect(verifier.slowedLogins == 16)
                #expect(
                    await verifier.verdict("right", user: name, account, typicalHash: nil, client: [200]) == .verified
                )
                async let elsewhere = verifier.verdict("right", user: name, account, typicalHash: nil, client: [201])
                while verifier.slowedLogins == 16, await group.next() == nil { await Task.yield() }
                await loop.advanceTime(by: .seconds(4))
                #expect(await elsewhere == .verified)
                for await verdict in group { #expect(verdict == .refused) }
            }
        }
    }
}

extension PasswordVerifier {
    fileprivate func verdict(
        _ password: String,
        user: String,
        _ account: Account?,
        typicalHash: String?,
        client: [UInt8]
    ) async -> Verdict {
        await verify(password, user: user, account, typicalHash: typicalHash, client: client).verdict
    }
}
