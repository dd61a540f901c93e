import Files
import NIOCore
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// A mail directory of its own for a test.
final class TestMail: Sendable {
    let path = "/tmp/martlet-mailbox-\(UInt64.random(in: 0 ... .max))"
    let mail: MailDirectory

    init() throws {
        try #require(mkdir(path, 0o700) == 0)
        mail = try MailDirectory(path)
    }

    deinit {
        for name in (try? mail.directory.names()) ?? [] {
            if unlinkat(mail.descriptor, name, 0) != 0 { try? mail.directory.removeTree(name) }
        }
        rmdir(path)
    }

    func location(_ name: String, _ format: MailboxFormat = .maildir, quota: Int = 0) throws -> MailboxLocation {
        try #require(MailboxLocation(path: name, format: format, quota: quota))
    }

    func maildir(_ name: String = "alice", quota: Int = 0) throws -> Maildir {
        try Maildir(location(name, quota: quota), in: mail.directory)
    }

    func names(_ directory: String) throws -> [String] { try mail.directory.names(directory).sorted() }

    func write(_ text: String, to name: String) throws {
        try mail.directory.open(name, [.writing, .creating, .truncating]).write(Array(text.utf8))
    }

    func text(_ name: String) throws -> String {
        String(decoding: try #require(try mail.directory.contents(name, maximum: 1 << 24)), as: UTF8.self)
    }

    func exists(_ name: String) -> Bool { (try? mail.directory.status(name)) != nil }

    /// - Parameter claimed: octets that the message is said to have.
    func delivery(
        _ text: String,
        to location: MailboxLocation,
        folder: String? = nil,
        key: String,
        retry: Bool = false,
        claimed: Int? = nil
    ) throws -> Delivery {
        Delivery(
            to: location,
            folder: folder.flatMap { FolderName($0) },
            key: key,
            arrived: 1_795_447_200,
            sender: "bob@example.test",
            prefix: Array("Return-Path: <bob@example.test>\n".utf8),
            source: TestSource(text: text, octets: claimed ?? text.utf8.count),
            mayBeKnown: retry
        )
    }
}

/// A message in pieces, which may have fewer octets than it says.
struct TestSource: DeliverySource {
    let text: String
    let octets: Int

    func read(_ consume: (ByteBuffer) throws(MailboxError) -> Void) throws(MailboxError) {
        var rest = ByteBuffer(string: text)
        while let piece = rest.readSlice(length: min(7, rest.readableBytes)), piece.readableBytes > 0 {
            try consume(piece)
        }
    }
}

extension MailFolder {
    func add(_ text: String, _ flags: MessageFlags = [], keywords: [String] = []) throws -> UInt32 {
        let append = try append()
        try append.write(ByteBuffer(string: text))
        return try append.finish(flags: flags, keywords: keywords, internalDate: 1_000_000_000)
    }

    func text(_ uid: UInt32) throws -> String {
        let reader = try open(uid)
        return String(buffer: try reader.read(at: 0, count: reader.octets))
    }

    var uids: [UInt32] { messages.map(\.uid) }
}

extension Result where Success == Void, Failure == MailboxError {
    var error: MailboxError? {
        if case .failure(let error) = self { error } else { nil }
    }
}
