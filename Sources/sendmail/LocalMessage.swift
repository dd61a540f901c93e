import CLinux
import MIME
import SMTP
import Submission

#if canImport(Glibc)
import Glibc
#endif

/// A message that a local program hands over: what its header lacks is added, and nobody hears of Bcc.
struct LocalMessage {
    /// How it comes, and what ends it.
    enum Framing: Equatable {
        /// As a file, up to its end or to a line of one dot.
        case file(ignoresDots: Bool)
        /// As after DATA (RFC 5321 §4.5.2).
        case smtp
    }

    private(set) var header = MessageHeader()
    private let identity: Identity
    private let framing: Framing
    /// For From; nil for the calling user's.
    private let fullName: String?
    /// The body's first line where it was read with the header.
    private var first: LineInput.Piece?
    private var isOver = false

    init(_ identity: Identity, _ framing: Framing, fullName: String? = nil) {
        self.identity = identity
        self.framing = framing
        self.fullName = fullName
    }

    /// The next line, or piece of one; nil at the message's end.
    private mutating func line(_ input: inout LineInput) throws -> LineInput.Piece? {
        guard !isOver else { return nil }
        guard var piece = try input.next() else {
            isOver = true
            if framing == .smtp { throw Failure(.noInput, "the input ended within a message") }
            return nil
        }
        if piece.isDot, framing != .file(ignoresDots: true) {
            isOver = true
            return nil
        }
        if framing == .smtp, piece.isStart, piece.octets.first == UInt8(ascii: ".") { piece.octets.removeFirst() }
        return piece
    }

    /// Reads up to the body.
    mutating func readHeader(_ input: inout LineInput) throws {
        var next = try line(&input)
        // The line that mbox files have before a message. A long one comes in pieces.
        if next?.octets.starts(with: "From ".utf8) == true {
            while let piece = next, !piece.isEnd { next = try line(&input) }
            next = try line(&input)
        }
        while let current = next {
            if current.isEmpty { return }
            if try !header.append(current) {
                first = current
                return
            }
            next = try line(&input)
        }
    }

    /// Adds what every message must have (RFC 5322 §3.6), and takes out who else gets it.
    ///
    /// - Parameter sender: the reverse-path, with its brackets.
    mutating func complete(_ sender: String) {
        // Nobody but the sender is to know of them, whoever named the recipients.
        header.remove(["bcc", "resent-bcc"])
        let now = Int64(time(nil))
        if !header.has("from") {
            let name = fullName ?? identity.fullName
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

    /// The envelope with what the message is, where the program doesn't say: octets beyond ASCII may be in any body, and a header
    /// or an address that has some in UTF-8 needs SMTPUTF8 (RFC 6531 §3.4). Other octets in a header are nothing that it would help.
    func declared(_ envelope: SubmissionEnvelope) -> SubmissionEnvelope {
        var envelope = envelope
        if envelope.sender.parameters.body == nil { envelope.sender.parameters.body = .eightBitMIME }
        let addresses = [envelope.sender.path.address] + envelope.recipients.map(\.address)
        if header.hasUTF8 || addresses.contains(where: { $0?.needsUTF8 == true }) {
            envelope.sender.parameters.isUTF8 = true
        }
        return envelope
    }

    /// Hands over the header, and the body as it comes.
    mutating func hand(_ input: inout LineInput, to submission: inout BlockingSubmission) throws {
        for field in header.fields { submission.append(field) }
        submission.append("\r\n".utf8)
        if let first { submission.append(first.octets) }
        while let piece = try line(&input) { submission.append(piece.octets) }
    }

    /// Reads the rest of a message that nobody gets.
    mutating func discard(_ input: inout LineInput) throws {
        while try line(&input) != nil {}
    }
}
