import ArgumentParser
import Bus

/// `martlet queue statistics`
struct QueueStatisticsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "statistics",
        abstract: "Counts what is in the queue, by state and destination, and what passed since the start.",
        aliases: ["stats"]
    )

    @OptionGroup var options: QueueOptions

    private struct Statistics: Encodable {
        var counts: [String: Int] = [:]
        var destinations: [Destination] = []
    }

    private struct Destination: Encodable {
        let name: String
        let ready: Int
        let active: Int
        let limit: Int
        /// Seconds since 1970.
        let blockedUntil: Int?
        let reason: String?

        init(_ frame: Frame) {
            name = frame["name"] ?? ""
            ready = frame.integer("ready") ?? 0
            active = frame.integer("active") ?? 0
            limit = frame.integer("limit") ?? 0
            blockedUntil = frame.integer("blocked-until")
            reason = frame["reason"]
        }
    }

    func run() async throws {
        let statistics = try await QueueControl.with(options) { control in
            var destinations: [Destination] = []
            let last = try await control.ask(Frame("STATISTICS")) { destinations.append(Destination($0)) }
            var statistics = Statistics(destinations: destinations)
            for field in last.fields {
                if let count = Int(field.value) { statistics.counts[field.name] = count }
            }
            return statistics
        }
        if options.json {
            try JSONOutput.print(statistics)
            return
        }
        for (name, count) in statistics.counts.sorted(by: { $0.key < $1.key }) { print("\(name): \(count)") }
        for destination in statistics.destinations {
            let name = QueueEntry.printable(destination.name)
            print("\(name): \(destination.ready) due, \(destination.active) of \(destination.limit) going on")
            if let reason = destination.reason { print("    could not be reached: \(QueueEntry.printable(reason))") }
        }
    }
}
