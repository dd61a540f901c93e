import CSpawn
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A program that runs, what it reads and what it says. What is here blocks: for threads of a pool.
struct CommandProcess: ~Copyable {
    /// How a program came to its end.
    enum End: Equatable, Sendable {
        case exited(CInt)
        case killed(signal: CInt)
        /// It took longer than it may, and was killed.
        case tooLate
    }

    /// It could not be started; the system's reason.
    struct NotStarted: Error {
        let reason: String
    }

    private let process: pid_t
    /// It has closed its output.
    private var isSilent = false
    /// Where it reads; -1 once that's closed.
    private var input: CInt
    private let output: CInt
    private let end: NIODeadline
    /// The beginning of what it said.
    private(set) var said: [UInt8] = []
    private var isOver = false

    /// What is kept of what it says. Octets.
    private static let maximumSaid = 4096
    /// What else tells of its end, where somebody whom it started keeps its output open. Milliseconds.
    private static let longestWait: Int64 = 20

    private init(_ process: pid_t, input: CInt, output: CInt, end: NIODeadline) {
        self.process = process
        self.input = input
        self.output = output
        self.end = end
    }

    /// Starts a program, by its path, in a session of its own, with nothing of ours but its own input and output.
    ///
    /// - Parameter time: how long it may run.
    static func start(_ arguments: [String], within time: TimeAmount) throws(NotStarted) -> CommandProcess {
        let end = NIODeadline.now() + time
        let input = try pipe()
        defer { close(input.reading) }
        let output: (reading: CInt, writing: CInt)
        let process: pid_t
        do throws(NotStarted) {
            output = try pipe()
        } catch {
            close(input.writing)
            throw error
        }
        defer { close(output.writing) }
        do throws(NotStarted) {
            process = try spawn(arguments, reading: input.reading, writing: output.writing)
        } catch {
            close(input.writing)
            close(output.reading)
            throw error
        }
        return CommandProcess(process, input: input.writing, output: output.reading, end: end)
    }

    deinit {
        if !isOver {
            kill(-process, SIGKILL)
            var status: CInt = 0
            while waitpid(process, &status, 0) < 0, errno == EINTR {}
        }
        if input >= 0 { close(input) }
        close(output)
    }

    private static func pipe() throws(NotStarted) -> (reading: CInt, writing: CInt) {
        var ends: [CInt] = [-1, -1]
        guard CSpawn_pipe(&ends) == 0 else { throw NotStarted(reason: String(cString: strerror(errno))) }
        return (ends[0], ends[1])
    }

    private static func spawn(
        _ arguments: [String],
        reading input: CInt,
        writing output: CInt
    ) throws(NotStarted) -> pid_t {
        var process: pid_t = 0
        let failure = withCStrings(arguments) { arguments in
            withCStrings(environment) { CSpawn_start(&process, arguments, $0, input, output) }
        }
        guard failure == 0 else { throw NotStarted(reason: String(cString: strerror(failure))) }
        return process
    }

    /// Nothing of ours, and nothing of the message's.
    private static let environment = ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/", "LANG=C.UTF-8"]

    private static func withCStrings<Value>(
        _ texts: [String],
        _ body: ([UnsafeMutablePointer<CChar>?]) -> Value
    ) -> Value {
        var pointers = texts.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return body(pointers)
    }

    /// Gives it octets, and takes what it says meanwhile.
    ///
    /// - Returns: false where it reads no more, or its time is over.
    mutating func write(_ octets: ByteBuffer) -> Bool {
        guard input >= 0 else { return false }
        var rest = octets
        while rest.readableBytes > 0 {
            let left = milliseconds
            guard left > 0 else { return false }
            var waiting = [
                pollfd(fd: input, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: output, events: Int16(POLLIN), revents: 0),
            ]
            // One that has closed its output would wake us for nothing.
            let count = isSilent ? 1 : 2
            guard poll(&waiting, nfds_t(count), CInt(clamping: left)) > 0 else { continue }
            if count > 1, waiting[1].revents != 0 { isSilent = !take() }
            guard waiting[0].revents != 0 else { continue }
            // A pipe that poll calls writable takes so much at once (pipe(7)).
            let written = rest.withUnsafeReadableBytes {
                Glibc.write(input, $0.baseAddress, min($0.count, Int(PIPE_BUF)))
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                closeInput()
                return false
            }
            rest.moveReaderIndex(forwardBy: written)
        }
        return true
    }

    private mutating func closeInput() {
        if input >= 0 { close(input) }
        input = -1
    }

    /// Waits for its end.
    mutating func finish() -> End {
        closeInput()
        while true {
            var status: CInt = 0
            if waitpid(process, &status, WNOHANG) == process {
                isOver = true
                // What it said at last.
                var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
                while !isSilent, poll(&waiting, 1, 0) > 0 { isSilent = !take() }
                return Self.end(status)
            }
            let left = milliseconds
            guard left > 0 else {
                kill(-process, SIGKILL)
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
                isOver = true
                return .tooLate
            }
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let wait = CInt(clamping: min(left, isSilent ? 2 : Self.longestWait))
            if poll(&waiting, isSilent ? 0 : 1, wait) > 0 { isSilent = !take() }
        }
    }

    private static func end(_ status: CInt) -> End {
        // WIFEXITED and its like are macros that Swift doesn't see (wait(2)).
        let signal = status & 0x7f
        return signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal: signal)
    }

    /// Until its time is over.
    private var milliseconds: Int64 { max(0, (end - .now()).nanoseconds / 1_000_000) }

    /// Takes what it says.
    ///
    /// - Returns: false where it has closed its output.
    private mutating func take() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(output, &buffer, buffer.count)
        if count < 0 { return errno == EINTR }
        guard count > 0 else { return false }
        said += buffer.prefix(min(count, Self.maximumSaid - said.count))
        return true
    }
}
