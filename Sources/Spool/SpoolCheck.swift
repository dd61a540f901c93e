import Files
import NIOCore

/// Looks through a spool that no process uses (`martlet queue fsck`), says what is not as it should be, and mends it where
/// that is asked for. What the journal still has to do is no fault: a start does it, and mending begins with it.
///
/// Blocks. Whoever mends must be the spool's user, so that new files are his.
package struct SpoolCheck {
    /// Something that is not as it should be.
    package struct Finding: Sendable, Equatable {
        package enum Kind: String, Sendable {
            /// A message that was being received: nobody was told that it's taken.
            case incoming
            /// A message in another directory than its ID says: it's never found there.
            case misplaced
            /// A message's file that is not what was written.
            case damaged
            /// A message that lies in `queue/` and in `hold/`.
            case twofold
            /// A state file of no message.
            case orphan
            /// A state file with lines that count as not written.
            case torn
            /// The list of what is paused is not what was written: queue-manager doesn't start.
            case pauses
            /// A file or directory that nothing here has made.
            case unknown
        }

        package let kind: Kind
        /// Below `spool/`.
        package let path: String
        /// For people.
        package let text: String
        package let isMended: Bool
    }

    /// What was found.
    package private(set) var findings: [Finding] = []
    /// Messages that are whole, with those that the journal alone has.
    package private(set) var messages = 0
    package private(set) var held = 0
    /// The spool's format.
    package var version: Int { isMending ? SpoolVersion.current : files.version }
    /// Messages of which the journal says something that is not in files yet; after mending none.
    package private(set) var unfiled = 0

    private let files: SpoolFiles
    private let isMending: Bool
    /// Messages that the journal knows.
    private var pending: Set<MessageID> = []
    /// Messages that have a file, whatever is wrong with it.
    private var found: Set<MessageID> = []

    /// Looks through a spool.
    ///
    /// - Parameter isPauses: whether the content of `pauses` is what was written.
    /// - Throws: `owned` where a process uses it; `newer` where a later version of Martlet had it; `corrupt` where the journal is damaged, `failed` where something can't be read:
    ///   nothing was changed in the journal.
    package init(
        path: String,
        disk: any FileSystem,
        isMending: Bool,
        isPauses: (ByteBuffer) -> Bool = { _ in true }
    ) throws(SpoolError) {
        files = try SpoolFiles(path: path, disk: disk, owner: "martlet queue fsck")
        defer { files.close() }
        self.isMending = isMending
        if isMending {
            // As a start does it; the segments stay as long as they are.
            let result = try JournalRecovery.run(files, segmentSize: nil)
            result.close(disk)
        } else {
            pending = try JournalRecovery.pending(files)
        }
        try checkPauses(isPauses)
        try checkNames()
        for id in try files.list(.incoming) {
            let text = "a message that was being received; nobody was told that it's taken"
            try add(.incoming, "incoming/\(id)", text) { files throws(SpoolError) in try files.remove(.incoming, id) }
        }
        for shard in 0..<MessageID.shards { try checkMessages(.queue, shard) }
        try checkMessages(.hold, 0)
        unfiled = pending.subtracting(found).count
        for shard in 0..<MessageID.shards { try checkStates(shard) }
        if isMending {
            try files.syncAll()
            try files.bringForward()
        }
    }

    private mutating func add(
        _ kind: Finding.Kind,
        _ path: String,
        _ text: String,
        mend: ((SpoolFiles) throws(SpoolError) -> Void)? = nil
    ) throws(SpoolError) {
        if isMending, let mend { try mend(files) }
        findings.append(Finding(kind: kind, path: path, text: text, isMended: isMending && mend != nil))
    }

    private mutating func checkPauses(_ isPauses: (ByteBuffer) -> Bool) throws(SpoolError) {
        guard let content = try files.readPauses(), !isPauses(content) else { return }
        let text =
            "the list of what is paused is not what was written, and queue-manager doesn't start with it; it belongs into corrupt/. "
            + "Without it nothing is paused: look into it before the start"
        try add(.pauses, SpoolFiles.pauses, text) { files throws(SpoolError) in try files.setPausesAside() }
    }

    private mutating func checkNames() throws(SpoolError) {
        let text = "nothing that a part of Martlet makes; it's passed over"
        for name in try files.strangeNames() { try add(.unknown, String(decoding: name, as: UTF8.self), text) }
        for area in SpoolFiles.Area.allCases where area.isSpread {
            for name in try files.strangeNames(area) {
                try add(.unknown, "\(area.rawValue)/\(String(decoding: name, as: UTF8.self))", text)
            }
        }
    }

    private static func path(_ area: SpoolFiles.Area, _ shard: Int, _ name: String) -> String {
        area.isSpread ? "\(area.rawValue)/\(MessageID.directory(shard))/\(name)" : "\(area.rawValue)/\(name)"
    }

    /// The messages in a directory, each where it belongs.
    private mutating func ids(_ area: SpoolFiles.Area, _ shard: Int) throws(SpoolError) -> [MessageID] {
        var ids: [MessageID] = []
        for octets in try files.names(area, shard: shard) {
            let name = String(decoding: octets, as: UTF8.self)
            let path = Self.path(area, shard, name)
            guard let id = MessageID(octets) else {
                try add(.unknown, path, "a file that no part of Martlet makes; it's passed over")
                continue
            }
            guard !area.isSpread || id.shard == shard else {
                if area != .state { found.insert(id) }
                if try files.exists(area, id) {
                    try add(.misplaced, path, "belongs into another directory, where there is one of its name already")
                } else {
                    try add(.misplaced, path, "belongs into \(area.rawValue)/\(id.path), and isn't found here") {
                        files throws(SpoolError) in try files.moveHome(area, id, from: shard)
                    }
                    // It was looked for in vain where it belongs, if that was before.
                    if isMending, id.shard < shard, area != .state { try checkMessage(area, id, name: id.path) }
                }
                continue
            }
            ids.append(id)
        }
        return ids
    }

    private mutating func checkMessages(_ area: SpoolFiles.Area, _ shard: Int) throws(SpoolError) {
        for id in try ids(area, shard) { try checkMessage(area, id, name: Self.path(area, shard, id.description)) }
    }

    private mutating func checkMessage(_ area: SpoolFiles.Area, _ id: MessageID, name: String) throws(SpoolError) {
        found.insert(id)
        do throws(SpoolError) {
            let file = try files.open(area, id, .reading)
            defer { files.disk.close(file) }
            let (head, start) = try files.head(of: id, file)
            try files.verify(head, start: start, file)
        } catch .corrupt(let reason) {
            return try add(.damaged, name, "\(reason); it belongs into corrupt/, for a person to look at") {
                files throws(SpoolError) in try files.rename(id, from: area, to: .corrupt)
            }
        }
        if area == .hold, try files.exists(.queue, id) {
            try add(.twofold, name, "is in queue/ as well; it's taken for held") {
                files throws(SpoolError) in try files.remove(.queue, id)
            }
            messages -= 1
        }
        messages += 1
        if area == .hold { held += 1 }
    }

    private mutating func checkStates(_ shard: Int) throws(SpoolError) {
        for id in try ids(.state, shard) {
            let path = Self.path(.state, shard, id.description)
            guard found.contains(id) || pending.contains(id) else {
                let isCorrupt = try files.exists(.corrupt, id)
                if isCorrupt { continue }
                try add(.orphan, path, "says what happened to a message that is not there") {
                    files throws(SpoolError) in try files.remove(.state, id)
                }
                continue
            }
            guard let content = try files.readIfThere(.state, id) else { continue }
            var good = ByteBuffer()
            var bad = 0
            for line in StateEntry.lines(content) {
                if StateEntry(line: line) == nil {
                    // What ends a torn line.
                    if !line.elementsEqual("!".utf8) { bad += 1 }
                } else {
                    good.writeBytes(line)
                    good.writeInteger(UInt8(ascii: "\n"))
                }
            }
            if content.readableBytesView.last.map({ $0 != UInt8(ascii: "\n") }) ?? false { bad += 1 }
            guard bad > 0 else { continue }
            let whole = good
            try add(
                .torn,
                path,
                "\(bad) \(bad == 1 ? "line" : "lines") torn by a power failure, which count as not written"
            ) {
                files throws(SpoolError) in try files.replaceState(id, whole)
            }
        }
    }
}
