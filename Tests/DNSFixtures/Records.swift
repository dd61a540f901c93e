import DNS

/// A record from a master file's line.
///
/// - Throws: also where the line has no record.
package func record(_ line: String) throws -> ResourceRecord {
    let records = try MasterFile.parse(Array(line.utf8), file: "test", origin: .root) { _ in
        .failure(MasterFileIncludeError(reason: ""))
    }
    guard let record = records.first?.record else { throw MasterFileError(file: "test", line: 1, reason: "no record") }
    return record
}

extension DNSMessage {
    /// An answer to this query with records from master file lines.
    package func answered(
        _ code: ResponseCode = .noError,
        answers: [String] = [],
        authorities: [String] = [],
        additionals: [String] = []
    ) -> DNSMessage {
        var response = response(code)
        response.flags.recursionAvailable = true
        response.answers = answers.compactMap { try? record($0) }
        response.authorities = authorities.compactMap { try? record($0) }
        response.additionals = additionals.compactMap { try? record($0) }
        return response
    }

    /// The answer section as lines without TTL and class.
    package var answerLines: [String] { answers.map { "\($0.name) \($0.type) \($0.presentationData)" } }
}
