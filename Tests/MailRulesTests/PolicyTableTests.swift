import Network
import SMTP
import Testing

@testable import MailRules

@Suite struct PolicyTableTests {
    private var facts: PolicyFacts {
        var facts = PolicyFacts(listener: "smtp", client: [192, 0, 2, 7])
        facts.helo = "Mail.Example.org"
        facts.sender = "Ann@lists.example.org"
        facts.recipients = ["bob@example.test"]
        facts.time = 23 * 60
        return facts
    }

    /// The content is looked at once, however many recipients there are.
    @Test func contentIsTheSameForAllRecipients() throws {
        let words = (0..<20).map { "reject if body \"word\($0)\"" }.joined(separator: "\n")
        let text = "junk if recipient nobody@example.test\n\(words)\nhold if recipient u7@*"
        let table = try PolicyParser.table(text, lists: [])
        var facts = facts
        facts.message = MessageFacts(size: 1)
        facts.message?.body = [UInt8](repeating: UInt8(ascii: "w"), count: 16 * 1024)
        func time(_ count: Int) -> Duration {
            facts.recipients = (0..<count).map { "u\($0)@example.test" }
            return ContinuousClock().measure { _ = table.evaluateAtEnd(facts) }
        }
        _ = time(2)
        let few = time(2)
        #expect(time(1000) < few * 100)
        #expect(table.evaluateAtEnd(facts).action == .hold)
        facts.message?.body = Array("a WORD7".utf8)
        #expect(table.evaluateAtEnd(facts).rule?.line == 9)
    }

    /// The number of the rule that decides, with `?` where one is open, `-` where none decides.
    private func decision(_ text: String, _ facts: PolicyFacts, lists: Set<String> = ["bl"]) throws -> String {
        let outcome = try PolicyParser.table(text, lists: lists).evaluate(facts)
        return outcome.isOpen ? "?" : outcome.rule.map { "\($0.line)" } ?? "-"
    }

    @Test(arguments: [
        ("accept", "1"), ("accept if listener smtp", "1"), ("accept if listener submission lmtp", "-"),
        ("accept if not listener submission", "1"), ("accept if client 192.0.2.0/24", "1"),
        ("accept if client 2001:db8::/32 198.51.100.1", "-"), ("accept if helo mail.example.ORG", "1"),
        ("accept if helo *.example.org", "1"), ("accept if helo *example*", "1"), ("accept if helo example.org", "-"),
        ("accept if helo *.example.org.*", "-"), ("accept if sender ann@lists.example.org", "1"),
        ("accept if sender lists.example.org", "1"), ("accept if sender example.org", "-"),
        ("accept if sender *.example.org", "1"), ("accept if sender <>", "-"), ("accept if not sender <>", "1"),
        ("accept if recipient example.test", "1"), ("accept if recipient bob@*", "1"), ("accept if tls", "-"),
        ("accept if account", "-"), ("accept if own-helo", "-"), ("accept if time 22:00-06:00", "1"),
        ("accept if time 06:00-22:00", "-"), ("accept if time 23:00-23:01", "1"), ("accept if time 0:00-24:00", "1"),
        ("accept if sender example.org and size > 5", "-"), ("accept if sender lists.example.org and size > 5", "?"),
        ("accept if spf fail", "?"), ("accept if score >= 1", "?"), ("accept if listed bl", "?"),
        ("accept if client-name *.example.org", "?"), ("accept if iprev fail and helo x", "-"),
        ("# nothing\n\n   reject # all", "3"), ("junk if spf fail\naccept", "?"),
        ("score 5\nadd \"X: y\"\naccept", "3"), ("score 5 # five\r\n\r\naccept if helo *\r\nreject", "3"),
    ])
    func rulesAreJudgedByWhatIsKnown(_ text: String, _ expected: String) throws {
        #expect(try decision(text, facts) == expected, "\(text)")
    }

