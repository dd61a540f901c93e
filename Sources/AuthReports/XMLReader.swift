import CExpat
import MIME

/// Why a document could not be read.
package enum XMLError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not well-formed.
    case malformed
    /// A document type, whose entities could grow without end, or an entity that none declares.
    case unsupported
    /// Deeper, or longer names or texts, or more elements than a report has.
    case tooLarge

    package var description: String {
        switch self {
        case .malformed: "the XML is not well-formed"
        case .unsupported: "the XML has a document type or entities"
        case .tooLarge: "the XML is deeper or longer than a report's"
        }
    }
}

/// One element with its text and children; attributes and prefixes of namespaces are left out.
package struct XMLElement: Sendable {
    package var name: [UInt8]
    /// All text directly within it, without white space at both ends.
    package var text: [UInt8] = []
    package var children: [XMLElement] = []

    /// The first child of that name.
    package func child(_ name: StaticString) -> XMLElement? { children.first { ASCII.equal($0.name, name) } }

    /// The text of the first child of that name.
    package func text(_ name: StaticString) -> String? {
        child(name).map { String(decoding: $0.text, as: UTF8.self) }
    }
}

/// Reads the XML that reports are made of with expat, an element at a time, in memory that depends on one element only.
///
/// Comments and processing instructions are skipped. A document type is refused: with it come entities that expand
/// without end.
final class XMLReader {
    static let maximumDepth = 12
    /// Octets.
    static let maximumName = 128
    /// Of one element. Octets.
    static let maximumText = 16_384
    /// The most elements within the one that is read.
    static let maximumElements = 4096
    /// The most `&` that are mended: they stand in a few names.
    static let maximumMended = 65_536

    private let parser: XML_Parser
    private let receive: (XMLElement) -> Void
    /// The elements that are open, but for the root.
    private var open: [XMLElement] = []
    private var isInRoot = false
    /// Whether the root has ended: what is behind it is of no interest.
    private var isDone = false
    private var left = 0
    private var failure: XMLError?

    /// Gives each child of the document's root.
    ///
    /// - Parameter document: at most 512 MiB: in UTF-8 it may be several times as long.
    static func read(_ document: [UInt8], _ receive: (XMLElement) -> Void) throws(XMLError) {
        guard document.count <= Int(CInt.max / 4) else { throw .tooLarge }
        let text = try mended(document)
        // What expat takes at once.
        guard let count = CInt(exactly: text.count) else { throw .tooLarge }
        let failure = withoutActuallyEscaping(receive) { receive -> XMLError? in
            // Whatever the document says of it, it's in UTF-8 by now.
            guard let parser = XML_ParserCreate("UTF-8") else { return .tooLarge }
            defer { XML_ParserFree(parser) }
            let reader = XMLReader(parser, receive)
            return withExtendedLifetime(reader) { reader.run(text, count) }
        }
        if let failure { throw failure }
    }

    private init(_ parser: XML_Parser, _ receive: @escaping (XMLElement) -> Void) {
        self.parser = parser
        self.receive = receive
    }

    /// All in one call: expat would look again and again at the beginning of a long tag that comes in pieces.
    private func run(_ text: [UInt8], _ count: CInt) -> XMLError? {
        XML_SetUserData(parser, Unmanaged.passUnretained(self).toOpaque())
        XML_SetElementHandler(
            parser,
            { reader, name, _ in XMLReader.of(reader)?.start(name) },
            { reader, _ in XMLReader.of(reader)?.end() }
        )
        XML_SetCharacterDataHandler(parser) { reader, text, count in XMLReader.of(reader)?.add(text, Int(count)) }
        XML_SetStartDoctypeDeclHandler(parser) { reader, _, _, _, _ in XMLReader.of(reader)?.stop(.unsupported) }
        let status = text.withUnsafeBytes { octets in
            XML_Parse(parser, octets.baseAddress?.assumingMemoryBound(to: CChar.self), count, 1)
        }
        if let failure { return failure }
        guard status != XML_STATUS_OK, !isDone else { return nil }
        return XML_GetErrorCode(parser) == XML_ERROR_UNDEFINED_ENTITY ? .unsupported : .malformed
    }

    /// In UTF-8. Some documents begin with an empty line, which XML doesn't allow before its declaration, or carry control
    /// characters that a stranger wrote, or `&` without more, as in `A & B`.
    private static func mended(_ document: [UInt8]) throws(XMLError) -> [UInt8] {
        var octets = Array(utf8(document).drop(while: ASCII.isWhitespace))
        for index in octets.indices where octets[index] < 0x20 && !ASCII.isWhitespace(octets[index]) {
            octets[index] = UInt8(ascii: "?")
        }
        return try withReferences(octets)
    }

