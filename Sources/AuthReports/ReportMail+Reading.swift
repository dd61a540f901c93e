import MIME

extension ReportMail {
    /// The documents in which a report may be, in the order in which they should be tried: the octets themselves where they
    /// are XML, JSON, gzip or ZIP, else what the parts of the mail hold that are one of those.
    ///
    /// - Parameter most: octets of all documents together; those beyond are left out.
    static func documents(_ octets: [UInt8], most: Int) -> [[UInt8]] {
        if isDocument(octets[...]) { return [octets] }
        var parts = Parts(most: most)
        var parser = DecodingParser()
        octets.withUnsafeBytes { octets in parser.feed(octets) { parts.take($0) } }
        parser.finish { parts.take($0) }
        return parts.packed + parts.plain
    }

    /// The most octets of a mail whose report has so many: base64 makes four of three, and line ends come to that.
    package static func mostOctets(ofReport octets: Int) -> Int { octets / 2 * 3 + 1 << 20 }

    private static func isDocument(_ octets: ArraySlice<UInt8>) -> Bool {
        if isPacked(octets) { return true }
        // Of UTF-16, which XML may be in, without its zeros.
        let marks: [[UInt8]] = [[0xEF, 0xBB, 0xBF], [0xFE, 0xFF], [0xFF, 0xFE]]
        let start = marks.first { octets.starts(with: $0) }.map { octets.dropFirst($0.count) } ?? octets
        let first = start.first { !ASCII.isWhitespace($0) && $0 != 0 }
        return first == UInt8(ascii: "<") || first == UInt8(ascii: "{")
    }

    private static func isPacked(_ octets: ArraySlice<UInt8>) -> Bool {
        octets.starts(with: [0x1F, 0x8B]) || ZIPArchive.isOne(octets)
    }

    /// The bodies of parts that may be reports.
    private struct Parts {
        let most: Int
        private(set) var packed: [[UInt8]] = []
        /// Those that are documents as they are; text for people can look like that.
        private(set) var plain: [[UInt8]] = []
        private var body: [UInt8] = []
        private var left: Int

        init(most: Int) {
            self.most = most
            left = most
        }

        mutating func take(_ event: MessageEvent) {
            switch event {
            case .headerEnd: body = []
            case .body(_, let octets):
                guard octets.count <= left else { return }
                left -= octets.count
                body += octets
            case .partEnd:
                if ReportMail.isPacked(body[...]) {
                    packed.append(body)
                } else if ReportMail.isDocument(body[...]) {
                    plain.append(body)
                }
                body = []
            case .partBegin, .field, .outside: break
            }
        }
    }
}

extension ReportMail {
    /// The first report among the documents of what arrived.
    ///
    /// - Parameter most: octets that are unpacked of all documents together, so that many which grow when they are cost no
    ///   more than one.
    /// - Throws: what was wrong with the first document; the last parameter where there is none.
    fileprivate static func report<Report, Failure: Error>(
        in octets: [UInt8],
        most: Int,
        reading: ([UInt8]) throws(Failure) -> Report,
        packing: (GzipError) -> Failure,
        orElse missing: Failure
    ) throws(Failure) -> Report {
        var failure: Failure?
        var left = most
        for document in documents(octets, most: mostOctets(ofReport: most)) where left > 0 {
            let unpacked: [UInt8]
            do throws(GzipError) {
                unpacked = try Gzip.unpacked(document, left: &left)
            } catch {
                failure = failure ?? packing(error)
                continue
            }
            do throws(Failure) { return try reading(unpacked) } catch { failure = failure ?? error }
        }
        throw failure ?? missing
    }
}

extension DMARCAggregateReport {
    /// Reads a report as it arrived: the mail, or what is attached to it.
    package init(arrived octets: [UInt8]) throws(DMARCReportError) {
        self = try ReportMail.report(
            in: octets,
            most: Self.maximumOctets,
            reading: { document throws(DMARCReportError) in try Self(document: document) },
            packing: { .packing($0) },
            orElse: .notAReport
        )
    }
}

extension TLSReport {
    /// Reads a report as it arrived: the mail, or what is attached to it.
    package init(arrived octets: [UInt8]) throws(TLSReportError) {
        self = try ReportMail.report(
            in: octets,
            most: Self.maximumOctets,
            reading: { document throws(TLSReportError) in try Self(document: document) },
            packing: { .packing($0) },
            orElse: .notAReport
        )
    }
}
