import Files
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

@Suite struct MboxTests {
    let test: TestMail
    let deliverer: MailDeliverer
    let place: MailboxLocation

    init() throws {
        test = try TestMail()
        deliverer = MailDeliverer(test.mail)
        place = try test.location("alice", .mbox)
    }

    private func deliver(_ text: String, key: String, retry: Bool = false, claimed: Int? = nil) throws -> MailboxError?
    {
        deliverer.deliver([try test.delivery(text, to: place, key: key, retry: retry, claimed: claimed)])[0].error
    }

    /// As a process leaves it that is killed while it adds a message: the journal, and a part of the message.
    private func tear(_ part: String, key: String) throws {
        let file = try test.mail.directory.open("alice", [.reading, .writing, .appending])
        try MboxJournal("alice", in: test.mail.directory).begin(file, at: file.status().size, key: key)
        try file.write(Array(part.utf8))
    }

    @Test func fromLinesComeBackAsTheyWere() throws {
        let body = "From me\r\n>From you\r\n>>From all\r\n> From\r\nFromage\r\n\r\nFrom the end"
        #expect(try deliver("Subject: x\r\n\r\n\(body)", key: "k1") == nil)
        #expect(try deliver("Subject: y\r\n\r\nsecond\r\n", key: "k2") == nil)
        let folder = try test.mail.open(place).open(.inbox, readOnly: false)
        #expect(folder.uids == [1, 2])
        #expect(try folder.text(1).hasSuffix("Subject: x\r\n\r\n\(body)\r\n"))
        #expect(try folder.text(2).hasSuffix("Subject: y\r\n\r\nsecond\r\n"))
    }

    @Test(arguments: ["F", "From b\n", "From b\nX-Deliv", "From b\nX-Delivery-Id: k2\nA: b\n\n", "\nFrom b\nX-De"])
    func tornAppendIsTakenBack(_ part: String) throws {
        #expect(try deliver("Subject: 1\r\n\r\none\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try tear(part, key: "k2")
        #expect(try deliver("Subject: 2\r\n\r\ntwo\r\n", key: "k2", retry: true) == nil)
        let after = try test.text("alice")
        #expect(after.hasPrefix(before + "From bob@example.test "))
        #expect(after.hasSuffix("Subject: 2\n\ntwo\n\n"))
        #expect(!test.exists("alice.martlet-append"))
        #expect(try test.mail.open(place).usage().messages == 2)
    }

    @Test func sessionTakesTornAppendBack() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        try tear("From b\nX-Delivery-Id: k2\nSubj", key: "k2")
        #expect(try test.mail.open(place).usage().messages == 1)
        #expect(!test.exists("alice.martlet-append"))
    }

    @Test func othersMailBehindATornAppendStays() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        try tear("From b\nX-Delivery-Id: k2\n\ntorn\n\nFrom c\nSubject: other\n\nother\n\n", key: "k2")
        #expect(try deliver("\r\nwhole\r\n", key: "k2", retry: true) == nil)
        let text = try test.text("alice")
        #expect(text.contains("\nFrom c\nSubject: other\n\nother\n\n"))
        #expect(text.contains("X-Delivery-Id: --\n"))
        #expect(text.contains("X-Delivery-Id: k2\n") && text.hasSuffix("\nwhole\n\n"))
    }

    @Test(arguments: ["0 1 k1\n", "nonsense", ""]) func strangeJournalIsNotBelieved(_ journal: String) throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        try test.write(journal, to: "alice.martlet-append")
        #expect(try deliver("two\r\n", key: "k2") == nil)
        #expect(try test.text("alice").hasPrefix(before))
    }

    @Test func repeatedDeliveryIsFound() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        #expect(try deliver("one\r\n", key: "k1", retry: true) == nil)
        #expect(try test.mail.open(place).usage().messages == 1)
    }

    @Test func shortSourceLeavesTheMboxAsItWas() throws {
        #expect(try deliver("one\r\n", key: "k1") == nil)
        let before = try test.text("alice")
        #expect(try deliver("two\r\n", key: "k2", claimed: 1000) != nil)
        #expect(try test.text("alice") == before)
        #expect(!test.exists("alice.martlet-append"))
    }

    @Test func quotaIsKept() throws {
        let small = try test.location("alice", .mbox, quota: 10)
        #expect(deliverer.deliver([try test.delivery("12345678901\r\n", to: small, key: "k")])[0].error == .overQuota)
    }

    @Test func threadsDeliverAtOnce() async throws {
        let deliveries = try (0..<10).map { try test.delivery("A: \($0)\r\n\r\nx\r\n", to: place, key: "k\($0)") }
        let deliverer = deliverer
        await withTaskGroup(of: Void.self) { group in
            for part in [deliveries.prefix(5), deliveries.suffix(5)] {
                group.addTask {
                    var left = Array(part)
                    while !left.isEmpty {
                        let results = deliverer.deliver(left)
                        #expect(results.allSatisfy { $0.error == nil || $0.error == .busy })
                        left = zip(left, results).filter { $0.1.error == .busy }.map(\.0)
                    }
                }
            }
        }
        let folder = try test.mail.open(place).open(.inbox, readOnly: false)
        #expect(folder.messages.count == 10)
        let texts = try folder.uids.map { try folder.text($0) }
        for index in 0..<10 { #expect(texts.contains { $0.hasSuffix("A: \(index)\r\n\r\nx\r\n") }) }
        #expect(!test.exists("alice.lock"))
    }

    /// Nobody waits on a thread: who called tries again.
    @Test func mboxThatSomebodyHasIsBusy() throws {
        let lock = try MboxLock.acquire("alice", in: test.mail.directory)
        #expect(try deliver("one\r\n", key: "k1") == .busy)
        #expect(throws: MailboxError.busy) { try test.mail.open(place).open(.inbox, readOnly: true) }
        withExtendedLifetime(lock) {}
    }

    @Test func lockOfADeadProgramIsRemoved() throws {
        try test.write("\(getpid())\n", to: "alice.lock")
        #expect(try deliver("one\r\n", key: "k1") == nil)
        #expect(!test.exists("alice.lock"))
        // Of process 1, which is alive.
        try test.write("1\n", to: "alice.lock")
        for _ in 0..<2 { #expect(try deliver("two\r\n", key: "k2") == .busy) }
        #expect(test.exists("alice.lock"))
    }

    @Test func uidsOutliveExpunge() throws {
        for index in 1...3 { #expect(try deliver("Subject: \(index)\r\n\r\nx\r\n", key: "k\(index)") == nil) }
        let store = try test.mail.open(place)
        let folder = try store.open(.inbox, readOnly: false)
        _ = try folder.store(FlagChange(.add, .flagged), to: [3])
        #expect(try folder.expunge([2]) == [2])
        let again = try store.open(.inbox, readOnly: false)
        #expect(again.uids == [1, 3] && again.uidValidity == folder.uidValidity)
        #expect(again.message(3)?.flags == .flagged)
        #expect(try again.text(3).contains("Subject: 3\r\n"))
    }
}
