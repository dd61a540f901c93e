import DNS
import Daemon
import Logging
import ZoneTransfer

#if canImport(Glibc)
import Glibc
#endif

/// A zone that updates change: its file, its journal, and the version that both together make. What is here blocks; all of
/// it belongs to one thread.
final class DynamicZone: @unchecked Sendable {
    // Unchecked: belongs to the zones' thread.
    let rules: [UpdateRule]
    private let file: ZoneFile
    private let journal: ZoneJournal
    private let logger: Logger
    /// Seconds since some moment, never going back.
    private let now: @Sendable () -> Int64

    /// The version that is served; nil for a zone that can't be.
    private(set) var zone: Zone?
    private(set) var history = ZoneHistory()
    /// What the zone's file has, so far as we know.
    private var written: (serial: UInt32, content: FileContent)?
    private var watch = FileWatch()
    /// Whether the file was changed by others, and is not what we serve.
    private var isForeign = false
    /// Whether the journal has the file as the one that its differences begin with.
    private var isInJournal = false
    /// When the first and the last change came that isn't in the file.
    private var changed: (first: Int64, last: Int64)?
    private var retryAt: Int64 = 0

    /// A changed zone is written to its file when it has been quiet for so long, and at the latest after so long. Seconds.
    static let quietTime: Int64 = 60
    static let longestTime: Int64 = 900
    /// It's written at once when the journal has so many octets more than differences that are kept. Octets.
    private static let maximumJournal = 64 << 20
    /// From how many octets a journal is made anew with what is kept.
    private static let journalToCut = 2 * ZoneHistory.maximumOctets

    init(_ configuration: LocalZoneConfiguration, file: ZoneFile, now: @escaping @Sendable () -> Int64, logger: Logger)
    {
        rules = configuration.update
        self.file = file
        self.now = now
        self.logger = logger
        journal = Self.journal(of: file)
    }

    private static func journal(of file: ZoneFile) -> ZoneJournal {
        ZoneJournal(directory: file.directory, name: LocalZoneConfiguration.stateName(file.origin) + ".journal")
    }

    /// Whether there is a journal with updates that aren't in the zone's file; also where that can't be told.
    static func hasUnwritten(_ file: ZoneFile) -> Bool {
        let journal = journal(of: file)
        guard journal.exists else { return false }
        guard let last = try? journal.open().items.last else { return true }
        return if case .difference = last { true } else { false }
    }

    var origin: DomainName { file.origin }

    private func wrong(_ reason: String) -> MasterFileError {
        MasterFileError(file: file.path, line: 0, reason: reason)
    }

    // MARK: Reading

    /// Whether the file isn't as we left it.
    var isOutdated: Bool { watch.hasChanged(file.version(of:)) }

    /// Whether the file isn't as we left it, and nobody is writing it.
    func isToBeRead() -> Bool { watch.hasSettled(file.version(of:)) }

    /// Reads the file, or takes up what has changed in it.
    ///
    /// - Throws: why the zone can't be served, or stays as it is.
    /// - Returns: whether there is another version now.
    func read() throws(MasterFileError) -> Bool {
        let loaded = file.load()
        watch.note(loaded.versions)
        guard let zone else {
            let found = try loaded.zone.get()
            try start(found, loaded.content)
            return true
        }
        isForeign = loaded.content != written?.content
        let found = try loaded.zone.get()
        guard isForeign else { return false }
        try takeEdit(found, loaded.content, of: zone)
        isForeign = false
        return true
    }

    /// Plays the journal on the file's version.
    private func start(_ found: Zone, _ content: FileContent) throws(MasterFileError) {
        let journaled: JournalFormat.Content
        do {
            journaled = try journal.open()
        } catch {
            throw wrong("the journal \(journal.name): \(error)")
        }
        if journaled.isTorn {
            logger.warning("the journal's end was never finished, and is cut off", metadata: ["zone": "\(origin)"])
        }
        let items = journaled.items
        let place = items.lastIndex(of: .file(serial: found.serial, content))
        if place == nil { try checkEdit(found, items) }
        var current = found
        var replayed = 0
        for item in items[(place ?? items.endIndex)...] {
            guard case .difference(let difference) = item else { continue }
            do {
                current = try current.applying(difference)
            } catch {
                throw wrong("the journal \(journal.name) doesn't fit: \(error)")
            }
            replayed += 1
        }
        history = ZoneHistory()
        // Behind a file that was edited, differences of what was before are of no use.
        if place != nil {
            for case .difference(let difference) in items { history.append(difference) }
        }
        isInJournal = place != nil
        written = (found.serial, content)
        zone = current
        if replayed > 0 {
            changed = (now(), now())
            logger.info("updates from the journal", metadata: ["zone": "\(origin)", "updates": "\(replayed)"])
        }
    }

