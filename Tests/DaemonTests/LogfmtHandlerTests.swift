import Daemon
import Logging
import NIOCore
import NIOPosix
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct LogfmtHandlerTests {
    /// What a closure logs.
    private func output(_ body: (Logger) -> Void) -> String {
        var ends: [CInt] = [0, 0]
        pipe(&ends)
        body(Logger(label: "test") { [ends] _ in LogfmtHandler(level: .info, lines: LogLines(descriptor: ends[1])) })
        close(ends[1])
        var octets = [UInt8](repeating: 0, count: 4096)
        let count = read(ends[0], &octets, octets.count)
        close(ends[0])
        return String(decoding: octets.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func eventIsOneLineWhateverItHolds() {
        let text = output { logger in
            logger.info(
                "mail accepted",
                metadata: ["from": "<a@b>", "id": "x", "evil": "a\nlevel=error \"\u{1b}[0m\u{9b}"]
            )
            logger.debug("not shown")
        }
        #expect(
            text == #"level=info msg="mail accepted" evil="a\nlevel=error \"\x1b[0m\x9b" from=<a@b> id=x"# + "\n"
        )
    }

    @Test func controlCharacterAloneIsQuoted() {
        let text = output { $0.info("login", metadata: ["user": "x\u{9b}31mx", "name": "Jürgen"]) }
        #expect(text == #"level=info msg=login name=Jürgen user="x\x9b31mx""# + "\n")
    }

    /// Lines of one turn of a loop leave together and in order; a warning takes what waits with it. What comes right after
    /// a write waits a little for more.
    @Test func linesOfATurnLeaveTogether() async throws {
        var ends: [CInt] = [0, 0]
        #expect(pipe(&ends) == 0)
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        defer { for end in ends { close(end) } }
        let lines = LogLines(descriptor: ends[1])
        let logger = Logger(label: "test") { _ in LogfmtHandler(level: .info, lines: lines) }
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let seen = try await loop.submit { [ends] in
            logger.info("one")
            logger.info("two")
            let before = Self.text(ends[0])
            logger.warning("three")
            let after = Self.text(ends[0])
            logger.info("four")
            return [before, after, Self.text(ends[0])]
        }.get()
        #expect(seen == ["", "level=info msg=one\nlevel=info msg=two\nlevel=warning msg=three\n", ""])
        try await loop.scheduleTask(in: .milliseconds(10)) {}.futureResult.get()
        #expect(Self.text(ends[0]) == "level=info msg=four\n")
    }

    private static func text(_ descriptor: CInt) -> String {
        var octets = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &octets, octets.count)
        return String(decoding: octets.prefix(max(0, count)), as: UTF8.self)
    }
}
