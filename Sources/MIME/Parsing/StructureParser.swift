import NIOCore

/// Finds the parts of a message (RFC 2046 §5.1) in one pass over its octets, which come in pieces of any size. Keeps the
/// tree and a part of one line, never a body.
package struct StructureParser {
    private var parser: MessageParser
    private var tree = PartTree()

    package init(limits: StructureLimits = StructureLimits()) { parser = MessageParser(limits: limits) }

    /// Takes the next octets.
    package mutating func feed(_ octets: UnsafeRawBufferPointer) {
        parser.feed(octets) { tree.take($0) }
    }

    /// Takes the next octets.
    package mutating func feed(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { feed($0) }
    }

    /// The end of the message: the tree.
    package mutating func finish() -> MessagePart {
        parser.finish { tree.take($0) }
        return tree.root
    }
}
