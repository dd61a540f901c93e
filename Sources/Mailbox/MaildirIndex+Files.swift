import Files
import NIOConcurrencyHelpers

/// The files of messages.
extension MaildirIndex {
    static func path(_ directory: StaticString, _ name: [UInt8]) -> String {
        FileName.text(Array(UnsafeBufferPointer(start: directory.utf8Start, count: directory.utf8CodeUnitCount)) + name)
    }

    /// Where the file of a message was last seen.
    func path(_ index: Int) -> String {
        let record = list.records[index]
        let directory: StaticString = record.place == .new ? "new/" : "cur/"
        if let name = irregularNames[record.uid] { return Self.path(directory, name) }
        var name = Array(list.base(index))
        if record.place == .current { name += MaildirFileName.suffix(record.flags, record.keywords) }
        return Self.path(directory, name)
    }

    /// The place of a message that is there.
    func find(_ uid: UInt32) -> Int? {
        list.index(ofUID: uid).flatMap { list.records[$0].place == .nowhere ? nil : $0 }
    }

    /// Runs a body with a message's record and file, and again after a look at the folder where the file was renamed.
    ///
    /// - Parameter validity: the numbering that the UID is of.
    func reading<Value>(
        _ uid: UInt32,
        _ validity: UInt32,
        _ maildir: Maildir,
        _ body: (Int, String) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        for _ in 1..<Self.attempts {
            var result: Result<Value, MailboxError>?
            do throws(MailboxError) {
                result = try exclusively { () throws(MailboxError) -> Result<Value, MailboxError>? in
                    guard isListed else { return nil }
                    try check(validity)
                    guard let index = find(uid) else { return .failure(.notFound) }
                    return .success(try body(index, path(index)))
                }
            } catch {
                guard error == .notFound else { throw error }
            }
            if let result { return try result.get() }
            try changing { () throws(MailboxError) in try scan(maildir, movesNew: false, all: true) }
        }
        throw .notFound
    }

    /// The same where the folder is ours to change.
    func changing<Value>(
        _ uid: UInt32,
        _ validity: UInt32,
        _ maildir: Maildir,
        _ body: (Int, String) throws(MailboxError) -> Value
    ) throws(MailboxError) -> Value {
        for _ in 1..<Self.attempts {
            try check(validity)
            guard let index = find(uid) else { throw .notFound }
            do throws(MailboxError) { return try body(index, path(index)) } catch {
                guard error == .notFound else { throw error }
            }
            try scan(maildir, movesNew: false, all: true)
        }
        throw .notFound
    }

    func open(_ uid: UInt32, _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> MessageReader {
        let (file, record) = try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
            (try directory.openRegular(path, [.reading, .notFollowing]), list.records[index])
        }
        let size = try file.status().size
        // The name's sizes count only if they match the file.
        let known = record.octets == size ? record.wireOctets : nil
        let reader = try MessageReader(file, range: 0..<size, octets: known)
        if known == nil { noteOctets(uid, validity, size, reader.octets) }
        return reader
    }

    private func noteOctets(_ uid: UInt32, _ validity: UInt32, _ size: Int, _ octets: Int) {
        mutex.withLock {
            guard list.validity == validity, let index = list.index(ofUID: uid),
                list.records[index].wireOctets != octets
            else { return }
            list.update(index) { record in
                record.octets = size
                record.wireOctets = octets
            }
            if let place = snapshot?.index(ofUID: uid) { snapshot?[place].octets = octets }
        }
    }

    func internalDate(of uid: UInt32, _ validity: UInt32, in maildir: Maildir) throws(MailboxError) -> Int {
        let known = mutex.withLock {
            list.validity == validity ? find(uid).flatMap { list.records[$0].date } : nil
        }
        if let known { return Int(known) }
        return try reading(uid, validity, maildir) { (index, path) throws(MailboxError) in
            let date = try directory.status(path).modified
            list.update(index) { $0.date = date }
            return Int(date)
        }
    }

    /// The values of a key of the UID list, by UID.
    func values(_ key: UInt8, _ validity: UInt32) -> [UInt32: [UInt8]] {
        mutex.withLock { list.validity == validity ? list.values(key) : [:] }
    }
}
