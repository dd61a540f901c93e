import Files

/// How much is in a Maildir: the file `maildirsize` of Maildir++, whose first line is the limit and whose other lines are
/// octets and messages to be added up. Rebuilt from the file names when it is missing, long, or says "full".
struct MaildirQuota: Sendable {
    private static let path = "maildirsize"
    private static let maximumOctets = 5120
    /// What a line may say, so that sums can't overflow.
    private static let changes = -(1 << 50)...(1 << 50)

    let root: DirectoryAccess
    /// Octets; 0 for none.
    let limit: Int
    let layout: MaildirLayout

    /// - Throws: `overQuota` when so many octets more would be too much.
    func check(adding octets: Int) throws(MailboxError) {
        guard limit > 0 else { return }
        if try usage().octets <= limit - octets { return }
        // The sum may be off after a crash; the files themselves decide.
        guard try recount().octets <= limit - octets else { throw .overQuota }
    }

    /// Records what was added or removed, if the file exists.
    func record(octets: Int, messages: Int) {
        do throws(MailboxError) {
            try root.open(Self.path, [.writing, .appending]).write(Array("\(octets) \(messages)\n".utf8))
        } catch {
            // Without this line the sum would be wrong; that there is no file is no failure.
            if error != .notFound { invalidate() }
        }
    }

    /// Forces a recount at the next check.
    func invalidate() { try? root.remove(Self.path) }

    func usage() throws(MailboxError) -> MailboxUsage {
        guard let status = try? root.status(Self.path), status.size <= Self.maximumOctets,
            let octets = try root.contents(Self.path, maximum: Self.maximumOctets * 2)
        else { return try recount() }
        var lines = octets.split(separator: UInt8(ascii: "\n")).makeIterator()
        guard let first = lines.next(), String(decoding: first, as: UTF8.self) == header else { return try recount() }
        var usage = MailboxUsage(octets: 0, messages: 0)
        while let line = lines.next() {
            let fields = String(decoding: line, as: UTF8.self).split(separator: " ")
            guard fields.count == 2, let octets = Int(fields[0]), let messages = Int(fields[1]),
                Self.changes.contains(octets), Self.changes.contains(messages)
            else { return try recount() }
            usage.octets += octets
            usage.messages += messages
        }
        return usage.octets >= 0 && usage.messages >= 0 ? usage : try recount()
    }

    private var header: String { "\(limit)S" }

    private func recount() throws(MailboxError) -> MailboxUsage {
        var usage = MailboxUsage(octets: 0, messages: 0)
        for folder in try layout.folders(in: root) { try count("\(folder.directory)/", into: &usage) }
        try count("", into: &usage)
        let temporary = "tmp/\(root.disk.uniqueName()).size"
        do throws(MailboxError) {
            let file = try root.open(temporary, [.writing, .creating, .exclusive])
            try file.write(Array("\(header)\n\(usage.octets) \(usage.messages)\n".utf8))
            try root.rename(temporary, to: Self.path)
        } catch {
            try? root.remove(temporary)
            throw error
        }
        return usage
    }

    private func count(_ prefix: String, into usage: inout MailboxUsage) throws(MailboxError) {
        for part in ["new", "cur"] {
            var sized = 0
            var unsized: [String] = []
            do throws(MailboxError) {
                try root.visitNames(prefix + part) { name in
                    guard let parsed = MaildirFileName(name) else { return }
                    let base = UnsafeRawBufferPointer(rebasing: name[..<parsed.baseLength])
                    if let size = MaildirFileName.size(UInt8(ascii: "S"), in: base) {
                        usage.add(octets: size)
                        sized += 1
                    } else {
                        unsized.append(FileName.text(Array(name)))
                    }
                }
            } catch {
                if error == .notFound { continue }
                throw error
            }
            usage.messages += sized + unsized.count
            for name in unsized {
                usage.add(octets: try root.statusIfPresent("\(prefix)\(part)/\(name)")?.size ?? 0)
            }
        }
    }
}
