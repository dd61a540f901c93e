#if canImport(Glibc)
import Glibc
#endif

/// A delivery at the end of an mbox, under its locks. A header line with the delivery's key tells a later attempt that
/// this one was complete; a journal file beside the mbox tells it where a torn one began.
struct MboxDelivery {
    private static let keyField = "X-Delivery-Id"

    private let delivery: Delivery
    private let store: MboxStore
    private var journal: String { "\(store.name).martlet-append" }

    init(_ delivery: Delivery, _ store: MboxStore) {
        self.delivery = delivery
        self.store = store
    }

    /// Returns when the message is on stable storage.
    func run() throws(MailboxError) {
        let lock = try MboxLock(store.name, in: store.directory, create: true)
        defer { withExtendedLifetime(lock) {} }
        try recover(lock.file)
        if delivery.mayBeKnown, try isThere(lock.file) { return }
        let before = try Int(lock.file.status().st_size)
        let limit = delivery.location.quota
        if limit > 0, before + delivery.octets > limit { throw .overQuota }
        try store.directory.replace(journal, with: Array("\(before) \(delivery.key)\n".utf8))
        do throws(MailboxError) {
            try append(to: lock.file, at: before)
            try lock.file.sync()
            if before == 0 { try store.directory.sync() }
        } catch {
            // Nothing half-written stays.
            try? lock.file.truncate(to: before)
            try? lock.file.sync()
            try? store.directory.remove(journal)
            throw error
        }
        try store.directory.remove(journal)
    }

    private func append(to file: OpenFile, at end: Int) throws(MailboxError) {
        guard lseek(file.descriptor, off_t(end), SEEK_SET) >= 0 else { throw .last("seek") }
        var start = Array(
            "From \(delivery.sender.isEmpty ? "MAILER-DAEMON" : delivery.sender) \(Self.date(delivery.arrived))\n".utf8
        )
        // An mbox that others left without a last empty line would swallow our first line.
        if end > 0 {
            let last = try file.read(min(2, end), at: max(0, end - 2))
            if last.last != 10 { start = [10, 10] + start } else if last != [10, 10] { start = [10] + start }
        }
        start += Array("\(Self.keyField): \(delivery.key)\n".utf8) + delivery.prefix
        try file.write(start)
        var encoder = MboxEncoder()
        try delivery.read { piece throws(MailboxError) in
            var output: [UInt8] = []
            encoder.feed(piece, into: &output)
            try file.write(output)
        }
        var output: [UInt8] = []
        encoder.finish(into: &output)
        try file.write(output)
    }

    /// Cuts off what a killed delivery left at the end: only where nothing but its own beginning stands there.
    private func recover(_ file: OpenFile) throws(MailboxError) {
        guard let octets = try store.directory.contents(journal, maximum: 1024) else { return }
        let fields = String(decoding: octets, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        let size = try Int(file.status().st_size)
        if fields.count == 2, let begin = Int(fields[0]), begin < size {
            let line = Array("\n\(Self.keyField): \(fields[1])\n".utf8)
            let rest = try file.read(min(size - begin, 4096), at: begin)
            // A complete message ends with an empty line; a torn one may by chance: the next attempt finds it by its key.
            let tail = try file.read(min(2, size - begin), at: max(begin, size - 2))
            let isWhole = rest.firstRange(of: line) != nil && tail == [10, 10]
            if !isWhole, try !hasLaterMessage(file, from: begin, to: size) { try file.truncate(to: begin) }
        }
        try store.directory.remove(journal)
    }

    /// Whether somebody else has added a message behind ours.
    private func hasLaterMessage(_ file: OpenFile, from begin: Int, to end: Int) throws(MailboxError) -> Bool {
        try search(file, for: Array("\n\nFrom ".utf8), from: begin + 2, to: end)
    }

    private func isThere(_ file: OpenFile) throws(MailboxError) -> Bool {
        let size = try Int(file.status().st_size)
        return try search(file, for: Array("\n\(Self.keyField): \(delivery.key)\n".utf8), from: 0, to: size)
    }

    private func search(
        _ file: OpenFile,
        for pattern: [UInt8],
        from begin: Int,
        to end: Int
    ) throws(MailboxError) -> Bool {
        var position = begin
        var carried: [UInt8] = []
        while position < end {
            let piece = try file.read(min(64 * 1024, end - position), at: position)
            if piece.isEmpty { break }
            position += piece.count
            let window = carried + piece
            if window.firstRange(of: pattern) != nil { return true }
            carried = Array(window.suffix(pattern.count - 1))
        }
        return false
    }

    /// `Mon Nov 23 15:40:35 2026`, in UTC as RFC 4155 asks.
    private static func date(_ seconds: Int) -> String {
        var when = time_t(seconds)
        var parts = tm()
        gmtime_r(&when, &parts)
        var text = [CChar](repeating: 0, count: 64)
        // The C locale: the process never calls setlocale.
        let count = strftime(&text, text.count, "%a %b %e %H:%M:%S %Y", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
