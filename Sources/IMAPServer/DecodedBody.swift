import MIME
import Mailbox
import NIOCore

/// A part's body without its transfer encoding (RFC 3516), piece by piece. Every call may block on the disk, and reads 64 KiB
/// at most.
final class DecodedBody: @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private let reader: MessageReader
    private var decoder: TransferDecoder
    private var rest: Range<Int>
    private var skipped: Int
    private var missing: Int
    /// Whether `missing` octets were announced.
    private let isCounted: Bool
    private var isOver = false

    /// - Parameters:
    ///   - range: of the encoded body in the message.
    ///   - wanted: which of the decoded octets.
    init(_ reader: MessageReader, _ range: Range<Int>, _ encoding: TransferDecoder.Encoding, wanted: Range<Int>) {
        self.reader = reader
        decoder = TransferDecoder(encoding)
        rest = range
        skipped = wanted.lowerBound
        missing = wanted.count
        isCounted = wanted.upperBound < .max
    }

    /// The next octets, perhaps none; nil at the end.
    ///
    /// - Throws: `corrupt` where there are fewer octets than were wanted.
    func read() throws(MailboxError) -> [UInt8]? {
        guard !isOver, missing > 0 else {
            guard missing == 0 || !isCounted else { throw .corrupt("message shorter than it was") }
            return nil
        }
        var octets: [UInt8] = []
        let piece = try reader.read(at: rest.lowerBound, count: min(MessageContent.chunk, rest.count))
        if piece.readableBytes > 0 {
            decoder.decode(piece.readableBytesView, into: &octets)
            rest = rest.lowerBound + piece.readableBytes..<rest.upperBound
        } else {
            decoder.finish(into: &octets)
            isOver = true
        }
        let dropped = min(skipped, octets.count)
        skipped -= dropped
        let wanted = octets.dropFirst(dropped).prefix(missing)
        missing -= wanted.count
        return Array(wanted)
    }
}
