/// Makes the tree of parts from the events of a parser: the parts whose end has not come, and at last the whole message.
package struct PartTree {
    package private(set) var root = MessagePart(header: 0..<0, body: 0..<0)
    private var open: [(part: MessagePart, isMessage: Bool)] = []

    package init() {}

    package mutating func take(_ event: MessageEvent) {
        switch event {
        case .partBegin(let start, let isMessage):
            open.append((MessagePart(header: start..<start, body: start..<start), isMessage))
        case .field, .body, .outside: break
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
