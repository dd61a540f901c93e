import Daemon
import Logging
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct LogfmtHandlerTests {
    /// What a closure logs.
    private func output(_ body: (Logger) -> Void) -> String {
        var ends: [CInt] = [0, 0]
        pipe(&ends)
        body(Logger(label: "test") { [ends] _ in LogfmtHandler(level: .info, descriptor: ends[1]) })
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
}
