import Daemon
import Deliverer
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// A message as programs read it: lines end in LF, and what mailboxes have in front is there.
struct PipedMessage {
    private let isBinary: Bool
    /// The last octet was a CR that may belong to a line end.
    private var hasReturn = false

    /// - Parameter isBinary: lines are none: it stays as it is (RFC 3030 §3).
    init(isBinary: Bool) { self.isBinary = isBinary }

    /// What stands in front.
    ///
    /// - Parameter date: of the `From ` line.
    static func beginning(of request: DeliverRequest, _ command: PipeDeliverConfiguration.Command, date: String)
        -> ByteBuffer
    {
        var text = ""
        let sender = request.sender.path.address?.description ?? ""
        if command.addsFromLine {
            // What has a blank in it would end the line's first word.
            let word = sender.isEmpty || sender.utf8.contains(0x20) ? "MAILER-DAEMON" : sender
            text += "From \(word) \(date)\n"
        }
        if command.addsReturnPath { text += "Return-Path: <\(sender)>\n" }
        return ByteBuffer(string: text)
    }

    /// As asctime(3) has it, in UTC.
    static func date(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        var text = [CChar](repeating: 0, count: 26)
        asctime_r(&parts, &text)
        return String(decoding: text.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The next piece of it.
    mutating func convert(_ piece: ByteBuffer) -> ByteBuffer {
        guard !isBinary else { return piece }
        var output = ByteBuffer()
        output.reserveCapacity(piece.readableBytes + 1)
        for octet in piece.readableBytesView {
            if hasReturn, octet != UInt8(ascii: "\n") { output.writeInteger(UInt8(ascii: "\r")) }
            hasReturn = octet == UInt8(ascii: "\r")
            if !hasReturn { output.writeInteger(octet) }
        }
        return output
    }

    /// What is left at the end.
    mutating func finish() -> ByteBuffer {
        defer { hasReturn = false }
        return hasReturn ? ByteBuffer(integer: UInt8(ascii: "\r")) : ByteBuffer()
    }
}