    /// With `&amp;` for each `&` that begins no reference (XML 1.0, §4.1), unless some text is marked as none of markup.
    private static func withReferences(_ octets: [UInt8]) throws(XMLError) -> [UInt8] {
        let ampersand = UInt8(ascii: "&")
        var wrong: [Int] = []
        var position = 0
        while let index = octets[position...].firstIndex(of: ampersand) {
            position = index + 1
            if beginsReference(octets[position...]) { continue }
            if wrong.isEmpty, octets.firstRange(of: Array("<![CDATA[".utf8)) != nil { return octets }
            guard wrong.count < maximumMended else { throw .tooLarge }
            wrong.append(index)
        }
        guard !wrong.isEmpty else { return octets }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count + 4 * wrong.count)
        var start = 0
        for index in wrong {
            result += octets[start...index]
            result += Array("amp;".utf8)
            start = index + 1
        }
        return result + octets[start...]
    }

    private static func beginsReference(_ text: ArraySlice<UInt8>) -> Bool {
        let name = text.prefix(32).prefix { ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == UInt8(ascii: "#") }
        return !name.isEmpty && text[name.endIndex...].first == UInt8(ascii: ";")
    }

    private static func of(_ pointer: UnsafeMutableRawPointer?) -> XMLReader? {
        pointer.map { Unmanaged<XMLReader>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Some calls may still come after it.
    private func stop(_ error: XMLError) {
        failure = failure ?? error
        XML_StopParser(parser, 0)
    }

    private func start(_ name: UnsafePointer<CChar>?) {
        guard failure == nil, let name else { return }
        guard isInRoot else {
            isInRoot = true
            return
        }
        if open.isEmpty { left = Self.maximumElements }
        guard open.count + 1 < Self.maximumDepth, left > 0 else { return stop(.tooLarge) }
        left -= 1
        let octets = UnsafeBufferPointer(start: name, count: Self.length(name)).map { UInt8(bitPattern: $0) }
        guard octets.count <= Self.maximumName else { return stop(.tooLarge) }
        let local = octets.lastIndex(of: UInt8(ascii: ":")).map { octets[($0 + 1)...] } ?? octets[...]
        open.append(XMLElement(name: Array(local)))
    }

    /// Of a name; more than are allowed aren't counted.
    private static func length(_ name: UnsafePointer<CChar>) -> Int {
        var count = 0
        while count <= maximumName, name[count] != 0 { count += 1 }
        return count
    }

    private func end() {
        guard failure == nil else { return }
        guard var element = open.popLast() else {
            isDone = true
            return
        }
        element.text = Array(ASCII.trim(element.text[...]))
        if let parent = open.indices.last { open[parent].children.append(element) } else { receive(element) }
    }

    private func add(_ text: UnsafePointer<CChar>?, _ count: Int) {
        guard failure == nil, let text, let last = open.indices.last else { return }
        guard open[last].text.count + count <= Self.maximumText else { return stop(.tooLarge) }
        open[last].text += UnsafeRawBufferPointer(start: text, count: count)
    }

    // MARK: Character sets

    /// UTF-16 shows itself (XML 1.0, appendix F); other sets are told by the declaration. Many documents aren't in the set
    /// that theirs tells, or that it doesn't tell: what isn't UTF-8 is Latin-1 then.
    private static func utf8(_ document: [UInt8]) -> [UInt8] {
        let wide: [(mark: [UInt8], octets: Int, name: String)] = [
            ([0xFF, 0xFE], 2, "utf-16le"), ([0xFE, 0xFF], 2, "utf-16be"), ([0x3C, 0], 0, "utf-16le"),
            ([0, 0x3C], 0, "utf-16be"),
        ]
        if let (_, octets, name) = wide.first(where: { document.starts(with: $0.mark) }) {
            return Charset(name.utf8)?.utf8(Array(document.dropFirst(octets))) ?? document
        }
        if document.starts(with: [0xEF, 0xBB, 0xBF]) { return Charset.utf8.utf8(Array(document.dropFirst(3))) }
        // Where the declaration can be read as it is, its octets are ASCII's, whatever form of Unicode it tells.
        guard let charset = declared(document).flatMap({ Charset($0) }), !charset.name.hasPrefix("UTF-") else {
            return Charset.guess(document)
        }
        return charset.utf8(document)
    }

    /// The label in `<?xml version="1.0" encoding="…"?>`.
    private static func declared(_ document: [UInt8]) -> ArraySlice<UInt8>? {
        let start = document.drop(while: ASCII.isWhitespace).prefix(200)
        guard start.starts(with: "<?xml".utf8), let end = start.firstIndex(of: UInt8(ascii: ">")) else { return nil }
        guard let name = start[..<end].firstRange(of: Array("encoding".utf8)) else { return nil }
        let rest = start[name.upperBound..<end].drop { ASCII.isWhitespace($0) || $0 == UInt8(ascii: "=") }
        guard let quote = rest.first, quote == ASCII.quote || quote == UInt8(ascii: "'") else { return nil }
        return rest.dropFirst().prefix { $0 != quote }
    }
}
