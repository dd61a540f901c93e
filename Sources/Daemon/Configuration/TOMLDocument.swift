import CTOML

/// A value in a TOML document, with the line that it stands in.
struct TOMLNode {
    enum Value {
        case table([String: TOMLNode])
        case array([TOMLNode])
        case string(String)
        case integer(Int)
        case boolean(Bool)
        /// A kind that no setting has.
        case other
    }

    var value: Value
    /// Counted from 1; 0 where there is none.
    let line: Int

    var table: [String: TOMLNode]? { if case .table(let table) = value { table } else { nil } }
    var array: [TOMLNode]? { if case .array(let array) = value { array } else { nil } }
    var string: String? { if case .string(let string) = value { string } else { nil } }
    var integer: Int? { if case .integer(let integer) = value { integer } else { nil } }
    var boolean: Bool? { if case .boolean(let boolean) = value { boolean } else { nil } }
}

/// Builds the tree of a TOML document from the parser's events.
struct TOMLDocument {
    /// A syntax error.
    struct Fault: Error {
        let line: Int
        let reason: String
    }

    private var open: [(key: String?, node: TOMLNode)] = []
    private var root: TOMLNode?
    private var fault: Fault?

    static func parse(_ text: String) throws(Fault) -> [String: TOMLNode] {
        var document = TOMLDocument()
        var text = text
        text.withUTF8 { octets in
            octets.withMemoryRebound(to: CChar.self) { characters in
                withUnsafeMutablePointer(to: &document) { document in
                    _ = CTOML_parse(characters.baseAddress, characters.count, document) { context, event in
                        guard let event else { return }
                        context?.assumingMemoryBound(to: TOMLDocument.self).pointee.add(event.pointee)
                    } _: { context, reason, length, line in
                        context?.assumingMemoryBound(to: TOMLDocument.self).pointee.fault =
                            Fault(line: Int(line), reason: TOMLDocument.string(reason, length) ?? "")
                    }
                }
            }
        }
        if let fault = document.fault { throw fault }
        return document.root?.table ?? [:]
    }

    private mutating func add(_ event: CTOML_event) {
        let key = Self.string(event.key, event.key_length)
        let line = Int(event.line)
        switch event.kind {
        case CTOML_table: open.append((key, TOMLNode(value: .table([:]), line: line)))
        case CTOML_array: open.append((key, TOMLNode(value: .array([]), line: line)))
        case CTOML_end: if let (key, node) = open.popLast() { put(node, key) }
        case CTOML_string:
            let text = Self.string(event.text, event.text_length) ?? ""
            put(TOMLNode(value: .string(text), line: line), key)
        case CTOML_integer: put(TOMLNode(value: .integer(Int(event.number)), line: line), key)
        case CTOML_boolean: put(TOMLNode(value: .boolean(event.number != 0), line: line), key)
        default: put(TOMLNode(value: .other, line: line), key)
        }
    }

    private mutating func put(_ node: TOMLNode, _ key: String?) {
        guard let (outerKey, container) = open.popLast() else {
            root = node
            return
        }
        var outer = container
        switch outer.value {
        case .table(var table):
            table[key ?? ""] = node
            outer.value = .table(table)
        case .array(let array): outer.value = .array(array + [node])
        case .string, .integer, .boolean, .other: break
        }
        open.append((outerKey, outer))
    }

    private static func string(_ text: UnsafePointer<CChar>?, _ length: Int) -> String? {
        text.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: length), as: UTF8.self) }
    }
}
