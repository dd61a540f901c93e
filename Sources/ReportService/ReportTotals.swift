import Bus
import NIOCore
import Network
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

/// Who takes room for rows: strangers bring them about, and none is to take all.
enum RowOrigin: Hashable, CustomStringConvertible {
    /// Of the client or host, /24 or /48.
    case network([UInt8])
    /// What somebody has registered, as far as names show it.
    case site(String)

    var description: String {
        switch self {
        case .network(let octets):
            octets.count == 3
                ? octets.map { "\($0)." }.joined() + "0/24"
                : stride(from: 0, to: octets.count - 1, by: 2).map {
                    String(Int(octets[$0]) << 8 | Int(octets[$0 + 1]), radix: 16)
                }.joined(separator: ":") + "::/48"
        case .site(let domain): domain
        }
    }

    /// The network of an address as text; nil for what isn't one.
    static func network(of address: String) -> RowOrigin? {
        guard let octets = (try? SocketAddress(ipAddress: address, port: 0))?.addressOctets else { return nil }
        return .network(Array(octets.prefix(octets.count == 4 ? 3 : 6)))
    }

    /// `example.com` of `a.example.com`, `example.co.uk` of `a.example.co.uk`. Who is taken for a part of another only shares his
    /// room.
    static func site(of domain: String) -> RowOrigin {
        let labels = domain.split(separator: ".")
        let last = labels.suffix(2)
        let isBelowCountry = last.last?.utf8.count == 2 && last.first.map { $0.utf8.count <= 3 } ?? false
        return .site(labels.suffix(isBelowCountry ? 3 : 2).joined(separator: "."))
    }
}

extension ReportedResult {
    /// Whose share of the room its row takes.
    var origins: [RowOrigin] {
        let network: RowOrigin? =
            switch self {
            case .dmarc(let evaluation): .network(of: evaluation.source)
            case .tls(let result): result.receivingAddress.flatMap(RowOrigin.network)
            }
        return [.site(of: subject.domain)] + (network.map { [$0] } ?? [])
    }
}

/// The results of a day, those that are alike counted.
struct ReportTotals {
    private var subjects: [ReportSubject: [ReportedResult: Int]] = [:]
    /// Of all rows as they are written.
    private(set) var octets = 0
    /// The most octets of all rows.
    private let maximum: Int
    /// Octets by who takes them.
    private var taken: [RowOrigin: Int] = [:]
    /// The most of one origin: who sends mail from a thousand addresses, or in the name of a thousand domains, must not take
    /// all.
    private var share: Int { maximum / 8 }

    /// Why there is no room for a row.
    enum Excess: Hashable {
        case all
        case share(RowOrigin)
    }

    init(maximum: Int) { self.maximum = maximum }

    /// Counts a result.
    ///
    /// - Returns: why there is no room for another row; nil where it counts.
    mutating func add(_ result: ReportedResult, count: Int = 1) -> Excess? {
        let subject = result.subject
        if let known = subjects[subject]?[result] {
            subjects[subject]?[result] = known.addingReportingOverflow(count).partialValue
            return nil
        }
        let size = Self.encoded(result, count: count).readableBytes
        guard octets + size <= maximum else { return .all }
        let origins = result.origins
        for origin in origins where taken[origin, default: 0] + size > share { return .share(origin) }
        for origin in origins { taken[origin, default: 0] += size }
        subjects[subject, default: [:]][result] = count
        octets += size
        return nil
    }

    /// Counts what others counted.
    mutating func add(contentsOf other: ReportTotals) {
        for rows in other.subjects.values {
            for (result, count) in rows { _ = add(result, count: count) }
        }
    }

    /// In a fixed order.
    var all: [ReportSubject] { subjects.keys.sorted() }

    /// The rows of one report, the most frequent ones first.
    func rows(of subject: ReportSubject) -> [(result: ReportedResult, count: Int)] {
        let rows = subjects[subject]?.map { (result: $0.key, count: $0.value) } ?? []
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
            for (result, count) in rows { octets.writeImmutableBuffer(Self.encoded(result, count: count)) }
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
