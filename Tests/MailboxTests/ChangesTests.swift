import Files
import NIOCore
import Testing

@testable import Mailbox

#if canImport(Glibc)
import Glibc
#endif

/// Modification sequences: whoever knows a folder as it was at any moment and hears what has changed since knows it as it is.
@Suite struct ChangesTests {
    private static let formats: [MailboxFormat] = [.maildir, .maildirTree]

    /// A mailbox, and processes that come and go.
    private final class Mailbox {
        let mail: TestMail
        let location: MailboxLocation

        init(_ format: MailboxFormat = .maildir) throws {
            mail = try TestMail()
            location = try #require(MailboxLocation(path: "example.test/bob", format: format))
        }

        var log: String {
            location.format == .mbox ? "example.test/bob.martlet-changes" : "example.test/bob/martlet-changes"
        }

        /// Another process shares nothing but the disk.
        func process() throws -> any MailStore { try MailDirectory(mail.path, on: .makeKernel()).open(location) }

        func open(_ store: (any MailStore)? = nil) throws -> any MailFolder {
            try (store ?? process()).open(.inbox, readOnly: false, tracksChanges: true)
        }
    }

    /// A folder as a client knows it.
    private struct Memory: Equatable {
        var highest: UInt64
        var messages: [UInt32: String]

        init(_ folder: any MailFolder) throws {
            highest = try #require(folder.changes?.highest)
            messages = [:]
            for message in folder.messages { messages[message.uid] = Self.text(message, folder) }
        }

        static func text(_ message: StoredMessage, _ folder: any MailFolder) -> String {
            message.flags.letterText + " " + message.keywords.indices.map { folder.keywords[$0] }.joined(separator: " ")
        }

        /// Hears what has changed since.
        mutating func hear(_ folder: any MailFolder) throws {
            let changes = try #require(folder.changes)
            for range in changes.gone(since: highest, among: [1...UInt32.max], below: folder.uidNext) {
                for uid in range { messages[uid] = nil }
            }
            for uid in changes.changed(since: highest) {
                messages[uid] = try Self.text(#require(folder.message(uid)), folder)
            }
            highest = changes.highest
        }
    }

    @Test(arguments: formats) func changesHaveNumbers(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        let store = try box.process()
        let folder = try box.open(store)
        for text in ["a\r\n", "b\r\n", "c\r\n"] { _ = try folder.add(text) }
        _ = try folder.refresh()
        let first = try #require(folder.changes)
        #expect(first.changed(since: 0) == [1, 2, 3])
        #expect(first.changed(since: first.highest) == [])
        _ = try folder.store(FlagChange(.add, .seen), to: [2])
        _ = try folder.refresh()
        let second = try #require(folder.changes)
        #expect(second.highest > first.highest)
        #expect(second.changed(since: first.highest) == [2])
        #expect(second.sequence(of: 1) == first.sequence(of: 1))
        // What changes nothing changes no number.
        _ = try folder.store(FlagChange(.add, .seen), to: [2])
        _ = try folder.refresh()
        #expect(folder.changes == second)
        _ = try folder.expunge([1, 3])
        _ = try folder.refresh()
        let third = try #require(folder.changes)
        #expect(third.gone(since: second.highest, among: [1...9], below: 4) == [1...1, 3...3])
        #expect(third.gone(since: second.highest, among: [2...9], below: 4) == [3...3])
        #expect(third.gone(since: third.highest, among: [1...9], below: 4) == [])
        // Another process knows the same.
        #expect(try box.open().changes == third)
        // And a session that doesn't ask has none.
        #expect(try store.open(.inbox, readOnly: false).changes == nil)
    }

    @Test func changesOfOtherProgramsAreSeen() throws {
        let box = try Mailbox()
        let folder = try box.open()
        for text in ["a\r\n", "b\r\n"] { _ = try folder.add(text, .seen) }
        _ = try folder.refresh()
        let before = try #require(folder.changes)
        // Dovecot has renamed one file and removed the other while nobody looked.
        let directory = "\(box.mail.path)/example.test/bob/cur"
        // By what is in them: names made in the same second need not be in the order of their messages.
        let cur = "example.test/bob/cur"
        let files = try box.mail.names(cur).map { name in
            (name: name, text: try box.mail.mail.directory.contents("\(cur)/\(name)", maximum: 9) ?? [])
        }
        let names = files.sorted { $0.text.lexicographicallyPrecedes($1.text) }.map(\.name)
        #expect(rename("\(directory)/\(names[0])", "\(directory)/\(names[0])".dropLast() + "FS") == 0)
        #expect(unlink("\(directory)/\(names[1])") == 0)
        let later = try box.open()
        let after = try #require(later.changes)
        #expect(after.changed(since: before.highest) == [1])
        #expect(after.gone(since: before.highest, among: [1...9], below: 3) == [2...2])
    }