    @Test func everythingIsKnownAtTheEnd() throws {
        var facts = facts
        facts.account = "ann@example.test"
        facts.isEncrypted = true
        facts.connection = ConnectionFacts(name: "out.example.org", iprev: "pass", lists: ["bl"], score: 3)
        facts.message = MessageFacts(
            size: 1000,
            results: ["spf": "softfail", "dmarc": "pass"],
            signedBy: ["example.org"]
        )
        for (text, expected) in [
            ("accept if size > 999", "1"), ("accept if size > 1000", "-"), ("accept if spf fail softfail", "1"),
            ("accept if not spf fail", "1"), ("accept if dkim none", "1"),
            ("accept if dmarc pass and signed-by example.org", "1"),
            ("accept if signed-by *.org and not signed-by example.*", "-"), ("accept if client-name out.*", "1"),
            ("accept if iprev pass", "1"), ("accept if listed bl", "1"), ("accept if score >= 4", "-"),
            ("score 1 if listed bl\naccept if score >= 4", "2"), ("score -1\naccept if score >= 3", "-"),
            ("accept if tls and account", "1"), ("accept if account *@example.test", "1"),
            ("accept if account bob@*", "-"),
        ] {
            #expect(try decision(text, facts) == expected, "\(text)")
        }
    }

    /// What can't be looked up now neither holds nor doesn't, and nobody is refused for good by it.
    @Test func whatCanNotBeLookedUpIsNeither() throws {
        var facts = facts
        facts.connection = ConnectionFacts(name: nil, iprev: "temperror", unknownLists: ["bl"], score: 5)
        facts.message = MessageFacts(
            size: 10,
            results: ["spf": "temperror", "dkim": "temperror", "dmarc": "pass"],
            signedBy: ["example.net"],
            maybeSignedBy: ["example.org"]
        )
        let later = PolicyAction.defer(
            EnhancedStatusCode(4, 7, 0),
            "what decides about this mail cannot be looked up now, try again later"
        )
        for test in ["client-name *", "iprev pass", "spf pass", "dkim pass fail", "signed-by example.org", "listed bl"]
        {
            for text in ["junk if \(test)", "junk if not \(test)", "reject if \(test)", "tarpit 1 if \(test)"] {
                let outcome = try PolicyParser.table(text, lists: ["bl"]).evaluate(facts)
                #expect(outcome.action == nil && outcome.delay == 0 && !outcome.isOpen, "\(text)")
            }
            // A list never stops mail.
            let expected = test == "listed bl" ? nil : later
            let refusing = try PolicyParser.table("reject if not \(test)", lists: ["bl"]).evaluate(facts)
            #expect(refusing.action == expected, "\(test)")
            // Where it might have been taken by a rule above, it has to wait.
            let passed = try PolicyParser.table("accept if \(test)\nreject if score >= 5", lists: ["bl"]).evaluate(
                facts
            )
            #expect(passed.action == later, "\(test)")
            #expect(try decision("reject if \(test)\nreject if helo elsewhere\nhold", facts) == "3", "\(test)")
            #expect(try decision("reject if not \(test) and helo elsewhere\nhold", facts) == "2", "\(test)")
            // Good points count, bad ones don't.
            #expect(try decision("score -1 if \(test)\nreject if score >= 5", facts) == "-", "\(test)")
            #expect(try decision("score 1 if \(test)\nreject if score >= 6", facts) == "-", "\(test)")
        }
        // Who asks for it has an answer.
        #expect(try decision("junk if iprev temperror", facts) == "1")
        #expect(try decision("junk if not spf pass temperror", facts) == "-")
        #expect(try decision("junk if signed-by example.net", facts) == "1")
        #expect(try decision("reject if not signed-by example.com", facts) == "1")
        #expect(try decision("reject if not dmarc fail", facts) == "1")
    }

