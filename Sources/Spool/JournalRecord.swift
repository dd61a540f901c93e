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

/// The form of the journal's records (docs/queue.md): a header of 16 octets, then the operations.
enum JournalRecord {
    /// length u32, checksum u32, generation u64; numbers in network order.
    static let header = 16

    private enum Kind {
        static let put: UInt8 = 1
        static let state: UInt8 = 2
        static let done: UInt8 = 3
    }

    /// Appends a record whose generation and checksum are not known yet; false where nothing has to be journaled.
    static func append(_ operations: [SpoolOperation], to batch: inout ByteBuffer) -> Bool {
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

    /// Fills in generation and checksum of every record of a batch.
    static func seal(_ batch: inout ByteBuffer, generation: UInt64) {
        var start = batch.readerIndex
        while let length = batch.getInteger(at: start, as: UInt32.self) {
            batch.setInteger(generation, at: start + 8)
            let checksum = checksum(batch, start: start, length: Int(length))
            batch.setInteger(checksum, at: start + 4)
            start += header + Int(length)
        }
    }

    /// Over everything but the checksum itself.
    private static func checksum(_ buffer: ByteBuffer, start: Int, length: Int) -> UInt32 {
        var checksum = Checksum()
        let offset = start - buffer.readerIndex
        buffer.withUnsafeReadableBytes { octets in
            checksum.add(UnsafeRawBufferPointer(rebasing: octets[offset..<(offset + 4)]))
            checksum.add(UnsafeRawBufferPointer(rebasing: octets[(offset + 8)..<(offset + header + length)]))
        }
        return checksum.value
    }

    /// Takes the next record of a generation; nil where there is none, or it is torn: the journal ends there.
    static func next(from journal: inout ByteBuffer, generation: UInt64) -> [SpoolOperation]? {
        let start = journal.readerIndex
        guard let length = journal.getInteger(at: start, as: UInt32.self).map({ Int($0) }), length > 0,
            journal.readableBytes >= header + length,
            journal.getInteger(at: start + 8, as: UInt64.self) == generation,
            journal.getInteger(at: start + 4, as: UInt32.self) == checksum(journal, start: start, length: length)
        else { return nil }
        journal.moveReaderIndex(forwardBy: header)
        guard var payload = journal.readSlice(length: length) else { return nil }
        var operations: [SpoolOperation] = []
        while payload.readableBytes > 0 {
            guard let operation = operation(from: &payload) else { return nil }
            operations.append(operation)
        }
        return operations
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
