import NIOCore

/// What a milter wants changed at the end of a message.
package enum MilterModification: Sendable, Equatable {
    /// Behind the other fields.
    case addHeader(name: [UInt8], value: [UInt8])
    /// 0 is the very top; our own trace field, which the milter doesn't see, counts.
    case insertHeader(at: UInt32, name: [UInt8], value: [UInt8])
    /// The n-th field of that name, from 1; an empty value deletes it.
    case changeHeader(number: UInt32, name: [UInt8], value: [UInt8])
    /// The path, and RCPT's parameters where there are any.
    case addRecipient([UInt8], parameters: [UInt8]?)
    case deleteRecipient([UInt8])
    /// The path, and MAIL's parameters where there are any.
    case changeSender([UInt8], parameters: [UInt8]?)
    /// One more piece of the new body.
    case replaceBody(ByteBuffer)
    /// Why the message is to be held.
    case quarantine([UInt8])

    /// nil where the packet is none.
    init?(_ packet: MilterPacket) throws(MilterProtocolError) {
        var payload = packet.payload
        switch packet.code {
        case UInt8(ascii: "h"):
            let (name, value) = try Self.field(&payload, packet.code)
            self = .addHeader(name: name, value: value)
        case UInt8(ascii: "i"):
            guard let index = payload.readInteger(as: UInt32.self) else { throw .malformed(packet.code) }
            let (name, value) = try Self.field(&payload, packet.code)
            self = .insertHeader(at: index, name: name, value: value)
        case UInt8(ascii: "m"):
            guard let number = payload.readInteger(as: UInt32.self) else { throw .malformed(packet.code) }
            let (name, value) = try Self.field(&payload, packet.code)
            self = .changeHeader(number: number, name: name, value: value)
        case UInt8(ascii: "+"): self = .addRecipient(try Self.only(&payload, packet.code), parameters: nil)
        case UInt8(ascii: "-"): self = .deleteRecipient(try Self.only(&payload, packet.code))
        case UInt8(ascii: "2"):
            let (path, parameters) = try Self.path(&payload, packet.code)
            self = .addRecipient(path, parameters: parameters)
        case UInt8(ascii: "e"):
            let (path, parameters) = try Self.path(&payload, packet.code)
            self = .changeSender(path, parameters: parameters)
        case UInt8(ascii: "b"): self = .replaceBody(payload)
        case UInt8(ascii: "q"): self = .quarantine(try Self.only(&payload, packet.code))
        default: return nil
        }
    }

    private static func only(_ payload: inout ByteBuffer, _ code: UInt8) throws(MilterProtocolError) -> [UInt8] {
        guard let text = payload.readMilterString(), payload.readableBytes == 0 else { throw .malformed(code) }
        return text
    }

    /// A path, and one more text behind it where there is one.
    private static func path(
        _ payload: inout ByteBuffer,
        _ code: UInt8
    ) throws(MilterProtocolError) -> (path: [UInt8], parameters: [UInt8]?) {
        guard let path = payload.readMilterString() else { throw .malformed(code) }
        guard payload.readableBytes > 0 else { return (path, nil) }
        return (path, try only(&payload, code))
    }

    private static func field(
        _ payload: inout ByteBuffer,
        _ code: UInt8
    ) throws(MilterProtocolError) -> (name: [UInt8], value: [UInt8]) {
        // RFC 5322 §2.2: printable characters but for the colon.
        guard let name = payload.readMilterString(), (1...900).contains(name.count),
            name.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A })
        else { throw .malformed(code) }
        return (name, try only(&payload, code))
    }

    /// What it must have said at the beginning that it would do.
    var action: MilterActions {
        switch self {
        case .addHeader, .insertHeader: .addHeaders
        case .changeHeader: .changeHeaders
        case .addRecipient(_, nil): .addRecipients
        case .addRecipient: .addRecipientsWithParameters
        case .deleteRecipient: .deleteRecipients
        case .changeSender: .changeSender
        case .replaceBody: .replaceBody
        case .quarantine: .quarantine
        }
    }

    /// The octet that stands for it.
    package var code: UInt8 {
        switch self {
        case .addHeader: UInt8(ascii: "h")
        case .insertHeader: UInt8(ascii: "i")
        case .changeHeader: UInt8(ascii: "m")
        case .addRecipient(_, nil): UInt8(ascii: "+")
        case .addRecipient: UInt8(ascii: "2")
        case .deleteRecipient: UInt8(ascii: "-")
        case .changeSender: UInt8(ascii: "e")
        case .replaceBody: UInt8(ascii: "b")
        case .quarantine: UInt8(ascii: "q")
        }
    }
}
