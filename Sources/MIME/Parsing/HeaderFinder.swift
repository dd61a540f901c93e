import NIOCore

/// Finds the header of a message that comes in pieces, by the rule that all else goes by (`MessageParser`): a message that
/// begins with text has none.
package struct HeaderFinder {
    /// Where the header ends, behind the empty line, and what is kept of it: all, unless it's beyond the limits. nil while more
    /// octets are needed.
    package var header: (end: Int, block: HeaderBlock)? { first.header }

    private var parser: MessageParser
    private var first = First()

    /// The first header that ends is the message's own.
    private struct First {
        var header: (end: Int, block: HeaderBlock)?

        mutating func take(_ event: MessageEvent) {
            guard header == nil, case .headerEnd(let end, let block, _) = event else { return }
            header = (end, block)
        }
    }

    package init(limits: StructureLimits = StructureLimits()) { parser = MessageParser(limits: limits) }

    /// Takes the next octets.
    package mutating func feed(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { octets in parser.feed(octets) { first.take($0) } }
    }

    /// The end of the message.
    package mutating func finish() {
        parser.finish { first.take($0) }
    }
}