    @Test(arguments: formats + [.mbox]) func nothingIsChangedWhereItHasChanged(_ format: MailboxFormat) throws {
        let box = try Mailbox(format)
        if format == .mbox {
            try box.mail.mail.directory.makeDirectories("example.test")
            try box.mail.write("From a\n\na\n\nFrom b\n\nb\n\n", to: "example.test/bob")
        }
        let (one, two) = (try box.open(), try box.open())
        if format != .mbox { for text in ["a\r\n", "b\r\n"] { _ = try one.add(text) } }
        _ = try one.refresh()
        _ = try two.refresh()
        let known = try #require(two.changes?.highest)
        #expect(try one.store(FlagChange(.add, .flagged), to: [1], unchangedSince: known).conflicts == [])
        let made = try two.store(FlagChange(.add, .answered), to: [1, 2], unchangedSince: known)
        #expect(made.conflicts == [1])
        #expect(made.messages.map(\.uid) == [2])
        _ = try one.refresh()
        #expect(one.messages.map(\.flags) == [.flagged, .answered])
        #expect(try one.store(FlagChange(.remove, .flagged), to: [1, 2], unchangedSince: 0).conflicts == [1, 2])
    }

    @Test func lostFileCountsAllAsChanged() throws {
        let box = try Mailbox()
        let folder = try box.open()
        for text in ["a\r\n", "b\r\n", "c\r\n"] { _ = try folder.add(text) }
        _ = try folder.refresh()
        _ = try folder.expunge([2])
        _ = try folder.refresh()
        let before = try #require(folder.changes)
        for damage in ["", "MLTCHG1\n", "nonsense", String(repeating: "x", count: 1000)] {
            if damage.isEmpty {
                try box.mail.mail.directory.remove(box.log)
            } else {
                try box.mail.write(damage, to: box.log)
            }
            let other = try box.open()
            let after = try #require(other.changes)
            #expect(after.highest > before.highest)
            #expect(after.changed(since: before.highest) == [1, 3])
            #expect(!after.knowsGone(since: before.highest))
            #expect(after.gone(since: before.highest, among: [1...3], below: 4) == [2...2])
        }
        // Who was there all the time never goes back.
        _ = try folder.refresh()
        let now = try #require(folder.changes)
        #expect(now.highest > before.highest)
        #expect(try box.open().changes == now)
    }

    @Test func anotherRunOfTheMachineCountsAllAsChanged() throws {
        let box = try Mailbox()
        func open(_ boot: String) throws -> any MailFolder {
            let disk = MailboxDisk(
                KernelFileSystem(),
                process: 1,
                microseconds: { 1_700_000_000_000_000 },
                uptime: { 0 },
                boot: Array(boot.utf8)
            )
            return try MailDirectory(box.mail.path, on: disk).open(box.location)
                .open(.inbox, readOnly: false, tracksChanges: true)
        }
        let first = try open("one")
        _ = try first.add("a\r\n")
        _ = try first.refresh()
        let before = try #require(first.changes)
        #expect(try open("one").changes == before)
        let after = try #require(try open("two").changes)
        #expect(after.highest > before.highest)
        #expect(after.changed(since: before.highest) == [1])
    }

    /// A write that was interrupted was told to nobody.
    @Test func halfARecordIsNothing() throws {
        let box = try Mailbox()
        let folder = try box.open()
        for text in ["a\r\n", "b\r\n"] { _ = try folder.add(text) }
        _ = try folder.refresh()
        let before = try #require(folder.changes)
        _ = try folder.store(FlagChange(.add, .seen), to: [1])
        _ = try folder.refresh()
        let path = "\(box.mail.path)/\(box.log)"
        var status = stat()
        #expect(stat(path, &status) == 0 && truncate(path, status.st_size - 5) == 0)
        let later = try #require(try box.open().changes)
        #expect(later.changed(since: before.highest) == [1])
        #expect(try box.open().changes == later)
    }

