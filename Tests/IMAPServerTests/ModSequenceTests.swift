import Files
import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

/// CONDSTORE and QRESYNC (RFC 7162).
@Suite struct ModSequenceTests {
    private static let message = "Subject: x\r\n\r\nx\r\n"

    /// A client of a mailbox with so many messages, which it has selected.
    private static func client(
        _ system: TestSystem,
        messages: Int = 3,
        select: String = "SELECT INBOX",
        enable: String? = nil
    ) async throws -> (client: TestClient, highest: Int) {
        let client = try await system.client()
        for _ in 0..<messages { try await client.append(message) }
        if let enable { _ = try await client.ok("ENABLE \(enable)") }
        let lines = try await client.ok(select)
        return (client, try #require(highest(lines)))
    }

    private static func highest(_ lines: [String]) -> Int? {
        lines.compactMap { number(behind: "[HIGHESTMODSEQ ", in: $0) }.last
    }

    /// The sequence that a command gives.
    private static func sequence(_ client: TestClient, _ command: String) async throws -> Int {
        try #require(number(behind: "MODSEQ (", in: try await client.ok(command).last ?? ""), "\(command)")
    }

    fileprivate static func number(behind word: String, in line: String) -> Int? {
        guard let start = line.firstRange(of: word) else { return nil }
        return Int(line[start.upperBound...].prefix { $0.isNumber })
    }

    @Test func clientsThatDoNotAskHearNothingOfIt() async throws {
        try await TestSystem.run { system in
            let (client, _) = try await Self.client(system)
            let (other, _) = try await Self.client(system, messages: 0)
            _ = try await client.ok("STORE 1 +FLAGS (\\Seen)")
            _ = try await other.ok("STORE 2 +FLAGS (\\Seen)")
            #expect(try await client.ok("NOOP") == ["* 2 FETCH (FLAGS (\\Seen \\Recent))"])
            #expect(try await client.ok("STORE 1 +FLAGS.SILENT (\\Flagged)") == [])
        }
    }

    @Test func sequencesRiseWithChanges() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, select: "SELECT INBOX (CONDSTORE)")
            let first = try await client.ok("FETCH 1:3 (MODSEQ)")
            #expect(first == (1...3).map { "* \($0) FETCH (MODSEQ (\(highest)))" })
            let stored = try await client.ok("STORE 2 +FLAGS (\\Seen)")
            let two = try #require(Self.number(behind: "MODSEQ (", in: stored.last ?? ""))
            #expect(two > highest)
            #expect(stored == ["* 2 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (\(two)))"])
            // A silent one has its sequence told.
            let silent = try await client.ok("STORE 3 +FLAGS.SILENT (\\Seen)")
            let three = try #require(Self.number(behind: "MODSEQ (", in: silent.last ?? ""))
            #expect(three > two)
            #expect(silent == ["* 3 FETCH (MODSEQ (\(three)))"])
            #expect(
                try await client.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE \(two))")
                    == ["* 3 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (\(three)))"]
            )
            #expect(try await client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE \(three))") == [])
            #expect(try await client.ok("STATUS INBOX (HIGHESTMODSEQ)") == ["* STATUS INBOX (HIGHESTMODSEQ \(three))"])
            // What sets \Seen by itself tells it too.
            let body = try await client.ok("FETCH 1 BODY[TEXT]").last ?? ""
            #expect(body.contains("FLAGS (\\Seen \\Recent) MODSEQ ("), "\(body)")
            let one = try #require(Self.number(behind: "MODSEQ (", in: body))
            #expect(one > three)
            // Others hear it where they have asked for it.
            let (other, _) = try await Self.client(system, messages: 0, enable: "CONDSTORE")
            _ = try await client.ok("STORE 1 -FLAGS (\\Seen)")
            let told = try await other.ok("NOOP")
            let last = try #require(Self.number(behind: "MODSEQ (", in: told.last ?? ""))
            #expect(last > one)
            #expect(told == ["* 1 FETCH (FLAGS () MODSEQ (\(last)))"])
            #expect(try await other.ok("NOOP") == [])
        }
    }

    @Test func anyCommandThatAsksSwitchesThemOn() async throws {
        let commands = [
            "FETCH 1 MODSEQ", "FETCH 1 (UID) (CHANGEDSINCE 1)", "STATUS INBOX (HIGHESTMODSEQ)", "SEARCH MODSEQ 1",
            "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Draft)", "ENABLE CONDSTORE", "ENABLE QRESYNC",
        ]
        for command in commands {
            try await TestSystem.run { system in
                let (client, highest) = try await Self.client(system)
                let lines = try await client.ok(command)
                #expect(lines.contains { $0.hasPrefix("* OK [HIGHESTMODSEQ \(highest)]") }, "\(command): \(lines)")
                let stored = try await client.ok("STORE 1 +FLAGS (\\Answered)")
                let sequence = try #require(Self.number(behind: "MODSEQ (", in: stored.last ?? ""), "\(command)")
                #expect(sequence > highest, "\(command)")
            }
        }
    }

    @Test func whatHasChangedIsNotStored() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, enable: "CONDSTORE")
            let (other, _) = try await Self.client(system, messages: 0)
            _ = try await other.ok("STORE 2 +FLAGS (\\Flagged)")
            let lines = try await client.command("STORE 1:3 (UNCHANGEDSINCE \(highest)) +FLAGS.SILENT (\\Deleted)")
            #expect(lines.last?.contains("OK [MODIFIED 2]") == true, "\(lines)")
            #expect(lines.contains { $0.hasPrefix("* 2 FETCH (FLAGS (\\Flagged \\Recent) MODSEQ (") }, "\(lines)")
            let none = try await client.command("UID STORE 1:2 (UNCHANGEDSINCE 0) FLAGS ()")
            #expect(none.last?.contains("OK [MODIFIED 1:2]") == true, "\(none)")
            #expect(try await client.ok("SEARCH DELETED") == ["* SEARCH 1 3"])
        }
    }

    /// A silent change tells what others have done to the message, which its sequence would have the client believe it knows.
    @Test(arguments: ["", "CONDSTORE", "QRESYNC"])
    func silentChangesTellThoseOfOthers(_ name: String) async throws {
        try await TestSystem.run { system in
            let (client, _) = try await Self.client(system, enable: name.isEmpty ? nil : name)
            let (other, _) = try await Self.client(system, messages: 0)
            _ = try await other.ok("STORE 2 +FLAGS (\\Flagged $Work)")
            let lines = try await client.ok("STORE 1:3 +FLAGS.SILENT (\\Seen)")
            // Of the others it knows what it did.
            let told = lines.filter { $0.contains(" FETCH (") && $0.contains("FLAGS (") }
            #expect(told.count == 1, "\(lines)")
            let line = told.first ?? ""
            #expect(line.hasPrefix("* 2 FETCH ("), "\(line)")
            for flag in ["\\Flagged", "\\Seen", "$Work"] { #expect(line.contains(flag), "\(line)") }
            let again = try await client.ok("STORE 2 +FLAGS.SILENT ($work)")
            #expect(!again.contains { $0.contains("FLAGS (") }, "\(again)")
        }
    }

    @Test func searchesTellTheGreatest() async throws {
        try await TestSystem.run { system in
            let (client, _) = try await Self.client(system, enable: "CONDSTORE")
            let three = try await Self.sequence(client, "STORE 3 +FLAGS (\\Seen)")
            let one = try await Self.sequence(client, "STORE 1 +FLAGS (\\Seen)")
            #expect(try await client.ok("SEARCH MODSEQ \(three)") == ["* SEARCH 1 3 (MODSEQ \(one))"])
            #expect(try await client.ok("SEARCH MODSEQ \"/flags/\\\\Seen\" all \(one + 1)") == ["* SEARCH"])
            #expect(try await client.ok("SEARCH OR NOT MODSEQ \(three) UID 3") == ["* SEARCH 2 3 (MODSEQ \(three))"])
            let extended = try await client.ok("SEARCH RETURN (MAX) MODSEQ 1")
            #expect(extended.first?.hasSuffix(" MAX 3 MODSEQ \(three)") == true, "\(extended)")
            let all = try await client.ok("UID SEARCH RETURN (COUNT) MODSEQ 1")
            #expect(all.first?.hasSuffix(" UID COUNT 3 MODSEQ \(one)") == true, "\(all)")
            #expect(
                try await client.ok("SORT (REVERSE ARRIVAL) UTF-8 MODSEQ \(three)").first?.hasSuffix("(MODSEQ \(one))")
                    == true
            )
            _ = try await client.ok("CREATE other")
            try await client.append(Self.message, to: "other")
            let multiple = try await client.ok("ESEARCH IN (mailboxes other) RETURN (ALL) MODSEQ 1")
            #expect(multiple.first?.contains(" UID ALL 1 MODSEQ ") == true, "\(multiple)")
        }
    }

    @Test func removalsAreToldByUID() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, messages: 5, enable: "QRESYNC")
            let (other, _) = try await Self.client(system, messages: 0)
            _ = try await other.ok("STORE 1,3:4 +FLAGS (\\Deleted)")
            let deleted = try await Self.sequence(client, "NOOP")
            let lines = try await client.command("EXPUNGE")
            #expect(lines.first == "* VANISHED 1,3:4")
            let after = try #require(Self.number(behind: "OK [HIGHESTMODSEQ ", in: lines.last ?? ""), "\(lines)")
            #expect(highest < deleted && deleted < after)
            #expect(
                try await client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE \(deleted) VANISHED)")
                    == ["* VANISHED (EARLIER) 1,3:4"]
            )
            #expect(
                try await client.ok("UID FETCH 4:5 (FLAGS) (CHANGEDSINCE \(highest) VANISHED)") == [
                    "* VANISHED (EARLIER) 4"
                ]
            )
            _ = try await other.ok("UID STORE 5 +FLAGS (\\Deleted)")
            let closing = try await client.command("CLOSE")
            #expect(closing.last?.contains("OK [HIGHESTMODSEQ ") == true || closing.count == 1, "\(closing)")
        }
    }

    /// Where a removal can't be told, the client isn't led to believe that it knows all.
    @Test func whatCouldNotBeToldIsNotCounted() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, enable: "QRESYNC")
            let (other, _) = try await Self.client(system, messages: 0, enable: "QRESYNC")
            _ = try await other.ok("UID STORE 1 +FLAGS (\\Deleted)")
            _ = try await other.ok("EXPUNGE")
            _ = try await other.ok("UID STORE 2 +FLAGS (\\Seen)")
            let lines = try await client.command("FETCH 3 FLAGS")
            #expect(lines.contains { $0.contains("UID 2 FLAGS (\\Seen") }, "\(lines)")
            let told = try #require(Self.number(behind: "OK [HIGHESTMODSEQ ", in: lines.last ?? ""))
            #expect(told >= highest)
            let later = try await Self.resync(system, told)
            #expect(later.contains("* VANISHED (EARLIER) 1"), "\(later)")
            #expect(try await client.ok("NOOP").contains("* VANISHED 1"))
        }
    }

    /// What still has a number for the client is told in a way that takes the number away.
    @Test func whatCouldNotBeToldIsNotToldAsEarlier() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, enable: "QRESYNC")
            let (other, _) = try await Self.client(system, messages: 0)
            _ = try await other.ok("UID STORE 1 +FLAGS (\\Deleted)")
            _ = try await other.ok("EXPUNGE")
            _ = try await client.ok("FETCH 3 FLAGS")
            let lines = try await client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE \(highest) VANISHED)")
            #expect(!lines.contains { $0.contains("(EARLIER)") }, "\(lines)")
            let later = try await client.ok("NOOP")
            #expect((lines + later).contains("* VANISHED 1"), "\(lines) \(later)")
        }
    }

    /// - Parameter isSame: whether the client remembers the UIDVALIDITY that there is.
    private static func resync(
        _ system: TestSystem,
        _ since: Int,
        _ more: String = "",
        isSame: Bool = true
    ) async throws -> [String] {
        let client = try await system.client()
        _ = try await client.ok("ENABLE QRESYNC")
        let status = try await client.ok("STATUS INBOX (UIDVALIDITY)")
        let validity = isSame ? try #require(number(behind: "UIDVALIDITY ", in: status[0])) : 1
        return try await client.ok("SELECT INBOX (QRESYNC (\(validity) \(since)\(more)))")
    }

    @Test func clientsThatComeBackHearWhatTheyMissed() async throws {
        try await TestSystem.run { system in
            let (client, highest) = try await Self.client(system, messages: 6)
            _ = try await client.ok("STORE 5 +FLAGS (\\Flagged)")
            _ = try await client.ok("STORE 2:3 +FLAGS (\\Deleted)")
            _ = try await client.ok("EXPUNGE")
            _ = try await client.ok("UID STORE 6 +FLAGS (\\Seen)")
            let lines = try await Self.resync(system, highest)
            let told = lines.filter { $0.contains("VANISHED") || $0.contains("FETCH") }
            let sequence = try #require(Self.number(behind: "MODSEQ (", in: told.last ?? ""), "\(lines)")
            #expect(sequence > highest)
            #expect(
                told == [
                    "* VANISHED (EARLIER) 2:3", "* 3 FETCH (UID 5 FLAGS (\\Flagged) MODSEQ (\(sequence)))",
                    "* 4 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (\(sequence)))",
                ]
            )
            let some = try await Self.resync(system, highest, " 1,3,6")
            #expect(some.contains("* VANISHED (EARLIER) 3"))
            #expect(some.filter { $0.contains("FETCH") } == ["* 4 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (\(sequence)))"])
            // Another numbering means nothing here, nor does what is up to date.
            for lines in [
                try await Self.resync(system, highest, isSame: false), try await Self.resync(system, sequence),
            ] {
                #expect(!lines.contains { $0.contains("VANISHED") || $0.contains("FETCH") }, "\(lines)")
            }
            // With the file gone, what a client knows by number saves it some of the UIDs that are gone.
            let file = "\(system.directory)/mail/alice/martlet-changes"
            #expect(unlink(file) == 0)
            let lost = try await Self.resync(system, highest, " 1:6 (1,2 1,4)")
            #expect(!lost.contains { $0.contains("VANISHED") }, "\(lost)")
            #expect(lost.count { $0.contains("FETCH") } == 4, "\(lost)")
            let unknown = try await Self.resync(system, highest, " 1:6 (1,2 1,2)")
            #expect(unknown.contains("* VANISHED (EARLIER) 2:3"), "\(unknown)")
        }
    }

    @Test func wrongOrderIsBad() async throws {
        try await TestSystem.run { system in
            let (client, _) = try await Self.client(system)
            for command in [
                "SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
            ] { #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)") }
            _ = try await client.ok("ENABLE QRESYNC")
            for command in [
                "UID FETCH 1:* (FLAGS) (VANISHED)", "FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
            ] { #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)") }
            _ = try await client.ok("ENABLE UIDONLY")
            let refused = try await client.command("SELECT INBOX (QRESYNC (1 1 1:5 (1 1)))")
            #expect(refused.last?.contains("[UIDREQUIRED]") == true)
        }
    }

    @Test func withoutAnIndexThereAreNone() async throws {
        try await TestSystem.run(keepsIndex: false) { system in
            let client = try await system.client()
            try await client.append(Self.message)
            #expect(try await client.ok("SELECT INBOX (CONDSTORE)").contains { $0.hasPrefix("* OK [NOMODSEQ]") })
            for command in ["FETCH 1 MODSEQ", "STORE 1 (UNCHANGEDSINCE 5) FLAGS ()", "SEARCH MODSEQ 1"] {
                #expect(try await client.command(command).last?.contains(" BAD ") == true, "\(command)")
            }
            #expect(try await client.ok("STATUS INBOX (HIGHESTMODSEQ)") == ["* STATUS INBOX (HIGHESTMODSEQ 0)"])
            #expect(try await client.ok("STORE 1 +FLAGS (\\Seen)") == ["* 1 FETCH (FLAGS (\\Seen \\Recent))"])
            #expect(access("\(system.directory)/mail/alice/martlet-changes", F_OK) != 0)
        }
    }

    @Test func cutCapabilitiesAreNotUnderstood() async throws {
        try await TestSystem.run(without: ["CONDSTORE", "QRESYNC"]) { system in
            let client = try await system.client()
            try await client.append(Self.message)
            #expect(try await !client.ok("SELECT INBOX").contains { $0.contains("MODSEQ") })
            #expect(try await client.command("FETCH 1 MODSEQ").last?.contains(" BAD ") == true)
            #expect(try await client.ok("ENABLE CONDSTORE QRESYNC") == ["* ENABLED"])
        }
    }

    // MARK: Random commands

    /// A mailbox as a client knows it that is told of removals by UID.
    private struct Memory: Equatable {
        var highest = 0
        var messages: [Int: String] = [:]
        var largest = 0

        /// Hears the answer to a command, in full.
        mutating func hear(_ lines: [String]) {
            for line in lines.dropLast() {
                if line.contains(" VANISHED ") {
                    for range in line.split(separator: " ").last?.split(separator: ",") ?? [] {
                        let ends = range.split(separator: ":").compactMap { Int($0) }
                        for uid in ends[0]...ends[ends.count - 1] { messages[uid] = nil }
                    }
                } else if line.contains(" FETCH ("), let uid = number(behind: "UID ", in: line) {
                    if let start = line.firstRange(of: "FLAGS (") {
                        let flags = line[start.upperBound...].prefix { $0 != ")" }.split(separator: " ")
                        messages[uid] = flags.filter { $0 != "\\Recent" }.sorted().joined(separator: " ")
                        largest = max(largest, uid)
                    }
                    highest = max(highest, number(behind: "MODSEQ (", in: line) ?? 0)
                }
            }
            // The server's own word counts more than what was seen.
            if let told = number(behind: "[HIGHESTMODSEQ ", in: lines.last ?? "") { highest = told }
        }
    }

    /// Whatever several sessions do, a client that comes back with any earlier state is brought to the true one.
    @Test(arguments: 1...8) func whoComesBackKnowsAll(seed: UInt64) async throws {
        try await TestSystem.run { system in
            var random = SplitMix64(seed: seed)
            let client = try await system.client()
            for _ in 0..<8 { try await client.append(Self.message) }
            _ = try await client.ok("SELECT INBOX")
            let plain = try await system.client()
            _ = try await plain.ok("SELECT INBOX")
            let live = try await system.client()
            _ = try await live.ok("ENABLE QRESYNC")
            var known = Memory()
            known.highest = try #require(Self.highest(try await live.ok("SELECT INBOX")))
            let validity = try #require(
                Self.number(behind: "UIDVALIDITY ", in: try await live.ok("STATUS INBOX (UIDVALIDITY)")[0])
            )
            known.hear(try await live.command("UID FETCH 1:* (FLAGS)"))
            var memories: [Memory] = []
            for step in 0..<60 {
                let isLive = Int.random(in: 0..<3, using: &random) == 0
                let command = Self.command(&random)
                let lines = try await (isLive ? live : Bool.random(using: &random) ? client : plain).command(command)
                #expect(lines.last?.contains(" BAD ") == false || command.hasPrefix("FETCH"), "\(command): \(lines)")
                if isLive {
                    known.hear(lines)
                    known.hear(try await live.command("UID FETCH \(known.largest + 1):* (FLAGS)"))
                    memories.append(known)
                }
                guard step % 3 == 0 else { continue }
                if Int.random(in: 0..<8, using: &random) == 0 {
                    unlink("\(system.directory)/mail/alice/martlet-changes")
                }
                let other = try await system.client()
                _ = try await other.ok("ENABLE QRESYNC")
                var truth = Memory()
                truth.highest = try #require(Self.highest(try await other.ok("EXAMINE INBOX")))
                truth.hear(try await other.command("UID FETCH 1:* (FLAGS)"))
                for memory in memories.shuffled(using: &random).prefix(3) {
                    var memory = memory
                    memory.hear(try await other.command("EXAMINE INBOX (QRESYNC (\(validity) \(memory.highest)))"))
                    #expect(memory.messages == truth.messages, "seed \(seed), step \(step)")
                    if memory.messages != truth.messages { return }
                }
                memories.append(truth)
                other.close()
            }
        }
    }

    private static func command(_ random: inout SplitMix64) -> String {
        let (low, high) = (Int.random(in: 1...40, using: &random), Int.random(in: 1...40, using: &random))
        let flag = ["\\Seen", "\\Deleted", "\\Flagged", "$Work"].randomElement(using: &random) ?? "\\Seen"
        let sign = ["+", "-", ""].randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<10, using: &random) {
        case 0, 1: return "APPEND INBOX (\(flag)) {\(message.utf8.count)+}\r\n\(message)"
        case 2: return "EXPUNGE"
        case 3: return "UID EXPUNGE \(low):\(high)"
        case 4: return "UID MOVE \(low) INBOX"
        case 5: return "FETCH 1 (UID FLAGS)"
        case 6: return "UID FETCH \(low) BODY[9]"
        case 7: return "UID STORE \(low):\(high) FLAGS (\(flag))"
        default: return "UID STORE \(low) \(sign)FLAGS (\(flag))"
        }
    }
}
