import ArgumentParser
import Bus
import Daemon
import NIOCore
import NIOPosix
import Network

#if canImport(Glibc)
import Glibc
#endif

/// `martlet dns stats [--watch SECONDS]`: what resolverd has counted, and what it does now.
struct DNSStatisticsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Says what resolverd has counted, how full its cache is, and with --watch what it does now.",
        discussion: """
            With --watch a line each so many seconds: queries a second, the share that the cache answered, questions that
            other servers were asked a second, questions under way, and how full the cache is.
            """
    )
    @OptionGroup var options: DNSControlOptions
    @Option(help: ArgumentHelp("A line each so many seconds.", valueName: "seconds")) var watch: Int?
    @Option(help: "How many lines, with --watch; for ever unless it's said.") var count: Int?

    func run() async throws {
        guard (1...86_400).contains(watch ?? 1), (1...1_000_000).contains(count ?? 1) else {
            throw ValidationError("--watch takes 1 to 86400 seconds, --count 1 to 1000000")
        }
        guard let watch else { return try await show(DNSStatistics.read(options)) }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var before = try await DNSStatistics.read(options)
        var lines = 0
        while lines < count ?? .max {
            await loop.pause(.seconds(Int64(watch)))
            let now = try await DNSStatistics.read(options)
            let rates = DNSRates(before, now)
            if options.json {
                try JSONOutput.print(rates)
            } else {
                if lines.isMultiple(of: 20) { print(DNSRates.title) }
                print(rates.line)
            }
            fflush(nil)
            before = now
            lines += 1
        }
    }

    private func show(_ statistics: DNSStatistics) throws {
        if options.json { return try JSONOutput.print(statistics.values) }
        for (name, value) in statistics.values.sorted(by: { $0.key < $1.key }) { print("\(name): \(value)") }
    }
}

/// What resolverd says of itself at one moment.
struct DNSStatistics {
    /// Counters since its start, and the state of the cache.
    var values: [String: Int]
    var time = NIODeadline.now()

    static func read(_ options: DNSControlOptions) async throws -> DNSStatistics {
        let last = try await options.ask(Frame("STATISTICS")).last
        var values = await StatusCommand.report(.resolverd).counts
        for field in last.fields { values[field.name] = Int(field.value) ?? values[field.name] }
        return DNSStatistics(values: values)
    }

    subscript(_ name: String) -> Int { values[name] ?? 0 }
}

/// What happened between two moments.
struct DNSRates: Encodable {
    var queriesPerSecond: Double
    /// Of the queries, those that the cache or a local zone answered; nil where there were none.
    var hitShare: Double?
    var upstreamPerSecond: Double
    var inFlight: Int
    var octets: Int
    var limit: Int

    static let title = "  queries/s      hits  asked/s  under way  cache MiB"

    init(_ before: DNSStatistics, _ now: DNSStatistics) {
        let seconds = max(0.001, Double((now.time - before.time).nanoseconds) / 1e9)
        // resolverd may have been restarted in between.
        let since: (String) -> Double = { name in Double(max(0, now[name] - before[name])) }
        let queries = since("queries")
        queriesPerSecond = queries / seconds
        hitShare = queries > 0 ? max(0, 1 - since("cache-misses") / queries) : nil
        upstreamPerSecond = since("upstream-queries") / seconds
        inFlight = now["in-flight"]
        octets = now["octets"]
        limit = now["limit"]
    }

    var line: String {
        let hits = hitShare.map { "\(Int(($0 * 100).rounded())) %" } ?? "-"
        let cache = "\(octets >> 20)/\(limit >> 20)"
        return [
            (Self.whole(queriesPerSecond), 11), (hits, 10), (Self.whole(upstreamPerSecond), 9), ("\(inFlight)", 11),
            (cache, 11),
        ]
        .map { String(repeating: " ", count: max(1, $0.1 - $0.0.utf8.count)) + $0.0 }.joined()
    }

    private static func whole(_ value: Double) -> String { "\(Int(value.rounded()))" }
}
