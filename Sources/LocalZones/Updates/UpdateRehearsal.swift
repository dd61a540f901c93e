import DNS
import Daemon
import ZoneTransfer

/// Updates on a zone in memory, with no server around it: what the rules of RFC 2136 make of any message, and whether what
/// is promised of every change holds.
package struct UpdateRehearsal {
    private let rules: [UpdateRule]
    private let signer: DomainName
    private var zone: Zone

    /// nil where the master file has an error.
    package init?(masterFile: [UInt8], origin: DomainName, rules: [UpdateRule], signer: DomainName) {
        let records = try? MasterFile.parse(masterFile, file: "", origin: origin) { _ in
            .failure(MasterFileIncludeError(reason: "there is no other file"))
        }
        guard let zone = records.flatMap({ try? Zone(origin: origin, file: "", records: $0) }) else { return nil }
        self.zone = zone
        self.rules = rules
        self.signer = signer
    }

    /// What a version of the zone is: its serial, and a line for each record.
    package var serial: UInt32 { zone.serial }
    package var lines: [String] { zone.records.map(\.masterFileLine) }

    /// What is wrong with a change; nil is as it should be.
    package typealias Complaint = String

    /// Makes an update.
    package mutating func update(_ message: DNSMessage) -> (code: ResponseCode, complaint: Complaint?) {
        let request: UpdateRequest
        do {
            request = try UpdateRequest(message)
        } catch {
            return (error.code, nil)
        }
        switch UpdateEvaluation.evaluate(request, on: zone, rules: rules, signer: signer) {
        case .refused(let fault): return (fault.code, nil)
        case .unchanged: return (.noError, nil)
        case .changed(let latter, let difference):
            defer { zone = latter }
            return (.noError, complaint(latter, difference))
        }
    }

    private func complaint(_ latter: Zone, _ difference: ZoneDifference) -> Complaint? {
        if latter.serial == zone.serial { return "a change without a new serial" }
        let octets = JournalFormat.heading + JournalFormat.frame([.difference(difference)])
        guard let content = try? JournalFormat.read(octets), content.items == [.difference(difference)] else {
            return "the journal doesn't give back what was put in"
        }
        let records = Set(latter.records)
        guard let replayed = try? zone.applying(difference), Set(replayed.records) == records else {
            return "the difference doesn't lead from one version to the next"
        }
        let entries = latter.records.map { MasterFileRecord(record: $0, file: "", line: 0) }
        guard let loaded = try? Zone(origin: latter.origin, file: "", records: entries), Set(loaded.records) == records
        else { return "a file of the zone can't be loaded" }
        guard loaded.recordCount == latter.recordCount else { return "records are counted wrong" }
        return nil
    }

    /// Reads octets as a journal; whatever they are, that ends well.
    package static func readJournal(_ octets: [UInt8]) -> Bool { (try? JournalFormat.read(octets)) != nil }
}
