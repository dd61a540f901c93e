import Files
import Testing

@testable import IMAPServer

/// What a client may believe of its mailbox, by the responses that it has had (RFC 3501 §7.3 and §7.4, RFC 5162's VANISHED).
private struct Belief {
    struct Message: Equatable {
        var uid: UInt32?
        var flags: Set<String>?
    }

    private(set) var messages: [Message] = []
    private(set) var faults: [String] = []
    private var largestUID: UInt32 = 0
    /// Whether message numbers may shift now.
    var mayShift = true

    mutating func select() {
        messages = []
        largestUID = 0
        mayShift = true
    }

    /// Takes an untagged response.
    mutating func hear(_ line: String) {
        let words = line.split(separator: " ", maxSplits: 3).map(String.init)
        guard words.count >= 3, words[0] == "*", let number = Int(words[1]) else { return }
        switch words[2] {
        case "EXISTS":
            if number < messages.count { faults.append("EXISTS \(number), and there were \(messages.count)") }
            while messages.count < number { messages.append(Message()) }
        case "EXPUNGE":
            if !mayShift { faults.append("EXPUNGE where numbers stay") }
            guard messages.indices.contains(number - 1) else {
                faults.append("EXPUNGE of \(number), and there are \(messages.count)")
                return
            }
            messages.remove(at: number - 1)
        case "FETCH":
            guard messages.indices.contains(number - 1) else {
                faults.append("FETCH of \(number), and there are \(messages.count)")
                return
            }
            if let uid = Self.number(behind: "UID ", in: line) { learn(uid, number - 1) }
            if let flags = Self.list(behind: "FLAGS (", in: line) { messages[number - 1].flags = flags }
        default: break
        }
    }

    private mutating func learn(_ uid: UInt32, _ place: Int) {
        if let known = messages[place].uid, known != uid {
            faults.append("message \(place + 1) was UID \(known), is \(uid)")
        }
        messages[place].uid = uid
        let known = messages.compactMap(\.uid)
        if known != known.sorted() { faults.append("UIDs don't ascend: \(known)") }
    }

    private static func number(behind word: String, in line: String) -> UInt32? {
        guard let start = line.firstRange(of: word) else { return nil }
        return UInt32(line[start.upperBound...].prefix { $0.isNumber })
    }

    private static func list(behind word: String, in line: String) -> Set<String>? {
        guard let start = line.firstRange(of: word) else { return nil }
        let flags = line[start.upperBound...].prefix { $0 != ")" }.split(separator: " ").map(String.init)
        return Set(flags).subtracting(["\\Recent"])
    }
}

/// What a client without message numbers may believe (RFC 9586).
private struct UIDBelief {
    private(set) var count = 0
    private(set) var gone: Set<UInt32> = []
    private(set) var faults: [String] = []

    mutating func hear(_ lines: [String]) {
        for line in lines {
            let words = line.split(separator: " ").map(String.init)
            guard words.count >= 3 else { continue }
            if words[1] == "VANISHED" {
                let uids = words[2].split(separator: ",").flatMap { range -> [UInt32] in
                    let ends = range.split(separator: ":").compactMap { UInt32($0) }
                    return Array(ends[0]...ends[ends.count - 1])
                }
                if !gone.isDisjoint(with: uids) { faults.append("gone twice: \(line)") }
                gone.formUnion(uids)
                count -= uids.count
            } else if words[2] == "EXISTS" {
                if (Int(words[1]) ?? 0) < count { faults.append("\(line), and there were \(count)") }
                count = Int(words[1]) ?? 0
            } else if words[2] == "UIDFETCH" {
                if gone.contains(UInt32(words[1]) ?? 0) { faults.append("gone, and there again: \(line)") }
            } else if words[2] == "EXPUNGE" || words[2] == "FETCH" {
                faults.append("a number: \(line)")
            }
        }
        if count < 0 { faults.append("fewer than none") }
    }
}

/// One client of a mailbox that several have open.
private struct Actor {
    let client: TestClient
    var belief = Belief()

    /// Runs a command and believes what it hears; returns the tagged line.
    @discardableResult
    mutating func run(_ command: String, mayShift: Bool = true) async throws -> String {
        belief.mayShift = mayShift
        let lines = try await client.command(command)
        for line in lines.dropLast() { belief.hear(line) }
        belief.mayShift = true
        return lines.last ?? ""
    }
}

