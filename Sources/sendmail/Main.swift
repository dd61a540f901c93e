import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// The classic interface for local programs: reads a message and hands it to queue-manager.
@main
enum Main {
    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        do {
            try await run()
        } catch let failure as Failure {
            let line = "sendmail: \(failure.text)\n"
            _ = write(STDERR_FILENO, line, line.utf8.count)
            exit(failure.code.rawValue)
        } catch {
            let line = "sendmail: \(error)\n"
            _ = write(STDERR_FILENO, line, line.utf8.count)
            exit(ExitCode.software.rawValue)
        }
    }

    private static func run() async throws {
        let options = try SendmailOptions(CommandLine.arguments)
        let identity = try Identity.find()
        switch options.mode {
        case .deliver:
            var message = MessageOnStandardInput(options, identity)
            try message.run()
        case .smtp:
            var session = SMTPOnStandardInput(identity)
            try session.run()
        case .list: try QueueCommands.list()
        case .flush(let selection): try QueueCommands.flush(selection)
        case .verify: try await AddressVerification(identity).run(options)
        case .aliases: try await AliasReport.run()
        }
    }
}

/// Exit codes of sysexits.h.
enum ExitCode: CInt {
    case usage = 64
    case data = 65
    case noInput = 66
    case noUser = 67
    case unavailable = 69
    case software = 70
    case temporary = 75
    case configuration = 78
}

/// Why nothing was sent: for standard error, and the exit code.
struct Failure: Error {
    let code: ExitCode
    let text: String

    init(_ code: ExitCode, _ text: String) {
        self.code = code
        self.text = text
    }
}
