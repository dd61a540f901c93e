import MIME

/// Puts a body into its canonical form while it arrives (RFC 6376 §3.4.3, §3.4.4), in constant memory.
///
/// A line feed alone counts as a line end; a carriage return alone is an octet like others.
struct BodyCanonicalizer {
    private let form: Canonicalization
    /// Empty lines that count only when something follows them.
    private var emptyLines = 0
    private var isAtLineStart = true
    private var hasCarriageReturn = false
    private var hasSpace = false
    private var isEmpty = true
    private var output: [UInt8] = []

    private static let piece = 16 * 1024

    init(_ form: Canonicalization) {
        self.form = form
        output.reserveCapacity(Self.piece + 8)
    }

    /// Takes the next octets and gives those of the canonical form that are certain by now.
    mutating func update(_ octets: UnsafeRawBufferPointer, sink: (UnsafeRawBufferPointer) -> Void) {
        var rest = octets
        while let octet = rest.first {
            if octet == ASCII.lineFeed {
                hasCarriageReturn = false
                endLine()
            } else {
                if hasCarriageReturn {
                    hasCarriageReturn = false
                    take(ASCII.carriageReturn, sink)
                }
                if octet == ASCII.carriageReturn { hasCarriageReturn = true } else { take(octet, sink) }
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[1...])
            // What follows on the same line goes as it is, up to what means something.
            if !hasSpace, !isAtLineStart, !hasCarriageReturn {
                let count = plainOctets(rest.prefix(Self.piece))
                if count > 0 {
                    output.append(contentsOf: UnsafeRawBufferPointer(rebasing: rest[..<count]))
                    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                }
            }
            if output.count >= Self.piece { drain(sink) }
        }
        drain(sink)
    }

    /// How many of the octets are neither line ends nor, in the relaxed form, blanks.
    private func plainOctets(_ octets: Slice<UnsafeRawBufferPointer>) -> Int {
        // Blanks are what stands below the exclamation mark, with what never does in texts.
        let bound: UInt8 = form == .relaxed ? ASCII.space + 1 : ASCII.carriageReturn + 1
        return octets.firstIndex { $0 < bound }.map { $0 - octets.startIndex } ?? octets.count
    }

    /// The end of the body.
    mutating func finish(sink: (UnsafeRawBufferPointer) -> Void) {
        if hasCarriageReturn { take(ASCII.carriageReturn, sink) }
        if !isAtLineStart { endLine() }
        // The end of the last line that isn't empty counts; a simple body is never empty.
        if !isEmpty || form == .simple { output += [ASCII.carriageReturn, ASCII.lineFeed] }
        drain(sink)
    }

    private mutating func take(_ octet: UInt8, _ sink: (UnsafeRawBufferPointer) -> Void) {
        isAtLineStart = false
        if form == .relaxed, ASCII.isBlank(octet) {
            hasSpace = true
            return
        }
        while emptyLines > 0 {
            output.append(ASCII.carriageReturn)
            output.append(ASCII.lineFeed)
            emptyLines -= 1
            if output.count >= Self.piece { drain(sink) }
        }
        if hasSpace {
            output.append(ASCII.space)
            hasSpace = false
        }
        output.append(octet)
        isEmpty = false
    }

    /// Every line end is held back until a line with something in it follows.
    private mutating func endLine() {
        isAtLineStart = true
        hasSpace = false
        emptyLines += 1
    }

    private mutating func drain(_ sink: (UnsafeRawBufferPointer) -> Void) {
        guard !output.isEmpty else { return }
        output.withUnsafeBytes { sink($0) }
        output.removeAll(keepingCapacity: true)
    }
}
