import MIME

/// Puts a body into its canonical form while it arrives (RFC 6376 §3.4.3, §3.4.4), in constant memory.
///
/// A line feed alone counts as a line end; a carriage return alone is an octet like others.
struct BodyCanonicalizer {
    /// What was seen and may or may not count.
    private struct State {
        /// Empty lines that count only when something follows them.
        var emptyLines = 0
        var hasCarriageReturn = false
        var hasSpace = false
        /// Whether the present line has octets, blanks among them.
        var isInLine = false
        /// Whether all lines so far are empty.
        var isEmpty = true

        /// Whether the next octet of text goes on with what is written already.
        var isQuiet: Bool { isInLine && !hasCarriageReturn && !hasSpace && emptyLines == 0 }
    }

    /// Octets that go to the sink together.
    private struct Output {
        let octets: UnsafeMutableRawBufferPointer
        let sink: (UnsafeRawBufferPointer) -> Void
        var count = 0

        /// Where the buffer is full, its octets go on.
        @inline(__always)
        mutating func append(_ octet: UInt8) {
            if count == octets.count { drain() }
            octets[count] = octet
            count += 1
        }

        mutating func drain() {
            if count > 0 { sink(UnsafeRawBufferPointer(rebasing: octets[..<count])) }
            count = 0
        }
    }

    private let form: Canonicalization
    private var state = State()

    private static let piece = 4096

    init(_ form: Canonicalization) { self.form = form }

    /// Takes the next octets and gives those of the canonical form that are certain by now.
    mutating func update(_ octets: UnsafeRawBufferPointer, sink: (UnsafeRawBufferPointer) -> Void) {
        // Copies, which the compiler keeps in registers.
        var state = state
        // Blanks mean something in the relaxed form, and in the simple one nothing below them but the ends of lines does.
        let firstPlain: UInt8 = form == .relaxed ? ASCII.space + 1 : ASCII.carriageReturn + 1
        Self.withOutput(sink) { output in
            var position = 0
            while position < octets.count {
                if state.isQuiet {
                    while position < octets.count, octets[position] >= firstPlain {
                        output.append(octets[position])
                        position += 1
                    }
                    guard position < octets.count else { break }
                }
                Self.take(octets[position], form, &state, &output)
                position += 1
            }
        }
        self.state = state
    }

    /// The end of the body.
    mutating func finish(sink: (UnsafeRawBufferPointer) -> Void) {
        Self.withOutput(sink) { output in
            if state.hasCarriageReturn { Self.put(ASCII.carriageReturn, form, &state, &output) }
            // The end of the last line that isn't empty counts; a simple body is never empty.
            if !state.isEmpty || form == .simple {
                output.append(ASCII.carriageReturn)
                output.append(ASCII.lineFeed)
            }
        }
    }

    private static func withOutput(_ sink: (UnsafeRawBufferPointer) -> Void, _ body: (inout Output) -> Void) {
        withoutActuallyEscaping(sink) { sink in
            withUnsafeTemporaryAllocation(byteCount: piece, alignment: 1) { octets in
                var output = Output(octets: octets, sink: sink)
                body(&output)
                output.drain()
            }
        }
    }

    private static func take(_ octet: UInt8, _ form: Canonicalization, _ state: inout State, _ output: inout Output) {
        if octet == ASCII.lineFeed {
            // Every line end is held back until a line with something in it follows.
            state.hasCarriageReturn = false
            state.hasSpace = false
            state.isInLine = false
            state.emptyLines += 1
            return
        }
        if state.hasCarriageReturn {
            state.hasCarriageReturn = false
            put(ASCII.carriageReturn, form, &state, &output)
        }
        if octet == ASCII.carriageReturn { state.hasCarriageReturn = true } else { put(octet, form, &state, &output) }
    }

    /// Puts an octet behind what was held back before it.
    private static func put(_ octet: UInt8, _ form: Canonicalization, _ state: inout State, _ output: inout Output) {
        state.isInLine = true
        if form == .relaxed, ASCII.isBlank(octet) {
            state.hasSpace = true
            return
        }
        while state.emptyLines > 0 {
            output.append(ASCII.carriageReturn)
            output.append(ASCII.lineFeed)
            state.emptyLines -= 1
        }
        if state.hasSpace {
            output.append(ASCII.space)
            state.hasSpace = false
        }
        output.append(octet)
        state.isEmpty = false
    }
}
