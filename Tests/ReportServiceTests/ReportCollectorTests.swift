import Bus
import Files
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import Reporting
import SimulatedDisk
import Testing

@testable import ReportService

#if canImport(Glibc)
import Glibc
#endif

@Suite struct ReportCollectorTests {
    private let disk = SimulatedFileSystem(seed: 3)
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let clock = NIOLockedValueBox(ReportDay(number: 20_000).begin + 100)
    private let path = "/tmp/martlet-collector-\(UInt64.random(in: 0 ... .max)).sock"

    private func store() throws -> ReportStore {
        ReportStore(disk, in: try disk.open(".", in: nil, [.reading, .directory], mode: 0))
    }

    private func run(
        maximum: Int = 1 << 20,
        _ body: @escaping @Sendable (BusClient) async throws -> Void
    ) async throws {
        let (store, loop, clock) = (try store(), loop, clock)
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let server = BusServer(group: loop, logger: logger)
        let socket = try UnixSocket.listen(path)
        let path = path
        try await Task(executorPreference: LoopExecutor.of(loop)) {
            let collector = ReportCollector(
                store,
                maximum: maximum,
                pool: BlockingPool(threads: 1),
                on: loop,
                logger: logger,
                now: { clock.withLockedValue { $0 } }
            )
            try await collector.start()
            try await server.answer(on: socket) { collector.take($0, $1) }
            let client = BusClient(path: path, on: loop)
            try await body(client)
            client.close()
        }.value
        await server.shutDown(grace: .zero)
        unlink(path)
    }

    private func counts(_ day: Int) throws -> [String: Int] {
        let totals = try store().results(of: ReportDay(number: day), maximum: 1 << 20, mending: false).totals
        var counts: [String: Int] = [:]
        for subject in totals.all { counts[subject.domain] = totals.rows(of: subject).reduce(0) { $0 + $1.count } }
        return counts
    }

    /// What was answered is there after a kill, and goes on to be counted.
    @Test func resultsOutliveReportd() async throws {
        for _ in 0..<3 {
            try await run { client in
                for number in 0..<20 {
                    let row = ReportStoreTests.row(number % 3, domain: number < 5 ? "a.example" : "b.example")
                    #expect(try await client.request(row.frame).replyKind == .ok)
                }
                let nonsense = try await client.request(Frame("DMARC-RESULT"))
                #expect(nonsense.replyKind == .reject)
            }
            disk.kill()
            disk.start()
        }
        #expect(try counts(20_000) == ["a.example": 15, "b.example": 45])
    }

    @Test func eachDayHasAFile() async throws {
        let clock = clock
        try await run { client in
            for moment in [5, 86_399, 86_400, 86_390, 2 * 86_400] {
                clock.withLockedValue { $0 = ReportDay(number: 20_000).begin + moment }
                let reply = try await client.request(ReportStoreTests.row(1).frame)
                #expect(reply.replyKind == .ok)
            }
        }
        #expect(try [20_000, 20_001, 20_002].map { try counts($0) } == [2, 2, 1].map { ["example.net": $0] })
    }

    /// Many messages that are alike are one row on disk, and all of them count.
    @Test func theFileStaysShort() async throws {
        let total = 60_000
        try await run { client in
            try await client.connect()
            let row = ReportStoreTests.row(1).frame
            for _ in 0..<(total / 1000) {
                var open = 1000
                await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                    for _ in 0..<1000 {
                        client.start(row) { result in
                            if (try? result.get())?.replyKind != .ok { Issue.record("not written") }
                            open -= 1
                            if open == 0 { continuation.resume() }
                            return true
                        }
                    }
                }
            }
        }
        #expect(try counts(20_000) == ["example.net": total])
        let file = try disk.status("2024-10-04.results", in: nil)
        #expect(file.size < 5 << 20)
    }
}
