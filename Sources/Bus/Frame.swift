import NIOCore

/// One request or reply between daemons (docs/protocols.md, "The frame").
package struct Frame: Sendable, Equatable {
    /// A `name: value` line.
    package struct Field: Sendable, Equatable {
        package let name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package var verb: String
    /// In the order written; names may repeat. `size` is not among them: the codec adds and removes it.
    package var fields: [Field]
    /// The octets behind the empty line; nil where there is no `size` field.
    package var body: ByteBuffer?

    package init(_ verb: String, _ fields: [Field] = [], body: ByteBuffer? = nil) {
        self.verb = verb
        self.fields = fields
        self.body = body
    }

    /// A frame from pairs of name and value.
    package init(_ verb: String, _ pairs: KeyValuePairs<String, String>, body: ByteBuffer? = nil) {
        self.init(verb, pairs.map { Field($0.key, $0.value) }, body: body)
    }

    /// The first field of that name; setting replaces it or adds one, nil removes all of that name.
    package subscript(_ name: String) -> String? {
        get { fields.first { $0.name == name }?.value }
        set {
            guard let newValue else {
                fields.removeAll { $0.name == name }
                return
            }
            if let index = fields.firstIndex(where: { $0.name == name }) {
                fields[index].value = newValue
            } else {
                fields.append(Field(name, newValue))
            }
        }
    }

    /// The values of all fields of that name, in order.
    package func all(_ name: String) -> [String] {
        fields.compactMap { $0.name == name ? $0.value : nil }
    }

    /// The first field of that name as a decimal number; nil where there is none or it is something else.
    package func integer(_ name: String) -> Int? { self[name].flatMap { Int($0) } }
}

/// Limits on a frame from a peer.
package struct FrameLimits: Sendable {
    /// Verb, fields and the empty line. Octets.
    package var head = 1024 * 1024
    package var fields = 20_000
    /// Octets.
    package var body = 1024 * 1024

    package init() {}
}

/// What is wrong with octets that should have been a frame.
package enum FrameError: Error, Equatable {
    case malformedVerb
    case malformedField
    case malformedSize
    case headTooLong
    case tooManyFields
    case bodyTooLong

    /// For the `text` of a reply.
    package var text: String {
        switch self {
        case .malformedVerb: return "malformed verb"
        case .malformedField: return "malformed field"
        case .malformedSize: return "malformed size"
        case .headTooLong: return "head too long"
        case .tooManyFields: return "too many fields"
        case .bodyTooLong: return "body too long"
        }
    }
}
