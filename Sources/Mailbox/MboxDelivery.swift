import Files
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A delivery appended to an mbox, under its locks. A header field with the delivery's key lets a retry recognise a
/// completed attempt; a journal file beside the mbox says where an interrupted one began.
struct MboxDelivery {
    private let delivery: Delivery
    private let store: MboxStore
    private let keys: MboxKeys

    init(_ delivery: Delivery, _ store: MboxStore, _ keys: MboxKeys) {
        self.delivery = delivery
        self.store = store
        self.keys = keys
    }

    /// Returns when the message is on stable storage.
    ///
    /// - Throws: `busy` if the mbox is locked; nothing was done.
    func run() throws(MailboxError) {
        do throws(MailboxError) {
            try deliver()
        } catch {
            if error != .busy, error != .overQuota { keys.forget(delivery.location) }
            throw error
        }
    }

    private func deliver() throws(MailboxError) {
        let lock = try MboxLock.acquire(store.name, in: store.directory)
        defer { withExtendedLifetime(lock) {} }
        let journal = MboxJournal(store.name, in: store.directory)
        try journal.recover(lock.file, lock)
        if delivery.mayBeKnown, try keys.has(delivery.key, delivery.location, lock) {
            // A journal that reappeared after a crash would roll it back.
            return try store.directory.sync()
        }
        let before = try lock.file.status().size
        let limit = delivery.location.quota
        if limit > 0, before + delivery.octets > limit { throw .overQuota }
        let start = try start(lock.file, at: before)
        try journal.begin(lock.file, at: before, key: delivery.key, start: start)
        do throws(MailboxError) {
            try append(start, to: lock, at: before)
            try lock.file.sync()
            try store.syncDirectories(isNew: before == 0)
        } catch {
            // Leave nothing half-written.
            guard (try? lock.file.truncate(to: before)) != nil, (try? lock.file.sync()) != nil else {
                throw error.asUncertain
            }
            try? journal.end()
            throw error
        }
        do throws(MailboxError) { try journal.end() } catch { throw error.asUncertain }
        keys.add(delivery.key, delivery.location)
    }

    /// The lines that a message begins with here: `From ` and the delivery's key.
    private func start(_ file: OpenFile, at end: Int) throws(MailboxError) -> [UInt8] {
        let sender = delivery.sender.isEmpty ? "MAILER-DAEMON" : delivery.sender
        let start = Array(
            "From \(sender) \(Self.date(delivery.arrived))\n\(MboxJournal.keyField): \(delivery.key)\n".utf8
        )
        guard end > 0 else { return start }
        // An mbox that others left without a last empty line would swallow our first line.
        let last = try file.read(min(2, end), at: max(0, end - 2))
        return last == [10, 10] ? start : last.last == 10 ? [10] + start : [10, 10] + start
    }

    private func append(_ start: [UInt8], to lock: MboxLock, at end: Int) throws(MailboxError) {
        var position = end
        func put(_ octets: [UInt8]) throws(MailboxError) {
            try lock.file.write(octets, at: position)
            position += octets.count
            lock.refresh()
        }
        try put(start + delivery.prefix)
        var encoder = MboxEncoder()
        try delivery.read { piece throws(MailboxError) in
            var output: [UInt8] = []
            encoder.feed(piece.readableBytesView, into: &output)
            try put(output)
        }
        var output: [UInt8] = []
        encoder.finish(into: &output)
        try put(output)
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
