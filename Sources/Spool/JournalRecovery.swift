import Files
import NIOCore

/// Makes the spool's files what the journal says they are, after whatever ended the process before.
enum JournalRecovery {
    /// What a new journal begins with.
    struct Result {
        var directory: FileHandle
        var segments: [JournalSegment]
        /// The last generation that was used.
        var generation: UInt64
    }

    /// - Throws: `failed`, `corrupt`: nothing of the journal was changed, and the daemon must not go on.
    static func run(_ files: SpoolFiles, segmentSize: Int) throws(SpoolError) -> Result {
        let disk = files.disk
        let directory: FileHandle
        do throws(FileError) {
            directory = try disk.open("journal", in: files.root, [.reading, .directory], mode: 0)
        } catch {
            throw SpoolError(error)
        }
        let old = try open(in: directory, disk)
        defer { for reader in old { reader.segment.close() } }
        let last = old.max { $0.header.generation < $1.header.generation }?.header
        if let last, last.generation > 0 {
            let needed = old.filter { $0.header.generation >= max(1, last.oldest) }
                .sorted { $0.header.generation < $1.header.generation }
            try replay(needed, files)
            // Only now may the journal forget.
            try files.syncAll()
        }
        var segments: [JournalSegment] = []
        for index in 0..<max(1, old.count) {
            segments.append(try JournalSegment.make(String(index), in: directory, size: segmentSize, disk: disk))
        }
        return Result(directory: directory, segments: segments, generation: last?.generation ?? 0)
    }

    private static func open(in directory: FileHandle, _ disk: any FileSystem) throws(SpoolError) -> [JournalReader] {
        var found: [JournalReader] = []
        for index in 0... {
            do throws(FileError) {
                let file = try disk.open(String(index), in: directory, [.reading, .writing], mode: 0)
                let size = try disk.status(of: file).size
                let segment = JournalSegment(disk: disk, file: file, size: size)
                found.append(JournalReader(segment: segment, header: .init(generation: 0, oldest: 0)))
            } catch {
                guard error.isMissing else { throw SpoolError(error) }
                break
            }
        }
        var readers: [JournalReader] = []
        for reader in found {
            readers.append(JournalReader(segment: reader.segment, header: try reader.segment.header() ?? reader.header))
        }
        return readers
    }

    private static func replay(_ readers: [JournalReader], _ files: SpoolFiles) throws(SpoolError) {
        var done: Set<MessageID> = []
        var end: (generation: UInt64, octet: Int)?
        for reader in readers {
            var formerEnd = 0
            let octet = try reader.read { (record) throws(SpoolError) in
                formerEnd = max(formerEnd, record.formerEnd)
                for case .done(let id) in record.operations { done.insert(id) }
            }
            if let end, end.generation + 1 == reader.header.generation, end.octet < formerEnd {
                throw .corrupt("the journal (generation \(end.generation)) ends at octet \(end.octet) instead of \(formerEnd)")
            }
            end = (reader.header.generation, octet)
        }
        for reader in readers {
            _ = try reader.read { (record) throws(SpoolError) in
                for operation in record.operations {
                    if case .done = operation {
                        try files.apply(operation)
                    } else if !done.contains(operation.id) {
                        try apply(operation, files)
                    }
                }
            }
        }
    }

    /// As `SpoolFiles.apply`, for files that may or may not be what the operation makes of them.
    private static func apply(_ operation: SpoolOperation, _ files: SpoolFiles) throws(SpoolError) {
        switch operation {
        case .put(let id, let file):
            // The administrator may have put it aside meanwhile, or a person has it to look at.
            if try files.exists(.corrupt, id) { return }
            try files.create(try files.exists(.hold, id) ? .hold : .queue, id, file)
        case .state(let id, let lines):
            let isQueued = try files.exists(.queue, id)
            let isHeld = try files.exists(.hold, id)
            guard isQueued || isHeld else { return }
            let present = Set(try files.readIfThere(.state, id).map { Self.lines($0) } ?? [])
            let missing = Self.lines(lines).filter { !present.contains($0) }
            if missing.isEmpty { return }
            try files.append(.state, id, ByteBuffer(string: missing.map { $0 + "\n" }.joined()))
        case .note, .done:
            try files.apply(operation)
        }
    }

    private static func lines(_ content: ByteBuffer) -> [String] {
        content.readableBytesView.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
}
