import Logging
import NIOCore

/// One logfmt line an event on standard error, for the supervisor to keep: `level=info msg="…" name=value …`. No time:
/// supervisors put their own in front.
package struct LogfmtHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level

    private let lines: LogLines

    package init(level: Logger.Level, lines: LogLines) {
        logLevel = level
        self.lines = lines
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = ByteBuffer()
        line.reserveCapacity(Self.usualLength)
        line.writeStaticString("level=")
        line.writeString(event.level.rawValue)
        line.writeStaticString(" msg=")
        line.writeLogfmt(event.message.description)
        if !metadata.isEmpty { Self.append(metadata, to: &line) }
        if let metadata = event.metadata { Self.append(metadata, to: &line) }
        line.writeStaticString("\n")
        lines.add(line, isUrgent: event.level >= .warning)
    }

    private static let usualLength = 240

    private static func append(_ metadata: Logger.Metadata, to line: inout ByteBuffer) {
        // A dictionary has no order of its own.
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line.writeStaticString(" ")
            line.writeString(key)
            line.writeStaticString("=")
            if case .string(let text) = value { line.writeLogfmt(text) } else { line.writeLogfmt(value.description) }
        }
    }
}

extension ByteBuffer {
    /// Quotes a value where it holds anything but plain printable characters: nothing from outside can start a line.
    fileprivate mutating func writeLogfmt(_ value: String) {
        var value = value
        value.withUTF8 { octets in
            // 0xc2 begins U+0080 to U+00BF, control characters among them.
            let isPlain =
                !octets.isEmpty
                && octets.allSatisfy { Self.isPrintable($0) && $0 != 0x20 && $0 != 0x3d && $0 != 0xc2 }
            if isPlain {
                writeBytes(octets)
            } else {
                writeStaticString("\"")
                writeEscaped(octets)
                writeStaticString("\"")
            }
        }
    }

    /// As it stands within quotes.
    private static func isPrintable(_ octet: UInt8) -> Bool {
        octet >= 0x20 && octet != 0x22 && octet != 0x5c && octet != 0x7f
    }

    private mutating func writeEscaped(_ octets: UnsafeBufferPointer<UInt8>) {
        var written = 0
        var index = 0
        while index < octets.count {
            let octet = octets[index]
            // U+0080 to U+009F are control characters too.
            let isLateControl = octet == 0xc2 && index + 1 < octets.count && octets[index + 1] < 0xa0
            guard isLateControl || !Self.isPrintable(octet) else {
                index += 1
                continue
            }
            writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(octets)[written..<index]))
            if isLateControl { index += 1 }
            switch octets[index] {
            case UInt8(ascii: "\""): writeStaticString("\\\"")
            case UInt8(ascii: "\\"): writeStaticString("\\\\")
            case UInt8(ascii: "\n"): writeStaticString("\\n")
            case UInt8(ascii: "\r"): writeStaticString("\\r")
            case UInt8(ascii: "\t"): writeStaticString("\\t")
            default:
                writeStaticString("\\x")
                writeString(String(octets[index] >> 4, radix: 16))
                writeString(String(octets[index] & 15, radix: 16))
            }
            index += 1
            written = index
        }
        writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(octets)[written...]))
    }
}
