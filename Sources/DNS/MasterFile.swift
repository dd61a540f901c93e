/// What is wrong in a master file, and where.
package struct MasterFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file, as it was named.
    package let file: String
    /// The line, from 1; 0 when it concerns the file as a whole.
    package let line: Int
    /// What is wrong, for people.
    package let reason: String

    package init(file: String, line: Int, reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    /// `file:line: reason`.
    package var description: String { line > 0 ? "\(file):\(line): \(reason)" : "\(file): \(reason)" }
}

/// A record and the place in the file that it comes from.
package struct MasterFileRecord: Sendable {
    /// The record.
    package let record: ResourceRecord
    /// The file, as it was named.
    package let file: String
    /// The line that the record begins on; 0 where it comes from no file.
    package let line: Int

    package init(record: ResourceRecord, file: String, line: Int) {
        self.record = record
        self.file = file
        self.line = line
    }
}

/// Reads master files (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5) with $ORIGIN, $TTL, $INCLUDE and $GENERATE.
package struct MasterFile {
    /// Gives the content of a file that $INCLUDE names, or nil and why not.
    package typealias Include = (String) -> Result<[UInt8], MasterFileIncludeError>

    /// How deep $INCLUDE may go.
    static let maximumDepth = 8
    /// How many records one file may lead to.
    static let maximumRecords = 5_000_000

    private let include: Include
    private var records: [MasterFileRecord] = []
    private var defaultTimeToLive: UInt32?
    private var lastTimeToLive: UInt32?
    private var lastOwner: DomainName?
    private var origin: DomainName
    private var file = ""

    private init(origin: DomainName, include: @escaping Include) {
        self.origin = origin
        self.include = include
    }

    /// All records of a file, in order.
    ///
    /// - Parameters:
    ///   - octets: the file's content.
    ///   - file: its name, for errors.
    ///   - origin: what relative names are relative to at first.
    ///   - include: gives the files that $INCLUDE names.
    /// - Throws: the first error.
    package static func parse(
        _ octets: [UInt8],
        file: String,
        origin: DomainName,
        include: @escaping Include
    ) throws(MasterFileError) -> [MasterFileRecord] {
        var parser = MasterFile(origin: origin, include: include)
        try parser.read(octets, file: file, depth: 0)
        return parser.records
    }

    private mutating func read(_ octets: [UInt8], file: String, depth: Int) throws(MasterFileError) {
        self.file = file
        var lexer = MasterFileLexer(octets)
        while true {
            let next: MasterFileEntry?
            do {
                next = try lexer.next()
            } catch {
                throw MasterFileError(file: file, line: error.line, reason: error.reason)
            }
            guard let entry = next else { return }
            let first = entry.tokens[0]
            if !first.isQuoted, first.octets.first == 0x24, !entry.isIndented {
                try readDirective(entry, depth: depth)
            } else {
                try readRecord(entry)
            }
        }
    }

    private func failure(_ entry: MasterFileEntry, _ reason: String) -> MasterFileError {
        MasterFileError(file: file, line: entry.line, reason: reason)
    }

    private func name(_ token: MasterFileToken, _ entry: MasterFileEntry) throws(MasterFileError) -> DomainName {
        do {
            return try DomainName(presentation: token.octets, origin: origin)
        } catch {
            throw failure(entry, "no domain name (\(error)): \(String(decoding: token.octets, as: UTF8.self))")
        }
    }

    // MARK: Directives

    private mutating func readDirective(_ entry: MasterFileEntry, depth: Int) throws(MasterFileError) {
        let keyword = String(decoding: entry.tokens[0].octets, as: UTF8.self)
        let arguments = entry.tokens.dropFirst()
        switch keyword.uppercased() {
        case "$ORIGIN":
            guard arguments.count == 1, let argument = arguments.first else {
                throw failure(entry, "$ORIGIN needs one name")
            }
            origin = try name(argument, entry)
        case "$TTL":
            guard arguments.count == 1, let seconds = arguments.first.flatMap({ Period.parse($0.octets) }) else {
                throw failure(entry, "$TTL needs one period of time")
            }
            defaultTimeToLive = seconds
        case "$INCLUDE": try readInclude(entry, arguments, depth: depth)
        case "$GENERATE": try readGenerate(entry, arguments)
        default: throw failure(entry, "unknown directive \(keyword)")
        }
    }

    private mutating func readInclude(
        _ entry: MasterFileEntry,
        _ arguments: ArraySlice<MasterFileToken>,
        depth: Int
    ) throws(MasterFileError) {
        guard let path = arguments.first, arguments.count <= 2 else {
            throw failure(entry, "$INCLUDE needs a file and perhaps an origin")
        }
        guard depth < Self.maximumDepth else {
            throw failure(entry, "$INCLUDE goes deeper than \(Self.maximumDepth) files")
        }
        let outer = (file: file, origin: origin, owner: lastOwner)
        if arguments.count == 2, let argument = arguments.last { origin = try name(argument, entry) }
        let inner = String(decoding: path.octets, as: UTF8.self)
        switch include(inner) {
        case .success(let octets): try read(octets, file: inner, depth: depth + 1)
        case .failure(let error): throw failure(entry, "can't include \(inner): \(error.reason)")
        }
        // RFC 1035 §5.1: the origin is as before after the included file; so is the owner.
        (file, origin, lastOwner) = outer
    }

    private mutating func readGenerate(
        _ entry: MasterFileEntry,
        _ arguments: ArraySlice<MasterFileToken>
    ) throws(MasterFileError) {
        guard arguments.count >= 4, let range = arguments.first.flatMap({ GenerateRange($0.octets) }) else {
            throw failure(entry, "$GENERATE needs FROM-TO[/STEP], an owner, a type and data")
        }
        for number in range.numbers {
            var generated = MasterFileEntry(line: entry.line, isIndented: false)
            for token in arguments.dropFirst() {
                guard let octets = GenerateRange.substitute(number, in: token.octets) else {
                    throw failure(entry, "a wrong $ in $GENERATE")
                }
                var token = token
                token.octets = octets
                generated.tokens.append(token)
            }
            try readRecord(generated)
        }
    }

    // MARK: Records

    private mutating func readRecord(_ entry: MasterFileEntry) throws(MasterFileError) {
        var tokens = entry.tokens[...]
        let owner: DomainName
        if entry.isIndented {
            guard let lastOwner else { throw failure(entry, "no owner before this line") }
            owner = lastOwner
        } else {
            owner = try name(tokens.removeFirst(), entry)
        }
        var explicit: UInt32?
        var recordClass: RecordClass?
        var type: RecordType?
        while type == nil {
            guard let token = tokens.popFirst(), !token.isQuoted else { throw failure(entry, "no type") }
            if explicit == nil, let seconds = Period.parse(token.octets) {
                explicit = seconds
            } else if recordClass == nil, let found = RecordClass(mnemonic: token.octets) {
                recordClass = found
            } else if let found = RecordType(mnemonic: token.octets), !found.isMeta {
                type = found
            } else {
                throw failure(entry, "unknown type \(String(decoding: token.octets, as: UTF8.self))")
            }
        }
        guard let type else { return }
        guard recordClass ?? .internet == .internet else { throw failure(entry, "only class IN is served") }
        try append(entry, owner, type, Array(tokens), explicit)
    }

    private mutating func append(
        _ entry: MasterFileEntry,
        _ owner: DomainName,
        _ type: RecordType,
        _ tokens: [MasterFileToken],
        _ explicit: UInt32?
    ) throws(MasterFileError) {
        let data: [UInt8]
        do {
            data = try ResourceRecord.parseData(tokens, of: type, origin: origin)
        } catch {
            throw failure(entry, "\(type): \(error.description)")
        }
        var record = ResourceRecord(name: owner, type: type, class: .internet, timeToLive: 0, data: data)
        guard let seconds = explicit ?? defaultTimeToLive ?? lastTimeToLive ?? StartOfAuthority(record)?.minimum else {
            throw failure(entry, "no time to live: add $TTL at the top of the file")
        }
        record.timeToLive = seconds
        lastOwner = owner
        if explicit != nil || type == .soa { lastTimeToLive = seconds }
        guard records.count < Self.maximumRecords else { throw failure(entry, "too many records") }
        records.append(MasterFileRecord(record: record, file: file, line: entry.line))
    }
}

/// Why a file can't be included.
package struct MasterFileIncludeError: Error, Equatable, Sendable {
    /// For people.
    package let reason: String

    package init(reason: String) { self.reason = reason }
}
