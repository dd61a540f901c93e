extension DMARCAggregateReport {
    /// The report as an XML document (RFC 9990 appendix A).
    package func xml() -> [UInt8] {
        var writer = XMLWriter()
        writer.open("feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"")
        writer.write("version", "1.0")
        writeMetadata(&writer)
        writePolicy(&writer)
        for record in records { Self.write(record, &writer) }
        writer.close("feedback")
        return writer.octets
    }

    private func writeMetadata(_ writer: inout XMLWriter) {
        writer.open("report_metadata")
        writer.write("org_name", metadata.organization)
        writer.write("email", metadata.email)
        writer.write("extra_contact_info", metadata.extraContact)
        writer.write("report_id", metadata.reportID)
        writer.open("date_range")
        writer.write("begin", String(metadata.begin))
        writer.write("end", String(metadata.end))
        writer.close("date_range")
        for error in metadata.errors { writer.write("error", error) }
        writer.close("report_metadata")
    }

    private func writePolicy(_ writer: inout XMLWriter) {
        writer.open("policy_published")
        writer.write("domain", policy.domain)
        writer.write("adkim", policy.dkimAlignment)
        writer.write("aspf", policy.spfAlignment)
        writer.write("p", policy.policy)
        writer.write("sp", policy.subdomainPolicy)
        writer.write("np", policy.nonexistentPolicy)
        writer.write("pct", policy.percentage.map { String($0) })
        writer.write("fo", policy.failureOptions)
        writer.write("testing", policy.testing)
        writer.write("discovery_method", policy.discoveryMethod)
        writer.close("policy_published")
    }

    private static func write(_ record: Record, _ writer: inout XMLWriter) {
        writer.open("record")
        writer.open("row")
        writer.write("source_ip", record.sourceAddress)
        writer.write("count", String(record.count))
        writer.open("policy_evaluated")
        writer.write("disposition", record.disposition)
        writer.write("dkim", record.dkim)
        writer.write("spf", record.spf)
        for reason in record.reasons {
            writer.open("reason")
            writer.write("type", reason.type)
            writer.write("comment", reason.comment)
            writer.close("reason")
        }
        writer.close("policy_evaluated")
        writer.close("row")
        writer.open("identifiers")
        writer.write("envelope_to", record.envelopeTo)
        writer.write("envelope_from", record.envelopeFrom)
        writer.write("header_from", record.headerFrom)
        writer.close("identifiers")
        writeResults(record, &writer)
        writer.close("record")
    }

    private static func writeResults(_ record: Record, _ writer: inout XMLWriter) {
        writer.open("auth_results")
        for signature in record.signatures {
            writer.open("dkim")
            writer.write("domain", signature.domain)
            writer.write("selector", signature.selector)
            writer.write("result", signature.result)
            writer.write("human_result", signature.humanResult)
            writer.close("dkim")
        }
        for sender in record.senders {
            writer.open("spf")
            writer.write("domain", sender.domain)
            writer.write("scope", sender.scope)
            writer.write("result", sender.result)
            writer.close("spf")
        }
        writer.close("auth_results")
    }
}

/// Writes elements, one a line, indented.
private struct XMLWriter {
    private(set) var octets = Array("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".utf8)
    private var depth = 0

    mutating func open(_ name: StaticString) {
        indent()
        octets += Array("<\(name)>\n".utf8)
        depth += 1
    }

    mutating func close(_ name: StaticString) {
        depth -= 1
        indent()
        octets += Array("</\(name)>\n".utf8)
    }

    /// Nothing for nil.
    mutating func write(_ name: StaticString, _ text: String?) {
        guard let text else { return }
        indent()
        octets += Array("<\(name)>".utf8)
        for scalar in text.unicodeScalars { append(scalar) }
        octets += Array("</\(name)>\n".utf8)
    }

    private mutating func indent() { octets += [UInt8](repeating: 0x20, count: max(0, depth) * 2) }

    /// Escapes what means something to XML; characters that it does not allow become a question mark (XML 1.0 §2.2).
    private mutating func append(_ scalar: Unicode.Scalar) {
        switch scalar.value {
        case 0x26: octets += Array("&amp;".utf8)
        case 0x3C: octets += Array("&lt;".utf8)
        case 0x3E: octets += Array("&gt;".utf8)
        case 0x0D: octets += Array("&#13;".utf8)
        case 0x09, 0x0A, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF:
            octets += Array(String(Character(scalar)).utf8)
        default: octets.append(UInt8(ascii: "?"))
        }
    }
}
