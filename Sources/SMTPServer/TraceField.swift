import MIME
import NIOCore
import SMTP

/// What a Received field says (RFC 5321 §4.4).
struct TraceField {
    /// As the client called itself.
    var helo: String
    /// The client's address as text.
    var client: String
    /// The client's name, if it and the address lead to each other.
    var clientName: String?
    /// Our name.
    var hostname: String
    /// `SMTP`, `ESMTP`, `ESMTPSA` and so on (RFC 3848).
    var protocolName: String
    /// TLS version and cipher.
    var tls: String?
    /// The queue ID.
    var id: String
    /// The recipient, where there is just one.
    var recipient: MailAddress?

    /// Appends the field, folded and with its last line end.
    func write(date: DateTime, to buffer: inout ByteBuffer) {
        buffer.writeStaticString("Received: from ")
        buffer.writeBytes(helo.utf8.lazy.map(Self.printable))
        buffer.writeStaticString(" (")
        if let clientName { buffer.writeString("\(clientName) ") }
        buffer.writeStaticString(client.utf8.contains(UInt8(ascii: ":")) ? "[IPv6:" : "[")
        buffer.writeString(client)
        buffer.writeStaticString("])")
        if let tls {
            buffer.writeStaticString("\r\n\t(using ")
            buffer.writeString(tls)
            buffer.writeStaticString(")")
        }
        buffer.writeStaticString("\r\n\tby ")
        buffer.writeString(hostname)
        buffer.writeStaticString(" with ")
        buffer.writeString(protocolName)
        buffer.writeStaticString(" id ")
        buffer.writeString(id)
        if let recipient {
            buffer.writeStaticString("\r\n\tfor <")
            buffer.writeString(recipient.description)
            buffer.writeStaticString(">")
        }
        buffer.writeStaticString(";\r\n\t")
        buffer.writeString(date.description)
        buffer.writeStaticString("\r\n")
    }

    /// A client may call itself anything; in the field stand only octets that are part of names and address literals.
    private static func printable(_ octet: UInt8) -> UInt8 {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
            UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
            return octet
        default:
            return UInt8(ascii: "?")
        }
    }
}
