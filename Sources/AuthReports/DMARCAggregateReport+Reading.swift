import MIME

/// Why a report could not be read.
package enum DMARCReportError: Error, Sendable, Equatable, CustomStringConvertible {
    case packing(GzipError)
    case xml(XMLError)
    /// Another document, or without metadata or policy.
    case notAReport

    package var description: String {
        switch self {
        case .packing(let error): error.description
        case .xml(let error): error.description
        case .notAReport: "there is no aggregate report in it"
        }
    }
}

extension DMARCAggregateReport {
    /// The most octets that a report may have when unpacked.
    package static let maximumOctets = 64 << 20
    /// The most records that are kept.
    package static let maximumRecords = 100_000
    /// The most results and reasons that are kept of one record, and of all.
    package static let maximumResults = 100
    package static let maximumResultsOfAll = 400_000

    /// Reads a report: XML, or a gzip or ZIP file of it. Names of namespaces don't matter; what is missing stays empty.
    package init(reading octets: [UInt8]) throws(DMARCReportError) {
        let document: [UInt8]
        do throws(GzipError) {
            document = try Gzip.unpacked(octets, most: Self.maximumOctets)
        } catch {
            throw .packing(error)
        }
        try self.init(document: document)
    }

    /// Reads a report that is unpacked.
    init(document: [UInt8]) throws(DMARCReportError) {
        self.init()
        var hasMetadata = false
        var hasPolicy = false
        var results = 0
        do throws(XMLError) {
            try XMLReader.read(document) { element in
                switch String(decoding: element.name, as: UTF8.self) {
                case "report_metadata":
                    metadata = Metadata(element)
                    hasMetadata = true
                case "policy_published":
                    policy = Policy(element)
                    hasPolicy = true
                case "record":
                    let record = Record(element, isCut: &isCutShort)
                    results += record.signatures.count + record.senders.count + record.reasons.count
                    guard records.count < Self.maximumRecords, results <= Self.maximumResultsOfAll else {
                        isCutShort = true
                        return
                    }
                    records.append(record)
                default: break
                }
            }
        } catch {
            throw .xml(error)
        }
        guard hasMetadata, hasPolicy else { throw .notAReport }
    }
}

extension DMARCAggregateReport.Metadata {
    fileprivate init(_ element: XMLElement) {
        organization = element.text("org_name") ?? ""
        email = element.text("email") ?? ""
        extraContact = element.text("extra_contact_info")
        reportID = element.text("report_id") ?? ""
        begin = number(element.child("date_range")?.text("begin")) ?? 0
        end = number(element.child("date_range")?.text("end")) ?? 0
        errors = element.children.filter { ASCII.equal($0.name, "error") }.prefix(100).map {
            String(decoding: $0.text, as: UTF8.self)
        }
    }
}

extension DMARCAggregateReport.Policy {
    fileprivate init(_ element: XMLElement) {
        domain = element.text("domain") ?? ""
        dkimAlignment = element.text("adkim")
        spfAlignment = element.text("aspf")
        policy = element.text("p") ?? ""
        subdomainPolicy = element.text("sp")
        nonexistentPolicy = element.text("np")
        percentage = number(element.text("pct"))
        failureOptions = element.text("fo")
        testing = element.text("testing")
        discoveryMethod = element.text("discovery_method")
    }
}

extension DMARCAggregateReport.Record {
    fileprivate init(_ element: XMLElement, isCut: inout Bool) {
        let most = DMARCAggregateReport.maximumResults
        func some(_ name: StaticString, of elements: [XMLElement]) -> ArraySlice<XMLElement> {
            let found = elements.filter { ASCII.equal($0.name, name) }
            isCut = isCut || found.count > most
            return found.prefix(most)
        }
        if let row = element.child("row") {
            sourceAddress = row.text("source_ip") ?? ""
            count = number(row.text("count")) ?? 0
            if let evaluated = row.child("policy_evaluated") {
                disposition = evaluated.text("disposition") ?? ""
                dkim = evaluated.text("dkim") ?? ""
                spf = evaluated.text("spf") ?? ""
                reasons = some("reason", of: evaluated.children).map {
                    .init(type: $0.text("type") ?? "", comment: $0.text("comment"))
                }
            }
        }
        if let identifiers = element.child("identifiers") ?? element.child("identities") {
            headerFrom = identifiers.text("header_from") ?? ""
            envelopeFrom = identifiers.text("envelope_from")
            envelopeTo = identifiers.text("envelope_to")
        }
        let results = element.child("auth_results")?.children ?? []
        signatures = some("dkim", of: results).map {
            .init(
                domain: $0.text("domain") ?? "",
                selector: $0.text("selector"),
                result: $0.text("result") ?? "",
                humanResult: $0.text("human_result")
            )
        }
        senders = some("spf", of: results).map {
            .init(domain: $0.text("domain") ?? "", scope: $0.text("scope"), result: $0.text("result") ?? "")
        }
    }
}

/// A decimal number without a sign, of at most 13 digits: those of all records together fit.
private func number(_ text: String?) -> Int? {
    guard let text, (1...13).contains(text.utf8.count), text.utf8.allSatisfy(ASCII.isDigit) else { return nil }
    return Int(text)
}
