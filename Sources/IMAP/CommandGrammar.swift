import MIME

/// Parses whole commands (RFC 3501 §9, `command`).
struct CommandGrammar {
    var scanner: CommandScanner

    /// How deep search keys may be nested.
    static let nesting = 50
    /// How many search keys, fetch items, flags, header names or patterns a command may have.
    static let count = 5000

    /// The tag at the start, where there is one; also for commands that make no sense otherwise.
    static func tag(of octets: [UInt8]) -> String? {
        let tag = octets.prefix(101).prefix { $0 != ASCII.space && $0 != ASCII.carriageReturn && $0 != ASCII.lineFeed }
        guard (1...100).contains(tag.count), tag.allSatisfy(isTagCharacter) else { return nil }
        return String(decoding: tag, as: UTF8.self)
    }

    static func isTagCharacter(_ octet: UInt8) -> Bool {
        octet != UInt8(ascii: "+") && octet < 0x80 && CommandScanner.isAStringCharacter(octet)
    }

    static func parse(_ octets: [UInt8], usesUTF8: Bool = false) throws(SyntaxError) -> TaggedCommand {
        guard let tag = tag(of: octets) else { throw SyntaxError("a command begins with a tag") }
        var grammar = CommandGrammar(scanner: CommandScanner(octets, usesUTF8: usesUTF8))
        _ = grammar.scanner.run(isTagCharacter)
        try grammar.scanner.space()
        let command = try grammar.command()
        try grammar.scanner.finish()
        return TaggedCommand(tag: tag, command: command)
    }

    // MARK: Commands

    private mutating func command() throws(SyntaxError) -> Command {
        let name = try scanner.keyword()
        if let command = Self.withoutArguments[name] { return command }
        switch name {
        case "UID":
            try scanner.space()
            return try byUID(try scanner.keyword())
        case _ where Self.onMessages.contains(name): return try onMessages(name, byUID: false)
        default:
            try requireKnown(name)
            try scanner.space()
            return try onMailboxes(name)
        }
    }

    private static let withoutArguments: [String: Command] = [
        "CAPABILITY": .capability, "NOOP": .noop, "LOGOUT": .logout, "STARTTLS": .startTLS, "CHECK": .check,
        "CLOSE": .close, "UNSELECT": .unselect, "EXPUNGE": .expunge, "IDLE": .idle, "NAMESPACE": .namespace,
        "UNAUTHENTICATE": .unauthenticate,
    ]

    private static let withArguments: Set<String> = [
        "AUTHENTICATE", "LOGIN", "SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST",
        "LSUB", "STATUS", "APPEND", "REPLACE", "ENABLE", "ID", "COMPRESS", "GETQUOTA", "GETQUOTAROOT", "ESEARCH",
        "GETMETADATA", "SETMETADATA", "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS",
    ]

    private static let onMessages: Set<String> = ["SEARCH", "SORT", "THREAD", "FETCH", "STORE", "COPY", "MOVE"]

    private func requireKnown(_ name: String) throws(SyntaxError) {
        guard Self.withArguments.contains(name) else { throw SyntaxError("unknown command") }
    }

    private mutating func onMailboxes(_ name: String) throws(SyntaxError) -> Command {
        switch name {
        case "AUTHENTICATE": return try authenticate()
        case "LOGIN":
            let user = try scanner.astring()
            try scanner.space()
            return .login(user: user, password: try scanner.astring())
        case "SELECT": return .select(try scanner.mailbox(), try selectModifiers())
        case "EXAMINE": return .examine(try scanner.mailbox(), try selectModifiers())
        case "CREATE": return try create()
        case "DELETE": return .delete(try scanner.mailbox())
        case "RENAME":
            let from = try scanner.mailbox()
            try scanner.space()
            return .rename(from: from, to: try scanner.mailbox())
        case "SUBSCRIBE": return .subscribe(try scanner.mailbox())
        case "UNSUBSCRIBE": return .unsubscribe(try scanner.mailbox())
        case "LIST": return .list(try listCommand())
        case "LSUB":
            let reference = try scanner.astring()
            try scanner.space()
            return .lsub(reference: reference, pattern: try scanner.listMailbox())
        case "STATUS":
            let mailbox = try scanner.mailbox()
            try scanner.space()
            return .status(mailbox, try statusItems())
        case "ENABLE":
            var names = [try scanner.keyword()]
            while scanner.another() { names.append(try scanner.keyword()) }
            return .enable(names)
        case "ID": return try id()
        case "COMPRESS": return .compress(try scanner.keyword())
        case "GETQUOTA": return .getQuota(root: try scanner.astring())
        case "ESEARCH": return try multiSearch()
        case "GETACL": return .getACL(try scanner.mailbox())
        case "MYRIGHTS": return .myRights(try scanner.mailbox())
        case "SETACL":
            let mailbox = try scanner.mailbox()
            try scanner.space()
            let identifier = try scanner.astring()
            try scanner.space()
            return .setACL(mailbox, identifier: identifier, try rightsChange())
        case "DELETEACL", "LISTRIGHTS":
            let mailbox = try scanner.mailbox()
            try scanner.space()
            let identifier = try scanner.astring()
            return name == "DELETEACL"
                ? .deleteACL(mailbox, identifier: identifier) : .listRights(mailbox, identifier: identifier)
        case "GETMETADATA": return try getMetadata()
        case "SETMETADATA": return try setMetadata()
        case "GETQUOTAROOT": return .getQuotaRoot(try scanner.mailbox())
        case "APPEND": throw SyntaxError("APPEND takes a mailbox, flags, a date and a literal")
        case "REPLACE": throw SyntaxError("REPLACE takes a message, a mailbox, flags, a date and a literal")
        default: throw SyntaxError("unknown command")
        }
    }

