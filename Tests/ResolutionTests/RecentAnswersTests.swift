import DNS
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Resolution
import Testing

@Suite struct RecentAnswersTests {
    /// A pretended resolverd: each answer is taken by the question that it belongs to, and every question counts.
    private struct World: Sendable {
        let asked = NIOLockedValueBox(0)
        let seconds = NIOLockedValueBox<Int64>(0)
        let answer = NIOLockedValueBox<Result<Resolution, ResolutionError>>(.failure(.timedOut))

        func answers(_ lifetime: UInt32, isFromOurZone: Bool = false, octets: Int = 4) throws {
            let text = try ResourceRecord(
                name: DomainName("a.test"),
                type: .txt,
                timeToLive: lifetime,
                wireData: Array(
                    repeatElement([200] + Array(repeating: 0x61, count: 200), count: octets / 201 + 1).joined()
                )
            )
            let resolution = Resolution(
                responseCode: .noError,
                answers: [text],
                isFromOurZone: isFromOurZone,
                lifetime: lifetime
            )
            answer.withLockedValue { $0 = .success(resolution) }
        }

        func run<Value: Sendable>(
            _ body: @escaping @Sendable (RecentAnswers) async throws -> Value
        ) async throws -> Value {
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            return try await Task(executorPreference: LoopExecutor.of(loop)) {
                let time: @Sendable () -> NIODeadline = {
                    .uptimeNanoseconds(0) + .seconds(seconds.withLockedValue { $0 })
                }
                let answers = RecentAnswers(on: loop, now: time) { (_, _) throws(ResolutionError) in
                    asked.withLockedValue { $0 += 1 }
                    await Task.yield()
                    return try answer.withLockedValue { $0 }.get()
                }
                return try await body(answers)
            }.value
        }

        var count: Int { asked.withLockedValue { $0 } }
        func wait(_ more: Int64) { seconds.withLockedValue { $0 += more } }
    }

    @Test(arguments: [(UInt32(3), Int64(3)), (3600, 10)])
    func keptAsLongAsTheyMay(_ lifetime: UInt32, _ end: Int64) async throws {
        let world = World()
        try world.answers(lifetime)
        try await world.run { (answers) async throws -> Void in
            let name = try DomainName("a.test")
            #expect(answers.known(name, .txt) == nil)
            _ = try await answers.query(name, .txt)
            world.wait(end - 1)
            #expect(answers.known(name, .txt)?.answers.count == 1 && answers.known(name, .a) == nil)
            let again = try await answers.query(try DomainName("A.TEST"), .txt)
            #expect(again.answers.count == 1 && world.count == 1)
            _ = try await answers.query(name, .a)
            #expect(world.count == 2)
            world.wait(1)
            #expect(answers.known(name, .txt) == nil)
            _ = try await answers.query(name, .txt)
            #expect(world.count == 3)
        }
    }

    @Test func whatIsAskedAlreadyIsWaitedFor() async throws {
        let world = World()
        try world.answers(0)
        try await world.run { (answers) async throws -> Void in
            let name = try DomainName("a.test")
            async let one = answers.query(name, .txt)
            async let other = answers.query(name, .txt)
            _ = try await (one, other)
            #expect(world.count == 1)
            // What must not be kept is asked again.
            _ = try await answers.query(name, .txt)
            #expect(world.count == 2)
        }
    }

    @Test func failuresAndOurOwnZonesAreAskedAgain() async throws {
        let world = World()
        try await world.run { (answers) async throws -> Void in
            let name = try DomainName("a.test")
            for _ in 0..<2 {
                await #expect(throws: ResolutionError.timedOut) { _ = try await answers.query(name, .txt) }
            }
            #expect(world.count == 2)
            try world.answers(60, isFromOurZone: true)
            for _ in 0..<2 { _ = try await answers.query(name, .txt) }
            #expect(world.count == 4)
        }
    }

    @Test func strangersRecordsTakeAFixedRoom() async throws {
        let world = World()
        try world.answers(60, octets: 60_000)
        try await world.run { (answers) async throws -> Void in
            for number in 0..<200 { _ = try await answers.query(try DomainName("\(number).test"), .txt) }
            // The last ones are there, the first ones had to go.
            _ = try await answers.query(try DomainName("199.test"), .txt)
            #expect(world.count == 200)
            _ = try await answers.query(try DomainName("0.test"), .txt)
            #expect(world.count == 201)
        }
    }
}
