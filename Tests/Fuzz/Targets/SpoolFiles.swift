import NIOCore
import SMTP
import Spool

/// The files of a message in the spool: a queue file's head, and a state file's lines, each with the checksum that it should
/// have.
let spoolFilesTarget = FuzzTarget("spool-files") { input in
    let octets = ByteBuffer(bytes: input)
    if let head = try? QueueFile.parseHead(octets) {
        demand(head.offset <= octets.readableBytes, "a message that begins behind the file's end")
        demand(head.coveredHead <= head.offset, "a checksum over more than the head")
        let (file, _) = QueueFile.encode(head.envelope, message: ByteBuffer(string: "x"))
        let again = try? QueueFile.parseHead(file)
        demand(again?.envelope == head.envelope, "an envelope that comes back as another")
    }
    for line in octets.readableBytesView.split(separator: UInt8(ascii: "\n")) {
        let rest = String(decoding: line, as: UTF8.self)
        var checksum = Checksum()
        checksum.add(rest)
        guard let entry = StateEntry(line: "\(checksum.text) \(rest)".utf8) else { continue }
        let again = StateEntry(line: entry.line.utf8.dropLast())
        demand(again?.event == entry.event && again?.time == entry.time, "an entry that comes back as another")
        demand(again?.recipient == entry.recipient, "an entry that comes back as another recipient's")
    }
    _ = StateEntry.parse(octets)
}

/// The journal's records: the octets behind the header are the input, and the header is made to fit.
let journalTarget = FuzzTarget("journal") { input in
    for format in JournalRecord.Format.allCases {
        let header = JournalSegment.Header(generation: 7, oldest: 3, salt: 11, format: format)
        var raw = ByteBuffer(bytes: input)
        while JournalRecord.next(from: &raw, of: header) != nil {}
    }
    let header = JournalSegment.Header(generation: 7, oldest: 3, salt: 11)
    var records = ByteBuffer()
    // The first octet says where the input is cut into two records.
    let cut = input.first.map { min(Int($0) * 16, input.count) } ?? 0
    for part in [input[..<cut], input[cut...]] where !part.isEmpty {
        records.writeInteger(UInt32(part.count))
        records.writeRepeatingByte(0, count: JournalRecord.Format.current.header - 4)
        records.writeBytes(part)
    }
    JournalRecord.seal(&records, generation: 7, salt: 11, batchStart: 4096, formerEnd: 0)
    while let record = JournalRecord.next(from: &records, of: header) {
        var again = ByteBuffer()
        guard JournalRecord.append(record.operations, to: &again) else {
            demand(record.operations.isEmpty, "operations that aren't written")
            continue
        }
        JournalRecord.seal(&again, generation: 7, salt: 11, batchStart: 4096, formerEnd: 0)
        let found = JournalRecord.next(from: &again, of: header)
        demand(found?.operations.count == record.operations.count, "operations that don't come back")
        for case .put(_, let file) in record.operations { _ = try? QueueFile.parseHead(file) }
    }
}
