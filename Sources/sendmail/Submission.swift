import Bus
import CLinux
import MIME
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// Reads a message from standard input and hands it to queue-manager, as it comes.
struct Submission {
    private let options: SendmailOptions
    private let identity: Identity
    private var input = LineInput()
    private var header = MessageHeader()

    init(_ options: SendmailOptions, _ identity: Identity) {
        self.options = options
        self.identity = identity
    }

    /// Returns once the message is on stable storage.
    mutating func run() throws {
        var recipients = try options.recipients.map { try identity.path($0) }
        guard options.readsRecipients || !recipients.isEmpty else { throw Failure(.usage, "no recipients") }
        let first = try readHeader()
        if options.readsRecipients {
            recipients += try headerRecipients()
            guard !recipients.isEmpty else { throw Failure(.usage, "no recipients in the header") }
        }
        let sender = try senderPath()
        complete(sender)
        let queue = try QueueSocket("run/queue.sock")
        let greeting = try queue.answer()
        try queue.send(envelope(sender, recipients))
        var part = ByteBuffer()
        for field in header.fields { part.writeBytes(field) }
        part.writeStaticString("\r\n")
        try sendBody(first, &part, queue)
        try queue.send(Frame("END"))
        let reply = try queue.answer()
        if options.isVerbose { print("queued as \(reply["id"] ?? greeting["next"] ?? "")") }
    }

    // MARK: The header

    /// Reads up to the body; returns the first line of it where it has been read.
    private mutating func readHeader() throws -> LineInput.Piece? {
        var isFirst = true
        while let line = try input.next() {
            defer { isFirst = false }
            // What mailboxes of the mbox kind write before a message.
            if isFirst, line.octets.starts(with: "From ".utf8) { continue }
            if line.isEmpty { return nil }
            if line.isDot, !options.ignoresDots { return line }
            if try !header.take(line) { return line }
        }
        return nil
    }

    private mutating func headerRecipients() throws -> [String] {
        let resent: Set = ["resent-to", "resent-cc", "resent-bcc"]
        var values = header.values(resent)
        if values.isEmpty { values = header.values(["to", "cc", "bcc"]) }
        header.remove(["bcc", "resent-bcc"])
        return try values.flatMap { AddressList.addresses($0) }.map { address in
            do {
                return try identity.path(address)
            } catch {
                throw Failure(.data, "not an address in the header: \(address)")
            }
        }
    }

    private func senderPath() throws -> String {
        guard let sender = options.sender else { return try identity.path(identity.address) }
        return sender.isEmpty ? "<>" : try identity.path(sender)
    }

    /// Adds what every message must have (RFC 5322 §3.6).
    private mutating func complete(_ sender: String) {
        let now = Int64(time(nil))
        if !header.has("from") {
            let name = options.fullName ?? identity.fullName
            let path = sender == "<>" ? "<\(identity.address)>" : sender
            header.add("From", name.isEmpty ? String(path.dropFirst().dropLast()) : "\(Self.phrase(name)) \(path)")
        }
        if !header.has("date") {
            header.add("Date", DateTime(secondsSince1970: Int(now), offset: CLinux_utc_offset(now) / 60).description)
        }
        if !header.has("message-id") {
            let left = String(now, radix: 36) + "." + String(UInt64.random(in: 0 ... .max), radix: 36)
            header.add("Message-ID", "<\(left)@\(identity.hostname)>")
        }
    }

    /// A name as a quoted string, without what could end it.
    private static func phrase(_ name: String) -> String {
        let octets = name.utf8.filter {
            $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        return "\"\(String(decoding: octets, as: UTF8.self))\""
    }

    // MARK: The envelope

    private func envelope(_ sender: String, _ recipients: [String]) throws -> Frame {
        var from = sender
        if let ret = options.ret { from += " RET=\(ret == "FULL" ? "FULL" : "HDRS")" }
        if let id = options.envelopeID { from += " ENVID=\(XText.encode(id.utf8))" }
        let notify = options.notify.map { " NOTIFY=\($0)" } ?? ""
        guard (try? EnvelopeRecipient(parsing: "<a@example.test>\(notify)".utf8)) != nil else {
            throw Failure(.usage, "malformed value of -N")
        }
        var frame = Frame("SUBMIT", ["sender": from, "client": "local"])
        for recipient in recipients { frame.fields.append(.init("recipient", recipient + notify)) }
        return frame
    }

    // MARK: The body

    private mutating func sendBody(_ first: LineInput.Piece?, _ part: inout ByteBuffer, _ queue: QueueSocket) throws {
        var line = first
        if line == nil { line = try input.next() }
        while let current = line {
            if current.isDot, !options.ignoresDots { break }
            part.writeBytes(current.octets)
            try send(&part, queue, atLeast: 32 * 1024)
            line = try input.next()
        }
        try send(&part, queue, atLeast: 1)
    }

    private func send(_ part: inout ByteBuffer, _ queue: QueueSocket, atLeast least: Int) throws {
        guard part.readableBytes >= least else { return }
        while let chunk = part.readSlice(length: min(part.readableBytes, 64 * 1024)), chunk.readableBytes > 0 {
            try queue.send(Frame("DATA", [], body: chunk))
        }
        part.clear()
    }
}
