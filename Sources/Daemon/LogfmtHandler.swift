import Logging

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
        var line = "level=\(event.level.rawValue) msg="
        Self.append("\(event.message)", to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { Self.append(key, value, to: &line) }
        // A dictionary has no order of its own.
        for (key, value) in (event.metadata ?? [:]).sorted(by: { $0.key < $1.key }) {
            Self.append(key, value, to: &line)
        }
        line += "\n"
        lines.add(line, isUrgent: event.level >= .warning)
    }

    private static func append(_ key: String, _ value: Logger.MetadataValue, to line: inout String) {
        line += " "
        line += key
        line += "="
        append("\(value)", to: &line)
    }

    /// Quotes a value where it holds anything but plain printable characters: nothing from outside can start a line.
    private static func append(_ value: String, to line: inout String) {
        let isPlain =
            !value.isEmpty
            && value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3d && $0 != 0x5c && $0 != 0x7f }
        if isPlain {
            line += value
            return
        }
        line += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case let scalar where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value):
                line += "\\x"
                line += String(scalar.value >> 4, radix: 16)
                line += String(scalar.value & 15, radix: 16)
            default: line.unicodeScalars.append(scalar)
            }
        }
        line += "\""
    }
}
