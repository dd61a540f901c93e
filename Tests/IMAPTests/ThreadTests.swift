import NIOCore
import Testing

@testable import IMAP

private func base(_ subject: String) -> BaseSubject { BaseSubject(folded: Array(subject.lowercased().utf8)) }

/// A message as tests write it: subject, identifier and references.
private typealias Entry = (number: UInt32, sent: Int, subject: String, id: String?, references: [String])

private func threads(_ algorithm: ThreadCommand.Algorithm, _ entries: [Entry]) -> String {
    var threads = MessageThreads(algorithm)
    for entry in entries {
        threads.add(
            number: entry.number,
            sent: entry.sent,
            subject: base(entry.subject),
            identifier: entry.id.map { Array($0.utf8) },
            ancestors: entry.references.map { Array($0.utf8) }
        )
    }
    let forest = threads.finish()
    var buffer = ByteBuffer()
    for root in forest.roots { forest.write(root, to: &buffer) }
    return String(buffer: buffer)
}

@Suite struct ThreadTests {
    /// RFC 5256 §2.1
    @Test(arguments: [
        ("hello", "hello", false), ("Re: hello", "hello", true), ("RE:hello", "hello", true),
        ("Fwd: Re: FW:  hello ", "hello", true), ("hello (fwd)", "hello", true), ("hello (fwd) (FWD)  ", "hello", true),
        ("[list] hello", "hello", false), ("[list]", "[list]", false), ("Re: [list] hello", "hello", true),
        ("[list] Re[2]: hello", "hello", true), ("Re [x] : hello", "hello", true), ("[fwd: hello]", "hello", true),
        ("[fwd: Re: [a] hello (fwd)]", "hello", true), ("re hello", "re hello", false), ("", "", false),
        ("a\tb   c", "a b c", false), ("Re: [a][b] x", "x", true), ("[[a]] x", "[[a]] x", false), ("Re:", "", true),
        ("reply: x", "reply: x", false), ("[a][b] Re: x", "x", true), ("[a] [b][c]", "[c]", false),
        ("[a][b] x", "x", false), ("[a][b] re x", "re x", false), ("[a]re[b]: [c] fw: [d][e]x", "x", true),
        ("[a][fwd: [b][c] x]", "x", true), ("[a] re: [b", "[b", true), ("[a][b", "[b", false),
    ]) func baseSubjects(subject: String, text: String, isReply: Bool) {
        #expect(String(decoding: base(subject).text, as: UTF8.self) == text)
        #expect(base(subject).isReplyOrForward == isReply, "\(subject)")
    }

    @Test func subjectsOfAnyLengthTakeTheirTime() {
        let marks = String(repeating: "re: ", count: 1000)
        #expect(base(marks + "x").text == Array("x".utf8))
        _ = base(String(repeating: "[", count: 50_000))
        _ = base(String(repeating: "[a]", count: 50_000))
        _ = base(String(repeating: "[fwd:", count: 10_000) + String(repeating: "]", count: 10_000))
    }

    @Test func orderedSubject() {
        let entries: [Entry] = [
            (1, 100, "a", nil, []), (2, 50, "Re: b", nil, []), (3, 200, "re: A", nil, []), (4, 60, "b", nil, []),
            (5, 150, "a", nil, []),
        ]
        #expect(threads(.orderedSubject, entries) == "(2 4)(1 (5)(3))")
    }

    @Test func references() {
        let entries: [Entry] = [
            (1, 1, "x", "<1>", []), (2, 2, "Re: x", "<2>", ["<1>"]), (3, 3, "Re: x", "<3>", ["<1>", "<2>"]),
            (4, 4, "Re: x", "<4>", ["<1>"]), (5, 5, "y", "<5>", []),
        ]
        #expect(threads(.references, entries) == "(1 (2 3)(4))(5)")
        // In whatever order they come.
        #expect(threads(.refs, entries.reversed()) == "(1 (2 3)(4))(5)")
    }

