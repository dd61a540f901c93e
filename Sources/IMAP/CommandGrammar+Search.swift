import MIME

extension CommandGrammar {
    mutating func searchCommand() throws(SyntaxError) -> SearchCommand {
        let results = try resultOptions()
        var charset: [UInt8]?
        if scanner.take(word: "CHARSET ") {
            scanner.blanks()
            charset = try scanner.astring()
            try scanner.space()
        }
        let search = SearchCommand(results: results, charset: charset, key: try searchProgram())
        try Self.requireFuzzy(search)
        return search
    }

    /// Keys up to the end of the command.
    private mutating func searchProgram() throws(SyntaxError) -> SearchKey {
        var budget = Self.count
        scanner.blanks()
        var keys = [try searchKey(depth: 0, &budget)]
        while scanner.another() { keys.append(try searchKey(depth: 0, &budget)) }
        return keys.count == 1 ? keys[0] : .and(keys)
    }

    /// `RETURN (…) ` (RFC 4731 §3.1); nil where there is none.
    private mutating func resultOptions() throws(SyntaxError) -> [SearchCommand.Result]? {
        guard scanner.take(word: "RETURN ") else { return nil }
        scanner.blanks()
        let results = try scanner.list { scanner throws(SyntaxError) -> SearchCommand.Result in
            switch try scanner.keyword() {
            case "MIN": return .min
            case "MAX": return .max
            case "ALL": return .all
            case "COUNT": return .count
            case "SAVE": return .save
            case "RELEVANCY": return .relevancy
            case "PARTIAL":
                try scanner.space()
                return .partial(try scanner.partialRange())
            default: throw SyntaxError("unknown result option")
            }
        }
        guard results.count <= 10 else { throw SyntaxError("too many result options") }
        let partials = results.count { if case .partial = $0 { true } else { false } }
        guard partials <= 1 else { throw SyntaxError("one PARTIAL is enough") }  // RFC 9394 §3.1
        if partials > 0, results.contains(.all) { throw SyntaxError("PARTIAL and ALL exclude each other") }
        try scanner.space()
        return results.isEmpty ? [.all] : results
    }

    // MARK: ESEARCH

    /// What may be named to search in: filters, and mailboxes in all of them together.
    private static let maximumFilters = 100
    private static let maximumNames = 100

    /// `ESEARCH IN (mailboxes "a" subtree ("b" "c")) RETURN (…) keys` (RFC 7377 §2).
    mutating func multiSearch() throws(SyntaxError) -> Command {
        guard scanner.take(word: "IN ") else { return .multiSearch([.selected], try searchCommand()) }
        scanner.blanks()
        let filters = try scanner.list { scanner throws(SyntaxError) in try Self.mailboxFilter(&scanner) }
        guard (1...Self.maximumFilters).contains(filters.count) else { throw SyntaxError("mailboxes expected") }
        let names = filters.reduce(0) { count, filter in
            switch filter {
            case .selected, .inboxes, .personal, .subscribed: count
            case .subtree(let names), .subtreeOne(let names), .mailboxes(let names): count + names.count
            }
        }
        guard names <= Self.maximumNames else { throw SyntaxError("too many mailboxes") }
        try scanner.space()
        return .multiSearch(filters, try searchCommand())
    }

    private static func mailboxFilter(_ scanner: inout CommandScanner) throws(SyntaxError) -> MailboxFilter {
        switch try scanner.keyword() {
        case "SELECTED": return .selected
        case "INBOXES": return .inboxes
        case "PERSONAL": return .personal
        case "SUBSCRIBED": return .subscribed
        case "SUBTREE": return .subtree(try mailboxes(&scanner))
        case "SUBTREE-ONE": return .subtreeOne(try mailboxes(&scanner))
        case "MAILBOXES": return .mailboxes(try mailboxes(&scanner))
        default: throw SyntaxError("unknown source of mailboxes")
        }
    }

    /// One name, or several in parentheses.
    private static func mailboxes(_ scanner: inout CommandScanner) throws(SyntaxError) -> [MailboxName] {
        try scanner.space()
        guard scanner.next == UInt8(ascii: "(") else { return [try scanner.mailbox()] }
        let names = try scanner.list { scanner throws(SyntaxError) in try scanner.mailbox() }
        guard (1...count).contains(names.count) else { throw SyntaxError("mailboxes expected") }
        return names
    }

    // MARK: SORT and THREAD

    mutating func sortCommand() throws(SyntaxError) -> SortCommand {
        let results = try resultOptions()
        let criteria = try scanner.list { scanner throws(SyntaxError) -> SortCommand.Criterion in
            let isReverse = scanner.take(word: "REVERSE ")
            scanner.blanks()
            guard let key = SortCommand.Key(rawValue: try scanner.keyword()) else {
                throw SyntaxError("unknown sort key")
            }
            return SortCommand.Criterion(key, isReverse: isReverse)
        }
        guard (1...20).contains(criteria.count) else { throw SyntaxError("sort keys expected") }
        try scanner.space()
        let charset = try scanner.astring()
        try scanner.space()
        let search = SearchCommand(results: results, charset: charset, key: try searchProgram())
        try Self.requireFuzzy(search, sortsByScore: criteria.contains { $0.key == .relevancy })
        return SortCommand(criteria, search)
    }

    mutating func threadCommand() throws(SyntaxError) -> ThreadCommand {
        guard let algorithm = ThreadCommand.Algorithm(rawValue: try scanner.keyword()) else {
            throw SyntaxError("unknown threading algorithm")
        }
        try scanner.space()
        let charset = try scanner.astring()
        try scanner.space()
        return ThreadCommand(algorithm, SearchCommand(charset: charset, key: try searchProgram()))
    }

