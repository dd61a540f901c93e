import NIOCore

/// Finds the parts of a message (RFC 2046 §5.1) in one pass over its octets, which come in pieces of any size. Keeps the
/// tree and a part of one line, never a body.
package struct StructureParser {
    private var parser: MessageParser
    private var tree = Tree()

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

    /// The parts whose end has not come, and at last the whole message.
    private struct Tree {
        var root = MessagePart(header: 0..<0, body: 0..<0)
        private var open: [(part: MessagePart, isMessage: Bool)] = []

        mutating func take(_ event: MessageEvent) {
            switch event {
            case .partBegin(let start, let isMessage):
                open.append((MessagePart(header: start..<start, body: start..<start), isMessage))
            case .field, .body: break
            case .headerEnd(let end, let block, let content):
                guard let last = open.indices.last else { return }
                open[last].part.header = open[last].part.header.lowerBound..<end
                open[last].part.content = content
                if open[last].isMessage { open[last].part.envelope = EnvelopeFields(block) }
            case .partEnd(let body, let lines, let defects):
                guard var part = open.popLast()?.part else { return }
                part.body = body
                part.lines = lines
                part.defects = defects
                if let parent = open.indices.last {
                    open[parent].part.children.append(part)
                } else {
                    root = part
                }
            }
        }
    }
}
