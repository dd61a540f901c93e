import SMTP
import Testing

@testable import Authority

@Suite struct TableEditorTests {
    private func edited(
        _ name: String,
        _ text: String,
        _ edit: (String) throws -> Void
    ) async throws -> String {
        try await TemporaryDirectory.with { directory in
            directory.write(name, text.utf8)
            try edit(directory.file(name))
            return String(decoding: directory.read(name), as: UTF8.self)
        }
    }

    // MARK: Aliases

    private static let aliases = """
        # lists
        Team: alice,
        # the new ones
          bob, \tcarol@example.net
        \t
        @example.test: alice
        postmaster: alice # not a comment

        """.replacing(" # not a comment", with: "")

    @Test func aliasesGrow() async throws {
        let grown = try await edited("aliases", Self.aliases) { (file) throws in
            let entry = try AliasFileEditor(file: file).add(["dave", "eve@example.org"], to: "TEAM")
            #expect(entry.targets == ["alice", "bob", "carol@example.net", "dave", "eve@example.org"])
        }
        #expect(grown == Self.aliases.replacing("carol@example.net", with: "carol@example.net, dave, eve@example.org"))
        let more = try await edited("aliases", Self.aliases) { (file) throws in
            _ = try AliasFileEditor(file: file).add(["alice"], to: "sales@example.test")
        }
        #expect(more == Self.aliases + "sales@example.test: alice\n")
    }

    @Test func aliasesShrink() async throws {
        let shrunk = try await edited("aliases", Self.aliases) { (file) throws in
            let entry = try AliasFileEditor(file: file).remove(["bob"], from: "team")
            #expect(entry?.targets == ["alice", "carol@example.net"])
        }
        let first = Self.aliases.replacing("Team: alice,\n", with: "team: alice, carol@example.net\n")
        #expect(shrunk == first.replacing("  bob, \tcarol@example.net\n", with: ""))
        for (name, targets, line) in [
            ("@Example.test", [], "@example.test: alice\n"), ("postmaster", ["alice"], "postmaster: alice\n"),
        ] as [(String, [String], String)] {
            let text = try await edited("aliases", Self.aliases) { (file) throws in
                let left = try AliasFileEditor(file: file).remove(targets, from: name)
                #expect(left == nil)
            }
            #expect(text == Self.aliases.replacing(line, with: ""))
        }
    }

    @Test func aliasesThatCannotBeAreRefused() async throws {
        let text = try await edited("aliases", Self.aliases) { (file) throws in
            let editor = AliasFileEditor(file: file)
            for (name, targets) in [
                ("team", ["bob"]), ("a b", ["bob"]), ("x", ["|cat"]), ("x", ["/file"]), ("x", ["a b"]), ("@", ["bob"]),
                ("x\ny: z", ["bob"]), ("x", ["bob\ny: z"]),
            ] {
                #expect(throws: AliasFileEditor.Fault.self) { try editor.add(targets, to: name) }
            }
            #expect(throws: AliasFileEditor.Fault.self) { try editor.remove(["dave"], from: "team") }
            #expect(throws: AliasFileEditor.Fault.self) { try editor.remove([], from: "nobody") }
            #expect(throws: AliasFileEditor.Fault.self) { try editor.alias("nobody") }
            #expect(try editor.alias("TEAM").line == 2)
            #expect(try editor.aliases().map(\.name) == ["team", "@example.test", "postmaster"])
        }
        #expect(text == Self.aliases)
    }

    // MARK: Domains

