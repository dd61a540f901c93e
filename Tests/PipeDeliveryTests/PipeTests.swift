import Bus
import Daemon
import Deliverer
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import PipeDelivery

/// Programs that are given mail.
@Suite(.timeLimit(.minutes(1))) struct PipeTests {
    private func configuration(_ commands: String) throws -> Configuration {
        try Configuration(text: "hostname = \"a.test\"\n\(commands)", file: "test")
    }

    private func request(
        to recipients: [String],
        from sender: String = "<ann@example.net>",
        _ message: String = "Subject: x\r\n\r\nHello\r\n",
        command: String = "run"
    ) throws -> DeliverRequest {
        let octets = ByteBuffer(string: message)
        return DeliverRequest(
            id: "aa11",
            attempt: 1,
            arrived: 1_795_447_200,
            mayBeKnown: false,
            sender: try EnvelopeSender(parsing: sender.utf8),
            recipients: try recipients.map { try EnvelopeRecipient(parsing: $0.utf8) },
            destination: "lists.test",
            added: ByteBuffer(string: "Received: y\r\n"),
            octets: octets.readableBytes,
            message: octets,
            route: .pipe(command)
        )
    }

    /// What comes of a message that goes to `run`: each recipient's result as `ACTION STATUS TEXT`.
    private func deliver(
        _ command: String,
        _ request: DeliverRequest,
        more: String = "",
        message: ByteBuffer? = nil
    ) async throws -> [String] {
        let settings = try configuration("[pipe-deliver.commands.run]\ncommand = \(command)\n\(more)")
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let results = NIOLockedValueBox<[Int: DeliveryResult]>([:])
        await Task(executorPreference: LoopExecutor.of(loop)) {
            let service = PipeService(
                settings.pipeDeliver,
                delimiters: "+",
                pool: BlockingPool(threads: 2, share: 2),
                on: loop,
                logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
            )
            let source = MessageSource(
                added: request.added,
                message: message ?? request.message ?? ByteBuffer(),
                on: loop
            )
            let job = DeliveryJob(request, source, on: loop) { place, result in
                results.withLockedValue { $0[place] = result }
            }
            await service.work(on: job)
        }.value
        return results.withLockedValue { all in
            request.recipients.indices.map { place in
                all[place].map { "\($0.action.rawValue) \($0.status) \($0.text)" } ?? "nothing"
            }
        }
    }

    /// A command that runs a shell's words; `$0` and on are the arguments behind them.
    private func shell(_ words: String, _ arguments: String...) -> String {
        "[\"/bin/sh\", \"-c\", '''\(words)'''" + arguments.map { ", \"\($0)\"" }.joined() + "]"
    }

    @Test func theMessageIsReadAsMailboxesHaveIt() async throws {
        let expected =
            "From ann@example.net Mon Nov 23 15:20:00 2026\\nReturn-Path: <ann@example.net>\\nReceived: y\\nSubject: x\\n\\nHello\\n"
        let words = "test \"$(cat; echo x)\" = \"$(printf '\(expected)x')\" || { echo no; exit 67; }"
        let found = try await deliver(shell(words), try request(to: ["<bob@lists.test>"]), more: "from-line = true")
        #expect(found == ["delivered 2.0.0 given to run"])
    }

    /// sysexits.h, with what the program says.
    @Test(arguments: [
        ("exit 0", "delivered 2.0.0 given to run"), ("echo who; exit 67", "failed 5.1.1 who"),
        ("exit 67", "failed 5.1.1 run ended with 67"), ("echo later >&2; exit 75", "delayed 4.3.0 later"),
        ("echo 5.2.2 full; exit 77", "failed 5.2.2 full"), ("echo 4.2.2 full; exit 77", "failed 5.7.0 full"),
        ("exit 1", "delayed 4.3.0 run ended with 1"), ("exit 78", "delayed 4.3.5 run ended with 78"),
        ("exit 100", "failed 5.3.0 run ended with 100"), ("kill -9 $$", "delayed 4.3.0 run was ended by signal 9"),
        ("printf 'a\\n\\tb\\001c'; exit 65", "failed 5.6.0 a b c"), ("exec /nonexistent", "delayed 4.3.5"),
    ])
    func endsMeanSomething(_ words: String, _ expected: String) async throws {
        let found = try await deliver(shell("cat >/dev/null; " + words), try request(to: ["<bob@lists.test>"]))
        #expect(found.count == 1 && found[0].hasPrefix(expected), "\(found)")
    }

    @Test func aProgramThatIsNotThereIsTheAdministratorsToMend() async throws {
        let message = try request(to: ["<bob@lists.test>"])
        #expect(
            try await deliver("[\"/nonexistent/x\"]", message)
                == ["delayed 4.3.5 run can't be started: No such file or directory"]
        )
        let other = try request(to: ["<bob@lists.test>"], command: "other")
        #expect(try await deliver("[\"/bin/true\"]", other)[0].hasPrefix("delayed 4.3.5 there is no command other"))
    }

    @Test func itsTimeIsLimited() async throws {
        let found = try await deliver(
            shell("echo slow; sleep 60 & wait"),
            try request(to: ["<bob@lists.test>"]),
            more: "time-limit = \"1s\""
        )
        #expect(found == ["delayed 4.3.0 run took too long: slow"])
    }

    /// One that doesn't read, says much, and leaves somebody behind who keeps its output open.
    @Test func aProgramMayBeRude() async throws {
        let large = ByteBuffer(string: "Subject: x\r\n\r\n" + String(repeating: "x\r\n", count: 200_000))
        let words =
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; sleep 5 & exit 0"
        let found = try await deliver(shell(words), try request(to: ["<bob@lists.test>"]), message: large)
        #expect(found == ["delivered 2.0.0 given to run"])
    }

    @Test func theWholeMessageGoesThrough() async throws {
        let large = ByteBuffer(string: String(repeating: "0123456789\r\n", count: 100_000))
        let words = "test $(wc -c) = 1100012 || exit 67"
        let found = try await deliver(
            shell(words),
            try request(to: ["<bob@lists.test>"]),
            more: "return-path = false",
            message: large
        )
        #expect(found == ["delivered 2.0.0 given to run"])
    }

    @Test func recipientsShareARunOrDoNot() async throws {
        let message = try request(to: ["<a+x@lists.test>", "<b@lists.test>", "<c@lists.test>"])
        let words = "echo \"$*\"; exit 75"
        let command = shell(words, "x", "-r", "${recipient}", "${user}:${extension}", "${sender}", "${id}")
        let apart = try await deliver(command, message)
        #expect(
            apart == [
                "delayed 4.3.0 -r a+x@lists.test a:x ann@example.net aa11",
                "delayed 4.3.0 -r b@lists.test b: ann@example.net aa11",
                "delayed 4.3.0 -r c@lists.test c: ann@example.net aa11",
            ]
        )
        let shared = try await deliver(command, message, more: "recipients = 2")
        let first = "delayed 4.3.0 -r a+x@lists.test b@lists.test a:x b: ann@example.net aa11"
        #expect(shared == [first, first, apart[2]])
    }

    /// An address is never an option, nor read by a shell.
    @Test func addressesAreArgumentsAlone() async throws {
        let command = shell("printf %s \"$1\"; exit 75", "x", "${user}")
        #expect(
            try await deliver(command, try request(to: ["<-x@lists.test>"]))[0].hasPrefix(
                "failed 5.1.3 user begins with a dash"
            )
        )
        let odd = try request(to: ["<$id`id`@lists.test>"])
        #expect(try await deliver(command, odd) == ["delayed 4.3.0 $id`id`"])
        let fine = shell("printf %s \"$1\"; exit 75", "x", "to:${user}")
        #expect(try await deliver(fine, try request(to: ["<-x@lists.test>"])) == ["delayed 4.3.0 to:-x"])
    }

    /// It has nothing of ours: no environment, no descriptors, no signals that are blocked.
    @Test func programsHaveNothingOfOurs() async throws {
        let words =
            "cat >/dev/null; env | sort | tr '\\n' ' '; ls /proc/self/fd | tr '\\n' ' '; grep SigBlk /proc/self/status; exit 75"
        let found = try await deliver(shell(words), try request(to: ["<bob@lists.test>"]))
        #expect(found[0].contains("HOME=/ LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin"), "\(found)")
        #expect(found[0].contains("0 1 2 3 SigBlk: 0000000000000000"), "\(found)")
    }

    @Test(arguments: [
        ("command = []", "command"), ("command = [\"true\"]", "command"),
        ("command = [\"/bin/true\", \"${nobody}\"]", "command"),
        ("command = [\"/bin/true\", \"${user\"]", "command"),
        ("command = [\"/bin/true\"]\nrecipients = 0", "recipients"),
        ("command = [\"/bin/true\"]\ntime-limit = \"2h\"", "time-limit"),
        ("command = [\"/bin/true\"]\nuser = \"root\"", "user"),
    ])
    func faultsAreNamed(_ text: String, _ key: String) {
        do {
            _ = try configuration("[pipe-deliver.commands.run]\n\(text)")
            Issue.record("that is wrong: \(text)")
        } catch {
            #expect((error as? ConfigurationError)?.key == "pipe-deliver.commands.run.\(key)")
        }
    }

    @Test func routesNameCommandsThatThereAre() throws {
        let route = "[remote-relay.routes]\n\"lists.test\" = { action = \"pipe\", command = \"run\" }\n"
        #expect(throws: ConfigurationError.self) { try configuration(route) }
        let relay = try configuration(route + "[pipe-deliver.commands.run]\ncommand = [\"/bin/true\"]").remoteRelay
        #expect(relay.routes["lists.test"] == .pipe("run"))
        #expect(try RelayRoute.read(Frame("OK", relay.routes["lists.test"]?.fields ?? [])) == .pipe("run"))
    }
}
