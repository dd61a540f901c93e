import FoundationEssentials
import MIME

/// Why a document is not JSON that is taken here.
package enum JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not JSON (RFC 8259).
    case malformed
    /// Deeper or more than is taken.
    case tooLarge

    package var description: String {
        switch self {
        case .malformed: "the JSON is not well-formed"
        case .tooLarge: "the JSON is deeper or has more values than a report's"
        }
    }
}

/// Why a report could not be read.
package enum TLSReportError: Error, Sendable, Equatable, CustomStringConvertible {
    case packing(GzipError)
    case json(JSONError)
    /// Another document.
    case notAReport

    package var description: String {
        switch self {
        case .packing(let error): error.description
        case .json(let error): error.description
        case .notAReport: "there is no TLS report in it"
        }
    }
}

extension TLSReport {
    /// Objects and arrays within each other.
    static let maximumDepth = 24
    /// In the whole document.
    static let maximumValues = 500_000

    /// The report as a JSON document (RFC 8460 §4.4).
    package func json() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts and numbers can always be written.
        return (try? encoder.encode(self)).map { Array($0) } ?? []
    }

    /// Reads a report: JSON, or a gzip or ZIP file of it. What is missing, or of another type, stays empty.
    package init(reading octets: [UInt8]) throws(TLSReportError) {
        let document: [UInt8]
        do throws(GzipError) {
            document = try Gzip.unpacked(octets, most: Self.maximumOctets)
        } catch {
            throw .packing(error)
        }
        try self.init(document: document)
    }

    /// Reads a report that is unpacked.
    init(document: [UInt8]) throws(TLSReportError) {
        // JSON is UTF-8 (RFC 8259 §8.1) without NULs: what looks like UTF-16 would be read as that, and pass the limits by.
        guard !document.contains(0) else { throw .json(.malformed) }
        guard Self.isWithinLimits(document) else { throw .json(.tooLarge) }
        // A byte order mark is none of the document (RFC 8259 §8.1).
        let start = document.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        do {
            self = try JSONDecoder().decode(
                TLSReport.self,
                from: Data(Charset.guess(Self.mended(document[start...])))
            )
        } catch DecodingError.dataCorrupted {
            throw .json(.malformed)
        } catch {
            throw .notAReport
        }
    }

    /// Without control characters in strings, which JSON doesn't allow and strangers' words have.
    private static func mended(_ document: ArraySlice<UInt8>) -> [UInt8] {
        var octets = Array(document)
        var isString = false
        var isEscaped = false
        for index in octets.indices {
            let octet = octets[index]
            if isString, octet < 0x20 {
                octets[index] = ASCII.isWhitespace(octet) ? ASCII.space : UInt8(ascii: "?")
                isEscaped = false
            } else if isEscaped {
                isEscaped = false
            } else if octet == ASCII.quote {
                isString.toggle()
            } else {
                isEscaped = isString && octet == ASCII.backslash
            }
        }
        return octets
    }

    /// Looks at brackets and commas outside of strings, before anything is made of the document.
    private static func isWithinLimits(_ document: [UInt8]) -> Bool {
        var depth = 0
        var values = 1
        var isString = false
        var isEscaped = false
        for octet in document {
            if isEscaped {
                isEscaped = false
                continue
            }
            switch octet {
            case ASCII.quote: isString.toggle()
            case ASCII.backslash: isEscaped = isString
            case _ where isString: continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                values += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: ","): values += 1
            default: continue
            }
            guard depth <= maximumDepth, values <= maximumValues else { return false }
        }
        return true
    }
}

/// The names of RFC 8460 §4.4.
private enum ReportKey: String, CodingKey {
    case organization = "organization-name"
    case range = "date-range"
    case start = "start-datetime"
    case end = "end-datetime"
    case contact = "contact-info"
    case reportID = "report-id"
    case policies

    case policy
    case type = "policy-type"
    case strings = "policy-string"
    case domain = "policy-domain"
    case exchanges = "mx-host"
    case summary
    case successfulSessions = "total-successful-session-count"
    case failedSessionsInAll = "total-failure-session-count"
    case failures = "failure-details"

    case resultType = "result-type"
    case sendingAddress = "sending-mta-ip"
    case receivingHost = "receiving-mx-hostname"
    case receivingHelo = "receiving-mx-helo"
    case receivingAddress = "receiving-ip"
    case failedSessions = "failed-session-count"
    case additionalInformation = "additional-information"
    case reasonCode = "failure-reason-code"
}

/// Reports from the wild have values of other types, which count as missing.
extension KeyedDecodingContainer<ReportKey> {
    fileprivate func text(_ key: Key) -> String? { try? decode(String.self, forKey: key) }

    /// A whole number that isn't negative, of at most 15 digits; some writers put it in quotes.
    fileprivate func count(_ key: Key) -> Int {
        let number = (try? decode(Int.self, forKey: key)) ?? text(key).flatMap { ASCII.number(Array($0.utf8)) } ?? 0
        return (0..<1_000_000_000_000_000).contains(number) ? number : 0
    }

