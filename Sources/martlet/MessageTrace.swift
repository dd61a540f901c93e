import Spool

/// A line of a daemon's log.
struct LogLine: Comparable, Hashable {
    /// As the log has it: within one kind of log, text that sorts by time.
    let time: String
    let daemon: String
    let text: String

    static func < (left: LogLine, right: LogLine) -> Bool {
        (left.time, left.daemon, left.text) < (right.time, right.daemon, right.text)
    }
}

/// Lines of logs that belong to one message, or to an address's messages, and to what came of them: goes through the logs
/// until no line leads to another message any more.
struct MessageTrace {
    private let what: [UInt8]
    /// What is looked for is a message's ID in the queue.
    private let isID: Bool
    private var ids: Set<MessageID> = []
    private var count = 0
    private(set) var lines: Set<LogLine> = []
    /// There are more messages than are followed.
    private(set) var isCut = false

    /// Messages that are followed.
    private static let maximum = 1000

    /// - Parameter what: an ID, a Message-ID, or an address.
    init(_ what: String) {
        self.what = what.utf8.map(Self.lowercased)
        let id = MessageID(what)
        isID = id != nil
        // What has got its Message-ID here has it from its ID.
        let local =
            what.utf8.first == UInt8(ascii: "<")
            ? what.utf8.dropFirst().prefix { $0 != UInt8(ascii: "@") } : "".utf8[...]
        if let id = id ?? (local.count == MessageID.length ? MessageID(local) : nil) { ids = [id] }
    }

    /// Another walk through the logs begins.
    mutating func begin() { count = ids.count }

    /// Whether the last walk found messages that it may have passed.
    var isOpen: Bool { ids.count > count }

    /// Takes a line where it belongs to a message.
    mutating func add(_ line: LogLine) {
        let found = Self.messages(in: line.text)
        if found.isEmpty {
            // What was refused never had an ID.
            if !isID, Self.isRefusal(line.text), Self.contains(line.text, what) { lines.insert(line) }
            return
        }
        guard found.contains(where: ids.contains) || !isID && Self.contains(line.text, what) else { return }
        lines.insert(line)
        // What was removed together has nothing else in common.
        if Self.isRemoval(line.text) { return }
        for id in found where !ids.contains(id) {
            if ids.count < Self.maximum { ids.insert(id) } else { isCut = true }
        }
    }

    // MARK: What stands in a line

    /// IDs of messages, each a word of its own, or, behind a `Q`, in the name of a file in a Maildir.
    static func messages(in text: String) -> [MessageID] {
        text.utf8.split { !isAlphanumeric($0) }.compactMap { word in
            let isInName = word.count == MessageID.length + 1 && word.first == UInt8(ascii: "Q")
            let word = isInName ? word.dropFirst() : word
            return word.count == MessageID.length ? MessageID(word) : nil
        }
    }

    /// Whether a line tells of a message or a recipient that wasn't taken.
    static func isRefusal(_ text: String) -> Bool {
        ["refused", "deferred", "discarded"].contains { text.utf8.prefix(200).contains($0.utf8) }
    }

    /// Whether a line tells of some messages that a reader has removed.
    static func isRemoval(_ text: String) -> Bool {
        ["messages expunged", "messages moved", "messages deleted", "messages replaced"].contains {
            text.utf8.prefix(100).contains($0.utf8)
        }
    }

    /// Whether something stands in a text, in any case, and as a whole: neither address nor ID goes on beside it.
    static func contains(_ text: String, _ wanted: [UInt8]) -> Bool {
        let octets = Array(text.utf8)
        guard let first = wanted.first, octets.count >= wanted.count else { return false }
        search: for start in 0...(octets.count - wanted.count) where lowercased(octets[start]) == first {
            for index in wanted.indices where lowercased(octets[start + index]) != wanted[index] { continue search }
            let end = start + wanted.count
            if start > 0, isOfAddress(octets[start - 1]) { continue }
            if end < octets.count, isOfAddress(octets[end]) { continue }
            return true
        }
        return false
    }

    private static func isOfAddress(_ octet: UInt8) -> Bool {
        isAlphanumeric(octet) || octet >= 0x80 || [UInt8](".-+_@".utf8).contains(octet)
    }

    private static func isAlphanumeric(_ octet: UInt8) -> Bool {
        (0x30...0x39).contains(octet) || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet)
    }

    private static func lowercased(_ octet: UInt8) -> UInt8 { (0x41...0x5A).contains(octet) ? octet | 0x20 : octet }
}