    private mutating func byUID(_ name: String) throws(SyntaxError) -> Command {
        if name == "EXPUNGE" {
            try scanner.space()
            return .uidExpunge(try scanner.sequenceSet())
        }
        return try onMessages(name, byUID: true)
    }

    private mutating func onMessages(_ name: String, byUID: Bool) throws(SyntaxError) -> Command {
        guard Self.onMessages.contains(name) else { throw SyntaxError("unknown command after UID") }
        try scanner.space()
        switch name {
        case "SEARCH": return .search(try searchCommand(), byUID: byUID)
        case "SORT": return .sort(try sortCommand(), byUID: byUID)
        case "THREAD": return .thread(try threadCommand(), byUID: byUID)
        default: break
        }
        let set = try scanner.sequenceSet()
        try scanner.space()
        switch name {
        case "FETCH":
            let items = try fetchItems()
            return .fetch(set, items, try fetchModifiers(), byUID: byUID)
        case "STORE": return .store(set, try storeChange(), byUID: byUID)
        case "COPY": return .copy(set, try scanner.mailbox(), byUID: byUID)
        case "MOVE": return .move(set, try scanner.mailbox(), byUID: byUID)
        default: throw SyntaxError("unknown command after UID")
        }
    }

    // MARK: Arguments

    private mutating func authenticate() throws(SyntaxError) -> Command {
        let mechanism = try scanner.keyword()
        guard scanner.another() else { return .authenticate(mechanism: mechanism, initialResponse: nil) }
        let response = scanner.run { $0 > 0x20 && $0 < 0x7F }
        guard !response.isEmpty else { throw SyntaxError("initial response expected") }
        return .authenticate(mechanism: mechanism, initialResponse: Array(response))
    }

    private mutating func create() throws(SyntaxError) -> Command {
        let mailbox = try scanner.mailbox()
        guard scanner.another() else { return .create(mailbox, uses: []) }
        try scanner.expect(UInt8(ascii: "("), "list")
        guard try scanner.keyword() == "USE" else { throw SyntaxError("USE expected") }
        try scanner.space()
        let uses = try scanner.list { scanner throws(SyntaxError) in try scanner.flag() }
        try scanner.expect(UInt8(ascii: ")"), "end of list")
        return .create(mailbox, uses: uses)
    }

    /// `(CONDSTORE)`, `(QRESYNC (67890007 20050715194045000 41:211))` (RFC 7162).
    private mutating func selectModifiers() throws(SyntaxError) -> SelectModifiers {
        var modifiers = SelectModifiers()
        guard scanner.another() else { return modifiers }
        _ = try scanner.list { scanner throws(SyntaxError) in
            switch try scanner.keyword() {
            case "CONDSTORE": modifiers.condStore = true
            case "QRESYNC":
                try scanner.space()
                modifiers.known = try Self.known(&scanner)
            default: throw SyntaxError("unknown parameter")
            }
        }
        return modifiers
    }

    private static func known(_ scanner: inout CommandScanner) throws(SyntaxError) -> SelectModifiers.Known {
        try scanner.expect(UInt8(ascii: "("), "list")
        let validity = try scanner.number()
        try scanner.space()
        var known = SelectModifiers.Known(uidValidity: validity, modSequence: try scanner.number64())
        if scanner.another(), scanner.next != UInt8(ascii: "(") {
            known.uids = try scanner.sequenceSet()
            scanner.blanks()
        }
        if scanner.take(UInt8(ascii: "(")) {
            let numbers = try scanner.sequenceSet()
            try scanner.space()
            known.match = SelectModifiers.SequenceMatch(numbers: numbers, uids: try scanner.sequenceSet())
            try scanner.expect(UInt8(ascii: ")"), "end of list")
        }
        scanner.blanks()
        try scanner.expect(UInt8(ascii: ")"), "end of list")
        return known
    }

    private mutating func statusItems() throws(SyntaxError) -> [StatusItem] {
        let items = try scanner.list { scanner throws(SyntaxError) in
            guard let item = StatusItem(rawValue: try scanner.keyword()) else {
                throw SyntaxError("unknown STATUS item")
            }
            return item
        }
        guard !items.isEmpty, items.count <= 100 else { throw SyntaxError("STATUS items expected") }
        return items
    }