    /// An array of texts; some writers put a single text there.
    fileprivate func texts(_ key: Key) -> [String] {
        if let text = text(key) { return [text] }
        return elements(key).compactMap { try? $0.singleValueContainer().decode(String.self) }
    }

    /// The elements; none for anything but an array.
    fileprivate func elements(_ key: Key) -> [any Decoder] {
        guard var elements = try? nestedUnkeyedContainer(forKey: key) else { return [] }
        var found: [any Decoder] = []
        while !elements.isAtEnd, let element = try? elements.superDecoder() { found.append(element) }
        return found
    }

    fileprivate func object(_ key: Key) -> KeyedDecodingContainer<ReportKey>? {
        try? nestedContainer(keyedBy: ReportKey.self, forKey: key)
    }
}

extension TLSReport: Codable {
    package init(from decoder: any Decoder) throws {
        let document = try decoder.container(keyedBy: ReportKey.self)
        _ = try document.nestedUnkeyedContainer(forKey: .policies)
        guard document.contains(.reportID) else {
            throw DecodingError.keyNotFound(ReportKey.reportID, .init(codingPath: [], debugDescription: ""))
        }
        self.init()
        organization = document.text(.organization) ?? ""
        start = document.object(.range)?.text(.start) ?? ""
        end = document.object(.range)?.text(.end) ?? ""
        contact = document.text(.contact) ?? ""
        reportID = document.text(.reportID) ?? ""
        policies = document.elements(.policies).map { (try? Policy(from: $0)) ?? Policy() }
    }

    package func encode(to encoder: any Encoder) throws {
        var document = encoder.container(keyedBy: ReportKey.self)
        try document.encode(organization, forKey: .organization)
        var range = document.nestedContainer(keyedBy: ReportKey.self, forKey: .range)
        try range.encode(start, forKey: .start)
        try range.encode(end, forKey: .end)
        try document.encode(contact, forKey: .contact)
        try document.encode(reportID, forKey: .reportID)
        try document.encode(policies, forKey: .policies)
    }
}

extension TLSReport.Policy: Codable {
    package init(from decoder: any Decoder) throws {
        let document = try decoder.container(keyedBy: ReportKey.self)
        let policy = document.object(.policy)
        type = policy?.text(.type) ?? ""
        strings = policy?.texts(.strings) ?? []
        domain = policy?.text(.domain) ?? ""
        exchanges = policy?.texts(.exchanges) ?? []
        let summary = document.object(.summary)
        successfulSessions = summary?.count(.successfulSessions) ?? 0
        failedSessions = summary?.count(.failedSessionsInAll) ?? 0
        failures = document.elements(.failures).map { (try? TLSReport.Failure(from: $0)) ?? TLSReport.Failure() }
    }

    package func encode(to encoder: any Encoder) throws {
        var document = encoder.container(keyedBy: ReportKey.self)
        var policy = document.nestedContainer(keyedBy: ReportKey.self, forKey: .policy)
        try policy.encode(type, forKey: .type)
        if !strings.isEmpty { try policy.encode(strings, forKey: .strings) }
        try policy.encode(domain, forKey: .domain)
        if !exchanges.isEmpty { try policy.encode(exchanges, forKey: .exchanges) }
        var summary = document.nestedContainer(keyedBy: ReportKey.self, forKey: .summary)
        try summary.encode(successfulSessions, forKey: .successfulSessions)
        try summary.encode(failedSessions, forKey: .failedSessionsInAll)
        if !failures.isEmpty { try document.encode(failures, forKey: .failures) }
    }
}

extension TLSReport.Failure: Codable {
    package init(from decoder: any Decoder) throws {
        let document = try decoder.container(keyedBy: ReportKey.self)
        resultType = document.text(.resultType) ?? ""
        sendingAddress = document.text(.sendingAddress)
        receivingHost = document.text(.receivingHost)
        receivingHelo = document.text(.receivingHelo)
        receivingAddress = document.text(.receivingAddress)
        failedSessions = document.count(.failedSessions)
        additionalInformation = document.text(.additionalInformation)
        reasonCode = document.text(.reasonCode)
    }

    package func encode(to encoder: any Encoder) throws {
        var document = encoder.container(keyedBy: ReportKey.self)
        try document.encode(resultType, forKey: .resultType)
        try document.encodeIfPresent(sendingAddress, forKey: .sendingAddress)
        try document.encodeIfPresent(receivingHost, forKey: .receivingHost)
        try document.encodeIfPresent(receivingHelo, forKey: .receivingHelo)
        try document.encodeIfPresent(receivingAddress, forKey: .receivingAddress)
        try document.encode(failedSessions, forKey: .failedSessions)
        try document.encodeIfPresent(additionalInformation, forKey: .additionalInformation)
        try document.encodeIfPresent(reasonCode, forKey: .reasonCode)
    }
}
