import DNS
import Daemon
import Logging

/// The copy of a secondary zone on disk: a master file, and beside it when a primary last confirmed it. What is here
/// blocks.
struct ZoneCopy: Sendable {
    let file: ZoneFile

    private static let maximumState = 4096

    private var state: StateFile { StateFile(directory: file.directory, name: file.name + ".state") }

    /// The zone as it was last written, and when it was last confirmed (seconds since 1970); nil where there is no copy.
    func load() -> Result<(zone: Zone, confirmed: Int64), MasterFileError>? {
        guard let version = file.version(of: file.name) else { return nil }
        switch file.load().zone {
        case .success(let zone):
            zone.prepare()
            // Where nothing says more of this version, the copy is as old as its file.
            return .success((zone, confirmed(zone.serial) ?? Int64(version.modified)))
        case .failure(let error): return .failure(error)
        }
    }

    /// When a primary last had a version; nil where the state is of another one, or can't be read: the copy then counts as
    /// older than it may be, and a primary is asked the sooner.
    private func confirmed(_ serial: UInt32) -> Int64? {
        guard let octets = try? state.octets(maximum: Self.maximumState) else { return nil }
        let lines = String(decoding: octets, as: UTF8.self).split(separator: "\n")
        let fields = lines.compactMap { line -> (Substring, Substring)? in
            let parts = line.split(separator: ":", maxSplits: 1)
            return parts.count == 2 ? (parts[0], parts[1].drop { $0 == " " }) : nil
        }
        func number(_ name: Substring) -> UInt32? { fields.first { $0.0 == name }.flatMap { UInt32($0.1) } }
        return number("serial") == serial ? number("confirmed").map(Int64.init) : nil
    }

    /// Writes a version of the zone, in canonical order.
    func write(_ zone: Zone, confirmed: Int64) throws(StateFileError) {
        let lines = Self.lines(zone)
        try StateFile(directory: file.directory, name: file.name).replace { lines.next() }
        try confirm(zone.serial, at: confirmed)
    }

    /// Notes that a primary has the same version.
    func confirm(_ serial: UInt32, at time: Int64) throws(StateFileError) {
        try state.replace(with: "serial: \(serial)\nconfirmed: \(time)\n")
    }

    /// Each made as it's taken.
    private static func lines(_ zone: Zone) -> AnyIterator<[UInt8]> {
        var head: String? = "; \(zone.origin) as resolverd got it from a primary: changes here are lost"
        var records = ([zone.start] + zone.sortedRecords).makeIterator()
        return AnyIterator {
            defer { head = nil }
            return (head ?? records.next()?.masterFileLine).map { Array("\($0)\n".utf8) }
        }
    }
}
