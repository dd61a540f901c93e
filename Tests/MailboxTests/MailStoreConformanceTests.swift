import NIOCore
import Testing

@testable import Mailbox

/// What every store promises, tried with each of them, and with two stores of one mailbox at once.
@Suite struct MailStoreConformanceTests {
    private static let maildirs: [MailboxFormat] = [.maildir, .maildirTree]

    /// A mailbox and two stores of it, as two processes might have.
    private final class Mailbox {
        let mail: TestMail
        let location: MailboxLocation
        let one: any MailStore
        let two: any MailStore

        init(_ format: MailboxFormat, quota: Int = 0) throws {
            mail = try TestMail()
            location = try #require(MailboxLocation(path: "example.test/bob", format: format, quota: quota))
            one = try mail.mail.open(location)
            // Another process shares nothing but the disk.
            two = try MailDirectory(mail.path, on: .makeKernel()).open(location)
        }

        /// A name in the store's way of writing it.
        func name(_ parts: String...) throws -> FolderName {
            let delimiter = String(UnicodeScalar(one.delimiter))
            return try #require(FolderName(parts.joined(separator: delimiter), delimiter: one.delimiter))
        }

        func list(_ store: any MailStore) throws -> [String] {
            try store.folders().map { entry in
                entry.name.parts.joined(separator: "|") + (entry.isSelectable ? "" : " -")
                    + (entry.hasChildren ? " +" : "")
            }
        }
    }

