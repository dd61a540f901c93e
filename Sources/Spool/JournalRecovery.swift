import Files
import NIOCore

/// Makes the spool's files what the journal says they are, after whatever ended the process before.
enum JournalRecovery {
    /// What a new journal begins with.
    struct Result {
        var directory: FileHandle
        /// The one first that is to be used first.
        var segments: [JournalSegment]
        /// The number of the next segment that is made.
        var next: Int
        /// The last generation that was used.
        var generation: UInt64

        func close(_ disk: any FileSystem) {
            for segment in segments { segment.close() }
            disk.close(directory)
        }
    }

    /// - Throws: `failed`, `corrupt`: nothing of the journal was changed, and the daemon must not go on.
    ///
    /// - Parameter segmentSize: of the segments from now on; nil for what they have.
    static func run(_ files: SpoolFiles, segmentSize: Int?) throws(SpoolError) -> Result {
        let disk = files.disk
        let directory: FileHandle
        do throws(FileError) {
            directory = try disk.open("journal", in: files.root, [.reading, .directory], mode: 0)
        } catch {
            throw SpoolError(error)
        }
        do throws(SpoolError) {
            let readers = try open(in: directory, disk)
            defer { for reader in readers { reader.segment.close() } }
            let last = readers.last?.header ?? JournalSegment.Header(generation: 0, oldest: 0)
            if last.generation > 0 {
                try replay(readers.filter { $0.header.generation >= max(1, last.oldest) }, files)
                // Only now may the journal forget.
                try files.syncAll()
            }
            var result = Result(directory: directory, segments: [], next: 0, generation: last.generation)
            var segments = readers.map { ($0.number, segmentSize ?? $0.segment.size) }
            if segments.isEmpty, let segmentSize { segments = [(0, segmentSize)] }
            try make(segments, disk, &result)
            return result
        } catch {
            disk.close(directory)
            throw error
        }
    }

    /// Messages that the journal says something of which a start would do to their files, and that have not left. Changes
    /// nothing.
    ///
    /// - Throws: `failed`, `corrupt`, as `run`.
    static func pending(_ files: SpoolFiles) throws(SpoolError) -> Set<MessageID> {
        let disk = files.disk
        let directory: FileHandle
        do throws(FileError) {
            directory = try disk.open("journal", in: files.root, [.reading, .directory], mode: 0)
        } catch {
            throw SpoolError(error)
        }
        defer { disk.close(directory) }
        let readers = try open(in: directory, disk)
        defer { for reader in readers { reader.segment.close() } }
        let oldest = max(1, readers.last?.header.oldest ?? 0)
        var ids: Set<MessageID> = []
        var done: Set<MessageID> = []
        for reader in readers where reader.header.generation >= oldest {
            _ = try reader.read { (record) throws(SpoolError) in
                for operation in record.operations {
                    switch operation {
                    case .put(let id, _): ids.insert(id)
                    case .done(let id): done.insert(id)
                    case .state, .note: break
                    }
                }
            }
        }
        return ids.subtracting(done)
    }

    /// The segments that there are, in the order of their generations.
    private static func open(in directory: FileHandle, _ disk: any FileSystem) throws(SpoolError) -> [JournalReader] {
        var readers: [JournalReader] = []
        do throws(SpoolError) {
            for number in try numbers(in: directory, disk) {
                let segment: JournalSegment
                do throws(FileError) {
                    let file = try disk.open(String(number), in: directory, [.reading, .writing], mode: 0)
                    do throws(FileError) {
                        segment = JournalSegment(disk: disk, file: file, size: try disk.status(of: file).size)
                    } catch {
                        disk.close(file)
                        throw error
                    }
                } catch {
                    throw SpoolError(error)
                }
                let unused = JournalSegment.Header(generation: 0, oldest: 0)
                readers.append(JournalReader(segment: segment, number: number, header: unused))
                let header = try segment.header() ?? unused
                readers[readers.count - 1] = JournalReader(segment: segment, number: number, header: header)
            }
        } catch {
            for reader in readers { reader.segment.close() }
            throw error
        }
        return readers.sorted { $0.header.generation < $1.header.generation }
    }

    /// The number of a segment by its name; nil for names that no segment has.
    private static func number(_ name: [UInt8]) -> Int? {
        let text = String(decoding: name, as: UTF8.self)
        guard let number = Int(text), (0...Int(Int32.max)).contains(number), String(number) == text else { return nil }
        return number
    }

