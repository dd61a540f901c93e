import Bus
import NIOCore
import Reporting

/// What one report is about.
struct ReportSubject: Hashable, Comparable {
    enum Kind: String { case dmarc, tls }

    let kind: Kind
    /// The domain that asks for reports, in lower case.
    let domain: String

    static func < (one: ReportSubject, other: ReportSubject) -> Bool {
        (one.kind.rawValue, one.domain) < (other.kind.rawValue, other.domain)
    }
}

extension ReportedResult {
    var subject: ReportSubject {
        switch self {
        case .dmarc(let evaluation): ReportSubject(kind: .dmarc, domain: evaluation.policyDomain.lowercased())
        case .tls(let result): ReportSubject(kind: .tls, domain: result.domain.lowercased())
        }
    }
}

/// The results of a day, those that are alike counted.
struct ReportTotals {
    private struct Rows {
        var counts: [ReportedResult: Int] = [:]
        var octets = 0
    }

    private var subjects: [ReportSubject: Rows] = [:]
    /// Of all rows as they are written.
    private(set) var octets = 0
    /// The most octets of all rows.
    private let maximum: Int
    /// The most of one domain's: who sends mail from a thousand addresses must not take all.
    private var share: Int { maximum / 8 }

    init(maximum: Int) { self.maximum = maximum }

    /// Counts a result.
    ///
    /// - Returns: false where there is no room for another row.
    mutating func add(_ result: ReportedResult, count: Int = 1) -> Bool {
        let subject = result.subject
        if let known = subjects[subject]?.counts[result] {
            subjects[subject]?.counts[result] = known.addingReportingOverflow(count).partialValue
            return true
        }
        let size = Self.encoded(result, count: count).readableBytes
        guard octets + size <= maximum, subjects[subject, default: Rows()].octets + size <= share else { return false }
        subjects[subject, default: Rows()].counts[result] = count
        subjects[subject, default: Rows()].octets += size
        octets += size
        return true
    }

    /// Counts what others counted.
    mutating func add(contentsOf other: ReportTotals) {
        for rows in other.subjects.values {
            for (result, count) in rows.counts { _ = add(result, count: count) }
        }
    }

    /// In a fixed order.
    var all: [ReportSubject] { subjects.keys.sorted() }

    /// The rows of one report, the most frequent ones first.
    func rows(of subject: ReportSubject) -> [(result: ReportedResult, count: Int)] {
        let rows = subjects[subject]?.counts.map { (result: $0.key, count: $0.value) } ?? []
        // In an order that is the same each time: a report that goes again has to be the same.
        return rows.map { ($0, Self.encoded($0.result)) }.sorted { one, other in
            guard one.0.count == other.0.count else { return one.0.count > other.0.count }
            return one.1.readableBytesView.lexicographicallyPrecedes(other.1.readableBytesView)
        }.map(\.0)
    }

    // MARK: On disk

    /// As a row is written: the frame, with how often it came.
    static func encoded(_ result: ReportedResult, count: Int = 1) -> ByteBuffer {
        var frame = result.frame
        if count != 1 { frame["count"] = String(count) }
        var octets = ByteBuffer()
        octets.writeFrame(frame)
        return octets
    }

    /// All rows as they are written.
    var encoded: ByteBuffer {
        var octets = ByteBuffer()
        for rows in subjects.values {
            for (result, count) in rows.counts { octets.writeImmutableBuffer(Self.encoded(result, count: count)) }
        }
        return octets
    }

    /// Counts rows as they were written.
    ///
    /// - Returns: how many octets were whole rows: behind them a write was cut off.
    mutating func read(_ octets: ByteBuffer) -> Int {
        var rest = octets
        var parser = FrameParser()
        var whole = 0
        while rest.readableBytes > 0, let frame = try? parser.next(from: &rest) {
            whole = octets.readableBytes - rest.readableBytes
            // A row that isn't understood, as a later version may write it, says nothing of those behind it.
            guard let result = try? ReportedResult(frame) else { continue }
            let count = frame.integer("count") ?? 1
            if count > 0 { _ = add(result, count: count) }
        }
        return whole
    }
}
