import NIOCore

extension EDNS.Option {
    /// TCP keepalive (RFC 7828): how long a connection may be silent.
    package static let keepaliveCode: UInt16 = 11
    /// Padding (RFC 7830): octets without meaning, so that a message's length tells less.
    package static let paddingCode: UInt16 = 12

    /// TCP keepalive as a server says it (RFC 7828 §3.1).
    ///
    /// - Parameter timeout: how long a connection may be silent; in steps of 100 ms, the longest nearly two hours.
    package static func keepalive(_ timeout: TimeAmount) -> EDNS.Option {
        let steps = UInt16(clamping: timeout.nanoseconds / 100_000_000)
        return EDNS.Option(code: keepaliveCode, data: [UInt8](integer: steps))
    }

    /// Padding that makes a message a multiple of a block long, or as long as a message can be.
    ///
    /// - Parameter octets: of the message without the option.
    package static func padding(_ octets: Int, block: PaddingBlock) -> EDNS.Option? {
        let bare = octets + headerOctets
        guard bare <= DNSMessage.maximumOctets else { return nil }
        let over = bare % block.rawValue
        let wanted = over == 0 ? 0 : block.rawValue - over
        let count = min(wanted, DNSMessage.maximumOctets - bare)
        return EDNS.Option(code: paddingCode, data: [UInt8](repeating: 0, count: count))
    }

    /// Of what a message's length is made a multiple (RFC 8467 §4.1). Octets.
    package enum PaddingBlock: Int, Sendable {
        case query = 128
        case response = 468
    }

    /// How many octets the option takes.
    package var encodedCount: Int { Self.headerOctets + data.count }

    /// Code and length, which stand before the data.
    static let headerOctets = 4
}

extension DNSMessage {
    /// Adds an option to the OPT record with which an encoded message ends.
    ///
    /// - Parameters:
    ///   - octets: the message, all of the buffer's readable octets.
    ///   - place: where the OPT record begins, from the first readable octet on.
    package static func append(_ option: EDNS.Option, to octets: inout ByteBuffer, optAt place: Int) {
        // Behind the root's name, type, class and time to live.
        let lengthAt = octets.readerIndex + place + 9
        guard let length = octets.getInteger(at: lengthAt, as: UInt16.self),
            let total = UInt16(exactly: Int(length) + EDNS.Option.headerOctets + option.data.count)
        else { return }
        octets.setInteger(total, at: lengthAt)
        octets.writeInteger(option.code)
        octets.writeInteger(UInt16(truncatingIfNeeded: option.data.count))
        octets.writeBytes(option.data)
    }
}