    /// Whatever the file says, what is there is told, and the numbers rise from then on.
    @Test func anyOctetsAreTaken() throws {
        let box = try Mailbox()
        let folder = try box.open()
        for text in ["a\r\n", "b\r\n", "c\r\n"] { _ = try folder.add(text, keywords: ["$One"]) }
        _ = try folder.refresh()
        _ = try folder.expunge([2])
        _ = try folder.refresh()
        let path = "\(box.mail.path)/\(box.log)"
        let octets = try #require(try box.mail.mail.directory.contents(box.log, maximum: 1 << 20))
        var random = SplitMix64(seed: 1)
        for round in 0..<300 {
            var mutated = octets
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                let place = Int.random(in: mutated.indices, using: &random)
                mutated[place] =
                    [0, 0xFF, UInt8.random(in: 0...255, using: &random)].randomElement(using: &random) ?? 0
            }
            if Bool.random(using: &random) { mutated.removeLast(Int.random(in: 0..<30, using: &random)) }
            try OpenFile(path, [.writing, .creating, .truncating]).write(mutated)
            let other = try box.open()
            #expect(other.uids == [1, 3])
            let before = try #require(other.changes)
            #expect([1, 3].allSatisfy { before.sequence(of: $0).map { $0 <= before.highest } ?? false }, "\(round)")
            _ = try other.store(FlagChange(round % 2 == 0 ? .add : .remove, .seen), to: [3])
            _ = try other.refresh()
            let after = try #require(other.changes)
            #expect(after.changed(since: before.highest) == [3], "\(round)")
        }
    }

    /// Numbers behind which there are no more.
    @Test(arguments: [UInt64.max, 1 << 63, 1 << 62, (1 << 62) - 1] as [UInt64]) func numbersDoNotEnd(_ number: UInt64)
        throws
    {
        let box = try Mailbox()
        let folder = try box.open()
        _ = try folder.add("a\r\n")
        _ = try folder.refresh()
        var octets = try #require(try box.mail.mail.directory.contents(box.log, maximum: 1 << 20))
        // The floor, and the highest.
        for place in 0..<16 { octets[48 + place] = UInt8(truncatingIfNeeded: number >> UInt64(place % 8 * 8)) }
        try OpenFile("\(box.mail.path)/\(box.log)", [.writing, .creating, .truncating]).write(octets)
        _ = try folder.refresh()
        let other = try box.open()
        for (opened, mode) in [(folder, FlagChange.Mode.add), (other, FlagChange.Mode.remove)] {
            let before = try #require(opened.changes)
            #expect(opened.uids == [1])
            _ = try opened.store(FlagChange(mode, .seen), to: [1])
            _ = try opened.refresh()
            let after = try #require(opened.changes)
            #expect(after.highest > before.highest)
            #expect(after.changed(since: before.highest) == [1])
        }
    }

    @Test func removalsThatWereNotToldAreNotCounted() {
        var changes = FolderChanges(highest: 10, floor: 4)
        changes.gone = [
            FolderChanges.Gone(uids: 3...5, sequence: 6), FolderChanges.Gone(uids: 8...8, sequence: 9),
        ]
        #expect(changes.highest(without: []) == 10)
        #expect(changes.highest(without: [8]) == 8)
        #expect(changes.highest(without: [4, 8]) == 5)
        // One that went before all that is known: the client asks about all.
        #expect(changes.highest(without: [1, 8]) == 3)
        #expect(FolderChanges(highest: 0, floor: 0).highest(without: [1]) == 1)
    }

    @Test func soManyRemovalsAreKept() {
        var changes = FolderChanges(highest: 5001, floor: 1)
        let uids: ClosedRange<UInt32> = 1...5000
        changes.gone = uids.map { FolderChanges.Gone(uids: $0...$0, sequence: UInt64($0) + 1) }
        changes.trimGone()
        #expect(changes.gone.count == 4096)
        #expect(changes.knowsGone(since: 905))
        #expect(!changes.knowsGone(since: 904))
    }

    /// The file's own times change with its flags.
    @Test func dateOfSavingIsThatOfTheName() throws {
        let box = try Mailbox()
        let folder = try box.open()
        try box.mail.write("a\n", to: "example.test/bob/cur/1000000000.M1P1.test:2,")
        try box.mail.write("b\n", to: "example.test/bob/cur/nothing.test:2,")
        _ = try folder.refresh()
        _ = try folder.store(FlagChange(.add, .seen), to: folder.uids)
        _ = try folder.refresh()
        let dates = try folder.uids.map { try folder.saveDate(of: $0) }
        #expect(Set(dates) == [1_000_000_000, nil])
    }

