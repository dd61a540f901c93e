import Daemon
import Deliverer
import Logging
import NIOCore
import Network
import SMTP

/// Gives messages to programs. Belongs to one event loop.
final class PipeService: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let settings: PipeDeliverConfiguration
    private let delimiters: String
    /// A thread for each program that runs.
    private let pool: BlockingPool
    private let loop: any EventLoop
    private let logger: Logger
    /// Programs that run, by name.
    private var running: [String: Int] = [:]

    init(
        _ settings: PipeDeliverConfiguration,
        delimiters: String,
        pool: BlockingPool,
        on loop: any EventLoop,
        logger: Logger
    ) {
        self.settings = settings
        self.delimiters = delimiters
        self.pool = pool
        self.loop = loop
        self.logger = logger
    }

    /// Runs the program that the route names, once or several times, until each recipient has a result.
    func work(on job: DeliveryJob) async {
        loop.assertInEventLoop()
        guard case .pipe(let name)? = job.request.route else {
            return job.report(DeliveryResult(.delayed, .systemTrouble, "the route leads to no program"))
        }
        guard let command = settings.commands[name] else {
            let text = "there is no command \(name) in [pipe-deliver.commands] since pipe-deliver was started"
            return job.report(DeliveryResult(.delayed, .misconfigured, text))
        }
        guard running[name, default: 0] < command.concurrency,
            running.values.reduce(0, +) < settings.concurrency
        else {
            var busy = DeliveryResult(.delayed, .systemTrouble, "as many programs run as may")
            busy.scope = .turn
            return job.report(busy)
        }
        running[name, default: 0] += 1
        defer { running[name, default: 1] -= 1 }
        var places = job.open[...]
        while !places.isEmpty, !job.isAbandoned {
            let part = Array(places.prefix(command.recipients))
            places = places.dropFirst(part.count)
            let result = await run(name, command, job, part)
            for place in part { job.report(result, at: place) }
        }
    }

    private func run(
        _ name: String,
        _ command: PipeDeliverConfiguration.Command,
        _ job: DeliveryJob,
        _ places: [Int]
    ) async -> DeliveryResult {
        let request = job.request
        let arguments: [String]
        do throws(CommandArguments.Refusal) {
            arguments = try CommandArguments.expand(
                command.arguments,
                request,
                recipients: places.map { request.recipients[$0].address },
                delimiters: delimiters
            )
        } catch {
            switch error {
            case .dash(let macro):
                let text = "\(macro.rawValue) begins with a dash, and would be taken for an option of \(name)"
                return DeliveryResult(.failed, EnhancedStatusCode(5, 1, macro.isOfRecipient ? 3 : 7), text)
            }
        }
        let beginning = PipedMessage.beginning(of: request, command, date: PipedMessage.date(request.arrived))
        let reader = job.message.reader()
        let isBinary = request.sender.parameters.body == .binaryMIME
        let began = loop.now
        let result = await pool.run { () -> DeliveryResult in
            do {
                var process = try CommandProcess.start(arguments, within: command.timeLimit)
                var message = PipedMessage(isBinary: isBinary)
                var goesOn = process.write(beginning)
                while goesOn, let piece = try reader.nextBlocking() { goesOn = process.write(message.convert(piece)) }
                if goesOn { _ = process.write(message.finish()) }
                let end = process.finish()
                return DeliveryResult(end, of: name, said: process.said)
            } catch let error as CommandProcess.NotStarted {
                return DeliveryResult(.delayed, .misconfigured, "\(name) can't be started: \(error.reason)")
            } catch {
                // It was killed before it had the message's end.
                return DeliveryResult(.delayed, .systemTrouble, "the message can't be read now: \(error)")
            }
        }
        logger.info(
            "program ended",
            metadata: [
                "id": "\(request.id)", "command": "\(name)", "result": "\(result.action.rawValue)",
                "status": "\(result.status)", "milliseconds": "\((loop.now - began).nanoseconds / 1_000_000)",
            ]
        )
        return result
    }
}
