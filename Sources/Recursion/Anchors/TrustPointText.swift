import DNS
import DNSSEC

/// The text that keeps trust points over a restart (`dns/trust-anchors`): a line a zone, a line a key, an end.
enum TrustPointText {
    private static let head =
        "# Trust anchors as they are followed (RFC 5011). resolverd writes this file.\nversion 1\n"
    private static let end = "end"

    static func print(_ points: [TrustPoint]) -> String {
        var text = head
        for point in points {
            text += "zone \(point.zone) \(point.confirmed) \(point.next)\n"
            for key in point.keys { text += "key \(key.state.rawValue) \(key.since) \(key.until) \(key.record)\n" }
        }
        return text + end + "\n"
    }

    /// What was written; nil for anything else, also where its end is missing.
    static func read(_ text: String) -> [DomainName: (keys: [TrustPoint.Key], confirmed: Int64, next: Int64)]? {
        var points: [DomainName: (keys: [TrustPoint.Key], confirmed: Int64, next: Int64)] = [:]
        var zone: DomainName?
        var lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }[...]
        guard lines.popFirst() == "version 1", lines.popLast() == Substring(end) else { return nil }
        for line in lines {
            let words = line.split(separator: " ", maxSplits: 4)
            switch words.first {
            case "zone":
                guard words.count == 4, let name = try? DomainName(String(words[1])), points[name] == nil,
                    let confirmed = time(words[2]), let next = time(words[3])
                else { return nil }
                points[name] = ([], confirmed, next)
                zone = name
            case "key":
                guard words.count == 5, let zone, let state = TrustPoint.State(rawValue: String(words[1])),
                    let since = time(words[2]), let until = time(words[3]), let record = record(words[4]),
                    record.name == zone
                else { return nil }
                points[zone]?.keys.append(.init(record: record, state: state, since: since, until: until))
            default: return nil
            }
        }
        return points
    }

    /// Seconds since 1970 with which can be calculated.
    private static func time(_ word: Substring) -> Int64? {
        Int64(word).flatMap { (0...(1 << 40)).contains($0) ? $0 : nil }
    }

    private static func record(_ line: Substring) -> ResourceRecord? {
        let records = try? MasterFile.parse(Array(line.utf8), file: "trust-anchors", origin: .root) { _ in
            .failure(MasterFileIncludeError(reason: "not here"))
        }
        guard let records, records.count == 1, let record = records.first?.record, record.type == .dnskey,
            ZoneKey(record)?.isRevoked == false
        else { return nil }
        return record
    }
}