    @Test(arguments: maildirs) func foldersAreTheSameForAll(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        try box.one.create(try box.name("A", "B"))
        try box.two.create(try box.name("Sent"))
        #expect(try box.list(box.one) == ["INBOX", "A - +", "A|B", "Sent"])
        #expect(try box.list(box.two) == box.list(box.one))
        #expect(throws: MailboxError.exists) { try box.one.create(try box.name("Sent")) }
        #expect(throws: MailboxError.exists) { try box.one.create(.inbox) }
        try box.two.create(try box.name("A"))
        try box.one.create(try box.name("AB"))
        _ = try box.one.open(try box.name("A", "B"), readOnly: false).add("in A|B\r\n")
        try box.one.rename(try box.name("A"), to: try box.name("C", "D"))
        #expect(try box.list(box.two) == ["INBOX", "AB", "C - +", "C|D +", "C|D|B", "Sent"])
        #expect(try box.two.open(try box.name("C", "D", "B"), readOnly: false).text(1) == "in A|B\r\n")
        #expect(throws: MailboxError.exists) { try box.one.rename(try box.name("AB"), to: try box.name("Sent")) }
        #expect(throws: MailboxError.notFound) { try box.one.rename(try box.name("no"), to: try box.name("yes")) }
        #expect(throws: MailboxError.invalidName) {
            try box.one.rename(try box.name("C", "D"), to: try box.name("C", "D", "E"))
        }
        try box.two.delete(try box.name("C", "D"))
        #expect(try box.list(box.one) == ["INBOX", "AB", "C - +", "C|D - +", "C|D|B", "Sent"])
        #expect(throws: MailboxError.notFound) { try box.one.delete(try box.name("C", "D")) }
        #expect(throws: MailboxError.notFound) { _ = try box.one.open(try box.name("C", "D"), readOnly: false) }
        #expect(throws: MailboxError.invalidName) { try box.one.delete(.inbox) }
        try box.one.delete(try box.name("C", "D", "B"))
        #expect(try box.list(box.two) == ["INBOX", "AB", "Sent"])
        #expect(try box.mail.names("example.test/bob/tmp").isEmpty)
    }

    @Test(arguments: maildirs) func namesBelowTheInboxAreFolders(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        try box.one.create(try box.name("inbox", "X"))
        #expect(throws: MailboxError.exists) { try box.two.create(try box.name("Inbox", "X")) }
        #expect(try box.list(box.two) == ["INBOX +", "INBOX|X"])
        _ = try box.two.open(try box.name("iNBOX", "X"), readOnly: false).add("x\r\n")
        try box.two.rename(try box.name("INBOX", "X"), to: try box.name("Y"))
        #expect(try box.list(box.one) == ["INBOX", "Y"])
        #expect(try box.one.open(try box.name("Y"), readOnly: false).uids == [1])
    }

    @Test(arguments: maildirs) func folderThatIsGoneSaysSo(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        let name = try box.name("A", "B")
        for makesAgain in [false, true] {
            try box.one.create(name)
            let folder = try box.one.open(name, readOnly: false)
            _ = try folder.add("x\r\n")
            let validity = folder.uidValidity
            try box.two.delete(name)
            if makesAgain { try box.two.create(name) }
            #expect(throws: MailboxError.vanished) { _ = try folder.refresh() }
            #expect(throws: (any Error).self) { _ = try folder.add("y\r\n") }
            guard makesAgain else { continue }
            let again = try box.one.open(name, readOnly: false)
            #expect(again.uids.isEmpty)
            #expect(again.uidValidity > validity)
        }
        let folder = try box.one.open(name, readOnly: false)
        try box.two.rename(try box.name("A"), to: try box.name("Z"))
        // It's the same one, under another name.
        let renamed = try box.two.open(try box.name("Z", "B"), readOnly: false)
        #expect(try renamed.add("z\r\n") == 1)
        #expect(try folder.refresh())
        #expect(try folder.add("y\r\n") == 2)
        #expect(renamed.uidValidity == folder.uidValidity)
        #expect(try renamed.refresh())
        #expect(renamed.uids == [1, 2])
    }

    @Test(arguments: maildirs) func messagesAreTheSameForAll(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        let (one, two) = (try box.one.open(.inbox, readOnly: false), try box.two.open(.inbox, readOnly: false))
        #expect(one.uidValidity == two.uidValidity)
        #expect(try one.add("a\r\n", .seen, keywords: ["first"]) == 1)
        #expect(try two.add("b\r\n") == 2)
        #expect(try one.add("c\r\n", [.flagged, .draft], keywords: ["second", "FIRST"]) == 3)
        _ = try one.refresh()
        _ = try two.refresh()
        for folder in [one, two] {
            #expect(folder.uids == [1, 2, 3])
            #expect(folder.uidNext == 4)
            #expect(folder.keywords == ["first", "second"])
            #expect(folder.messages.map(\.flags) == [.seen, [], [.flagged, .draft]])
            #expect(folder.messages.map(\.keywords.indices) == [[0], [], [0, 1]])
            #expect(try folder.uids.map { try folder.text($0) } == ["a\r\n", "b\r\n", "c\r\n"])
            #expect(
                try folder.uids.map { try folder.internalDate(of: $0) } == Array(repeating: 1_000_000_000, count: 3)
            )
            #expect(try folder.uids.map { try folder.octets(of: $0) } == [3, 3, 3])
        }
        // Each is recent in one of them.
        #expect(zip(one.messages, two.messages).allSatisfy { !($0.isRecent && $1.isRecent) })
        #expect(try two.store(FlagChange(.add, .answered), to: [1, 2, 9]).map(\.uid) == [1, 2])
        #expect(try one.store(FlagChange(.remove, .seen, keywords: ["first"]), to: [1]).first?.flags == .answered)
        #expect(try one.refresh())
        #expect(one.messages.map(\.flags) == [.answered, .answered, [.flagged, .draft]])
        #expect(try two.expunge([2, 77]) == [2, 77])
        #expect(try one.refresh())
        #expect(one.uids == [1, 3])
        #expect(throws: MailboxError.notFound) { _ = try one.open(2) }
        #expect(throws: MailboxError.notFound) { _ = try one.internalDate(of: 2) }
        #expect(try one.add("d\r\n") == 4)
    }

    @Test(arguments: maildirs) func copiesAreAllThereOrNone(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        try box.one.create(try box.name("A"))
        let inbox = try box.one.open(.inbox, readOnly: false)
        for number in 1...5 { _ = try inbox.add("\(number)\r\n", .flagged, keywords: ["k\(number)"]) }
        let target = try box.one.open(try box.name("A"), readOnly: true)
        let pairs = try inbox.copy([5, 2], to: target)
        #expect(pairs.map(\.source) == [5, 2])
        #expect(try pairs.map { try target.text($0.target) } == ["5\r\n", "2\r\n"])
        #expect(throws: MailboxError.notFound) { _ = try inbox.copy([1, 99], to: target) }
        let again = try box.one.open(try box.name("A"), readOnly: false)
        #expect(again.messages.allSatisfy { $0.isRecent })
        let other = try box.two.open(try box.name("A"), readOnly: false)
        #expect(other.uids == pairs.map(\.target))
        #expect(other.messages.allSatisfy { $0.flags == .flagged && !$0.isRecent })
        #expect(other.messages.map { $0.keywords.indices.map { other.keywords[$0] } } == [["k5"], ["k2"]])
        // One that another process has marked meanwhile is found where it is now.
        let theirs = try box.two.open(.inbox, readOnly: false)
        _ = try theirs.store(FlagChange(.add, .seen), to: [3])
        #expect(try inbox.copy([3], to: inbox).map(\.source) == [3])
        #expect(inbox.uids == [1, 2, 3, 4, 5, 6])
        #expect(inbox.message(6)?.flags == [.flagged, .seen])
    }

    @Test(arguments: maildirs) func renamedInboxIsEmptyAndStays(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        try box.one.create(try box.name("INBOX", "sub"))
        _ = try box.one.open(.inbox, readOnly: false).add("x\r\n", .seen)
        try box.two.rename(.inbox, to: try box.name("Old"))
        #expect(try box.one.open(.inbox, readOnly: false).uids.isEmpty)
        #expect(try box.one.open(try box.name("Old"), readOnly: false).messages.map(\.flags) == [.seen])
        #expect(try box.list(box.one) == ["INBOX +", "INBOX|sub", "Old"])
    }

    @Test(arguments: maildirs) func subscriptionsAreOfNames(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        for name in [try box.name("A"), try box.name("B", "C"), try box.name("A"), try box.name("inbox", "X")] {
            try box.one.subscribe(name)
        }
        try box.two.unsubscribe(try box.name("A"))
        try box.two.unsubscribe(try box.name("never"))
        let names = try box.one.subscriptions()
        #expect(names.map { $0.parts.joined(separator: "|") } == ["B|C", "INBOX|X"])
    }

    @Test(arguments: maildirs) func usageIsOfAllFolders(_ format: MailboxFormat) throws {
        let box = try Mailbox(format, quota: 100)
        try box.one.create(try box.name("A", "B"))
        _ = try box.one.open(.inbox, readOnly: false).add("12345678\r\n")
        let folder = try box.two.open(try box.name("A", "B"), readOnly: false)
        _ = try folder.add("123\r\n")
        #expect(try box.one.usage() == MailboxUsage(octets: 15, messages: 2))
        try box.mail.mail.directory.remove("example.test/bob/maildirsize")
        #expect(try box.two.usage() == MailboxUsage(octets: 15, messages: 2))
        #expect(throws: MailboxError.overQuota) { _ = try folder.add(String(repeating: "x", count: 90)) }
        try box.one.delete(try box.name("A", "B"))
        #expect(try box.one.usage() == MailboxUsage(octets: 10, messages: 1))
    }

    @Test(arguments: [MailboxFormat.maildir, .maildirTree, .mbox])
    func deliveriesArrive(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        let deliverer = MailDeliverer(box.mail.mail)
        let inbox = try box.one.open(.inbox, readOnly: false)
        if format != .mbox { try box.one.create(try box.name("lists", "swift")) }
        let folder = format == .mbox ? nil : try box.name("lists", "swift")
        let deliveries = [nil, folder].enumerated().map { number, folder in
            Delivery(
                to: box.location,
                folder: folder,
                key: "k\(number).r",
                arrived: 1_795_447_200,
                sender: "bob@example.test",
                prefix: Array("A: b\n".utf8),
                source: TestSource(text: "\r\nx\r\n", octets: 5),
                mayBeKnown: false
            )
        }
        #expect(deliverer.deliver(deliveries).allSatisfy { $0.error == nil })
        #expect(try inbox.refresh())
        #expect(inbox.messages.allSatisfy { $0.isRecent })
        #expect(inbox.uids.count == (format == .mbox ? 2 : 1))
        #expect(try inbox.text(1).hasSuffix("A: b\r\n\r\nx\r\n"))
        if let folder { #expect(try box.two.open(folder, readOnly: false).text(1) == "A: b\r\n\r\nx\r\n") }
        let later = try box.two.open(.inbox, readOnly: false)
        if format != .mbox { #expect(later.messages.allSatisfy { !$0.isRecent }) }
        _ = try inbox.store(FlagChange(.add, .seen), to: [1])
        #expect(try box.two.open(.inbox, readOnly: true).message(1)?.flags == .seen)
        #expect(try inbox.expunge([1]) == [1])
        let last = try box.two.open(.inbox, readOnly: true)
        #expect(!last.uids.contains(1))
    }

    @Test(arguments: [MailboxFormat.maildir, .maildirTree, .mbox])
    func onePOP3SessionAtATime(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        let lock = try box.one.lockSession()
        #expect(throws: MailboxError.locked) { _ = try box.two.lockSession() }
        withExtendedLifetime(lock) {}
    }

    @Test(arguments: [
        "cur", "a/cur/b", "..", "a/.", "dovecot-x", "subscriptions", "martlet-y", "maildirsize", "a//b", "/a",
    ])
    func namesThatCannotBeDirectories(_ text: String) {
        #expect(FolderName(text, delimiter: UInt8(ascii: "/")) == nil)
    }
}
