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
    static func printFull(_ exchange: DNSStub.Exchange, server: String) {
        printFull(exchange.answer)
        print("; from \(server) (\(exchange.transport)) in \(exchange.milliseconds) ms")
    }

    /// The header and all sections, as a master file with comments.
    static func printFull(_ answer: DNSMessage) {
        print("; \(answer.responseCode), id \(answer.id), flags: \(flags(answer).joined(separator: " "))")
        if let edns = answer.edns {
            print("; EDNS \(edns)")
            for option in edns.options { print(";   \(shown(option.description))") }
        }
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

    /// Extended errors (RFC 8914), in the server's words or the standard's.
    static func errors(_ answer: DNSMessage) -> [String] {
        (answer.edns?.options ?? []).compactMap(ExtendedError.init).map {
            $0.text.isEmpty ? $0.meaning : shown($0.text)
        }
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

    /// What the OPT record says.
    struct Extension: Encodable {
        struct Option: Encodable {
            var code: UInt16
            var name: String
            var value: String
        }

        var version: UInt8
        var udp: UInt16
        var `do`: Bool
        var options: [Option]

        init(_ edns: EDNS) {
            version = edns.version
            udp = edns.payloadSize
            self.do = edns.dnssecOK
            options = edns.options.map { Option(code: $0.code, name: $0.name, value: $0.value) }
        }
    }

    var server: String
    var transport: String
    var milliseconds: Int
    var name: String
    var type: String
    var status: String
    var flags: [String]
    var errors: [String]
    var answer: [Record]
    var authority: [Record]
    var additional: [Record]
    var edns: Extension?

    init(_ exchange: DNSStub.Exchange, server: String) {
        let message = exchange.answer
        self.server = server
        transport = exchange.transport
        milliseconds = exchange.milliseconds
        name = message.questions.first?.name.description ?? ""
        type = message.questions.first?.type.description ?? ""
        status = message.responseCode.description
        flags = DNSAnswerText.flags(message)
        errors = DNSAnswerText.errors(message)
        answer = message.answers.map(Record.init)
        authority = message.authorities.map(Record.init)
        additional = message.additionals.map(Record.init)
        edns = message.edns.map(Extension.init)
    }
}
