import NIOCore

/// Where a client comes from, as a milter is told.
package enum MilterClientAddress: Sendable, Equatable {
    case unknown
    /// As text.
    case ip4(String, port: UInt16)
    case ip6(String, port: UInt16)
}

/// What happens in a session, as a milter is told.
package enum MilterEvent: Sendable, Equatable {
    /// - Parameter name: the client's verified name, or its address in square brackets.
    case connect(name: [UInt8], MilterClientAddress)
    case helo([UInt8])
    /// The path with its brackets, and what MAIL said beside it.
    case mail([UInt8], parameters: [[UInt8]])
    /// Likewise of RCPT.
    case recipient([UInt8], parameters: [[UInt8]])
    case data
    /// A command that isn't known here.
    case unknown([UInt8])
    /// The value without its last line end; folded lines end in LF.
    case header(name: [UInt8], value: [UInt8])
    case endOfHeader
    /// At most `maximumBody` octets.
    case body(ByteBuffer)
    case endOfMessage
    /// Nothing comes of the transaction.
    case abort
    /// The connection ends.
    case quit
    /// The client is gone; the connection is kept for another one.
    case quitForNext

    /// The most octets of a body that go together (`MILTER_CHUNK_SIZE`).
    package static let maximumBody = 65535

    /// The octet that stands for it (`SMFIC_*`).
    var code: UInt8 {
        switch self {
        case .connect: UInt8(ascii: "C")
        case .helo: UInt8(ascii: "H")
        case .mail: UInt8(ascii: "M")
        case .recipient: UInt8(ascii: "R")
        case .data: UInt8(ascii: "T")
        case .unknown: UInt8(ascii: "U")
        case .header: UInt8(ascii: "L")
        case .endOfHeader: UInt8(ascii: "N")
        case .body: UInt8(ascii: "B")
        case .endOfMessage: UInt8(ascii: "E")
        case .abort: UInt8(ascii: "A")
        case .quit: UInt8(ascii: "Q")
        case .quitForNext: UInt8(ascii: "K")
        }
    }

    /// The stage whose macros go before it; nil where none do.
    package var stage: MilterStage? {
        switch self {
        case .connect: .connect
        case .helo: .helo
        case .mail: .mail
        case .recipient: .recipient
        case .data: .data
        case .endOfHeader: .endOfHeader
        case .endOfMessage: .endOfMessage
        case .unknown, .header, .body, .abort, .quit, .quitForNext: nil
        }
    }

    /// Appends its packet.
    package func write(to buffer: inout ByteBuffer) {
        buffer.writeMilterPacket(code) { packet in
            switch self {
            case .connect(let name, let address):
                packet.writeMilterString(name)
                address.write(to: &packet)
            case .helo(let name): packet.writeMilterString(name)
            case .mail(let path, let parameters), .recipient(let path, let parameters):
                packet.writeMilterString(path)
                for parameter in parameters { packet.writeMilterString(parameter) }
            case .unknown(let line): packet.writeMilterString(line)
            case .header(let name, let value):
                packet.writeMilterString(name)
                packet.writeMilterString(value)
            case .body(let octets): packet.writeImmutableBuffer(octets)
            case .data, .endOfHeader, .endOfMessage, .abort, .quit, .quitForNext: break
            }
        }
    }
}

extension MilterClientAddress {
    fileprivate func write(to packet: inout ByteBuffer) {
        switch self {
        case .unknown: packet.writeInteger(UInt8(ascii: "U"))
        case .ip4(let address, let port):
            packet.writeInteger(UInt8(ascii: "4"))
            packet.writeInteger(port)
            packet.writeMilterString(Array(address.utf8))
        case .ip6(let address, let port):
            packet.writeInteger(UInt8(ascii: "6"))
            packet.writeInteger(port)
            packet.writeMilterString(Array(address.utf8))
        }
    }
}
