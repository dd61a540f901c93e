import NIOPosix
import SMTP
import Testing

@testable import Authority

#if canImport(Glibc)
import Glibc
#endif

@Suite struct AccountFileEditorTests {
    private let text = """
        # people, by order of arrival

        carol@example.test:!:example.test/carol:maildir:0
        # the boss
        Alice@example.test:$6$x$y:example.test/alice:maildir:1000
        bob@example.test:!:bob.mbox:mbox:0

        """

    private func account(_ address: String) throws -> Account {
        let address = try MailAddress(parsing: address.utf8)
        let mailbox = Account.standardMailbox(of: address)
        return Account(address: address, hash: "!", mailbox: mailbox, format: .maildir, quota: 0)
    }

    /// The file after an edit.
    private func edited(
        _ octets: [UInt8],
        _ edit: (AccountFileEditor) throws -> Void
    ) async throws -> String {
        try await TemporaryDirectory.with { directory in
            directory.write("users", octets)
            try edit(AccountFileEditor(file: directory.file("users")))
            return String(decoding: directory.read("users"), as: UTF8.self)
        }
    }

    @Test func addedAccountsComeLast() async throws {
        let after = try await edited(Array(text.utf8)) { try $0.add(try account("dave@example.test")) }
        #expect(after == text + "dave@example.test:!:example.test/dave:maildir:0\n")
    }

    /// `martlet user add` never gives a user what is another's mailbox, or lies in it or beside it.
    @Test(arguments: [
        ("a/b@example.test", "a_b@example.test"), ("bob.mbox", "x@example.test"), ("bob.mbox.lock", "x@example.test"),
        ("BOB.mbox/below", "x@example.test"), ("example.test", "x@example.test"),
    ])
    func mailboxesOfOthersAreRefused(_ mailbox: String, _ address: String) async throws {
        let octets = Array((text + "a_b@example.test:!:example.test/a_b:maildir:0\n").utf8)
        let after = try await edited(octets) { editor in
            var fresh = try account(mailbox.contains("@") ? mailbox : address)
            if !mailbox.contains("@") { fresh.mailbox = mailbox }
            #expect {
                try editor.add(fresh)
            } throws: {
                if case AccountFileEditor.Fault.mailbox = $0 { true } else { false }
            }
        }
        #expect(Array(after.utf8) == octets)
    }

    @Test func aMissingLastLineEndIsAdded() async throws {
        let after = try await edited(Array("bob@example.test:!:b:mbox:0".utf8)) { try $0.add(try account("d@b.test")) }
        #expect(after == "bob@example.test:!:b:mbox:0\nd@b.test:!:b.test/d:maildir:0\n")
    }

    @Test func changedAccountsStayInTheirPlace() async throws {
        let after = try await edited(Array(text.utf8)) {
            try $0.change(try MailAddress(parsing: "ALICE@EXAMPLE.test".utf8)) { account in account.hash = "new" }
        }
        #expect(after == text.replacing("$6$x$y", with: "new"))
    }

    @Test func removedAccountsLeaveTheRest() async throws {
        let after = try await edited(Array(text.utf8)) {
            try $0.remove(try MailAddress(parsing: "alice@example.test".utf8))
        }
        #expect(after == text.replacing("Alice@example.test:$6$x$y:example.test/alice:maildir:1000\n", with: ""))
    }

    @Test func commentsInOtherEncodingsStay() async throws {
        let latin: [UInt8] = Array("# caf".utf8) + [0xe9, 0x0d, 0x0a] + Array("bob@b.test:!:b:mbox:0\r\n".utf8)
        try await TemporaryDirectory.with { directory in
            directory.write("users", latin)
            try AccountFileEditor(file: directory.file("users")).add(try account("d@b.test"))
            #expect(directory.read("users") == latin + Array("d@b.test:!:b.test/d:maildir:0\n".utf8))
            try AccountFileEditor(file: directory.file("users")).remove(try MailAddress(parsing: "bob@b.test".utf8))
            #expect(directory.read("users") == latin.prefix(8) + Array("d@b.test:!:b.test/d:maildir:0\n".utf8))
        }
    }

    @Test func refusedEditsChangeNothing() async throws {
        try await TemporaryDirectory.with { directory in
            directory.write("users", text.utf8)
            let editor = AccountFileEditor(file: directory.file("users"))
            let bob = try account("BOB@example.test")
            let nobody = try MailAddress(parsing: "nobody@example.test".utf8)
            #expect(throws: AccountFileEditor.Fault.exists("BOB@example.test")) { try editor.add(bob) }
            #expect(throws: AccountFileEditor.Fault.missing("nobody@example.test")) { try editor.remove(nobody) }
            #expect(throws: AccountFileEditor.Fault.missing("nobody@example.test")) {
                try editor.change(nobody) { $0.quota = 1 }
            }
            #expect(directory.read("users") == Array(text.utf8))
            directory.write("users", "rubbish\n".utf8)
            #expect {
                try editor.add(bob)
            } throws: {
                if case AccountFileEditor.Fault.unreadable(let error) = $0 {
                    error.lines.first?.number == 1
                } else {
                    false
                }
            }
            #expect(String(decoding: directory.read("users"), as: UTF8.self) == "rubbish\n")
        }
    }

    /// What would break the table, or would not be found in it again.
    @Test(arguments: ["\"a:b\"@example.test", "#tag@example.test"])
    func addressesThatNoLineHoldsAreRefused(address: String) async throws {
        try await TemporaryDirectory.with { directory in
            directory.write("users", text.utf8)
            let editor = AccountFileEditor(file: directory.file("users"))
            let account = try account(address)
            #expect(throws: AccountFileEditor.Fault.unwritable(account.address.description)) { try editor.add(account) }
            let bob = try MailAddress(parsing: "bob@example.test".utf8)
            #expect(throws: AccountFileEditor.Fault.unwritable("bob@example.test")) {
                try editor.change(bob) { $0.hash = "a:b\nc" }
            }
            #expect(directory.read("users") == Array(text.utf8))
        }
    }

    @Test func modeStays() async throws {
        try await TemporaryDirectory.with { directory in
            directory.write("users", text.utf8)
            #expect(chmod(directory.file("users"), 0o640) == 0)
            try AccountFileEditor(file: directory.file("users")).add(try account("dave@example.test"))
            var status = stat()
            #expect(stat(directory.file("users"), &status) == 0)
            #expect(status.st_mode & 0o7777 == 0o640)
            #expect(access(directory.file("users.new"), F_OK) != 0)
        }
    }

    @Test func editsAtTheSameTimeLoseNothing() async throws {
        try await TemporaryDirectory.with { directory in
            directory.write("users", text.utf8)
            let file = directory.file("users")
            let pool = NIOThreadPool(numberOfThreads: 4)
            pool.start()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    let account = try account("user\(number)@example.test")
                    group.addTask {
                        try await pool.runIfActive { try AccountFileEditor(file: file).add(account) }
                    }
                }
                try await group.waitForAll()
            }
            try await pool.shutdownGracefully()
            let expected =
                (0..<40).map { "user\($0)@example.test" } + ["carol", "Alice", "bob"].map { "\($0)@example.test" }
            let found = try AccountFileEditor(file: file).accounts().map(\.address.description)
            #expect(Set(found) == Set(expected) && found.count == expected.count)
            #expect(String(decoding: directory.read("users"), as: UTF8.self).hasPrefix(text))
        }
    }
}
