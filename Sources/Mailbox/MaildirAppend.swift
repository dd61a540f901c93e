import Files
import NIOCore

/// A message on its way into a folder of a Maildir, by way of `tmp/`.
final class MaildirAppend: MessageAppend, @unchecked Sendable {
    // Unchecked: a session has one call at a time under way.
    private let folder: MaildirFolder
    private let name: String
    private let file: OpenFile
    private var isPlaced = false
    private var octets = 0
    /// LFs without a CR in front of them: so much longer the message is with CRLF line ends.
    private var bareLineFeeds = 0
    private var previousIsCR = false

    init(_ folder: MaildirFolder) throws(MailboxError) {
        self.folder = folder
        name = folder.directory.disk.uniqueName()
        file = try folder.directory.open("tmp/\(name)", [.writing, .creating, .exclusive])
    }

    deinit {
        if !isPlaced { try? folder.directory.remove("tmp/\(name)") }
    }

    func write(_ buffer: ByteBuffer) throws(MailboxError) {
        var failure: MailboxError?
        buffer.withUnsafeReadableBytes { memory in
            for octet in memory {
                if octet == UInt8(ascii: "\n"), !previousIsCR { bareLineFeeds += 1 }
                previousIsCR = octet == UInt8(ascii: "\r")
            }
            do throws(MailboxError) { try file.write(memory) } catch { failure = error }
        }
        if let failure { throw failure }
        octets += buffer.readableBytes
    }

    func finish(flags: MessageFlags, keywords: [String], internalDate: Int?) throws(MailboxError) -> UInt32 {
        let quota = folder.maildir.quota
        try quota.check(adding: octets)
        if let internalDate { try file.setModified(internalDate) }
        try file.sync()
        let newcomer = MaildirIndex.Newcomer(
            base: "\(name),S=\(octets),W=\(octets + bareLineFeeds)",
            flags: flags,
            keywords: keywords,
            staysNew: true
        )
        let uids = try folder.add([newcomer]) { (_, path) throws(MailboxError) in
            try folder.directory.rename("tmp/\(name)", to: path)
            isPlaced = true
        }
        quota.record(octets: octets, messages: 1)
        guard let uid = uids.first else { throw .notFound }
        return uid
    }
}
