import Files
import Testing

@testable import IMAP

/// Commands with octets changed, cut and repeated: nothing crashes, and pieces make no difference.
@Suite struct MutationTests {
    private static let seeds = [
        "a UID FETCH 1:*,5 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (A \"B\")]<0.5> BINARY.SIZE[3] PREVIEW (LAZY)) (PARTIAL -1:-9)",
        "a UID SEARCH RETURN (SAVE MIN PARTIAL 1:5) CHARSET UTF-8 OR (FROM {3+}\r\nabc NOT YOUNGER 5) $ MODSEQ \"x\" all 7",
        "a UID SORT RETURN (COUNT) (REVERSE DATE SUBJECT) UTF-8 SINCE 1-Jan-2026 HEADER \"a b\" {2}\r\nxy",
        "a THREAD REFERENCES US-ASCII NOT (SEEN KEYWORD $x)",
        "a ESEARCH IN (mailboxes (a \"b\") subtree c) RETURN () ALL",
        "a APPEND x (\\Seen $a) \" 2-Jan-2026 10:00:00 +0000\" {3+}\r\nabc {2+}\r\nde CATENATE (URL {2+}\r\n/x TEXT {1+}\r\ny)",
        "a UID REPLACE 5 \"b c\" UTF8 (~{4+}\r\na\0bc)",
        "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a% \"*\") RETURN (STATUS (SIZE))",
        "a SELECT &AOQ- (QRESYNC (1 2 3:4 (5 6)) CONDSTORE)", "a STORE 1 (UNCHANGEDSINCE 5) -FLAGS.SILENT (\\Seen )",
        "a ID (\"a\" NIL \"b\" {2+}\r\nxx)", "a CREATE {1}\r\nx (USE (\\Sent))", "a LOGIN \"x\\\"y\" {2+}\r\nzz",
        "a COMPRESS DEFLATE",
    ]

    /// Words that put parsers into other states.
    private static let words = [
        "{5}\r\n", "{5+}\r\n", "~{1+}\r\n", "(", ")", "\"", "\r\n", "\n", " ", "\\", "\0", "{99999999999+}\r\n",
        "{0}\r\n", "*", "$", "é",
        "<0.1>", "[", "]", "CATENATE (", "URL ", "TEXT ", "UTF8 (", "RETURN (", "4294967296", "NIL",
    ]

    @Test(arguments: 1...4) func piecesMakeNoDifference(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var limits = CommandLimits()
        limits.command = 400
        limits.message = 300
        for _ in 0..<500 {
            let octets = Self.mutated(&random)
            let usesUTF8 = Bool.random(using: &random)
            let whole = readCommands(octets, limits: limits, usesUTF8: usesUTF8)
            for piece in [1, Int.random(in: 2...20, using: &random)] {
                let pieces = readCommands(octets, piece: piece, limits: limits, usesUTF8: usesUTF8)
                #expect(pieces == whole, "seed \(seed): \(octets)")
                if pieces != whole { return }
            }
            for case .append(_, let steps) in whole {
                for case .url(let url) in steps { _ = MessageURL(url) }
            }
        }
    }

    private static func mutated(_ random: inout SplitMix64) -> [UInt8] {
        var octets = Array((seeds.randomElement(using: &random) ?? "").utf8) + [13, 10]
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let place = Int.random(in: 0...octets.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: octets.insert(contentsOf: (words.randomElement(using: &random) ?? "").utf8, at: place)
            case 1: octets.removeSubrange(place..<min(octets.count, place + Int.random(in: 1...9, using: &random)))
            case 2: if place < octets.count { octets[place] = UInt8.random(in: 0...255, using: &random) }
            default: octets.insert(contentsOf: Array(octets.suffix(from: place).prefix(20)), at: place)
            }
        }
        return octets + Array("\r\nb NOOP\r\n".utf8)
    }
}
