/// Reads a message as `MessageParser` does, and gives bodies decoded: the octets of its `body` events are those that the
/// encoded ones, whose place they tell, mean. What is outside of the parts comes as it is. What is wrong with an encoding is among the defects of its part.
package struct DecodingParser {
    private var parser: MessageParser
    private var bodies: Bodies

    /// - Parameter toUTF8: whether text is also converted from its character set.
    package init(limits: StructureLimits = StructureLimits(), toUTF8: Bool = false) {
        parser = MessageParser(limits: limits)
        bodies = Bodies(toUTF8: toUTF8)
    }

    /// Takes the next octets.
    package mutating func feed(_ octets: UnsafeRawBufferPointer, to receive: (MessageEvent) -> Void) {
        parser.feed(octets) { bodies.take($0, receive) }
    }

    /// The end of the message.
    package mutating func finish(to receive: (MessageEvent) -> Void) {
        parser.finish { bodies.take($0, receive) }
    }

    private struct Bodies {
        let toUTF8: Bool
        private var decoder: BodyDecoder?
        private var decoded: [UInt8] = []
        private var place = 0

        init(toUTF8: Bool) { self.toUTF8 = toUTF8 }

        mutating func take(_ event: MessageEvent, _ receive: (MessageEvent) -> Void) {
            switch event {
            case .partBegin:
                // What had a header and turned out to hold parts has no body of its own.
                decoder = nil
                receive(event)
            case .headerEnd(let end, _, let content):
                decoder = BodyDecoder(content, toUTF8: toUTF8)
                place = end
                receive(event)
            case .body(let start, let octets):
                place = start
                decoder?.decode(octets, into: &decoded)
                flush(receive)
                place = start + octets.count
            case .partEnd(let body, let lines, let defects):
                decoder?.finish(into: &decoded)
                flush(receive)
                receive(.partEnd(body: body, lines: lines, defects.union(decoder?.defects ?? [])))
                decoder = nil
            case .field, .outside: receive(event)
            }
        }

        private mutating func flush(_ receive: (MessageEvent) -> Void) {
            if !decoded.isEmpty { decoded.withUnsafeBytes { receive(.body(at: place, $0)) } }
            decoded.removeAll(keepingCapacity: true)
        }
    }
}
