import Bus
import Files
import NIOCore
import Reporting
import SimulatedDisk
import Testing

@testable import ReportService

@Suite struct ReportStoreTests {
    private let disk = SimulatedFileSystem(seed: 7)
    private let day = ReportDay(number: 20_000)

    private func store() throws -> ReportStore {
        ReportStore(disk, in: try disk.open(".", in: nil, [.reading, .directory], mode: 0))
    }

    static func row(_ number: Int, domain: String = "example.net") -> ReportedResult {
        var result = TLSSessionResult(domain: domain)
        result.failure = .validation
        result.information = "number \(number)"
        return .tls(result)
    }

    private func counts(_ store: ReportStore) throws -> [String: Int] {
        let results = try store.results(of: day, maximum: 1 << 20, mending: false)
        var counts: [String: Int] = [:]
        for subject in results.totals.all {
            for (result, count) in results.totals.rows(of: subject) {
                guard case .tls(let session) = result else { continue }
                counts[session.information ?? "", default: 0] += count
            }
        }
        return counts
    }

    @Test func days() throws {
        #expect(day.name == "2024-10-04")
        #expect(ReportDay(named: "2024-10-04") == day)
        #expect(ReportDay(of: day.begin) == day && ReportDay(of: day.end) == day && ReportDay(of: day.end + 1) > day)
        for name in ["2024-10-4", "2024-13-04", "x", "2024-10-040", "2024-10-04Z"] {
            #expect(ReportDay(named: name) == nil)
        }
        let store = try store()
        try store.append(ReportTotals.encoded(Self.row(1)), to: day, length: 0)
        try store.note(sent: "a", about: ReportDay(number: 19_000))
        #expect(try store.days() == [ReportDay(number: 19_000), day])
    }

    @Test func rowsAreCounted() throws {
        let store = try store()
        #expect(try counts(store).isEmpty)
        var length = 0
        for row in [1, 2, 1, 1] {
            let octets = ReportTotals.encoded(Self.row(row))
            try store.append(octets, to: day, length: length)
            length += octets.readableBytes
        }
        #expect(try counts(store) == ["number 1": 3, "number 2": 1])
        let results = try store.results(of: day, maximum: 1 << 20, mending: false)
        let shorter = try store.replace(day, by: results.totals)
        #expect(shorter < length)
        try store.append(ReportTotals.encoded(Self.row(2)), to: day, length: shorter)
        #expect(try counts(store) == ["number 1": 3, "number 2": 2])
    }

    /// Wherever a write was cut off, what was whole counts, and rows can be appended.
    @Test func rowsThatWereCutOff() throws {
        let one = ReportTotals.encoded(Self.row(1))
        let two = ReportTotals.encoded(Self.row(2))
        for length in 0..<two.readableBytes {
            let day = ReportDay(number: 100 + length)
            let store = try store()
            try store.append(one, to: day, length: 0)
            try store.append(two.getSlice(at: 0, length: length) ?? ByteBuffer(), to: day, length: one.readableBytes)
            let results = try store.results(of: day, maximum: 1 << 20, mending: true)
            #expect(results.octets == one.readableBytes)
            try store.append(two, to: day, length: results.octets)
            let after = try store.results(of: day, maximum: 1 << 20, mending: false)
            #expect(after.octets == one.readableBytes + two.readableBytes)
        }
    }

    /// What a later version writes, and we don't know, hides nothing behind it.
    @Test func rowsThatAreNotKnown() throws {
        let store = try store()
        var rows = ByteBuffer()
        rows.writeFrame(Frame("QUIC-RESULT", [.init("domain", "example.net")]))
        rows.writeImmutableBuffer(ReportTotals.encoded(Self.row(1)))
        try store.append(rows, to: day, length: 0)
        #expect(try counts(store) == ["number 1": 1])
        #expect(try store.results(of: day, maximum: 1 << 20, mending: true).octets == rows.readableBytes)
    }

    @Test func whatWasSentIsKnown() throws {
        let store = try store()
        #expect(try store.sent(about: day).isEmpty)
        try store.note(sent: "dmarc a", about: day)
        try store.note(sent: "dmarc b", about: day)
        disk.powerCut()
        let again = try self.store()
        #expect(try again.sent(about: day) == ["dmarc a", "dmarc b"])
        // The machine stops within a write.
        let file = try disk.open("\(day.name).sent", in: nil, [.writing, .appending], mode: 0)
        try disk.write(ByteBuffer(string: "dmarc c"), to: file)
        #expect(try again.sent(about: day) == ["dmarc a", "dmarc b"])
        try again.note(sent: "dmarc d", about: day)
        #expect(try again.sent(about: day).isSuperset(of: ["dmarc a", "dmarc b", "dmarc d"]))
        try again.remove(day)
        #expect(try again.days().isEmpty)
        try again.remove(day)
    }

    /// What a stranger can make up has a bound, in all, for each domain and for each network.
    @Test func room() throws {
        var totals = ReportTotals(maximum: 64 << 10)
        var taken = 0
        for number in 0..<2000 where totals.add(Self.row(number)) == nil { taken += 1 }
        #expect(taken > 10 && totals.octets <= 8 << 10)
        #expect(totals.add(Self.row(2001, domain: "a.b.example.net")) == .share(.site("example.net")))
        // Others have theirs, and rows that are there count on.
        let others = [Self.row(1, domain: "example.org"), Self.row(0)].map { totals.add($0) }
        #expect(others == [nil, nil])
        for domain in 0..<100 {
            for number in 0..<100 { _ = totals.add(Self.row(number, domain: "d\(domain).example")) }
        }
        #expect(totals.octets <= 64 << 10)
        #expect(totals.encoded.readableBytes <= 65 << 10)
    }

    /// One network in the name of many domains leaves room for the others.
    @Test func roomOfOneNetwork() {
        for source in ["192.0.2.", "2001:db8:5::"] {
            var totals = ReportTotals(maximum: 64 << 10)
            var excess: ReportTotals.Excess?
            for number in 0..<2000 {
                let evaluation = DMARCEvaluation(
                    policyDomain: "d\(number).example",
                    source: "\(source)\(number % 200)",
                    headerFrom: "example.com"
                )
                excess = totals.add(.dmarc(evaluation))
            }
            let network = RowOrigin.network(of: "\(source)1")
            #expect(excess == network.map(ReportTotals.Excess.share))
            #expect(network?.description == (source == "192.0.2." ? "192.0.2.0/24" : "2001:db8:5::/48"))
            #expect(totals.octets <= 8 << 10)
            let other = DMARCEvaluation(policyDomain: "d.example", source: "198.51.100.1", headerFrom: "d.example")
            #expect(totals.add(.dmarc(other)) == nil)
            // So do hosts that mail is sent to.
            var session = TLSSessionResult(domain: "e.example")
            session.failure = .notSupported
            session.receivingAddress = "\(source)77"
            #expect(totals.add(.tls(session)) != nil)
            session.receivingAddress = "198.51.100.2"
            #expect(totals.add(.tls(session)) == nil)
        }
    }

    @Test func sites() {
        for (domain, site) in [
            ("example.com", "example.com"), ("a.b.example.com", "example.com"), ("example.co.uk", "example.co.uk"),
            ("a.example.co.uk", "example.co.uk"), ("a.example.de", "example.de"), ("com", "com"), ("", ""),
        ] {
            #expect(RowOrigin.site(of: domain) == .site(site))
        }
    }
}
