import MIME

extension CommandGrammar {
    mutating func searchCommand() throws(SyntaxError) -> SearchCommand {
        var results: [SearchCommand.Result]?
        if scanner.take(word: "RETURN ") {
            let names = try scanner.list { scanner throws(SyntaxError) in
                guard let result = SearchCommand.Result(rawValue: try scanner.keyword()) else {
                    throw SyntaxError("unknown result option")
                }
                return result
            }
            results = names.isEmpty ? [.all] : names
            try scanner.space()
        }
        var charset: [UInt8]?
        if scanner.take(word: "CHARSET ") {
            charset = try scanner.astring()
            try scanner.space()
        }
        var budget = Self.count
        var keys = [try searchKey(depth: 0, &budget)]
        while scanner.take(ASCII.space) { keys.append(try searchKey(depth: 0, &budget)) }
        return SearchCommand(results: results, charset: charset, key: keys.count == 1 ? keys[0] : .and(keys))
    }

    private mutating func searchKey(depth: Int, _ budget: inout Int) throws(SyntaxError) -> SearchKey {
        guard depth < Self.nesting else { throw SyntaxError("search keys nested too deep") }
        budget -= 1
        guard budget > 0 else { throw SyntaxError("too many search keys") }
        if scanner.take(UInt8(ascii: "(")) {
            var keys = [try searchKey(depth: depth + 1, &budget)]
            while scanner.take(ASCII.space) { keys.append(try searchKey(depth: depth + 1, &budget)) }
            try scanner.expect(UInt8(ascii: ")"), "end of list")
            return keys.count == 1 ? keys[0] : .and(keys)
        }
        if let octet = scanner.next, ASCII.isDigit(octet) || octet == UInt8(ascii: "*") {
            return .sequence(try scanner.sequenceSet())
        }
        let name = try scanner.keyword()
        if let key = Self.simpleKeys[name] { return key }
        try scanner.space()
        switch name {
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
        "UNFLAGGED": .not(.flag(.flagged)), "UNSEEN": .not(.flag(.seen)),
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
        case "LARGER": return .larger(Int(try scanner.number()))
        case "SMALLER": return .smaller(Int(try scanner.number()))
        case "UID": return .uid(try scanner.sequenceSet())
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
}
