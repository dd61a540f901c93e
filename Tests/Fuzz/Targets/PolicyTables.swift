import MailRules

/// A table of rules and, behind a NUL, what is known of mail: header and body of a message.
let policyTableTarget = FuzzTarget("policy-table", maximum: 8192) { input in
    let parts = input.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
    let text = String(decoding: parts[0], as: UTF8.self)
    let rest = parts.count > 1 ? Array(parts[1]) : []
    do throws(PolicySyntaxError) {
        let table = try PolicyParser.table(text, firstLine: 7, lists: ["bl", "wl"])
        judge(table, rest)
        // What is shown of rules is what they were made from.
        let again = try PolicyParser.table(table.rules.map(\.text).joined(separator: "\n"), lists: ["bl", "wl"])
        demand(again.rules.map(\.text) == table.rules.map(\.text), "rules are not what they say")
    } catch {
        demand(error.line >= 7 || error.reason.isEmpty == false, "a fault without a line")
    }
}

/// Goes through the rules as smtpd does: at RCPT, then with more and more that is known.
private func judge(_ table: PolicyTable, _ message: [UInt8]) {
    var facts = PolicyFacts(listener: "smtp", client: [192, 0, 2, 7])
    facts.helo = String(decoding: message.prefix(40), as: UTF8.self)
    facts.sender = "ann@example.net"
    facts.recipients = ["bob@example.test", "carol@example.test"]
    facts.time = 720
    let open = table.evaluate(facts)
    demand(open.isOpen ? open.rule == nil || !open.asksGreylist.isEmpty : true, "an open rule decides")
    facts.connection = ConnectionFacts(name: "mx.example.net", iprev: "pass", lists: ["bl"], score: 3)
    facts.message = MessageFacts(size: message.count, results: ["spf": "pass"], signedBy: ["example.net"])
    facts.message?.fields = [("subject", message)]
    facts.message?.body = message
    for state in [PolicyFacts.Greylisting.passes, .waits(60)] {
        facts.greylist = ["bob@example.test": state, "carol@example.test": .passes]
        let outcome = table.evaluateAtEnd(facts)
        demand(!outcome.isOpen, "a rule is open although everything is known")
        demand(outcome.asksGreylist.isEmpty, "greylisting is asked again")
        demand((0...PolicyTable.maximumDelay).contains(outcome.delay), "the delay is out of range")
        demand((outcome.rule == nil) == (outcome.action == nil), "a rule without an action")
    }
}
