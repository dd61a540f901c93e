import Daemon
import Logging
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite(.serialized) struct LogfmtHandlerTests {
    /// What a closure writes to standard error.
    private func standardError(_ body: () -> Void) -> String {
        var ends: [CInt] = [0, 0]
        pipe(&ends)
        let saved = dup(STDERR_FILENO)
        dup2(ends[1], STDERR_FILENO)
        body()
        dup2(saved, STDERR_FILENO)
        close(saved)
        close(ends[1])
        var octets = [UInt8](repeating: 0, count: 4096)
        let count = read(ends[0], &octets, octets.count)
        close(ends[0])
        return String(decoding: octets.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func eventIsOneLineWhateverItHolds() {
        let logger = Logger(label: "test") { _ in LogfmtHandler(level: .info) }
        let text = standardError {
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