    @Test func firstRuleThatDecidesDoes() throws {
        let table = try PolicyParser.table(
            """
            score 2 if helo *.example.org
            add "X-Seen: by us" if sender example.com lists.example.org
            reject 5.7.9 "go away" if recipient carol@example.test
            defer "later, please" if score >= 2 and recipient bob@example.test
            discard
            """
        )
        var facts = facts
        facts.connection = ConnectionFacts(name: nil, iprev: "permerror")
        let outcome = table.evaluate(facts)
        #expect(outcome.action == .defer(EnhancedStatusCode(4, 7, 1), "later, please"))
        #expect(outcome.rule?.line == 4)
        #expect(outcome.rule?.text == "defer \"later, please\" if score >= 2 and recipient bob@example.test")
        #expect(outcome.fields == ["X-Seen: by us"])
        #expect(outcome.score == 2)
        facts.recipients.append("carol@example.test")
        #expect(table.evaluate(facts).action == .reject(EnhancedStatusCode(5, 7, 9), "go away"))
        #expect(table.needsConnection)
        #expect(try !PolicyParser.table("reject if spf fail and size > 5").needsConnection)
    }

    @Test func recipientsRulesHoldForAllOrNone() throws {
        var facts = facts
        facts.recipients = ["bob@example.test", "carol@example.test"]
        facts.message = MessageFacts(size: 10)
        func action(_ text: String) throws -> PolicyAction? {
            try PolicyParser.table(text).evaluateAtEnd(facts).action
        }
        #expect(try action("accept if recipient bob@example.test") == nil)
        #expect(try action("accept if recipient example.test") == .accept)
        #expect(try action("discard if recipient bob@example.test") == nil)
        #expect(try action("discard if recipient bob@example.test\njunk") == .junk)
        let apart = try action("reject if recipient bob@example.test\naccept")
        #expect(apart?.isDeferral == true)
        #expect(try action("reject if recipient bob@example.test\ndefer")?.isDeferral == true)
        #expect(try action("reject if not recipient dave@example.test")?.isRefusal == true)
    }

    // MARK: Greylisting, delays, content

    @Test func greylistingIsAskedAndTheTableGoesOn() throws {
        let table = try PolicyParser.table(
            """
            accept if sender friend.example
            greylist if not account
            reject if helo mail.example.org
            """
        )
        #expect(table.greylists)
        var facts = facts
        let open = table.evaluate(facts)
        #expect(open.asksGreylist == ["bob@example.test"] && open.action == nil && open.isOpen)
        facts.greylist = ["bob@example.test": .waits(90)]
        let waiting = table.evaluate(facts)
        #expect(waiting.action == .defer(EnhancedStatusCode(4, 7, 1), "greylisted, try again in 90 seconds"))
        #expect(waiting.rule?.line == 2)
        facts.greylist = ["bob@example.test": .passes]
        #expect(table.evaluate(facts).rule?.line == 3)
        facts.account = "ann@example.test"
        facts.greylist = [:]
        #expect(table.evaluate(facts).rule?.line == 3)
    }