    /// A file that the journal doesn't know is taken when nothing is lost with it, and the version is a later one.
    private func checkEdit(_ found: Zone, _ items: [JournalItem]) throws(MasterFileError) {
        var last: UInt32?
        var isWritten = true
        for item in items {
            switch item {
            case .file(let serial, _):
                last = serial
                isWritten = true
            case .difference(let difference):
                last = StartOfAuthority(difference.latter)?.serial
                isWritten = false
            }
        }
        guard let last else { return }
        guard isWritten else {
            throw wrong(
                "was changed while updates up to serial \(last) were only in \(journal.name): put the former file back, "
                    + "or remove the journal and with it those updates"
            )
        }
        guard SerialNumber(found.serial).isAfter(SerialNumber(last)) else {
            throw wrong("was changed, but its serial \(found.serial) is not later than \(last)")
        }
    }

    /// The file was changed by hand while we serve the zone.
    private func takeEdit(_ found: Zone, _ content: FileContent, of zone: Zone) throws(MasterFileError) {
        guard zone.serial == written?.serial else {
            throw wrong(
                "was changed by hand while updates weren't written to it; it will be set aside as \(asideName) when they are"
            )
        }
        guard SerialNumber(found.serial).isAfter(SerialNumber(zone.serial)) else {
            throw wrong("was changed, but its serial \(found.serial) is not later than \(zone.serial)")
        }
        let difference = found.difference(from: zone)
        do {
            try journal.append(
                (isInJournal ? [] : base) + [.difference(difference), .file(serial: found.serial, content)]
            )
        } catch {
            throw wrong("\(error)")
        }
        isInJournal = true
        written = (found.serial, content)
        history.append(difference)
        self.zone = found
    }

    private var base: [JournalItem] { written.map { [.file(serial: $0.serial, $0.content)] } ?? [] }

    // MARK: Updates

    /// Has differences on stable storage, and then the version that they lead to.
    ///
    /// - Throws: the zone is as before.
    func commit(_ differences: [ZoneDifference], _ latter: Zone) throws(StateFileError) {
        try journal.append((isInJournal ? [] : base) + differences.map { .difference($0) })
        isInJournal = true
        for difference in differences { history.append(difference) }
        zone = latter
        changed = (changed?.first ?? now(), now())
    }

    // MARK: Writing

    /// Whether updates aren't in the file yet.
    var hasChanges: Bool { zone != nil && zone?.serial != written?.serial }

    /// Whether they are to be written there now.
    var isDue: Bool {
        guard hasChanges, let changed, now() >= retryAt else { return false }
        return now() - changed.last >= Self.quietTime || now() - changed.first >= Self.longestTime
            || journal.octets > Self.maximumJournal
    }

    private var asideName: String { file.name + ".edited" }

    /// Writes the zone to its file, where updates aren't in it yet; then the journal is cut to what is kept.
    func write() throws(StateFileError) {
        guard hasChanges, let zone else { return }
        retryAt = now() + Self.quietTime
        if isForeign || isOutdated, file.version(of: file.name) != nil { try setAside() }
        let text = Self.text(zone)
        let content = FileContent(text)
        // The journal knows of the file before it's there: a kill in between leaves two that it knows.
        try journal.append([.file(serial: zone.serial, content)])
        var rest: [UInt8]? = text
        try StateFile(directory: file.directory, name: file.name).replace {
            defer { rest = nil }
            return rest
        }
        watch.note([file.name: file.version(of: file.name)])
        written = (zone.serial, content)
        isForeign = false
        changed = nil
        logger.info("zone written", metadata: ["zone": "\(origin)", "serial": "\(zone.serial)"])
        if journal.octets > Self.journalToCut {
            try journal.replace(with: history.differences.map { .difference($0) } + base)
        }
    }

    private func setAside() throws(StateFileError) {
        // Its name goes on to lead to it until the new one takes its place.
        unlinkat(file.directory, asideName, 0)
        guard linkat(file.directory, file.name, file.directory, asideName, 0) == 0 else {
            throw StateFileError("link \(file.name) as \(asideName)")
        }
        logger.error(
            "the zone's file was changed by hand while updates weren't written to it, and is set aside",
            metadata: ["zone": "\(origin)", "file": "\(asideName)"]
        )
    }

    private static func text(_ zone: Zone) -> [UInt8] {
        var text = Array("; Written by resolverd: $INCLUDE, $GENERATE and comments are gone.\n".utf8)
        for record in [zone.start] + zone.sortedRecords {
            text += record.masterFileLine.utf8
            text.append(0x0A)
        }
        return text
    }
}
