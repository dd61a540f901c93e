import NIOCore

/// What a proxy says about its client in front of everything else: the PROXY protocol, version 1 (a line of text) or 2
/// (octets), as HAProxy defines it (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt).
package enum ProxyHeader: Equatable {
    /// The proxy itself connects, such as to see whether we are alive.
    case ownConnection
    /// The client's address, and the one that it has connected to. nil: the proxy doesn't know, or it's of another family.
    case client(SocketAddress?, at: SocketAddress?)

    /// Why octets are no header.
    package enum Malformed: Error, Equatable {
        case malformed
        /// Longer than any that has a meaning.
        case tooLong
    }

    /// A line of version 1, with its end.
    static let longestLine = 107
    /// What version 2 may say, addresses and all else. Octets.
    static let longestBody = 2048

    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// Signature, version and command, family, length.
    private static let binaryHead = 16

    /// Takes the header off the input; nil until more octets have arrived.
    package static func next(_ input: inout ByteBuffer) throws(Malformed) -> ProxyHeader? {
        let view = input.readableBytesView
        guard let first = view.first else { return nil }
        if first == signature[0] { return try binary(&input) }
        guard view.prefix(6).elementsEqual("PROXY ".utf8.prefix(view.count)) else { throw .malformed }
        guard let end = view.prefix(longestLine).firstIndex(of: UInt8(ascii: "\n")) else {
            guard view.count < longestLine else { throw .tooLong }
            return nil
        }
        let line = view[..<end]
        guard line.last == UInt8(ascii: "\r"), line.allSatisfy({ $0 < 0x7F }) else { throw .malformed }
        let header = try text(line.dropLast())
        input.moveReaderIndex(forwardBy: end - view.startIndex + 1)
        return header
    }

    /// `PROXY TCP4 192.0.2.7 192.0.2.25 56324 25`.
    private static func text(_ line: ByteBufferView) throws(Malformed) -> ProxyHeader {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        guard words.count >= 2 else { throw .malformed }
        if words[1] == "UNKNOWN" { return .client(nil, at: nil) }
        guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6",
            let client = address(words[2], words[4], isIPv6: words[1] == "TCP6"),
            let server = address(words[3], words[5], isIPv6: words[1] == "TCP6")
        else { throw .malformed }
        return .client(client, at: server)
    }

    private static func address(_ host: String, _ port: String, isIPv6: Bool) -> SocketAddress? {
        guard let port = UInt16(port), let address = try? SocketAddress(ipAddress: host, port: Int(port)),
            (address.protocol == .inet6) == isIPv6
        else { return nil }
        return address.unmapped
    }

    private static func binary(_ input: inout ByteBuffer) throws(Malformed) -> ProxyHeader? {
        let view = input.readableBytesView
        guard view.prefix(signature.count).elementsEqual(signature.prefix(view.count)) else { throw .malformed }
        let start = input.readerIndex
        guard view.count >= binaryHead, let kind = input.getInteger(at: start + 12, as: UInt8.self),
            let family = input.getInteger(at: start + 13, as: UInt8.self),
            let length = input.getInteger(at: start + 14, as: UInt16.self).map({ Int($0) })
        else { return nil }
        guard kind >> 4 == 2, kind & 0x0F <= 1 else { throw .malformed }
        guard length <= longestBody else { throw .tooLong }
        guard view.count >= binaryHead + length else { return nil }
        input.moveReaderIndex(forwardBy: binaryHead)
        guard var body = input.readSlice(length: length) else { throw .malformed }
        if kind & 0x0F == 0 { return .ownConnection }
        // Stream sockets over IPv4 and IPv6; anything else has no address that we know.
        let size: Int
        switch family {
        case 0x11: size = 4
        case 0x21: size = 16
        default: return .client(nil, at: nil)
        }
        guard let source = body.readBytes(length: size), let destination = body.readBytes(length: size),
            let ports = body.readMultipleIntegers(as: (UInt16, UInt16).self)
        else { throw .malformed }
        return .client(
            SocketAddress(octets: source, port: Int(ports.0))?.unmapped,
            at: SocketAddress(octets: destination, port: Int(ports.1))?.unmapped
        )
    }
}
