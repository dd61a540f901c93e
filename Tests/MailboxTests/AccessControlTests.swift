import Testing

@testable import Mailbox

/// RFC 4314, in Dovecot's file.
@Suite struct AccessControlTests {
    private static func rights(_ file: String, of user: String = "bob@example.test") -> String {
        AccessControlList(Array(file.utf8)).rights(of: user).text
    }

    /// The entry that is most about a user counts, then what is taken away.
    @Test(arguments: [
        ("", ""), ("anyone lr\n", "lr"), ("authenticated lrs\nanyone lr\n", "lrs"),
        ("user=bob@example.test l\nanyone lrwst\n", "l"),
        ("user=bob@example.test\nanyone lr\n", ""), ("anyone lrs\n-user=bob@example.test s\n", "lr"),
        ("-anyone r\nanyone lrs\n", "ls"),
        ("user=carol@example.test lr\n", ""), ("owner lrswipkxtea\n", ""),
        ("group=staff lr\ngroup-override=staff lr\n", ""),
        ("# anyone lr\n", ""), ("anyone lrQ\n", ""), ("anyone lr:plugin\n", "lr"),
        ("user=bob@example.test lr\nuser=bob@example.test l\n", "l"),
        ("\"user=bob@example.test\" lr", "lr"), ("anyone", ""), ("\"anyone lr\n", ""), (" lr\n", ""),
        ("anyonelr\n", ""),
    ])
    func whoMayDoWhat(file: String, rights: String) {
        #expect(Self.rights(file) == rights, "\(file)")
    }

    @Test func whatIsNotUnderstoodStays() {
        let file = "# by hand\nanyone lr:plugin\ngroup=staff lrs\n\"user=b c\" l\nuser=x lrY\n"
        var list = AccessControlList(Array(file.utf8))
        #expect(String(decoding: list.octets, as: UTF8.self) == file)
        var outcomes: [Bool] = []
        outcomes.append(list.apply(.add([.seen]), to: AccessIdentifier(.anyone)))
        outcomes.append(list.apply(.replace([.read, .lookUp]), to: AccessIdentifier(.user("new@example.test"))))
        outcomes.append(list.apply(.remove(.all), to: AccessIdentifier(.other("group=staff"))))
        outcomes.append(list.apply(.delete, to: AccessIdentifier(.user("none"))))
        #expect(outcomes == [true, true, true, true])
        #expect(
            String(decoding: list.octets, as: UTF8.self)
                == "# by hand\nanyone lrs:plugin\ngroup=staff \n\"user=b c\" l\nuser=x lrY\nuser=new@example.test lr\n"
        )
    }

    @Test func entriesAreCounted() {
        var list = AccessControlList()
        for number in 0..<AccessControlList.maximumCount {
            let isDone = list.apply(.replace(.lookUp), to: AccessIdentifier(.user("u\(number)")))
            #expect(isDone)
        }
        let isTooMuch = list.apply(.replace(.lookUp), to: AccessIdentifier(.user("one more")))
        #expect(!isTooMuch)
        let isDone = list.apply(.replace(.all), to: AccessIdentifier(.user("u0")))
        #expect(isDone && list.entries.count == AccessControlList.maximumCount)
    }

    @Test(arguments: [
        "", "-", "a b", "\u{1}", "$staff", "!$staff", "#owner", "--anyone", "a\"b", String(repeating: "x", count: 301),
    ])
    func noIdentifiers(text: String) { #expect(AccessIdentifier(imap: Array(text.utf8)) == nil) }

    @Test(arguments: ["anyone", "-anyone", "authenticated", "owner", "bob@example.test", "-bob@example.test"])
    func identifiers(text: String) throws {
        let identifier = try #require(AccessIdentifier(imap: Array(text.utf8)))
        #expect(identifier.imap == text && AccessIdentifier(file: identifier.file) == identifier)
    }

    @Test func rightsAreLetters() {
        #expect(MailboxRights.all.text == "lrswipkxtea" && MailboxRights(letter: UInt8(ascii: "c")) == nil)
        #expect(MailboxRights.all.flags == [.seen, .deleted, .draft, .flagged, .passed, .answered])
        #expect(MailboxRights([.read, .deleteMessages]).flags == .deleted)
    }
}
