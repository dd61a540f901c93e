import Milter
import NIOCore
import SMTP

/// A message while milters look at it, one after the other: each finds what those before it have changed.
package struct MilteredMessage {
    package var sender: EnvelopeSender
    package var recipients: [EnvelopeRecipient]
    package var header: MilterHeader
    /// In pieces that a milter takes at once.
    package private(set) var body: [ByteBuffer]
    /// Why a milter wants it held; nil where none does.
    package private(set) var quarantine: String?

    /// Keeps the place of the body in memory.
    private var held: HeldOctets
    /// Whether lines are none of SMTP's.
    private let isBinary: Bool
    private let limits: Limits

    /// What milters may make of a message.
    package struct Limits: Sendable {
        /// Octets of a new body.
        package var body = 50 * 1024 * 1024
        /// Octets of the header.
        package var header = 1 << 20
        package var recipients = 1000

        package init() {}
    }

    /// - Parameters:
    ///   - added: what we put in front of the message.
    ///   - hiddenName: the first field of this name is ours, and no milter's business.
    ///   - headerEnd: how many octets of the message are its header, with the empty line behind it.
    package init(
        _ held: HeldOctets,
        sender: EnvelopeSender,
        recipients: [EnvelopeRecipient],
        added: ByteBuffer,
        hiding hiddenName: StaticString,
        headerEnd: Int,
        isBinary: Bool = false,
        limits: Limits = Limits()
    ) {
        self.sender = sender
        self.recipients = recipients
        self.held = held
        self.isBinary = isBinary
        self.limits = limits
        var header = Array(added.readableBytesView)
        header.reserveCapacity(header.count + headerEnd)
        var body: [ByteBuffer] = []
        var left = headerEnd
        for piece in held.pieces {
            var piece = piece
            if left > 0, let part = piece.readSlice(length: min(left, piece.readableBytes)) {
                left -= part.readableBytes
                header += part.readableBytesView
            }
            if piece.readableBytes > 0 { body.append(piece) }
        }
        // Some take such a line for the body, and so do we: what is behind it would be delivered and never looked at.
        if let other = MilterHeader.firstOther(in: header) {
            var rest = ByteBuffer(bytes: header[other...])
            var pieces: [ByteBuffer] = []
            while let piece = rest.readSlice(length: min(MilterEvent.maximumBody, rest.readableBytes)),
                piece.readableBytes > 0
            {
                pieces.append(piece)
            }
            body.insert(contentsOf: pieces, at: 0)
            header.removeSubrange(other...)
        }
        self.body = body
        self.header = MilterHeader(header, hiding: hiddenName)
    }

    /// Begins a new body.
    func emptyBody() -> NewBody { NewBody(held.another(), isBinary: isBinary) }

    /// Takes a body that is whole.
    mutating func replaceBody(_ new: NewBody) throws(MilterFault) {
        guard !new.octets.isCut else { throw .impossible("there is no room for the new body") }
        held = new.octets
        body = new.octets.pieces
    }

    /// Does what a milter asks for, but for the body, which comes in pieces.
    mutating func apply(_ modification: MilterModification, leadingSpace: Bool) throws(MilterFault) {
        switch modification {
        case .addHeader(let name, let value): header.add(name, value, leadingSpace: leadingSpace)
        case .insertHeader(let index, let name, let value):
            header.insert(name, value, at: Int(index), leadingSpace: leadingSpace)
        case .changeHeader(let number, let name, let value):
            header.change(name, Int(number), value, leadingSpace: leadingSpace)
        case .addRecipient(let path, let parameters): try add(path, parameters ?? [])
        case .deleteRecipient(let path):
            let address = try Self.recipient(path, []).address
            recipients.removeAll { $0.address == address }
        case .changeSender(let path, let parameters): try change(path, parameters)
        case .quarantine(let reason): quarantine = String(decoding: reason.prefix(200), as: UTF8.self)
        case .replaceBody: break
        }
        guard header.octetCount <= limits.header else { throw .impossible("it makes the header too long") }
    }

    func check(_ new: NewBody) throws(MilterFault) {
        guard new.octets.count <= max(limits.body, held.count) else {
            throw .impossible("it makes the message too large")
        }
    }

    private static func recipient(_ path: [UInt8], _ parameters: [UInt8]) throws(MilterFault) -> EnvelopeRecipient {
        do throws(EnvelopeError) {
            return try EnvelopeRecipient(parsing: bracketed(path) + spaced(parameters), options: .envelope)
        } catch {
            throw .impossible("\(String(decoding: path.prefix(300), as: UTF8.self)) is no recipient")
        }
    }

    private mutating func add(_ path: [UInt8], _ parameters: [UInt8]) throws(MilterFault) {
        let recipient = try Self.recipient(path, parameters)
        guard !recipients.contains(where: { $0.address == recipient.address }) else { return }
        guard recipients.count < limits.recipients else { throw .impossible("it adds too many recipients") }
        recipients.append(recipient)
    }

    private mutating func change(_ path: [UInt8], _ parameters: [UInt8]?) throws(MilterFault) {
        do throws(EnvelopeError) {
            let new = try EnvelopeSender(
                parsing: Self.bracketed(path) + Self.spaced(parameters ?? []),
                options: .envelope
            )
            var kept = sender.parameters
            if parameters != nil {
                kept.ret = new.parameters.ret ?? kept.ret
                kept.envelopeID = new.parameters.envelopeID ?? kept.envelopeID
                kept.auth = new.parameters.auth ?? kept.auth
            }
            sender = EnvelopeSender(new.path, parameters: kept)
        } catch {
            throw .impossible("\(String(decoding: path.prefix(300), as: UTF8.self)) is no sender")
        }
    }

    private static func bracketed(_ path: [UInt8]) -> [UInt8] {
        path.first == UInt8(ascii: "<") ? path : [UInt8(ascii: "<")] + path + [UInt8(ascii: ">")]
    }

    /// Parameters as they follow a path.
    private static func spaced(_ parameters: [UInt8]) -> [UInt8] {
        parameters.split(separator: UInt8(ascii: " ")).flatMap { [UInt8(ascii: " ")] + $0 }
    }
}

/// A body that a milter gives instead of the message's. Line ends of other kinds become CRLF: what follows them could count
/// as a message of its own elsewhere.
struct NewBody {
    let octets: HeldOctets
    private let isBinary: Bool
    private var isAfterReturn = false

    init(_ octets: HeldOctets, isBinary: Bool) {
        self.octets = octets
        self.isBinary = isBinary
    }

    mutating func append(_ piece: ByteBuffer) {
        guard !isBinary else { return octets.append(piece) }
        var lines = ByteBuffer()
        lines.reserveCapacity(piece.readableBytes + 64)
        for octet in piece.readableBytesView {
            if isAfterReturn {
                isAfterReturn = false
                lines.writeStaticString("\r\n")
                if octet == UInt8(ascii: "\n") { continue }
            }
            switch octet {
            case UInt8(ascii: "\r"): isAfterReturn = true
            case UInt8(ascii: "\n"): lines.writeStaticString("\r\n")
            default: lines.writeInteger(octet)
            }
        }
        octets.append(lines)
    }

    mutating func finish() {
        if isAfterReturn { octets.append(ByteBuffer(string: "\r\n")) }
        isAfterReturn = false
    }
}