    private static func numbers(in directory: FileHandle, _ disk: any FileSystem) throws(SpoolError) -> [Int] {
        do throws(FileError) {
            return try disk.names(".", in: directory).compactMap(Self.number).sorted()
        } catch {
            throw SpoolError(error)
        }
    }

    /// Opens the segments for their next use, the oldest first, as they are overwritten: what is left when the power fails
    /// meanwhile must never be what a later generation took back.
    private static func make(
        _ numbers: [(number: Int, size: Int)],
        _ disk: any FileSystem,
        _ result: inout Result
    ) throws(SpoolError) {
        do throws(SpoolError) {
            for (number, size) in numbers {
                let name = String(number)
                result.segments.append(try .make(name, in: result.directory, size: size, disk: disk))
                result.next = max(result.next, number + 1)
            }
        } catch {
            for segment in result.segments { segment.close() }
            throw error
        }
    }

    private static func replay(_ readers: [JournalReader], _ files: SpoolFiles) throws(SpoolError) {
        var done: Set<MessageID> = []
        var end: (generation: UInt64, number: Int, octet: Int)?
        var lastBatch: (reader: JournalReader, octets: Range<Int>)?
        for reader in readers {
            var formerEnd = 0
            let octet = try reader.read { (record) throws(SpoolError) in
                formerEnd = max(formerEnd, record.formerEnd)
                for case .done(let id) in record.operations { done.insert(id) }
                let (start, end) = (record.batchStart, record.offset + record.length)
                lastBatch = start > 0 && start < end ? (reader, start..<end) : nil
            }
            if let end, end.generation + 1 == reader.header.generation, end.octet < formerEnd {
                throw .corrupt("journal/\(end.number) ends at octet \(end.octet) instead of \(formerEnd)")
            }
            end = (reader.header.generation, reader.number, octet)
        }
        try secure(readers, lastBatch: lastBatch)
        var present: [MessageID: Set<ByteBufferView>] = [:]
        for reader in readers {
            _ = try reader.read { (record) throws(SpoolError) in
                for operation in record.operations {
                    if case .done = operation {
                        try files.apply(operation)
                    } else if !done.contains(operation.id) {
                        try apply(operation, files, &present)
                    }
                }
            }
        }
    }

    /// Makes durable what was read. A killed process may have left records that a power failure would take, and a power
    /// failure may come now: no file may be made or removed because of what the journal can still lose.
    ///
    /// A sync alone would not do: after one that failed, the kernel has what was written in memory, and thinks that it's
    /// on the disk. Only the last batch can be like that, as nothing is written after a sync that failed.
    private static func secure(
        _ readers: [JournalReader],
        lastBatch: (reader: JournalReader, octets: Range<Int>)?
    ) throws(SpoolError) {
        if let (reader, range) = lastBatch {
            let octets: ByteBuffer
            do throws(FileError) {
                octets = try reader.segment.disk.read(range.count, from: reader.segment.file, at: range.lowerBound)
            } catch {
                throw SpoolError(error)
            }
            try reader.segment.write(octets, at: range.lowerBound)
        }
        for reader in readers { try reader.segment.sync() }
    }

    /// As `SpoolFiles.apply`, for files that may or may not be what the operation makes of them.
    ///
    /// - Parameter present: the lines of the state files that were read so far.
    private static func apply(
        _ operation: SpoolOperation,
        _ files: SpoolFiles,
        _ present: inout [MessageID: Set<ByteBufferView>]
    ) throws(SpoolError) {
        switch operation {
        case .put(let id, let file):
            // The administrator may have put it aside meanwhile, or a person has it to look at.
            if try files.exists(.corrupt, id) { return }
            // Where it fails the name has to stay: it tells the next start that the message is held.
            try files.replace(try files.exists(.hold, id) ? .hold : .queue, id, file)
        case .state(let id, let lines):
            let isQueued = try files.exists(.queue, id)
            let isHeld = try files.exists(.hold, id)
            guard isQueued || isHeld else { return }
            if present[id] == nil {
                let content = try files.readIfThere(.state, id) ?? ByteBuffer()
                // For the same reason as the journal's last batch.
                if content.readableBytes > 0 { try files.rewrite(.state, id, content) }
                present[id] = Set(StateEntry.lines(content))
            }
            let missing = StateEntry.lines(lines, notIn: &present[id, default: []])
            if missing.readableBytes > 0 { try files.append(.state, id, missing) }
        case .note, .done:
            try files.apply(operation)
        }
    }
}
