import AuthReports
import Testing

@Suite struct DMARCReportTests {
    private var report: DMARCAggregateReport {
        var report = DMARCAggregateReport()
        report.metadata.organization = "Receiver & <Sons>"
        report.metadata.email = "dmarc@r.test"
        report.metadata.extraContact = "https://r.test/?a=1&b=2"
        report.metadata.reportID = "2024-01-01/7"
        report.metadata.begin = 1_700_000_000
        report.metadata.end = 1_700_086_399
        report.metadata.errors = ["none \u{1}really ]]>"]
        report.policy.domain = "e.test"
        report.policy.policy = "reject"
        report.policy.percentage = 100
        report.policy.testing = "n"
        var record = DMARCAggregateReport.Record()
        record.sourceAddress = "2001:db8::1"
        record.count = 3
        record.headerFrom = "e.test"
        record.envelopeFrom = "\u{fc}.e.test"
        record.reasons = [.init(type: "forwarded", comment: "\"known\"\r\n")]
        record.signatures = [.init(domain: "e.test", selector: "s1", result: "pass", humanResult: "fine")]
        record.senders = [.init(domain: "e.test", scope: "mfrom", result: "softfail")]
        report.records = [record, record]
        return report
    }

    @Test func writtenAndReadBack() throws {
        var expected = report
        expected.metadata.errors = ["none ?really ]]>"]
        for index in 0..<2 { expected.records[index].reasons = [.init(type: "forwarded", comment: "\"known\"")] }
        let read = try DMARCAggregateReport(reading: report.xml())
        #expect(read == expected)
        let packed = try #require(Gzip.compress(report.xml()))
        #expect(try DMARCAggregateReport(reading: packed) == expected)
    }