    @Test(arguments: [
        ("domains = []", "domains = [\"b.test\"]"), ("domains=[ ]", "domains=[\"b.test\" ]"),
        ("domains = [\"a.test\"] # ours", "domains = [\"a.test\", \"b.test\"] # ours"),
        ("domains = ['a.test', ]", "domains = ['a.test', \"b.test\", ]"),
        (
            "domains = [\n    # the first\n    \"a.test\"\n    # more\n]",
            "domains = [\n    # the first\n    \"a.test\",\n    \"b.test\"\n    # more\n]"
        ),
        (
            "domains = [\n    \"a.test\", # ]\n    \"c.test\",\n]",
            "domains = [\n    \"a.test\", # ]\n    \"c.test\",\n    \"b.test\",\n]"
        ),
        ("# domains = [\"x\"]", "domains = [\"b.test\"]\n# domains = [\"x\"]"),
    ])
    func domainsComeAndGo(before: String, after: String) async throws {
        let (begin, end) =
            before.first == "#"
            ? ("", "\nhostname = \"mail.a.test\"\n[smtpd]\n")
            : (
                "# all\nhostname = \"mail.a.test\"\n", "\n\n[smtpd]\n# domains = [\"no\"]\n"
            )
        let text = try await edited("martlet.toml", begin + before + end) { (file) throws in
            try DomainListEditor(file: file).add("B.test")
            #expect(throws: DomainListEditor.Fault.exists("b.test")) { try DomainListEditor(file: file).add("b.test") }
        }
        #expect(text == begin + after + end)
        let again = try await edited("martlet.toml", text) { try DomainListEditor(file: $0).remove("b.test") }
        // What is left may have another comma, and no other line.
        let bare: (String) -> String = { String($0.filter { ![",", " "].contains($0) }) }
        #expect(bare(again) == bare(begin + (before.first == "#" ? "domains = []\n" : "") + before + end))
    }

    @Test func domainsThatCannotBeAreRefused() async throws {
        let before = "hostname = \"mail.a.test\"\ndomains = [\"a.test\", \"b\\u002etest\"]\n"
        let text = try await edited("martlet.toml", before) { (file) throws in
            let editor = DomainListEditor(file: file)
            for domain in ["a b", "x\"]", "", "a..b"] {
                #expect(throws: DomainListEditor.Fault.self) { try editor.add(domain) }
            }
            #expect(throws: DomainListEditor.Fault.missing("c.test")) { try editor.remove("c.test") }
            #expect(throws: DomainListEditor.Fault.unknownForm) { try editor.remove("b.test") }
        }
        #expect(text == before)
    }

    // MARK: App passwords

    @Test func appPasswordsComeAndGo() async throws {
        try await TemporaryDirectory.with { directory in
            directory.write("users", "alice@example.test:!\n".utf8)
            let editor = AppPasswordEditor(file: directory.file("app-passwords"), users: directory.file("users"))
            let alice = try MailAddress(parsing: "alice@example.test".utf8)
            let bob = try MailAddress(parsing: "bob@example.test".utf8)
            func password(_ address: MailAddress, _ name: String) -> AppPassword {
                let hash = AppPassword.hash(of: "secret")
                return AppPassword(address: address, name: name, services: [], hash: hash, verifier: nil)
            }
            #expect(try editor.passwords(of: alice).isEmpty)
            try editor.removeAll(of: alice)
            try editor.add(password(alice, "phone"))
            try editor.add(password(alice, "laptop"))
            try editor.add(password(bob, "phone"))
            #expect(throws: AppPasswordEditor.Fault.exists("phone")) { try editor.add(password(alice, "phone")) }
            #expect(throws: AppPasswordEditor.Fault.self) { try editor.add(password(alice, "a:b")) }
            try editor.remove("phone", of: alice)
            #expect(throws: AppPasswordEditor.Fault.missing("phone")) { try editor.remove("phone", of: alice) }
            #expect(try editor.passwords(of: alice).map(\.name) == ["laptop"])
            try editor.removeAll(of: alice)
            #expect(try editor.passwords(of: alice).isEmpty && editor.passwords(of: bob).count == 1)
            for number in 1..<AppPasswordTable.maximumPerAccount { try editor.add(password(bob, "\(number)")) }
            #expect(throws: AppPasswordEditor.Fault.self) { try editor.add(password(bob, "one more")) }
        }
    }

    @Test func lockingKeepsThePassword() throws {
        let address = try MailAddress(parsing: "alice@example.test".utf8)
        var account = Account(address: address, hash: "$6$x$y", mailbox: "a", format: .maildir, quota: 0)
        account.lock(true)
        #expect(account.hash == "!$6$x$y" && account.isLocked)
        account.lock(true)
        #expect(account.hash == "!$6$x$y")
        account.lock(false)
        #expect(account.hash == "$6$x$y" && !account.isLocked)
    }
}
