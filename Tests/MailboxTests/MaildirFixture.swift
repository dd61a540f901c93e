import Files
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// A Maildir in a directory of its own, which goes with it.
final class MaildirFixture: Sendable {
    let path: String
    let mail: MailDirectory

    init() throws {
        path = "/tmp/martlet-maildir-\(UInt64.random(in: 0 ... .max))"
        guard mkdir(path, 0o700) == 0 else { throw MailboxError.system("make \(path)", errno) }
        mail = try MailDirectory(path)
    }

    deinit {
        try? mail.directory.removeTree("example.test")
        rmdir(path)
    }

    func store(quota: Int = 0) throws -> any MailStore {
        let location = try #require(MailboxLocation(path: "example.test/bob", format: .maildir, quota: quota))
        return try mail.open(location)
    }

    func inbox() throws -> any MailFolder { try store().open(.inbox, readOnly: false) }

    /// Puts a file into the Maildir as any program might.
    func put(_ content: String, as name: String, in part: String = "new") throws {
        let file = try OpenFile("\(root)/\(part)/\(name)", [.writing, .creating, .truncating])
        try file.write(Array(content.utf8))
    }

    var root: String { "\(path)/example.test/bob" }

    func names(_ part: String) throws -> [String] { try DirectoryAccess("\(root)/\(part)").names().sorted() }
}
