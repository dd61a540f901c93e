import DNS

/// Answers as people read them.
enum DNSAnswerText {
    /// One line a record, aliases with where they lead; what is wrong where there is none.
    static func printShort(_ answers: [DNSMessage]) {
        var printed: Set<String> = []
        for answer in answers {
            for record in answer.answers {
                let line =
                    record.type == .cname
                    ? "\(record.name) is an alias of \(record.presentationData)" : record.presentationData
                if printed.insert(line).inserted { print(line) }
            }
        }
        guard printed.isEmpty, let answer = answers.first else { return }
        let reason = answers.lazy.flatMap { errors($0) }.first.map { ": \($0)" } ?? ""
        switch answer.responseCode {
        case .noError: print("no such record")
        case .nameError: print("no such name")
        default: print("\(answer.responseCode)\(reason)")
        }
    }

    /// The header and all sections, as a master file with comments.
    static func printFull(_ answer: DNSMessage) {
        print("; \(answer.responseCode), id \(answer.id), flags: \(flags(answer).joined(separator: " "))")
        for error in errors(answer) { print("; error: \(error)") }
        print("; question")
        for question in answer.questions { print(";   \(question.name) \(question.class) \(question.type)") }
        for (title, records) in sections(answer) where !records.isEmpty {
            print("; \(title)")
            for record in records { print(record) }
        }
    }

    static func sections(_ answer: DNSMessage) -> [(String, [ResourceRecord])] {
        [("answer", answer.answers), ("authority", answer.authorities), ("additional", answer.additionals)]
    }

    static func flags(_ answer: DNSMessage) -> [String] {
        let flags = answer.flags
        return [
            (flags.isAuthoritative, "aa"), (flags.isTruncated, "tc"), (flags.recursionDesired, "rd"),
            (flags.recursionAvailable, "ra"), (flags.isAuthenticData, "ad"), (flags.checkingDisabled, "cd"),
        ].compactMap { $0.0 ? $0.1 : nil }
    }

    static func errors(_ answer: DNSMessage) -> [String] {
        (answer.edns?.options ?? []).compactMap(ExtendedError.init).map { $0.text.isEmpty ? "\($0.code)" : $0.text }
    }
}

/// An answer as programs read it.
struct DNSAnswerDocument: Encodable {
    struct Record: Encodable {
        var name: String
        var type: String
        var ttl: UInt32
        var data: String

        init(_ record: ResourceRecord) {
            name = record.name.description
            type = record.type.description
            ttl = record.timeToLive
            data = record.presentationData
        }
    }

    var name: String
    var type: String
    var status: String
    var flags: [String]
    var errors: [String]
    var answer: [Record]
    var authority: [Record]
    var additional: [Record]

    init(_ message: DNSMessage) {
        name = message.questions.first?.name.description ?? ""
        type = message.questions.first?.type.description ?? ""
        status = message.responseCode.description
        flags = DNSAnswerText.flags(message)
        errors = DNSAnswerText.errors(message)
        answer = message.answers.map(Record.init)
        authority = message.authorities.map(Record.init)
        additional = message.additionals.map(Record.init)
    }
}
