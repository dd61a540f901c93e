/// Why a report could not be read.
package enum TLSReportError: Error, Sendable, Equatable {
    case packing(GzipError)
    case json(JSONError)
    /// Another document.
    case notAReport
}

extension TLSReport {
    // MARK: Writing

    /// The report as a JSON document (RFC 8460 §4.4).
    package func json() -> [UInt8] {
        let range = Self.object([("start-datetime", .string(start)), ("end-datetime", .string(end))])
        return Self.object([
            ("organization-name", .string(organization)), ("date-range", range), ("contact-info", .string(contact)),
            ("report-id", .string(reportID)), ("policies", .array(policies.map(Self.value))),
        ]).written()
    }

    private static func object(_ members: [(String, JSONValue?)]) -> JSONValue {
        .object(members.compactMap { name, value in value.map { .init(name: name, value: $0) } })
    }

    private static func value(_ policy: Policy) -> JSONValue {
        let strings = policy.strings.isEmpty ? nil : JSONValue.array(policy.strings.map { .string($0) })
        let exchanges = policy.exchanges.isEmpty ? nil : JSONValue.array(policy.exchanges.map { .string($0) })
        let failures = policy.failures.isEmpty ? nil : JSONValue.array(policy.failures.map(value))
        return object([
            (
                "policy",
                object([
                    ("policy-type", .string(policy.type)), ("policy-string", strings),
                    ("policy-domain", .string(policy.domain)), ("mx-host", exchanges),
                ])
            ),
            (
                "summary",
                object([
                    ("total-successful-session-count", .number(String(policy.successfulSessions))),
                    ("total-failure-session-count", .number(String(policy.failedSessions))),
                ])
            ),
            ("failure-details", failures),
        ])
    }

    private static func value(_ failure: Failure) -> JSONValue {
        object([
            ("result-type", .string(failure.resultType)),
            ("sending-mta-ip", failure.sendingAddress.map { .string($0) }),
            ("receiving-mx-hostname", failure.receivingHost.map { .string($0) }),
            ("receiving-mx-helo", failure.receivingHelo.map { .string($0) }),
            ("receiving-ip", failure.receivingAddress.map { .string($0) }),
            ("failed-session-count", .number(String(failure.failedSessions))),
            ("additional-information", failure.additionalInformation.map { .string($0) }),
            ("failure-reason-code", failure.reasonCode.map { .string($0) }),
        ])
    }

    // MARK: Reading

    /// Reads a report: JSON, or a gzip file of it. What is missing stays empty.
    package init(reading octets: [UInt8]) throws(TLSReportError) {
        let document: [UInt8]
        do throws(GzipError) {
            document = try Gzip.unpacked(octets, most: Self.maximumOctets)
        } catch {
            throw .packing(error)
        }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONReader.read(document)
        } catch {
            throw .json(error)
        }
        guard case .object = value, case .array(let policies)? = value["policies"], value["report-id"] != nil else {
            throw .notAReport
        }
        self.init()
        organization = value["organization-name"]?.text ?? ""
        start = value["date-range"]?["start-datetime"]?.text ?? ""
        end = value["date-range"]?["end-datetime"]?.text ?? ""
        contact = value["contact-info"]?.text ?? ""
        reportID = value["report-id"]?.text ?? ""
        self.policies = policies.map(Policy.init)
    }
}

extension TLSReport.Policy {
    fileprivate init(_ value: JSONValue) {
        let policy = value["policy"]
        type = policy?["policy-type"]?.text ?? ""
        strings = Self.texts(policy?["policy-string"])
        domain = policy?["policy-domain"]?.text ?? ""
        exchanges = Self.texts(policy?["mx-host"])
        successfulSessions = value["summary"]?["total-successful-session-count"]?.count ?? 0
        failedSessions = value["summary"]?["total-failure-session-count"]?.count ?? 0
        failures = (value["failure-details"]?.elements ?? []).map(TLSReport.Failure.init)
    }

    /// An array of texts; some writers put a single text there.
    private static func texts(_ value: JSONValue?) -> [String] {
        if let text = value?.text { return [text] }
        return (value?.elements ?? []).compactMap(\.text)
    }
}

extension TLSReport.Failure {
    fileprivate init(_ value: JSONValue) {
        resultType = value["result-type"]?.text ?? ""
        sendingAddress = value["sending-mta-ip"]?.text
        receivingHost = value["receiving-mx-hostname"]?.text
        receivingHelo = value["receiving-mx-helo"]?.text
        receivingAddress = value["receiving-ip"]?.text
        failedSessions = value["failed-session-count"]?.count ?? 0
        additionalInformation = value["additional-information"]?.text
        reasonCode = value["failure-reason-code"]?.text
    }
}
