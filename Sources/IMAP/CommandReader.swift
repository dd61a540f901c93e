import MIME
import NIOCore

/// Limits on a client's command. Octets.
package struct CommandLimits: Sendable {
    /// Lines and short literals together.
    package var command = 64 * 1024
    /// One message of APPEND; less than nothing where there is no APPEND.
    package var message = 50 * 1024 * 1024
    /// A literal that the client doesn't ask for first (RFC 7888 §5: 4,096 for LITERAL-).
    package var nonSynchronizing = Int.max

    package init() {}
}

/// Reads commands from a growing buffer: puts lines and literals together, then parses them. Keeps its place, so that
/// octets may come one at a time.
package struct CommandReader: Sendable {
    /// What to do next.
    package enum Output: Sendable, Equatable {
        case needMore
        /// Send a continuation request: the client holds back a literal of so many octets.
        case needLiteralContinuation(Int)
        case command(TaggedCommand)
        /// The next steps of APPEND or REPLACE. Where the last one is a literal, its octets are the caller's to take from the
        /// buffer before it calls again.
        case append(tag: String, [AppendStep])
        /// Answer with BAD, or with NO and the code where there is one, and continue. It may end an APPEND whose first
        /// steps were given.
        case bad(tag: String?, reason: String, code: ResponseCode? = nil)
        /// The stream is out of step: send BYE and close.
        case fatal(reason: String)
    }

    package var limits: CommandLimits
    /// Whether the client has asked for mailbox names in UTF-8 (`MailboxName`).
    package var usesUTF8 = false

    private var octets: [UInt8] = []
    /// Where the last line begins in `octets`.
    private var lineStart = 0
    /// Octets of a literal that have not come.
    private var missing = 0
    /// The command has failed: its lines and literals are discarded up to its end.
    private var failure: (tag: String?, reason: String, code: ResponseCode?)?
    /// The APPEND that is under way, between its literals.
    private var append: AppendGrammar?

    package init(limits: CommandLimits = CommandLimits()) { self.limits = limits }

    /// Whether nothing of a command has come.
    package var isBetweenCommands: Bool { octets.isEmpty && missing == 0 && failure == nil && append == nil }

    /// The client waits for a continuation request of APPEND that it doesn't get: the command is over.
    package mutating func endAppend() {
        append = nil
        octets = []
        lineStart = 0
    }

    /// The next thing to do about what is in the buffer.
    package mutating func next(from buffer: inout ByteBuffer) -> Output {
        while true {
            if missing > 0 {
                readLiteral(from: &buffer)
                if missing > 0 { return .needMore }
            }
            guard readLine(from: &buffer) else {
                return .needMore
            }
            if let output = endOfLine() { return output }
        }
    }

    private mutating func readLiteral(from buffer: inout ByteBuffer) {
        let count = min(missing, buffer.readableBytes)
        if failure == nil {
            octets.append(contentsOf: buffer.readableBytesView.prefix(count))
        }
        buffer.moveReaderIndex(forwardBy: count)
        missing -= count
        if missing == 0 { lineStart = octets.count }
    }

    /// Moves what there is of a line; true when its end has come.
    private mutating func readLine(from buffer: inout ByteBuffer) -> Bool {
        let view = buffer.readableBytesView
        let end = view.firstIndex(of: ASCII.lineFeed)
        let line = end.map { view[...$0] } ?? view
        if octets.count + line.count > limits.command {
            if failure == nil { fail(CommandGrammar.tag(of: octets + line.prefix(200)), "command too long") }
            // Enough to see whether the line ends in a literal.
            let kept = octets[lineStart...].suffix(40) + line.suffix(40)
            octets = Array(kept)
            lineStart = 0
        } else {
            octets.append(contentsOf: line)
        }
        buffer.moveReaderIndex(forwardBy: line.count)
        return end != nil
    }

    private mutating func fail(_ tag: String?, _ reason: String, code: ResponseCode? = nil) {
        failure = (append?.tag ?? tag, reason, code)
        append = nil
    }

    /// A whole line is there; nil where a non-synchronizing literal follows.
    private mutating func endOfLine() -> Output? {
        let literal = Self.literal(octets[lineStart...])
        if failure == nil, let output = appendSteps(literal) { return output }
        if let literal {
            return literalFollows(literal.size, isSynchronizing: literal.isSynchronizing)
        }
        let command = octets
        octets = []
        lineStart = 0
        if let failure {
            self.failure = nil
            return .bad(tag: failure.tag, reason: failure.reason, code: failure.code)
        }
        return parse(command)
    }

    private func parse(_ octets: [UInt8]) -> Output {
        var octets = octets
        if octets.last == ASCII.lineFeed { octets.removeLast() }
        if octets.last == ASCII.carriageReturn { octets.removeLast() }
        do throws(SyntaxError) {
            return .command(try CommandGrammar.parse(octets, usesUTF8: usesUTF8))
        } catch {
            return .bad(tag: CommandGrammar.tag(of: octets), reason: error.reason)
        }
    }

    // MARK: APPEND

    /// What the line means for an APPEND; nil for another command, where the line ends in an argument of it, and where the
    /// APPEND has failed by it.
    private mutating func appendSteps(_ literal: (size: Int?, isSynchronizing: Bool)?) -> Output? {
        // A command's name is in its first line: others aren't looked at for it.
        guard var grammar = append ?? (lineStart == 0 ? AppendGrammar(octets, usesUTF8: usesUTF8) : nil) else {
            return nil
        }
        if let literal, literal.size == nil { return nil }
        switch grammar.parse(octets, hasLiteral: literal != nil) {
        case .argument:
            append = grammar
            return nil
        case .malformed(let reason):
            fail(grammar.tag, reason)
            return nil
        case .steps(let steps, let isOver):
            if case .literal(let literal)? = steps.last {
                if literal.size > limits.message {
                    fail(grammar.tag, "message too large", code: .tooBig)
                    return nil
                }
                if !literal.isSynchronizing, literal.size > limits.nonSynchronizing {
                    fail(grammar.tag, "literal too large", code: .tooBig)
                    return nil
                }
            }
            append = isOver ? nil : grammar
            octets = []
            lineStart = 0
            return .append(tag: grammar.tag, steps)
        }
    }

    // MARK: Literals

    private mutating func literalFollows(_ size: Int?, isSynchronizing: Bool) -> Output? {
        guard let size else {
            return isSynchronizing
                ? refuse("literal too large", code: .tooBig) : .fatal(reason: "literal too large")
        }
        let isTooLarge = octets.count + size > limits.command || !isSynchronizing && size > limits.nonSynchronizing
        if failure == nil, isTooLarge { fail(CommandGrammar.tag(of: octets), "literal too large", code: .tooBig) }
        if isSynchronizing {
            if let failure { return refuse(failure.reason, tag: failure.tag, code: failure.code) }
            missing = size
            lineStart = octets.count
            return .needLiteralContinuation(size)
        }
        missing = size
        lineStart = octets.count
        if failure != nil {
            octets = []
            lineStart = 0
        }
        return nil
    }

    /// The client waits for a continuation request that it doesn't get: the command is over.
    private mutating func refuse(_ reason: String, tag: String? = nil, code: ResponseCode?) -> Output {
        let tag = tag ?? append?.tag ?? CommandGrammar.tag(of: octets)
        endAppend()
        failure = nil
        return .bad(tag: tag, reason: reason, code: code)
    }

    /// `{n}` or `{n+}` at the end of a line; the size is nil where it's beyond all reason.
    private static func literal(_ line: ArraySlice<UInt8>) -> (size: Int?, isSynchronizing: Bool)? {
        var line = line
        if line.last == ASCII.lineFeed { line.removeLast() }
        if line.last == ASCII.carriageReturn { line.removeLast() }
        guard line.last == UInt8(ascii: "}") else { return nil }
        line.removeLast()
        var isSynchronizing = true
        if line.last == UInt8(ascii: "+") {
            isSynchronizing = false
            line.removeLast()
        }
        guard let brace = line.lastIndex(of: UInt8(ascii: "{")) else { return nil }
        let digits = line[(brace + 1)...]
        guard !digits.isEmpty, digits.allSatisfy(ASCII.isDigit) else { return nil }
        let size = ASCII.number(digits).flatMap { $0 <= UInt32.max ? $0 : nil }
        return (size, isSynchronizing)
    }
}
