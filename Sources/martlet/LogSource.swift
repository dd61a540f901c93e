import Files
import FoundationEssentials
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// The logs of an instance whose supervisor keeps them in files: `log/NAME/current`, and what was current before beside it.
enum InstanceLogs {
    /// Names of the directories that hold a log; empty where the supervisor keeps logs elsewhere.
    static var services: [String] {
        names("log").filter { (try? KernelFileSystem().status("log/\($0)/current", in: nil)) != nil }.sorted()
    }

    /// The files of a log that may hold lines of a time, oldest first.
    static func files(_ service: String, since start: Int) -> [String] {
        let files = KernelFileSystem()
        let former = names("log/\(service)").filter { name in
            guard name.hasPrefix("@"), let status = try? files.status("log/\(service)/\(name)", in: nil) else {
                return false
            }
            return status.kind == .file && status.modified >= Int64(start)
        }
        return (former.sorted() + ["current"]).map { "log/\(service)/\($0)" }
    }

    private static func names(_ directory: String) -> [String] {
        let names = try? KernelFileSystem().names(directory, in: nil)
        return names?.map { String(decoding: $0, as: UTF8.self) } ?? []
    }
}

/// Where log lines are.
enum LogSource {
    /// Logs of these services in files.
    case directories([String])
    /// The journal of systemd.
    case journal

    /// Longer lines are nobody's.
    private static let longestLine = 1 << 20

    /// Gives each line from a time on (seconds since 1970).
    ///
    /// - Throws: `DaemonControl.Failure` where a log can't be read.
    func forEachLine(since start: Int, _ use: (LogLine) -> Void) throws {
        switch self {
        case .directories(let services):
            let (local, universal) = (Self.text(of: start, isLocal: true), Self.text(of: start, isLocal: false))
            for service in services {
                for path in InstanceLogs.files(service, since: start) {
                    guard let stream = fopen(path, "re") else {
                        // It was renamed since, and its lines are in the file of that name.
                        if errno == ENOENT { continue }
                        throw DaemonControl.Failure(description: "\(path): \(String(cString: strerror(errno)))")
                    }
                    defer { fclose(stream) }
                    try Self.read(stream, path) { text in
                        guard let line = Self.line(text, of: service) else { return }
                        // s6-log says local time, svlogd universal time, and with an underscore.
                        let isUniversal = line.time.utf8.dropFirst(10).first == UInt8(ascii: "_")
                        if line.time >= (isUniversal ? universal : local) { use(line) }
                    }
                }
            }
        case .journal:
            let command = "exec journalctl --quiet --no-pager --output=json --unit='martlet-*' --since=@\(start)"
            guard let stream = popen(command, "re") else {
                throw DaemonControl.Failure(description: "journalctl can't be started")
            }
            var failure: (any Error)?
            do { try Self.read(stream, "the journal") { if let line = Self.journalLine($0) { use(line) } } } catch {
                failure = error
            }
            let status = pclose(stream)
            if let failure { throw failure }
            guard status == 0 else {
                throw DaemonControl.Failure(description: "there are no logs below log/, and journalctl has failed")
            }
        }
    }

    private static func read(_ stream: UnsafeMutablePointer<FILE>, _ name: String, _ use: ([UInt8]) -> Void) throws {
        var memory: UnsafeMutablePointer<CChar>?
        var size = 0
        defer { free(memory) }
        while true {
            let count = getline(&memory, &size, stream)
            guard count > 0, let memory else { break }
            guard count <= longestLine else { continue }
            memory.withMemoryRebound(to: UInt8.self, capacity: count) { octets in
                let line = UnsafeBufferPointer(start: octets, count: count)
                use(Array(line.last == UInt8(ascii: "\n") ? UnsafeBufferPointer(rebasing: line.dropLast()) : line))
            }
        }
        guard ferror(stream) == 0 else {
            throw DaemonControl.Failure(description: "\(name): \(String(cString: strerror(errno)))")
        }
    }

    /// A line of s6-log (`2026-11-30 09:16:39.283756254  …`) or svlogd (`2026-11-30_09:16:39.28375 …`).
    static func line(_ octets: [UInt8], of daemon: String) -> LogLine? {
        let start = octets.firstIndex(of: UInt8(ascii: "."))
        guard let start, start == 19, let end = octets[start...].firstIndex(of: UInt8(ascii: " ")) else { return nil }
        let text = octets[end...].drop { $0 == UInt8(ascii: " ") }
        return LogLine(
            time: String(decoding: octets[..<end], as: UTF8.self),
            daemon: daemon,
            text: String(decoding: text, as: UTF8.self)
        )
    }

    /// What `journalctl --output=json` says of a line.
    private struct JournalEntry: Decodable {
        let microseconds: String
        let unit: String
        let message: String

        enum Key: String, CodingKey {
            case microseconds = "__REALTIME_TIMESTAMP"
            case unit = "_SYSTEMD_UNIT"
            case message = "MESSAGE"
        }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            microseconds = try values.decode(String.self, forKey: .microseconds)
            unit = try values.decode(String.self, forKey: .unit)
            if let octets = try? values.decode([UInt8].self, forKey: .message) {
                // What is no UTF-8 comes as numbers.
                message = String(decoding: octets, as: UTF8.self)
            } else {
                message = try values.decode(String.self, forKey: .message)
            }
        }
    }

    private static func journalLine(_ octets: [UInt8]) -> LogLine? {
        // Most are no message's: only those are decoded that look like one's.
        let raw = String(decoding: octets, as: UTF8.self)
        let isCoded = ["\"MESSAGE\":[", "\"MESSAGE\": [", "\"MESSAGE\" : ["].contains { raw.utf8.contains($0.utf8) }
        guard isCoded || MessageTrace.isRefusal(raw) || !MessageTrace.messages(in: raw).isEmpty,
            let entry = try? JSONDecoder().decode(JournalEntry.self, from: Data(octets)),
            let microseconds = Int64(entry.microseconds)
        else { return nil }
        let digits = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        var daemon = Substring(entry.unit)
        if daemon.hasPrefix("martlet-") { daemon = daemon.dropFirst("martlet-".count) }
        if daemon.hasSuffix(".service") { daemon = daemon.dropLast(".service".count) }
        let time = InternetTimestamp.text(microseconds / 1_000_000)
        return LogLine(time: "\(time.dropLast()).\(digits)Z", daemon: String(daemon), text: entry.message)
    }

    /// A time as the lines of logs begin; text that sorts before all others for 0.
    private static func text(of time: Int, isLocal: Bool) -> String {
        guard time > 0 else { return "" }
        var (seconds, parts) = (time_t(time), tm())
        if isLocal { localtime_r(&seconds, &parts) } else { gmtime_r(&seconds, &parts) }
        func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : String(number) }
        let date = "\(parts.tm_year + 1900)-\(padded(parts.tm_mon + 1))-\(padded(parts.tm_mday))"
        let clock = "\(padded(parts.tm_hour)):\(padded(parts.tm_min)):\(padded(parts.tm_sec))"
        return "\(date)\(isLocal ? " " : "_")\(clock)"
    }
}