    @Test func keywordsWithOtherNamesHaveChanged() throws {
        let box = try Mailbox()
        let folder = try box.open()
        _ = try folder.add("a\r\n", keywords: ["$One"])
        _ = try folder.add("b\r\n")
        _ = try folder.refresh()
        let before = try #require(folder.changes)
        try box.mail.write("0 $Other\n", to: "example.test/bob/dovecot-keywords")
        let after = try #require(try box.open().changes)
        #expect(after.changed(since: before.highest) == [1])
    }

    @Test func fileIsWrittenAnewWhenMostOfItIsOld() throws {
        let box = try Mailbox()
        let folder = try box.open()
        _ = try folder.add("a\r\n")
        _ = try folder.refresh()
        let first = try #require(folder.changes)
        for number in 0..<9000 {
            _ = try folder.store(FlagChange(number % 2 == 0 ? .add : .remove, .seen), to: [1])
            _ = try folder.refresh()
        }
        let path = "\(box.mail.path)/\(box.log)"
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_size < 9000 * 24)
        #expect(try #require(folder.changes).highest >= first.highest + 9000)
        #expect(try box.open().changes == folder.changes)
    }

    /// Random changes by several processes, which come and go, of which some don't ask for numbers; the file is lost now and then.
    @Test(arguments: 1...6) func whoHearsOfChangesKnowsAll(seed: UInt64) throws {
        let format = (Self.formats + [.mbox])[Int(seed % 3)]
        let box = try Mailbox(format)
        if format == .mbox { try box.mail.mail.directory.makeDirectories("example.test") }
        var random = SplitMix64(seed: seed)
        var processes = [try box.process(), try box.process()]
        var memories: [Memory] = []
        var shown: UInt64 = 0
        for step in 0..<120 {
            let number = Int.random(in: 0..<2, using: &random)
            if Int.random(in: 0..<12, using: &random) == 0 { processes[number] = try box.process() }
            if Int.random(in: 0..<40, using: &random) == 0 { try? box.mail.mail.directory.remove(box.log) }
            let tracks = Int.random(in: 0..<3, using: &random) > 0
            let folder = try processes[number].open(.inbox, readOnly: false, tracksChanges: tracks)
            if format == .mbox {
                try Self.act(onMbox: folder, box, step, &random)
            } else {
                try Self.act(on: folder, &random)
            }
            _ = try folder.refresh()
            guard tracks else { continue }
            let now = try Memory(folder)
            #expect(now.highest >= shown, "seed \(seed), step \(step)")
            shown = max(shown, now.highest)
            for memory in memories.shuffled(using: &random).prefix(3) {
                var memory = memory
                try memory.hear(folder)
                // Not all of it in the message.
                #expect((memory == now) == true, "seed \(seed), step \(step)")
            }
            memories.append(now)
        }
    }

    private static func act(
        onMbox folder: any MailFolder,
        _ box: Mailbox,
        _ step: Int,
        _ random: inout SplitMix64
    ) throws {
        let some = folder.uids.filter { _ in Int.random(in: 0..<4, using: &random) == 0 }
        let mode = [FlagChange.Mode.add, .remove, .replace].randomElement(using: &random) ?? .add
        switch Int.random(in: 0..<5, using: &random) {
        case 0, 1:
            // As another program delivers.
            let file = try OpenFile("\(box.mail.path)/example.test/bob", [.reading, .writing, .creating])
            try file.write(Array("From x\nSubject: \(step)\n\nx\n\n".utf8), at: try file.status().size)
        case 2: _ = try folder.expunge(Array(some.prefix(2)))
        default: _ = try folder.store(FlagChange(mode, Bool.random(using: &random) ? .seen : .flagged), to: some)
        }
    }

    private static func act(on folder: any MailFolder, _ random: inout SplitMix64) throws {
        let some = folder.uids.filter { _ in Int.random(in: 0..<4, using: &random) == 0 }
        let flags: MessageFlags = Bool.random(using: &random) ? .seen : .flagged
        let keywords = Bool.random(using: &random) ? ["$Work"] : []
        let mode = [FlagChange.Mode.add, .remove, .replace].randomElement(using: &random) ?? .add
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1: _ = try folder.add("x\r\n", flags, keywords: keywords)
        case 2: _ = try folder.expunge(Array(some.prefix(2)))
        case 3: _ = try folder.copy(Array(some.prefix(2)), to: folder)
        default: _ = try folder.store(FlagChange(mode, flags, keywords: keywords), to: some)
        }
    }
}