    /// RFC 5256 §3, steps 1 to 5.
    @Test func whatIsOnlySpokenOf() {
        // Two answers to a message that isn't there.
        #expect(
            threads(.refs, [(1, 1, "a", "<1>", ["<0>"]), (2, 2, "b", "<2>", ["<0>"])]) == "((1)(2))"
        )
        // One answer: it takes the place.
        #expect(threads(.refs, [(1, 1, "a", "<1>", ["<x>", "<y>"])]) == "(1)")
        // Between two messages.
        #expect(
            threads(.refs, [(1, 1, "a", "<1>", []), (2, 2, "a", "<2>", ["<1>", "<gone>"])]) == "(1 2)"
        )
    }

    @Test func subjectsJoinThreads() {
        // An answer without references.
        #expect(threads(.references, [(1, 1, "x", "<1>", []), (2, 2, "Re: x", "<2>", [])]) == "(1 2)")
        #expect(threads(.refs, [(1, 1, "x", "<1>", []), (2, 2, "Re: x", "<2>", [])]) == "(1)(2)")
        // The answer comes first.
        #expect(threads(.references, [(1, 5, "x", "<1>", []), (2, 2, "Re: x", "<2>", [])]) == "(1 2)")
        // Two of equal rank are brothers.
        #expect(threads(.references, [(1, 1, "x", "<1>", []), (2, 2, "x", "<2>", [])]) == "((1)(2))")
        #expect(
            threads(.references, [(1, 1, "x", "<1>", []), (2, 2, "x", "<2>", []), (3, 3, "x", "<3>", [])])
                == "((1)(2)(3))"
        )
        // No subject joins nothing.
        #expect(threads(.references, [(1, 1, "", "<1>", []), (2, 2, "", "<2>", [])]) == "(1)(2)")
    }

    @Test func sameIdentifiersAndLoops() {
        #expect(threads(.refs, [(1, 1, "a", "<1>", []), (2, 2, "b", "<1>", [])]) == "(1)(2)")
        // Each claims to answer the other.
        let loop = threads(.refs, [(1, 1, "a", "<1>", ["<2>"]), (2, 2, "b", "<2>", ["<1>"])])
        #expect(loop == "(2 1)" || loop == "(1 2)")
        #expect(threads(.refs, [(1, 1, "a", "<1>", ["<1>"])]) == "(1)")
    }

    @Test func latestThreadsComeLast() {
        let entries: [Entry] = [
            (1, 1, "a", "<1>", []), (2, 2, "b", "<2>", []), (3, 3, "Re: a", "<3>", ["<1>"]),
        ]
        #expect(threads(.references, entries) == "(1 3)(2)")
        #expect(threads(.refs, entries) == "(2)(1 3)")
    }

    /// A list of children moves up to the next message and isn't left behind at each identifier on its way.
    @Test func chainsOfWhatIsOnlySpokenOf() {
        let depth = 500
        let count = 400
        var threads = MessageThreads(.refs)
        func identifier(_ text: String) -> [UInt8] { Array("<\(text)>".utf8) }
        let chain = (0..<depth).map { identifier("phantom\($0)") }
        for number in 1...count {
            threads.add(
                number: UInt32(number),
                sent: number,
                subject: base("x"),
                identifier: identifier("\(number)"),
                ancestors: number == 1 ? chain : [chain[depth - 1 - number % 2]]
            )
        }
        let before = threads.weight
        let forest = threads.finish()
        #expect(before >= 128 * (depth + count))
        // All messages stand below the first of the chain, and in no other list.
        #expect(forest.roots.count == 1 && forest.links == count)
        var buffer = ByteBuffer()
        forest.write(forest.roots[0], to: &buffer)
        #expect(String(buffer: buffer) == "(" + (1...count).map { "(\($0))" }.joined() + ")")
    }

    /// Whatever strangers' references are: no recursion, and time in proportion.
    @Test func manyMessages() {
        let count = 20_000
        func thread(_ references: (Int) -> [String]) -> String {
            threads(.references, (1...count).map { (UInt32($0), $0, "x", "<\($0)>", references($0)) })
        }
        let chain = thread { $0 > 1 ? ["<\($0 - 1)>"] : [] }
        #expect(chain.hasPrefix("(1 2 3 ") && chain.hasSuffix(" \(count))"))
        let backwards = thread { $0 < count ? ["<\($0 + 1)>"] : [] }
        #expect(backwards.hasPrefix("(\(count) \(count - 1) "))
        let star = thread { $0 > 1 ? ["<1>"] : [] }
        #expect(star.hasPrefix("(1 (2)(3)") && star.hasSuffix("(\(count)))"))
        let none = thread { _ in [] }
        #expect(none.hasPrefix("((1)(2)"))
    }
}
