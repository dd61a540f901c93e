/// Looks for all that is wrong with a message: its structure, its fields, its encodings and its character sets. Takes it in
/// pieces of any size, and keeps of bodies no more than `BodyDecoder` does.
package struct MessageCheck {
    private var parser: MessageParser
    private var findings = Findings()

    package init(limits: StructureLimits = StructureLimits()) { parser = MessageParser(limits: limits) }

    /// Takes the next octets.
    package mutating func feed(_ octets: UnsafeRawBufferPointer) {
        parser.feed(octets) { findings.take($0) }
    }

    /// The end of the message: the tree, with all defects of each part.
    package mutating func finish() -> MessagePart {
        parser.finish { findings.take($0) }
        var root = findings.tree.root
        Self.addStructure(&root, spliced: Set(SecuredPart.splicedParts(of: root).map(\.header.lowerBound)))
        return root
    }

    private static func addStructure(_ part: inout MessagePart, spliced: Set<Int>) {
        if SecuredPart.kind(part) != nil, SecuredPart(part) == nil { part.defects.insert(.securedParts) }
        if spliced.contains(part.header.lowerBound) { part.defects.insert(.spliced) }
        if PartialMessage.isPartial(part.content), PartialMessage(part.content) == nil {
            part.defects.insert(.invalidPartial)
        }
        for index in part.children.indices { addStructure(&part.children[index], spliced: spliced) }
    }

    /// What was found in the parts whose end hasn't come, and the tree of the others.
    private struct Findings {
        var tree = PartTree()
        private var stack: [OpenPart] = []
        private var decoded: [UInt8] = []

        mutating func take(_ event: MessageEvent) {
            switch event {
            case .partBegin(_, let isMessage):
                stack.append(OpenPart(isMessage: isMessage))
                tree.take(event)
            case .field, .outside: break
            case .headerEnd(_, let header, let content):
                tree.take(event)
                guard let last = stack.indices.last else { return }
                stack[last].begin(header, content, isRoot: stack.count == 1)
            case .body(_, let octets):
                guard let last = stack.indices.last else { return }
                stack[last].take(octets, &decoded)
            case .partEnd(let body, let lines, let defects):
                guard var open = stack.popLast() else { return }
                open.finish(&decoded)
                tree.take(.partEnd(body: body, lines: lines, defects.union(open.defects)))
            }
        }
    }
}

/// A part that is being looked at.
private struct OpenPart {
    let isMessage: Bool
    private var decoder: BodyDecoder?
    private var files: EnclosedFileReader?
    /// Octets of the body's line that has not ended.
    private var line = 0
    private(set) var defects: Defects = []

    private static let longestLine = 998

    init(isMessage: Bool) { self.isMessage = isMessage }

    mutating func begin(_ header: HeaderBlock, _ content: ContentFields, isRoot: Bool) {
        defects.formUnion(Defects(checking: header, isMessage: isMessage, isRoot: isRoot))
        decoder = BodyDecoder(content, toUTF8: true)
        if ASCII.equal(content.type.value, "text/plain") { files = EnclosedFileReader() }
    }

    mutating func take(_ octets: UnsafeRawBufferPointer, _ decoded: inout [UInt8]) {
        // The CR of a line's end is one octet.
        var rest = octets[...]
        while let end = rest.firstIndex(of: ASCII.lineFeed) {
            if line + end - rest.startIndex > Self.longestLine + 1 { defects.insert(.bodyLongLine) }
            line = 0
            rest = rest[(end + 1)...]
        }
        line += rest.count
        if line > Self.longestLine + 1 { defects.insert(.bodyLongLine) }
        decoded.removeAll(keepingCapacity: true)
        decoder?.decode(octets, into: &decoded)
        look(decoded)
    }

    mutating func finish(_ decoded: inout [UInt8]) {
        decoded.removeAll(keepingCapacity: true)
        decoder?.finish(into: &decoded)
        look(decoded)
        var found: Defects = []
        files?.finish { if case .end(let file) = $0, !file.defects.isEmpty { found.insert(.damagedFile) } }
        defects.formUnion(found.union(decoder?.defects ?? []))
    }

    /// Looks for files in the text.
    private mutating func look(_ text: [UInt8]) {
        var found: Defects = []
        files?.feed(text) { if case .end(let file) = $0, !file.defects.isEmpty { found.insert(.damagedFile) } }
        defects.formUnion(found)
    }
}