    private mutating func listCommand() throws(SyntaxError) -> ListCommand {
        var list = ListCommand()
        if scanner.next == UInt8(ascii: "(") {
            list.isExtended = true
            list.selection = try scanner.list { scanner throws(SyntaxError) in
                guard let option = ListCommand.Selection(rawValue: try scanner.keyword()) else {
                    throw SyntaxError("unknown selection option")
                }
                return option
            }
            guard list.selection.count <= 100 else { throw SyntaxError("too many selection options") }
            // RFC 5258 §3.1
            let isRecursive = list.selection.contains(.recursiveMatch)
            guard !isRecursive || list.selection.contains(where: { $0 == .subscribed || $0 == .specialUse }) else {
                throw SyntaxError("RECURSIVEMATCH needs another option")
            }
            try scanner.space()
        }
        // Some clients have wildcards there too.
        list.reference = try scanner.listMailbox()
        try scanner.space()
        if scanner.next == UInt8(ascii: "(") {
            list.isExtended = true
            list.patterns = try scanner.list { scanner throws(SyntaxError) in try scanner.listMailbox() }
            guard (1...100).contains(list.patterns.count) else { throw SyntaxError("1 to 100 patterns expected") }
        } else {
            list.patterns = [try scanner.listMailbox()]
        }
        guard scanner.another() else { return list }
        list.isExtended = true
        guard try scanner.keyword() == "RETURN" else { throw SyntaxError("RETURN expected") }
        try scanner.space()
        try returnOptions(&list)
        return list
    }

    private mutating func returnOptions(_ list: inout ListCommand) throws(SyntaxError) {
        try scanner.expect(UInt8(ascii: "("), "list")
        scanner.blanks()
        while !scanner.take(UInt8(ascii: ")")) {
            let name = try scanner.keyword()
            if name == "STATUS" {
                try scanner.space()
                list.status = try statusItems()
            } else if name == "METADATA" {
                try scanner.space()
                list.annotations = try annotationNames()
            } else if let option = ListCommand.Return(rawValue: name), list.returns.count < 100 {
                list.returns.append(option)
            } else {
                throw SyntaxError("unknown return option")
            }
            guard scanner.another() || scanner.next == UInt8(ascii: ")") else {
                throw SyntaxError("end of list expected")
            }
        }
    }

    /// RFC 4314 §3.1, §2.1: those of RFC 4314 and of RFC 2086; an unknown one must not be left out silently.
    private static let rights = Set("lrswipkxteacd".utf8)

    private mutating func rightsChange() throws(SyntaxError) -> RightsChange {
        var letters = try scanner.astring()
        var operation = StoreChange.Operation.replace
        switch letters.first {
        case UInt8(ascii: "+"): operation = .add
        case UInt8(ascii: "-"): operation = .remove
        default: break
        }
        if operation != .replace { letters.removeFirst() }
        guard letters.allSatisfy(Self.rights.contains) else { throw SyntaxError("unknown right") }
        return RightsChange(operation, letters)
    }

    private mutating func id() throws(SyntaxError) -> Command {
        if scanner.take(word: "NIL") { return .id([]) }
        let fields = try scanner.list { scanner throws(SyntaxError) in
            let name = try scanner.string()
            try scanner.space()
            return IDField(name: name, value: try scanner.nstring())
        }
        // RFC 2971 §3.3
        guard fields.count <= 30 else { throw SyntaxError("too many fields") }
        return .id(fields)
    }

    private mutating func storeChange() throws(SyntaxError) -> StoreChange {
        let unchangedSince = try storeModifier()
        var operation = StoreChange.Operation.replace
        if scanner.take(UInt8(ascii: "+")) {
            operation = .add
        } else if scanner.take(UInt8(ascii: "-")) {
            operation = .remove
        }
        let name = try scanner.keyword()
        guard name == "FLAGS" || name == "FLAGS.SILENT" else { throw SyntaxError("FLAGS expected") }
        try scanner.space()
        var flags: [Flag] = []
        if scanner.next == UInt8(ascii: "(") {
            flags = try scanner.list { scanner throws(SyntaxError) in try scanner.flag() }
        } else {
            repeat { flags.append(try scanner.flag()) } while scanner.another()
        }
        guard flags.count <= Self.count else { throw SyntaxError("too many flags") }
        return StoreChange(
            operation: operation,
            isSilent: name == "FLAGS.SILENT",
            flags: flags,
            unchangedSince: unchangedSince
        )
    }

    /// `(UNCHANGEDSINCE n) ` (RFC 7162 §3.1.3)
    private mutating func storeModifier() throws(SyntaxError) -> UInt64? {
        guard scanner.take(UInt8(ascii: "(")) else { return nil }
        guard try scanner.keyword() == "UNCHANGEDSINCE" else { throw SyntaxError("unknown STORE modifier") }
        try scanner.space()
        let sequence = try scanner.number64()
        try scanner.expect(UInt8(ascii: ")"), "end of list")
        try scanner.space()
        return sequence
    }
}