    // MARK: Keys

    private mutating func searchKey(depth: Int, _ budget: inout Int) throws(SyntaxError) -> SearchKey {
        guard depth < Self.nesting else { throw SyntaxError("search keys nested too deep") }
        budget -= 1
        guard budget > 0 else { throw SyntaxError("too many search keys") }
        if scanner.take(UInt8(ascii: "(")) {
            scanner.blanks()
            var keys = [try searchKey(depth: depth + 1, &budget)]
            while scanner.another() { keys.append(try searchKey(depth: depth + 1, &budget)) }
            try scanner.expect(UInt8(ascii: ")"), "end of list")
            return keys.count == 1 ? keys[0] : .and(keys)
        }
        if let octet = scanner.next, ASCII.isDigit(octet) || octet == UInt8(ascii: "*") || octet == UInt8(ascii: "$") {
            return .sequence(try scanner.sequenceSet())
        }
        let name = try scanner.keyword()
        if let key = Self.simpleKeys[name] { return key }
        try scanner.space()
        switch name {
        case "FUZZY": return .fuzzy(try searchKey(depth: depth + 1, &budget))
        case "NOT": return .not(try searchKey(depth: depth + 1, &budget))
        case "OR":
            let one = try searchKey(depth: depth + 1, &budget)
            try scanner.space()
            return .or(one, try searchKey(depth: depth + 1, &budget))
        default: return try keyWithArgument(name)
        }
    }

    private static let simpleKeys: [String: SearchKey] = [
        "ALL": .all, "ANSWERED": .flag(.answered), "DELETED": .flag(.deleted), "DRAFT": .flag(.draft),
        "FLAGGED": .flag(.flagged), "SEEN": .flag(.seen), "NEW": .new, "RECENT": .recent, "OLD": .not(.recent),
        "UNANSWERED": .not(.flag(.answered)), "UNDELETED": .not(.flag(.deleted)), "UNDRAFT": .not(.flag(.draft)),
        "UNFLAGGED": .not(.flag(.flagged)), "UNSEEN": .not(.flag(.seen)), "SAVEDATESUPPORTED": .saveDateSupported,
    ]

    private mutating func keyWithArgument(_ name: String) throws(SyntaxError) -> SearchKey {
        switch name {
        case "KEYWORD": return .flag(try scanner.flag())
        case "UNKEYWORD": return .not(.flag(try scanner.flag()))
        case "BEFORE": return .before(try scanner.date())
        case "ON": return .on(try scanner.date())
        case "SINCE": return .since(try scanner.date())
        case "SENTBEFORE": return .sentBefore(try scanner.date())
        case "SENTON": return .sentOn(try scanner.date())
        case "SENTSINCE": return .sentSince(try scanner.date())
        case "YOUNGER": return .younger(try interval())
        case "OLDER": return .older(try interval())
        case "MODSEQ": return try modSequence()
        case "EMAILID": return .emailID(try scanner.astring())
        case "THREADID": return .threadID(try scanner.astring())
        case "SAVEDBEFORE": return .savedBefore(try scanner.date())
        case "SAVEDON": return .savedOn(try scanner.date())
        case "SAVEDSINCE": return .savedSince(try scanner.date())
        case "LARGER": return .larger(Int(clamping: try scanner.number64()))
        case "SMALLER": return .smaller(Int(clamping: try scanner.number64()))
        case "UID": return .uid(try scanner.sequenceSet())
        case "UIDAFTER": return .uidAfter(try uid())
        case "UIDBEFORE": return .uidBefore(try uid())
        case "BODY": return .body(try scanner.astring())
        case "TEXT": return .text(try scanner.astring())
        case "BCC", "CC", "FROM", "SUBJECT", "TO":
            return .header(name: Array(name.utf8), text: try scanner.astring())
        case "HEADER":
            let field = try scanner.astring()
            try scanner.space()
            return .header(name: field, text: try scanner.astring())
        default: throw SyntaxError("unknown search key")
        }
    }

    private mutating func uid() throws(SyntaxError) -> UInt32 {
        let uid = try scanner.number()
        guard uid > 0 else { throw SyntaxError("UIDs begin at 1") }
        return uid
    }

    /// Scores are told, and sorted by, only where something may match in part (RFC 6203 §4, §6).
    private static func requireFuzzy(_ search: SearchCommand, sortsByScore: Bool = false) throws(SyntaxError) {
        let asks = sortsByScore || search.results?.contains(.relevancy) == true
        guard !asks || search.key.isFuzzy else { throw SyntaxError("RELEVANCY needs FUZZY") }
    }

    /// Seconds; not none (RFC 5032 §3).
    private mutating func interval() throws(SyntaxError) -> Int {
        let seconds = try scanner.number()
        guard seconds > 0 else { throw SyntaxError("seconds begin at 1") }
        return Int(seconds)
    }

    /// `MODSEQ ["/flags/\\Draft" all] 62000` (RFC 7162 §3.1.5); of which flag makes no difference here.
    private mutating func modSequence() throws(SyntaxError) -> SearchKey {
        if scanner.next == ASCII.quote {
            _ = try scanner.string()
            try scanner.space()
            guard ["ALL", "PRIV", "SHARED"].contains(try scanner.keyword()) else { throw SyntaxError("all expected") }
            try scanner.space()
        }
        return .modSequence(try scanner.number64())
    }
}
