import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// Makes the spool's files what the journal says they are, after whatever ended the process before.
enum JournalRecovery {
    /// What a new journal begins with.
    struct Result {
        var directory: CInt
        var segments: [JournalSegment]
        /// The last generation that was used.
        var generation: UInt64
    }

    static func run(_ files: SpoolFiles, segmentSize: Int) throws(SpoolError) -> Result {
        if mkdirat(files.root, "journal", 0o700) != 0, errno != EEXIST { throw .last("mkdir journal") }
        let directory = openat(files.root, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .last("open journal") }
        let old = try open(in: directory)
        let last = old.max { $0.header.generation < $1.header.generation }?.header
        if let last {
            let needed = old.filter { $0.header.generation >= last.oldest }
                .sorted { $0.header.generation < $1.header.generation }
            try replay(needed, files)
            // Only now may the journal forget.
            try files.syncAll()
        }
        for entry in old { close(entry.segment.descriptor) }
        var segments: [JournalSegment] = []
        for index in 0..<max(1, old.count) {
            segments.append(try JournalSegment.make(String(index), in: directory, size: segmentSize))
        }
        return Result(directory: directory, segments: segments, generation: last?.generation ?? 0)
    }

    private static func open(
        in directory: CInt
    ) throws(SpoolError) -> [(segment: JournalSegment, header: JournalSegment.Header)] {
        var found: [(segment: JournalSegment, header: JournalSegment.Header)] = []
        for index in 0... {
            let descriptor = openat(directory, String(index), O_RDWR | O_CLOEXEC)
            guard descriptor >= 0 else {
                guard errno == ENOENT else { throw .last("open journal/\(index)") }
                break
            }
            var info = stat()
            guard fstat(descriptor, &info) == 0 else { throw .last("stat journal/\(index)") }
            let segment = JournalSegment(descriptor: descriptor, size: Int(info.st_size))
            found.append((segment, try segment.header() ?? JournalSegment.Header(generation: 0, oldest: 0)))
        }
        return found
    }

    private static func replay(
        _ segments: [(segment: JournalSegment, header: JournalSegment.Header)],
        _ files: SpoolFiles
    ) throws(SpoolError) {
        var done: Set<MessageID> = []
        for (segment, header) in segments where header.generation > 0 {
            try segment.replay(generation: header.generation) { operation in
                if case .done(let id) = operation { done.insert(id) }
            }
        }
        for (segment, header) in segments where header.generation > 0 {
            try segment.replay(generation: header.generation) { (operation) throws(SpoolError) in
                if case .done = operation {
                    try files.apply(operation)
                } else if !done.contains(operation.id) {
                    try apply(operation, files)
                }
            }
        }
    }

    /// As `SpoolFiles.apply`, for files that may or may not be what the operation makes of them.
    private static func apply(_ operation: SpoolOperation, _ files: SpoolFiles) throws(SpoolError) {
        switch operation {
        case .put(let id, let file):
            // The administrator may have put it aside meanwhile.
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
