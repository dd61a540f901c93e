/// Sorts the fields of a delivery report: which are about the message, and which about each recipient (RFC 3464 §2.1).
/// The empty lines between are often missing, or there are too many.
struct DeliveryReportSorting {
    /// Fields that belong together.
    struct Fields {
        private var octets: [UInt8] = []
        private(set) var names: Set<[UInt8]> = []

        var block: HeaderBlock { HeaderBlock(octets, maximumFields: ReportFields.maximumFields) }

        fileprivate mutating func add(_ field: HeaderField, of block: HeaderBlock) {
            octets += block.octets[field.whole]
            if octets.last != ASCII.lineFeed { octets.append(ASCII.lineFeed) }
            names.insert(block.name(of: field).map(ASCII.lower))
        }

        fileprivate mutating func add(_ other: Fields) {
            octets += other.octets
            names.formUnion(other.names)
        }

        fileprivate func shares(_ words: [StaticString]) -> Bool {
            names.contains { name in words.contains { ASCII.equal(name, $0) } }
        }
    }

    private(set) var message = Fields()
    private(set) var recipients: [Fields] = []
    /// Whether a block that names no recipient may go on with the last one.
    private var isOpen = false

    static let messageFields: [StaticString] = [
        "original-envelope-id", "reporting-mta", "dsn-gateway", "received-from-mta", "arrival-date",
    ]
    private static let recipientFields: [StaticString] = ["original-recipient", "final-recipient", "action", "status"]

    /// - Parameter first: what comes before its first recipient is about the message.
    init(_ first: HeaderBlock) {
        let (lead, pieces) = Self.split(first)
        message = lead
        for piece in pieces { take(piece, orElse: { $0.recipients.isEmpty ? $0.message.add($1) : $0.goOn($1) }) }
    }

    /// Takes a block that isn't the first. Its first recipient begins where it begins, but for fields of the message.
    mutating func take(_ block: HeaderBlock) {
        var (lead, pieces) = Self.split(block)
        guard !pieces.isEmpty else { return goOn(lead) }
        if recipients.isEmpty, lead.shares(Self.messageFields) {
            message.add(lead)
        } else {
            lead.add(pieces[0])
            pieces[0] = lead
        }
        for piece in pieces { take(piece, orElse: { $0.goOn($1) }) }
    }

    /// Without a field that names a recipient there is none.
    private mutating func take(_ piece: Fields, orElse other: (inout Self, Fields) -> Void) {
        let block = piece.block
        guard block.text("final-recipient") != nil || block.text("original-recipient") != nil else {
            return other(&self, piece)
        }
        recipients.append(piece)
        isOpen = true
    }

    /// Fields behind an empty line too many belong to what stands before it, unless that has one of them already.
    private mutating func goOn(_ fields: Fields) {
        if let last = recipients.indices.last {
            isOpen = isOpen && recipients[last].names.isDisjoint(with: fields.names)
            if isOpen { recipients[last].add(fields) }
        } else if !fields.shares(Self.recipientFields), message.names.isDisjoint(with: fields.names) {
            message.add(fields)
        }
    }

    /// What comes before the first field of a recipient, and then what each has that may be one.
    private static func split(_ block: HeaderBlock) -> (lead: Fields, pieces: [Fields]) {
        var lead = Fields()
        var pieces: [Fields] = []
        var seen: Set<Int> = []
        var firstKind = 0
        // Fields without a value say nothing.
        for field in block.fields where !block.value(of: field).isEmpty {
            let name = block.name(of: field)
            if let kind = recipientFields.firstIndex(where: { ASCII.equal(name, $0) }) {
                // The first two name the recipient, in any order; one of them again is another's, as is what began this
                // one's.
                if pieces.isEmpty || seen.contains(kind) && (kind < 2 || kind == firstKind) {
                    pieces.append(Fields())
                    seen = []
                    firstKind = kind
                }
                seen.insert(kind)
            }
            if pieces.isEmpty {
                lead.add(field, of: block)
            } else {
                pieces[pieces.count - 1].add(field, of: block)
            }
        }
        return (lead, pieces)
    }
}