    @Test func greylistingOfSomeHoldsUpAll() throws {
        var facts = facts
        facts.recipients = ["bob@example.test", "carol@example.test", "dave@example.test"]
        facts.message = MessageFacts(size: 10)
        let table = try PolicyParser.table("greylist if not recipient dave@example.test and not dkim pass")
        #expect(table.evaluateAtEnd(facts).asksGreylist == ["bob@example.test", "carol@example.test"])
        facts.greylist = ["bob@example.test": .passes, "carol@example.test": .waits(0)]
        #expect(table.evaluateAtEnd(facts).action?.isDeferral == true)
        facts.greylist["carol@example.test"] = .passes
        #expect(table.evaluateAtEnd(facts).action == nil)
        // Where no rule asks about recipients, all of them are asked about.
        let plain = try PolicyParser.table("greylist")
        facts.greylist = ["bob@example.test": .passes]
        #expect(plain.evaluateAtEnd(facts).asksGreylist == ["carol@example.test", "dave@example.test"])
        facts.greylist["carol@example.test"] = .waits(5)
        facts.greylist["dave@example.test"] = .waits(7)
        #expect(
            plain.evaluateAtEnd(facts).action
                == .defer(EnhancedStatusCode(4, 7, 1), "greylisted, try again in 7 seconds")
        )
    }

    @Test func delaysAddUp() throws {
        let table = try PolicyParser.table("tarpit 5\ntarpit 50 if helo *.org\ntarpit 40\nreject if helo *.com")
        #expect(table.evaluate(facts).delay == 60)
        #expect(table.evaluate(facts).action == nil)
    }

    /// The first route counts, and the table goes on.
    @Test func rulesGiveRoutes() throws {
        let table = try PolicyParser.table("route A if sender lists.example.org\nroute \"b\"\njunk if time 23:00-24:00")
        let outcome = table.evaluate(facts)
        #expect(outcome.route == "a" && outcome.routeRule?.line == 1 && outcome.rule?.line == 3)
        #expect(table.routes.map(\.name) == ["a", "b"])
        #expect(try PolicyParser.table("route a if tls").evaluate(facts).route == nil)
    }

    /// All of a message's recipients go by one route.
    @Test func recipientsWithOtherRoutesAreSentApart() throws {
        var facts = facts
        facts.recipients = ["bob@example.test", "ann@example.net"]
        facts.message = MessageFacts(size: 1, results: [:], signedBy: [])
        func end(_ text: String) throws -> PolicyTable.Outcome { try PolicyParser.table(text).evaluateAtEnd(facts) }
        let apart = try end("route a if recipient example.net")
        #expect(apart.action?.isDeferral == true && apart.routeRule?.line == 1)
        let together = try end("route a if recipient example.net example.test\nhold if recipient example.net")
        #expect(together.route == "a" && together.action == .hold)
        #expect(try end("route a if recipient example.net\nreject").action?.isDeferral == false)
    }

    @Test func heldForOneIsHeld() throws {
        var facts = facts
        facts.recipients = ["bob@example.test", "carol@example.test"]
        facts.message = MessageFacts(size: 10)
        func action(_ text: String) throws -> PolicyAction? {
            try PolicyParser.table(text).evaluateAtEnd(facts).action
        }
        #expect(try action("hold if recipient bob@example.test") == .hold)
        #expect(try action("hold if recipient bob@example.test\ndiscard") == .hold)
        #expect(try action("hold if recipient bob@example.test\nreject")?.isDeferral == true)
        #expect(try action("hold") == .hold)
    }

    @Test(arguments: [
        ("reject if header Subject *LOTTERY*", "1"), ("reject if header subject lottery", "-"),
        ("reject if header X-Missing *", "-"), ("reject if not header X-Missing *", "1"),
        ("reject if header X-Empty \"\"", "1"), ("reject if header Received a* and header Received b*", "1"),
        ("reject if header Received *from?*", "-"), ("reject if body \"buy now\"", "1"),
        ("reject if body \"BUY*tomorrow\"", "1"), ("reject if body \"tomorrow*buy\"", "-"),
        ("reject if body sell", "-"),
    ])
    func contentIsLookedAt(_ text: String, _ expected: String) throws {
        var facts = facts
        #expect(try decision(text, facts) == "?")
        facts.message = MessageFacts(size: 10)
        facts.message?.fields = [
            ("received", Array("a b".utf8)), ("received", Array("b c".utf8)),
            ("subject", Array("You won the Lottery!".utf8)), ("x-empty", []),
        ]
        facts.message?.body = Array("Please Buy Now\r\nor tomorrow\r\n".utf8)
        #expect(try decision(text, facts) == expected, "\(text)")
        #expect(try PolicyParser.table(text).needsContent)
    }

    @Test(arguments: [
        ("", "", true), ("", "a", false), ("*", "", true), ("**", "anything", true), ("a*", "A", true),
        ("*aab*", "aaaab", true), ("*abab*ab", "ababab", true), ("*abab*abab", "ababab", false),
        ("a*a", "a", false), ("a*a", "aa", true), ("*abcabd*", "abcabcabd", true), ("ab*cd*ef", "abcdcdef", true),
        ("*aa*aa*aa*", "aaaaaa", true), ("*aa*aa*aa*", "aaaaa", false),
    ])
    func patterns(_ pattern: String, _ text: String, _ expected: Bool) {
        #expect(TextPattern(pattern).matches(text) == expected)
    }

    @Test func patternsTakeLinearTime() {
        let text = [UInt8](repeating: UInt8(ascii: "a"), count: 1 << 20)
        let pattern = TextPattern("*" + String(repeating: "a", count: 2000) + "b*")
        let clock = ContinuousClock()
        // A search that goes back at each octet would look at two thousand million of them.
        let start = clock.now
        #expect(!pattern.matches(text))
        #expect(clock.now - start < .seconds(20))
    }

    @Test(arguments: [
        ("mx.example.test", true), ("MX.example.test", true), ("[192.0.2.1]", true), ("other.example", false),
        ("[192.0.2.0/24]", false),
    ])
    func ownNamesAreKnown(_ helo: String, _ expected: Bool) {
        func isOurs(account: String? = nil, isRelay: Bool = false, remote: [UInt8] = [192, 0, 2, 7]) -> Bool {
            PolicyFacts.isHeloOurs(
                helo,
                account: account,
                isRelay: isRelay,
                here: [192, 0, 2, 1],
                remote: remote,
                ownNames: ["mx.example.test"]
            )
        }
        #expect(isOurs() == expected)
        #expect(!isOurs(account: "ann@example.test") && !isOurs(isRelay: true) && !isOurs(remote: [192, 0, 2, 1]))
    }

    @Test(arguments: [
        ("allow", "\"allow\" is not an action"), ("accept if", "a condition is missing"),
        ("accept sender x", "not expected here"),
        ("accept if colour red", "\"colour\" is not a condition"), ("accept if client", "client wants a value"),
        ("accept if client 192.0.2.1/24", "client wants networks"), ("accept if size 5", "size is written as"),
        ("accept if size > many", "size is written as"), ("accept if score > 5", "score is written as"),
        ("accept if time 5-7", "time is written as"), ("accept if time 25:00-26:00", "time is written as"),
        ("accept if spf maybe", "\"maybe\" is not one of none, neutral, pass"),
        ("accept if listed elsewhere", "no DNS list \"elsewhere\""),
        ("reject 4.7.1 \"x\"", "begins with 5"), ("defer 5.7.1", "begins with 4"),
        ("reject \"no end", "quotation mark"),
        ("reject \"gr\u{fc}\u{df}e\"", "the text of a reply is ASCII"), ("reject \"\"", "the text of a reply"),
        ("add X", "add wants a header field"), ("add \"X y: z\"", "add wants a header field"),
        ("route", "route wants a name"), ("score lots", "score wants a number"), ("tarpit", "tarpit wants seconds"),
        ("tarpit 61", "60 at most"),
        ("tarpit 0", "tarpit wants seconds"), ("accept if header", "header is written as"),
        ("accept if header Subject", "header wants a value"), ("accept if header \"a b\" x", "header is written as"),
        ("accept if body", "body wants a value"),
        ("accept if tls and", "a condition is missing"), ("\"accept\"", "begins with an action"),
        ("accept accept", "not expected here"),
        (String(repeating: "add \"X: y\"\n", count: 21), "more than 20 rules"),
    ])
    func faultsAreNamed(_ text: String, _ expected: String) {
        do throws(PolicySyntaxError) {
            _ = try PolicyParser.table("# first\n" + text, firstLine: 10)
            Issue.record("\(text) was taken")
        } catch {
            #expect(error.reason.contains(expected), "\(text): \(error)")
            #expect(error.line >= 11)
        }
    }

    @Test func patternsTakeTimeInProportion() {
        let pattern = TextPattern(String(repeating: "*a", count: 200) + "*b")
        #expect(!pattern.matches(String(repeating: "a", count: 5000)))
        #expect(TextPattern("*").matches(""))
        #expect(TextPattern("").matches("") && !TextPattern("").matches("x"))
        #expect(!TextPattern("aba*aba").matches("ababa") && TextPattern("aba*aba").matches("abaaba"))
    }
}