/// Random commands of several sessions on one mailbox: no client ever hears what can't be, and in the end all believe the same.
@Suite struct BeliefTests {
    private static let flags = ["\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "$Work", "$Home"]

    @Test(arguments: 1...4) func noClientIsMisled(seed: UInt64) async throws {
        try await TestSystem.run { system in
            var random = SplitMix64(seed: seed)
            var actors: [Actor] = []
            for _ in 0..<3 { actors.append(Actor(client: try await system.client())) }
            for _ in 0..<5 { try await actors[0].client.append("Subject: x\r\n\r\nx\r\n") }
            for index in actors.indices {
                if index == 2 { try await actors[index].client.compress() }
                try await actors[index].run("SELECT INBOX")
            }
            for step in 0..<100 {
                let who = Int.random(in: actors.indices, using: &random)
                try await Self.act(&actors[who], &random)
                #expect(actors[who].belief.faults == [], "seed \(seed), step \(step)")
                if !actors[who].belief.faults.isEmpty { return }
            }
            try await Self.compare(&actors, seed)
        }
    }

    /// A client without message numbers (RFC 9586) among others: what it knows by EXISTS and VANISHED is what there is.
    @Test(arguments: 11...13) func clientsWithoutNumbers(seed: UInt64) async throws {
        try await TestSystem.run { system in
            var random = SplitMix64(seed: seed)
            var others: [Actor] = []
            for _ in 0..<2 { others.append(Actor(client: try await system.client())) }
            for _ in 0..<8 { try await others[0].client.append("Subject: x\r\n\r\nx\r\n") }
            for index in others.indices { try await others[index].run("SELECT INBOX") }
            let client = try await system.client()
            _ = try await client.ok("ENABLE UIDONLY")
            var known = UIDBelief()
            known.hear(try await client.ok("SELECT INBOX"))
            for step in 0..<60 {
                try await Self.act(&others[step % 2], &random)
                let last = UInt32.random(in: 1...40, using: &random)
                let command =
                    [
                        "NOOP", "UID FETCH 1:\(last) (FLAGS)", "UID STORE \(last) +FLAGS (\\Deleted)", "EXPUNGE",
                        "UID EXPUNGE 1:\(last)", "UID MOVE \(last) INBOX", "UID SEARCH SEEN",
                    ].randomElement(using: &random) ?? "NOOP"
                known.hear(try await client.ok(command))
                #expect(known.faults == [], "seed \(seed), step \(step)")
            }
            known.hear(try await client.ok("NOOP"))
            let found = try await client.ok("UID SEARCH ALL")[0].split(separator: " ").dropFirst(2)
            #expect(found.count == known.count, "seed \(seed)")
            #expect(known.gone.isDisjoint(with: found.compactMap { UInt32($0) }), "seed \(seed)")
        }
    }

    private static func act(_ actor: inout Actor, _ random: inout SplitMix64) async throws {
        let count = max(1, actor.belief.messages.count)
        let first = Int.random(in: 1...count, using: &random)
        let last = Int.random(in: 1...count, using: &random)
        let set = actor.belief.messages.isEmpty ? "1" : "\(first):\(last)"
        let flag = flags.randomElement(using: &random) ?? "\\Seen"
        let sign = ["+", "-", ""].randomElement(using: &random) ?? "+"
        let silent = Bool.random(using: &random) ? ".SILENT" : ""
        let text = "Subject: y\r\n\r\ny\r\n"
        switch Int.random(in: 0..<14, using: &random) {
        case 0, 1: try await actor.run("APPEND INBOX (\(flag)) {\(text.utf8.count)+}\r\n\(text)")
        case 2: try await actor.run("APPEND INBOX {\(text.utf8.count)+}\r\n\(text) {\(text.utf8.count)+}\r\n\(text)")
        case 3: try await actor.run("STORE \(set) \(sign)FLAGS\(silent) (\(flag))", mayShift: false)
        case 4: try await actor.run("UID STORE 1:* \(sign)FLAGS (\(flag))")
        case 5: try await actor.run("FETCH \(set) (UID FLAGS)", mayShift: false)
        case 6: try await actor.run("UID FETCH 1:* (FLAGS)")
        case 7: try await actor.run("FETCH \(set) BODY[TEXT]<0.1>", mayShift: false)
        case 8: try await actor.run("EXPUNGE")
        case 9: try await actor.run("SEARCH \(flag == "\\Seen" ? "SEEN" : "ALL")", mayShift: false)
        case 10: try await actor.run("SORT (REVERSE ARRIVAL) UTF-8 ALL", mayShift: false)
        case 11: try await actor.run("COPY \(set) INBOX")
        case 12: try await actor.run("MOVE \(first) INBOX")
        case 13:
            actor.belief.select()
            try await actor.run("SELECT INBOX")
        default: try await actor.run("NOOP")
        }
        // A silent STORE leaves it to the client to know what it has done.
        if silent == ".SILENT" { try await actor.run("FETCH 1:* (UID FLAGS)", mayShift: false) }
    }

    /// When all have heard of all, they believe the same, and it's so.
    private static func compare(_ actors: inout [Actor], _ seed: UInt64) async throws {
        for index in actors.indices { try await actors[index].run("NOOP") }
        var views: [[Belief.Message]] = []
        for index in actors.indices {
            let heard = actors[index].belief.messages
            // What it was told of flags is what they are.
            try await actors[index].run("FETCH 1:* (UID FLAGS)", mayShift: false)
            let now = actors[index].belief.messages
            #expect(heard.count == now.count, "seed \(seed)")
            for (one, other) in zip(heard, now) {
                if let flags = one.flags { #expect(flags == other.flags, "seed \(seed)") }
                if let uid = one.uid { #expect(uid == other.uid, "seed \(seed)") }
            }
            #expect(actors[index].belief.faults == [], "seed \(seed)")
            views.append(now)
        }
        #expect(views.allSatisfy { $0 == views[0] }, "seed \(seed)")
    }
}
