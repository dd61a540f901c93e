import Files
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The files and directories of a spool. Every call may block: never on an event loop.
struct SpoolFiles: Sendable {
    /// A directory below `spool/` that holds messages, or what is known about them.
    enum Area: String, CaseIterable {
        case incoming, queue, state, hold, corrupt

        /// Whether its messages are spread over directories of two characters.
        var isSpread: Bool { self == .queue || self == .state }
    }

    let disk: any FileSystem
    /// `spool/` itself.
    let root: FileHandle
    private let areas: [FileHandle]
    /// Locked for as long as it is open.
    private let lock: FileHandle
    /// The format that the spool had.
    let version: Int

    private static let directoryMode: UInt32 = 0o700
    private static let fileMode: UInt32 = 0o600
    /// A state file of a message with 20,000 recipients that were tried for five days. Octets.
    private static let largestState = 1 << 30

    /// Opens a spool, makes what is missing of it, and owns it until `close`.
    ///
    /// - Parameter owner: what another process is told that wants the spool too: who we are.
    /// - Throws: `owned` where another process has it, `newer` where a later version of Martlet had it.
    init(path: String, disk: any FileSystem, owner: String) throws(SpoolError) {
        self.disk = disk
        var open: [FileHandle] = []
        func opened(_ file: FileHandle) -> FileHandle {
            open.append(file)
            return file
        }
        do throws(FileError) {
            try Self.makeSpool(path, disk)
            root = opened(try disk.open(path, in: nil, [.reading, .directory], mode: 0))
        } catch {
            for file in open { disk.close(file) }
            throw SpoolError(error)
        }
        do throws(SpoolError) {
            // Before anything is touched.
            version = try SpoolVersion.known(in: root, disk)
        } catch {
            disk.close(root)
            throw error
        }
        do throws(FileError) {
            lock = opened(try disk.open("lock", in: root, [.reading, .writing, .creating], mode: 0o600))
            guard try disk.lock(lock) else {
                let text = try disk.read(100, from: lock, at: 0)
                let name = String(buffer: text).split(separator: "\n").first.map { String($0) }
                throw FileError(name ?? "another process", code: 0)
            }
            try disk.truncate(lock, to: 0)
            try disk.write(ByteBuffer(string: owner + "\n"), to: lock, at: 0)
            var areas: [FileHandle] = []
            for name in Area.allCases.map(\.rawValue) + ["journal"] {
                try Self.makeDirectory(name, in: root, disk)
                if name == "journal" { continue }
                areas.append(opened(try disk.open(name, in: root, [.reading, .directory], mode: 0)))
            }
            // A power failure must not take the directories from under what is acknowledged in them: not those either that
            // were made by a process that was killed before it got here.
            try disk.sync(root)
            self.areas = areas
        } catch {
            for file in open { disk.close(file) }
            // 0 is no system's error: it stands for the owner's name.
            throw error.code == 0 ? .owned(error.operation) : SpoolError(error)
        }
    }

