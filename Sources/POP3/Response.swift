import NIOCore

/// The codes in brackets behind `-ERR` (RFC 2449 §8, RFC 3206).
package enum ResponseCode: String, Sendable {
    /// Another session has the mailbox.
    case inUse = "IN-USE"
    /// The credentials are at fault.
    case authentication = "AUTH"
    /// The system is at fault, and trying again may help.
    case temporary = "SYS/TEMP"
    /// The system is at fault until somebody mends it.
    case permanent = "SYS/PERM"
}

extension ByteBuffer {
    /// Appends `+OK` with a text for people or for the program.
    package mutating func writeOK(_ text: String) {
        writeStaticString("+OK ")
        writeLine(text)
    }

    /// Appends `-ERR`, with a code where one fits.
    package mutating func writeError(_ code: ResponseCode?, _ text: String) {
        writeStaticString("-ERR ")
        if let code {
            writeStaticString("[")
            writeString(code.rawValue)
            writeStaticString("] ")
        }
        writeLine(text)
    }

    /// Appends the question of a SASL mechanism, in base64 already (RFC 5034 §4).
    package mutating func writeChallenge(_ text: String) {
        writeStaticString("+ ")
        writeLine(text)
    }

    /// Appends one line of an answer of several lines. Must not begin with a dot.
    package mutating func writeListing(_ text: String) { writeLine(text) }

    /// Ends an answer of several lines.
    package mutating func writeListingEnd() { writeStaticString(".\r\n") }

    /// A line can hold no line end, and has 512 octets at most (RFC 1939 §3).
    private mutating func writeLine(_ text: String) {
        for octet in text.utf8.prefix(490) { writeInteger(octet < 0x20 || octet == 0x7f ? UInt8(ascii: " ") : octet) }
        writeStaticString("\r\n")
    }
}