    @Test func names() {
        #expect(report.fileName(receiver: "r.test") == "r.test!e.test!1700000000!1700086399!2024-01-017.xml.gz")
        #expect(
            report.subject(receiver: "r.te\r\nst")
                == "Report Domain: e.test Submitter: r.test Report-ID: <2024-01-01/7>"
        )
    }

    /// Namespaces, prefixes, comments, CDATA, attributes and unknown elements, as real reports have them.
    @Test func tolerated() throws {
        let document = """
            \u{feff}<?xml version="1.0"?>
            <!-- a report -->
            <d:feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0" a='>'>
              <d:version>1.0</d:version><d:extension/>
              <d:report_metadata><d:org_name><![CDATA[A & B]]></d:org_name><d:email>x&#64;y&#x2e;test</d:email>
                <d:date_range><d:begin>1</d:begin><d:end>2</d:end></d:date_range></d:report_metadata>
              <d:policy_published><d:domain>e.test</d:domain><d:p>none</d:p><d:np>reject</d:np>
                <d:discovery_method>treewalk</d:discovery_method></d:policy_published>
              <d:record><d:row><d:source_ip>192.0.2.1</d:source_ip><d:count>-4</d:count><!-- ? --></d:row>
                <d:identities><d:header_from>e.test</d:header_from></d:identities></d:record>
            </d:feedback>
            """
        let report = try DMARCAggregateReport(reading: octets(document))
        #expect(report.metadata.organization == "A & B")
        #expect(report.metadata.email == "x@y.test")
        #expect(report.metadata.end == 2)
        #expect(report.policy.nonexistentPolicy == "reject")
        #expect(report.policy.discoveryMethod == "treewalk")
        #expect(report.records.map(\.headerFrom) == ["e.test"])
        #expect(report.records.map(\.count) == [0])
    }

    @Test(arguments: [
        ("", DMARCReportError.xml(.malformed)), ("<feedback>", .xml(.malformed)), ("<feedback/>", .notAReport),
        ("<feedback></feedback>", .notAReport), ("<feedback></feedbacks>", .xml(.malformed)),
        ("<!DOCTYPE lolz [<!ENTITY lol \"lol\">]><feedback></feedback>", .xml(.unsupported)),
        ("<feedback><record>&lol;</record></feedback>", .xml(.unsupported)),
        ("<feedback><record>&#0xFFFFFFFF;</record></feedback>", .xml(.malformed)),
        ("<feedback><record><row></record></row></feedback>", .xml(.malformed)),
        ("<feedback><record", .xml(.malformed)), ("\u{1f}", .xml(.malformed)),
    ]) func refused(_ document: String, _ error: DMARCReportError) {
        #expect(throws: error) { try DMARCAggregateReport(reading: octets(document)) }
    }

    /// Character sets that documents declare; octets are those of the set.
    @Test(arguments: [
        ("windows-1252", [0x80, 0xE4] as [UInt8], "€ä"), ("ISO-8859-1", [0xE4], "ä"), ("iso-8859-2", [0xB3], "ł"),
        ("koi8-r", [0xD0], "п"), ("UTF-8", [0xC3, 0xA4], "ä"),
    ]) func characterSets(_ name: String, _ octets: [UInt8], _ wanted: String) throws {
        let start = Array("<?xml version=\"1.0\" encoding=\"\(name)\"?><feedback><report_metadata><org_name>".utf8)
        let end = "</org_name></report_metadata><policy_published></policy_published></feedback>"
        let report = try DMARCAggregateReport(reading: start + octets + Array(end.utf8))
        #expect(report.metadata.organization == wanted)
    }

    @Test func whatIsAroundTheDocument() throws {
        let document = "<?xml version=\"1.0\"?><!-- c --><feedback><report_metadata/><policy_published/></feedback>"
        for (start, end) in [("", ""), ("\r\n ", "\r\n"), ("\u{FEFF}", "\0\0"), ("", "<!-- open"), ("", "text <")] {
            #expect(throws: Never.self) { try DMARCAggregateReport(reading: octets(start + document + end)) }
        }
        for start in ["text ", "&amp;"] {
            #expect(throws: DMARCReportError.xml(.malformed)) {
                try DMARCAggregateReport(reading: octets(start + document))
            }
        }
    }

    @Test func controlCharacters() throws {
        let document =
            "<feedback><report_metadata><org_name>a\u{1B}\0b</org_name></report_metadata><policy_published/></feedback>"
        #expect(try DMARCAggregateReport(reading: octets(document)).metadata.organization == "a??b")
        var wide: [UInt8] = [0xFF, 0xFE]
        for unit in document.replacing("\u{1B}\0", with: "\u{E4}").utf16 {
            wide += [UInt8(truncatingIfNeeded: unit), UInt8(truncatingIfNeeded: unit >> 8)]
        }
        #expect(try DMARCAggregateReport(reading: wide).metadata.organization == "aäb")
    }

    /// `&` without more.
    @Test(
        arguments: [
            ("A & B", "A & B"), ("A&B;", "A&B;"), ("&", "&"), ("A &amp; B &#38; &#x26; & &;", "A & B & & & &;"),
            ("A &lt;& B", "A <& B"), ("<![CDATA[A & B &amp;]]>", "A & B &amp;"),
        ]
    )
    func ampersands(name: String, meaning: String) throws {
        let document =
            "<feedback><report_metadata><org_name>\(name)</org_name></report_metadata><policy_published/></feedback>"
        guard meaning != "A&B;" else {
            #expect(throws: DMARCReportError.xml(.unsupported)) { try DMARCAggregateReport(reading: octets(document)) }
            return
        }
        #expect(try DMARCAggregateReport(reading: octets(document)).metadata.organization == meaning)
    }

    /// Sets of several octets a character are read too, those that aren't known guessed.
    @Test(
        arguments: [
            ("gb2312", [0xC4, 0xE3, 0xBA, 0xC3], "你好"), ("x-none", [0xC3, 0xA4], "ä"), ("x-none", [0xE4], "ä"),
            ("utf-7", [0x2B, 0x41, 0x44, 0x77, 0x2D], "+ADw-"),
        ] as [(String, [UInt8], String)]
    )
    func otherCharacterSets(label: String, name: [UInt8], meaning: String) throws {
        let document =
            octets("<?xml version='1.0' encoding = '\(label)'?><feedback><report_metadata><org_name>") + name
            + octets("</org_name></report_metadata><policy_published/></feedback>")
        #expect(try DMARCAggregateReport(reading: document).metadata.organization == meaning)
    }

    /// A tag as long as a report may be is looked at once.
    @Test func longTagsTakeLittleTime() {
        let document = octets("<feedback a=\"") + [UInt8](repeating: UInt8(ascii: "x"), count: 60 << 20)
        let clock = ContinuousClock()
        let time = clock.measure {
            #expect(throws: DMARCReportError.xml(.malformed)) { try DMARCAggregateReport(reading: document) }
        }
        #expect(time < .seconds(20))
    }

    @Test func boundedDepthTextAndElements() {
        let deep = String(repeating: "<a>", count: 100_000)
        #expect(throws: DMARCReportError.xml(.tooLarge)) {
            try DMARCAggregateReport(reading: octets("<feedback>\(deep)"))
        }
        let long = String(repeating: "x", count: 20_000)
        #expect(throws: DMARCReportError.xml(.tooLarge)) {
            try DMARCAggregateReport(reading: octets("<feedback><record>\(long)"))
        }
        let many = String(repeating: "<a></a>", count: 5000)
        #expect(throws: DMARCReportError.xml(.tooLarge)) {
            try DMARCAggregateReport(reading: octets("<feedback><record>\(many)"))
        }
    }

    /// Each that is mended makes the document longer, wherever it stands.
    @Test func ampersandsThatAreMendedAreBounded() throws {
        let most = 65_536
        for (count, isRead) in [(most, true), (most + 1, false)] {
            let comment = "<!--\(String(repeating: "&", count: count))-->"
            let result = Result { try DMARCAggregateReport(reading: document(comment)) }
            if isRead {
                #expect(throws: Never.self) { try result.get() }
            } else {
                #expect(throws: DMARCReportError.xml(.tooLarge)) { try result.get() }
            }
            // Those that need no mending are as many as they are.
            let marked = "<record><![CDATA[]]></record>\(comment)"
            #expect(try DMARCAggregateReport(reading: document(marked)).records.count == 1)
        }
    }

    private func document(_ records: String) -> [UInt8] {
        octets(
            "<feedback><report_metadata></report_metadata><policy_published></policy_published>\(records)</feedback>"
        )
    }

    /// The sum of all counts stays a number.
    @Test func countsAreBounded() throws {
        let record = "<record><row><count>9999999999999</count></row></record>"
        let report = try DMARCAggregateReport(reading: document(record + record.replacing("9<", with: "99<")))
        #expect(report.records.map(\.count) == [9_999_999_999_999, 0])
        #expect(!9_999_999_999_999.multipliedReportingOverflow(by: DMARCAggregateReport.maximumRecords).overflow)
    }

    @Test func resultsAreBounded() throws {
        let results = String(repeating: "<dkim/>", count: 101) + "<spf/>"
        let report = try DMARCAggregateReport(
            reading: document("<record><auth_results>\(results)</auth_results></record>")
        )
        #expect(report.records.map(\.signatures.count) == [100] && report.records.map(\.senders.count) == [1])
        #expect(report.isCutShort)
        let some = "<record><auth_results>\(String(repeating: "<dkim/>", count: 100))</auth_results></record>"
        let most = DMARCAggregateReport.maximumResultsOfAll / 100
        let long = try DMARCAggregateReport(reading: document(String(repeating: some, count: most + 10)))
        #expect(long.records.count == most && long.isCutShort)
        let whole = try DMARCAggregateReport(reading: document(String(repeating: some, count: 3)))
        #expect(whole.records.count == 3 && !whole.isCutShort)
    }

    @Test func compressionBombsAreLimited() throws {
        let bomb = try #require(Gzip.compress([UInt8](repeating: 0x20, count: 80 << 20)))
        #expect(bomb.count < 1 << 20)
        #expect(throws: DMARCReportError.packing(.tooLong)) { try DMARCAggregateReport(reading: bomb) }
    }

    @Test func gzip() throws {
        var generator = FixedGenerator(1952)
        for count in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let octets = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            let packed = try #require(Gzip.compress(octets))
            #expect(try Gzip.unpacked(packed, most: count) == octets)
            if count > 0 { #expect(throws: GzipError.tooLong) { try Gzip.unpacked(packed, most: count - 1) } }
            #expect(throws: GzipError.malformed) { try Gzip.unpacked(packed.dropLast(9), most: count) }
        }
    }

    @Test func zipArchives() throws {
        // A stored file "a" that holds "<x>".
        let header: [UInt8] = [
            0x50, 0x4B, 3, 4, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0,
        ]
        #expect(try Gzip.unpacked(header + octets("a<x>"), most: 3) == octets("<x>"))
        #expect(throws: GzipError.malformed) { try Gzip.unpacked(header, most: 3) }
        #expect(throws: GzipError.tooLong) { try Gzip.unpacked(header + octets("a<x>"), most: 2) }
    }

    @Test func randomChangesNeverTrap() throws {
        var generator = FixedGenerator(9990)
        let document = report.xml()
        let packed = try #require(Gzip.compress(document))
        for _ in 0..<2000 {
            _ = try? DMARCAggregateReport(reading: mutated(document, &generator))
            _ = try? DMARCAggregateReport(reading: mutated(packed, &generator))
        }
    }
}