    private static func makeSpool(_ path: String, _ disk: any FileSystem) throws(FileError) {
        try makeDirectory(path, in: nil, disk)
        let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let parent = end.map { $0 == path.utf8.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory: FileHandle
        do throws(FileError) {
            directory = try disk.open(parent, in: nil, [.reading, .directory], mode: 0)
        } catch {
            // That of somebody else, who made the spool.
            if error.code == EACCES { return }
            throw error
        }
        defer { disk.close(directory) }
        try disk.sync(directory)
    }

    /// Makes a directory where there is none.
    private static func makeDirectory(
        _ path: String,
        in directory: FileHandle?,
        _ disk: any FileSystem
    ) throws(FileError) {
        do throws(FileError) {
            try disk.makeDirectory(path, in: directory, mode: directoryMode)
        } catch {
            guard error.isExisting else { throw error }
        }
    }

    func close() { for directory in areas + [lock, root] { disk.close(directory) } }

    private func directory(_ area: Area) -> FileHandle {
        switch area {
        case .incoming: areas[0]
        case .queue: areas[1]
        case .state: areas[2]
        case .hold: areas[3]
        case .corrupt: areas[4]
        }
    }

    private func name(_ area: Area, _ id: MessageID) -> String { area.isSpread ? id.path : id.description }

    // MARK: One message's file

    /// Opens a message's file; makes its directory where that is what's missing.
    func open(_ area: Area, _ id: MessageID, _ options: OpenOptions) throws(SpoolError) -> FileHandle {
        try convert { () throws(FileError) in try openFile(area, id, options) }
    }

    private func openFile(_ area: Area, _ id: MessageID, _ options: OpenOptions) throws(FileError) -> FileHandle {
        let name = name(area, id)
        do throws(FileError) {
            return try disk.open(name, in: directory(area), options, mode: Self.fileMode)
        } catch {
            guard error.isMissing, options.contains(.creating), area.isSpread else { throw error }
        }
        try Self.makeDirectory(MessageID.directory(id.shard), in: directory(area), disk)
        return try disk.open(name, in: directory(area), options, mode: Self.fileMode)
    }

    /// Makes a file with this content, or nothing.
    func create(_ area: Area, _ id: MessageID, _ content: ByteBuffer) throws(SpoolError) {
        do throws(SpoolError) {
            try replace(area, id, content)
        } catch {
            removeQuietly(area, id)
            throw error
        }
    }

    /// The same for a file that there may be already; its name stays where the content could not be written.
    func replace(_ area: Area, _ id: MessageID, _ content: ByteBuffer) throws(SpoolError) {
        let file = try open(area, id, [.writing, .creating, .truncating])
        defer { disk.close(file) }
        try convert { () throws(FileError) in try disk.write(content, to: file) }
    }

    /// Appends lines that end in LF; nothing of them stays if not all could be written.
    func append(_ area: Area, _ id: MessageID, _ lines: ByteBuffer) throws(SpoolError) {
        let file = try open(area, id, [.reading, .writing, .creating, .appending])
        defer { disk.close(file) }
        try convert { () throws(FileError) in
            let before = try disk.status(of: file).size
            do throws(FileError) {
                // What a torn append left behind must not run into the first line. More than an LF: only that may have
                // been missing, and then the line, which is written once more now, would be there twice.
                let isTorn =
                    before > 0 ? try disk.read(1, from: file, at: before - 1).readableBytesView.first != 10 : false
                if isTorn { try disk.write(ByteBuffer(string: "!\n"), to: file) }
                try disk.write(lines, to: file)
            } catch {
                try? disk.truncate(file, to: before)
                throw error
            }
        }
    }

    /// Appends those of the lines that the state file hasn't got: an append that failed may have written some of them.
    func appendAgain(_ id: MessageID, _ lines: ByteBuffer) throws(SpoolError) {
        var present = Set(StateEntry.lines(try readIfThere(.state, id) ?? ByteBuffer()))
        let missing = StateEntry.lines(lines, notIn: &present)
        if missing.readableBytes > 0 { try append(.state, id, missing) }
    }

    /// Writes what a file has over itself, so that the next sync writes it.
    func rewrite(_ area: Area, _ id: MessageID, _ content: ByteBuffer) throws(SpoolError) {
        let file = try open(area, id, [.writing])
        defer { disk.close(file) }
        try convert { () throws(FileError) in try disk.write(content, to: file, at: 0) }
    }

    /// The whole of a small file; nil where there is none.
    func readIfThere(_ area: Area, _ id: MessageID) throws(SpoolError) -> ByteBuffer? {
        do throws(FileError) {
            return try disk.contents(of: name(area, id), in: directory(area), maximum: Self.largestState)
        } catch {
            if error.isMissing { return nil }
            throw SpoolError(error)
        }
    }

    /// Removes a file; that it isn't there is fine.
    func remove(_ area: Area, _ id: MessageID) throws(SpoolError) {
        do throws(FileError) {
            try disk.remove(name(area, id), in: directory(area))
        } catch {
            if !error.isMissing { throw SpoolError(error) }
        }
    }

    /// Takes back what failed: the reason is known already.
    func removeQuietly(_ area: Area, _ id: MessageID) { try? remove(area, id) }

    func exists(_ area: Area, _ id: MessageID) throws(SpoolError) -> Bool {
        do throws(FileError) {
            _ = try disk.status(name(area, id), in: directory(area))
            return true
        } catch {
            if error.isMissing { return false }
            throw SpoolError(error)
        }
    }

    /// Renames a message's file into another area. It's there for good once its `directories` are synced.
    func rename(_ id: MessageID, from: Area, to: Area) throws(SpoolError) {
        try convert { () throws(FileError) in
            if to.isSpread { try Self.makeDirectory(MessageID.directory(id.shard), in: directory(to), disk) }
            try disk.rename(name(from, id), in: directory(from), to: name(to, id), in: directory(to))
        }
    }

    /// The same, and waits until it is there for good.
    func move(_ id: MessageID, from: Area, to: Area) throws(SpoolError) {
        try rename(id, from: from, to: to)
        for directory in directories(to, of: id) + directories(from, of: id) { try sync(directory) }
    }

    /// A directory below `spool/`.
    struct Directory: Hashable {
        let area: Area
        /// nil for the area's own.
        let shard: Int?
    }

    /// Where the entry of a message's directory is, and that directory.
    func directories(_ area: Area, of id: MessageID) -> [Directory] {
        let own = Directory(area: area, shard: nil)
        return area.isSpread ? [own, Directory(area: area, shard: id.shard)] : [own]
    }

    /// Waits until a directory's entries are on stable storage.
    func sync(_ place: Directory) throws(SpoolError) {
        try convert { () throws(FileError) in
            guard let shard = place.shard else { return try disk.sync(directory(place.area)) }
            let file = try disk.open(
                MessageID.directory(shard),
                in: directory(place.area),
                [.reading, .directory],
                mode: 0
            )
            defer { disk.close(file) }
            try disk.sync(file)
        }
    }

    // MARK: Version

    /// Says that the spool has the current format from now on; on stable storage when this returns.
    func bringForward() throws(SpoolError) {
        guard version < SpoolVersion.current else { return }
        try replaceWhole(SpoolVersion.fileName, in: root, SpoolVersion.content(SpoolVersion.current))
        try convert { () throws(FileError) in try disk.sync(root) }
    }

    // MARK: Pauses

    static let pauses = "pauses"
    private static let largestPauses = 64 << 20

    /// nil where there is no such file.
    func readPauses() throws(SpoolError) -> ByteBuffer? {
        do throws(FileError) {
            return try disk.contents(of: Self.pauses, in: root, maximum: Self.largestPauses)
        } catch {
            if error.isMissing { return nil }
            throw SpoolError(error)
        }
    }

    /// Puts the file where a person looks at it.
    func setPausesAside() throws(SpoolError) {
        try convert { () throws(FileError) in
            try disk.rename(Self.pauses, in: root, to: Self.pauses, in: directory(.corrupt))
            try disk.sync(directory(.corrupt))
            try disk.sync(root)
        }
    }

    /// Writes the file, which is the old one or the new one at any instant.
    func replacePauses(_ content: ByteBuffer) throws(SpoolError) {
        try replaceWhole(Self.pauses, in: root, content)
        try convert { () throws(FileError) in try disk.sync(root) }
    }

    /// Likewise a state file; on stable storage with the next sync of everything.
    func replaceState(_ id: MessageID, _ content: ByteBuffer) throws(SpoolError) {
        try replaceWhole(name(.state, id), in: directory(.state), content)
    }

    private func replaceWhole(_ name: String, in directory: FileHandle, _ content: ByteBuffer) throws(SpoolError) {
        let fresh = name + ".new"
        try convert { () throws(FileError) in
            let file = try disk.open(fresh, in: directory, [.writing, .creating, .truncating], mode: Self.fileMode)
            do throws(FileError) {
                try disk.write(content, to: file)
                try disk.sync(file)
            } catch {
                disk.close(file)
                throw error
            }
            disk.close(file)
            try disk.rename(fresh, in: directory, to: name, in: directory)
        }
    }

    // MARK: All of them

    /// Waits until everything that was written to the file system is on stable storage.
    func syncAll() throws(SpoolError) {
        try convert { () throws(FileError) in try disk.syncAll(of: root) }
    }

    /// The IDs in one directory; files of other names are passed over.
    func list(_ area: Area, shard: Int = 0) throws(SpoolError) -> [MessageID] {
        try names(area, shard: shard).compactMap { MessageID($0) }
    }

    /// Puts a message's file that is in another shard's directory where it belongs.
    func moveHome(_ area: Area, _ id: MessageID, from shard: Int) throws(SpoolError) {
        try convert { () throws(FileError) in
            try Self.makeDirectory(MessageID.directory(id.shard), in: directory(area), disk)
            let place = "\(MessageID.directory(shard))/\(id)"
            try disk.rename(place, in: directory(area), to: name(area, id), in: directory(area))
        }
    }

    /// What stands in the spool itself and nothing here makes.
    func strangeNames() throws(SpoolError) -> [[UInt8]] {
        var known = Set(Area.allCases.map(\.rawValue))
        known.formUnion(["journal", "lock", Self.pauses, Self.pauses + ".new"])
        known.formUnion([SpoolVersion.fileName, SpoolVersion.fileName + ".new"])
        return try convert { () throws(FileError) in try disk.names(".", in: root) }
            .filter { !known.contains(String(decoding: $0, as: UTF8.self)) }
    }

    /// Likewise among the directories of an area whose messages are spread.
    func strangeNames(_ area: Area) throws(SpoolError) -> [[UInt8]] {
        try convert { () throws(FileError) in try disk.names(".", in: directory(area)) }
            .filter { !Self.shards.contains(String(decoding: $0, as: UTF8.self)) }
    }

    private static let shards = Set((0..<MessageID.shards).map { MessageID.directory($0) })

    /// All names in one directory.
    func names(_ area: Area, shard: Int = 0) throws(SpoolError) -> [[UInt8]] {
        do throws(FileError) {
            return try disk.names(area.isSpread ? MessageID.directory(shard) : ".", in: directory(area))
        } catch {
            // Directories are made when they are needed.
            if error.isMissing, area.isSpread { return [] }
            throw SpoolError(error)
        }
    }

    /// Octets that the file system has left for us, and all that it has.
    func space() throws(SpoolError) -> (free: Int, total: Int) {
        try convert { () throws(FileError) in
            let space = try disk.space(of: root)
            // Inodes run out as well as octets.
            let isOut = space.freeFiles.map { $0 < 64 } ?? false
            return (isOut ? 0 : space.free, space.total)
        }
    }

    private func convert<Value>(_ body: () throws(FileError) -> Value) throws(SpoolError) -> Value {
        do throws(FileError) { return try body() } catch { throw SpoolError(error) }
    }
}

extension SpoolFiles {
    /// Does to the files what an operation says.
    ///
    /// - Parameter again: whether it may have been done in part before.
    func apply(_ operation: SpoolOperation, again: Bool = false) throws(SpoolError) {
        switch operation {
        case .put(let id, let file): try create(.queue, id, file)
        case .state(let id, let lines), .note(let id, let lines):
            if again { try appendAgain(id, lines) } else { try append(.state, id, lines) }
        case .done(let id):
            try remove(.state, id)
            try remove(.queue, id)
            try remove(.hold, id)
        }
    }
}
