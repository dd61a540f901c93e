import CExpat
import MIME

/// Why a document could not be read.
package enum XMLError: Error, Sendable, Equatable {
    /// Not well-formed, or in a character set that isn't known.
    case malformed
    /// A document type, whose entities could grow without end, or an entity that none declares.
    case unsupported
    /// Deeper, or longer names or texts, or more elements than a report has.
    case tooLarge
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
    /// - Parameter document: at most 2 GiB.
    static func read(_ document: [UInt8], _ receive: (XMLElement) -> Void) throws(XMLError) {
        guard document.count <= Int(Int32.max) else { throw .tooLarge }
        let failure = withoutActuallyEscaping(receive) { receive -> XMLError? in
            guard let parser = XML_ParserCreate(nil) else { return .tooLarge }
            defer { XML_ParserFree(parser) }
            let reader = XMLReader(parser, receive)
            return withExtendedLifetime(reader) { reader.run(document) }
        }
        if let failure { throw failure }
    }

    private init(_ parser: XML_Parser, _ receive: @escaping (XMLElement) -> Void) {
        self.parser = parser
        self.receive = receive
    }

    /// All in one call: expat would look again and again at the beginning of a long tag that comes in pieces.
    private func run(_ document: [UInt8]) -> XMLError? {
        XML_SetUserData(parser, Unmanaged.passUnretained(self).toOpaque())
        XML_SetElementHandler(
            parser,
            { reader, name, _ in XMLReader.of(reader)?.start(name) },
            { reader, _ in XMLReader.of(reader)?.end() }
        )
        XML_SetCharacterDataHandler(parser) { reader, text, count in XMLReader.of(reader)?.add(text, Int(count)) }
        XML_SetStartDoctypeDeclHandler(parser) { reader, _, _, _, _ in XMLReader.of(reader)?.stop(.unsupported) }
        XML_SetUnknownEncodingHandler(parser, { _, name, encoding in XMLReader.describe(name, encoding) }, nil)
        let status = Self.mended(document).withUnsafeBytes { octets in
            XML_Parse(parser, octets.baseAddress?.assumingMemoryBound(to: CChar.self), CInt(octets.count), 1)
        }
        if let failure { return failure }
        guard status != XML_STATUS_OK, !isDone else { return nil }
        return XML_GetErrorCode(parser) == XML_ERROR_UNDEFINED_ENTITY ? .unsupported : .malformed
    }

    /// Some documents begin with an empty line, which XML doesn't allow before its declaration, or carry control characters
    /// that a stranger wrote; in UTF-16 those stay as they are, and are refused.
    private static func mended(_ document: [UInt8]) -> [UInt8] {
        let isWide = document.prefix(2).contains { $0 == 0 || $0 >= 0xFE }
        var octets = Array(document.drop(while: ASCII.isWhitespace))
        guard !isWide else { return octets }
        for index in octets.indices where octets[index] < 0x20 && !ASCII.isWhitespace(octets[index]) {
            octets[index] = UInt8(ascii: "?")
        }
        return octets
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

    /// Sets of one octet a character that expat doesn't know.
    private static func describe(
        _ name: UnsafePointer<CChar>?,
        _ encoding: UnsafeMutablePointer<XML_Encoding>?
    ) -> CInt {
        guard let name, let encoding, let charset = Charset(String(cString: name).utf8) else {
            return CInt(XML_STATUS_ERROR.rawValue)
        }
        encoding.pointee.data = nil
        encoding.pointee.convert = nil
        encoding.pointee.release = nil
        return withUnsafeMutableBytes(of: &encoding.pointee.map) { room in
            let map = room.assumingMemoryBound(to: CInt.self)
            for octet in UInt8.min...UInt8.max {
                let scalars = String(decoding: charset.utf8([octet]), as: UTF8.self).unicodeScalars
                let character = scalars.count == 1 ? scalars.first : nil
                map[Int(octet)] = character.map { $0 == "\u{FFFD}" ? -1 : CInt($0.value) } ?? -1
            }
            return CInt(XML_STATUS_OK.rawValue)
        }
    }
}
