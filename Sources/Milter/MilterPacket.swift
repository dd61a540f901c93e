import NIOCore

/// Octets that stand for packets and no event of a session.
enum MilterCode {
    static let negotiate = UInt8(ascii: "O")
    static let macros = UInt8(ascii: "D")
}

/// Why what a milter says can't be used.
package enum MilterProtocolError: Error, Equatable, Sendable {
    /// A packet without its code.
    case emptyPacket
    /// A packet of so many octets.
    case packetTooLong(Int)
    /// No reply of the protocol has this code.
    case unknownReply(UInt8)
    /// Not here.
    case unexpectedReply(UInt8)
    /// What follows the code isn't what belongs there.
    case malformed(UInt8)
    /// It speaks no version that we do.
    case unknownVersion(UInt32)
    /// It asks for what it didn't say that it would.
    case notAgreed(UInt8)

    /// For the log.
    package var text: String {
        switch self {
        case .emptyPacket: "it sent an empty packet"
        case .packetTooLong(let count): "it sent a packet of \(count) octets"
        case .unknownReply(let code): "it sent a reply that does not exist, \(Self.name(code))"
        case .unexpectedReply(let code): "it sent the reply \(Self.name(code)) where that has no place"
        case .malformed(let code): "it sent a malformed reply \(Self.name(code))"
        case .unknownVersion(let version): "it speaks version \(version) of the protocol"
        case .notAgreed(let code): "it asked for \(Self.name(code)), which it had not announced"
        }
    }

    private static func name(_ code: UInt8) -> String {
        (0x21...0x7E).contains(code) ? "'\(Character(Unicode.Scalar(code)))'" : "\(code)"
    }
}

/// One packet of a milter.
package struct MilterPacket: Sendable, Equatable {
    package let code: UInt8
    package let payload: ByteBuffer

    package init(code: UInt8, payload: ByteBuffer) {
        self.code = code
        self.payload = payload
    }

    /// The longest that is taken. Octets, without the four that count them.
    package static let maximum = 1 << 20

    /// Takes the next packet off a buffer; nil where more octets are needed.
    package static func next(from buffer: inout ByteBuffer) throws(MilterProtocolError) -> MilterPacket? {
        guard let count = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
        guard count > 0 else { throw .emptyPacket }
        guard count <= UInt32(maximum) else { throw .packetTooLong(Int(count)) }
        guard buffer.readableBytes >= 4 + Int(count) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        guard let code = buffer.readInteger(as: UInt8.self), let payload = buffer.readSlice(length: Int(count) - 1)
        else { throw .emptyPacket }
        return MilterPacket(code: code, payload: payload)
    }
}

extension ByteBuffer {
    /// Appends a packet: how many octets follow, the code, and what the closure writes.
    mutating func writeMilterPacket(_ code: UInt8, _ write: (inout ByteBuffer) -> Void) {
        let start = writerIndex
        writeInteger(UInt32(0))
        writeInteger(code)
        write(&self)
        setInteger(UInt32(truncatingIfNeeded: writerIndex - start - 4), at: start)
    }

    /// Appends octets and a NUL; NULs among them are left out.
    mutating func writeMilterString(_ octets: some Collection<UInt8>) {
        if octets.contains(0) { writeBytes(octets.filter { $0 != 0 }) } else { writeBytes(octets) }
        writeInteger(UInt8(0))
    }

    /// Takes octets up to the next NUL; nil where there is none.
    mutating func readMilterString() -> [UInt8]? {
        guard let end = readableBytesView.firstIndex(of: 0) else { return nil }
        let octets = readBytes(length: end - readableBytesView.startIndex)
        moveReaderIndex(forwardBy: 1)
        return octets
    }
}
