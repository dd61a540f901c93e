import NIOCore

/// What is to happen to the spool. Several of these make one transaction, which happens as a whole or not at all.
package enum SpoolOperation: Sendable {
    /// A new message: its whole queue file.
    case put(MessageID, file: ByteBuffer)
    /// Lines for the message's state file that must survive a power failure.
    case state(MessageID, lines: ByteBuffer)
    /// Lines for the message's state file that a power failure may take: an attempt that has to be made again anyway.
    case note(MessageID, lines: ByteBuffer)
    /// Every recipient has a final result: the message goes.
    case done(MessageID)

    package var id: MessageID {
        switch self {
        case .put(let id, _), .state(let id, _), .note(let id, _), .done(let id): id
        }
    }
}

/// The form of the journal's records (docs/queue.md): a header, then the operations.
package enum JournalRecord {
    /// How records are written, by the number in the segment's first block.
    package enum Format: Int, CaseIterable, Sendable {
        /// length u32, checksum u32, generation u64; numbers in network order.
        case first = 1
        /// Behind those: where the batch begins that the record was written with, and where the former generation's
        /// records end, u32 each. All before both had been synced.
        case second = 2

        package static let current = Format.second

        /// Octets.
        package var header: Int { self == .first ? 16 : 24 }
    }

    /// Of the records that are written now. Octets.
    static let header = Format.current.header
    /// Kind, ID and length of an operation. Octets.
    private static let operationHeader = 21

    /// A record as it was found.
    package struct Found {
        package var operations: [SpoolOperation]
        /// Where it begins in its segment.
        var offset = 0
        /// Where its batch begins in its segment; 0 where that isn't known.
        var batchStart: Int
        /// Where the records of the former generation end in its segment; 0 where that isn't known.
        var formerEnd: Int
        /// Octets with the header.
        package var length: Int
    }

    private enum Kind {
        static let put: UInt8 = 1
        static let state: UInt8 = 2
        static let done: UInt8 = 3
    }

    /// How many octets the record of these operations has; 0 where nothing has to be journaled.
    static func length(of operations: [SpoolOperation]) -> Int {
        var length = 0
        for operation in operations {
            switch operation {
            case .put(_, let octets), .state(_, let octets): length += operationHeader + octets.readableBytes
            case .done: length += operationHeader
            case .note: break
            }
        }
        return length > 0 ? header + length : 0
    }

    /// Appends a record whose place and checksum are not known yet; false where nothing has to be journaled.
    package static func append(_ operations: [SpoolOperation], to batch: inout ByteBuffer) -> Bool {
        let start = batch.writerIndex
        batch.writeRepeatingByte(0, count: header)
        for operation in operations {
            switch operation {
            case .put(let id, let file): append(Kind.put, id, file, to: &batch)
            case .state(let id, let lines): append(Kind.state, id, lines, to: &batch)
            case .done(let id): append(Kind.done, id, ByteBuffer(), to: &batch)
            case .note: break
            }
        }
        let length = batch.writerIndex - start - header
        guard length > 0 else {
            batch.moveWriterIndex(to: start)
            return false
        }
        batch.setInteger(UInt32(length), at: start)
        return true
    }

    private static func append(_ kind: UInt8, _ id: MessageID, _ octets: ByteBuffer, to batch: inout ByteBuffer) {
        batch.writeInteger(kind)
        batch.writeInteger(id.time)
        batch.writeInteger(id.random)
        batch.writeInteger(UInt32(octets.readableBytes))
        batch.writeImmutableBuffer(octets)
    }

    /// Fills in generation, places and checksum of every record of a batch.
    package static func seal(
        _ batch: inout ByteBuffer,
        generation: UInt64,
        salt: UInt64,
        batchStart: Int,
        formerEnd: Int
    ) {
        var start = batch.readerIndex
        while let length = batch.getInteger(at: start, as: UInt32.self) {
            batch.setInteger(generation, at: start + 8)
            batch.setInteger(UInt32(batchStart), at: start + 16)
            batch.setInteger(UInt32(formerEnd), at: start + 20)
            let sum = checksum(batch, start: start, octets: header + Int(length), salt: salt)
            batch.setInteger(sum, at: start + 4)
            start += header + Int(length)
        }
    }

    /// Over everything but the checksum itself.
    private static func checksum(_ buffer: ByteBuffer, start: Int, octets count: Int, salt: UInt64) -> UInt32 {
        var checksum = Checksum()
        if salt != 0 { withUnsafeBytes(of: salt.bigEndian) { checksum.add($0) } }
        let offset = start - buffer.readerIndex
        buffer.withUnsafeReadableBytes { octets in
            checksum.add(UnsafeRawBufferPointer(rebasing: octets[offset..<(offset + 4)]))
            checksum.add(UnsafeRawBufferPointer(rebasing: octets[(offset + 8)..<(offset + count)]))
        }
        return checksum.value
    }

    /// Reads the next record of a generation; nil where there is none here, or it is torn.
    package static func next(from journal: inout ByteBuffer, of header: JournalSegment.Header) -> Found? {
        let (generation, format) = (header.generation, header.format)
        let start = journal.readerIndex
        guard let length = journal.getInteger(at: start, as: UInt32.self).map({ Int($0) }), length > 0,
            journal.readableBytes >= format.header + length,
            journal.getInteger(at: start + 8, as: UInt64.self) == generation,
            journal.getInteger(at: start + 4, as: UInt32.self)
                == checksum(journal, start: start, octets: format.header + length, salt: header.salt)
        else { return nil }
        var found = Found(operations: [], batchStart: 0, formerEnd: 0, length: format.header + length)
        if format == .second {
            found.batchStart = Int(journal.getInteger(at: start + 16, as: UInt32.self) ?? 0)
            found.formerEnd = Int(journal.getInteger(at: start + 20, as: UInt32.self) ?? 0)
        }
        journal.moveReaderIndex(forwardBy: format.header)
        guard var payload = journal.readSlice(length: length) else { return nil }
        while payload.readableBytes > 0 {
            guard let operation = operation(from: &payload) else {
                journal.moveReaderIndex(to: start)
                return nil
            }
            found.operations.append(operation)
        }
        return found
    }

    private static func operation(from payload: inout ByteBuffer) -> SpoolOperation? {
        guard let kind = payload.readInteger(as: UInt8.self),
            let (time, random, length) = payload.readMultipleIntegers(as: (UInt64, UInt64, UInt32).self),
            let octets = payload.readSlice(length: Int(length))
        else { return nil }
        let id = MessageID(time: time, random: random)
        switch kind {
        case Kind.put: return .put(id, file: octets)
        case Kind.state: return .state(id, lines: octets)
        case Kind.done: return .done(id)
        default: return nil
        }
    }
}
