import MIME

/// The structure of a message: the same in one piece and in pieces of the size that the first octet says.
let mimeStructureTarget = FuzzTarget("mime-structure", maximum: 64 * 1024) { input in
    guard let first = input.first else { return }
    let message = UnsafeRawBufferPointer(rebasing: input.dropFirst())
    var whole = StructureParser()
    whole.feed(message)
    let root = whole.finish()
    var split = StructureParser()
    var position = 0
    while position < message.count {
        let end = min(message.count, position + Int(first) + 1)
        split.feed(UnsafeRawBufferPointer(rebasing: message[position..<end]))
        position = end
    }
    demand(split.finish().outline == root.outline, "the structure depends on the pieces")
    root.demandOrder(within: 0..<message.count)
}

extension MessagePart {
    fileprivate var outline: String {
        "\(header) \(body) \(lines) \(defects) \(content) \(children.map(\.outline))"
    }

    fileprivate func demandOrder(within range: Range<Int>) {
        demand(header.lowerBound >= range.lowerBound && body.upperBound <= range.upperBound, "a part leaves its parent")
        demand(header.upperBound <= body.lowerBound, "a body is before its header")
        for child in children { child.demandOrder(within: body) }
        for (one, next) in zip(children, children.dropFirst()) {
            demand(one.body.upperBound <= next.header.lowerBound, "parts overlap")
        }
    }
}
