import IMAP
import NIOCore

/// What an IMAP client sends, in pieces of the size that the first octet says; an odd size has mailbox names in UTF-8. The octets of
/// messages are taken as a session takes them.
let imapCommandTarget = FuzzTarget("imap-command") { input in
    guard let first = input.first else { return }
    var limits = CommandLimits()
    limits.command = 4096
    limits.message = 4096
    var reader = CommandReader(limits: limits)
    reader.usesUTF8 = first % 2 == 1
    var missing = 0
    var buffer = ByteBuffer()
    var rest = ByteBuffer(bytes: input.dropFirst())
    while let piece = rest.readSlice(length: min(Int(first) + 1, rest.readableBytes)), piece.readableBytes > 0 {
        buffer.writeImmutableBuffer(piece)
        reading: while true {
            let taken = min(missing, buffer.readableBytes)
            buffer.moveReaderIndex(forwardBy: taken)
            missing -= taken
            guard missing == 0 else { break }
            switch reader.next(from: &buffer) {
            case .fatal: return
            case .needMore: break reading
            case .command(let command): _ = command.command.needs
            case .append(_, let steps):
                for case .url(let url) in steps { _ = MessageURL(url) }
                if case .literal(let literal)? = steps.last { missing = literal.size }
            case .needLiteralContinuation, .bad: continue
            }
        }
    }
}
