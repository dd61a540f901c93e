import DNS

/// A record of an update as it's written here: `NAME [TTL] CLASS TYPE [DATA]`, where ANY and NONE are classes and ANY is a
/// type too.
package func updateRecord(_ text: String) throws -> ResourceRecord {
    var words = text.split(separator: " ", maxSplits: 4).map(String.init)
    let name = try DomainName(words.removeFirst() + ".dyn.test").relative
    let timeToLive = UInt32(words[0]).map { value -> UInt32 in
        words.removeFirst()
        return value
    }
    let recordClass: RecordClass = ["ANY": .any, "NONE": .none][words.removeFirst()] ?? .internet
    let mnemonic = words.removeFirst()
    let type = mnemonic == "ANY" ? RecordType.any : try RecordType(mnemonic: mnemonic.utf8).orFail(text)
    guard !words.isEmpty else {
        var empty = ResourceRecord.empty(name, type, recordClass)
        empty.timeToLive = timeToLive ?? 0
        return empty
    }
    let line = "\(name) \(timeToLive ?? 0) IN \(mnemonic) \(words.joined(separator: " "))"
    var parsed = try record(line)
    parsed.class = recordClass
    return parsed
}

extension DomainName {
    /// `@.dyn.test` stands for the top, and names that end with `!` are outside.
    fileprivate var relative: DomainName {
        get throws {
            if firstLabel.map(Array.init) == [0x40] { return try parent.orFail("@") }
            if labels.first?.last == 0x21 { return try DomainName("elsewhere.test") }
            return self
        }
    }
}

/// An update message from lines.
package func updateMessage(_ zone: String, prerequisites: [String] = [], updates: [String] = []) throws -> DNSMessage {
    var flags = MessageFlags(rawValue: 0)
    flags.opcode = .update
    return DNSMessage(
        id: 77,
        flags: flags,
        questions: [Question(name: try DomainName(zone), type: .soa)],
        answers: try prerequisites.map(updateRecord),
        authorities: try updates.map(updateRecord)
    )
}

extension Optional {
    fileprivate func orFail(_ text: String) throws -> Wrapped {
        guard let self else { throw MasterFileError(file: "test", line: 1, reason: text) }
        return self
    }
}
