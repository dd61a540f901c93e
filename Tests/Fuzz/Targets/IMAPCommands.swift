import IMAP
import NIOCore

/// What an IMAP client sends, in pieces of the size that the first octet says.
let imapCommandTarget = FuzzTarget("imap-command") { input in
    guard let first = input.first else { return }
    var limits = CommandLimits()
    limits.command = 4096
    var reader = CommandReader(limits: limits)
    var buffer = ByteBuffer()
    var rest = ByteBuffer(bytes: input.dropFirst())
    while let piece = rest.readSlice(length: min(Int(first) + 1, rest.readableBytes)), piece.readableBytes > 0 {
        buffer.writeImmutableBuffer(piece)
        while true {
            let output = reader.next(from: &buffer)
            if case .fatal = output { return }
            if case .needMore = output { break }
        }
    }
}
